//! Decides which record of the keyring topic counts.
//!
//! Arrives: a Kafka record's key and value. Leaves: a change, or a named refusal. The rules: the key is the object's; the
//! signature is the root's, a delegate's with the power, scope and time for it, or (announcements alone) the writer's;
//! versions rise. When a certificate or identity changes, what it signed is judged again, so that the state is the same
//! as if the log had been read from its start.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{HeadState, Keyring, Refusal};
use crate::object::{Body, Kind, SignedObject, Slot};
use crate::steward::Delegate;
use crate::{ObjectId, SignerId, StreamId, UnixMillis};

impl Keyring {
    /// Takes one record of the keyring topic, in log order. `now` is the caller's time.
    ///
    /// # Errors
    /// A named refusal; the keyring is then as it was.
    pub fn apply(&mut self, record_key: &[u8], value: Option<&[u8]>, now: UnixMillis) -> Result<Change, Refusal> {
        let signed = SignedObject::parse(value.ok_or(Refusal::BareTombstone)?)?;
        if signed.record_key().as_bytes() != record_key {
            return Err(Refusal::KeyMismatch);
        }
        let (slot, version) = (signed.body().slot(), signed.object().version);
        let effect = self.take(Arc::new(signed), Timing { now, live: self.caught_up })?;
        let follow_ups = match effect {
            Effect::Unchanged | Effect::Waiting(_) => Vec::new(),
            _ => self.settle(slot, effect, now),
        };
        Ok(Change { slot, version, effect, follow_ups })
    }

    /// Judges one object and stores it if it counts.
    fn take(&mut self, signed: Arc<SignedObject>, timing: Timing) -> Result<Effect, Refusal> {
        let slot = signed.body().slot();
        if self.entry(slot).is_some_and(|entry| entry.wire() == signed.wire()) {
            return Ok(Effect::Unchanged);
        }
        let latest = timing.now.plus_millis(CLOCK_SKEW_MILLIS);
        if signed.object().issued_at > latest {
            let ahead_millis = signed.object().issued_at.millis().saturating_sub(timing.now.millis());
            return Err(Refusal::FromTheFuture { ahead_millis });
        }
        if let Some(need) = self.judge_signer(&signed, timing)? {
            return match self.waiting.keep(need, signed) {
                true => Ok(Effect::Waiting(need)),
                false => Err(Refusal::TooManyWaiting(need)),
            };
        }
        let version = signed.object().version;
        if let Some(accepted) = self.entry(slot).map(|entry| entry.object().version) {
            if version < accepted {
                return Err(Refusal::Older { accepted, found: version });
            }
            if version == accepted {
                return Err(Refusal::Conflict { version });
            }
        }
        self.judge_content(&signed, timing)?;
        Ok(self.store(slot, signed))
    }

    /// Checks signature, power, scope and time. Gives the place of the object that has to be seen first, if any.
    fn judge_signer(&self, signed: &SignedObject, timing: Timing) -> Result<Option<Slot>, Refusal> {
        if let Body::Announcement(announcement) = signed.body() {
            let writer = announcement.terms.writer;
            let Some(identity) = self.identity(writer) else {
                return Ok(Some(Slot { kind: Kind::Identity, id: ObjectId::from_bytes(*writer.as_bytes()) }));
            };
            if identity.public.signing.signer_id() != signed.signer() {
                return Err(Refusal::WrongSigner);
            }
            signed.verify(&identity.public.signing)?;
            return Ok(None);
        }
        if signed.signer() == self.root.signer_id() {
            signed.verify(&self.root)?;
            return Ok(None);
        }
        if self.is_identity_signer(signed.signer()) {
            return Err(Refusal::WrongSigner);
        }
        if is_for_the_root(signed.body()) {
            return Err(Refusal::WrongSigner);
        }
        let certificate = delegate_slot(signed.signer());
        match self.entry(certificate).map(SignedObject::body) {
            None => Ok(Some(certificate)),
            Some(Body::Delegate(delegate)) => {
                signed.verify(&delegate.key)?;
                self.judge_delegate(signed, delegate, timing)
            }
            Some(_) => Err(Refusal::RemovedDelegate),
        }
    }

