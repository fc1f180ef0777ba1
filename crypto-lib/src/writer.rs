//! A writer's steps in the right order: check the right to write, draw a session, wrap it, sign the announcement, publish it,
//! and only after the acknowledgement seal.
//!
//! Arrives: a client identity and the keyring. Leaves: an announcement to publish, and then the session. The session must
//! not be had before `acknowledged` is called: a record whose announcement is lost can be read by no one.

use std::sync::Arc;

use crate::announcement::{Announcement, AnnouncementTerms, WRAP_KMS, Wrap};
use crate::custody::CustodyContext;
use crate::envelope::Flags;
use crate::grant::Right;
use crate::identity::{IdentityPublic, IdentitySecret};
use crate::keyring::Keyring;
use crate::memory::Secret;
use crate::object::{Body, Object, SignedObject};
use crate::session::{DrawnSession, Session, SessionLimits, SessionTerms};
use crate::{Error, KeyId, SessionReader, StreamId, UnixMillis};

/// Begins sessions for one client identity.
///
/// ```
/// # use barnabas_crypto::*;
/// # fn begin(keyring: &Keyring, identity: std::sync::Arc<IdentitySecret>, stream: StreamId, now: UnixMillis) -> Result<(), Error> {
/// let writer = Writer::new(identity);
/// let pending = writer.prepare(keyring, &SessionPlan::new(stream), now)?;
/// let record = (pending.announcement().record_key(), pending.announcement().wire());
/// // publish `record` to the keyring topic, wait until the brokers have it and until it has come back:
/// # let _ = record;
/// assert!(pending.is_accepted(keyring));
/// let session = pending.acknowledged();
/// let mut lane = session.lane()?;
/// let mut out = Vec::new();
/// lane.seal(&Place { partition: 0, record_key: None }, b"value", &mut out)?;
/// # Ok(()) }
/// ```
pub struct Writer {
    identity: Arc<IdentitySecret>,
}

impl Writer {
    /// A writer under this identity.
    #[must_use]
    pub const fn new(identity: Arc<IdentitySecret>) -> Self {
        Self { identity }
    }

    /// Draws a session in the stream's current epoch and signs its announcement.
    ///
    /// # Errors
    /// Those of [`Writer::draft`].
    pub fn prepare(&self, keyring: &Keyring, plan: &SessionPlan<'_>, now: UnixMillis) -> Result<PendingSession, Error> {
        self.draft(keyring, plan, now)?.sign()
    }

    /// Draws a session, to add wraps of a KMS before it is signed.
    ///
    /// # Errors
    /// `Missing` without stream or open epoch; `NotGranted` without a grant to write; `Entropy`; `Unsupported` suites.
    pub fn draft(&self, keyring: &Keyring, plan: &SessionPlan<'_>, now: UnixMillis) -> Result<SessionDraft, Error> {
        let stream = keyring.stream(plan.stream).ok_or(Error::Missing("such stream"))?;
        let epoch = keyring.current_epoch(plan.stream, now).ok_or(Error::Missing("open epoch of this stream"))?;
        let writer = self.identity.id();
        let grant = keyring.granted(writer, (plan.stream, epoch.number), Right::Write, now)?;
        let end = now.plus_millis(plan.max_age_millis).min(epoch.not_after).min(grant.valid_to);
        let terms = SessionTerms {
            stream: plan.stream,
            epoch: epoch.number,
            suite: stream.suite,
            binding: plan.binding,
            not_after: grant.revoked_at.map_or(end, |revoked| end.min(revoked)),
            limits: plan.limits.unwrap_or(SessionLimits::of(stream.suite)),
        };
        let drawn = Session::draw(terms)?;
        let header = AnnouncementTerms {
            suite: terms.suite,
            stream: terms.stream,
            epoch: terms.epoch,
            writer,
            on_behalf_of: plan.on_behalf_of.map(str::to_owned),
            not_before: now,
            not_after: terms.not_after,
        };
        let mut announcement = Announcement::new(header, *drawn.commitment());
        announcement.add_epoch_wrap(epoch, drawn.secret())?;
        for reader in plan.readers {
            announcement.add_reader_wrap(reader, drawn.secret())?;
        }
        // Not a choice of the writer: where the root has installed an escrow, everything is wrapped to it.
        for escrow in keyring.escrows() {
            announcement.add_escrow_wrap(escrow, drawn.secret())?;
        }
        Ok(SessionDraft { identity: Arc::clone(&self.identity), drawn, announcement, now })
    }
}

