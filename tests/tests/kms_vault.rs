//! What the conformance suite does not ask of Vault and OpenBao: tokens that end, a sealed server, TLS, namespaces, one key for all
//! clients, keys that the gateway makes itself, and versions of keys. All on a real OpenBao, with the policies of the documentation.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custody, CustodyContext, CustodyError, IdentityId, Secret};
use barnabas_kms::{SecretSource, Vault, VaultAuth, VaultSettings};
use barnabas_tests::certs::Authority;
use barnabas_tests::kms::fault::{Fault, FaultProxy, http_answer};
use barnabas_tests::kms::openbao::{OpenBao, one_key};
use barnabas_tests::kms::{Bench, Via, block_on, http};
use barnabas_tests::scratch::{Scratch, unique};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

#[test]
fn a_token_is_renewed_in_the_background_before_it_ends() {
    let mut bao = OpenBao::start();
    bao.set_role("vault", "6s");
    let key = bao.make_key();
    let adapter = bao.adapter(&Via::port(bao.port()));
    let wrapped = wrap(&adapter, &key).expect("wraps");
    // No second login: only a renewal can carry the token over its first end.
    bao.end_secret_id();
    thread::sleep(Duration::from_secs(13));
    unwrap(&adapter, &key, &wrapped).expect("the token lives still");
}

#[test]
fn a_token_that_ended_is_replaced_by_a_new_login() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let adapter = bao.adapter(&Via::port(bao.port()));
    let wrapped = wrap(&adapter, &key).expect("wraps");
    bao.operate("PUT", "sys/leases/revoke-prefix/auth/approle", &json!({}));
    unwrap(&adapter, &key, &wrapped).expect("logs in again, within the same call");
}

#[test]
fn a_secret_id_that_is_refused_is_left_alone_so_that_the_role_is_not_locked_when_the_new_one_comes() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let adapter = bao.adapter(&Via::port(bao.port()));
    let wrapped = wrap(&adapter, &key).expect("wraps");
    bao.end_credentials();
    for _ in 0..20 {
        let error = unwrap(&adapter, &key, &wrapped).err().expect("the secret id is destroyed");
        assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
    }
    bao.renew_credentials();
    unwrap(&adapter, &key, &wrapped).expect("the new secret id is tried at once, and the role is not locked");
}

#[test]
fn a_token_of_somebody_else_is_taken_from_its_file_at_each_call() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let scratch = Scratch::new("token");
    let new_token = || {
        let made =
            bao.operate("POST", "auth/token/create", &json!({ "policies": ["vault"], "no_default_policy": true }));
        made["auth"]["client_token"].as_str().expect("a token").to_owned()
    };
    let token = new_token();
    let path = scratch.write("token", &token);
    let auth = VaultAuth::Token(SecretSource::File(path));
    let adapter = adapter(VaultSettings { auth, ..bao.settings(&Via::port(bao.port())) });
    let wrapped = wrap(&adapter, &key).expect("wraps");
    bao.operate("POST", "auth/token/revoke", &json!({ "token": token }));
    let error = unwrap(&adapter, &key, &wrapped).err().expect("the token is revoked");
    assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
    scratch.write("token", new_token() + "\n");
    unwrap(&adapter, &key, &wrapped).expect("the new token is found");
}

#[test]
fn a_signed_token_of_another_issuer_logs_in() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let issuer = rcgen::KeyPair::generate().expect("a key pair can be drawn");
    bao.operate("POST", "sys/auth/jwt", &json!({ "type": "jwt" }));
    bao.operate("POST", "auth/jwt/config", &json!({ "jwt_validation_pubkeys": [issuer.public_key_pem()] }));
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_subject": "gateway", "bound_audiences": ["barnabas"],
        "token_policies": ["vault"], "token_no_default_policy": true,
    });
    bao.operate("POST", "auth/jwt/role/barnabas", &role);
    let scratch = Scratch::new("jwt");
    let path = scratch.write("jwt", signed_token(&issuer, "somebody"));
    let auth = VaultAuth::Jwt { mount: "jwt".into(), role: "barnabas".into(), token: SecretSource::File(path) };
    let adapter = adapter(VaultSettings { auth, ..bao.settings(&Via::port(bao.port())) });
    let error = wrap(&adapter, &key).expect_err("another subject");
    assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
    scratch.write("jwt", signed_token(&issuer, "gateway"));
    let wrapped = wrap(&adapter, &key).expect("wraps");
    unwrap(&adapter, &key, &wrapped).expect("unwraps");
}

