//! Secrets in the configuration exist only as references: a file or an environment variable.
//! A mapping `{ file: path }` or `{ env: NAME }` arrives, a [`SecretRef`] leaves; the value is read when it is used, is
//! zeroized after use, and is never part of the configuration tree, a log line or a mistake.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::mistake::Refusal;
use super::reader::Reader;
use super::values::Places;

/// Where a secret is to be found. `Display` and `Debug` show the place only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// An environment variable of this process.
    Env(String),
    /// The content of a file, without its last line break.
    File(PathBuf),
}

impl SecretRef {
    /// Reads the secret. The error names the place, never the content.
    pub fn read(&self) -> std::io::Result<Zeroizing<String>> {
        let mut value = match self {
            Self::Env(name) => {
                let absent = |_| {
                    std::io::Error::new(
                        std::io::ErrorKind::NotFound,
                        format!("variable {name} is not set or not UTF-8"),
                    )
                };
                Zeroizing::new(std::env::var(name).map_err(absent)?)
            }
            Self::File(path) => {
                let named =
                    |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                Zeroizing::new(std::fs::read_to_string(path).map_err(named)?)
            }
        };
        while value.ends_with(['\n', '\r']) {
            value.pop();
        }
        Ok(value)
    }

    /// Reads the reference below `key` of a mapping; a value written out is refused without being quoted.
    pub(crate) fn parse(reader: &Reader<'_>, key: &str, places: &Places<'_>) -> Option<Self> {
        let node = reader.node(key)?;
        if matches!(node.tree, super::node::Tree::Scalar(_)) {
            let remedy = "write { file: path } or { env: NAME }: a configuration file holds no secrets";
            reader.refuse(key, Refusal::new("a secret is written out", remedy));
            return None;
        }
        let section = reader.section(key)?;
        let reference = Self::parse_here(&section, places);
        section.finish();
        reference
    }

    /// Reads the reference that a mapping is.
    pub(crate) fn parse_here(section: &Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let file = section.optional("file", |text| places.file(text))?;
        let env = section.optional("env", |text| variable(text, places))?;
        match (file, env) {
            (Some(path), None) => Some(Self::File(path)),
            (None, Some(name)) => Some(Self::Env(name)),
            _ => {
                section.refuse_here(Refusal::new(
                    "a secret has exactly one place",
                    "write { file: path } or { env: NAME }",
                ));
                None
            }
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "<secret from variable {name}>"),
            Self::File(path) => write!(f, "<secret from file {}>", path.display()),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn variable(text: &str, places: &Places<'_>) -> Result<String, Refusal> {
    if !places.env.iter().any(|(name, _)| name == text) {
        return Err(Refusal::new(
            format!("the environment variable `{text}` is not set"),
            "set it, or refer to a file",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reference_shows_its_place_and_reads_without_the_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = SecretRef::File(path.clone());
        assert_eq!(secret.read().unwrap().as_str(), "hunter2");
        assert!(!format!("{secret} {secret:?}").contains("hunter2"));
        let absent = SecretRef::File(dir.path().join("none"));
        assert!(absent.read().unwrap_err().to_string().contains("none"));
    }
}
