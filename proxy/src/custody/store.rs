//! The secrets of clients whose identity is in the gateway's custody.
//!
//! Arrives: an identity object with its seed wrapped by a KMS. Leaves: the identity's secret half, shared while it is
//! used. Only the first use of a client waits for the KMS. From then on its key is asked for again in the background,
//! before `custody.max_age` is over: an answer *disabled* or *denied* stops the client there and then; no answer is
//! survived for `custody.outage_grace`, and then the secret is dropped. What must never happen here: one client's secret
//! given to another; a secret used longer than both times together after its KMS last agreed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custodian, Custody, CustodyContext, CustodyError, Identity, IdentityId, IdentitySecret};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::KeySystems;
use crate::chain::refusal::Reason;
use crate::config::CustodySettings;
use crate::metrics::CacheMetrics;

/// How long a secret is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The longest time between two agreements of the KMS.
    pub max_age: Duration,
    /// How much longer a KMS that does not answer is survived.
    pub outage_grace: Duration,
}

impl From<&CustodySettings> for Terms {
    fn from(settings: &CustodySettings) -> Self {
        Self { max_age: settings.max_age, outage_grace: settings.outage_grace }
    }
}

/// Unwrapped identities, bounded and expiring.
pub struct CustodyStore {
    systems: Arc<KeySystems>,
    terms: Terms,
    kept: Mutex<HashMap<IdentityId, Kept>>,
    metrics: CacheMetrics,
}

struct Kept {
    /// `None`: the KMS has said no.
    secret: Option<Arc<IdentitySecret>>,
    /// When the KMS last gave an answer that counts.
    agreed: Instant,
    /// When it is asked again.
    due: Instant,
}

impl CustodyStore {
    /// Unwraps by `systems`.
    pub fn new(systems: Arc<KeySystems>, terms: Terms, metrics: CacheMetrics) -> Self {
        Self { systems, terms, kept: Mutex::default(), metrics }
    }

    /// The key management systems.
    pub fn systems(&self) -> &Arc<KeySystems> {
        &self.systems
    }

    /// The secret half of an identity.
    pub async fn secret(&self, identity: &Identity) -> Result<Arc<IdentitySecret>, Reason> {
        let id = identity.id();
        match self.look_up(id) {
            Some(Some(secret)) => {
                self.metrics.hits.inc();
                return Ok(secret);
            }
            Some(None) => return Err(Reason::NoIdentity),
            None => {}
        }
        self.metrics.misses.inc();
        match self.unwrap(identity).await {
            Ok(secret) => {
                let secret = Arc::new(secret);
                self.keep(id, Some(secret.clone()));
                Ok(secret)
            }
            Err(error) => {
                tracing::warn!(event = "custody_unwrap_failed", identity = %id, principal = identity.principal, %error);
                if error.is_retryable() {
                    return Err(Reason::Unavailable("the KMS does not answer"));
                }
                self.keep(id, None);
                Err(Reason::NoIdentity)
            }
        }
    }

    /// Asks again for what is due. Gives the identities whose secrets are gone. `find` gives an identity as the keyring
    /// has it now, since its seed may have been wrapped anew.
    pub async fn refresh(self: &Arc<Self>, find: impl Fn(IdentityId) -> Option<Identity>) -> Vec<IdentityId> {
        let (mut gone, due) = self.due(find);
        let mut asked = JoinSet::new();
        for identity in due {
            let this = self.clone();
            asked.spawn(async move { (identity.id(), this.ask_again(&identity).await) });
            if asked.len() >= REFRESHED_AT_ONCE {
                gone.extend(asked.join_next().await.into_iter().flatten().filter(|(_, kept)| !kept).map(|(id, _)| id));
            }
        }
        gone.extend(asked.join_all().await.into_iter().filter(|(_, kept)| !kept).map(|(id, _)| id));
        self.metrics.entries.set(i64::try_from(self.lock().len()).unwrap_or(i64::MAX));
        gone
    }

