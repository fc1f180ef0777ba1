//! The local keystore: named keys in one file, for a gateway without a KMS.
//!
//! Arrives: a passphrase or a key file, secrets to keep, seeds to wrap. Leaves: wrapped seeds, and secrets by name to the
//! program that unlocked it. The file is read by its owner alone, and a crash while writing leaves the old one. Several
//! processes may use one file: a writer locks it and reads it again first, a reader reads it again when it has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use barnabas_crypto::custody::CustodyFuture;
use barnabas_crypto::{Custody, CustodyContext, Secret, Wiped};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::file::{check_directory, ensure_directory, lock, read_private, replace};
use crate::format::{Document, Entry, Keys, Method};

// Settings: the path, and how it is unlocked.

/// How a keystore is unlocked.
pub enum Unlock {
    /// By a passphrase, stretched with Argon2id.
    Passphrase(Passphrase),
    /// By a file of 32 random bytes, mode 0600; see [`crate::create_key_file`].
    KeyFile(PathBuf),
}

// Authentication.

impl Unlock {
    fn key(&self, method: &Method, salt: &[u8], path: &Path) -> Result<Secret<32>, Error> {
        match (self, method) {
            (Self::Passphrase(passphrase), _) => method.stretch(&passphrase.0, salt, path),
            (Self::KeyFile(file), Method::KeyFile {}) => {
                let bytes = read_private(file, MAX_FILE)?;
                let key = Secret::from_slice(&bytes);
                key.ok_or_else(|| Error::KeyFileLength { path: file.clone(), found: bytes.len() as u64 })
            }
            (Self::KeyFile(_), Method::Passphrase { .. }) => {
                Err(Error::UnlockMethod { path: path.to_path_buf(), wanted: "passphrase" })
            }
        }
    }
}

/// A passphrase. No `Debug`, no `Clone`; wiped when dropped.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes the passphrase's bytes over. Line ends are the caller's to strip.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

// Calls.

/// An unlocked keystore. No `Debug`, no `Clone`; its keys are wiped when it is dropped.
pub struct LocalKeystore {
    path: PathBuf,
    keys: Keys,
    document: Mutex<Document>,
    seen: Mutex<Option<Mark>>,
}

impl LocalKeystore {
    /// Makes an empty keystore, and its directory (mode 0700) if that is missing.
    ///
    /// # Errors
    /// `AlreadyExists`, `OpenToOthers`, `Io`, `Entropy`; those of the key file.
    pub fn create(path: impl Into<PathBuf>, unlock: &Unlock) -> Result<Self, Error> {
        let path = path.into();
        ensure_directory(&path)?;
        let _lock = lock(&path)?;
        if path.exists() {
            return Err(Error::AlreadyExists(path));
        }
        let mut id = vec![0u8; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| Error::Entropy)?;
        let method = match unlock {
            Unlock::Passphrase(_) => Method::DEFAULT_PASSPHRASE,
            Unlock::KeyFile(_) => Method::KeyFile {},
        };
        let keys = Keys::derive(&unlock.key(&method, &id, &path)?, &id)?;
        let document = Document::new(id, method, &keys);
        replace(&path, &document.to_bytes(&path)?)?;
        Ok(Self { path, keys, document: Mutex::new(document), seen: Mutex::new(None) })
    }

    /// Opens a keystore.
    ///
    /// # Errors
    /// `WrongPassphrase`, `WrongKeyFile`, `UnlockMethod`, `OpenToOthers`, `Truncated`, `Damaged`, `Version`, `NotAKeystore`, `Io`.
    pub fn open(path: impl Into<PathBuf>, unlock: &Unlock) -> Result<Self, Error> {
        let path = path.into();
        check_directory(&path)?;
        let seen = Mutex::new(mark(&path));
        let document = Document::parse(&read_private(&path, MAX_FILE)?, &path)?;
        let keys = Keys::derive(&unlock.key(&document.unlock, &document.id, &path)?, &document.id)?;
        if !document.is_unlocked_by(&keys) {
            return Err(match unlock {
                Unlock::Passphrase(_) => Error::WrongPassphrase(path),
                Unlock::KeyFile(_) => Error::WrongKeyFile(path),
            });
        }
        if !document.is_whole(&keys) {
            return Err(Error::Damaged(path));
        }
        Ok(Self { path, keys, document: Mutex::new(document), seen })
    }

