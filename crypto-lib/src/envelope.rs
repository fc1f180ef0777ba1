//! The header of a sealed record, version 1: the only place that knows its layout.
//!
//! Arrives: the first bytes of a record value, from anyone. Leaves: a `Header` whose type, suite and length are known
//! to be defined, or the reason why not. It must never panic, allocate, or let an undefined bit through.
//! Layout (big-endian): magic, version|type, suite, flags, key id 16, lane 2, sequence 6, [subject key id 16], [nonce 12].

use core::fmt;

use crate::Error;
use crate::id::{KeyId, LaneNumber, SubjectKeyId};
pub use crate::suite::{Flags, RecordType, Suite};

/// Length in bytes of a header without subject key and without an explicit nonce.
pub const HEADER_LEN: usize = 28;
/// Length in bytes of the authentication tag of every suite.
pub const TAG_LEN: usize = 16;
/// Bytes that sealing adds to a value (suites 1 and 4): header and tag.
pub const RECORD_OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// Highest sequence number of a lane (48 bits).
pub const MAX_SEQUENCE: u64 = (1 << 48) - 1;

/// First byte of every sealed value: never valid UTF-8, not 0x00 of schema registry framing, not Avro's C3 01.
pub const MAGIC: u8 = 0xFB;
/// The envelope version that this library writes and reads.
pub const VERSION: u8 = 1;
/// Longest possible header: with subject key id and explicit nonce.
pub const MAX_HEADER_LEN: usize = HEADER_LEN + SubjectKeyId::LEN + NONCE_LEN;
/// Length in bytes of the nonce of the suites implemented here (RFC 5116, SP 800-38D 8.2).
pub const NONCE_LEN: usize = 12;
/// Length in bytes of the Ed25519 signature that follows the tag when flag b7 is set.
pub const SIGNATURE_LEN: usize = 64;

/// A parsed header. Holds nothing secret; `Copy`, at most 56 bytes of wire form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    wire: [u8; MAX_HEADER_LEN],
    len: u8,
    record_type: RecordType,
    suite: Suite,
}

impl Header {
    /// Reads the header at the start of a record value.
    ///
    /// # Errors
    /// `NotSealed`, `UnknownVersion`, `UnknownType`, `UnknownSuite`, `Truncated`.
    pub fn parse(value: &[u8]) -> Result<Self, Error> {
        let fixed: &[u8; HEADER_LEN] = match value.first_chunk() {
            Some(fixed) => fixed,
            None if value.first().is_some_and(|magic| *magic != MAGIC) || value.is_empty() => {
                return Err(Error::NotSealed);
            }
            None => {
                return Err(Error::Truncated { needed: HEADER_LEN, found: value.len() });
            }
        };
        let [magic, version_and_type, suite, flags, ..] = *fixed;
        if magic != MAGIC {
            return Err(Error::NotSealed);
        }
        if version_and_type >> 4 != VERSION {
            return Err(Error::UnknownVersion(version_and_type >> 4));
        }
        let record_type = RecordType::from_number(version_and_type & 0x0f)?;
        let suite = Suite::from_number(suite)?;
        let len = suite.header_len(Flags::from_byte(flags));
        let present = value.get(..len).ok_or(Error::Truncated { needed: len, found: value.len() })?;
        let mut wire = [0u8; MAX_HEADER_LEN];
        // The common length first, as one copy of known size.
        if let Some((first, rest)) = wire.split_first_chunk_mut() {
            *first = *fixed;
            rest.iter_mut().zip(present.iter().skip(HEADER_LEN)).for_each(|(to, from)| *to = *from);
        }
        // At most 56, so it fits a byte.
        Ok(Self { wire, len: len as u8, record_type, suite })
    }

    /// Whether a value claims to be sealed in this version. A peek: policy, not this marker, decides what must be sealed.
    #[must_use]
    pub fn is_sealed(value: &[u8]) -> bool {
        matches!(value, [MAGIC, version_and_type, ..] if version_and_type >> 4 == VERSION)
    }

    /// Builds a header to be written. `nonce` is for suites with an explicit one and ignored by the others.
    pub(crate) fn build(fields: &HeaderFields, nonce: &[u8; NONCE_LEN]) -> Self {
        let HeaderFields { record_type, suite, flags, key_id, lane, sequence } = *fields;
        let start = [MAGIC, (VERSION << 4) | record_type.number(), suite.number(), flags.byte()];
        // Lane and sequence are neighbours: 16 and 48 bits of one number.
        let end = (u64::from(lane) << 48 | (sequence & MAX_SEQUENCE)).to_be_bytes();
        let mut wire = [0u8; MAX_HEADER_LEN];
        let parts = [&start[..], key_id.as_bytes(), &end, if suite.has_explicit_nonce() { nonce } else { &[] }];
        let mut at = 0;
        for part in parts {
            if let Some(place) = wire.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
            at += part.len();
        }
        let len = at as u8;
        Self { wire, len, record_type, suite }
    }

    /// What kind of record this is.
    #[must_use]
    pub const fn record_type(&self) -> RecordType {
        self.record_type
    }

