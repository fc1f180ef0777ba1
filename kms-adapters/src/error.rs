//! What can go wrong with a keystore, each with its own message and, where the user can do something, the remedy.
//! Paths and key names may be shown; secrets never.

use std::io;
use std::path::{Path, PathBuf};

use barnabas_crypto::CustodyError;
use barnabas_crypto::custody::CustodyCause;

/// Why a keystore call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `create` found a file where the keystore should be.
    #[error("{0} exists already: open it, or choose another path")]
    AlreadyExists(PathBuf),
    /// The content does not authenticate although the passphrase or key file is right.
    #[error("{0} is damaged or was edited: its content does not authenticate, restore it from a backup")]
    Damaged(PathBuf),
    /// The entry is switched off.
    #[error("key {0:?} is disabled")]
    Disabled(String),
    /// The operating system gave no random bytes.
    #[error("the operating system's random source failed")]
    Entropy,
    /// The file system said no.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key file of another length.
    #[error("key file {path} has {found} bytes, 32 are needed")]
    KeyFileLength {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
    },
    /// A name that is empty, too long or not printable.
    #[error("key names have 1 to 1024 bytes without control characters")]
    Name,
    /// No entry of this name.
    #[error("no key named {0:?}")]
    NotFound(String),
    /// The file is no keystore.
    #[error("{0} is not a keystore")]
    NotAKeystore(PathBuf),
    /// Others can read or write it.
    #[error("{path} has mode {found:04o}, others have access: run chmod {wanted:04o} {path}")]
    OpenToOthers {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        found: u32,
        /// The mode that it must have.
        wanted: u32,
    },
    /// Costs beyond what this library would pay.
    #[error("{0} asks for an Argon2id cost beyond the limit of 1 GiB and 16 passes")]
    Cost(PathBuf),
    /// The file ends early.
    #[error("{0} is cut short: restore it from a backup")]
    Truncated(PathBuf),
    /// The keystore was made for the other way to unlock.
    #[error("{path} is unlocked by a {wanted}")]
    UnlockMethod {
        /// The keystore.
        path: PathBuf,
        /// `passphrase` or `key file`.
        wanted: &'static str,
    },
    /// A later format.
    #[error("{path} has version {found}, this Barnabas reads version 1")]
    Version {
        /// The keystore.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// A wrapped secret that this key did not make in this context.
    #[error("wrapped bytes do not open under key {0:?}: damaged, or wrapped for something else")]
    Wrapped(String),
    /// The key file is not the one of this keystore.
    #[error("key file does not unlock {0}")]
    WrongKeyFile(PathBuf),
    /// The passphrase is not the one of this keystore.
    #[error("wrong passphrase for {0}")]
    WrongPassphrase(PathBuf),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl From<Error> for CustodyError {
    fn from(error: Error) -> Self {
        let cause = match &error {
            Error::Wrapped(_) => CustodyCause::Corrupt,
            Error::Disabled(_) => CustodyCause::Disabled,
            Error::NotFound(_) => CustodyCause::NotFound,
            Error::Name => CustodyCause::Invalid,
            Error::Io { .. } | Error::Entropy => CustodyCause::Unreachable,
            _ => CustodyCause::Denied,
        };
        Self::new(cause, error.to_string())
    }
}