    /// Keeps a secret under a name (a steward's signing seed, for example), in place of one that was there.
    ///
    /// # Errors
    /// `Name`, `Io`, `Entropy`.
    pub fn put_secret(&self, name: &str, secret: &Secret<32>) -> Result<(), Error> {
        self.change(
            |keystore, document| {
                document.entries.insert(name.to_owned(), keystore.seal_entry(name, EntryKind::Secret, secret)?);
                Ok(())
            },
            name,
        )
    }

    /// Gives a secret that `put_secret` kept.
    ///
    /// # Errors
    /// `NotFound`, `Disabled`, `Damaged`.
    pub fn secret(&self, name: &str) -> Result<Secret<32>, Error> {
        self.open_entry(name, EntryKind::Secret)
    }

    /// The names of all entries, what each is, and whether it is enabled.
    #[must_use]
    pub fn entries(&self) -> Vec<(String, EntryKind, bool)> {
        let document = self.document();
        document.entries.iter().map(|(name, entry)| (name.clone(), entry.kind, entry.enabled)).collect()
    }

    /// Switches an entry off or on. A client whose key is off stops at the next check.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), Error> {
        self.change(
            |_, document| {
                let entry = document.entries.get_mut(name).ok_or_else(|| Error::NotFound(name.to_owned()))?;
                entry.enabled = enabled;
                Ok(())
            },
            name,
        )
    }

    /// Destroys an entry. What was wrapped under it can be opened by no one any more.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.change(
            |_, document| document.entries.remove(name).map(|_| ()).ok_or_else(|| Error::NotFound(name.to_owned())),
            name,
        )
    }

    /// The keystore's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again: another process may have changed it.
    ///
    /// # Errors
    /// Those of [`LocalKeystore::open`].
    pub fn reload(&self) -> Result<(), Error> {
        // Marked before it is read: what is written in between is then read once more, never missed.
        let mark = mark(&self.path);
        let fresh = Document::parse(&read_private(&self.path, MAX_FILE)?, &self.path)?;
        if !fresh.is_unlocked_by(&self.keys) || !fresh.is_whole(&self.keys) {
            return Err(Error::Damaged(self.path.clone()));
        }
        *self.document() = fresh;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = mark;
        Ok(())
    }

    /// Reads the file again when it is another than the one that was read: a key that another process has disabled stops
    /// here at once.
    fn follow(&self) -> Result<(), Error> {
        let mark = mark(&self.path);
        let is_known = mark.is_some() && *self.seen.lock().unwrap_or_else(PoisonError::into_inner) == mark;
        if is_known { Ok(()) } else { self.reload() }
    }

    /// All that are missing in one change: the file is written once, however many they are.
    fn ensure_keks(&self, names: &[&str]) -> Result<(), Error> {
        names.iter().try_for_each(|name| check_name(name))?;
        let is_missing = |document: &Document, name: &str| !document.entries.contains_key(name);
        let Some(first) = names.iter().find(|name| is_missing(&self.document(), name)) else {
            return Ok(());
        };
        self.change(
            |keystore, document| {
                for name in names {
                    if is_missing(document, name) {
                        let key = Secret::draw().map_err(|_| Error::Entropy)?;
                        document.entries.insert((*name).to_owned(), keystore.seal_entry(name, EntryKind::Kek, &key)?);
                    }
                }
                Ok(())
            },
            first,
        )
    }

    /// Changes the content under the lock, on top of what is on disk now. Memory follows only when the disk has it.
    fn change(&self, edit: impl FnOnce(&Self, &mut Document) -> Result<(), Error>, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let _lock = lock(&self.path)?;
        self.reload()?;
        let mut edited = self.document().clone();
        edit(self, &mut edited)?;
        edited.reseal(&self.keys);
        replace(&self.path, &edited.to_bytes(&self.path)?)?;
        *self.document() = edited;
        Ok(())
    }

    fn seal_entry(&self, name: &str, kind: EntryKind, secret: &Secret<32>) -> Result<Entry, Error> {
        let bound = self.bound_to(name, kind);
        Ok(Entry { kind, enabled: true, sealed: seal(&self.keys.entry, &bound, secret)? })
    }

    fn open_entry(&self, name: &str, kind: EntryKind) -> Result<Secret<32>, Error> {
        let found = |keystore: &Self| keystore.document().entries.get(name).filter(|entry| entry.kind == kind).cloned();
        self.follow()?;
        let entry = match found(self) {
            Some(entry) => entry,
            None => {
                self.reload()?;
                found(self).ok_or_else(|| Error::NotFound(name.to_owned()))?
            }
        };
        if !entry.enabled {
            return Err(Error::Disabled(name.to_owned()));
        }
        let bound = self.bound_to(name, kind);
        open(&self.keys.entry, &bound, &entry.sealed).ok_or_else(|| Error::Damaged(self.path.clone()))
    }

    /// What an entry is bound to: the keystore, what it is, its name.
    fn bound_to(&self, name: &str, kind: EntryKind) -> Vec<u8> {
        [self.document().id.as_slice(), kind.name().as_bytes(), &[0], name.as_bytes()].concat()
    }

    fn document(&self) -> MutexGuard<'_, Document> {
        // The document is replaced as a whole, so a panic elsewhere cannot have left half of one.
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Custody for LocalKeystore {
    fn describe(&self) -> String {
        format!("local keystore {}", self.path.display())
    }

    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(async move { Ok(self.ensure_keks(&[key])?) })
    }

    fn ensure_keys<'a>(&'a self, keys: &'a [String]) -> CustodyFuture<'a, ()> {
        Box::pin(async move {
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            Ok(self.ensure_keks(&names)?)
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let kek = self.open_entry(key, EntryKind::Kek)?;
            let mut blob = vec![BLOB_VERSION];
            blob.extend(seal(&kek, &context.associated_data(), secret)?);
            Ok(blob)
        })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        Box::pin(async move {
            let kek = self.open_entry(key, EntryKind::Kek)?;
            let sealed = wrapped.strip_prefix(&[BLOB_VERSION]);
            let secret = sealed.and_then(|sealed| open(&kek, &context.associated_data(), sealed));
            Ok(secret.ok_or_else(|| Error::Wrapped(key.to_owned()))?)
        })
    }

    /// Entries whose names are the texts; their keys are never used.
    fn remember<'a>(&'a self, texts: &'a [String]) -> CustodyFuture<'a, ()> {
        self.ensure_keys(texts)
    }

    fn remembered(&self) -> Vec<String> {
        self.document().entries.keys().cloned().collect()
    }
}

