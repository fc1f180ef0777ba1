//! The ways to find an object other than by its place: topic, principal, stream, pair of identity and stream.
//!
//! Kept in step with the entries by `put` and `drop`, which are called with every object that begins or ends to count.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::object::{Body, Slot};
use crate::{EpochNumber, IdentityId, ObjectId, SignerId, StreamId};

/// The indexes of a keyring.
#[derive(Clone, Default)]
pub(super) struct Index {
    pub(super) topics: HashMap<String, BTreeSet<StreamId>>,
    pub(super) principals: HashMap<String, BTreeSet<IdentityId>>,
    pub(super) epochs: HashMap<StreamId, BTreeSet<EpochNumber>>,
    pub(super) identity_signers: HashMap<SignerId, BTreeSet<IdentityId>>,
    pub(super) grants: HashMap<(IdentityId, StreamId), BTreeSet<ObjectId>>,
}

impl Index {
    pub(super) fn put(&mut self, slot: Slot, body: &Body) {
        match body {
            Body::Stream(stream) => put(&mut self.topics, stream.topic.clone(), stream.id),
            Body::Identity(identity) => {
                put(&mut self.principals, identity.principal.clone(), identity.id());
                put(&mut self.identity_signers, identity.public.signing.signer_id(), identity.id());
            }
            Body::Epoch(epoch) => put(&mut self.epochs, epoch.stream, epoch.number),
            Body::Grant(grant) => put(&mut self.grants, (grant.identity, grant.stream), slot.id),
            Body::Announcement(_)
            | Body::Delegate(_)
            | Body::Escrow(_)
            | Body::Floor(_)
            | Body::Head(_)
            | Body::Removal(_) => {}
        }
    }

    pub(super) fn drop(&mut self, slot: Slot, body: &Body) {
        match body {
            Body::Stream(stream) => drop(&mut self.topics, &stream.topic, stream.id),
            Body::Identity(identity) => {
                drop(&mut self.principals, &identity.principal, identity.id());
                drop(&mut self.identity_signers, &identity.public.signing.signer_id(), identity.id());
            }
            Body::Epoch(epoch) => drop(&mut self.epochs, &epoch.stream, epoch.number),
            Body::Grant(grant) => drop(&mut self.grants, &(grant.identity, grant.stream), slot.id),
            Body::Announcement(_)
            | Body::Delegate(_)
            | Body::Escrow(_)
            | Body::Floor(_)
            | Body::Head(_)
            | Body::Removal(_) => {}
        }
    }
}

fn put<K: Eq + Hash, V: Ord>(map: &mut HashMap<K, BTreeSet<V>>, key: K, value: V) {
    map.entry(key).or_default().insert(value);
}

fn drop<K, V: Ord, Q>(map: &mut HashMap<K, BTreeSet<V>>, key: &Q, value: V)
where
    K: Eq + Hash + core::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    if let Some(values) = map.get_mut(key) {
        values.remove(&value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}
