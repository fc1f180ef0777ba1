//! A writer's data key on one stream and epoch.
//!
//! A session begins with `Session::draw`, the only way to get a key that can seal: fresh random bytes, never
//! handed in, so that no (key, lane, sequence) can come twice after a restart. The drawn session is announced and then
//! becomes an `Arc<Session>` from which each order of records takes a lane. A session must never be persisted, cloned
//! or used in two processes: a program that forks draws anew in the child.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::envelope::{Flags, Suite};
use crate::memory::Secret;
use crate::open::SessionReader;
use crate::schedule::{self, Commitment, RecordKey};
use crate::seal::Lane;
use crate::{EpochNumber, Error, KeyId, RotateReason, StreamId, UnixMillis};

/// A writer's data key. `Send` and `Sync`, shared as `Arc<Session>`; the key is wiped when the last one is dropped.
pub struct Session {
    pub(crate) key: RecordKey,
    pub(crate) terms: SessionTerms,
    pub(crate) key_id: KeyId,
    lanes_taken: AtomicU32,
    records: Allowance,
    bytes: Allowance,
    /// Set when the session must not seal any more; read once per record.
    expired: AtomicBool,
    retired: AtomicBool,
}

impl Session {
    /// Draws a new session secret. It seals nothing before it has a key id, which comes from its announcement.
    ///
    /// # Errors
    /// `Entropy`; `Unsupported` for suite 3 and for flags that this library cannot write.
    pub fn draw(terms: SessionTerms) -> Result<DrawnSession, Error> {
        DrawnSession::from_secret(Secret::draw()?, terms)
    }

    /// Takes a lane: one order of records, owned by one task, never used again by anyone else.
    ///
    /// # Errors
    /// `Rotate` when all 65,536 lanes are taken or the session has ended.
    pub fn lane(self: &Arc<Self>) -> Result<Lane, Error> {
        self.check_open()?;
        // Saturates just above the limit, so that refusals cannot wrap the counter round.
        let taken = self.lanes_taken.fetch_update(Relaxed, Relaxed, |taken| (taken < LANES).then(|| taken + 1));
        match taken.map(u16::try_from) {
            Ok(Ok(number)) => Ok(Lane::new(Arc::clone(self), number)),
            _ => Err(Error::Rotate(RotateReason::Lanes)),
        }
    }

    /// Tells the session the time; call it at least every second. Gives false once the session has ended: from then on
    /// every seal is refused.
    pub fn observe_time(&self, now: UnixMillis) -> bool {
        if now >= self.terms.not_after {
            self.expired.store(true, Relaxed);
        }
        self.check_open().is_ok()
    }

    /// Ends the session now: a new epoch, a revocation, a restored snapshot.
    pub fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// Names this session in every record header.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The stream that this session seals for.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.terms.stream
    }

    /// The epoch whose key wraps this session's secret.
    #[must_use]
    pub fn epoch(&self) -> EpochNumber {
        self.terms.epoch
    }

    /// The suite that seals.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.terms.suite
    }

    /// When the session ends: nothing is sealed at or after this time.
    #[must_use]
    pub fn not_after(&self) -> UnixMillis {
        self.terms.not_after
    }

    /// True when a new session should be drawn soon: lanes, records or bytes are three quarters used, or the end is
    /// closer than `margin_millis`.
    #[must_use]
    pub fn nears_its_end(&self, now: UnixMillis, margin_millis: u64) -> bool {
        self.check_open().is_err()
            || self.lanes_taken.load(Relaxed) >= LANES / 4 * 3
            || self.records.is_mostly_used()
            || self.bytes.is_mostly_used()
            || now.plus_millis(margin_millis) >= self.terms.not_after
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match (self.retired.load(Relaxed), self.expired.load(Relaxed)) {
            (false, false) => Ok(()),
            (true, _) => Err(Error::Rotate(RotateReason::Closed)),
            (false, true) => Err(Error::Rotate(RotateReason::Expired)),
        }
    }

    /// Gives a lane its next share of the limits: at least one record and `bytes_needed` bytes.
    pub(crate) fn lease(&self, bytes_needed: u64) -> Result<Lease, Error> {
        let records = self.records.take(1).ok_or(Error::Rotate(RotateReason::Records))?;
        match self.bytes.take(bytes_needed) {
            Some(bytes) => Ok(Lease { records, bytes }),
            None => {
                self.records.put_back(records);
                Err(Error::Rotate(RotateReason::Bytes))
            }
        }
    }

    /// Takes back what a lane did not use.
    pub(crate) fn put_back(&self, lease: &Lease) {
        self.records.put_back(lease.records);
        self.bytes.put_back(lease.bytes);
    }
}

