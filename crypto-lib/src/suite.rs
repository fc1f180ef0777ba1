//! The three defined bytes of a header: record type, suite, flags.
//!
//! Arrives: a byte from anyone. Leaves: a type whose every value version 1 defines, or a refusal that names the number.
//! What a number means must never be decided anywhere else.

use core::fmt;

use crate::Error;
use crate::envelope::{HEADER_LEN, NONCE_LEN, TAG_LEN};
use crate::id::SubjectKeyId;

/// What a sealed value is: the low four bits of the second byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum RecordType {
    /// A record by itself.
    Record = 1,
    /// The carrier of a whole sealed batch.
    BatchCarrier = 2,
    /// A placeholder that keeps a carried record's offset.
    BatchStub = 3,
    /// A piece of a value that is too large for one record.
    Chunk = 4,
    /// A sealed record key.
    SealedKey = 5,
    /// The authenticity of a null value; carried in the record header `bnb`, the value stays null.
    TombstoneProof = 6,
}

impl RecordType {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Error> {
        Ok(match number {
            1 => Self::Record,
            2 => Self::BatchCarrier,
            3 => Self::BatchStub,
            4 => Self::Chunk,
            5 => Self::SealedKey,
            6 => Self::TombstoneProof,
            other => return Err(Error::UnknownType(other)),
        })
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record => "record",
            Self::BatchCarrier => "batch carrier",
            Self::BatchStub => "batch stub",
            Self::Chunk => "chunk",
            Self::SealedKey => "sealed key",
            Self::TombstoneProof => "tombstone proof",
        })
    }
}

/// How records are sealed: the third byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Suite {
    /// AES-256-GCM, nonce = lane ‖ sequence. The default.
    Aes256Gcm = 1,
    /// AES-256-GCM with a random nonce carried in the header (+12 bytes), at most 2^28 records a key.
    Aes256GcmRandomNonce = 2,
    /// XAES-256-GCM (+24 bytes): defined, not implemented by this library.
    XAes256Gcm = 3,
    /// ChaCha20-Poly1305 (RFC 8439), nonce as in suite 1.
    ChaCha20Poly1305 = 4,
}

impl Suite {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Reads a suite number.
    ///
    /// # Errors
    /// `UnknownSuite`.
    pub fn from_number(number: u8) -> Result<Self, Error> {
        Ok(match number {
            1 => Self::Aes256Gcm,
            2 => Self::Aes256GcmRandomNonce,
            3 => Self::XAes256Gcm,
            4 => Self::ChaCha20Poly1305,
            other => return Err(Error::UnknownSuite(other)),
        })
    }

    /// Bytes that sealing adds to a value in this suite, without subject key and signature.
    #[must_use]
    pub const fn overhead(self) -> usize {
        self.header_len(Flags::NONE) + TAG_LEN
    }

    pub(crate) const fn has_explicit_nonce(self) -> bool {
        matches!(self, Self::Aes256GcmRandomNonce)
    }

    pub(crate) const fn header_len(self, flags: Flags) -> usize {
        let subject = if flags.subject_key() { SubjectKeyId::LEN } else { 0 };
        let nonce = if self.has_explicit_nonce() { NONCE_LEN } else { 0 };
        HEADER_LEN + subject + nonce
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes256Gcm => "AES-256-GCM",
            Self::Aes256GcmRandomNonce => "AES-256-GCM with random nonce",
            Self::XAes256Gcm => "XAES-256-GCM",
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
        })
    }
}

/// The flag byte: the fourth byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flag: the parcel is the value, and nothing of the record's place is bound.
    pub const NONE: Self = Self(0);
    /// What the gateway sets: the record key (b4) and the partition (b5) are bound, the parcel is the value.
    pub const BOUND: Self = Self(1 << 4 | 1 << 5);

    /// The flags of a byte; every bit of it is defined.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// b0: the parcel carries timestamp and headers before the value.
    #[must_use]
    pub const fn parcel_headers(self) -> bool {
        self.0 & 1 != 0
    }

    /// b1: the parcel is compressed.
    #[must_use]
    pub const fn compressed(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// b2: the parcel is padded to a bucket.
    #[must_use]
    pub const fn padded(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// b3: a subject key id follows the fixed header.
    #[must_use]
    pub const fn subject_key(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// b4: the record key is bound.
    #[must_use]
    pub const fn key_bound(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// b5: the partition is bound.
    #[must_use]
    pub const fn partition_bound(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// b6: a digest of named record headers is bound.
    #[must_use]
    pub const fn headers_bound(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// b7: an Ed25519 signature follows the tag.
    #[must_use]
    pub const fn signed(self) -> bool {
        self.0 & 1 << 7 != 0
    }

    /// True when the parcel is the value itself: none of b0, b1, b2.
    #[must_use]
    pub const fn parcel_is_value(self) -> bool {
        self.0 & 0b111 == 0
    }

    /// Only the place bits b4 and b5, for a caller that sets the parcel bits itself.
    pub(crate) const fn place_bits(self) -> Self {
        Self(self.0 & Self::BOUND.0)
    }

    pub(crate) const fn with_parcel_bits(self, bits: u8) -> Self {
        Self(self.0 | (bits & 0b111))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#010b})", self.0)
    }
}
