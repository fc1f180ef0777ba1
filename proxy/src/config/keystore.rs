//! `keystore`: where the secrets in the gateway's custody are kept, and what opens it.
//! A mapping arrives, a [`Keystore`] leaves. The key itself never passes through here: only the place of what unlocks it.

use std::path::PathBuf;

use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::reader::Reader;
use super::secret::SecretRef;
use super::values::{self, Places};

/// A keystore and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keystore {
    /// Which kind.
    pub backend: KeystoreBackend,
}

/// The kinds of keystores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeystoreBackend {
    /// Files on this machine.
    Local {
        /// What `barnabas init` made.
        path: PathBuf,
        /// What opens it.
        unlock: Unlock,
    },
}

/// What opens a local keystore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlock {
    /// A file with 32 random bytes, readable by its owner only.
    KeyFile(PathBuf),
    /// A passphrase (stretched by Argon2id).
    Passphrase(SecretRef),
}

impl Keystore {
    pub(super) fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let kind = reader.required("type", values::choice(&[("local", ())]), "write local");
        let path = reader.required("path", |text| places.existing(text), "name what `barnabas init` made");
        let unlock = parse_unlock(&reader, places);
        reader.finish();
        kind?;
        Some(Self { backend: KeystoreBackend::Local { path: path?, unlock: unlock? } })
    }
}

fn parse_unlock(reader: &Reader<'_>, places: &Places<'_>) -> Option<Unlock> {
    let remedy = "write { key_file: path } or { passphrase: { file: path } }";
    if reader.node("unlock").is_none() {
        reader.refuse("unlock", Refusal::new("`unlock` is missing", remedy));
        return None;
    }
    let section = reader.section("unlock")?;
    let key_file = section.optional("key_file", |text| places.file(text));
    let has_passphrase = section.node("passphrase").is_some();
    let passphrase = SecretRef::parse(&section, "passphrase", places);
    let unlock = match (key_file, has_passphrase) {
        (Some(Some(path)), false) => Some(Unlock::KeyFile(path)),
        (Some(None), true) => passphrase.map(Unlock::Passphrase),
        (None, _) => None,
        _ => {
            section.refuse_here(Refusal::new("a keystore is opened by exactly one thing", remedy));
            None
        }
    };
    section.finish();
    unlock
}

pub(super) const KEYS: &[Key] = &[
    key(
        "keystore",
        Kind::Section,
        "required when a stream may be sealed",
        "Where the keys in the gateway's custody are kept.",
    ),
    key("keystore.type", Kind::Choice, "required", "`local`."),
    key("keystore.path", Kind::Path, "required", "The keystore that `barnabas init` made."),
    key("keystore.unlock", Kind::Section, "required", "What opens it: `key_file` or `passphrase`."),
    key("keystore.unlock.key_file", Kind::Path, "none", "A file with 32 random bytes, readable by its owner only."),
    key("keystore.unlock.passphrase", Kind::Secret, "none", "Where the passphrase is."),
];
