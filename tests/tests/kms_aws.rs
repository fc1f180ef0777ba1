//! What the conformance suite does not ask of AWS: codes that the imitated server never says, actions that a policy does not
//! give, a role assumed by a web identity, the roles of instances and containers, one key for all clients, and versions.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custody, CustodyContext, CustodyError, IdentityId, Secret};
use barnabas_kms::{Aws, AwsCredentials, AwsKeys, AwsSettings, SecretSource};
use barnabas_tests::gateway::{Home, binary};
use barnabas_tests::kms::fault::{Fault, FaultProxy, http_answer};
use barnabas_tests::kms::metadata::Metadata;
use barnabas_tests::kms::moto::{Moto, refusal};
use barnabas_tests::kms::{Bench, Via, block_on};
use barnabas_tests::process::Finished;
use barnabas_tests::wait::PATIENCE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

#[test]
fn what_kms_says_of_a_key_stops_its_client() {
    let mut moto = Moto::start();
    let key = moto.make_key();
    let proxy = FaultProxy::start(moto.server());
    let adapter = moto.adapter(&Via::port(proxy.port()));
    let wrapped = wrap(&adapter, &key).expect("wraps");
    for (code, cause) in [
        ("DisabledException", CustodyCause::Disabled),
        ("KMSInvalidStateException", CustodyCause::Disabled),
        ("AccessDeniedException", CustodyCause::Denied),
        ("IncorrectKeyException", CustodyCause::Corrupt),
    ] {
        proxy.put(Fault::Answer(refusal("400 Bad Request", code, "words")));
        let error = unwrap(&adapter, &key, &wrapped).err().expect("refused");
        assert_eq!((error.cause, error.is_retryable()), (cause, false), "{error}");
        assert!(error.message.contains(code) && error.message.contains(&key), "{error}");
    }
    proxy.put(Fault::Pass);
    unwrap(&adapter, &key, &wrapped).expect("and goes on when KMS says otherwise");
}

#[test]
fn an_action_that_the_policy_does_not_give_is_denied() {
    let mut moto = Moto::start();
    let key = moto.make_key();
    let adapter = moto.adapter(&Via::port(moto.port()));
    let wrapped = wrap(&adapter, &key).expect("wraps");
    moto.allow(&json!(["kms:Encrypt"]));
    let error = unwrap(&adapter, &key, &wrapped).err().expect("may not decrypt");
    assert_eq!(error.cause, CustodyCause::Denied, "{error}");
    assert!(error.message.contains("allow kms:Encrypt, kms:Decrypt"), "{error}");
}

#[test]
fn a_wrong_secret_is_about_the_credential() {
    let mut moto = Moto::start();
    let key = moto.make_key();
    moto.file("secret-access-key", "wrong");
    let adapter = moto.adapter(&Via::port(moto.port()));
    let error = wrap(&adapter, &key).expect_err("the signature does not match");
    assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
    assert!(!error.message.contains("wrong\""), "{error}");
}

#[test]
fn a_web_identity_assumes_a_role_and_works_with_its_session() {
    let mut moto = Moto::start();
    let key = moto.make_key();
    let credentials = AwsCredentials::WebIdentity {
        role_arn: moto.make_role(),
        session_name: "gateway".into(),
        token: SecretSource::File(moto.file("web-identity", "header.claims.signature")),
        sts_endpoint: Some(format!("http://127.0.0.1:{}", moto.port())),
    };
    let adapter = adapter(AwsSettings { credentials, ..moto.settings(&Via::port(moto.port())) });
    moto.unchecked(|| block_on(adapter.ensure_key(&key))).expect("assumes the role");
    let wrapped = wrap(&adapter, &key).expect("wraps, signed with the session's keys");
    unwrap(&adapter, &key, &wrapped).expect("unwraps");
}

#[test]
fn a_profile_is_read_anew_at_each_call() {
    let mut moto = Moto::start();
    let key = moto.make_key();
    let profile = |moto: &Moto| {
        let read = |name: &str| fs::read_to_string(moto.file_named(name)).expect("the harness wrote the file");
        let keys = [("aws_access_key_id", "access-key-id"), ("aws_secret_access_key", "secret-access-key")];
        let lines = keys.map(|(name, file)| format!("{name} = {}\n", read(file)));
        moto.file("credentials", &format!("[default]\naws_access_key_id = other\n[gateway]\n{}", lines.concat()))
    };
    let credentials = AwsCredentials::Profile { file: profile(&moto), name: "gateway".into() };
    let adapter = adapter(AwsSettings { credentials, ..moto.settings(&Via::port(moto.port())) });
    let wrapped = wrap(&adapter, &key).expect("wraps");
    moto.end_credentials();
    let error = unwrap(&adapter, &key, &wrapped).err().expect("the access key is gone");
    assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
    moto.renew_credentials();
    profile(&moto);
    unwrap(&adapter, &key, &wrapped).expect("the new access key is found");
}