    fn judge_delegate(
        &self,
        signed: &SignedObject,
        delegate: &Delegate,
        timing: Timing,
    ) -> Result<Option<Slot>, Refusal> {
        let kind = signed.body().kind();
        if !delegate.powers.allow(kind) {
            return Err(Refusal::NotPermitted(kind));
        }
        if !delegate.is_valid(signed.object().issued_at) || (timing.live && !delegate.is_valid(timing.now)) {
            return Err(Refusal::ExpiredDelegate);
        }
        let slot = signed.body().slot();
        if kind == Kind::Removal && slot.kind != Kind::Announcement && !delegate.powers.allow(slot.kind) {
            return Err(Refusal::NotPermitted(slot.kind));
        }
        if delegate.scope.is_none() {
            return Ok(None);
        }
        // Both what stands there and what shall stand there must be in reach, so that no stream is taken over.
        if kind == Kind::Removal && self.entry(slot).is_none() {
            return Err(Refusal::OutOfScope);
        }
        for body in self.entry(slot).map(SignedObject::body).into_iter().chain([signed.body()]) {
            if let Some(need) = self.judge_scope(body, delegate)? {
                return Ok(Some(need));
            }
        }
        Ok(None)
    }

    fn judge_scope(&self, body: &Body, delegate: &Delegate) -> Result<Option<Slot>, Refusal> {
        let stream = match body {
            Body::Stream(stream) if delegate.reaches(&stream.topic) => return Ok(None),
            Body::Stream(_) => return Err(Refusal::OutOfScope),
            Body::Epoch(epoch) => epoch.stream,
            Body::Grant(grant) => grant.stream,
            Body::Floor(floor) => floor.stream,
            Body::Announcement(announcement) => announcement.terms.stream,
            Body::Delegate(_) | Body::Escrow(_) | Body::Head(_) | Body::Identity(_) | Body::Removal(_) => {
                return Ok(None);
            }
        };
        match self.stream(stream) {
            None => Ok(Some(stream_slot(stream))),
            Some(stream) if delegate.reaches(&stream.topic) => Ok(None),
            Some(_) => Err(Refusal::OutOfScope),
        }
    }

