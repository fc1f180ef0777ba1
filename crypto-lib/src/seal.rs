//! From a value to sealed bytes.
//!
//! Arrives: a value and its place, from the one task that owns the lane. Leaves: `header | ciphertext | tag`, appended
//! to the caller's buffer in one pass without an allocation of its own. A number of the lane must never be used twice:
//! it is taken before the provider is called and is lost if the call fails. On error nothing is appended.

use std::sync::Arc;

use zeroize::Zeroize;

use crate::aad::{AadBuffer, Place};
use crate::envelope::{Flags, Header, HeaderFields, MAX_SEQUENCE, NONCE_LEN, RecordType};
use crate::memory::fill_random;
use crate::parcel::{self, ParcelPlan};
use crate::session::{Lease, Session};
use crate::{Error, RotateReason};

/// One order of records in a session. Owned by one task; not `Clone`; its counter needs no lock and no atomic.
pub struct Lane {
    session: Arc<Session>,
    number: u16,
    next: u64,
    lease: Lease,
    aad: AadBuffer,
}

impl Lane {
    pub(crate) fn new(session: Arc<Session>, number: u16) -> Self {
        Self { session, number, next: 0, lease: Lease { records: 0, bytes: 0 }, aad: AadBuffer::new() }
    }

    /// Seals a value as it is: appends `header | ciphertext | tag`, which is [`crate::RECORD_OVERHEAD`] bytes more than the
    /// value (12 more in suite 2).
    ///
    /// # Errors
    /// `Rotate` when the session has reached a limit or its end; `ValueTooLarge`; `Entropy` in suite 2.
    pub fn seal(&mut self, place: &Place<'_>, value: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.seal_as(RecordType::Record, self.session.terms.binding, place, value, out)
    }

    /// Seals the authenticity of a null value: appends the 44 bytes that travel in the record header `bnb`, while the value
    /// itself stays null for the log cleaner.
    ///
    /// # Errors
    /// Those of [`Lane::seal`].
    pub fn seal_tombstone(&mut self, place: &Place<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        self.seal_as(RecordType::TombstoneProof, self.session.terms.binding, place, &[], out)
    }

    /// Seals a parcel: the value with headers and timestamp inside, compressed or padded, as the plan says.
    ///
    /// # Errors
    /// Those of [`Lane::seal`]; `Parcel` and `Unsupported` when the plan cannot be carried out.
    pub fn seal_parcel(
        &mut self,
        place: &Place<'_>,
        plan: &ParcelPlan<'_>,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut parcel = zeroize::Zeroizing::new(Vec::new());
        let bits = parcel::write(plan, value, &mut parcel)?;
        let flags = self.session.terms.binding.with_parcel_bits(bits);
        self.seal_as(RecordType::Record, flags, place, &parcel, out)
    }

    /// Seals bytes under parcel bits that do not describe them, as a hostile writer could.
    #[cfg(test)]
    pub(crate) fn seal_bits(
        &mut self,
        place: &Place<'_>,
        bits: u8,
        parcel: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let flags = self.session.terms.binding.with_parcel_bits(bits);
        self.seal_as(RecordType::Record, flags, place, parcel, out)
    }

    /// Length in bytes of a sealed value whose plain length is `len`: for callers that write lengths first.
    #[must_use]
    pub fn sealed_len(&self, len: usize) -> usize {
        len.saturating_add(self.session.terms.suite.overhead())
    }