    /// What was dropped for good just now, and what the KMS is to be asked about.
    fn due(&self, find: impl Fn(IdentityId) -> Option<Identity>) -> (Vec<IdentityId>, Vec<Identity>) {
        let (mut gone, mut due) = (Vec::new(), Vec::new());
        let longest = self.terms.max_age + self.terms.outage_grace;
        let now = Instant::now();
        self.lock().retain(|id, kept| {
            if kept.secret.is_none() {
                return kept.agreed + DENIAL_KEPT > now;
            }
            let Some(identity) = find(*id) else {
                gone.push(*id);
                return false;
            };
            if kept.agreed + longest <= now {
                tracing::error!(
                    event = "custody_ended",
                    identity = %id,
                    principal = identity.principal,
                    "the KMS has not answered for custody.max_age and custody.outage_grace together"
                );
                gone.push(*id);
                return false;
            }
            if kept.due <= now {
                kept.due = now + self.pause();
                due.push(identity);
            }
            true
        });
        (gone, due)
    }

    /// Whether the secret is still there afterwards.
    async fn ask_again(&self, identity: &Identity) -> bool {
        let id = identity.id();
        match self.unwrap(identity).await {
            Ok(secret) => {
                self.keep(id, Some(Arc::new(secret)));
                true
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(event = "custody_not_renewed", identity = %id, principal = identity.principal, %error);
                true
            }
            Err(error) => {
                tracing::warn!(event = "custody_denied", identity = %id, principal = identity.principal, %error);
                self.keep(id, None);
                false
            }
        }
    }

    async fn unwrap(&self, identity: &Identity) -> Result<IdentitySecret, CustodyError> {
        let Custodian::Gateway(wrapped) = &identity.custody else {
            return Err(CustodyError::new(CustodyCause::Invalid, "the client keeps its own secret"));
        };
        let context = CustodyContext::IdentitySeed(identity.id());
        let seed = self.systems.unwrap(&wrapped.key, &wrapped.blob, &context).await?;
        let corrupt = || CustodyError::new(CustodyCause::Corrupt, "the seed is not the one of this identity");
        let secret = IdentitySecret::from_seed(seed, identity.public.kem.suite()).map_err(|_| corrupt())?;
        if secret.id() == identity.id() { Ok(secret) } else { Err(corrupt()) }
    }

    fn look_up(&self, id: IdentityId) -> Option<Option<Arc<IdentitySecret>>> {
        let longest = self.terms.max_age + self.terms.outage_grace;
        self.lock().get(&id).filter(|kept| kept.agreed.elapsed() < longest).map(|kept| kept.secret.clone())
    }

    fn keep(&self, id: IdentityId, secret: Option<Arc<IdentitySecret>>) {
        let now = Instant::now();
        // Spread, so that a gateway's thousand clients do not come back to the KMS in one second for ever.
        let spread = u64::from(id.as_bytes().first().copied().unwrap_or(0));
        let half = self.terms.max_age / 2;
        let due = now + half + half.mul_f64(spread as f64 / 512.0);
        let mut kept = self.lock();
        if kept.len() < MOST_IDENTITIES || kept.contains_key(&id) {
            kept.insert(id, Kept { secret, agreed: now, due });
        }
        self.metrics.entries.set(i64::try_from(kept.len()).unwrap_or(i64::MAX));
    }

    /// Until a KMS that did not answer is asked again about the same client.
    fn pause(&self) -> Duration {
        (self.terms.max_age / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IdentityId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About 3 KiB each, so 150 MiB at the most.
const MOST_IDENTITIES: usize = 50_000;

/// Below what the guards let through at once, so that a client's first use finds a place.
const REFRESHED_AT_ONCE: usize = 8;

/// A KMS that has said no is not asked again by every request of the client it said no to.
const DENIAL_KEPT: Duration = Duration::from_secs(5);

const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
