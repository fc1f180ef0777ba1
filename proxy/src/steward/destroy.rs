//! Destroying an epoch: its seed leaves the keyring, and with it everything that was sealed in it becomes noise.
//!
//! Arrives: a stream and the number of one of its epochs. Leaves: the epoch's object without its seed, the grants that held
//! the seed wrapped anew without it, removals of the epoch's announcements (their wraps for a KMS, a reader or an escrow
//! need no epoch seed), and a floor above it. What must never happen here: the epoch in which writers seal now destroyed,
//! or the seed of another epoch lost with this one.

use std::collections::HashMap;
use std::sync::Arc;

use barnabas_crypto::{
    Announcement, Body, Epoch, EpochNumber, EpochSecret, Grant, KeyId, Keyring, Kind, ObjectId, Right, Slot,
    StreamFloor, StreamId, UnixMillis,
};

use super::plan::{Plan, PlanError};
use crate::keyring::now;

/// What would go with an epoch.
#[derive(Debug, Clone)]
pub struct Destruction {
    /// The epoch as it stands.
    pub epoch: Epoch,
    /// Grants to read whose range holds the epoch, revoked ones included: each carries its seed.
    pub grants: Vec<Grant>,
    /// Sessions that were announced in it.
    pub sessions: Vec<KeyId>,
    /// Records of the epoch were sealed before this time; none where no session was announced.
    pub sealed_until: Option<UnixMillis>,
}

impl Destruction {
    /// Looks what there is.
    ///
    /// # Errors
    /// `Refused` for an epoch that is not there, is the current one or a later one, or has nothing left.
    pub fn of(keyring: &Keyring, stream: StreamId, number: EpochNumber, at: UnixMillis) -> Result<Self, PlanError> {
        let refused = |text: String| Err(PlanError::Refused(text));
        let Some(epoch) = keyring.epoch(stream, number).cloned() else {
            return refused(format!("the stream has no epoch {number}"));
        };
        // Also where no epoch is open: the newest one is the one that writers would come back to.
        let current = keyring.current_epoch(stream, at).or_else(|| keyring.epochs(stream).next_back());
        if current.is_none_or(|current| number >= current.number) {
            return refused(format!(
                "epoch {number} is the current one; `barnabas epoch rotate` begins another, and this one can be destroyed \
                 when its records are gone"
            ));
        }
        let theirs =
            |announcement: &&Announcement| announcement.terms.stream == stream && announcement.terms.epoch == number;
        let announced: Vec<&Announcement> = keyring.announcements().filter(theirs).collect();
        let sessions: Vec<KeyId> = announced.iter().map(|announcement| announcement.key_id()).collect();
        if epoch.custody.is_none() && sessions.is_empty() {
            return refused(format!("epoch {number} was destroyed already"));
        }
        let sealed_until = announced.iter().map(|announcement| announcement.terms.not_after.min(epoch.not_after)).max();
        let holds = |grant: &&Grant| grant.stream == stream && grant.right == Right::Read && grant.covers(number);
        let grants = keyring.all_grants().filter(holds).cloned().collect();
        Ok(Self { epoch, grants, sessions, sealed_until })
    }
}

/// The epochs whose time has come by policy, at most one of each stream: `after` gives for a topic how long after its last
/// session an epoch is destroyed, in milliseconds.
pub(super) fn due(
    keyring: &Keyring,
    after: impl Fn(&str) -> Option<u64>,
    at: UnixMillis,
) -> Vec<(StreamId, EpochNumber)> {
    let wanted: Vec<(StreamId, u64)> =
        keyring.streams().filter_map(|stream| Some((stream.id, after(&stream.topic)?))).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut ends: HashMap<(StreamId, EpochNumber), UnixMillis> = HashMap::new();
    for announcement in keyring.announcements() {
        let terms = &announcement.terms;
        let end = ends.entry((terms.stream, terms.epoch)).or_insert(terms.not_after);
        *end = terms.not_after.max(*end);
    }
    let mut found = Vec::new();
    for (stream, after) in wanted {
        let newest = keyring.current_epoch(stream, at).or_else(|| keyring.epochs(stream).next_back());
        let Some(newest) = newest.map(|epoch| epoch.number) else { continue };
        let is_due = |epoch: &&Epoch| {
            let end = ends.get(&(stream, epoch.number)).map_or(epoch.not_after, |end| epoch.not_after.max(*end));
            epoch.number < newest && epoch.custody.is_some() && end.plus_millis(after) <= at
        };
        found.extend(keyring.epochs(stream).find(is_due).map(|epoch| (stream, epoch.number)));
    }
    found.truncate(MOST_AT_ONCE);
    found
}