/// What a session is drawn for.
#[derive(Clone, Copy, Debug)]
pub struct SessionTerms {
    /// The stream.
    pub stream: StreamId,
    /// The epoch whose public key will wrap the secret.
    pub epoch: EpochNumber,
    /// The suite that will seal.
    pub suite: Suite,
    /// What is bound of a record's place. Only b4 and b5 count here; parcel bits are set per call.
    pub binding: Flags,
    /// The end: of the epoch, of the announcement, whichever is sooner.
    pub not_after: UnixMillis,
    /// How much one session may seal.
    pub limits: SessionLimits,
}

/// How much one session may seal before it says "rotate".
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    records: u64,
    bytes: u64,
}

impl SessionLimits {
    /// The format's limits for a suite: 2^32 records (2^28 with random nonces, SP 800-38D 8.3 with a margin), 1 TiB.
    #[must_use]
    pub const fn of(suite: Suite) -> Self {
        let records = if suite.has_explicit_nonce() { 1 << 28 } else { 1 << 32 };
        Self { records, bytes: 1 << 40 }
    }

    /// Smaller limits; whatever exceeds the format's limits is cut down to them.
    #[must_use]
    pub const fn at_most(self, records: u64, bytes: u64) -> Self {
        Self {
            records: if records < self.records { records } else { self.records },
            bytes: if bytes < self.bytes { bytes } else { self.bytes },
        }
    }
}

/// A session secret that has no key id yet: to be wrapped, announced, and then opened for sealing.
pub struct DrawnSession {
    secret: Secret<32>,
    key: RecordKey,
    commitment: Commitment,
    terms: SessionTerms,
}

impl DrawnSession {
    pub(crate) fn from_secret(secret: Secret<32>, terms: SessionTerms) -> Result<Self, Error> {
        let schedule = schedule::derive(&secret, terms.suite, terms.stream)?;
        Ok(Self { secret, key: schedule.key, commitment: schedule.commitment, terms })
    }

    /// What the announcement carries to prove which secret its wraps hide.
    #[must_use]
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// A reader of what this session will seal, for a program that reads its own records.
    ///
    /// # Errors
    /// Those of [`Session::draw`].
    pub fn reader(&self, key_id: KeyId) -> Result<SessionReader, Error> {
        SessionReader::from_secret(&self.secret, &self.terms, key_id)
    }

    /// Starts sealing under the key id of the announcement, **after** the keyring has acknowledged it. The secret is
    /// wiped; only the expanded record key stays.
    #[must_use]
    pub fn into_session(self, key_id: KeyId) -> Arc<Session> {
        let Self { key, terms, .. } = self;
        let terms = SessionTerms { binding: terms.binding.place_bits(), ..terms };
        let limits = SessionLimits::of(terms.suite).at_most(terms.limits.records, terms.limits.bytes);
        Arc::new(Session {
            key,
            terms,
            key_id,
            lanes_taken: AtomicU32::new(0),
            records: Allowance::new(limits.records, RECORD_SHARE),
            bytes: Allowance::new(limits.bytes, BYTE_SHARE),
            expired: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        })
    }

