//! Why a record of the keyring topic was not accepted. Each is an alarm: it means damage, a mistake, or an attack.

use crate::Error;
use crate::object::{Kind, Slot, UNKNOWN_KIND, UNSIGNED};

/// Why a record of the keyring topic was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The signature does not verify.
    #[error("signature does not verify")]
    BadSignature,
    /// A Kafka record without a value. It removes nothing.
    #[error("a bare tombstone removes nothing: removals are signed objects")]
    BareTombstone,
    /// Another object of the same version was accepted before.
    #[error("another object with version {version} was accepted before")]
    Conflict {
        /// The version of both.
        version: u64,
    },
    /// The delegate's certificate did not cover the time of signing, or is over now.
    #[error("signed by a delegate outside of its time")]
    ExpiredDelegate,
    /// A minimum epoch below the present one.
    #[error("a minimum epoch never falls")]
    FloorLowered,
    /// Issued later than now, beyond what clocks may differ.
    #[error("issued {ahead_millis} ms in the future: check the clocks")]
    FromTheFuture {
        /// How far ahead, in milliseconds.
        ahead_millis: u64,
    },
    /// The Kafka record's key is not the object's.
    #[error("the record's key is not the one of its object")]
    KeyMismatch,
    /// Not an object in its one encoding.
    #[error("{0}")]
    Malformed(Error),
    /// The delegate has no power over this kind of object.
    #[error("the delegate has no power to sign objects of kind {0}")]
    NotPermitted(Kind),
    /// A higher version was accepted before: a rollback, or two stewards at odds.
    #[error("version {found} is older than the accepted version {accepted}")]
    Older {
        /// The accepted version.
        accepted: u64,
        /// The version of this record.
        found: u64,
    },
    /// The stream is outside of the delegate's topics.
    #[error("the stream's topic is outside of the delegate's scope")]
    OutOfScope,
    /// The root removed the delegate.
    #[error("signed by a delegate that the root removed")]
    RemovedDelegate,
    /// An announcement below the stream's minimum epoch.
    #[error("announced in an epoch below the stream's minimum")]
    StaleEpoch,
    /// Too many objects wait for their signers.
    #[error("too many objects wait for {0}: read the keyring again from its start")]
    TooManyWaiting(Slot),
    /// A kind of object that this library does not know.
    #[error("unknown kind of object: a newer Barnabas wrote it")]
    UnknownKind,
    /// An object without a signature.
    #[error("the object is not signed")]
    Unsigned,
    /// Signed by a key that may not sign this object.
    #[error("signed by a key that may not sign this object")]
    WrongSigner,
}

impl Refusal {
    /// A short label out of a closed list, for metrics and audit events.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::BareTombstone => "bare_tombstone",
            Self::Conflict { .. } => "conflict",
            Self::ExpiredDelegate => "expired_delegate",
            Self::FloorLowered => "floor_lowered",
            Self::FromTheFuture { .. } => "from_the_future",
            Self::KeyMismatch => "key_mismatch",
            Self::Malformed(_) => "malformed",
            Self::NotPermitted(_) => "not_permitted",
            Self::Older { .. } => "older",
            Self::OutOfScope => "out_of_scope",
            Self::RemovedDelegate => "removed_delegate",
            Self::StaleEpoch => "stale_epoch",
            Self::TooManyWaiting(_) => "too_many_waiting",
            Self::UnknownKind => "unknown_kind",
            Self::Unsigned => "unsigned",
            Self::WrongSigner => "wrong_signer",
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Malformed(text) if text == UNKNOWN_KIND => Self::UnknownKind,
            Error::Malformed(text) if text == UNSIGNED => Self::Unsigned,
            Error::Signature => Self::BadSignature,
            other => Self::Malformed(other),
        }
    }
}
