//! What can go wrong with a keystore or a vendor's service, each with its own message and, where the user can do
//! something, the remedy. Paths, addresses and key names may be shown; secrets never.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use barnabas_crypto::CustodyError;
use barnabas_crypto::custody::CustodyCause;

/// Why a call of an adapter failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `create` found a file where the keystore should be.
    #[error("{0} exists already: open it, or choose another path")]
    AlreadyExists(PathBuf),
    /// A PEM file that TLS cannot use.
    #[error("{path} cannot be used for TLS: {why}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A credential that is named in the settings and cannot be used.
    #[error("the credential in {place} {what}: put the current one there")]
    Credential {
        /// The file or variable, never the value.
        place: String,
        /// What is wrong.
        what: &'static str,
    },
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
    /// A setting that cannot be.
    #[error("{setting}: {why}")]
    Setting {
        /// The name of the field.
        setting: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
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
    /// A vendor's service said no, or nothing.
    #[error(transparent)]
    Vendor(Box<VendorError>),
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

impl From<VendorError> for Error {
    fn from(error: VendorError) -> Self {
        Self::Vendor(Box::new(error))
    }
}

/// A call to a vendor's service that failed: who, on which key, with which code, whose fault, and what to do.
///
/// The cause decides whose fault it is and whether another try can help ([`CustodyCause::fault`],
/// [`CustodyError::is_retryable`]); the text says both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VendorError {
    /// The vendor, as the configuration names it: `vault`, `aws` ...
    pub vendor: &'static str,
    /// The key that was asked for, if the call was about one.
    pub key: Option<String>,
    /// The vendor's own code: `HTTP 403`, `HTTP 400 DisabledException`, `CKR_PIN_INCORRECT`.
    pub code: Option<String>,
    /// What happened, in our terms.
    pub cause: CustodyCause,
    /// What the vendor said; by way of [`VendorError::saying`], so that it is short and printable.
    pub said: Option<String>,
    /// What the operator should do.
    pub remedy: Cow<'static, str>,
    /// How long the vendor asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl VendorError {
    /// An error of which no more is known than its cause; the remedy is the one for that cause.
    #[must_use]
    pub fn new(vendor: &'static str, cause: CustodyCause) -> Self {
        let remedy = Cow::Borrowed(usual_remedy(cause));
        Self { vendor, key: None, code: None, cause, said: None, remedy, retry_after: None }
    }

    /// With the key's name.
    #[must_use]
    pub fn about(self, key: &str) -> Self {
        Self { key: Some(printable(key)), ..self }
    }

    /// With the vendor's code.
    #[must_use]
    pub fn coded(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// With the vendor's own words, cut to 200 characters without control characters. For error texts only: never an
    /// answer that was meant to carry a secret.
    #[must_use]
    pub fn saying(self, text: &str) -> Self {
        let said = printable(text);
        Self { said: (!said.is_empty()).then_some(said), ..self }
    }

    /// With a remedy that fits better than the usual one.
    #[must_use]
    pub fn advising(self, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// With the pause that the vendor asked for.
    #[must_use]
    pub fn after(self, pause: Option<Duration>) -> Self {
        Self { retry_after: pause, ..self }
    }
}

impl fmt::Display for VendorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.vendor)?;
        if let Some(key) = &self.key {
            write!(f, " key {key:?}")?;
        }
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        if let Some(said) = &self.said {
            write!(f, " said {said:?}")?;
        }
        let retried = CustodyError::new(self.cause, "").is_retryable();
        let again = if retried { "tried again" } else { "not tried again" };
        write!(f, "; at fault: {}, {again}; {}", self.cause.fault(), self.remedy)
    }
}

impl std::error::Error for VendorError {}

impl From<Error> for CustodyError {
    fn from(error: Error) -> Self {
        let cause = match &error {
            Error::Wrapped(_) => CustodyCause::Corrupt,
            Error::Disabled(_) => CustodyCause::Disabled,
            Error::NotFound(_) => CustodyCause::NotFound,
            Error::Name => CustodyCause::Invalid,
            Error::Io { .. } | Error::Entropy | Error::Certificate { .. } => CustodyCause::Unreachable,
            Error::Credential { .. } => CustodyCause::Unauthenticated,
            Error::Vendor(vendor) => vendor.cause,
            _ => CustodyCause::Denied,
        };
        let pause = if let Error::Vendor(vendor) = &error { vendor.retry_after } else { None };
        Self::new(cause, error.to_string()).with_retry_after(pause)
    }
}

impl From<VendorError> for CustodyError {
    fn from(error: VendorError) -> Self {
        Error::from(error).into()
    }
}

const fn usual_remedy(cause: CustodyCause) -> &'static str {
    match cause {
        CustodyCause::Corrupt => "restore what was wrapped, or find out who changed it",
        CustodyCause::Denied => "allow the gateway's identity to use the key, or take the client away",
        CustodyCause::Disabled => "enable the key if the client shall go on",
        CustodyCause::Invalid => "mend the key name or the settings",
        CustodyCause::NotFound => "create the key, or name the right one",
        CustodyCause::Throttled => "raise the quota if this lasts",
        CustodyCause::Unauthenticated => "renew the gateway's credential",
        CustodyCause::Unreachable => "see that the service runs and can be reached",
        // The list is open to later versions of it.
        _ => "see the documentation of the key management system",
    }
}

fn printable(text: &str) -> String {
    let words = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    words.take(MOST_SAID).collect::<String>().trim().to_owned()
}

/// Characters of a vendor's text that are shown.
const MOST_SAID: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_error_says_who_what_whose_fault_and_the_remedy() {
        let error = VendorError::new("vault", CustodyCause::Throttled).about("orders").coded("HTTP 429");
        let error = CustodyError::from(error.saying("slow\ndown").after(Some(Duration::from_secs(2))));
        assert_eq!(error.cause, CustodyCause::Throttled);
        assert_eq!(error.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(
            error.message,
            "vault key \"orders\" (HTTP 429) said \"slow down\"; at fault: kms, tried again; raise the quota if this lasts"
        );
    }

    #[test]
    fn a_vendor_cannot_fill_the_log() {
        let error = VendorError::new("aws", CustodyCause::Denied).saying(&"x\x1b".repeat(10_000));
        let text = error.to_string();
        assert!(text.len() < 400 && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn a_credential_that_is_missing_is_the_gateways_fault_and_survived() {
        let error = CustodyError::from(Error::Credential { place: "file token".into(), what: "is empty" });
        assert_eq!((error.cause.fault(), error.is_retryable()), ("gateway", true));
    }
}
