//! What the conformance suite does not ask of AWS: codes that the imitated server never says, actions that a policy does not
//! give, a role assumed by a web identity, one key for all clients, and versions.

use std::sync::Arc;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custody, CustodyContext, CustodyError, IdentityId, Secret};
use barnabas_kms::{Aws, AwsCredentials, AwsKeys, AwsSettings, SecretSource};
use barnabas_tests::kms::fault::{Fault, FaultProxy};
use barnabas_tests::kms::moto::{Moto, refusal};
use barnabas_tests::kms::{Bench, Via, block_on};
use serde_json::json;

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
