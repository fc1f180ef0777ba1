//! KMIP 1.4: keys in a key management server or HSM that speaks the OASIS protocol, over TLS with client certificates.
//!
//! Arrives: secrets to hide under a key named by its KMIP Name, and what was hidden. Leaves: version ‖ id of the key ‖
//! nonce ‖ tag ‖ ciphertext of AES-256-GCM, which the server computes: the key stays there. The associated data binds the
//! context and the key's name. The blob names the very key that made it, so that a key whose Name has moved on to a newer
//! one (re-key) still opens what it closed. A key must never be asked for by Get, and no answer is believed unchecked.

mod connection;
mod message;
mod refusal;
pub mod ttlv;

use std::time::Duration;

use barnabas_crypto::custody::CustodyFuture;
use barnabas_crypto::{Custody, CustodyContext, Secret};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use self::connection::Connections;
use self::message::{
    ATTRIBUTE, ATTRIBUTE_NAME, ATTRIBUTE_VALUE, AUTHENTICATED_DATA, AUTHENTICATION_TAG, BLOCK_CIPHER_MODE,
    CRYPTOGRAPHIC_ALGORITHM, CRYPTOGRAPHIC_PARAMETERS, DATA, MAXIMUM_ITEMS, NAME_TYPE, NAME_VALUE, NONCE, OBJECT_TYPE,
    Operation, STATE, State, TAG_LENGTH, TEMPLATE_ATTRIBUTE, UNIQUE_IDENTIFIER, payload, request,
};
use self::refusal::Refusal;
use self::ttlv::{Items, Value, Writer};
use crate::Error;
use crate::tls::TlsSettings;

// Settings.

/// Where the server is, who we are, and what we may do there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KmipSettings {
    /// `host:port`; the registered port is 5696.
    pub address: String,
    /// The authority of the server's certificate, and our own certificate, which is how the server knows us.
    pub tls: TlsSettings,
    /// Whether a key that is missing is created and activated. Without it, an operator creates keys.
    pub create_keys: bool,
    /// Connections at the same time, 1 to 64. A call beyond them waits within its own timeout.
    pub connections: usize,
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For one request, waiting for a connection included.
    pub request_timeout: Duration,
}

