//! Azure Key Vault and Managed HSM on the bench: a contract server with real RSA-OAEP-256 and AES key wrap, roles, key
//! states and token endpoints.
//!
//! It is not Microsoft's service; Microsoft's own client is run against it (`tests/kms/azure/client.py`). The adapter comes in
//! by a client secret whose only role is the file that the documentation shows.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::Custody;
use barnabas_kms::{
    Azure, AzureCredentials, AzureIdentity, AzureSettings, AzureStore, HttpSettings, Plaintext, SecretSource,
    TlsSettings,
};
use serde_json::json;

use super::contract::Contract;
use super::fault::http_answer;
use super::{Bench, Case, Via, block_on};
use crate::scratch::unique;

/// A vault with the application of one gateway.
pub struct Vault(Entra);

/// A managed HSM with the application of one gateway.
pub struct ManagedHsm(Entra);

/// A server of either kind, and who asks it.
pub struct Entra {
    /// The server.
    pub server: Contract,
    store: AzureStore,
    secret: &'static str,
}

impl Entra {
    /// Starts the server for one kind of store.
    pub fn start(store: AzureStore) -> Self {
        let arguments: &[&str] = if store == AzureStore::ManagedHsm { &["--hsm"] } else { &[] };
        let entra = Self { server: Contract::start("azure", arguments), store, secret: "secret" };
        entra.put_secret();
        entra
    }

    /// An application of the server's directory.
    pub fn identity(&self, client_id: &str) -> AzureIdentity {
        AzureIdentity { authority: self.server.address(), ..AzureIdentity::new(TENANT, client_id) }
    }

    /// Settings as the documentation shows them, with short timeouts.
    pub fn settings(&self, via: &Via, credentials: AzureCredentials) -> AzureSettings {
        let (scheme, host) = if via.ca.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        let http = HttpSettings {
            tls: TlsSettings { ca: via.ca.clone(), client_certificate: None },
            plaintext: Plaintext::Loopback,
            request_timeout: Duration::from_millis(1900),
            ..HttpSettings::new(format!("{scheme}://{host}:{}", via.port))
        };
        let resource = match self.store {
            AzureStore::ManagedHsm => "https://managedhsm.azure.net",
            AzureStore::Vault => "https://vault.azure.net",
        };
        let settings = AzureSettings::new("", credentials);
        AzureSettings { http, store: self.store, resource: Some(resource.into()), ..settings }
    }

    /// The adapter of an operator who may make keys. Making an RSA key takes a while.
    pub fn creator(&self) -> Azure {
        let secret = SecretSource::File(self.server.file("secret-operator"));
        let credentials = AzureCredentials::ClientSecret(self.identity("makes-keys"), secret);
        let mut settings = self.settings(&Via::port(self.server.port()), credentials);
        settings.http.request_timeout = PATIENT;
        Azure::new(AzureSettings { create_keys: true, ..settings }).expect("the settings are right")
    }

    /// An adapter for which the vault is asked straight.
    pub fn adapter_with(&self, credentials: AzureCredentials) -> Azure {
        let mut settings = self.settings(&Via::port(self.server.port()), credentials);
        settings.http.request_timeout = PATIENT;
        Azure::new(settings).expect("the settings are right")
    }

    /// Makes a key that the adapters may use, and says its name.
    pub fn make_key(&self) -> String {
        let key = unique("client");
        block_on(self.creator().ensure_key(&key)).expect("a key can be made");
        key
    }

    /// The vault's name for a key.
    pub fn id(key: &str) -> String {
        format!("barnabas-{key}")
    }

    fn own_secret(&self) -> PathBuf {
        self.server.file("own-secret")
    }

    fn put_secret(&self) {
        fs::write(self.own_secret(), self.server.text(self.secret)).expect("the secret can be written");
    }

    fn adapter(&self, via: &Via) -> Arc<dyn Custody> {
        let secret = SecretSource::File(self.own_secret());
        let credentials = AzureCredentials::ClientSecret(self.identity("by-secret"), secret);
        Arc::new(Azure::new(self.settings(via, credentials)).expect("the settings are right"))
    }

    fn make_forbidden_key(&mut self) -> String {
        let key = self.make_key();
        self.server.add("denied", &Self::id(&key));
        key
    }

    fn end_credentials(&mut self) {
        let secret = self.server.text(self.secret);
        self.server.set("revoked", json!([secret]));
    }

    fn renew_credentials(&mut self) {
        self.secret = if self.secret == "secret" { "secret-following" } else { "secret" };
        self.put_secret();
    }
}

/// Both stores are tested alike.
macro_rules! bench {
    ($store:ident, $name:literal) => {
        impl Bench for $store {
            const NAME: &'static str = $name;
            const CANNOT: &'static [(Case, &'static str)] = &[];

            fn start() -> Self {
                Self(Entra::start(AzureStore::$store))
            }

            fn port(&self) -> u16 {
                self.0.server.port()
            }

            fn adapter(&mut self, via: &Via) -> Arc<dyn Custody> {
                self.0.adapter(via)
            }

            fn make_key(&mut self) -> String {
                self.0.make_key()
            }

            fn make_forbidden_key(&mut self) -> String {
                self.0.make_forbidden_key()
            }

            fn missing_key(&mut self) -> String {
                unique("missing")
            }

            fn disable_key(&mut self, key: &str) {
                self.0.server.add("disabled", &Entra::id(key));
            }

            fn end_credentials(&mut self) {
                self.0.end_credentials();
            }

            fn renew_credentials(&mut self) {
                self.0.renew_credentials();
            }

            fn throttled(&self) -> Vec<u8> {
                let error = json!({ "code": "Throttled", "message": "Request was not processed because too many came" });
                http_answer("429 Too Many Requests", &[("Retry-After", "1")], &json!({ "error": error }).to_string())
            }

            fn broken(&self) -> Vec<u8> {
                let error = json!({ "code": "InternalServerError", "message": "An internal error occurred" });
                http_answer("500 Internal Server Error", &[], &json!({ "error": error }).to_string())
            }

            fn stop(&mut self) {
                self.0.server.stop();
            }

            fn restart(&mut self) {
                self.0.server.restart();
            }
        }
    };
}

bench!(Vault, "azure (contract server, vault)");
bench!(ManagedHsm, "azure (contract server, managed HSM)");

/// For calls whose slowness is no finding: a key is made, or the machine is busy.
const PATIENT: Duration = Duration::from_secs(60);
/// The server's directory.
pub const TENANT: &str = "11111111-2222-3333-4444-555555555555";
