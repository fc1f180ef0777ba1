//! May this client read that session? What a reader needs is found, unwrapped and told to the audit log.
//!
//! Arrives: a principal and a key id out of a record. Leaves: the reading half of the session, once announcement and grant have
//! been seen. What must never happen here: a session that is handed out before the audit log has it, under
//! `audit.on_failure: block`.

use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::{Identity, IdentityId, KeyId, Reader, Right, SessionReader, StreamId};

use super::{ANNOUNCEMENT_WAIT, Keys, refused, still_opens};
use crate::audit::event::{Event, Opened};
use crate::chain::refusal::Reason;
use crate::identity::Principal;
use crate::keyring::live::{LiveKeyring, now};
use crate::keyring::sealing::Sealing;

impl Keys {
    /// The reading half of a session, if `who` may open it on `stream`.
    pub async fn session(
        &self,
        who: &Principal,
        stream: StreamId,
        key_id: KeyId,
    ) -> Result<Arc<SessionReader>, Reason> {
        let sealing = self.sealing.as_ref().ok_or(Reason::Unavailable("no keystore"))?;
        let identity =
            self.live.read(|keyring| keyring.identity_of(who.as_str()).cloned()).ok_or(Reason::NoIdentity)?;
        let found = self.find_session(sealing, &identity, stream, key_id).await;
        if let Ok(Found::Cached(reader)) = found {
            return Ok(reader);
        }
        let found = found.map(Found::into_reader);
        self.tell_opened(who, identity.id(), stream, key_id, found.as_ref().err()).await?;
        let opened = found?;
        // Not before it is in the audit log: what is remembered is told no more.
        sealing.remember(identity.id(), key_id, opened.clone());
        Ok(opened)
    }

    async fn tell_opened(
        &self,
        who: &Principal,
        identity: IdentityId,
        stream: StreamId,
        key_id: KeyId,
        refused: Option<&Reason>,
    ) -> Result<(), Reason> {
        if !self.audit().is_on() {
            return Ok(());
        }
        Ok(self.audit().commit(self.opened_event((who, identity), stream, key_id, refused)).await?)
    }

    fn opened_event(
        &self,
        (who, identity): (&Principal, IdentityId),
        stream: StreamId,
        key_id: KeyId,
        refused: Option<&Reason>,
    ) -> Event {
        self.live.read(|keyring| {
            let terms = keyring.announcement(key_id).map(|announcement| &announcement.terms);
            let opened = Opened {
                principal: who.as_str(),
                identity,
                key_id,
                stream,
                topic: keyring.stream(stream).map(|stream| stream.topic.as_str()),
                epoch: terms.map(|terms| terms.epoch),
                writer: terms.map(|terms| terms.writer),
            };
            Event::session_opened(&opened, refused.map(Reason::verdict).as_ref())
        })
    }

    async fn find_session(
        &self,
        sealing: &Sealing,
        identity: &Identity,
        stream: StreamId,
        key_id: KeyId,
    ) -> Result<Found, Reason> {
        // A grant may have ended since the session was opened, while another one of the client's still counts; or the
        // session went with its epoch.
        let granted_still =
            |known: &SessionReader| self.live.read(|keyring| still_opens(keyring, identity.id(), key_id, known, now()));
        if let Some(known) = sealing.cached(identity.id(), key_id)
            && granted_still(&known)
            && sealing.custody.stands(identity.id())
        {
            self.metrics.sessions.hits.inc();
            return self.check_stream(known, stream).map(Found::Cached);
        }
        self.metrics.sessions.misses.inc();
        if self.live.read(|keyring| keyring.removed_announcement(key_id).is_some()) {
            return Err(Reason::Destroyed);
        }
        // The announcement was acknowledged before the first record was sealed, but this gateway may hear of it
        // after the record.
        let announced = |live: &LiveKeyring| {
            live.read(|keyring| keyring.announcement(key_id).map(|a| (a.terms.stream, a.terms.epoch)))
        };
        let (announced, epoch) =
            self.live.wait_for(ANNOUNCEMENT_WAIT, announced).await.ok_or(Reason::UnknownSession)?;
        if announced != stream {
            return Err(Reason::WrongStream);
        }
        let granted = |live: &LiveKeyring| {
            live.read(|keyring| keyring.granted(identity.id(), (stream, epoch), Right::Read, now()).is_ok())
        };
        if !granted(&self.live) {
            // A new epoch's grants may be a moment behind its first record.
            self.live.wait_for(GRANT_WAIT, |live| granted(live).then_some(())).await.ok_or(Reason::NoGrant)?;
        }
        let secret = sealing.custody.secret(identity).await?;
        let reader = Reader::new(secret);
        let opened = self.live.read(|keyring| reader.open(keyring, key_id, now())).map_err(|error| refused(&error))?;
        self.check_stream(Arc::new(opened), stream).map(Found::Opened)
    }

    fn check_stream(&self, reader: Arc<SessionReader>, stream: StreamId) -> Result<Arc<SessionReader>, Reason> {
        if reader.stream() == stream { Ok(reader) } else { Err(Reason::WrongStream) }
    }
}

/// A session that a reader may open.
enum Found {
    /// It was opened before, and told.
    Cached(Arc<SessionReader>),
    /// It was opened now.
    Opened(Arc<SessionReader>),
}

impl Found {
    fn into_reader(self) -> Arc<SessionReader> {
        match self {
            Self::Cached(reader) | Self::Opened(reader) => reader,
        }
    }
}

/// Grants of a new epoch are written in one transaction with it.
const GRANT_WAIT: Duration = Duration::from_millis(500);