    fn judge_content(&self, signed: &SignedObject, timing: Timing) -> Result<(), Refusal> {
        match signed.body() {
            Body::Floor(floor) if floor.minimum < self.minimum_epoch(floor.stream) => Err(Refusal::FloorLowered),
            Body::Announcement(announcement) => {
                let terms = &announcement.terms;
                match timing.live && terms.epoch < self.minimum_epoch(terms.stream) {
                    true => Err(Refusal::StaleEpoch),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn store(&mut self, slot: Slot, signed: Arc<SignedObject>) -> Effect {
        if let Body::Head(head) = signed.body() {
            let same = (head.count, head.root) == self.digest();
            self.head_state = if same { HeadState::Verified } else { HeadState::Differs };
        }
        self.index.put(slot, signed.body());
        let removal = signed.body().kind() == Kind::Removal;
        let before = self.entries.insert(slot, signed);
        if let Some(before) = &before {
            self.index.drop(slot, before.body());
            // A new version may have the same index keys as the old one.
            if let Some(entry) = self.entries.get(&slot) {
                self.index.put(slot, entry.body());
            }
        }
        match (removal, before) {
            (true, _) => Effect::Removed,
            (false, None) => Effect::Added,
            (false, Some(_)) => Effect::Replaced,
        }
    }

    /// After a change: judges again what the changed key signed, and what waited for it, and so on.
    fn settle(&mut self, changed: Slot, effect: Effect, now: UnixMillis) -> Vec<(Slot, Result<Effect, Refusal>)> {
        let (head, head_state) = (self.head().cloned(), self.head_state);
        let mut outcomes = Vec::new();
        let mut changed = VecDeque::from([(changed, effect)]);
        while let Some((slot, effect)) = changed.pop_front() {
            let mut again = self.withdraw_signed_by(slot, effect);
            again.extend(self.waiting.release(slot));
            for object in again {
                let place = object.body().slot();
                let outcome = self.take(object, Timing { now, live: false });
                if let Ok(effect @ (Effect::Added | Effect::Replaced | Effect::Removed)) = outcome {
                    // What is judged again in its old place has not changed for those that it signed.
                    let effect = if effect == Effect::Replaced { Effect::Added } else { effect };
                    changed.push_back((place, effect));
                }
                outcomes.push((place, outcome));
            }
        }
        // A head that was judged again still speaks of the time at which it was read.
        self.head_state = match self.head() {
            None => HeadState::Missing,
            now if now == head.as_ref() => head_state,
            Some(_) => self.head_state,
        };
        outcomes
    }

    /// Takes out what a changed or removed key signed, to be judged again.
    fn withdraw_signed_by(&mut self, slot: Slot, effect: Effect) -> Vec<Arc<SignedObject>> {
        let id = slot.id.as_bytes();
        let concerned = |entry: &SignedObject| match (slot.kind, effect, entry.body()) {
            (Kind::Delegate, _, _) => entry.signer().as_bytes() == id,
            (Kind::Identity, Effect::Removed, Body::Announcement(body)) => body.terms.writer.as_bytes() == id,
            _ => false,
        };
        // A key that is new here has signed nothing that counts.
        if !matches!(slot.kind, Kind::Delegate | Kind::Identity) || effect == Effect::Added {
            return Vec::new();
        }
        let slots: Vec<Slot> =
            self.entries.iter().filter(|(_, entry)| concerned(entry)).map(|(slot, _)| *slot).collect();
        let mut withdrawn = Vec::with_capacity(slots.len());
        for slot in slots {
            if let Some(entry) = self.entries.remove(&slot) {
                self.index.drop(slot, entry.body());
                withdrawn.push(entry);
            }
        }
        withdrawn
    }

    fn is_identity_signer(&self, signer: SignerId) -> bool {
        self.index.identity_signers.contains_key(&signer)
    }
}

/// What a record changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The place.
    pub slot: Slot,
    /// The version that the record carries.
    pub version: u64,
    /// What happened there.
    pub effect: Effect,
    /// What happened elsewhere because of it: objects that waited, and objects whose signer changed.
    pub follow_ups: Vec<(Slot, Result<Effect, Refusal>)>,
}

/// What happened at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The first object there.
    Added,
    /// What stood there counts no more.
    Removed,
    /// A new version counts.
    Replaced,
    /// The same bytes again: no alarm.
    Unchanged,
    /// The object cannot be judged before the one at this place has been seen.
    Waiting(Slot),
}

/// When an object is judged.
#[derive(Clone, Copy)]
struct Timing {
    now: UnixMillis,
    /// The object is new, not history.
    live: bool,
}

pub(super) fn delegate_slot(signer: SignerId) -> Slot {
    Slot { kind: Kind::Delegate, id: ObjectId::from_bytes(*signer.as_bytes()) }
}

pub(super) fn stream_slot(stream: StreamId) -> Slot {
    Slot { kind: Kind::Stream, id: ObjectId::from_bytes(*stream.as_bytes()) }
}

/// What opens everything, and who may sign the rest, is nobody's to say but the root's.
fn is_for_the_root(body: &Body) -> bool {
    matches!(body.slot().kind, Kind::Delegate | Kind::Escrow)
}

/// How far the clocks of stewards and gateways may differ.
const CLOCK_SKEW_MILLIS: u64 = 5 * 60 * 1000;
