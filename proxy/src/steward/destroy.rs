//! Destroying an epoch: its seed leaves the keyring, and with it everything that was sealed in it becomes noise.
//!
//! Arrives: a stream and the number of one of its epochs. Leaves: the epoch's object without its seed, the grants that held
//! the seed wrapped anew without it, removals of the epoch's announcements (their wraps for a KMS, a reader or an escrow
//! need no epoch seed), and a floor above it. What must never happen here: the epoch in which writers seal now destroyed,
//! or the seed of another epoch lost with this one.

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