#[test]
fn a_pod_logs_in_with_its_service_account() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let user =
        json!({ "username": "system:serviceaccount:kafka:gateway", "uid": "1", "groups": ["system:serviceaccounts"] });
    let review = json!({ "status": { "authenticated": true, "user": user, "audiences": ["barnabas"] } });
    let cluster = FaultProxy::start(bao.port());
    cluster.put(Fault::Answer(http_answer(
        "201 Created",
        &[("Content-Type", "application/json")],
        &review.to_string(),
    )));
    bao.operate("POST", "sys/auth/kubernetes", &json!({ "type": "kubernetes" }));
    let scratch = Scratch::new("pod");
    let ca = fs::read_to_string(Authority::new(&scratch.join("certs")).ca()).expect("the harness wrote the file");
    let config = json!({
        "kubernetes_ca_cert": ca,
        "kubernetes_host": format!("http://127.0.0.1:{}", cluster.port()),
        "token_reviewer_jwt": "reviewer", "disable_local_ca_jwt": true,
    });
    bao.operate("POST", "auth/kubernetes/config", &config);
    let role = json!({
        "bound_service_account_names": ["gateway"], "bound_service_account_namespaces": ["kafka"],
        "token_policies": ["vault"], "token_no_default_policy": true,
    });
    bao.operate("POST", "auth/kubernetes/role/barnabas", &role);
    let issuer = rcgen::KeyPair::generate().expect("a key pair can be drawn");
    let token =
        SecretSource::File(scratch.write("token", signed_token(&issuer, "system:serviceaccount:kafka:gateway")));
    let auth = VaultAuth::Kubernetes { mount: "kubernetes".into(), role: "barnabas".into(), token };
    let adapter = adapter(VaultSettings { auth, ..bao.settings(&Via::port(bao.port())) });
    let wrapped = wrap(&adapter, &key).expect("wraps");
    unwrap(&adapter, &key, &wrapped).expect("unwraps");
    assert!(cluster.met() > 0, "the cluster was asked about the token");
}

#[test]
fn a_sealed_server_is_an_outage_and_serves_again_when_unsealed() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let adapter = bao.adapter(&Via::port(bao.port()));
    let wrapped = wrap(&adapter, &key).expect("wraps");
    bao.seal();
    let error = unwrap(&adapter, &key, &wrapped).err().expect("it is sealed");
    assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
    assert!(error.message.contains("unseal"), "{error}");
    bao.unseal();
    unwrap(&adapter, &key, &wrapped).expect("it is unsealed");
}

#[test]
fn tls_is_spoken_and_only_the_named_authority_is_trusted() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let (port, ca) = bao.tls();
    let trusting = Via { port, ca: Some(ca.to_owned()) };
    let ours = bao.adapter(&trusting);
    let wrapped = wrap(&ours, &key).expect("wraps over TLS");
    unwrap(&ours, &key, &wrapped).expect("and unwraps");
    let mut settings = bao.settings(&trusting);
    settings.http.tls.ca = None;
    let error = wrap(&adapter(settings), &key).expect_err("the system does not know this authority");
    assert!(error.message.contains("certificate"), "{error}");
}

#[test]
fn a_namespace_has_keys_and_logins_of_its_own() {
    let mut bao = OpenBao::start();
    let above = bao.settings(&Via::port(bao.port()));
    bao.enter_namespace("team");
    let beside = bao.settings(&Via::port(bao.port()));
    // Namespaces stand in namespaces.
    bao.enter_namespace("kafka");
    let key = bao.make_key();
    // The same name means another key elsewhere.
    let path = |action: &str| format!("transit/{action}/barnabas-{key}");
    for namespace in [None, Some("team")] {
        assert!(bao.try_in(namespace, "POST", &path("keys"), &json!({})).0 < 300);
    }
    let settings = bao.settings(&Via::port(bao.port()));
    assert_eq!(settings.namespace.as_deref(), Some("team/kafka"));
    let inside = adapter(settings.clone());
    assert!(inside.describe().contains("namespace team/kafka"), "{}", inside.describe());
    let wrapped = wrap(&inside, &key).expect("wraps");
    unwrap(&inside, &key, &wrapped).expect("unwraps");
    let ciphertext = core::str::from_utf8(&wrapped).expect("Vault's ciphertext is a text");
    let body = json!({ "ciphertext": ciphertext, "associated_data": STANDARD.encode(context().associated_data()) });
    for (namespace, opens) in [(None, false), (Some("team"), false), (Some("team/kafka"), true)] {
        let (status, answer) = bao.try_in(namespace, "POST", &path("decrypt"), &body);
        assert_eq!(status == 200, opens, "{namespace:?}: {status} {answer}");
    }
    for (elsewhere, what) in [(&above, "root"), (&beside, "team")] {
        let adapter = adapter(elsewhere.clone());
        let error = unwrap(&adapter, &key, &wrapped).err().expect("another key of the same name");
        assert_eq!(error.cause, CustodyCause::Corrupt, "{what}: {error}");
    }
    // Who belongs to one namespace is unknown in the others, and in one that is not there.
    for wrong in [None, Some("team"), Some("team/kafak")] {
        let lost = adapter(VaultSettings { namespace: wrong.map(str::to_owned), ..settings.clone() });
        let error = unwrap(&lost, &key, &wrapped).err().expect("the role is not there");
        assert_eq!(error.cause, CustodyCause::Unauthenticated, "{wrong:?}: {error}");
        assert!(error.message.contains("namespace"), "{wrong:?}: {error}");
        assert!(wrong.is_none_or(|name| error.message.contains(name)), "{wrong:?}: {error}");
    }
}

