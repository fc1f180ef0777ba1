//! Who a request is from, as a server asks: certificates, passwords, tokens, and what ends them.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;

use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use super::credentials::{Credential, CredentialError, CredentialName, change};
use super::scene::{IssuerServer, SigningKey, claims, jwks, seconds};
use super::scram::Stretching;
use super::*;
use crate::config::TokenIssuer;
use crate::identity::{MappingRules, Principal};
use crate::rest::Code;

fn connection(certificate: Option<&str>) -> Connection {
    Connection {
        peer: SocketAddr::from(([192, 0, 2, 7], 40_000)),
        certificate: certificate.map(Principal::user),
        thumbprint: certificate.map(|_| [7; 32]),
        encrypted: true,
    }
}

fn with(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
}

fn basic(name: &str, password: &str) -> HeaderMap {
    with(&format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}"))))
}

fn add(path: &Path, name: &str, password: &str) {
    let stored = Stored::new(password, Stretching::FOR_GENERATED).unwrap();
    let credential = Credential { stored, added: "2026-01-02T03:04:05Z".to_owned() };
    let name = CredentialName::parse(name).unwrap();
    change::<_, CredentialError>(path, |set| {
        set.put(name, credential);
        Ok(())
    })
    .unwrap();
}

/// A bridge with a file of credentials that holds alice's, and an issuer.
struct Scene {
    folder: tempfile::TempDir,
    key: SigningKey,
    server: IssuerServer,
    callers: Callers,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let credentials = folder.path().join("credentials");
    add(&credentials, "alice", "open sesame");
    let key = SigningKey::new("a");
    let server = IssuerServer::start(jwks(&[&key])).await;
    let settings = BridgeAuth {
        basic: Some(BasicAuth {
            credentials,
            mapping_rules: MappingRules::parse("RULE:^device-(.*)$/$1/U,DEFAULT").unwrap(),
        }),
        bearer: vec![TokenIssuer { keys_refresh: Duration::from_millis(1), ..scene::settings(&server.address) }],
        ..BridgeAuth::default()
    };
    Scene { folder, key, server, callers: Callers::new(settings) }
}

impl Scene {
    fn credentials(&self) -> std::path::PathBuf {
        self.folder.path().join("credentials")
    }

    fn bearer(&self, changes: &serde_json::Value) -> HeaderMap {
        with(&format!("Bearer {}", self.key.token(&claims(&self.server.address, changes))))
    }

    async fn refused(&self, connection: &Connection, headers: &HeaderMap) -> (Code, String) {
        let error = self.callers.caller(connection, headers).await.unwrap_err();
        let challenge = error.challenge.as_ref().map(|value| value.to_str().unwrap().to_owned());
        (error.code, challenge.unwrap_or_default())
    }

    async fn principal(&self, connection: &Connection, headers: &HeaderMap) -> (String, Proof) {
        let caller = self.callers.caller(connection, headers).await.unwrap();
        assert!(self.callers.still_accepts(&caller));
        (caller.principal.to_string(), caller.proof)
    }
}

#[tokio::test]
async fn each_proof_names_its_principal() {
    let scene = scene().await;
    let (bare, shop) = (connection(None), connection(Some("shop")));
    add(&scene.credentials(), "device-7", "x");
    let nothing = HeaderMap::new();
    assert_eq!(scene.principal(&shop, &nothing).await, ("User:shop".to_owned(), Proof::Certificate));
    let alice = "User:alice".to_owned();
    for _ in 0..2 {
        assert_eq!(scene.principal(&bare, &basic("alice", "open sesame")).await, (alice.clone(), Proof::Basic));
        assert_eq!(scene.principal(&bare, &scene.bearer(&json!({}))).await, (alice.clone(), Proof::Bearer));
    }
    let mut changes = scene.callers.changes();
    changes.changed().await.unwrap();
    assert_eq!(scene.principal(&bare, &basic("device-7", "x")).await, ("User:7".to_owned(), Proof::Basic));
}