impl KmipSettings {
    /// Four connections, 5 s to connect, 10 s for a request, no keys created.
    #[must_use]
    pub fn new(address: impl Into<String>, tls: TlsSettings) -> Self {
        Self {
            address: address.into(),
            tls,
            create_keys: false,
            connections: 4,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// A KMIP server.
pub struct Kmip {
    address: String,
    may_create: bool,
    connections: Connections,
}

// Authentication: the client certificate, see `connection`.

impl Kmip {
    /// Checks the settings; connects to nobody and reads no file.
    ///
    /// # Errors
    /// `Setting`.
    pub fn new(settings: KmipSettings) -> Result<Self, Error> {
        let connections = Connections::new(&settings)?;
        Ok(Self { address: settings.address, may_create: settings.create_keys, connections })
    }
}

// Calls.

impl Custody for Kmip {
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(async move {
            check_name(key)?;
            match self.locate(key).await {
                Err(Refusal::NoSuchKey) if self.may_create => self.create(key).await,
                other => other.map(|_| ()),
            }
            .map_err(|refusal| refusal.into_error(key))
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(async move {
            check_name(key)?;
            let wrapped = async {
                let id = self.locate(key).await?;
                let bound = bound_to(context, key);
                let sealed = match self.encrypt(&id, secret, &bound).await {
                    Err(refusal) => return Err(self.explain(&id, refusal).await),
                    Ok(sealed) => sealed,
                };
                Ok(Blob { id: &id, sealed }.to_bytes())
            };
            wrapped.await.map_err(|refusal: Refusal| refusal.into_error(key))
        })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        Box::pin(async move {
            check_name(key)?;
            let unwrapped = async {
                let blob = Blob::parse(wrapped).ok_or(Refusal::Wrapped)?;
                match self.decrypt(blob.id, &blob.sealed, &bound_to(context, key)).await {
                    Ok(secret) => Ok(secret),
                    Err(refusal) if refusal.may_mean_wrapped() => {
                        Err(self.explain_wrapped(key, blob.id, refusal).await)
                    }
                    Err(refusal) => Err(self.explain(blob.id, refusal).await),
                }
            };
            unwrapped.await.map_err(|refusal: Refusal| refusal.into_error(key))
        })
    }

    fn describe(&self) -> String {
        format!("kmip {}", self.address)
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<String> {
        Blob::parse(wrapped).map(|blob| blob.id.to_owned())
    }

    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        Box::pin(async move {
            check_name(key)?;
            self.locate(key).await.map(Some).map_err(|refusal| refusal.into_error(key))
        })
    }
}

impl Kmip {
    /// The id of the key that carries this name now. Asked anew for each wrap: those are rare, and a name may move on.
    async fn locate(&self, key: &str) -> Result<String, Refusal> {
        let answer = self.ask(Operation::Locate, |out| {
            out.integer(MAXIMUM_ITEMS, MOST_LOCATED);
            attribute(out, "Object Type", |out| out.enumeration(ATTRIBUTE_VALUE, SYMMETRIC_KEY));
            name_attribute(out, key);
        });
        let answer = answer.await?;
        let mut ids = Vec::new();
        for item in payload(&answer, Operation::Locate)? {
            match item?.value {
                Value::TextString(id) if id.len() > MAX_ID => return Err(Refusal::Nonsense("an id of such a length")),
                Value::TextString(id) => ids.push(id.to_owned()),
                // The number of located items.
                _ => {}
            }
        }
        match ids.as_slice() {
            [] => Err(Refusal::NoSuchKey),
            [id] => Ok(id.clone()),
            several => self.active_of(several).await,
        }
    }

    /// The one that may be used, of several keys with one name: a server that re-keyed may leave the old ones theirs.
    async fn active_of(&self, ids: &[String]) -> Result<String, Refusal> {
        let mut active = None;
        for id in ids {
            if self.state(id).await? == State::Active && active.replace(id).is_some() {
                return Err(Refusal::Ambiguous);
            }
        }
        active.cloned().ok_or(Refusal::Off)
    }

    async fn state(&self, id: &str) -> Result<State, Refusal> {
        let answer = self.ask(Operation::GetAttributes, |out| {
            out.text(UNIQUE_IDENTIFIER, id);
            out.text(ATTRIBUTE_NAME, STATE);
        });
        Ok(State::of(payload(&answer.await?, Operation::GetAttributes)?)?)
    }

    async fn create(&self, key: &str) -> Result<(), Refusal> {
        let created = self.ask(Operation::Create, |out| {
            out.enumeration(OBJECT_TYPE, SYMMETRIC_KEY);
            out.structure(TEMPLATE_ATTRIBUTE, |out| {
                attribute(out, "Cryptographic Algorithm", |out| out.enumeration(ATTRIBUTE_VALUE, AES));
                attribute(out, "Cryptographic Length", |out| out.integer(ATTRIBUTE_VALUE, 256));
                attribute(out, "Cryptographic Usage Mask", |out| out.integer(ATTRIBUTE_VALUE, ENCRYPT_AND_DECRYPT));
                name_attribute(out, key);
            });
        });
        let answer = created.await?;
        let id = match payload(&answer, Operation::Create) {
            Ok(created) => created.text(UNIQUE_IDENTIFIER)?,
            // Names are unique: another gateway was faster, or we may not create. The key tells which.
            Err(refused) => return self.locate(key).await.map(|_| ()).map_err(|_| Refusal::from(refused)),
        };
        let answer = self.ask(Operation::Activate, |out| out.text(UNIQUE_IDENTIFIER, id)).await?;
        payload(&answer, Operation::Activate)?;
        Ok(())
    }

    async fn encrypt(&self, id: &str, secret: &Secret<32>, bound: &[u8]) -> Result<Sealed, Refusal> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Refusal::Entropy)?;
        let answer = self.ask(Operation::Encrypt, |out| {
            out.text(UNIQUE_IDENTIFIER, id);
            gcm(out);
            out.bytes(DATA, secret.expose());
            out.bytes(NONCE, &nonce);
            out.bytes(AUTHENTICATED_DATA, bound);
        });
        let answer = answer.await?;
        let sealed = payload(&answer, Operation::Encrypt)?;
        is_about(sealed, id)?;
        match sealed.find(NONCE)? {
            Some(Value::ByteString(used)) if used != nonce => return Err(Refusal::Nonsense("another nonce than ours")),
            _ => {}
        }
        let ciphertext = sealed.bytes(DATA)?.try_into();
        let tag = sealed.bytes(AUTHENTICATION_TAG)?.try_into();
        Ok(Sealed {
            nonce,
            ciphertext: ciphertext.map_err(|_| Refusal::Nonsense("a ciphertext of another length"))?,
            tag: tag.map_err(|_| Refusal::Nonsense("a tag of another length than 16 bytes"))?,
        })
    }

    async fn decrypt(&self, id: &str, sealed: &Sealed, bound: &[u8]) -> Result<Secret<32>, Refusal> {
        let answer = self.ask(Operation::Decrypt, |out| {
            out.text(UNIQUE_IDENTIFIER, id);
            gcm(out);
            out.bytes(DATA, &sealed.ciphertext);
            out.bytes(NONCE, &sealed.nonce);
            out.bytes(AUTHENTICATED_DATA, bound);
            out.bytes(AUTHENTICATION_TAG, &sealed.tag);
        });
        let answer = answer.await?;
        let opened = payload(&answer, Operation::Decrypt)?;
        is_about(opened, id)?;
        Secret::from_slice(opened.bytes(DATA)?).ok_or(Refusal::Nonsense("a plaintext of another length"))
    }

    async fn ask(&self, asked: Operation, fill: impl FnOnce(&mut Writer)) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let message = request(asked, fill);
        Ok(self.connections.exchange(&message, asked.is_repeatable()).await?)
    }
}

// Errors: see also `refusal`.

impl Kmip {
    /// A server says of a key that is switched off no more than that the call is not permitted. Its state tells.
    async fn explain(&self, id: &str, refusal: Refusal) -> Refusal {
        if !refusal.may_mean_off() {
            return refusal;
        }
        match self.state(id).await {
            Ok(State::Active) | Err(_) => refusal,
            Ok(State::Destroyed) => Refusal::Destroyed,
            Ok(State::Off) => Refusal::Off,
        }
    }

