//! Google Cloud KMS: secrets wrapped by the REST interface (v1) with additional authenticated data.
//!
//! Arrives: a secret of 32 bytes and what it is bound to. Leaves: the ciphertext with the name of the key version that
//! made it. The context and the caller's key name are associated data, so a blob opens for nobody else even where one
//! Cloud KMS key serves all. CRC32C is checked in both directions: bytes that were damaged on the way are an outage, never
//! a result. A wrap is a secret like any other until Cloud KMS has it: bodies are wiped.

mod credentials;
mod refusal;

use barnabas_crypto::custody::{CustodyCause, CustodyFuture};
use barnabas_crypto::{Custody, CustodyContext, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::credentials::GcpCredentials;
use self::credentials::Source;
use self::refusal::refused;
use crate::http::{Client, HttpSettings, Request, Response};
use crate::oauth::{TokenCache, number_or_text};
use crate::secret::json_body;
use crate::{Error, SecretText, VendorError};

// Settings.

/// Where the keys are and who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GcpSettings {
    /// Cloud KMS, `https://cloudkms.googleapis.com` or a private endpoint; its TLS and timeouts hold for token endpoints too.
    pub http: HttpSettings,
    /// `projects/PROJECT/locations/LOCATION/keyRings/RING`.
    pub key_ring: String,
    /// Which keys of the ring are used.
    pub keys: GcpKeys,
    /// Whether missing keys are made. It takes `cloudkms.cryptoKeys.create` on the ring.
    pub create_keys: bool,
    /// How the gateway proves who it is.
    pub credentials: GcpCredentials,
}

impl GcpSettings {
    /// Google's own endpoint, a key for each client, none made by the gateway.
    #[must_use]
    pub fn new(key_ring: impl Into<String>, credentials: GcpCredentials) -> Self {
        let http = HttpSettings::new("https://cloudkms.googleapis.com");
        let keys = GcpKeys::PerClient { prefix: KEY_PREFIX.into() };
        Self { http, key_ring: key_ring.into(), keys, create_keys: false, credentials }
    }
}

/// Which keys of the ring are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GcpKeys {
    /// One for all clients and streams: one key to look after, and a role that cannot tell clients apart.
    One {
        /// The key's id.
        name: String,
    },
    /// A key for each client and stream: each can be denied, rotated and destroyed by itself.
    PerClient {
        /// Before each name.
        prefix: String,
    },
}

impl GcpKeys {
    /// The id of the key for a caller's name.
    fn id(&self, key: &str) -> String {
        match self {
            Self::One { name } => name.clone(),
            Self::PerClient { prefix } => format!("{prefix}{key}"),
        }
    }
}

/// An adapter to one key ring of Google Cloud KMS.
pub struct Gcp {
    client: Client,
    settings: GcpSettings,
    source: Source,
    tokens: TokenCache,
}

impl Gcp {
    /// Checks the settings; connects to nobody and reads no file.
    ///
    /// # Errors
    /// `Setting`, when an endpoint, the key ring or the key cannot be.
    pub fn new(settings: GcpSettings) -> Result<Self, Error> {
        if !is_ring(&settings.key_ring) {
            let why = format!("{:?} is not projects/PROJECT/locations/LOCATION/keyRings/RING", settings.key_ring);
            return Err(Error::Setting { setting: "key_ring", why });
        }
        if !is_id(&settings.keys.id("k")) {
            let why = format!("{:?} leads to no key's id: 1 to 63 letters, digits, - and _", settings.keys);
            return Err(Error::Setting { setting: "keys", why });
        }
        let client = Client::new(settings.http.clone())?;
        let source = Source::new(&settings.credentials, &settings.http)?;
        Ok(Self { client, settings, source, tokens: TokenCache::default() })
    }

    /// The resource name of the key that a caller's name stands for.
    fn resource(&self, key: &str) -> Result<String, Error> {
        let id = self.settings.keys.id(key);
        if key.is_empty() || !is_id(&id) {
            let advice = "name it with 1 to 63 letters, digits, - and _, or set one key for all";
            return Err(VendorError::new(VENDOR, CustodyCause::Invalid).about(key).advising(advice).into());
        }
        Ok(format!("{}/cryptoKeys/{id}", self.settings.key_ring))
    }
}

// Authentication: see `credentials`.

// Calls.