/// Moto cuts the ids of such keys short in its ciphertexts and cannot open them, so the answer to Decrypt is played.
#[test]
fn each_replica_of_a_multi_region_key_opens_what_another_wrapped() {
    let moto = Moto::start();
    let made = moto.operate("CreateKey", &json!({ "MultiRegion": true }));
    let key_id = made["KeyMetadata"]["KeyId"].as_str().expect("a key id").to_owned();
    assert!(key_id.starts_with("mrk-"), "{key_id}");
    moto.operate("ReplicateKey", &json!({ "KeyId": key_id, "ReplicaRegion": "us-east-1" }));
    let proxy = FaultProxy::start(moto.server());
    let [europe, america, elsewhere] = ["eu-central-1", "us-east-1", "ap-south-1"].map(|region| {
        let keys = AwsKeys::One { key_id: key_id.clone() };
        adapter(AwsSettings { region: region.into(), keys, ..moto.settings(&Via::port(proxy.port())) })
    });
    let wrapped = [&europe, &america].map(|adapter| wrap(adapter, "client-a").expect("wraps"));
    for adapter in [&europe, &america] {
        let current = block_on(adapter.current_version("client-a")).expect("told");
        assert_eq!(current, Some(key_id.clone()), "replicas are one version: nothing is to be moved");
        assert!(wrapped.iter().all(|blob| adapter.version_of(blob) == current));
    }
    let error = wrap(&elsewhere, "client-a").expect_err("there is no replica");
    assert_eq!(error.cause, CustodyCause::NotFound, "{error}");

    let opened_by = |id: &str| {
        let arn = format!("arn:aws:kms:us-east-1:123456789012:key/{id}");
        let answer = json!({ "KeyId": arn, "Plaintext": STANDARD.encode([7; 32]) }).to_string();
        proxy.put(Fault::Answer(http_answer("200 OK", &[], &answer)));
        unwrap(&america, "client-a", &wrapped[0])
    };
    opened_by(&key_id).expect("the replica has opened what was wrapped in Europe");
    let error = opened_by("mrk-another").err().expect("another key");
    assert_eq!(error.cause, CustodyCause::Corrupt, "{error}");
}

#[test]
fn an_instance_works_with_the_session_of_its_role() {
    works_with_a_role(|metadata, _| AwsCredentials::Instance { endpoint: Some(metadata.endpoint()) });
}

#[test]
fn a_container_works_with_the_session_of_its_role() {
    works_with_a_role(|metadata, moto| {
        let token = moto.file("container-token", metadata.container_token());
        AwsCredentials::Container { uri: Some(metadata.container_uri()), token: Some(SecretSource::File(token)) }
    });
}

#[test]
fn a_container_with_a_wrong_token_gets_nothing() {
    let mut moto = Moto::start();
    let key = moto.make_key();
    let metadata = Metadata::start(moto.role_session(&moto.make_role()));
    let token = moto.file("container-token", "stolen");
    let credentials =
        AwsCredentials::Container { uri: Some(metadata.container_uri()), token: Some(SecretSource::File(token)) };
    let adapter = adapter(AwsSettings { credentials, ..moto.settings(&Via::port(moto.port())) });
    let error = wrap(&adapter, &key).expect_err("the metadata service gives nothing");
    assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
    assert!(error.message.contains(&metadata.endpoint()) && !error.message.contains("stolen"), "{error}");
    // The file is read each time.
    moto.file("container-token", metadata.container_token());
    wrap(&adapter, &key).expect("asks with the new token");
}

