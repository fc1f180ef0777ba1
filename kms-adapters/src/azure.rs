//! Azure Key Vault and Managed HSM: secrets wrapped by the keys interface (REST 7.4).
//!
//! Arrives: a secret of 32 bytes and what it is bound to. Leaves: a blob in which the vault's key wraps a fresh key, and that
//! one seals the secret with the context as associated data, since `wrapKey` itself can bind nothing. A wrap is opened once
//! before it is handed out: the service gives no checksums, and a key that is switched off still wraps. The name in a blob
//! decides neither the host nor the key that is asked.

mod algorithm;
mod credentials;
mod envelope;
mod refusal;

use barnabas_crypto::custody::{CustodyCause, CustodyFuture};
use barnabas_crypto::{Custody, CustodyContext, Secret};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use self::algorithm::{Algorithm, Operation};
use self::credentials::Source;
pub use self::credentials::{AzureCredentials, AzureIdentity};
use self::envelope::{Envelope, is_version};
use self::refusal::refused;
use crate::http::{Client, HttpSettings, Request, Response};
use crate::oauth::TokenCache;
use crate::secret::json_body;
use crate::{Error, SecretText, VendorError};

// Settings.

/// Where the keys are and who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AzureSettings {
    /// The vault or HSM, `https://NAME.vault.azure.net`; its TLS and timeouts hold for the token endpoint too.
    pub http: HttpSettings,
    /// What is behind the address.
    pub store: AzureStore,
    /// Which keys are used.
    pub keys: AzureKeys,
    /// Whether missing keys are made. It takes the right `keys/create`.
    pub create_keys: bool,
    /// How the gateway proves who it is.
    pub credentials: AzureCredentials,
    /// What tokens are for. Without it, the address without its first name: `https://vault.azure.net` and its like in
    /// other clouds, `https://managedhsm.azure.net`.
    pub resource: Option<String>,
}

impl AzureSettings {
    /// A vault in the public cloud, a key for each client, none made by the gateway.
    #[must_use]
    pub fn new(vault: impl Into<String>, credentials: AzureCredentials) -> Self {
        let http = HttpSettings::new(vault);
        let keys = AzureKeys::PerClient { prefix: KEY_PREFIX.into() };
        Self { http, store: AzureStore::Vault, keys, create_keys: false, credentials, resource: None }
    }
}

/// Which keys are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AzureKeys {
    /// One for all clients and streams: one key to look after, and a role that cannot tell clients apart.
    One {
        /// The key's name.
        name: String,
    },
    /// A key for each client and stream: each can be denied, rotated and deleted by itself.
    PerClient {
        /// Before each name.
        prefix: String,
    },
}

impl AzureKeys {
    /// The vault's name of the key for a caller's name.
    fn name(&self, key: &str) -> String {
        match self {
            Self::One { name } => name.clone(),
            Self::PerClient { prefix } => format!("{prefix}{key}"),
        }
    }
}

/// What is behind the address; it decides how keys wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AzureStore {
    /// AES-256 keys that wrap by A256KW (RFC 3394).
    ManagedHsm,
    /// A standard or premium vault: RSA keys that wrap by RSA-OAEP-256.
    Vault,
}

impl AzureStore {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::ManagedHsm => Algorithm::A256Kw,
            Self::Vault => Algorithm::RsaOaep256,
        }
    }
}

/// An adapter to one vault or managed HSM.
pub struct Azure {
    client: Client,
    settings: AzureSettings,
    source: Source,
    tokens: TokenCache,
}

impl Azure {
    /// Checks the settings; connects to nobody and reads no file.
    ///
    /// # Errors
    /// `Setting`, when an address or the key cannot be.
    pub fn new(settings: AzureSettings) -> Result<Self, Error> {
        if !is_name(&settings.keys.name("k")) {
            let why = format!("{:?} leads to no key's name: 1 to 127 letters, digits and -", settings.keys);
            return Err(Error::Setting { setting: "keys", why });
        }
        let client = Client::new(settings.http.clone())?;
        let resource = match &settings.resource {
            Some(resource) => resource.trim_end_matches('/').to_owned(),
            None => resource_of(client.authority())?,
        };
        let source = Source::new(&settings.credentials, &settings.http, resource)?;
        Ok(Self { client, settings, source, tokens: TokenCache::default() })
    }

    /// The vault's name of the key that a caller's name stands for.
    fn name(&self, key: &str) -> Result<String, Error> {
        let name = self.settings.keys.name(key);
        if !key.is_empty() && is_name(&name) {
            return Ok(name);
        }
        let advice = "name it with 1 to 127 letters, digits and -, or set one key for all";
        Err(VendorError::new(VENDOR, CustodyCause::Invalid).about(key).advising(advice).into())
    }

