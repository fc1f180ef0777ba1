//! What can go wrong, in one enum. Every variant names the thing and the limit and never carries key material or
//! record bytes, so that all of them may be logged and shown. `reason` gives the closed label for metrics and audit.

use crate::envelope::{RecordType, Suite};
use crate::id::{EpochNumber, KeyId};

/// Everything that this crate refuses to do, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tag does not verify: changed bytes, another place (partition, record key), another stream or key.
    #[error("record does not authenticate: changed, moved, or sealed under another key")]
    Authentication,
    /// The recomputed commitment differs from the announced one: the wraps hide different keys.
    #[error("session key does not match the announced commitment")]
    CommitmentMismatch,
    /// The operating system gave no random bytes.
    #[error("the operating system's random source failed")]
    Entropy,
    /// The header handed to the reader is not the one parsed from these bytes.
    #[error("header bytes differ from the parsed header")]
    HeaderMismatch,
    /// Text that should be an identifier in hex.
    #[error("not an identifier: expected {expected} bytes in hex")]
    Identifier {
        /// Length of the identifier in bytes.
        expected: usize,
    },
    /// The record names another session key than this reader's.
    #[error("record is sealed under key {found}, this reader holds {expected}")]
    KeyMismatch {
        /// The key of this reader.
        expected: KeyId,
        /// The key that the header names.
        found: KeyId,
    },
    /// A keyring object, or a part of one, that is not well formed.
    #[error("malformed object: {0}")]
    Malformed(&'static str),
    /// The keyring holds no such thing.
    #[error("the keyring holds no {0}")]
    Missing(&'static str),
    /// No grant that is valid now and not revoked covers this epoch.
    #[error("no valid grant to {right} epoch {epoch} of this stream")]
    NotGranted {
        /// `read` or `write`.
        right: &'static str,
        /// The epoch asked for.
        epoch: EpochNumber,
    },
    /// Outside of the period for which something was made.
    #[error("{0} is not valid at this time")]
    NotValid(&'static str),
    /// The value does not begin with the envelope's magic byte.
    #[error("not a sealed record: magic byte is missing")]
    NotSealed,
    /// What was sealed is not a well-formed parcel.
    #[error("parcel is malformed: {0}")]
    Parcel(&'static str),
    /// Too few shares of an escrow.
    #[error("the escrow needs {needed} shares, {given} different ones of it are at hand")]
    Quorum {
        /// So many open it.
        needed: u8,
        /// So many there were.
        given: usize,
    },
    /// A parcel says that it inflates beyond the reader's limit.
    #[error("parcel inflates to {announced} bytes, the limit is {limit}")]
    ParcelTooLarge {
        /// Plain length written in the parcel.
        announced: u64,
        /// The reader's limit in bytes.
        limit: u64,
    },
    /// A sequence number came a second time in one lane.
    #[error("replay: sequence {sequence} of lane {lane} was already seen at a lower offset")]
    Replay {
        /// The lane.
        lane: u16,
        /// The repeated number.
        sequence: u64,
    },
    /// A sequence number fell in one lane while offsets rose.
    #[error("reorder: sequence {sequence} of lane {lane} follows {last}")]
    Reorder {
        /// The lane.
        lane: u16,
        /// The highest number seen before.
        last: u64,
        /// The number of this record.
        sequence: u64,
    },
    /// The session must not seal any more; draw and announce a new one.
    #[error("session must not be used any more ({0}): rotate to a new session")]
    Rotate(RotateReason),
    /// The header names another suite than the session's announcement.
    #[error("record says suite {found}, its session was announced with {expected}")]
    SuiteMismatch {
        /// Suite of the session.
        expected: Suite,
        /// Suite in the header.
        found: Suite,
    },
    /// An Ed25519 signature that does not verify.
    #[error("signature does not verify")]
    Signature,
    /// Fewer bytes than the header or the tag needs.
    #[error("truncated: {needed} bytes needed, {found} present")]
    Truncated {
        /// Bytes needed at least.
        needed: usize,
        /// Bytes present.
        found: usize,
    },
    /// A record type that this call does not take.
    #[error("unexpected record type {0}")]
    UnexpectedType(RecordType),
    /// A suite number that version 1 does not define.
    #[error("unknown suite {0}")]
    UnknownSuite(u8),
    /// A record type that version 1 does not define.
    #[error("unknown record type {0}")]
    UnknownType(u8),
    /// An envelope version that this library does not know.
    #[error("unknown envelope version {0}, this library reads version 1")]
    UnknownVersion(u8),
    /// A wrapped key that does not open with this secret and context.
    #[error("wrapped key does not open with this key")]
    Unwrap,
    /// A part of the format that is defined and not implemented here.
    #[error("not supported by this library: {0}")]
    Unsupported(&'static str),
    /// A value that Kafka could not carry once sealed.
    #[error("value of {len} bytes cannot be sealed, the limit is {limit}")]
    ValueTooLarge {
        /// Length of the value in bytes.
        len: usize,
        /// Largest value that can be sealed, in bytes.
        limit: usize,
    },
}

/// Why a session says "rotate".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RotateReason {
    /// 1 TiB (or the session's smaller limit) has been sealed.
    Bytes,
    /// The caller retired the session.
    Closed,
    /// The epoch or the announcement ended.
    Expired,
    /// All 65,536 lanes have been taken.
    Lanes,
    /// 2^32 records (or the session's smaller limit) have been sealed.
    Records,
    /// A lane's 48-bit sequence is used up.
    Sequence,
}

impl core::fmt::Display for RotateReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "byte limit reached",
            Self::Closed => "retired",
            Self::Expired => "validity ended",
            Self::Lanes => "all lanes taken",
            Self::Records => "record limit reached",
            Self::Sequence => "sequence of the lane used up",
        })
    }
}

impl Error {
    /// True when the remedy is to draw and announce a new session.
    #[must_use]
    pub const fn needs_rotation(&self) -> bool {
        matches!(self, Self::Rotate(_))
    }

    /// A short label out of a closed list, for metrics and audit events.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::CommitmentMismatch => "commitment_mismatch",
            Self::Entropy => "entropy",
            Self::HeaderMismatch => "header_mismatch",
            Self::Identifier { .. } => "identifier",
            Self::KeyMismatch { .. } => "key_mismatch",
            Self::Malformed(_) => "malformed",
            Self::Missing(_) => "missing",
            Self::NotGranted { .. } => "not_granted",
            Self::NotValid(_) => "not_valid",
            Self::NotSealed => "not_sealed",
            Self::Parcel(_) => "parcel",
            Self::ParcelTooLarge { .. } => "parcel_too_large",
            Self::Quorum { .. } => "quorum",
            Self::Replay { .. } => "replay",
            Self::Reorder { .. } => "reorder",
            Self::Rotate(_) => "rotate",
            Self::SuiteMismatch { .. } => "suite_mismatch",
            Self::Signature => "signature",
            Self::Truncated { .. } => "truncated",
            Self::UnexpectedType(_) => "unexpected_type",
            Self::UnknownSuite(_) => "unknown_suite",
            Self::UnknownType(_) => "unknown_type",
            Self::UnknownVersion(_) => "unknown_version",
            Self::Unsupported(_) => "unsupported",
            Self::Unwrap => "unwrap",
            Self::ValueTooLarge { .. } => "value_too_large",
        }
    }
}