    /// Servers do not agree on how to say that a tag does not match, and some say only that something failed. So: is the
    /// key there, and does it open what it closes? Then the blob is at fault; else the server.
    async fn explain_wrapped(&self, key: &str, id: &str, refusal: Refusal) -> Refusal {
        let current = match self.locate(key).await {
            Ok(current) => current,
            Err(other) => return other,
        };
        // The key of that name first: a client who has lost it is told so, whatever the blob is.
        for probed in [current.as_str(), id] {
            match self.probe(probed).await {
                Ok(()) => {}
                Err(other) if other.may_mean_wrapped() => return refusal,
                Err(other) => return self.explain(probed, other).await,
            }
        }
        Refusal::Wrapped
    }

    /// Whether a key opens what it closes.
    async fn probe(&self, id: &str) -> Result<(), Refusal> {
        let probe = Secret::draw().map_err(|_| Refusal::Entropy)?;
        let sealed = self.encrypt(id, &probe, PROBE).await?;
        let opened = self.decrypt(id, &sealed, PROBE).await?;
        if opened.matches(&probe) { Ok(()) } else { Err(Refusal::Nonsense("another plaintext than was encrypted")) }
    }
}

fn check_name(key: &str) -> Result<(), Error> {
    let allowed = !key.is_empty() && key.len() <= MAX_NAME && !key.chars().any(char::is_control);
    allowed.then_some(()).ok_or(Error::Name)
}

// What stands in a message and in a blob.

struct Sealed {
    nonce: [u8; NONCE_LEN],
    tag: [u8; TAG_LEN],
    ciphertext: [u8; 32],
}

/// Version (1) ‖ length of the id (2) ‖ id ‖ nonce (12) ‖ tag (16) ‖ ciphertext (32).
struct Blob<'a> {
    id: &'a str,
    sealed: Sealed,
}