impl Plan<'_> {
    /// Takes the seed of an epoch out of everything that stands in the keyring.
    pub async fn destroy(&mut self, stream: StreamId, number: EpochNumber) -> Result<(), PlanError> {
        let Destruction { epoch, grants, sessions, .. } =
            self.live.read(|keyring| Destruction::of(keyring, stream, number, now()))?;
        // Sessions first: when gateways decide anew because an epoch has changed, these are gone already.
        for key_id in sessions {
            let target = Slot { kind: Kind::Announcement, id: ObjectId::from_bytes(*key_id.as_bytes()) };
            self.remove(target, &format!("epoch {number} was destroyed"))?;
        }
        for grant in grants {
            self.cut(&grant, number).await?;
        }
        let above = number.next().unwrap_or(number);
        if self.live.read(|keyring| keyring.minimum_epoch(stream)) < above {
            self.sign(Body::Floor(StreamFloor { stream, minimum: above }))?;
        }
        let not_after = epoch.not_after.min(now());
        self.sign(Body::Epoch(Epoch { custody: None, not_after, ..epoch }))
    }

    /// The same grant without the seed of one epoch.
    async fn cut(&mut self, grant: &Grant, number: EpochNumber) -> Result<(), PlanError> {
        let slot = Body::Grant(grant.clone()).slot();
        let (public, epochs) = self.live.read(|keyring| {
            let public = keyring.identity(grant.identity).map(|identity| identity.public.clone());
            let epochs = keyring.epochs(grant.stream).filter(|epoch| grant.covers(epoch.number));
            (public, epochs.cloned().collect::<Vec<Epoch>>())
        });
        let Some(public) = public else {
            // Nobody is left who could be given the others.
            return self.remove(slot, &format!("epoch {number} was destroyed, and the identity is gone"));
        };
        let mut seeds: Vec<Option<Arc<EpochSecret>>> = Vec::new();
        let mut expected = Some(grant.first);
        for epoch in &epochs {
            if expected != Some(epoch.number) {
                break;
            }
            expected = epoch.number.next();
            seeds.push(if epoch.number == number { None } else { self.epoch_secret(epoch).await? });
        }
        let seeds: Vec<Option<&EpochSecret>> = seeds.iter().map(Option::as_deref).collect();
        let cut = grant.rewrapped(&public, &seeds)?;
        self.sign(Body::Grant(cut))
    }
}

/// Grants of an epoch may be many: what is left waits for the next round.
const MOST_AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use barnabas_crypto::{KemSuite, Object, OnUnreadable, Secret, SigningKey, Stream, Suite, WrappedSeed};

    use super::*;

    const STREAM: StreamId = StreamId::from_bytes([1; 16]);

    /// A stream with epochs of ten seconds each, those of `destroyed` without a seed.
    fn keyring(epochs: u32, destroyed: &[u32]) -> Keyring {
        let root = SigningKey::from_seed(&Secret::draw().unwrap()).unwrap();
        let mut keyring = Keyring::new(*root.public());
        let stream = Stream {
            id: STREAM,
            topic: "orders".to_owned(),
            sealed: true,
            suite: Suite::Aes256Gcm,
            on_unreadable: OnUnreadable::Fail,
            created: UnixMillis::new(0),
        };
        let seed = WrappedSeed { key: "k".to_owned(), blob: vec![1] };
        let epoch = |number: u32| Epoch {
            stream: STREAM,
            number: EpochNumber::new(number),
            public: EpochSecret::draw(KemSuite::X25519).unwrap().public().unwrap(),
            not_before: UnixMillis::new(u64::from(number) * 10_000),
            not_after: UnixMillis::new(u64::from(number) * 10_000 + 10_000),
            custody: (!destroyed.contains(&number)).then(|| seed.clone()),
        };
        for body in std::iter::once(Body::Stream(stream)).chain((0..epochs).map(|number| Body::Epoch(epoch(number)))) {
            let object = Object::new(body, 1, UnixMillis::new(1)).sign(&root).unwrap();
            keyring.apply(object.record_key().as_bytes(), Some(object.wire()), now()).unwrap();
        }
        keyring
    }

    #[test]
    fn the_oldest_epoch_with_a_seed_is_due_when_its_time_has_passed() {
        let at = |seconds: u64| UnixMillis::new(seconds * 1_000);
        let due = |keyring: &Keyring, seconds| {
            let found = due(keyring, |topic| (topic == "orders").then_some(5_000), at(seconds));
            found.first().map(|(_, number)| number.number())
        };
        let three = keyring(3, &[]);
        assert_eq!([14, 15, 24, 25].map(|seconds| due(&three, seconds)), [None, Some(0), Some(0), Some(0)]);
        let rest = keyring(3, &[0]);
        assert_eq!([24, 25].map(|seconds| due(&rest, seconds)), [None, Some(1)]);
        // The newest epoch stays, however old it is and whether open or not.
        assert_eq!(due(&keyring(3, &[0, 1]), 1_000), None);
        assert_eq!(super::due(&three, |_| None, at(1_000)), []);
    }

    #[test]
    fn what_cannot_be_destroyed_is_refused_by_name() {
        let keyring = keyring(3, &[0]);
        let of = |number, seconds: u64| {
            let found = Destruction::of(&keyring, STREAM, EpochNumber::new(number), UnixMillis::new(seconds * 1_000));
            found.map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(of(0, 25).unwrap_err().contains("destroyed already"));
        assert!(of(1, 25).is_ok());
        for (number, seconds) in [(2, 25), (2, 1_000), (1, 15)] {
            assert!(of(number, seconds).unwrap_err().contains("current"), "{number} at {seconds}");
        }
        assert!(of(9, 25).unwrap_err().contains("no epoch 9"));
    }
}
