//! From sealed bytes back to the value.
//!
//! Arrives: a record value (or a tombstone proof) as a broker delivered it, and the place where it was found. Leaves: the
//! parcel, authenticated, or the reason why not. Bytes that did not authenticate must never reach the caller: the
//! provider wipes them. Order is not judged here but by [`crate::OrderCheck`].

use zeroize::Zeroizing;

use crate::aad::{AadBuffer, Place};
use crate::envelope::{Header, RecordType, Suite, TAG_LEN};
use crate::memory::Secret;
use crate::parcel::{self, Parcel};
use crate::schedule::{self, Commitment, RecordKey};
use crate::session::SessionTerms;
use crate::{EpochNumber, Error, KeyId, StreamId};

/// The reading half of a session. `Send` and `Sync`, shared by `Arc`; the key is wiped when the last one is dropped.
pub struct SessionReader {
    key: RecordKey,
    key_id: KeyId,
    stream: StreamId,
    epoch: EpochNumber,
    suite: Suite,
}

impl SessionReader {
    /// Opens a record in place: `in_out[ciphertext_from..]` is `ciphertext | tag`, the parcel lands at `in_out[..n]`, and
    /// `n` is given. When `header.flags().parcel_is_value()` the parcel is the value; otherwise read it by
    /// [`parcel::read`]. After an error the bytes of `in_out` are of no use.
    ///
    /// # Errors
    /// `Authentication`, `KeyMismatch`, `SuiteMismatch`, `HeaderMismatch`, `UnexpectedType`, `Truncated`, `Unsupported`.
    pub fn open_within(
        &self,
        header: &Header,
        header_bytes: &[u8],
        place: &Place<'_>,
        aad: &mut AadBuffer,
        in_out: &mut [u8],
        ciphertext_from: usize,
    ) -> Result<usize, Error> {
        if header.record_type() != RecordType::Record {
            return Err(Error::UnexpectedType(header.record_type()));
        }
        if header.as_bytes() != header_bytes {
            return Err(Error::HeaderMismatch);
        }
        self.open_any(header, place, aad, in_out, ciphertext_from)
    }

    /// Opens a record into a buffer of its own and reads whatever parcel it is; gives the value alone.
    ///
    /// # Errors
    /// Those of [`SessionReader::open_parcel`].
    pub fn open(&self, sealed: &[u8], place: &Place<'_>) -> Result<Vec<u8>, Error> {
        self.open_parcel(sealed, place, parcel::DEFAULT_LIMIT).map(|parcel| parcel.value)
    }

    /// Opens a record and reads its parcel: value, and headers and timestamp where they were sealed too. What inflates
    /// beyond `limit` bytes is refused before memory is taken for it.
    ///
    /// # Errors
    /// Those of [`SessionReader::open_within`]; `NotSealed`, `Unknown...`; `Parcel`, `ParcelTooLarge`.
    pub fn open_parcel(&self, sealed: &[u8], place: &Place<'_>, limit: usize) -> Result<Parcel, Error> {
        let header = Header::parse(sealed)?;
        let body = sealed.get(header.len()..).unwrap_or(&[]);
        let mut buffer = Zeroizing::new(body.to_vec());
        let len = self.open_within(&header, header.as_bytes(), place, &mut AadBuffer::new(), &mut buffer, 0)?;
        if header.flags().parcel_is_value() {
            let mut value = core::mem::take(&mut *buffer);
            value.truncate(len);
            return Ok(Parcel { timestamp: None, headers: Vec::new(), value });
        }
        parcel::read(header.flags(), buffer.get(..len).unwrap_or(&[]), limit)
    }

    /// Checks the proof that a null value was written by the session's writer at this place.
    ///
    /// # Errors
    /// Those of [`SessionReader::open_within`]; `UnexpectedType` when it is not a tombstone proof, `Parcel` when something
    /// is sealed in it.
    pub fn verify_tombstone(&self, sealed: &[u8], place: &Place<'_>, aad: &mut AadBuffer) -> Result<(), Error> {
        let header = Header::parse(sealed)?;
        if header.record_type() != RecordType::TombstoneProof {
            return Err(Error::UnexpectedType(header.record_type()));
        }
        let mut tag = [0u8; TAG_LEN];
        let body = sealed.get(header.len()..).unwrap_or(&[]);
        match body.len() {
            TAG_LEN => tag.copy_from_slice(body),
            len if len < TAG_LEN => {
                return Err(Error::Truncated { needed: header.len() + TAG_LEN, found: sealed.len() });
            }
            _ => return Err(Error::Parcel("a tombstone proof carries no bytes")),
        }
        self.open_any(&header, place, aad, &mut tag, 0).map(|_| ())
    }