#[test]
fn one_key_for_all_keeps_clients_apart() {
    let bao = OpenBao::start();
    bao.operate("POST", "transit/keys/barnabas-all", &json!({ "derived": true }));
    let adapter = adapter(one_key(bao.settings(&Via::port(bao.port())), "barnabas-all"));
    block_on(adapter.ensure_key("client-a")).expect("the one key is there");
    let wrapped = wrap(&adapter, "client-a").expect("wraps");
    unwrap(&adapter, "client-a", &wrapped).expect("unwraps");
    let error = unwrap(&adapter, "client-b", &wrapped).err().expect("another client's wrap does not open");
    assert_eq!(error.cause, CustodyCause::Corrupt, "{error}");
}

#[test]
fn keys_are_made_only_with_the_policy_for_it() {
    let bao = OpenBao::start();
    let key = unique("client");
    let adapter = adapter(bao.settings(&Via::port(bao.port())));
    let error = block_on(adapter.ensure_key(&key)).expect_err("the smallest policy makes no keys");
    assert_eq!(error.cause, CustodyCause::NotFound, "{error}");
    assert!(error.message.contains(&format!("vault write -f transit/keys/barnabas-{key}")), "{error}");
    bao.put_policy("vault-create-keys");
    bao.set_role("vault,vault-create-keys", "1h");
    bao.operate("PUT", "sys/leases/revoke-prefix/auth/approle", &json!({}));
    block_on(adapter.ensure_key(&key)).expect("makes the key");
    block_on(adapter.ensure_key(&key)).expect("leaves it as it is");
    wrap(&adapter, &key).expect("wraps");
    let token = json!({ "policies": ["vault", "vault-create-keys"], "no_default_policy": true });
    let token = bao.operate("POST", "auth/token/create", &token)["auth"]["client_token"].clone();
    let token = [("X-Vault-Token", token.as_str().expect("a token"))];
    for weaker in
        [json!({ "deletion_allowed": true }), json!({ "exportable": true }), json!({ "min_decryption_version": 1 })]
    {
        let path = format!("/v1/transit/keys/barnabas-{key}/config");
        let (status, _) = http::call(bao.port(), "POST", &path, &token, &weaker).expect("an answer");
        assert_eq!(status, 403, "{weaker}");
    }
}

#[test]
fn versions_are_told_and_old_ones_can_be_taken_away() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let adapter = bao.adapter(&Via::port(bao.port()));
    let old = wrap(&adapter, &key).expect("wraps");
    bao.operate("POST", &format!("transit/keys/barnabas-{key}/rotate"), &json!({}));
    assert_eq!(block_on(adapter.current_version(&key)).expect("told"), Some("v2".into()));
    let new = wrap(&adapter, &key).expect("wraps");
    assert_eq!((adapter.version_of(&old), adapter.version_of(&new)), (Some("v1".into()), Some("v2".into())));
    unwrap(&adapter, &key, &old).expect("an old version opens until it is taken away");
    bao.operate("POST", &format!("transit/keys/barnabas-{key}/config"), &json!({ "min_decryption_version": 2 }));
    let error = unwrap(&adapter, &key, &old).err().expect("the old version is taken away");
    assert_eq!(error.cause, CustodyCause::Disabled, "{error}");
    unwrap(&adapter, &key, &new).expect("the new version opens");
}

/// A token as identity providers make it: ES256, valid for years.
fn signed_token(issuer: &rcgen::KeyPair, subject: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "iss": "https://issuer.example.com", "sub": subject, "aud": ["barnabas"], "iat": 1_700_000_000u64,
        "nbf": 1_700_000_000u64, "exp": 4_000_000_000u64,
        "kubernetes.io": { "namespace": "kafka", "serviceaccount": { "name": "gateway", "uid": "1" } },
    });
    let text = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT" })), part(&claims));
    let random = ring::rand::SystemRandom::new();
    let key = issuer.serialize_der();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random).expect("a P-256 key");
    let signature = key.sign(&random, text.as_bytes()).expect("random bytes");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn adapter(settings: VaultSettings) -> Arc<dyn Custody> {
    Arc::new(Vault::new(settings).expect("the settings are right"))
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