impl<'a> Blob<'a> {
    fn to_bytes(&self) -> Vec<u8> {
        // Located ids are at most MAX_ID bytes.
        let length = u16::try_from(self.id.len()).unwrap_or(u16::MAX).to_be_bytes();
        let Sealed { nonce, tag, ciphertext } = &self.sealed;
        [&[BLOB_VERSION], &length[..], self.id.as_bytes(), nonce, tag, ciphertext].concat()
    }

    fn parse(wrapped: &'a [u8]) -> Option<Self> {
        let (length, rest) = wrapped.strip_prefix(&[BLOB_VERSION])?.split_first_chunk()?;
        let (id, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (tag, rest) = rest.split_first_chunk()?;
        let id = core::str::from_utf8(id).ok().filter(|id| (1..=MAX_ID).contains(&id.len()))?;
        Some(Self { id, sealed: Sealed { nonce: *nonce, tag: *tag, ciphertext: rest.try_into().ok()? } })
    }
}

/// The context's bytes have one length for each purpose, so the name behind them cannot be taken for a part of them.
fn bound_to(context: &CustodyContext, key: &str) -> Vec<u8> {
    let mut bound = context.associated_data();
    bound.extend_from_slice(key.as_bytes());
    bound
}

fn is_about(answer: Items<'_>, id: &str) -> Result<(), Refusal> {
    if answer.text(UNIQUE_IDENTIFIER)? == id { Ok(()) } else { Err(Refusal::Nonsense("another key than was asked")) }
}

fn gcm(out: &mut Writer) {
    out.structure(CRYPTOGRAPHIC_PARAMETERS, |out| {
        out.enumeration(BLOCK_CIPHER_MODE, GCM);
        out.enumeration(CRYPTOGRAPHIC_ALGORITHM, AES);
        out.integer(TAG_LENGTH, TAG_LEN as i32);
    });
}

fn attribute(out: &mut Writer, name: &str, value: impl FnOnce(&mut Writer)) {
    out.structure(ATTRIBUTE, |out| {
        out.text(ATTRIBUTE_NAME, name);
        value(out);
    });
}

fn name_attribute(out: &mut Writer, key: &str) {
    attribute(out, "Name", |out| {
        out.structure(ATTRIBUTE_VALUE, |out| {
            out.text(NAME_VALUE, key);
            out.enumeration(NAME_TYPE, UNINTERPRETED_TEXT);
        });
    });
}

/// What a probe is bound to: no context begins like this.
const PROBE: &[u8] = b"barnabas v1 kmip probe";

const BLOB_VERSION: u8 = 1;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Longest key name in bytes, as everywhere.
const MAX_NAME: usize = 1024;
/// Longest id in bytes: servers use a UUID or a number.
const MAX_ID: usize = 512;
/// More keys than this with one name is nothing that we would choose from.
const MOST_LOCATED: i32 = 16;

const SYMMETRIC_KEY: u32 = 2;
const AES: u32 = 3;
const GCM: u32 = 9;
const ENCRYPT_AND_DECRYPT: i32 = 0x4 | 0x8;
const UNINTERPRETED_TEXT: u32 = 1;

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
