//! An OpenID Connect issuer over TLS on loopback: discovery, keys that rotate, tokens that say whatever a test wants. It counts how often
//! its keys are asked for, and can be silent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::certs::ServerFiles;

/// A running issuer. Its thread ends at the first connection after it was dropped.
pub struct Issuer {
    address: String,
    shared: Arc<Shared>,
    key: SigningKey,
    made: usize,
}

struct Shared {
    keys: Mutex<Vec<Value>>,
    fetches: AtomicUsize,
    silent: AtomicBool,
    dropped: AtomicBool,
}

/// A key that signs tokens.
pub struct SigningKey {
    id: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Issuer {
    /// Starts with one key.
    pub fn start(files: &ServerFiles) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let address = format!("https://localhost:{port}/realms/test");
        let key = SigningKey::new("key-0", false);
        let shared = Arc::new(Shared {
            keys: Mutex::new(vec![key.jwk()]),
            fetches: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
        });
        let tls = Arc::new(server_config(files));
        let (thread, named) = (shared.clone(), address.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if thread.dropped.load(Ordering::SeqCst) {
                    return;
                }
                if let (Ok(socket), false) = (socket, thread.silent.load(Ordering::SeqCst)) {
                    // A client that breaks off is its own business.
                    answer(socket, tls.clone(), &thread, &named).ok();
                }
            }
        });
        Self { address, shared, key, made: 1 }
    }

    /// What stands in `iss`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The line of a bridge's configuration that trusts this issuer for the audience `bridge`. `more` are further keys.
    pub fn as_bearer(&self, files: &ServerFiles, more: &str) -> String {
        let ca = files.ca.display();
        format!("bearer: [{{ issuer: '{}', audience: bridge, ca: '{ca}', clock_skew: 2s{more} }}]", self.address)
    }

    /// A token for `sub`, good for a minute; members of `changes` replace claims, null takes one out.
    pub fn token(&self, sub: &str, changes: &Value) -> String {
        self.key.token(&self.claims(sub, changes))
    }

    /// The claims of such a token.
    pub fn claims(&self, sub: &str, changes: &Value) -> Value {
        let now = seconds();
        let mut claims = json!({ "iss": self.address, "sub": sub, "aud": "bridge", "exp": now + 60, "iat": now });
        let members = claims.as_object_mut().expect("claims are an object");
        for (name, value) in changes.as_object().into_iter().flatten() {
            match value {
                Value::Null => members.remove(name),
                value => members.insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    /// From now on another key signs, of the other kind; `keep` says whether the old one is still shown.
    pub fn rotate(&mut self, keep: bool) {
        let next = SigningKey::new(&format!("key-{}", self.made), self.made % 2 == 1);
        self.made += 1;
        let mut keys = self.shared.keys.lock().expect("no holder panics");
        if !keep {
            keys.clear();
        }
        keys.push(next.jwk());
        self.key = next;
    }

    /// How often its keys were asked for.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Whether it answers nobody.
    pub fn be_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.dropped.store(true, Ordering::SeqCst);
    }
}

impl SigningKey {
    /// A fresh key: ECDSA on P-256, or Ed25519.
    pub fn new(id: &str, p256: bool) -> Self {
        let random = SystemRandom::new();
        let pair = if p256 {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
            Pair::P256(pair.expect("its own key"))
        } else {
            let document = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
            Pair::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("its own key"))
        };
        Self { id: id.to_owned(), pair }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(json!({ "alg": self.algorithm(), "kid": self.id, "typ": "at+jwt" }), claims)
    }

    /// A token with this header.
    pub fn token_with(&self, header: Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature").as_ref().to_vec()
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
        }
    }

    fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Ed25519(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id, "x": encode(pair.public_key().as_ref())
            }),
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y })
            }
        }
    }
}

/// Now, as claims say it.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs()
}

fn answer(
    socket: TcpStream,
    tls: Arc<rustls::ServerConfig>,
    shared: &Shared,
    address: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let session = rustls::ServerConnection::new(tls)?;
    let mut stream = BufReader::new(rustls::StreamOwned::new(session, socket));
    let mut line = String::new();
    stream.by_ref().take(4096).read_line(&mut line)?;
    let body = match line.split(' ').nth(1) {
        Some("/realms/test/.well-known/openid-configuration") => {
            json!({ "issuer": address, "jwks_uri": format!("{address}/keys"), "token_endpoint": format!("{address}/t") })
        }
        Some("/realms/test/keys") => {
            shared.fetches.fetch_add(1, Ordering::SeqCst);
            json!({ "keys": *shared.keys.lock().expect("no holder panics") })
        }
        _ => Value::Null,
    };
    let status = if body.is_null() { "404 Not Found" } else { "200 OK" };
    let body = body.to_string();
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line)?;
    }
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.get_mut().write_all(answer.as_bytes())?;
    stream.get_mut().conn.send_close_notify();
    stream.get_mut().flush()?;
    Ok(())
}

/// TLS of a server with these files, without client certificates.
pub(crate) fn server_config(files: &ServerFiles) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_file_iter(&files.certificate).expect("the harness wrote the file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("the file holds certificates");
    let key = PrivateKeyDer::from_pem_file(&files.private_key).expect("the harness wrote the file");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has the default versions").with_no_client_auth();
    builder.with_single_cert(chain, key).expect("key and certificate belong together")
}
