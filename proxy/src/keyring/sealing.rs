//! What a gateway that can seal holds: clients' secrets, their sessions, the way to the steward.
//!
//! Arrives: nothing from a peer; [`Keys`](super::Keys) decides and keeps here what it has decided. Leaves: sessions for
//! the connections, bounded and expiring. What must never happen here: an opened session given to another identity than
//! the one that it was opened for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use barnabas_crypto::{ExpiringCache, IdentityId, KeyId, Session, SessionReader, StreamId, UnixMillis};

use super::live::now;
use super::pace::Pace;
use super::producer::KeyringProducer;
use crate::chain::refusal::Reason;
use crate::custody::CustodyStore;
use crate::steward::{Need, Steward};

/// What sealing and opening need.
pub struct Sealing {
    /// Clients' secrets.
    pub custody: Arc<CustodyStore>,
    /// Towards the keyring topic.
    pub publisher: KeyringProducer,
    /// The keyring topic.
    pub topic: String,
    /// How fast clients may have streams made.
    pub pace: Pace,
    /// Who makes identities, streams and grants.
    pub steward: Arc<dyn Steward>,
    /// The longest use of one session key.
    pub max_session_age: Duration,
    /// The most that one session key seals: records, and bytes of values.
    pub session_limits: (u64, u64),
    /// Writers stop when the newest head is older.
    pub max_head_age: Duration,
    /// When the gateway began: a keyring that never had a head is given the same time to get one.
    pub started: Instant,
    /// Opened sessions that are kept.
    pub max_cached_sessions: usize,
    /// Sessions of the clients that write through this gateway.
    pub sessions: WriterSessions,
    /// Opened sessions, for each reader of them.
    pub readers: Mutex<ExpiringCache<(IdentityId, KeyId), Arc<SessionReader>>>,
}

/// One session at a time for each client and stream. The inner lock makes many connections of a client wait for one
/// announcement instead of making one each.
#[derive(Default)]
pub struct WriterSessions(Mutex<HashMap<(IdentityId, StreamId), SessionSlot>>);

type SessionSlot = Arc<tokio::sync::Mutex<Option<Arc<Session>>>>;

impl Sealing {
    /// Asks the steward, and waits no longer than a client would.
    pub(super) async fn ask(&self, need: Need) -> Result<(), Reason> {
        let answer = tokio::time::timeout(STEWARD_WAIT, self.steward.clone().ask(need)).await;
        answer.unwrap_or(Err(Reason::Unavailable("the steward has not answered in time")))
    }

    pub(super) fn cached(&self, identity: IdentityId, key_id: KeyId) -> Option<Arc<SessionReader>> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.get(&(identity, key_id), now()).cloned()
    }

    pub(super) fn remember(&self, identity: IdentityId, key_id: KeyId, reader: Arc<SessionReader>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.put((identity, key_id), reader, now());
    }
}

impl WriterSessions {
    pub(super) fn slot(&self, identity: IdentityId, stream: StreamId) -> SessionSlot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry((identity, stream)).or_default().clone()
    }

    /// Lets go of ended sessions that nobody waits for: clients come and go.
    pub(super) fn forget_ended(&self, at: UnixMillis) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| {
            let used = Arc::strong_count(slot) > 1;
            used || slot.try_lock().is_ok_and(|held| held.as_ref().is_some_and(|session| session.observe_time(at)))
        });
    }

    /// Ends the sessions of these clients.
    pub(super) fn retire(&self, gone: &[IdentityId]) {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, slot) in slots.iter().filter(|((identity, _), _)| gone.contains(identity)) {
            if let Ok(held) = slot.try_lock()
                && let Some(session) = held.as_ref()
            {
                session.retire();
            }
        }
    }

    pub(super) fn for_each(&self, mut act: impl FnMut(&Session)) {
        let slots: Vec<SessionSlot> = self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for slot in slots {
            // A slot that is being filled holds nothing that could be too old.
            if let Ok(held) = slot.try_lock()
                && let Some(session) = held.as_ref()
            {
                act(session);
            }
        }
    }
}

/// A steward's transaction on a fresh cluster waits for Kafka to make its transaction log.
pub(super) const STEWARD_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_without_a_session_are_let_go() {
        let sessions = WriterSessions::default();
        let (identity, stream) = (IdentityId::from_bytes([1; 16]), StreamId::from_bytes([2; 16]));
        let waiting = sessions.slot(identity, stream);
        sessions.forget_ended(now());
        assert!(Arc::ptr_eq(&waiting, &sessions.slot(identity, stream)), "somebody waits for it");
        drop(waiting);
        sessions.forget_ended(now());
        assert_eq!(sessions.0.lock().map(|slots| slots.len()).ok(), Some(0));
    }
}
