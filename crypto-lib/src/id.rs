//! The small identifiers that every other file passes around, each a type of its own so that a stream can never
//! be taken for a key. They arrive as bytes from headers and keyring objects and leave as bytes or lower-case hex.
//! Nothing here is secret: all of these are stored in the clear and may be logged.

use core::fmt;

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the identifier's bytes as they stand on the wire.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The identifier's bytes as they stand on the wire.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl core::str::FromStr for $name {
            type Err = crate::Error;

            /// Reads the hex form that `Display` writes; hyphens (the UUID spelling) are passed over.
            fn from_str(text: &str) -> Result<Self, crate::Error> {
                read_hex::<$len>(text).map(Self).ok_or(crate::Error::Identifier { expected: $len })
            }
        }
    };
}

byte_id!(
    /// The UUID of a stream: a logical topic, which keeps its id when a mirror renames the topic.
    StreamId,
    16
);
byte_id!(
    /// Names a session key: the first 16 bytes of SHA-256(announcement header ‖ commitment).
    KeyId,
    16
);
byte_id!(
    /// Names the key of a data subject (crypto-shredding); present in a header when flag b3 is set.
    SubjectKeyId,
    16
);

byte_id!(
    /// Names a keyring object within its kind: a stream's, key's or identity's own id, or a digest of what the object is about.
    ObjectId,
    16
);
byte_id!(
    /// Names a client identity: the first 16 bytes of a SHA-256 over its public keys.
    IdentityId,
    16
);
byte_id!(
    /// Names a signing key: the first 16 bytes of a SHA-256 over the Ed25519 public key.
    SignerId,
    16
);

byte_id!(
    /// Names an escrow key: the first 16 bytes of a SHA-256 over its public key.
    EscrowId,
    16
);
byte_id!(
    /// Names the key to which a share of an escrow is sealed: the first 16 bytes of a SHA-256 over its public key.
    HolderId,
    16
);

impl StreamId {
    /// Draws a new random id (version 4 UUID layout), for a topic that is put under sealing.
    pub fn draw() -> Result<Self, crate::Error> {
        let mut bytes = [0u8; 16];
        crate::memory::fill_random(&mut bytes)?;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Ok(Self(bytes))
    }
}

/// The number of a stream's epoch: a period of one stream key pair. Rises by one at each rotation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EpochNumber(u32);

impl EpochNumber {
    /// The first epoch of a stream.
    pub const FIRST: Self = Self(0);

    /// Wraps a number read from an object.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The epoch after this one; none at the end of the range.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Big-endian bytes, as in the keyring objects.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for EpochNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a lane within a session: one order of records.
pub type LaneNumber = u16;

/// A point in time: milliseconds since the Unix epoch, as Kafka counts them. This crate never asks a clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// Later than every other time: an object without an end.
    pub const NEVER: Self = Self(u64::MAX);

    /// Wraps milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// The milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// This time and `millis` more, at most [`UnixMillis::NEVER`].
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes bytes as lower-case hex.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `N` bytes of hex, hyphens ignored.
pub(crate) fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| (byte as char).to_digit(16));
    let mut bytes = [0u8; N];
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hex_form_reads_back_with_and_without_hyphens() {
        let id = StreamId::draw().unwrap();
        assert_eq!(id.to_string().parse::<StreamId>().unwrap(), id);
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        assert_eq!(text.parse::<StreamId>().unwrap().to_string(), text.replace('-', ""));
        for wrong in ["", "00", "0011223344556677889900112233445g", "00112233445566778899aabbccddeeff00"] {
            assert!(wrong.parse::<StreamId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn epoch_has_no_successor_at_the_end_of_its_range() {
        assert_eq!(EpochNumber::FIRST.next(), Some(EpochNumber::new(1)));
        assert_eq!(EpochNumber::new(u32::MAX).next(), None);
    }
}
