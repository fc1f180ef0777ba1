//! Google Cloud KMS on the bench: a contract server with real AES-GCM, key states, roles and checksums.
//!
//! It is not Google's service; Google's own clients are run against it (`tests/kms/gcp/client.py`). The adapter comes in by
//! a service account key whose only role is the file that the documentation shows.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::Custody;
use barnabas_kms::{Gcp, GcpCredentials, GcpSettings, HttpSettings, Plaintext, SecretSource, TlsSettings};
use serde_json::json;

use super::contract::Contract;
use super::fault::http_answer;
use super::{Bench, Case, Via, block_on};
use crate::scratch::unique;

/// A server with the service account of one gateway.
pub struct CloudKms {
    /// The server.
    pub server: Contract,
    account: &'static str,
}

impl CloudKms {
    /// The credential file that the gateway's settings point to.
    pub fn own_credential(&self) -> PathBuf {
        self.server.file("own.json")
    }

    /// Settings as the documentation shows them, with short timeouts.
    pub fn settings(&self, via: &Via, credentials: GcpCredentials) -> GcpSettings {
        let (scheme, host) = if via.ca.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        let http = HttpSettings {
            tls: TlsSettings { ca: via.ca.clone(), client_certificate: None },
            plaintext: Plaintext::Loopback,
            request_timeout: Duration::from_millis(1900),
            ..HttpSettings::new(format!("{scheme}://{host}:{}", via.port))
        };
        GcpSettings { http, ..GcpSettings::new(RING, credentials) }
    }

    /// Settings for calls whose slowness is no finding, straight to this port.
    pub fn patient(&self, port: u16, credentials: GcpCredentials) -> GcpSettings {
        let mut settings = self.settings(&Via::port(port), credentials);
        settings.http.request_timeout = Duration::from_secs(60);
        settings
    }

    /// A credential file that the server made.
    pub fn credential(&self, name: &str) -> GcpCredentials {
        GcpCredentials::File(SecretSource::File(self.server.file(name)))
    }

    /// The adapter of an operator who may make keys.
    pub fn creator(&self) -> Gcp {
        let settings = self.patient(self.server.port(), self.credential("creator.json"));
        Gcp::new(GcpSettings { create_keys: true, ..settings }).expect("the settings are right")
    }

    /// The ring's name for a key.
    pub fn id(key: &str) -> String {
        format!("barnabas-{key}")
    }

    fn put_credential(&self) {
        let file = self.server.text(&format!("{}.json", self.account));
        fs::write(self.own_credential(), file).expect("the credential can be written");
    }
}

impl Bench for CloudKms {
    const NAME: &'static str = "gcp (contract server)";
    const CANNOT: &'static [(Case, &'static str)] = &[];

    fn start() -> Self {
        let bench = Self { server: Contract::start("gcp", &[]), account: "gateway" };
        bench.put_credential();
        bench
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    fn adapter(&mut self, via: &Via) -> Arc<dyn Custody> {
        let settings = self.settings(via, self.credential("own.json"));
        Arc::new(Gcp::new(settings).expect("the settings are right"))
    }

    fn make_key(&mut self) -> String {
        let key = unique("client");
        block_on(self.creator().ensure_key(&key)).expect("a key can be made");
        key
    }

    fn make_forbidden_key(&mut self) -> String {
        let key = self.make_key();
        self.server.add("denied", &Self::id(&key));
        key
    }

    fn missing_key(&mut self) -> String {
        unique("missing")
    }

    fn disable_key(&mut self, key: &str) {
        self.server.add("disabled", &Self::id(key));
    }

    fn end_credentials(&mut self) {
        let account = format!("{}@test.iam.gserviceaccount.com", self.account);
        self.server.set("revoked", json!([account]));
    }

    fn renew_credentials(&mut self) {
        self.account = if self.account == "gateway" { "following" } else { "gateway" };
        self.put_credential();
    }

    fn throttled(&self) -> Vec<u8> {
        let error = json!({ "code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED" });
        http_answer("429 Too Many Requests", &[], &json!({ "error": error }).to_string())
    }

    fn broken(&self) -> Vec<u8> {
        let error = json!({ "code": 503, "message": "The service is unavailable.", "status": "UNAVAILABLE" });
        http_answer("503 Service Unavailable", &[], &json!({ "error": error }).to_string())
    }

    fn stop(&mut self) {
        self.server.stop();
    }

    fn restart(&mut self) {
        self.server.restart();
    }
}

/// The key ring of all tests.
pub const RING: &str = "projects/test/locations/europe-west3/keyRings/barnabas";