    /// The session key that this reader holds.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The stream of the session.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.stream
    }

    /// The epoch of the session.
    #[must_use]
    pub const fn epoch(&self) -> EpochNumber {
        self.epoch
    }

    pub(crate) fn from_secret(secret: &Secret<32>, terms: &SessionTerms, key_id: KeyId) -> Result<Self, Error> {
        let schedule = schedule::derive(secret, terms.suite, terms.stream)?;
        Ok(Self { key: schedule.key, key_id, stream: terms.stream, epoch: terms.epoch, suite: terms.suite })
    }

    /// Derives a reader from an unwrapped secret, after comparing the announced commitment in constant time.
    pub(crate) fn from_unwrapped(
        secret: &Secret<32>,
        announced: &Commitment,
        (stream, epoch, suite): (StreamId, EpochNumber, Suite),
        key_id: KeyId,
    ) -> Result<Self, Error> {
        let schedule = schedule::derive(secret, suite, stream)?;
        if !schedule.commitment.matches(announced) {
            return Err(Error::CommitmentMismatch);
        }
        Ok(Self { key: schedule.key, key_id, stream, epoch, suite })
    }

    fn open_any(
        &self,
        header: &Header,
        place: &Place<'_>,
        aad: &mut AadBuffer,
        in_out: &mut [u8],
        from: usize,
    ) -> Result<usize, Error> {
        if header.key_id() != self.key_id {
            return Err(Error::KeyMismatch { expected: self.key_id, found: header.key_id() });
        }
        if header.suite() != self.suite {
            return Err(Error::SuiteMismatch { expected: self.suite, found: header.suite() });
        }
        let flags = header.flags();
        if flags.subject_key() {
            return Err(Error::Unsupported("subject keys (flag b3)"));
        }
        if flags.signed() {
            return Err(Error::Unsupported("record signatures (flag b7)"));
        }
        let found = in_out.len().saturating_sub(from);
        if found < TAG_LEN {
            return Err(Error::Truncated { needed: header.len() + TAG_LEN, found: header.len() + found });
        }
        let aad = aad.build(header.as_bytes(), flags, place)?;
        self.key.open(header.nonce(), aad, in_out, from)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::UnixMillis;
    use crate::envelope::{Flags, HEADER_LEN};
    use crate::parcel::{Codec, ParcelHeader, ParcelPlan};
    use crate::seal::Lane;
    use crate::session::{Session, SessionLimits};

    const PLACE: Place<'static> = Place { partition: 3, record_key: Some(b"key") };

    fn pair(suite: Suite) -> (Lane, SessionReader) {
        let terms = SessionTerms {
            stream: StreamId::from_bytes([1; 16]),
            epoch: EpochNumber::FIRST,
            suite,
            binding: Flags::BOUND,
            not_after: UnixMillis::NEVER,
            limits: SessionLimits::of(suite),
        };
        let (drawn, key_id) = (Session::draw(terms).unwrap(), KeyId::from_bytes([2; 16]));
        let reader = drawn.reader(key_id).unwrap();
        (drawn.into_session(key_id).lane().unwrap(), reader)
    }

    fn sealed(lane: &mut Lane, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        lane.seal(&PLACE, value, &mut out).unwrap();
        out
    }

    #[test]
    fn what_was_sealed_opens_in_every_suite() {
        for suite in [Suite::Aes256Gcm, Suite::Aes256GcmRandomNonce, Suite::ChaCha20Poly1305] {
            let (mut lane, reader) = pair(suite);
            for value in [&b""[..], b"v", &[7; 100_000]] {
                assert_eq!(reader.open(&sealed(&mut lane, value), &PLACE).unwrap(), value);
            }
        }
    }

    #[test]
    fn opening_in_place_puts_the_value_at_the_front() {
        let (mut lane, reader) = pair(Suite::Aes256Gcm);
        let mut bytes = sealed(&mut lane, b"some value");
        let header = Header::parse(&bytes).unwrap();
        let header_bytes = bytes[..header.len()].to_vec();
        let len =
            reader.open_within(&header, &header_bytes, &PLACE, &mut AadBuffer::new(), &mut bytes, HEADER_LEN).unwrap();
        assert_eq!(&bytes[..len], b"some value");
        let changed =
            reader.open_within(&header, &[0; HEADER_LEN], &PLACE, &mut AadBuffer::new(), &mut bytes, HEADER_LEN);
        assert_eq!(changed, Err(Error::HeaderMismatch));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (mut lane, reader) = pair(Suite::Aes256Gcm);
        let good = sealed(&mut lane, b"value");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(reader.open(&bad, &PLACE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let (mut lane, reader) = pair(Suite::Aes256Gcm);
        let good = sealed(&mut lane, b"value");
        for len in 0..good.len() {
            assert!(reader.open(&good[..len], &PLACE).is_err(), "length {len}");
        }
    }

    #[test]
    fn another_place_is_refused() {
        let (mut lane, reader) = pair(Suite::Aes256Gcm);
        let good = sealed(&mut lane, b"value");
        let places = [
            Place { partition: 4, ..PLACE },
            Place { record_key: None, ..PLACE },
            Place { record_key: Some(b""), ..PLACE },
            Place { record_key: Some(b"kez"), ..PLACE },
        ];
        for place in places {
            assert_eq!(reader.open(&good, &place), Err(Error::Authentication));
        }
    }

    #[test]
    fn a_tombstone_proof_holds_for_its_place_only_and_is_no_record() {
        let (mut lane, reader) = pair(Suite::Aes256Gcm);
        let mut proof = Vec::new();
        lane.seal_tombstone(&PLACE, &mut proof).unwrap();
        let mut aad = AadBuffer::new();
        reader.verify_tombstone(&proof, &PLACE, &mut aad).unwrap();
        let elsewhere = Place { record_key: Some(b"other"), ..PLACE };
        assert_eq!(reader.verify_tombstone(&proof, &elsewhere, &mut aad), Err(Error::Authentication));
        assert_eq!(reader.open(&proof, &PLACE), Err(Error::UnexpectedType(RecordType::TombstoneProof)));
        let empty = sealed(&mut lane, b"");
        assert_eq!(reader.verify_tombstone(&empty, &PLACE, &mut aad), Err(Error::UnexpectedType(RecordType::Record)));
        // The type is authenticated: an empty record does not turn into a tombstone.
        let mut turned = empty;
        turned[1] = 0x16;
        assert_eq!(reader.verify_tombstone(&turned, &PLACE, &mut aad), Err(Error::Authentication));
    }

    #[test]
    fn every_parcel_form_reads_back() {
        let (mut lane, reader) = pair(Suite::Aes256Gcm);
        let headers = [
            ParcelHeader { key: b"trace".to_vec(), value: Some(b"1".to_vec()) },
            ParcelHeader { key: b"n".to_vec(), value: None },
        ];
        let value = vec![b'x'; 5_000];
        for codec in [None, Some(Codec::Lz4), Some(Codec::Zstd)] {
            for bucket in [None, core::num::NonZeroU32::new(256)] {
                for inside in [None, Some((77i64, &headers[..]))] {
                    let plan = ParcelPlan { headers: inside, codec, bucket };
                    let mut out = Vec::new();
                    lane.seal_parcel(&PLACE, &plan, &value, &mut out).unwrap();
                    let parcel = reader.open_parcel(&out, &PLACE, 10_000).unwrap();
                    assert_eq!(parcel.value, value);
                    assert_eq!(parcel.timestamp, inside.map(|(timestamp, _)| timestamp));
                    assert_eq!(parcel.headers, inside.map(|(_, headers)| headers.to_vec()).unwrap_or_default());
                    if bucket.is_some() {
                        assert_eq!((out.len() - 44) % 256, 0);
                    }
                }
            }
        }
    }
}
