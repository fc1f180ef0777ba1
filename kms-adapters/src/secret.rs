//! Where an adapter's own credential comes from: a file or an environment variable, named in the settings.
//!
//! Settings carry the reference, never the value, so they may be shown. The value is read anew each time it is needed: a
//! rotated file is picked up without a restart, and nothing secret stays longer than a call. A value never reaches a
//! message.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

#[cfg(feature = "http")]
use barnabas_crypto::Secret;
#[cfg(feature = "http")]
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Error;

/// A reference to a credential.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SecretSource {
    /// An environment variable's name. The environment of a process does not change: prefer a file for what expires.
    Environment(String),
    /// A file, read at each use; a trailing line end is not part of the secret.
    File(PathBuf),
}

impl SecretSource {
    /// The secret as it is now.
    ///
    /// # Errors
    /// `Io`, and `Credential` for a variable that is not set, an empty secret, one beyond 64 KiB or one that is not UTF-8.
    pub fn read(&self) -> Result<SecretText, Error> {
        let text = match self {
            Self::Environment(name) => Zeroizing::new(env::var(name).unwrap_or_default()),
            Self::File(path) => {
                let file = File::open(path).map_err(Error::io("open", path))?;
                let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 1));
                let read = file.take(MAX_SECRET as u64 + 1).read_to_end(&mut bytes);
                read.map_err(Error::io("read", path))?;
                Zeroizing::new(core::str::from_utf8(&bytes).map_err(|_| self.unfit("is not text"))?.to_owned())
            }
        };
        let trimmed = text.trim_end_matches(['\r', '\n']);
        match trimmed.len() {
            0 => Err(self.unfit("is empty or not there")),
            1..=MAX_SECRET => Ok(SecretText(Zeroizing::new(trimmed.to_owned()))),
            _ => Err(self.unfit("has more than 64 KiB")),
        }
    }

    /// Names the place for an operator.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Environment(name) => format!("environment variable {name}"),
            Self::File(path) => format!("file {}", path.display()),
        }
    }

    fn unfit(&self, what: &'static str) -> Error {
        Error::Credential { place: self.place(), what }
    }
}

/// A credential's text. No `Debug`, no `Clone`; wiped when dropped.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes a text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Lends the text for one call.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Secret bytes that stand in a JSON answer as base64. Wiped when dropped.
#[cfg(feature = "http")]
pub(crate) struct SecretBytes(Zeroizing<Vec<u8>>);

#[cfg(feature = "http")]
impl SecretBytes {
    /// The secret, if it has exactly 32 bytes.
    pub(crate) fn to_secret(&self) -> Option<Secret<32>> {
        Secret::from_slice(&self.0)
    }
}

#[cfg(feature = "http")]
impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SecretText::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.expose()).map_err(|_| serde::de::Error::custom("not base64"))?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// Secret bytes as base64, to stand in a JSON request.
#[cfg(feature = "http")]
pub(crate) fn encoded(secret: &Secret<32>) -> SecretText {
    SecretText::new(STANDARD.encode(secret.expose()))
}

/// A JSON body that may hold secrets: in one buffer that never grows, so no copy stays behind.
#[cfg(feature = "http")]
pub(crate) fn json_body(value: &impl serde::Serialize) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(Vec::with_capacity(MOST_BODY));
    // Into memory and from plain structures: neither can fail.
    let _ = serde_json::to_writer(&mut *body, value);
    body
}

/// A wrapped seed of 8 KiB in base64, a signed token, and the rest.
#[cfg(feature = "http")]
const MOST_BODY: usize = 128 * 1024;
/// Private keys in PEM and signed tokens stay far below it.
const MAX_SECRET: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_anew_at_each_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = SecretSource::File(path.clone());
        fs::write(&path, "first\n").unwrap();
        assert_eq!(source.read().unwrap().expose(), "first");
        fs::write(&path, "second\r\n").unwrap();
        assert_eq!(source.read().unwrap().expose(), "second");
    }

    #[test]
    fn what_is_missing_empty_too_long_or_no_text_is_said_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = SecretSource::File(path.clone());
        let refused = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            source.read().err().unwrap().to_string()
        };
        assert!(refused(b"\n").contains("is empty"));
        assert!(refused(&vec![b'a'; MAX_SECRET + 1]).contains("64 KiB"));
        let text = refused(b"\xff\xfe");
        assert!(text.contains("token") && text.contains("not text"), "{text}");
        fs::remove_file(&path).unwrap();
        assert!(matches!(source.read().err().unwrap(), Error::Io { .. }));
        let variable = SecretSource::Environment("BARNABAS_NO_SUCH_VARIABLE".into());
        assert!(variable.read().err().unwrap().to_string().contains("BARNABAS_NO_SUCH_VARIABLE"));
    }
}
