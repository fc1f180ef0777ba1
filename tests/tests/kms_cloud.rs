//! What is particular to the cloud vendors' adapters: the contract servers are what the vendors' own clients expect, every way
//! to log in works, damaged answers are seen, a rotated key opens old wraps. The cases that all adapters share are in
//! `kms_conformance.rs`.

use std::fs;
use std::process::Command;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custody, CustodyContext, IdentityId, Secret};
use barnabas_kms::{
    Azure, AzureCredentials, AzureKeys, AzureSettings, AzureStore, ClientCertificate, Gcp, GcpCredentials, GcpKeys,
    GcpSettings, HttpSettings, SecretSource,
};
use barnabas_tests::kms::azure::Entra;
use barnabas_tests::kms::contract::{Contract, python};
use barnabas_tests::kms::gcp::{CloudKms, RING};
use barnabas_tests::kms::{Bench, Via, block_on};
use barnabas_tests::ports;
use barnabas_tests::process::Process;
use barnabas_tests::scratch::{Scratch, unique};
use barnabas_tests::wait;
use serde_json::{Value, json};

#[test]
fn googles_own_clients_find_cloud_kms_in_the_contract_server() {
    Contract::start("gcp", &[]).prove();
}

#[test]
fn microsofts_own_client_finds_key_vault_in_the_contract_server() {
    Contract::start_tls("azure", &[]).prove();
}

#[test]
fn microsofts_own_client_finds_a_managed_hsm_in_the_contract_server() {
    Contract::start_tls("azure", &["--hsm"]).prove();
}

#[test]
fn google_is_logged_in_to_by_key_machine_and_federation() {
    let mut bench = CloudKms::start();
    let key = bench.make_key();
    let metadata = GcpCredentials::Metadata { address: bench.server.address(), account: "default".into() };
    let as_json = json!({ "type": "json", "subject_token_field_name": "token" });
    let subject = json!({ "token": bench.server.text("subject.jwt") }).to_string();
    fs::write(bench.server.file("subject.json"), subject).expect("a file can be written");
    let source = json!({ "file": bench.server.file("subject.json"), "format": as_json.clone() });
    federate(&bench, "from-json.json", source);
    let url = format!("{}/agent/subject?audience=google", bench.server.address());
    let source = json!({ "url": url, "headers": { "X-Agent": "barnabas" }, "format": as_json });
    federate(&bench, "from-url.json", source);
    for credentials in [
        bench.credential("gateway.json"),
        bench.credential("federation.json"),
        bench.credential("impersonation.json"),
        bench.credential("from-json.json"),
        bench.credential("from-url.json"),
        metadata,
    ] {
        let adapter = adapter(&bench, credentials.clone());
        round_trip(&adapter, &key, &format!("{credentials:?}"));
    }
    let stranger = adapter(&bench, bench.credential("stranger.json"));
    assert_eq!(wrap_fails(&stranger, &key), CustodyCause::Denied);
}