#[test]
fn a_gateway_finds_the_role_of_its_container_by_the_environment() {
    let mut moto = Moto::start();
    let key = moto.make_key();
    let metadata = Metadata::start(moto.role_session(&moto.make_role()));
    let home = Home::new();
    let starter = fs::read_to_string(home.folder().join("made/barnabas.yaml")).expect("init made it");
    let kms = format!(
        "kms:\n  aws:\n    type: aws\n    region: eu-central-1\n    endpoint: \"http://127.0.0.1:{}\"\n    \
         plaintext: loopback\n    credentials: {{ container: {{}} }}\n    keys: {{ per_client: alias/barnabas- }}\n",
        moto.port()
    );
    let config = home.write("aws.yaml", &(starter + &kms));
    let mut command = Command::new(binary());
    command.args(["kms", "check", "--kms", "aws", "--key", &key, "--output", "json", "--config"]).arg(&config);
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.container_uri());
    command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", moto.file("container-token", metadata.container_token()));
    let checked = Finished::run("barnabas", &command, b"", PATIENCE, home.folder()).ok();
    let rows: Value = serde_json::from_str(&checked.stdout).unwrap_or_else(|e| panic!("{e}: {}", checked.text()));
    assert_eq!(rows[0]["result"], "ok", "{rows}");
    assert_eq!(metadata.asked(), ["GET /v2/credentials/task?id=1 200"]);
}

/// Signatures are checked with the session's keys, its token has to go along, and its role's policy counts; a session that is
/// taken no more is replaced by the next one of the metadata service, without a new adapter.
#[track_caller]
fn works_with_a_role(source: impl FnOnce(&Metadata, &Moto) -> AwsCredentials) {
    let mut moto = Moto::start();
    let key = moto.make_key();
    let role = moto.make_role();
    let mut forged = moto.role_session(&role);
    forged.secret_access_key = "guessed".into();
    let metadata = Metadata::start(forged);
    let credentials = source(&metadata, &moto);
    let adapter = adapter(AwsSettings { credentials, ..moto.settings(&Via::port(moto.port())) });
    let error = wrap(&adapter, &key).expect_err("the signature does not match");
    assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");

    metadata.put(moto.role_session(&role));
    let wrapped = wrap(&adapter, &key).expect("wraps, signed with the session's keys");
    unwrap(&adapter, &key, &wrapped).expect("unwraps");
    let asked = metadata.asked();
    unwrap(&adapter, &key, &wrapped).expect("and again");
    assert_eq!(metadata.asked(), asked, "a session is kept while it lasts");
    assert!(asked.iter().all(|one| one.ends_with(" 200")), "{asked:?}");

    moto.allow_role(&json!(["kms:Encrypt"]));
    let error = unwrap(&adapter, &key, &wrapped).err().expect("the role may not decrypt");
    assert_eq!(error.cause, CustodyCause::Denied, "{error}");
    moto.allow_role(&Moto::documented_actions());
    unwrap(&adapter, &key, &wrapped).expect("it may again");
}

#[test]
fn one_key_for_all_keeps_clients_apart() {
    let moto = Moto::start();
    let made = moto.operate("CreateKey", &json!({}));
    let key_id = made["KeyMetadata"]["KeyId"].as_str().expect("a key id").to_owned();
    let keys = AwsKeys::One { key_id };
    let adapter = adapter(AwsSettings { keys, ..moto.settings(&Via::port(moto.port())) });
    block_on(adapter.ensure_key("client-a")).expect("the one key is there");
    let wrapped = wrap(&adapter, "client-a").expect("wraps");
    unwrap(&adapter, "client-a", &wrapped).expect("unwraps");
    let error = unwrap(&adapter, "client-b", &wrapped).err().expect("another client's wrap does not open");
    assert_eq!(error.cause, CustodyCause::Corrupt, "{error}");
    let arn = made["KeyMetadata"]["Arn"].as_str().map(str::to_owned);
    assert_eq!(adapter.version_of(&wrapped), arn);
    assert_eq!(block_on(adapter.current_version("client-a")).expect("told"), arn);
}

fn adapter(settings: AwsSettings) -> Arc<dyn Custody> {
    Arc::new(Aws::new(settings).expect("the settings are right"))
}

fn wrap(adapter: &Arc<dyn Custody>, key: &str) -> Result<Vec<u8>, CustodyError> {
    block_on(adapter.wrap(key, &Secret::draw().expect("random bytes"), &context()))
}

fn unwrap(adapter: &Arc<dyn Custody>, key: &str, wrapped: &[u8]) -> Result<Secret<32>, CustodyError> {
    block_on(adapter.unwrap(key, wrapped, &context()))
}

fn context() -> CustodyContext {
    CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]))
}
