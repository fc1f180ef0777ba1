//! The keyring: what is known of streams, epochs, identities, grants and sessions, all of it signed.
//!
//! Arrives: the records of the compacted keyring topic, in log order, through [`Keyring::apply`]. Leaves: look-ups, and for
//! every record that was not accepted a named refusal. It must never depend on the order in which compaction left the
//! objects: one that is signed by a key not yet seen waits for it. It holds public and wrapped data only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::object::{Body, Kind, Object, SignedObject, Slot};
use crate::signing::VerifyingKey;
use crate::wire::sha256;
use crate::{Head, ObjectId, UnixMillis};

mod admit;
mod index;
mod lookup;
mod refusal;
mod transfer;
mod waiting;

pub use admit::{Change, Effect};
pub use refusal::Refusal;
pub use transfer::ImportError;

use index::Index;
use waiting::Waiting;

/// The state that follows from the keyring topic. Cloning shares the objects.
#[derive(Clone)]
pub struct Keyring {
    root: VerifyingKey,
    entries: BTreeMap<Slot, Arc<SignedObject>>,
    index: Index,
    waiting: Waiting,
    head_state: HeadState,
    caught_up: bool,
}

impl Keyring {
    /// An empty keyring under a pinned root key.
    #[must_use]
    pub fn new(root: VerifyingKey) -> Self {
        Self {
            root,
            entries: BTreeMap::new(),
            index: Index::default(),
            waiting: Waiting::default(),
            head_state: HeadState::Missing,
            caught_up: false,
        }
    }

    /// The pinned root key.
    #[must_use]
    pub const fn root(&self) -> &VerifyingKey {
        &self.root
    }

    /// Says that the history has been read to its end. From here on objects are new: one signed by a delegate whose time is
    /// over, or an announcement below a stream's minimum epoch, is refused.
    pub const fn mark_caught_up(&mut self) {
        self.caught_up = true;
    }

    /// Objects that count, removals included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing counts yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The places whose objects wait for a signer or a stream that has not been seen. After the history has been read, each
    /// of them is an object that no one vouches for.
    pub fn unresolved(&self) -> impl Iterator<Item = (Slot, Slot)> + '_ {
        self.waiting.iter()
    }

    /// The version that a change of this place must carry.
    #[must_use]
    pub fn next_version(&self, slot: Slot) -> u64 {
        self.entries.get(&slot).map_or(1, |entry| entry.object().version.saturating_add(1))
    }

    /// The object that says this in the next version of its place, to be signed.
    #[must_use]
    pub fn propose(&self, body: Body, now: UnixMillis) -> Object {
        let version = self.next_version(body.slot());
        Object::new(body, version, now)
    }

    /// The accepted object under a Kafka record key, to publish it again after a refused record would have made
    /// compaction drop it.
    #[must_use]
    pub fn accepted(&self, record_key: &[u8]) -> Option<&SignedObject> {
        let slot = core::str::from_utf8(record_key).ok()?.parse().ok()?;
        self.entry(slot)
    }

    /// What a head signed now would say.
    #[must_use]
    pub fn head_of_now(&self, time: UnixMillis, position: i64) -> Head {
        let (count, root) = self.digest();
        Head { count, root, time, position }
    }

    /// How the newest head compares with what was read before it.
    #[must_use]
    pub const fn head_state(&self) -> HeadState {
        self.head_state
    }

    /// Milliseconds since the newest head was signed; none without a head. A head from the future has age 0.
    #[must_use]
    pub fn head_age(&self, now: UnixMillis) -> Option<u64> {
        self.head().map(|head| now.millis().saturating_sub(head.time.millis()))
    }

    /// Count and root over all steward-signed objects but heads: SHA-256(label ‖ for each place in order: kind, id, version,
    /// SHA-256 of the object's bytes).
    fn digest(&self) -> (u64, [u8; 32]) {
        let mut leaves = HEAD_LABEL.to_vec();
        let mut count = 0;
        for (slot, entry) in &self.entries {
            if matches!(slot.kind, Kind::Announcement | Kind::Head) {
                continue;
            }
            count += 1;
            leaves.push(slot.kind.number());
            leaves.extend_from_slice(slot.id.as_bytes());
            leaves.extend_from_slice(&entry.object().version.to_be_bytes());
            leaves.extend_from_slice(entry.digest());
        }
        (count, sha256(&[&leaves]))
    }

    /// The entries of one kind, removals of it included.
    fn entries_of(&self, kind: Kind) -> impl Iterator<Item = &SignedObject> {
        let (first, last) = (ObjectId::from_bytes([0; 16]), ObjectId::from_bytes([0xFF; 16]));
        self.entries.range(Slot { kind, id: first }..=Slot { kind, id: last }).map(|(_, entry)| &**entry)
    }

    fn entry(&self, slot: Slot) -> Option<&SignedObject> {
        self.entries.get(&slot).map(|entry| &**entry)
    }

    /// What stands at a place, unless it was removed.
    fn body(&self, slot: Slot) -> Option<&Body> {
        self.entry(slot).map(SignedObject::body).filter(|body| body.kind() == slot.kind)
    }
}

/// How the newest head compares with the objects read before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadState {
    /// The head says something else: objects are hidden, rolled back or slipped in. While the history is being read this may
    /// pass, since compaction moves changed objects behind the head; once caught up, it is an alarm.
    Differs,
    /// No head was read.
    Missing,
    /// The head vouches for exactly these objects.
    Verified,
}

const HEAD_LABEL: &[u8] = b"barnabas v1 head";

#[cfg(test)]
mod tests;