    /// The lane's number in the record header.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// The number that the next record will carry.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The session whose key this lane uses.
    #[must_use]
    pub const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    fn seal_as(
        &mut self,
        record_type: RecordType,
        flags: Flags,
        place: &Place<'_>,
        parcel: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.session.check_open()?;
        let terms = &self.session.terms;
        let limit = MAX_VALUE - terms.suite.overhead();
        if parcel.len() > limit {
            return Err(Error::ValueTooLarge { len: parcel.len(), limit });
        }
        if self.next > MAX_SEQUENCE {
            return Err(Error::Rotate(RotateReason::Sequence));
        }
        let mut explicit_nonce = [0u8; NONCE_LEN];
        if terms.suite.has_explicit_nonce() {
            fill_random(&mut explicit_nonce)?;
        }
        let fields = HeaderFields {
            record_type,
            suite: terms.suite,
            flags,
            key_id: self.session.key_id,
            lane: self.number,
            sequence: self.next,
        };
        let header = Header::build(&fields, &explicit_nonce);
        let aad = self.aad.build(header.as_bytes(), flags, place)?;
        // Associated data counts: it passes through GHASH as the value does.
        let cost = (aad.len() + parcel.len()) as u64;
        spend(&self.session, &mut self.lease, cost)?;
        self.next += 1;

        let start = out.len();
        out.reserve(parcel.len() + terms.suite.overhead());
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(parcel);
        let body = out.get_mut(start + header.len()..).unwrap_or(&mut []);
        match self.session.key.seal(header.nonce(), aad, body) {
            Ok(tag) => {
                out.extend_from_slice(&tag);
                Ok(())
            }
            Err(error) => {
                body.zeroize();
                out.truncate(start);
                Err(error)
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.session.put_back(&self.lease);
    }
}

/// Pays one record of `cost` bytes out of the lane's share, renewing the share when it does not suffice.
fn spend(session: &Session, lease: &mut Lease, cost: u64) -> Result<(), Error> {
    if lease.records == 0 || lease.bytes < cost {
        session.put_back(lease);
        *lease = Lease { records: 0, bytes: 0 };
        *lease = session.lease(cost)?;
    }
    lease.records -= 1;
    lease.bytes -= cost;
    Ok(())
}

/// Kafka's length fields are signed 32-bit numbers.
const MAX_VALUE: usize = i32::MAX as usize;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::collections::HashSet;

    use super::*;
    use crate::envelope::{RECORD_OVERHEAD, Suite};
    use crate::session::{SessionLimits, SessionTerms};
    use crate::{EpochNumber, KeyId, StreamId, UnixMillis};

    fn session(suite: Suite, records: u64, bytes: u64) -> Arc<Session> {
        let terms = SessionTerms {
            stream: StreamId::from_bytes([1; 16]),
            epoch: EpochNumber::FIRST,
            suite,
            binding: Flags::BOUND,
            not_after: UnixMillis::NEVER,
            limits: SessionLimits::of(suite).at_most(records, bytes),
        };
        Session::draw(terms).unwrap().into_session(KeyId::from_bytes([2; 16]))
    }

    const PLACE: Place<'static> = Place { partition: 3, record_key: Some(b"key") };

    #[test]
    fn a_sealed_value_is_44_bytes_longer_and_appended() {
        let mut lane = session(Suite::Aes256Gcm, u64::MAX, u64::MAX).lane().unwrap();
        let mut out = b"before".to_vec();
        lane.seal(&PLACE, b"value", &mut out).unwrap();
        assert_eq!(out.len(), 6 + 5 + RECORD_OVERHEAD);
        let header = Header::parse(&out[6..]).unwrap();
        assert_eq!((header.lane(), header.sequence(), header.record_type()), (0, 0, RecordType::Record));
        lane.seal_tombstone(&PLACE, &mut out).unwrap();
        let proof = Header::parse(&out[6 + 5 + RECORD_OVERHEAD..]).unwrap();
        assert_eq!((proof.sequence(), proof.record_type()), (1, RecordType::TombstoneProof));
    }

    #[test]
    fn the_record_limit_says_rotate_and_appends_nothing() {
        let mut lane = session(Suite::Aes256Gcm, 3, u64::MAX).lane().unwrap();
        let mut out = Vec::new();
        for _ in 0..3 {
            lane.seal(&PLACE, b"v", &mut out).unwrap();
        }
        let len = out.len();
        assert_eq!(lane.seal(&PLACE, b"v", &mut out), Err(Error::Rotate(RotateReason::Records)));
        assert_eq!(out.len(), len);
    }

    #[test]
    fn the_byte_limit_says_rotate() {
        let mut lane = session(Suite::Aes256Gcm, u64::MAX, 1_000).lane().unwrap();
        let mut out = Vec::new();
        let mut sealed = 0;
        let end = loop {
            match lane.seal(&PLACE, &[0; 100], &mut out) {
                Ok(()) => sealed += 100,
                Err(error) => break error,
            }
        };
        assert_eq!(end, Error::Rotate(RotateReason::Bytes));
        assert!((500..=1_000).contains(&sealed));
    }

    #[test]
    fn a_retired_session_stops_its_lanes() {
        let session = session(Suite::Aes256Gcm, u64::MAX, u64::MAX);
        let mut lane = session.lane().unwrap();
        session.retire();
        assert_eq!(lane.seal(&PLACE, b"v", &mut Vec::new()), Err(Error::Rotate(RotateReason::Closed)));
    }

    #[test]
    fn the_sequence_ends_at_48_bits() {
        let mut lane = session(Suite::Aes256Gcm, u64::MAX, u64::MAX).lane().unwrap();
        lane.next = MAX_SEQUENCE;
        let mut out = Vec::new();
        lane.seal(&PLACE, b"v", &mut out).unwrap();
        assert_eq!(Header::parse(&out).unwrap().sequence(), MAX_SEQUENCE);
        assert_eq!(lane.seal(&PLACE, b"v", &mut out), Err(Error::Rotate(RotateReason::Sequence)));
    }

    #[test]
    fn no_lane_and_sequence_is_used_twice_across_threads() {
        let session = session(Suite::Aes256Gcm, u64::MAX, u64::MAX);
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let session = Arc::clone(&session);
                std::thread::spawn(move || {
                    let mut seen = Vec::new();
                    for _ in 0..20 {
                        let mut lane = session.lane().unwrap();
                        for _ in 0..10 {
                            let mut out = Vec::new();
                            lane.seal(&PLACE, b"v", &mut out).unwrap();
                            let header = Header::parse(&out).unwrap();
                            seen.push((header.lane(), header.sequence(), header.nonce()));
                        }
                    }
                    seen
                })
            })
            .collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let nonces: HashSet<_> = all.iter().map(|(_, _, nonce)| *nonce).collect();
        let places: HashSet<_> = all.iter().map(|(lane, sequence, _)| (*lane, *sequence)).collect();
        assert_eq!((nonces.len(), places.len()), (1_600, 1_600));
    }

    #[test]
    fn random_nonces_differ_and_cost_twelve_bytes() {
        let mut lane = session(Suite::Aes256GcmRandomNonce, u64::MAX, u64::MAX).lane().unwrap();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        lane.seal(&PLACE, b"v", &mut one).unwrap();
        lane.seal(&PLACE, b"v", &mut two).unwrap();
        assert_eq!(one.len(), 1 + RECORD_OVERHEAD + NONCE_LEN);
        assert_eq!(one.len(), lane.sealed_len(1));
        assert_ne!(Header::parse(&one).unwrap().nonce(), Header::parse(&two).unwrap().nonce());
    }
}
