//! Look-ups: by name, by id, by time. Nothing here changes the keyring, and nothing here decides policy: a look-up that finds
//! nothing gives `None` or names what is missing.

use super::Keyring;
use super::admit::stream_slot;
use crate::announcement::Announcement;
use crate::epoch::Epoch;
use crate::escrow::Escrow;
use crate::grant::{Grant, Right};
use crate::identity::Identity;
use crate::object::{Body, Kind, Slot};
use crate::steward::Delegate;
use crate::stream::{Stream, StreamFloor};
use crate::{EpochNumber, Error, EscrowId, Head, IdentityId, KeyId, ObjectId, StreamId, UnixMillis};

/// Gives the body of one kind at an id.
macro_rules! body_at {
    ($keyring:expr, $kind:ident, $id:expr) => {
        match $keyring.body(Slot { kind: Kind::$kind, id: $id }) {
            Some(Body::$kind(body)) => Some(body),
            _ => None,
        }
    };
}

/// Iterates over all bodies of one kind.
macro_rules! bodies_of {
    ($keyring:expr, $kind:ident) => {
        $keyring.entries_of(Kind::$kind).filter_map(|entry| match entry.body() {
            Body::$kind(body) => Some(body),
            _ => None,
        })
    };
}

impl Keyring {
    /// The stream of a topic. Of several the one first created counts, whatever order they came in.
    #[must_use]
    pub fn stream_of_topic(&self, topic: &str) -> Option<&Stream> {
        let streams = self.index.topics.get(topic)?.iter().filter_map(|id| self.stream(*id));
        streams.min_by_key(|stream| (stream.created, stream.id))
    }

    /// A stream by its id.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> Option<&Stream> {
        match self.body(stream_slot(id)) {
            Some(Body::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// All streams.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        bodies_of!(self, Stream)
    }

    /// One epoch of a stream.
    #[must_use]
    pub fn epoch(&self, stream: StreamId, number: EpochNumber) -> Option<&Epoch> {
        body_at!(self, Epoch, epoch_id(stream, number))
    }

    /// All epochs of a stream, rising.
    pub fn epochs(&self, stream: StreamId) -> impl DoubleEndedIterator<Item = &Epoch> {
        let numbers = self.index.epochs.get(&stream).into_iter().flatten();
        numbers.filter_map(move |number| self.epoch(stream, *number))
    }

    /// The epoch in which sessions are begun now: the highest one that is open and not below the minimum.
    #[must_use]
    pub fn current_epoch(&self, stream: StreamId, now: UnixMillis) -> Option<&Epoch> {
        let minimum = self.minimum_epoch(stream);
        self.epochs(stream).rev().find(|epoch| epoch.is_open(now) && epoch.number >= minimum)
    }

    /// The lowest epoch that may still be used for new sessions; the first one where no floor was set.
    #[must_use]
    pub fn minimum_epoch(&self, stream: StreamId) -> EpochNumber {
        let slot = Body::Floor(StreamFloor { stream, minimum: EpochNumber::FIRST }).slot();
        body_at!(self, Floor, slot.id).map_or(EpochNumber::FIRST, |floor| floor.minimum)
    }

    /// An identity by its id; current or not.
    #[must_use]
    pub fn identity(&self, id: IdentityId) -> Option<&Identity> {
        body_at!(self, Identity, ObjectId::from_bytes(*id.as_bytes()))
    }

    /// The current identity of a principal: of several the one created last, whatever order they came in.
    #[must_use]
    pub fn identity_of(&self, principal: &str) -> Option<&Identity> {
        let identities = self.index.principals.get(principal)?.iter().filter_map(|id| self.identity(*id));
        identities.max_by_key(|identity| (identity.created, identity.id()))
    }

    /// All identities.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        bodies_of!(self, Identity)
    }

    /// The grants of an identity on a stream, of both rights, valid or not.
    pub fn grants(&self, identity: IdentityId, stream: StreamId) -> impl Iterator<Item = &Grant> {
        let ids = self.index.grants.get(&(identity, stream)).into_iter().flatten();
        ids.filter_map(|id| body_at!(self, Grant, *id))
    }

    /// All grants.
    pub fn all_grants(&self) -> impl Iterator<Item = &Grant> {
        bodies_of!(self, Grant)
    }

    /// A grant that gives the right on the epoch at this time.
    ///
    /// # Errors
    /// `NotGranted`.
    pub fn granted(
        &self,
        identity: IdentityId,
        (stream, epoch): (StreamId, EpochNumber),
        right: Right,
        at: UnixMillis,
    ) -> Result<&Grant, Error> {
        self.grants(identity, stream)
            .find(|grant| grant.right == right && grant.covers(epoch) && grant.is_valid(at))
            .ok_or(Error::NotGranted { right: right.name(), epoch })
    }

    /// The announcement of a session.
    #[must_use]
    pub fn announcement(&self, key_id: KeyId) -> Option<&Announcement> {
        body_at!(self, Announcement, ObjectId::from_bytes(*key_id.as_bytes()))
    }

    /// Why an announcement was taken out, in the steward's words: none for one that counts, or that never came.
    #[must_use]
    pub fn removed_announcement(&self, key_id: KeyId) -> Option<&str> {
        let slot = Slot { kind: Kind::Announcement, id: ObjectId::from_bytes(*key_id.as_bytes()) };
        match self.entry(slot)?.body() {
            Body::Removal(removal) => Some(&removal.reason),
            _ => None,
        }
    }

    /// All announcements.
    pub fn announcements(&self) -> impl Iterator<Item = &Announcement> {
        bodies_of!(self, Announcement)
    }

    /// All delegates' certificates.
    pub fn delegates(&self) -> impl Iterator<Item = &Delegate> {
        bodies_of!(self, Delegate)
    }

    /// An escrow that was not retired.
    #[must_use]
    pub fn escrow(&self, id: EscrowId) -> Option<&Escrow> {
        body_at!(self, Escrow, ObjectId::from_bytes(*id.as_bytes()))
    }

    /// All escrows that were not retired: every new session is wrapped to each of them.
    pub fn escrows(&self) -> impl Iterator<Item = &Escrow> {
        bodies_of!(self, Escrow)
    }

    /// The newest head.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        bodies_of!(self, Head).next()
    }
}

/// The id of an epoch object.
fn epoch_id(stream: StreamId, number: EpochNumber) -> ObjectId {
    crate::object::epoch_slot(stream, number).id
}
