//! The keystore file: JSON, so that an operator can see what it holds; everything secret in it is sealed.
//!
//! Arrives: the file's bytes, which someone may have edited. Leaves: its entries, still sealed, once the check value says that
//! the unlocking key is right and the seal over the whole content says that nothing was changed, added or taken away.

use std::collections::BTreeMap;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use barnabas_crypto::{Secret, Wiped};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The file as it stands on disk.
#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    format: String,
    version: u64,
    /// Random, per keystore: salt of the key derivation and part of what every entry is bound to.
    #[serde(with = "text")]
    pub(crate) id: Vec<u8>,
    pub(crate) unlock: Method,
    /// Tells a wrong passphrase from a damaged file.
    #[serde(with = "text")]
    check: Vec<u8>,
    pub(crate) entries: BTreeMap<String, Entry>,
    /// HMAC over everything above.
    #[serde(with = "text")]
    seal: Vec<u8>,
}

/// How the keystore is unlocked.
#[derive(Serialize, Deserialize, Clone)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Method {
    /// Argon2id (RFC 9106) over a passphrase, salted with the keystore's id.
    Passphrase { memory_kib: u32, passes: u32, lanes: u32 },
    /// 32 random bytes in a file.
    KeyFile {},
}

/// A named key.
#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) kind: crate::EntryKind,
    pub(crate) enabled: bool,
    /// nonce 12 ‖ ciphertext 32 ‖ tag 16
    #[serde(with = "text")]
    pub(crate) sealed: Vec<u8>,
}

/// The keys that the unlocking key expands to.
pub(crate) struct Keys {
    /// Seals entries (AES-256-GCM).
    pub(crate) entry: Secret<32>,
    seal: Secret<32>,
    check: Secret<32>,
}

impl Document {
    /// An empty keystore.
    pub(crate) fn new(id: Vec<u8>, unlock: Method, keys: &Keys) -> Self {
        let (format, check) = (FORMAT.to_owned(), keys.check.expose().to_vec());
        let mut document =
            Self { format, version: VERSION, id, unlock, check, entries: BTreeMap::new(), seal: Vec::new() };
        document.reseal(keys);
        document
    }

    /// Reads the file's form; nothing is verified yet.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
        let value = match parsed {
            Ok(value) => value,
            // A keystore that ends early looks like one at its beginning.
            Err(error) if error.is_eof() => return Err(Error::Truncated(path.to_path_buf())),
            Err(_) => return Err(Error::NotAKeystore(path.to_path_buf())),
        };
        if value.get("format").and_then(serde_json::Value::as_str) != Some(FORMAT) {
            return Err(Error::NotAKeystore(path.to_path_buf()));
        }
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(VERSION) => {}
            Some(found) => {
                return Err(Error::Version { path: path.to_path_buf(), found });
            }
            None => return Err(Error::NotAKeystore(path.to_path_buf())),
        }
        serde_json::from_value(value).map_err(|_| Error::Damaged(path.to_path_buf()))
    }

    /// Whether these keys are the keystore's.
    pub(crate) fn is_unlocked_by(&self, keys: &Keys) -> bool {
        Secret::from_slice(&self.check).is_some_and(|check| check.matches(&keys.check))
    }

    /// Whether the content is as it was written with these keys.
    pub(crate) fn is_whole(&self, keys: &Keys) -> bool {
        let key = Wiped::new(hmac::Key::new(hmac::HMAC_SHA256, keys.seal.expose()));
        hmac::verify(key.lend(), &self.canonical(), &self.seal).is_ok()
    }

    /// Seals the content after a change.
    pub(crate) fn reseal(&mut self, keys: &Keys) {
        let key = Wiped::new(hmac::Key::new(hmac::HMAC_SHA256, keys.seal.expose()));
        self.seal = hmac::sign(key.lend(), &self.canonical()).as_ref().to_vec();
    }

    /// The file's bytes.
    pub(crate) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|_| Error::Damaged(path.to_path_buf()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// One encoding of the content, each part with its length.
    fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        put(self.format.as_bytes());
        put(&self.version.to_be_bytes());
        put(&self.id);
        match self.unlock {
            Method::Passphrase { memory_kib, passes, lanes } => {
                [memory_kib, passes, lanes].iter().for_each(|number| put(&number.to_be_bytes()));
            }
            Method::KeyFile {} => put(b"key file"),
        }
        put(&self.check);
        for (name, entry) in &self.entries {
            put(name.as_bytes());
            put(entry.kind.name().as_bytes());
            put(&[u8::from(entry.enabled)]);
            put(&entry.sealed);
        }
        out
    }
}

impl Method {
    /// What new keystores pay: the second recommended option of RFC 9106 4, with one lane since one thread computes it.
    pub(crate) const DEFAULT_PASSPHRASE: Self = Self::Passphrase { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// Stretches a passphrase. The costs come from the file and are bounded.
    pub(crate) fn stretch(&self, passphrase: &[u8], salt: &[u8], path: &Path) -> Result<Secret<32>, Error> {
        let Self::Passphrase { memory_kib, passes, lanes } = *self else {
            return Err(Error::UnlockMethod { path: path.to_path_buf(), wanted: "key file" });
        };
        if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
            return Err(Error::Cost(path.to_path_buf()));
        }
        let too_dear = |_| Error::Cost(path.to_path_buf());
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(too_dear)?;
        let mut key = zeroize::Zeroizing::new([0u8; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase, salt, &mut *key).map_err(too_dear)?;
        Ok(Secret::take(&mut key))
    }
}

impl Keys {
    /// Expands the unlocking key (HKDF-SHA256, one Expand per purpose).
    pub(crate) fn derive(unlocking: &Secret<32>, id: &[u8]) -> Result<Self, Error> {
        struct ThirtyTwo;
        impl KeyType for ThirtyTwo {
            fn len(&self) -> usize {
                32
            }
        }
        let prk = Wiped::new(Salt::new(HKDF_SHA256, id).extract(unlocking.expose()));
        let expand = |label: &[u8]| {
            let mut bytes = [0u8; 32];
            let filled =
                prk.lend().expand(&[b"barnabas keystore v1 ", label], ThirtyTwo).and_then(|okm| okm.fill(&mut bytes));
            filled.map_err(|_| Error::Entropy).map(|()| Secret::take(&mut bytes))
        };
        Ok(Self { entry: expand(b"entry")?, seal: expand(b"seal")?, check: expand(b"check")? })
    }
}

/// Bytes as base64 in the JSON file.
mod text {
    use super::{Engine, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

const FORMAT: &str = "barnabas-keystore";
const VERSION: u64 = 1;
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;