    /// The secret, for the wraps of the announcement.
    pub(crate) const fn secret(&self) -> &Secret<32> {
        &self.secret
    }
}

/// A lane's share of the session's limits.
pub(crate) struct Lease {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// One limit, handed out in shares so that no record touches a shared counter.
struct Allowance {
    used: AtomicU64,
    limit: u64,
    share: u64,
}

impl Allowance {
    fn new(limit: u64, share: u64) -> Self {
        // A small limit is cut into shares that still let several lanes work.
        Self { used: AtomicU64::new(0), limit, share: share.min((limit / 64).max(1)) }
    }

    /// Takes one share, or `needed` if that is more; none when `needed` is not left.
    fn take(&self, needed: u64) -> Option<u64> {
        let wanted = self.share.max(needed);
        let granted = |used: u64| self.limit.saturating_sub(used).min(wanted);
        let before = self.used.fetch_update(Relaxed, Relaxed, |used| {
            let grant = granted(used);
            (grant >= needed && grant > 0).then(|| used.saturating_add(grant))
        });
        before.ok().map(granted)
    }

    fn put_back(&self, unused: u64) {
        self.used.fetch_sub(unused, Relaxed);
    }

    fn is_mostly_used(&self) -> bool {
        self.used.load(Relaxed) >= self.limit / 4 * 3
    }
}

/// Lanes of one session: the lane field has 16 bits.
const LANES: u32 = 1 << 16;
/// Records that a lane takes at once: one shared atomic in 4,096 records.
const RECORD_SHARE: u64 = 4096;
/// Bytes that a lane takes at once. 65,536 idle lanes hold back at most 6 % of the limit, and give it back when dropped.
const BYTE_SHARE: u64 = 1 << 20;

#[cfg(test)]
mod under_load;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn terms(limits: SessionLimits) -> SessionTerms {
        SessionTerms {
            stream: StreamId::from_bytes([1; 16]),
            epoch: EpochNumber::FIRST,
            suite: Suite::Aes256Gcm,
            binding: Flags::BOUND,
            not_after: UnixMillis::new(1_000),
            limits,
        }
    }

    fn session(records: u64, bytes: u64) -> Arc<Session> {
        let limits = SessionLimits::of(Suite::Aes256Gcm).at_most(records, bytes);
        Session::draw(terms(limits)).unwrap().into_session(KeyId::from_bytes([2; 16]))
    }

    #[test]
    fn shares_never_exceed_the_limit() {
        let session = session(1_000, 10_000);
        let mut records = 0;
        while let Ok(lease) = session.lease(1) {
            records += lease.records;
        }
        assert!(records <= 1_000);
        assert!(session.lease(1).err().unwrap().needs_rotation());
    }

    #[test]
    fn what_is_put_back_can_be_taken_again() {
        let session = session(64, 64);
        let lease = session.lease(64).unwrap();
        assert!(session.lease(1).is_err());
        session.put_back(&lease);
        assert_eq!(session.lease(64).unwrap().bytes, 64);
    }

    #[test]
    fn lanes_run_out_and_stay_out() {
        let session = session(10, 10);
        session.lanes_taken.store(LANES - 1, Relaxed);
        assert!(session.lane().is_ok());
        for _ in 0..3 {
            assert_eq!(session.lane().err(), Some(Error::Rotate(RotateReason::Lanes)));
        }
    }

    #[test]
    fn the_end_of_the_epoch_ends_the_session() {
        let session = session(10, 10);
        assert!(session.observe_time(UnixMillis::new(999)));
        assert!(session.nears_its_end(UnixMillis::new(999), 5));
        assert!(!session.observe_time(UnixMillis::new(1_000)));
        assert_eq!(session.lane().err(), Some(Error::Rotate(RotateReason::Expired)));
    }

    #[test]
    fn a_retired_session_gives_no_lane() {
        let session = session(10, 10);
        session.retire();
        assert_eq!(session.lane().err(), Some(Error::Rotate(RotateReason::Closed)));
    }
}