    async fn hide(&self, key: &str, secret: &Secret<32>, context: &CustodyContext) -> Result<Vec<u8>, Error> {
        let algorithm = self.settings.store.algorithm();
        let version = self.usable_version(key, algorithm).await?;
        let kek = Secret::<32>::draw().map_err(|_| Error::Entropy)?;
        let wrapped = self.operate(key, &version, Operation::Wrap(algorithm), kek.expose()).await?;
        let name = format!("{}/{version}", self.name(key)?);
        let blob = Envelope::seal(algorithm, name, &wrapped, &kek, secret, &bound(key, context))?;
        // What cannot be opened must be found now, not after a restart.
        let opened = self.give_back(key, &blob, context).await.map_err(|error| match error {
            Error::Wrapped(_) => strange(key, "what was wrapped does not open"),
            other => other,
        })?;
        if opened.matches(secret) { Ok(blob) } else { Err(strange(key, "another secret came back")) }
    }

    async fn give_back(&self, key: &str, blob: &[u8], context: &CustodyContext) -> Result<Secret<32>, Error> {
        let spoilt = || Error::Wrapped(key.to_owned());
        let envelope = Envelope::parse(blob).ok_or_else(spoilt)?;
        let operation = Operation::Unwrap(envelope.algorithm);
        let kek = self.operate(key, envelope.version(), operation, envelope.wrapped).await?;
        let kek = Secret::from_slice(&kek).ok_or_else(spoilt)?;
        envelope.open(&kek, &bound(key, context)).ok_or_else(spoilt)
    }
}

// Authentication: see `credentials`.

// Calls.

impl Custody for Azure {
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(async move { Ok(self.ensure(key).await?) })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(async move { Ok(self.hide(key, secret, context).await?) })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        Box::pin(async move { Ok(self.give_back(key, wrapped, context).await?) })
    }

    fn describe(&self) -> String {
        let what = match self.settings.store {
            AzureStore::ManagedHsm => "Azure Managed HSM",
            AzureStore::Vault => "Azure Key Vault",
        };
        format!("{what} at {}", self.client.endpoint())
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<String> {
        Envelope::parse(wrapped).map(|envelope| envelope.key.to_owned())
    }

    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        Box::pin(async move {
            let version = self.usable_version(key, self.settings.store.algorithm()).await?;
            Ok(Some(format!("{}/{version}", self.name(key)?)))
        })
    }
}

impl Azure {
    /// Get Key, and Create Key where there is none and the settings allow to make it. Two gateways that make the same key at
    /// once make two versions of it: both wrap, and each blob names its own.
    async fn ensure(&self, key: &str) -> Result<(), Error> {
        let name = self.name(key)?;
        match self.read(key).await {
            Err(Error::Vendor(error)) if error.cause == CustodyCause::NotFound && self.settings.create_keys => {}
            other => return other.map(|_| ()),
        }
        let made = match self.settings.store {
            AzureStore::ManagedHsm => json!({ "kty": "oct-HSM", "key_size": 256, "key_ops": OPERATIONS }),
            AzureStore::Vault => json!({ "kty": "RSA", "key_size": RSA_BITS, "key_ops": OPERATIONS }),
        };
        let path = format!("/keys/{name}/create?{API}");
        let response = self.call(key, Method::POST, &path, made.to_string().as_bytes()).await?;
        if response.status == 200 { Ok(()) } else { Err(refused(&response, key, None).into()) }
    }

    /// The current version, if the key is switched on and can do what is wanted of it.
    async fn usable_version(&self, key: &str, algorithm: Algorithm) -> Result<String, Error> {
        let bundle = self.read(key).await?;
        if !bundle.attributes.enabled {
            return Err(VendorError::new(VENDOR, CustodyCause::Disabled).about(key).coded("enabled is false").into());
        }
        let may = |operation: &&str| bundle.key.key_ops.iter().any(|allowed| allowed == operation);
        if !algorithm.fits(&bundle.key.kty) || !OPERATIONS.iter().all(may) {
            let advice = format!("use a key of type {} that may wrapKey and unwrapKey", algorithm.key_type());
            let error = VendorError::new(VENDOR, CustodyCause::Invalid).about(key).coded(bundle.key.kty);
            return Err(error.advising(advice).into());
        }
        let version = bundle.key.kid.rsplit('/').next().filter(|version| is_version(version));
        version.map(str::to_owned).ok_or_else(|| strange(key, "the answer names no version of the key"))
    }

    async fn read(&self, key: &str) -> Result<KeyBundle, Error> {
        // The slash before no version is how Microsoft's own clients ask for the current one.
        let path = format!("/keys/{}/?{API}", self.name(key)?);
        let response = self.call(key, Method::GET, &path, b"").await?;
        if response.status != 200 {
            return Err(refused(&response, key, None).into());
        }
        serde_json::from_slice(&response.body).map_err(|_| strange(key, "the answer is no key"))
    }