#[tokio::test]
async fn a_401_names_what_is_accepted_and_what_was_wrong() {
    let scene = scene().await;
    let bare = connection(None);
    let schemes = r#"Basic realm="barnabas", charset="UTF-8", Bearer realm="barnabas""#.to_owned();
    let unauthenticated = (Code::Unauthenticated, schemes.clone());
    assert_eq!(scene.refused(&bare, &HeaderMap::new()).await, unauthenticated);
    assert_eq!(scene.refused(&bare, &with("Negotiate YII")).await, unauthenticated);
    // A wrong name, a wrong password: nobody can tell which.
    assert_eq!(scene.refused(&bare, &basic("alice", "wrong")).await, unauthenticated);
    assert_eq!(scene.refused(&bare, &basic("mallory", "open sesame")).await, unauthenticated);
    let now = seconds(SystemTime::now());
    let (code, challenge) = scene.refused(&bare, &scene.bearer(&json!({ "exp": now - 60 }))).await;
    let expired = r#"Bearer realm="barnabas", error="invalid_token", error_description="the token has expired""#;
    assert_eq!((code, challenge.as_str()), (Code::Unauthenticated, expired));
    let (code, challenge) = scene.refused(&bare, &with("Bearer a b")).await;
    assert!(code == Code::BadRequest && challenge.contains(r#"error="invalid_request""#), "{challenge}");
    assert_eq!(scene.refused(&bare, &with("Basic !")).await, (Code::BadRequest, String::new()));
}

#[tokio::test]
async fn a_wrong_credential_never_falls_back_to_the_certificate() {
    let scene = scene().await;
    let (alice, bob) = (connection(Some("alice")), connection(Some("bob")));
    assert_eq!(scene.refused(&alice, &basic("alice", "wrong")).await.0, Code::Unauthenticated);
    assert_eq!(scene.refused(&alice, &with("Digest x")).await.0, Code::Unauthenticated);
    assert_eq!(scene.principal(&alice, &basic("alice", "open sesame")).await.1, Proof::Basic);
    assert_eq!(scene.refused(&bob, &basic("alice", "open sesame")).await, (Code::BadRequest, String::new()));
    assert_eq!(scene.refused(&bob, &scene.bearer(&json!({}))).await, (Code::BadRequest, String::new()));
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_is_nobodys_without_it() {
    let scene = scene().await;
    let bound = |byte: u8| json!({ "cnf": { "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode([byte; 32]) } });
    let (own, other) = (scene.bearer(&bound(7)), scene.bearer(&bound(8)));
    let alice = connection(Some("alice"));
    for _ in 0..2 {
        assert_eq!(scene.principal(&alice, &own).await.1, Proof::Bearer);
        assert_eq!(scene.refused(&connection(None), &own).await.0, Code::Unauthenticated);
        assert_eq!(scene.refused(&alice, &other).await.0, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn credentials_in_the_clear_or_in_the_address_are_refused() {
    let scene = scene().await;
    let mut clear = Connection { encrypted: false, ..connection(None) };
    assert_eq!(scene.refused(&clear, &basic("alice", "open sesame")).await.0, Code::BadRequest);
    clear.peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
    assert_eq!(scene.principal(&clear, &basic("alice", "open sesame")).await.1, Proof::Basic);
    let address = "/topics/orders?access_token=secret".parse().unwrap();
    let error = scene.callers.check_address(&address).unwrap_err();
    assert!(error.code == Code::BadRequest && !error.message.contains("secret"), "{error}");
    assert!(scene.callers.check_address(&"/topics/orders?timeout=1".parse().unwrap()).is_ok());
}

#[tokio::test]
async fn guessing_ends_and_does_not_lock_out_who_is_known() {
    let scene = scene().await;
    let bare = connection(None);
    assert_eq!(scene.principal(&bare, &basic("alice", "open sesame")).await.1, Proof::Basic);
    let mut told = Vec::new();
    for guess in 0..25 {
        told.push(scene.refused(&bare, &basic("alice", &guess.to_string())).await.0);
    }
    assert_eq!(told.first(), Some(&Code::Unauthenticated));
    assert_eq!(told.last(), Some(&Code::TooManyRequests));
    assert_eq!(scene.principal(&bare, &basic("alice", "open sesame")).await.1, Proof::Basic);
    let error = scene.callers.caller(&bare, &basic("alice", "late")).await.unwrap_err();
    assert!(error.retry_after.is_some());
}

#[tokio::test]
async fn a_removed_or_changed_credential_ends_its_streams() {
    let scene = scene().await;
    let bare = connection(None);
    add(&scene.credentials(), "bob", "b");
    let mut changes = scene.callers.changes();
    changes.changed().await.unwrap();
    let alice = scene.callers.caller(&bare, &basic("alice", "open sesame")).await.unwrap();
    let bob = scene.callers.caller(&bare, &basic("bob", "b")).await.unwrap();
    change::<_, CredentialError>(&scene.credentials(), |set| Ok(set.remove("alice"))).unwrap();
    timeout(Duration::from_secs(10), scene.callers.gone(&alice)).await.unwrap();
    assert_eq!(scene.refused(&bare, &basic("alice", "open sesame")).await.0, Code::Unauthenticated);
    assert!(scene.callers.still_accepts(&bob));
    add(&scene.credentials(), "bob", "another");
    timeout(Duration::from_secs(10), scene.callers.gone(&bob)).await.unwrap();
}

#[tokio::test]
async fn a_token_ends_its_streams_with_its_time_or_its_key() {
    let scene = scene().await;
    let bare = connection(None);
    let now = seconds(SystemTime::now());
    let short = scene.callers.caller(&bare, &scene.bearer(&json!({ "exp": now - 4 }))).await.unwrap();
    timeout(Duration::from_secs(10), scene.callers.gone(&short)).await.unwrap();
    let long = scene.callers.caller(&bare, &scene.bearer(&json!({}))).await.unwrap();
    scene.server.show(Some(jwks(&[&SigningKey::new("b")])));
    timeout(Duration::from_secs(10), scene.callers.gone(&long)).await.unwrap();
    assert_eq!(scene.refused(&bare, &scene.bearer(&json!({}))).await.0, Code::Unauthenticated);
}

#[tokio::test]
async fn who_does_not_ask_for_credentials_takes_none() {
    let callers = Callers::new(BridgeAuth { anonymous: true, ..BridgeAuth::default() });
    let bare = connection(None);
    assert_eq!(callers.caller(&bare, &HeaderMap::new()).await.unwrap(), Caller::anonymous());
    for headers in [basic("alice", "x"), with("Bearer x")] {
        assert_eq!(callers.caller(&bare, &headers).await.unwrap_err().code, Code::Unauthenticated);
    }
}