impl Custody for Gcp {
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(async move { Ok(self.create(key).await?) })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let sealed = self.encrypt(key, secret.expose(), &bound(key, context)).await?;
            Ok(sealed.to_blob().ok_or_else(|| strange(key, "no name of a key version in the answer"))?)
        })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        Box::pin(async move {
            let sealed = Sealed::of_blob(wrapped).ok_or_else(|| Error::Wrapped(key.to_owned()))?;
            let plain = self.decrypt(key, sealed.ciphertext, &bound(key, context)).await?;
            Ok(Secret::from_slice(&plain).ok_or_else(|| Error::Wrapped(key.to_owned()))?)
        })
    }

    fn describe(&self) -> String {
        format!("Google Cloud KMS {} at {}", self.settings.key_ring, self.client.endpoint())
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<String> {
        Sealed::of_blob(wrapped).map(|sealed| sealed.version.to_owned())
    }

    /// Asks with a few bytes that are no secret: the answer names the version, and the smallest role allows it.
    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        Box::pin(async move { Ok(Some(self.encrypt(key, PROBE, PROBE).await?.version)) })
    }
}

impl Gcp {
    /// `projects.locations.keyRings.cryptoKeys.create`: a software key that encrypts and decrypts. Without the right to make
    /// keys nothing is asked: the first wrap says whether the operator has made it.
    async fn create(&self, key: &str) -> Result<(), Error> {
        let resource = self.resource(key)?;
        if !self.settings.create_keys {
            return Ok(());
        }
        let id = resource.rsplit('/').next().unwrap_or_default();
        let path = format!("/v1/{}/cryptoKeys?cryptoKeyId={id}", self.settings.key_ring);
        let response = self.call(key, &path, br#"{"purpose":"ENCRYPT_DECRYPT"}"#).await?;
        match response.status {
            200 | 409 => Ok(()),
            _ => Err(refused(&response, key, Act::Other).into()),
        }
    }

    async fn encrypt(&self, key: &str, plain: &[u8], bound: &[u8]) -> Result<Fresh, Error> {
        let plaintext = in_base64(plain);
        let asked = EncryptRequest {
            plaintext: &plaintext,
            plaintext_crc32c: crc32c(plain).to_string(),
            bound: STANDARD.encode(bound),
            bound_crc32c: crc32c(bound).to_string(),
        };
        let path = format!("/v1/{}:encrypt", self.resource(key)?);
        let answer: EncryptAnswer = self.ask(key, &path, &asked, Act::Encrypt).await?;
        if !(answer.plaintext_was_checked && answer.bound_was_checked) {
            return Err(strange(key, "the checksums that were sent are not confirmed"));
        }
        let ciphertext = STANDARD.decode(&answer.ciphertext).ok();
        let ciphertext = ciphertext.filter(|bytes| u64::from(crc32c(bytes)) == answer.ciphertext_crc32c);
        let ciphertext = ciphertext.ok_or_else(|| strange(key, "the ciphertext does not have its checksum"))?;
        Ok(Fresh { version: answer.name, ciphertext })
    }

    async fn decrypt(&self, key: &str, ciphertext: &[u8], bound: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let asked = DecryptRequest {
            ciphertext: STANDARD.encode(ciphertext),
            ciphertext_crc32c: crc32c(ciphertext).to_string(),
            bound: STANDARD.encode(bound),
            bound_crc32c: crc32c(bound).to_string(),
        };
        let path = format!("/v1/{}:decrypt", self.resource(key)?);
        let answer: DecryptAnswer = self.ask(key, &path, &asked, Act::Decrypt).await?;
        let mut plain = Zeroizing::new(Vec::with_capacity(answer.plaintext.expose().len()));
        let decoded = STANDARD.decode_vec(answer.plaintext.expose(), &mut plain);
        if decoded.is_err() || u64::from(crc32c(&plain)) != answer.plaintext_crc32c {
            return Err(strange(key, "the plaintext does not have its checksum"));
        }
        Ok(plain)
    }

    async fn ask<A>(&self, key: &str, path: &str, asked: &impl Serialize, act: Act) -> Result<A, Error>
    where
        A: for<'a> Deserialize<'a>,
    {
        let response = self.call(key, path, &json_body(asked)).await?;
        if response.status != 200 {
            return Err(refused(&response, key, act).into());
        }
        serde_json::from_slice(&response.body).map_err(|_| strange(key, "the answer has another form"))
    }

    /// Sends with the token at hand; when it is refused, once more with a new one.
    async fn call(&self, key: &str, path: &str, body: &[u8]) -> Result<Response, Error> {
        let mut token = self.tokens.current(self.source.token()).await?;
        let mut response = self.send(key, path, body, &token.authorization()).await?;
        if response.status == 401 {
            self.tokens.forget(&token).await;
            token = self.tokens.current(self.source.token()).await?;
            response = self.send(key, path, body, &token.authorization()).await?;
        }
        Ok(response)
    }

    async fn send(&self, key: &str, path: &str, body: &[u8], authorization: &str) -> Result<Response, Error> {
        let request = Request::new(Method::POST, path).secret_header(AUTHORIZATION, authorization);
        let request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json");
        let sent = self.client.send(&request.body(Zeroizing::new(body.to_vec()))).await;
        Ok(sent.map_err(|error| error.into_vendor(VENDOR).about(key))?)
    }
}

/// What was asked, for the meaning of an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Decrypt,
    Encrypt,
    Other,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EncryptRequest<'a> {
    plaintext: &'a str,
    plaintext_crc32c: String,
    #[serde(rename = "additionalAuthenticatedData")]
    bound: String,
    #[serde(rename = "additionalAuthenticatedDataCrc32c")]
    bound_crc32c: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EncryptAnswer {
    name: String,
    ciphertext: String,
    #[serde(deserialize_with = "number_or_text")]
    ciphertext_crc32c: u64,
    #[serde(default, rename = "verifiedPlaintextCrc32c")]
    plaintext_was_checked: bool,
    #[serde(default, rename = "verifiedAdditionalAuthenticatedDataCrc32c")]
    bound_was_checked: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DecryptRequest {
    ciphertext: String,
    ciphertext_crc32c: String,
    #[serde(rename = "additionalAuthenticatedData")]
    bound: String,
    #[serde(rename = "additionalAuthenticatedDataCrc32c")]
    bound_crc32c: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DecryptAnswer {
    plaintext: SecretText,
    #[serde(deserialize_with = "number_or_text")]
    plaintext_crc32c: u64,
}

/// What Cloud KMS gave for a secret.
struct Fresh {
    version: String,
    ciphertext: Vec<u8>,
}

impl Fresh {
    /// Blob: format (1 byte) ‖ length of the version's name (2 bytes) ‖ name ‖ CRC32C of name and ciphertext ‖ ciphertext.
    fn to_blob(&self) -> Option<Vec<u8>> {
        let length = u16::try_from(self.version.len()).ok().filter(|length| (1..=MOST_VERSION).contains(length))?;
        let mut blob = vec![BLOB_FORMAT];
        blob.extend(length.to_be_bytes());
        blob.extend_from_slice(self.version.as_bytes());
        blob.extend(checksum(&self.version, &self.ciphertext));
        blob.extend_from_slice(&self.ciphertext);
        Some(blob)
    }
}

/// A blob taken apart. The name tells an operator which version a wrap is under and decides nothing: Cloud KMS finds the
/// version in the ciphertext, which it authenticates. The checksum finds a name that was damaged.
struct Sealed<'a> {
    version: &'a str,
    ciphertext: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn of_blob(blob: &'a [u8]) -> Option<Self> {
        let rest = blob.strip_prefix(&[BLOB_FORMAT])?;
        let (length, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (check, ciphertext) = rest.split_first_chunk::<4>()?;
        let version = core::str::from_utf8(version).ok()?;
        (*check == checksum(version, ciphertext)).then_some(Self { version, ciphertext })
    }
}

/// Associated data: the context, whose length its purpose fixes, then the caller's name of the key.
fn bound(key: &str, context: &CustodyContext) -> Vec<u8> {
    let mut bound = context.associated_data();
    bound.extend_from_slice(key.as_bytes());
    bound
}

fn checksum(version: &str, ciphertext: &[u8]) -> [u8; 4] {
    crc32c(&[version.as_bytes(), ciphertext].concat()).to_be_bytes()
}

/// CRC-32C (Castagnoli), as the interface wants it.
fn crc32c(bytes: &[u8]) -> u32 {
    // The algorithm has 32 bits, whatever the type of the result.
    u32::try_from(crc_fast::checksum(Crc32Iscsi, bytes)).unwrap_or_default()
}

fn in_base64(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
    STANDARD.encode_string(bytes, &mut text);
    text
}

fn is_ring(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let allowed = |part: &&str| {
        !part.is_empty() && part.len() <= 128 && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.:".contains(&c))
    };
    matches!(parts.as_slice(), ["projects", a, "locations", b, "keyRings", c] if [a, b, c].into_iter().all(allowed))
}

fn is_id(id: &str) -> bool {
    (1..=63).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

// Errors: see also `refusal`.

/// An answer that is not what the interface promises: damaged on the way, or not from Cloud KMS. It is asked again.
fn strange(key: &str, what: &'static str) -> Error {
    let error = VendorError::new(VENDOR, CustodyCause::Unreachable).about(key).coded(what);
    error.advising("if it lasts, see what stands between the gateway and Cloud KMS").into()
}

/// As the configuration names it.
const VENDOR: &str = "gcp";
const KEY_PREFIX: &str = "barnabas-";
const BLOB_FORMAT: u8 = 1;
/// Cloud KMS resource names stay far below it.
const MOST_VERSION: u16 = 512;
const PROBE: &[u8] = b"barnabas v1 custody probe";

#[cfg(test)]
mod tests;