#[test]
fn google_refuses_a_credential_that_is_over_and_takes_the_next_one() {
    let mut bench = CloudKms::start();
    let key = bench.make_key();
    let file = bench.server.file("token.jwt");
    federate(&bench, "rotating.json", json!({ "file": file }));
    let adapter = adapter(&bench, bench.credential("rotating.json"));
    for (content, good) in [("expired.jwt", false), ("subject.jwt", true)] {
        fs::write(&file, bench.server.text(content)).expect("a file can be written");
        if good {
            round_trip(&adapter, &key, content);
        } else {
            assert_eq!(wrap_fails(&adapter, &key), CustodyCause::Unauthenticated);
        }
    }
    let aws = json!({ "environment_id": "aws1", "url": "http://169.254.169.254/latest" });
    federate(&bench, "aws.json", aws);
    let elsewhere = bench.server.text("gateway.json").replace("http://127.0.0.1", "http://192.0.2.1");
    for (content, what) in [
        ("{}", "not a credential file"),
        (r#"{"type":"authorized_user"}"#, "another type"),
        (&bench.server.text("aws.json"), "neither a file nor a plain url"),
        (&elsewhere.replace("http://", "ftp://"), "may not be spoken to"),
    ] {
        fs::write(bench.server.file("wrong.json"), content).expect("a file can be written");
        let wrong = self::adapter(&bench, bench.credential("wrong.json"));
        let error = block_on(wrong.wrap(&key, &drawn(), &CONTEXT)).expect_err("refused");
        assert!(error.message.contains("wrong.json") && error.message.contains(what), "{error}");
        assert_eq!(error.cause, CustodyCause::Unauthenticated);
    }
}

#[test]
fn azure_is_logged_in_to_by_secret_certificate_federation_and_machine() {
    let entra = Entra::start(AzureStore::Vault);
    let key = entra.make_key();
    let (server, file) = (&entra.server, |name: &str| entra.server.file(name));
    let certificate = ClientCertificate { certificate: file("certificate.pem"), private_key: file("certificate.key") };
    let app: Value = serde_json::from_str(&server.text("app.json")).expect("the server writes JSON");
    fs::write(file("app-header"), app["header"].as_str().expect("a header")).expect("a file can be written");
    fs::write(file("app-endpoint"), format!("{}/msi/token", server.address())).expect("a file can be written");
    for credentials in [
        AzureCredentials::ClientSecret(entra.identity("by-secret"), SecretSource::File(file("secret"))),
        AzureCredentials::Certificate(entra.identity("by-certificate"), certificate),
        AzureCredentials::WorkloadIdentity(entra.identity("by-federation"), file("federated.jwt")),
        AzureCredentials::ManagedIdentity { address: server.address(), client_id: None },
        AzureCredentials::ManagedIdentity { address: server.address(), client_id: Some("by-machine".into()) },
        AzureCredentials::AppService {
            endpoint: SecretSource::File(file("app-endpoint")),
            header: SecretSource::File(file("app-header")),
            client_id: None,
        },
    ] {
        round_trip(&entra.adapter_with(credentials.clone()), &key, &format!("{credentials:?}"));
    }
    let issuer = ClientCertificate { certificate: file("issuer.pem"), private_key: file("issuer.key") };
    for (credentials, cause) in [
        (AzureCredentials::Certificate(entra.identity("by-certificate"), issuer), CustodyCause::Unauthenticated),
        (
            AzureCredentials::WorkloadIdentity(entra.identity("by-federation"), file("expired.jwt")),
            CustodyCause::Unauthenticated,
        ),
        (
            AzureCredentials::ManagedIdentity { address: server.address(), client_id: Some("nobody".into()) },
            CustodyCause::Unauthenticated,
        ),
        (
            AzureCredentials::ClientSecret(entra.identity("without-role"), SecretSource::File(file("secret"))),
            CustodyCause::Denied,
        ),
    ] {
        let shown = format!("{credentials:?}");
        assert_eq!(wrap_fails(&entra.adapter_with(credentials), &key), cause, "{shown}");
    }
}

#[test]
fn tls_is_spoken_with_the_authority_that_is_named_and_no_other() {
    let server = Contract::start_tls("gcp", &[]);
    let credentials = GcpCredentials::File(SecretSource::File(server.file("creator.json")));
    let mut settings = GcpSettings { create_keys: true, ..GcpSettings::new(RING, credentials) };
    settings.http = HttpSettings::new(server.address());
    let adapter = Gcp::new(settings.clone()).expect("the settings are right");
    let error = block_on(adapter.ensure_key("client")).expect_err("the system's authorities did not sign it");
    assert!(error.cause == CustodyCause::Unreachable && error.message.contains("certificate"), "{error}");
    settings.http.tls.ca = Some(server.file("ca.pem"));
    let adapter = Gcp::new(settings).expect("the settings are right");
    block_on(adapter.ensure_key("client")).expect("a key is made");
    round_trip(&adapter, "client", "over TLS");
}

#[test]
fn tokens_that_became_void_are_replaced_without_an_error() {
    let mut bench = CloudKms::start();
    let key = bench.make_key();
    let adapter = adapter(&bench, bench.credential("gateway.json"));
    round_trip(&adapter, &key, "before");
    bench.stop();
    fs::remove_file(bench.server.file("token-secret")).expect("the server keeps it there");
    bench.restart();
    round_trip(&adapter, &key, "after");
}

#[test]
fn damage_between_us_and_google_is_an_outage_and_never_a_secret() {
    let mut bench = CloudKms::start();
    let key = bench.make_key();
    let adapter = adapter(&bench, bench.credential("gateway.json"));
    let wrapped = block_on(adapter.wrap(&key, &drawn(), &CONTEXT)).expect("wraps");
    for fault in ["flip", "forget_checks"] {
        bench.server.set(fault, json!(true));
        assert_eq!(wrap_fails(&adapter, &key), CustodyCause::Unreachable, "{fault}");
        if fault == "flip" {
            let error = block_on(adapter.unwrap(&key, &wrapped, &CONTEXT)).err().expect("a damaged plaintext");
            assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
        }
        bench.server.set(fault, json!(false));
    }
    block_on(adapter.unwrap(&key, &wrapped, &CONTEXT)).expect("all is well again");
}

#[test]
fn a_wrap_that_azure_could_not_open_is_never_handed_out() {
    let mut entra = Entra::start(AzureStore::ManagedHsm);
    let key = entra.make_key();
    let secret = SecretSource::File(entra.server.file("secret"));
    let adapter = entra.adapter_with(AzureCredentials::ClientSecret(entra.identity("by-secret"), secret));
    entra.server.set("flip", json!(true));
    assert_eq!(wrap_fails(&adapter, &key), CustodyCause::Unreachable);
    entra.server.set("flip", json!(false));
    round_trip(&adapter, &key, "all is well again");
}

#[test]
fn a_rotated_key_opens_old_wraps_and_makes_new_ones() {
    let mut bench = CloudKms::start();
    let key = bench.make_key();
    let google = adapter(&bench, bench.credential("gateway.json"));
    rotated(&google, &key, |id| bench.server.add("rotated", id), &CloudKms::id(&key));
    for store in [AzureStore::Vault, AzureStore::ManagedHsm] {
        let mut entra = Entra::start(store);
        let key = entra.make_key();
        let secret = SecretSource::File(entra.server.file("secret"));
        let azure = entra.adapter_with(AzureCredentials::ClientSecret(entra.identity("by-secret"), secret));
        rotated(&azure, &key, |id| entra.server.add("rotated", id), &Entra::id(&key));
    }
}

#[test]
fn one_key_for_all_still_tells_clients_apart() {
    let bench = CloudKms::start();
    let creator = GcpSettings { create_keys: true, ..bench.patient(bench.port(), bench.credential("creator.json")) };
    let keys = GcpKeys::One { name: "all".into() };
    let google = Gcp::new(GcpSettings { keys, ..creator }).expect("the settings are right");
    apart(&google);
    let entra = Entra::start(AzureStore::ManagedHsm);
    let secret = SecretSource::File(entra.server.file("secret-operator"));
    let credentials = AzureCredentials::ClientSecret(entra.identity("makes-keys"), secret);
    let mut settings = entra.settings(&Via::port(entra.server.port()), credentials);
    settings.http.request_timeout = wait::PATIENCE;
    let keys = AzureKeys::One { name: "all".into() };
    apart(&Azure::new(AzureSettings { keys, create_keys: true, ..settings }).expect("the settings are right"));
}

/// Another implementation of the wire's shape, which knows no tokens and hides nothing: it shows that both of us read the same
/// documentation, and no more.
#[test]
fn drongo_and_we_agree_on_the_shape_of_cloud_kms() {
    let scratch = Scratch::new("drongo");
    let port = ports::one();
    let bench = CloudKms::start();
    let mut command = Command::new(python().with_file_name("drongo"));
    command.args(["server", "--host", "127.0.0.1", "-p", &port.to_string()]);
    let _drongo = Process::start("drongo", &command, &scratch.join("drongo.log"));
    let settings = bench.patient(port, bench.credential("creator.json"));
    let adapter = Gcp::new(GcpSettings { create_keys: true, ..settings }).expect("the settings are right");
    let ring = json!({});
    let (parent, id) = RING.split_once("/keyRings/").expect("a ring's name");
    let made = wait::until("drongo answers", wait::PATIENCE, || {
        let path = format!("/v1/{parent}/keyRings?keyRingId={id}");
        barnabas_tests::kms::http::call(port, "POST", &path, &[], &ring).ok()
    });
    assert_eq!(made.0, 200, "{made:?}");
    let key = unique("client");
    block_on(adapter.ensure_key(&key)).expect("a key is made");
    block_on(adapter.ensure_key(&key)).expect("a key that exists is left as it is");
    round_trip(&adapter, &key, "drongo");
    let wrapped = block_on(adapter.wrap(&key, &drawn(), &CONTEXT)).expect("wraps");
    let other = CustodyContext::IdentitySeed(IdentityId::from_bytes([2; 16]));
    let error = block_on(adapter.unwrap(&key, &wrapped, &other)).err().expect("another context");
    assert_eq!(error.cause, CustodyCause::Corrupt, "{error}");
}

fn adapter(bench: &CloudKms, credentials: GcpCredentials) -> Gcp {
    Gcp::new(bench.patient(bench.port(), credentials)).expect("the settings are right")
}

/// Writes a credential file like the server's own, with another source of the subject token.
fn federate(bench: &CloudKms, name: &str, source: Value) {
    let mut file: Value = serde_json::from_str(&bench.server.text("federation.json")).expect("the server writes JSON");
    file["credential_source"] = source;
    fs::write(bench.server.file(name), file.to_string()).expect("a file can be written");
}

#[track_caller]
fn round_trip(adapter: &dyn Custody, key: &str, what: &str) {
    let secret = drawn();
    let wrapped = block_on(adapter.wrap(key, &secret, &CONTEXT)).unwrap_or_else(|e| panic!("{what}: {e}"));
    let opened = block_on(adapter.unwrap(key, &wrapped, &CONTEXT)).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(opened.matches(&secret), "{what}: another secret came back");
}

#[track_caller]
fn wrap_fails(adapter: &dyn Custody, key: &str) -> CustodyCause {
    let error = block_on(adapter.wrap(key, &drawn(), &CONTEXT)).expect_err("this must not be wrapped");
    assert!(!error.message.contains("eyJ"), "a token stands in the message: {error}");
    error.cause
}

#[track_caller]
fn rotated(adapter: &dyn Custody, key: &str, rotate: impl FnOnce(&str), id: &str) {
    let secret = drawn();
    let old = block_on(adapter.wrap(key, &secret, &CONTEXT)).expect("wraps");
    rotate(id);
    let opened = block_on(adapter.unwrap(key, &old, &CONTEXT)).expect("an old wrap opens");
    assert!(opened.matches(&secret));
    let new = block_on(adapter.wrap(key, &secret, &CONTEXT)).expect("wraps under the new version");
    let current = block_on(adapter.current_version(key)).expect("the version is told");
    assert!(current.is_some() && adapter.version_of(&new) == current && adapter.version_of(&old) != current);
}

#[track_caller]
fn apart(adapter: &dyn Custody) {
    block_on(adapter.ensure_key("client-1")).expect("the key is made");
    let wrapped = block_on(adapter.wrap("client-1", &drawn(), &CONTEXT)).expect("wraps");
    let error = block_on(adapter.unwrap("client-2", &wrapped, &CONTEXT)).err().expect("another client's");
    assert_eq!(error.cause, CustodyCause::Corrupt, "{error}");
}

fn drawn() -> Secret<32> {
    Secret::draw().expect("random bytes")
}

const CONTEXT: CustodyContext = CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]));
