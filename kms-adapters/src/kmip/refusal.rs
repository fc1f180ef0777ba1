//! What a server's refusal means for the client whose key it is, and what the operator should do about it.
//!
//! Arrives: an answer that was refused, could not be understood, or did not come. Leaves: the error. What is not known must
//! never be taken for a statement about a key: only such a statement stops a client, all else is an outage.

use barnabas_crypto::CustodyError;
use barnabas_crypto::custody::CustodyCause;

use super::connection::ConnectionError;
use super::message::{Answer, Reason};
use super::ttlv::Malformed;
use crate::VendorError;

/// Why a call did not succeed.
pub(super) enum Refusal {
    Ambiguous,
    Answer(Answer),
    Connection(ConnectionError),
    Destroyed,
    Entropy,
    NoSuchKey,
    Nonsense(&'static str),
    Off,
    Wrapped,
}

impl Refusal {
    pub(super) const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Answer(Answer::Refused { reason, .. }) => Some(*reason),
            _ => None,
        }
    }

    pub(super) fn may_mean_off(&self) -> bool {
        let reasons =
            [Reason::PERMISSION_DENIED, Reason::LIFECYCLE_STATE, Reason::ILLEGAL_OPERATION, Reason::NOT_AUTHORISED];
        self.reason().is_some_and(|reason| reasons.contains(&reason))
    }

    pub(super) fn may_mean_wrapped(&self) -> bool {
        let reasons = [Reason::CRYPTOGRAPHIC_FAILURE, Reason::GENERAL_FAILURE, Reason::INTERNAL];
        self.reason().is_some_and(|reason| reasons.contains(&reason))
    }

    fn cause(&self) -> CustodyCause {
        match self {
            Self::Ambiguous => CustodyCause::Invalid,
            Self::Wrapped => CustodyCause::Corrupt,
            Self::Destroyed | Self::NoSuchKey => CustodyCause::NotFound,
            Self::Off => CustodyCause::Disabled,
            Self::Connection(ConnectionError::Refused(_)) => CustodyCause::Unauthenticated,
            Self::Connection(_) | Self::Entropy | Self::Nonsense(_) => CustodyCause::Unreachable,
            Self::Answer(_) => self.reason().map_or(CustodyCause::Unreachable, cause_of),
        }
    }

    pub(super) fn into_error(self, key: &str) -> CustodyError {
        let cause = self.cause();
        let error = VendorError::new("kmip", cause).about(key);
        let error = match self {
            Self::Ambiguous => error.saying("several active keys have this name").advising("deactivate all but one"),
            Self::Answer(Answer::Refused { reason, message }) => {
                let advice = advice(reason);
                let error = error.coded(reason.name()).saying(&message);
                if let Some(advice) = advice { error.advising(advice) } else { error }
            }
            Self::Answer(other) => error.saying(&other.to_string()).advising(NO_KMIP),
            Self::Connection(other @ ConnectionError::Certificate(_)) => error
                .saying(&other.to_string())
                .advising("set tls.ca to the authority of the server, and use a name that its certificate has"),
            Self::Connection(other @ ConnectionError::Refused(_)) => error
                .saying(&other.to_string())
                .advising("renew the gateway's certificate, or register it at the server"),
            Self::Connection(other @ (ConnectionError::NotKmip | ConnectionError::TooLong)) => {
                error.saying(&other.to_string()).advising(NO_KMIP)
            }
            Self::Connection(other) => error.saying(&other.to_string()),
            Self::Destroyed => error.saying("the key was destroyed").advising("what it wrapped is lost for ever"),
            Self::Entropy => error.saying("the operating system's random source failed"),
            Self::NoSuchKey => {
                error.advising("create and activate the key, or let the gateway's certificate locate it")
            }
            Self::Nonsense(what) => error.saying(&format!("the server answered with {what}")).advising(NO_KMIP),
            Self::Off => error.advising("the key is not active: activate it if the client shall go on"),
            Self::Wrapped => error.saying("the wrapped bytes do not open under this key in this context"),
        };
        error.into()
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Answer(malformed.into())
    }
}

impl From<ConnectionError> for Refusal {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

/// What a result reason means for the client whose key it is. What is not known is no statement about the key.
fn cause_of(reason: Reason) -> CustodyCause {
    match reason {
        Reason::NOT_FOUND | Reason::OBJECT_NOT_FOUND | Reason::DESTROYED => CustodyCause::NotFound,
        Reason::AUTHENTICATION => CustodyCause::Unauthenticated,
        Reason::PERMISSION_DENIED
        | Reason::NOT_AUTHORISED
        | Reason::ILLEGAL_OPERATION
        | Reason::USAGE_LIMIT
        | Reason::USAGE_MASK => CustodyCause::Denied,
        Reason::LIFECYCLE_STATE | Reason::ARCHIVED => CustodyCause::Disabled,
        Reason::SERVER_LIMIT => CustodyCause::Throttled,
        Reason::OPERATION_NOT_SUPPORTED | Reason::FEATURE_NOT_SUPPORTED => CustodyCause::Invalid,
        _ => CustodyCause::Unreachable,
    }
}

fn advice(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::ARCHIVED => Some("recover the key from the archive"),
        Reason::USAGE_MASK => Some("the key's usage mask needs Encrypt and Decrypt"),
        Reason::OPERATION_NOT_SUPPORTED | Reason::FEATURE_NOT_SUPPORTED => {
            Some("the server needs KMIP 1.4 with Encrypt and Decrypt in AES-GCM")
        }
        _ => None,
    }
}

const NO_KMIP: &str = "see that a KMIP 1.4 server stands at the address, and what its log says";