/// When a file was last written, its length, and which one it is: each writer puts a new file in place.
type Mark = (Option<SystemTime>, u64, u64);

fn mark(path: &Path) -> Option<Mark> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len(), metadata.ino()))
}

/// What an entry of a keystore is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A key that wraps others and is not given out.
    Kek,
    /// A secret that is given to the program that unlocked the keystore.
    Secret,
}

impl EntryKind {
    /// The name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kek => "kek",
            Self::Secret => "secret",
        }
    }
}

/// Seals 32 bytes: nonce ‖ ciphertext ‖ tag. The nonce is random: a key here seals a handful of things, not 2^32.
fn seal(key: &Secret<32>, bound: &[u8], secret: &Secret<32>) -> Result<Vec<u8>, Error> {
    let mut nonce = [0u8; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| Error::Entropy)?;
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| Error::Entropy)?;
    let key = Wiped::new(LessSafeKey::new(key));
    let mut body = Zeroizing::new(*secret.expose());
    let tag = key.lend().seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut *body);
    Ok([&nonce[..], &body[..], tag.map_err(|_| Error::Entropy)?.as_ref()].concat())
}

fn open(key: &Secret<32>, bound: &[u8], sealed: &[u8]) -> Option<Secret<32>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let key = Wiped::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).ok()?));
    let mut body = Zeroizing::new(body.to_vec());
    let plain = key.lend().open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bound), &mut body).ok()?;
    Secret::from_slice(plain)
}

// Errors: a name that cannot be; the others stand in `crate::Error`.

fn check_name(name: &str) -> Result<(), Error> {
    let allowed = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    allowed.then_some(()).ok_or(Error::Name)
}

const MAX_NAME: usize = 1024;
/// A hundred thousand entries and more.
const MAX_FILE: u64 = 64 * 1024 * 1024;
const BLOB_VERSION: u8 = 1;

#[cfg(test)]
mod tests;
