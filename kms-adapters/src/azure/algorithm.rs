//! The two ways in which a key of Azure wraps another, and which keys can.
//!
//! Arrives: the number in a blob, or the type of a key. Leaves: the interface's name of the algorithm. No other algorithm
//! may be asked for, whatever a blob says.

/// How a key of the vault wraps another. The number stands in blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Algorithm {
    /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256.
    RsaOaep256 = 1,
    /// AES Key Wrap with a 256-bit key (RFC 3394).
    A256Kw = 2,
}

impl Algorithm {
    /// The algorithm with this number in blobs.
    pub(super) const fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::RsaOaep256),
            2 => Some(Self::A256Kw),
            _ => None,
        }
    }

    /// As the interface names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::A256Kw => "A256KW",
        }
    }

    /// The keys that can do it, for an operator.
    pub(super) const fn key_type(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA or RSA-HSM",
            Self::A256Kw => "oct-HSM",
        }
    }

    /// Whether a key of this type can do it.
    pub(super) fn fits(self, key_type: &str) -> bool {
        match self {
            Self::RsaOaep256 => matches!(key_type, "RSA" | "RSA-HSM"),
            Self::A256Kw => matches!(key_type, "oct" | "oct-HSM"),
        }
    }
}

/// What is asked of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Unwrap(Algorithm),
    Wrap(Algorithm),
}