/// How a session is to be begun.
#[derive(Clone, Copy)]
pub struct SessionPlan<'a> {
    /// The stream.
    pub stream: StreamId,
    /// What is bound of a record's place: by default record key and partition.
    pub binding: Flags,
    /// How much it may seal; by default the format's limits.
    pub limits: Option<SessionLimits>,
    /// How long it lasts at most, in milliseconds; by default a day. It ends with its epoch in any case.
    pub max_age_millis: u64,
    /// The principal for which a gateway seals.
    pub on_behalf_of: Option<&'a str>,
    /// Readers to which the session is wrapped directly, besides the epoch.
    pub readers: &'a [IdentityPublic],
}

impl SessionPlan<'_> {
    /// The defaults.
    #[must_use]
    pub const fn new(stream: StreamId) -> Self {
        Self {
            stream,
            binding: Flags::BOUND,
            limits: None,
            max_age_millis: DAY_MILLIS,
            on_behalf_of: None,
            readers: &[],
        }
    }
}

/// A drawn session whose announcement is not signed yet.
pub struct SessionDraft {
    identity: Arc<IdentitySecret>,
    drawn: DrawnSession,
    announcement: Announcement,
    now: UnixMillis,
}

impl SessionDraft {
    /// The secret, for a custody wrap under [`SessionDraft::custody_context`].
    #[must_use]
    pub const fn secret(&self) -> &Secret<32> {
        self.drawn.secret()
    }

    /// What a custody wrap of this session is bound to.
    #[must_use]
    pub fn custody_context(&self) -> CustodyContext {
        CustodyContext::SessionSecret(self.announcement.key_id())
    }

    /// Adds the wrap that a KMS made.
    pub fn add_kms_wrap(&mut self, key: &str, blob: Vec<u8>) {
        self.announcement.wraps.push(Wrap { kind: WRAP_KMS, recipient: key.as_bytes().to_vec(), bytes: blob });
    }

    /// Signs the announcement.
    ///
    /// # Errors
    /// `Malformed` when it has become too large.
    pub fn sign(self) -> Result<PendingSession, Error> {
        let key_id = self.announcement.key_id();
        let object = Object::new(Body::Announcement(self.announcement), 1, self.now);
        let announcement = object.sign(self.identity.signing_key())?;
        Ok(PendingSession { drawn: self.drawn, announcement, key_id })
    }
}

/// A session whose announcement waits to be published.
pub struct PendingSession {
    drawn: DrawnSession,
    announcement: SignedObject,
    key_id: KeyId,
}

impl PendingSession {
    /// What has to be published to the keyring topic.
    #[must_use]
    pub const fn announcement(&self) -> &SignedObject {
        &self.announcement
    }

    /// The id that the session's records will carry.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// A reader of the session's own records, for a program that may read what it writes.
    ///
    /// # Errors
    /// `Unsupported` suites.
    pub fn reader(&self) -> Result<SessionReader, Error> {
        self.drawn.reader(self.key_id)
    }

    /// Whether the announcement has come back through the keyring and counts. The brokers' acknowledgement alone is not
    /// enough: a minimum epoch that was raised just before it in the log makes every gateway refuse the announcement, and
    /// what the session had sealed meanwhile could be read by no one.
    #[must_use]
    pub fn is_accepted(&self, keyring: &Keyring) -> bool {
        keyring.announcement(self.key_id).is_some()
    }

    /// The session. Call it when the keyring topic has acknowledged the announcement and [`PendingSession::is_accepted`] says
    /// yes, not before.
    #[must_use]
    pub fn acknowledged(self) -> Arc<Session> {
        self.drawn.into_session(self.key_id)
    }
}

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;
