//! Hiding seeds anew: under the newest version of their key, or in another key management system.
//!
//! Arrives: which seeds, how they are hidden now, and the system. Leaves: first the new wraps, each of which has been opened
//! again; then the same identities and epochs in objects of a next version, whose public halves, ids and times are what they
//! were: clients notice nothing. The systems are asked before the keyring is taken, so other stewards go on meanwhile.
//! What must never happen here: a seed hidden for something else than it is the seed of, or lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{
    Body, Custodian, Custody, CustodyContext, CustodyError, Epoch, EpochNumber, Identity, IdentityId, StreamId,
    WrappedSeed,
};
use tokio::task::JoinSet;

use super::delegate::Seed;
use super::plan::{Plan, PlanError};
use crate::custody::KeySystems;

/// A seed that two wraps hide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// Which.
    pub seed: Seed,
    /// How it was hidden when it was asked for.
    pub before: WrappedSeed,
    /// How it is to be hidden.
    pub after: WrappedSeed,
}

impl Rewrapped {
    /// Has `system` hide some seeds. Nothing is published; the keys that are needed are made, where we may make keys.
    ///
    /// # Errors
    /// The first failure of a system. `Corrupt`, when a new wrap does not give back what it was given.
    pub async fn hide(
        kms: &Arc<KeySystems>,
        seeds: &[(Seed, WrappedSeed)],
        system: &str,
    ) -> Result<Vec<Self>, CustodyError> {
        let key = |before: &WrappedSeed| kms.key_in(system, kms.parts(&before.key).1);
        // One after the other, and each name once: a server may take two at a time for two keys.
        let keys: BTreeSet<String> = seeds.iter().map(|(_, before)| key(before)).collect();
        kms.ensure_keys(&keys.into_iter().collect::<Vec<_>>()).await?;
        let mut asked = JoinSet::new();
        for (seed, before) in seeds {
            asked.spawn(Self::hide_one(kms.clone(), *seed, before.clone(), key(before)));
        }
        let mut done = Vec::with_capacity(seeds.len());
        while let Some(answer) = asked.join_next().await {
            let stopped = |_| CustodyError::new(CustodyCause::Unreachable, "the call was ended");
            done.push(answer.map_err(stopped)??);
        }
        Ok(done)
    }

    async fn hide_one(
        kms: Arc<KeySystems>,
        seed: Seed,
        before: WrappedSeed,
        key: String,
    ) -> Result<Self, CustodyError> {
        let context = match seed {
            Seed::Identity(id) => CustodyContext::IdentitySeed(id),
            Seed::Epoch(stream, number) => CustodyContext::EpochSeed(stream, number),
        };
        let secret = kms.unwrap(&before.key, &before.blob, &context).await?;
        let blob = kms.wrap(&key, &secret, &context).await?;
        // A system that lets us hide and not open again would be the end of this seed.
        if !kms.unwrap(&key, &blob, &context).await?.matches(&secret) {
            let text = format!("key {key} gave back other bytes than it was given");
            return Err(CustodyError::new(CustodyCause::Corrupt, text));
        }
        Ok(Self { seed, before, after: WrappedSeed { key, blob } })
    }
}

impl Plan<'_> {
    /// Puts new wraps in the place of the ones that they were made from. What is gone, or was hidden in yet another way
    /// meanwhile, is left as it is.
    pub fn rewrap(&mut self, anew: &[Rewrapped]) -> Result<(), PlanError> {
        for one in anew {
            match one.seed {
                Seed::Identity(id) => self.rewrap_identity(id, one)?,
                Seed::Epoch(stream, number) => self.rewrap_epoch(stream, number, one)?,
            }
        }
        Ok(())
    }

    fn rewrap_identity(&mut self, id: IdentityId, one: &Rewrapped) -> Result<(), PlanError> {
        let as_before = |identity: &&Identity| identity.custody == Custodian::Gateway(one.before.clone());
        match self.live.read(|keyring| keyring.identity(id).filter(as_before).cloned()) {
            Some(identity) => {
                self.sign(Body::Identity(Identity { custody: Custodian::Gateway(one.after.clone()), ..identity }))
            }
            None => Ok(()),
        }
    }

    fn rewrap_epoch(&mut self, stream: StreamId, number: EpochNumber, one: &Rewrapped) -> Result<(), PlanError> {
        let as_before = |epoch: &&Epoch| epoch.custody.as_ref() == Some(&one.before);
        match self.live.read(|keyring| keyring.epoch(stream, number).filter(as_before).cloned()) {
            Some(epoch) => self.sign(Body::Epoch(Epoch { custody: Some(one.after.clone()), ..epoch })),
            None => Ok(()),
        }
    }
}
