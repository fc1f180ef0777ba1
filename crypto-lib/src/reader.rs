//! A reader's steps in the right order: find the announcement, check that its writer may write, check the right to read, open
//! the grant, open the epoch's wrap, compare the commitment.
//!
//! Arrives: a client identity, the keyring, a key id out of a record header. Leaves: the reading half of that session, to be
//! cached by the caller, bounded and expiring. A grant that is revoked or over must never open anything, whatever a broker
//! delivers.

use std::sync::Arc;

use crate::announcement::Announcement;
use crate::grant::{EpochSeeds, Right};
use crate::identity::IdentitySecret;
use crate::keyring::Keyring;
use crate::{EpochNumber, Error, KeyId, SessionReader, StreamId, UnixMillis};

/// Opens sessions for one client identity.
///
/// ```
/// # use barnabas_crypto::*;
/// # fn read(keyring: &Keyring, identity: std::sync::Arc<IdentitySecret>, sealed: &[u8], now: UnixMillis) -> Result<Vec<u8>, Error> {
/// let reader = Reader::new(identity);
/// let header = Header::parse(sealed)?;
/// let session = reader.open(keyring, header.key_id(), now)?; // 300 us: keep it, see `ExpiringCache`
/// session.open(sealed, &Place { partition: 0, record_key: None })
/// # }
/// ```
pub struct Reader {
    identity: Arc<IdentitySecret>,
}

impl Reader {
    /// A reader under this identity.
    #[must_use]
    pub const fn new(identity: Arc<IdentitySecret>) -> Self {
        Self { identity }
    }

    /// Opens the session that a record header names.
    ///
    /// # Errors
    /// `Missing` announcement or epoch; `NotGranted` to write (the writer) or to read (this identity); `Unwrap`;
    /// `CommitmentMismatch`.
    pub fn open(&self, keyring: &Keyring, key_id: KeyId, now: UnixMillis) -> Result<SessionReader, Error> {
        let announcement = trusted_announcement(keyring, key_id)?;
        let terms = &announcement.terms;
        let seeds = self.seeds(keyring, (terms.stream, terms.epoch), now)?;
        open_with_seeds(keyring, announcement, &seeds)
    }

    /// Opens the seeds of the grant that covers an epoch now: the dear part of [`Reader::open`], worth a cache of its own
    /// where one grant covers many sessions.
    ///
    /// # Errors
    /// `NotGranted`, `Unwrap`.
    pub fn seeds(
        &self,
        keyring: &Keyring,
        epoch: (StreamId, EpochNumber),
        now: UnixMillis,
    ) -> Result<EpochSeeds, Error> {
        keyring.granted(self.identity.id(), epoch, Right::Read, now)?.open(&self.identity)
    }

    /// Opens a session with seeds from [`Reader::seeds`]. The right to read is checked again: a revocation counts at once.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open_with(
        &self,
        keyring: &Keyring,
        key_id: KeyId,
        seeds: &EpochSeeds,
        now: UnixMillis,
    ) -> Result<SessionReader, Error> {
        let announcement = trusted_announcement(keyring, key_id)?;
        let terms = &announcement.terms;
        keyring.granted(self.identity.id(), (terms.stream, terms.epoch), Right::Read, now)?;
        open_with_seeds(keyring, announcement, seeds)
    }

    /// Opens a session that its writer wrapped directly to this identity; no grant of a steward is asked for.
    ///
    /// # Errors
    /// `Missing` announcement or wrap; `NotGranted` to write; `Unwrap`; `CommitmentMismatch`.
    pub fn open_direct(&self, keyring: &Keyring, key_id: KeyId) -> Result<SessionReader, Error> {
        trusted_announcement(keyring, key_id)?.open_with_identity(&self.identity)
    }
}

/// The announcement of a session whose writer had the right to write when it began. The keyring has checked its signature.
pub(crate) fn trusted_announcement(keyring: &Keyring, key_id: KeyId) -> Result<&Announcement, Error> {
    let announcement = keyring.announcement(key_id).ok_or(Error::Missing("announcement of this key"))?;
    let terms = &announcement.terms;
    if terms.not_after <= terms.not_before {
        return Err(Error::NotValid("announcement"));
    }
    keyring.granted(terms.writer, (terms.stream, terms.epoch), Right::Write, terms.not_before)?;
    Ok(announcement)
}

fn open_with_seeds(keyring: &Keyring, announcement: &Announcement, seeds: &EpochSeeds) -> Result<SessionReader, Error> {
    let terms = &announcement.terms;
    let epoch = keyring.epoch(terms.stream, terms.epoch).ok_or(Error::Missing("such epoch"))?;
    if terms.not_before < epoch.not_before || terms.not_before >= epoch.not_after {
        return Err(Error::NotValid("announcement outside of its epoch"));
    }
    announcement.open_with_epoch(&seeds.epoch(terms.epoch, epoch.public.suite())?)
}
