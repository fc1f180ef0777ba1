//! The secrets of clients whose identity is in the gateway's custody.
//!
//! Arrives: an identity object with its seed wrapped by the KMS. Leaves: the identity's secret half, shared while it
//! is used. Secrets expire (`custody.max_age`) and are then unwrapped anew, so that a key which the KMS has
//! disabled stops its client; a KMS that does not answer is survived for [`OUTAGE_GRACE`]. What must never happen
//! here: one client's secret given to another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use barnabas_crypto::{Custodian, Custody, CustodyContext, CustodyError, Identity, IdentityId, IdentitySecret};

use crate::chain::refusal::Reason;
use crate::metrics::CacheMetrics;

/// Unwrapped identities, bounded and expiring.
pub struct CustodyStore {
    kms: Arc<dyn Custody>,
    max_age: Duration,
    kept: Mutex<HashMap<IdentityId, Kept>>,
    metrics: CacheMetrics,
}

struct Kept {
    secret: Arc<IdentitySecret>,
    checked: Instant,
}

impl CustodyStore {
    /// Unwraps with `kms`; what was unwrapped is used for `max_age`.
    pub fn new(kms: Arc<dyn Custody>, max_age: Duration, metrics: CacheMetrics) -> Self {
        Self { kms, max_age, kept: Mutex::default(), metrics }
    }

    /// The KMS.
    pub fn kms(&self) -> &Arc<dyn Custody> {
        &self.kms
    }

    /// The secret half of an identity.
    pub async fn secret(&self, identity: &Identity) -> Result<Arc<IdentitySecret>, Reason> {
        let id = identity.id();
        let known = self.look_up(id);
        if let Some((secret, age)) = &known
            && *age < self.max_age
        {
            self.metrics.hits.inc();
            return Ok(secret.clone());
        }
        self.metrics.misses.inc();
        match self.unwrap(identity).await {
            Ok(secret) => {
                let secret = Arc::new(secret);
                self.keep(id, secret.clone());
                Ok(secret)
            }
            Err(error) => {
                tracing::warn!(event = "custody_unwrap_failed", identity = %id, principal = identity.principal, %error);
                match known {
                    Some((secret, age)) if error.is_retryable() && age < self.max_age + OUTAGE_GRACE => Ok(secret),
                    _ if error.is_retryable() => Err(Reason::Unavailable("the KMS does not answer")),
                    _ => {
                        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                        Err(Reason::NoIdentity)
                    }
                }
            }
        }
    }

    async fn unwrap(&self, identity: &Identity) -> Result<IdentitySecret, CustodyError> {
        use barnabas_crypto::custody::CustodyCause;
        let Custodian::Gateway(wrapped) = &identity.custody else {
            return Err(CustodyError::new(CustodyCause::Invalid, "the client keeps its own secret"));
        };
        let context = CustodyContext::IdentitySeed(identity.id());
        let seed = self.kms.unwrap(&wrapped.key, &wrapped.blob, &context).await?;
        let corrupt = || CustodyError::new(CustodyCause::Corrupt, "the seed is not the one of this identity");
        let secret = IdentitySecret::from_seed(seed, identity.public.kem.suite()).map_err(|_| corrupt())?;
        if secret.id() == identity.id() { Ok(secret) } else { Err(corrupt()) }
    }

    fn look_up(&self, id: IdentityId) -> Option<(Arc<IdentitySecret>, Duration)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&id).map(|kept| (kept.secret.clone(), kept.checked.elapsed()))
    }

    fn keep(&self, id: IdentityId, secret: Arc<IdentitySecret>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_IDENTITIES {
            kept.retain(|_, kept| kept.checked.elapsed() < self.max_age);
        }
        if kept.len() < MOST_IDENTITIES {
            kept.insert(id, Kept { secret, checked: Instant::now() });
        }
        self.metrics.entries.set(i64::try_from(kept.len()).unwrap_or(i64::MAX));
    }
}

/// How long a KMS that does not answer is survived.
const OUTAGE_GRACE: Duration = Duration::from_secs(3600);

/// About 3 KiB each, so 150 MiB at the most.
const MOST_IDENTITIES: usize = 50_000;
