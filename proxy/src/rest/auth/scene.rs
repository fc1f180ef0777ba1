//! What the tests of this folder share: keys that sign tokens, and an issuer on loopback whose documents can be changed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::config::{TokenAlgorithm, TokenIssuer};
use crate::identity::MappingRules;

/// A key that signs tokens, with its name.
pub(super) struct SigningKey {
    pub(super) id: &'static str,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    pub(super) fn new(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id, pair: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap() }
    }

    pub(super) fn jwk(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id, "x": x })
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": "EdDSA", "kid": self.id, "typ": "at+jwt" }), claims)
    }

    pub(super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A JWK set.
pub(super) fn jwks(keys: &[&SigningKey]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Claims of a token of `issuer` for the bridge, good for a minute.
pub(super) fn claims(issuer: &str, changes: &Value) -> Value {
    let now = seconds(SystemTime::now());
    let mut claims = json!({ "iss": issuer, "sub": "alice", "aud": "bridge", "exp": now + 60, "iat": now });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(super) fn settings(issuer: &str) -> TokenIssuer {
    TokenIssuer {
        issuer: issuer.to_owned(),
        audiences: vec!["bridge".to_owned()],
        jwks_url: None,
        algorithms: vec![TokenAlgorithm::EdDsa, TokenAlgorithm::Rs256],
        principal_claim: "sub".to_owned(),
        mapping_rules: MappingRules::default(),
        clock_skew: Duration::from_secs(5),
        keys_refresh: Duration::from_secs(3600),
        keys_max_age: Duration::from_secs(3600),
        ca: None,
        on_loopback: true,
    }
}

/// An issuer on loopback. It answers each connection once.
pub(super) struct IssuerServer {
    pub(super) address: String,
    keys: Arc<Mutex<Option<String>>>,
    fetches: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl IssuerServer {
    pub(super) async fn start(keys: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let configuration = json!({ "issuer": address, "jwks_uri": format!("{address}/keys?v=1") }).to_string();
        let (keys, fetches) = (Arc::new(Mutex::new(Some(keys))), Arc::new(AtomicUsize::new(0)));
        let (shown, counted) = (keys.clone(), fetches.clone());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let body = if request.starts_with("GET /.well-known/openid-configuration ") {
                    Some(configuration.clone())
                } else if request.starts_with("GET /keys?v=1 ") {
                    counted.fetch_add(1, Ordering::SeqCst);
                    shown.lock().unwrap().clone()
                } else {
                    None
                };
                let (status, body) = body.map_or(("503 Down", String::new()), |body| ("200 OK", body));
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        Self { address, keys, fetches, task }
    }

    /// From now on these are its keys; `None`: it is down.
    pub(super) fn show(&self, keys: Option<String>) {
        *self.keys.lock().unwrap() = keys;
    }

    /// How often its keys were asked for.
    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl Drop for IssuerServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
