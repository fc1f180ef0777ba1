//! Hiding seeds anew: under the newest version of their key, or in another key management system.
//!
//! Arrives: which seeds, and the system. Leaves: the same identities and epochs in objects of a next version, whose public
//! halves, ids and times are what they were: clients notice nothing. What must never happen here: a seed hidden for
//! something else than it is the seed of, or lost: the new object is published only when both calls have succeeded.

use barnabas_crypto::{
    Body, Custodian, Custody, CustodyContext, Epoch, EpochNumber, Identity, IdentityId, StreamId, WrappedSeed,
};

use super::delegate::Seed;
use super::plan::{Plan, PlanError};

impl Plan<'_> {
    /// Hides seeds anew in `system`. A seed that is gone by now, or was never in custody, is left out.
    pub async fn rewrap(&mut self, seeds: &[Seed], system: &str) -> Result<(), PlanError> {
        for seed in seeds {
            match *seed {
                Seed::Identity(id) => self.rewrap_identity(id, system).await?,
                Seed::Epoch(stream, number) => self.rewrap_epoch(stream, number, system).await?,
            }
        }
        Ok(())
    }

    async fn rewrap_identity(&mut self, id: IdentityId, system: &str) -> Result<(), PlanError> {
        let Some(identity) = self.live.read(|keyring| keyring.identity(id).cloned()) else { return Ok(()) };
        let Custodian::Gateway(wrapped) = &identity.custody else { return Ok(()) };
        let wrapped = self.hidden_anew(wrapped, &CustodyContext::IdentitySeed(id), system).await?;
        self.sign(Body::Identity(Identity { custody: Custodian::Gateway(wrapped), ..identity }))
    }

    async fn rewrap_epoch(&mut self, stream: StreamId, number: EpochNumber, system: &str) -> Result<(), PlanError> {
        let find = |epoch: &&Epoch| epoch.number == number;
        let Some(epoch) = self.live.read(|keyring| keyring.epochs(stream).find(find).cloned()) else { return Ok(()) };
        let Some(wrapped) = &epoch.custody else { return Ok(()) };
        let wrapped = self.hidden_anew(wrapped, &CustodyContext::EpochSeed(stream, number), system).await?;
        self.sign(Body::Epoch(Epoch { custody: Some(wrapped), ..epoch }))
    }

    async fn hidden_anew(
        &self,
        wrapped: &WrappedSeed,
        context: &CustodyContext,
        system: &str,
    ) -> Result<WrappedSeed, PlanError> {
        let seed = self.kms.unwrap(&wrapped.key, &wrapped.blob, context).await?;
        let key = self.kms.key_in(system, self.kms.parts(&wrapped.key).1);
        self.kms.ensure_key(&key).await?;
        let blob = self.kms.wrap(&key, &seed, context).await?;
        Ok(WrappedSeed { key, blob })
    }
}