    /// Wrap Key and Unwrap Key with one version of a key; the answer must name the same one.
    async fn operate(
        &self,
        key: &str,
        version: &str,
        operation: Operation,
        value: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let name = self.name(key)?;
        let (verb, algorithm) = match operation {
            Operation::Unwrap(algorithm) => ("unwrapkey", algorithm),
            Operation::Wrap(algorithm) => ("wrapkey", algorithm),
        };
        let mut text = Zeroizing::new(String::with_capacity(value.len().div_ceil(3) * 4));
        URL_SAFE_NO_PAD.encode_string(value, &mut text);
        let asked = OperationParameters { alg: algorithm.name(), value: &text };
        let path = format!("/keys/{name}/{version}/{verb}?{API}");
        let response = self.call(key, Method::POST, &path, &json_body(&asked)).await?;
        if response.status != 200 {
            return Err(refused(&response, key, Some(operation)).into());
        }
        let answer: OperationResult =
            serde_json::from_slice(&response.body).map_err(|_| strange(key, "the answer has another form"))?;
        let mut named = answer.kid.rsplit('/');
        // Vaults write names as they were first written; to them case makes no difference.
        let is_same =
            named.next() == Some(version) && named.next().is_some_and(|other| other.eq_ignore_ascii_case(&name));
        if !is_same {
            return Err(strange(key, "another key answered"));
        }
        let mut result = Zeroizing::new(Vec::with_capacity(answer.value.expose().len()));
        let decoded = URL_SAFE_NO_PAD.decode_vec(answer.value.expose(), &mut result);
        decoded.map_err(|_| strange(key, "the value is not base64url"))?;
        Ok(result)
    }

    /// Sends with the token at hand; when it is refused, once more with a new one.
    async fn call(&self, key: &str, method: Method, path: &str, body: &[u8]) -> Result<Response, Error> {
        let mut token = self.tokens.current(self.source.token()).await?;
        let mut response = self.send(key, &method, path, body, &token.authorization()).await?;
        if response.status == 401 {
            self.tokens.forget(&token).await;
            token = self.tokens.current(self.source.token()).await?;
            response = self.send(key, &method, path, body, &token.authorization()).await?;
        }
        Ok(response)
    }

    async fn send(
        &self,
        key: &str,
        method: &Method,
        path: &str,
        body: &[u8],
        authorization: &str,
    ) -> Result<Response, Error> {
        let request = Request::new(method.clone(), path).secret_header(AUTHORIZATION, authorization);
        let mut request = request.header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(Zeroizing::new(body.to_vec()));
        }
        Ok(self.client.send(&request).await.map_err(|error| error.into_vendor(VENDOR).about(key))?)
    }
}

#[derive(Serialize)]
struct OperationParameters<'a> {
    alg: &'a str,
    value: &'a str,
}

#[derive(Deserialize)]
struct OperationResult {
    kid: String,
    value: SecretText,
}

#[derive(Deserialize)]
struct KeyBundle {
    key: JsonWebKey,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct JsonWebKey {
    kid: String,
    kty: String,
    #[serde(default)]
    key_ops: Vec<String>,
}

#[derive(Deserialize)]
struct Attributes {
    enabled: bool,
}

/// What the secret is bound to: the context, whose length its purpose fixes, then the caller's name of the key.
fn bound(key: &str, context: &CustodyContext) -> Vec<u8> {
    let mut bound = context.associated_data();
    bound.extend_from_slice(key.as_bytes());
    bound
}

/// What tokens for this host are for: a token that were given to another service would be good for it.
fn resource_of(authority: &str) -> Result<String, Error> {
    let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let service = host.split_once('.').map(|(_, service)| service);
    let known = service.filter(|service| service.starts_with("vault.") || service.starts_with("managedhsm."));
    known.map(|service| format!("https://{service}")).ok_or_else(|| {
        let why = format!("{host:?} is not NAME.vault... or NAME.managedhsm...: say what tokens are for");
        Error::Setting { setting: "resource", why }
    })
}

fn is_name(name: &str) -> bool {
    (1..=127).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

// Errors: see also `refusal`.

/// An answer that is not what the interface promises: damaged on the way, or not from the vault. It is asked again.
fn strange(key: &str, what: &'static str) -> Error {
    let error = VendorError::new(VENDOR, CustodyCause::Unreachable).about(key).coded(what);
    error.advising("if it lasts, see what stands between the gateway and the vault").into()
}

/// As the configuration names it.
const VENDOR: &str = "azure";
const KEY_PREFIX: &str = "barnabas-";
const API: &str = "api-version=7.4";
const OPERATIONS: [&str; 2] = ["wrapKey", "unwrapKey"];
/// NIST SP 800-57: 128 bits of strength until 2030 and after.
const RSA_BITS: u32 = 3072;

#[cfg(test)]
mod tests;