    /// The suite that sealed it.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The flag byte.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        Flags::from_byte(self.wire[3])
    }

    /// The session key that sealed it.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::from_bytes(self.field::<4, 16>())
    }

    /// The lane: one order of records within the session.
    #[must_use]
    pub fn lane(&self) -> LaneNumber {
        LaneNumber::from_be_bytes(self.field::<20, 2>())
    }

    /// The record's number within its lane (48 bits).
    #[must_use]
    pub fn sequence(&self) -> u64 {
        let [a, b, c, d, e, f] = self.field::<22, 6>();
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The data subject's key, when flag b3 is set.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<SubjectKeyId> {
        self.flags().subject_key().then(|| SubjectKeyId::from_bytes(self.field::<HEADER_LEN, 16>()))
    }

    /// Length in bytes of the whole header, where the ciphertext begins: 28; 44 with a subject key; 12 more in suite 2.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Always false: clippy's companion of `len`.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The header as it stands on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.wire.get(..self.len()).unwrap_or(&[])
    }

    /// The AEAD nonce: lane ‖ sequence (SP 800-38D 8.2.1), or the explicit one of suite 2.
    pub(crate) fn nonce(&self) -> [u8; NONCE_LEN] {
        if self.suite.has_explicit_nonce() {
            let explicit = self.as_bytes().last_chunk::<NONCE_LEN>();
            return explicit.copied().unwrap_or([0; NONCE_LEN]);
        }
        counter_nonce(self.lane(), self.sequence())
    }

    /// `LEN` bytes from the constant offset `AT`, which lies inside the wire array by construction.
    fn field<const AT: usize, const LEN: usize>(&self) -> [u8; LEN] {
        const { assert!(AT + LEN <= MAX_HEADER_LEN) };
        self.wire.get(AT..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; LEN])
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("record_type", &self.record_type)
            .field("suite", &self.suite)
            .field("flags", &self.flags())
            .field("key_id", &self.key_id())
            .field("lane", &self.lane())
            .field("sequence", &self.sequence())
            .finish()
    }
}

/// What `Header::build` needs.
#[derive(Clone, Copy)]
pub(crate) struct HeaderFields {
    pub(crate) record_type: RecordType,
    pub(crate) suite: Suite,
    pub(crate) flags: Flags,
    pub(crate) key_id: KeyId,
    pub(crate) lane: LaneNumber,
    pub(crate) sequence: u64,
}

/// Nonce of suites 1 and 4: 4-byte lane (the fixed field) ‖ 8-byte sequence (the invocation field).
pub(crate) fn counter_nonce(lane: LaneNumber, sequence: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0u8; NONCE_LEN];
    let (fixed, invocation) = nonce.split_at_mut(4);
    fixed.copy_from_slice(&u32::from(lane).to_be_bytes());
    invocation.copy_from_slice(&sequence.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn example(suite: Suite) -> Header {
        let fields = HeaderFields {
            record_type: RecordType::Record,
            suite,
            flags: Flags::BOUND,
            key_id: KeyId::from_bytes([9; 16]),
            lane: 0x0102,
            sequence: 0x0000_A1A2_A3A4_A5A6,
        };
        Header::build(&fields, &[7; NONCE_LEN])
    }

    #[test]
    fn built_header_reads_back() {
        for suite in [Suite::Aes256Gcm, Suite::Aes256GcmRandomNonce, Suite::ChaCha20Poly1305] {
            let built = example(suite);
            let parsed = Header::parse(built.as_bytes()).unwrap();
            assert!(parsed == built);
            assert_eq!(parsed.lane(), 0x0102);
            assert_eq!(parsed.sequence(), 0xA1A2_A3A4_A5A6);
            assert_eq!(parsed.len() + TAG_LEN, suite.overhead());
        }
        assert_eq!(example(Suite::Aes256GcmRandomNonce).nonce(), [7; NONCE_LEN]);
        assert_eq!(example(Suite::Aes256Gcm).nonce(), [0, 0, 1, 2, 0, 0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6]);
    }

    #[test]
    fn each_undefined_byte_has_its_own_refusal() {
        let good = example(Suite::Aes256Gcm);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] = byte;
            Header::parse(&bytes).map(|header| header.len())
        };
        assert_eq!(with(0, 0x7B), Err(Error::NotSealed));
        assert_eq!(with(1, 0x21), Err(Error::UnknownVersion(2)));
        assert_eq!(with(1, 0x10), Err(Error::UnknownType(0)));
        assert_eq!(with(1, 0x17), Err(Error::UnknownType(7)));
        assert_eq!(with(2, 0), Err(Error::UnknownSuite(0)));
        assert_eq!(with(2, 5), Err(Error::UnknownSuite(5)));
        assert_eq!(with(3, 0x08), Err(Error::Truncated { needed: 44, found: 28 }));
        assert_eq!(Header::parse(&good.as_bytes()[..27]).err(), Some(Error::Truncated { needed: 28, found: 27 }));
        assert_eq!(Header::parse(b"").err(), Some(Error::NotSealed));
        assert_eq!(Header::parse(b"{}").err(), Some(Error::NotSealed));
    }

    #[test]
    fn peek_needs_magic_and_version() {
        assert!(Header::is_sealed(example(Suite::Aes256Gcm).as_bytes()));
        for plain in [&b""[..], b"\xFB", b"\xFB\x21", b"{\"a\":1}", b"\x00\x11"] {
            assert!(!Header::is_sealed(plain));
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_keeps_every_byte(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert_eq!(header.as_bytes(), &bytes[..header.len()]);
            }
        }

        #[test]
        fn parse_of_marked_bytes_keeps_every_byte(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), kind in 1u8..7, suite in 1u8..5) {
            for (at, byte) in [(0, MAGIC), (1, 0x10 | kind), (2, suite)] {
                if let Some(place) = bytes.get_mut(at) { *place = byte; }
            }
            match Header::parse(&bytes) {
                Ok(header) => prop_assert_eq!(header.as_bytes(), &bytes[..header.len()]),
                Err(error) => {
                    let known = matches!(error, Error::Truncated { .. } | Error::NotSealed);
                    prop_assert!(known, "{error}");
                }
            }
        }
    }
}
