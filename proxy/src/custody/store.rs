//! The secrets of clients whose identity is in the gateway's custody.
//!
//! Arrives: an identity object with its seed wrapped by a KMS. Leaves: the identity's secret half, shared while it is
//! used. Only the first use of a client waits for the KMS. From then on its key is asked for again in the background,
//! before `custody.max_age` is over: an answer *disabled* or *denied* stops the client there and then; no answer is
//! survived for `custody.outage_grace`, and then the secret is dropped. A client that was stopped is asked about again,
//! and goes on when the KMS allows it. What must never happen here: one client's secret given to another; a secret used
//! longer than both times together after its KMS last agreed; one system's silence holding up the answers of another.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custodian, CustodyContext, CustodyError, Identity, IdentityId, IdentitySecret};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::repeats::Repeats;
use super::{KeySystems, LOCAL};
use crate::audit::event::{Event, Receipt};
use crate::chain::refusal::Reason;
use crate::config::CustodySettings;
use crate::metrics::CustodyMetrics;

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
    /// Systems that are being asked in the background.
    busy: Mutex<HashSet<String>>,
    changes: Mutex<Changes>,
    /// Requests that had no answer: told now and then, for they come as fast as clients ask again.
    repeats: Repeats,
    metrics: CustodyMetrics,
}

/// What the KMS has said since it was last told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Identities whose secrets are gone.
    pub ended: Vec<IdentityId>,
    /// Some that it had said no about may go on.
    pub allowed: bool,
}

struct Kept {
    /// `None`: the KMS has said no.
    secret: Option<Arc<IdentitySecret>>,
    /// When the KMS was asked for the last answer that counts.
    agreed: Instant,
    /// When it is asked again.
    due: Instant,
}

impl CustodyStore {
    /// Unwraps by `systems`.
    pub fn new(systems: Arc<KeySystems>, terms: Terms, metrics: CustodyMetrics) -> Self {
        let (kept, busy, changes) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { systems, terms, kept, busy, changes, repeats: Repeats::default(), metrics }
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
                self.metrics.cache.hits.inc();
                return Ok(secret);
            }
            Some(None) => return Err(Reason::NoIdentity),
            None => {}
        }
        self.metrics.cache.misses.inc();
        let asked = Instant::now();
        let (unwrapped, receipt) = self.unwrap(identity).await;
        if let Some(audit) = self.systems.audit() {
            audit.settle(receipt.into_iter().collect()).await?;
        }
        match unwrapped {
            Ok(secret) => {
                let secret = Arc::new(secret);
                self.keep(id, Some(secret.clone()), asked);
                if let Some(suppressed) = self.repeats.over(id) {
                    let principal = &identity.principal;
                    tracing::info!(event = "custody_unwrap_works_again", identity = %id, principal, suppressed);
                }
                Ok(secret)
            }
            Err(error) => {
                self.tell_failed(identity, &error);
                if error.is_retryable() {
                    return Err(Reason::Unavailable("the KMS does not answer"));
                }
                self.keep(id, None, asked);
                Err(Reason::NoIdentity)
            }
        }
    }

    /// Whether the secret of an identity may be used at this moment, and with it the sessions that it has opened.
    pub fn stands(&self, id: IdentityId) -> bool {
        matches!(self.look_up(id), Some(Some(_)))
    }

    /// Drops what may be used no longer, has the systems asked in the background about what is due, and tells what has
    /// changed since the last time. `find` gives an identity as the keyring has it, since its seed may be wrapped anew.
    pub fn refresh<F>(self: &Arc<Self>, find: F) -> Changes
    where
        F: Fn(IdentityId) -> Option<Identity> + Send + Sync + 'static,
    {
        let (mut ended, due) = self.due(&find);
        let find = Arc::new(find);
        for (system, due) in due {
            tokio::spawn(self.clone().ask_about(system, due, find.clone()));
        }
        self.metrics.cache.entries.set(i64::try_from(lock(&self.kept).len()).unwrap_or(i64::MAX));
        let mut changes = std::mem::take(&mut *lock(&self.changes));
        changes.ended.append(&mut ended);
        changes
    }

    /// What was dropped for good just now, and what is to be asked of each system that is not being asked already.
    fn due(
        &self,
        find: &impl Fn(IdentityId) -> Option<Identity>,
    ) -> (Vec<IdentityId>, BTreeMap<String, Vec<Identity>>) {
        let (mut ended, mut due) = (Vec::new(), BTreeMap::<String, Vec<Identity>>::new());
        let now = Instant::now();
        // The keyring is asked without the lock: who looks a secret up does not wait for fifty thousand identities.
        let listed: Vec<IdentityId> = lock(&self.kept).keys().copied().collect();
        let mut busy = lock(&self.busy);
        for id in listed {
            let identity = find(id);
            let mut all = lock(&self.kept);
            let Some(kept) = all.get_mut(&id) else { continue };
            let is_over = kept.secret.is_some() && kept.agreed + self.longest() <= now;
            match identity {
                Some(identity) if !is_over => {
                    let system = self.system_of(&identity);
                    if kept.due <= now && !busy.contains(system) {
                        kept.due = now + self.pause();
                        due.entry(system.to_owned()).or_default().push(identity);
                    }
                }
                gone => {
                    all.remove(&id);
                    ended.push(id);
                    if let Some(identity) = gone {
                        self.tell_ended(&identity, "the KMS has not answered in time");
                        told_of_the_end(&identity);
                    }
                }
            }
        }
        busy.extend(due.keys().cloned());
        (ended, due)
    }

    /// Asks one system, some at once.
    async fn ask_about<F>(self: Arc<Self>, system: String, due: Vec<Identity>, find: Arc<F>)
    where
        F: Fn(IdentityId) -> Option<Identity> + Send + Sync + 'static,
    {
        let mut asked = JoinSet::new();
        for identity in due {
            let (this, find) = (self.clone(), find.clone());
            asked.spawn(async move { this.ask_again(&identity, &*find).await });
            if asked.len() >= REFRESHED_AT_ONCE {
                asked.join_next().await;
            }
        }
        while asked.join_next().await.is_some() {}
        lock(&self.busy).remove(&system);
    }

    async fn ask_again(&self, identity: &Identity, find: &impl Fn(IdentityId) -> Option<Identity>) {
        let id = identity.id();
        let asked = Instant::now();
        // Nobody waits for this one, so nobody waits for its entry.
        match self.unwrap(identity).await.0 {
            Ok(secret) => {
                if !self.keep(id, Some(Arc::new(secret)), asked) {
                    tracing::info!(event = "custody_allowed", identity = %id, principal = identity.principal);
                    lock(&self.changes).allowed = true;
                }
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(event = "custody_not_renewed", identity = %id, principal = identity.principal, %error);
            }
            // While it was asked, the seed was hidden anew: the answer is about what counts no more.
            Err(_) if find(id).is_some_and(|known| known.custody != identity.custody) => {
                if let Some(kept) = lock(&self.kept).get_mut(&id) {
                    kept.due = Instant::now();
                }
            }
            Err(error) => {
                if self.keep(id, None, asked) {
                    self.tell_ended(identity, &error.to_string());
                    tracing::warn!(event = "custody_denied", identity = %id, principal = identity.principal, %error);
                    lock(&self.changes).ended.push(id);
                }
            }
        }
    }

    /// The secret, and the receipt of its entry in the audit log where requests wait for one.
    async fn unwrap(&self, identity: &Identity) -> (Result<IdentitySecret, CustodyError>, Option<Receipt>) {
        let asked = std::time::Instant::now();
        let answer = self.unwrapped(identity).await;
        if let Err(error) = &answer {
            self.metrics.failed(self.known_system_of(identity), error.cause);
        }
        let receipt = self.systems.audit().and_then(|audit| {
            let who = (identity.principal.as_str(), identity.id());
            let key = self.key_of(identity);
            audit.told(Event::custody_unwrap(who, key, answer.as_ref().err(), asked.elapsed()))
        });
        (answer, receipt)
    }

    /// What says something about the key is told each time: that is kept, and not asked again by the next request.
    fn tell_failed(&self, identity: &Identity, error: &CustodyError) {
        let (id, principal, kms) = (identity.id(), &identity.principal, self.system_of(identity));
        let told = if error.is_retryable() { self.repeats.tell(id, kms, Instant::now().into_std()) } else { Some(0) };
        if let Some(suppressed) = told {
            tracing::warn!(event = "custody_unwrap_failed", identity = %id, principal, kms, suppressed, %error);
        }
    }

    fn tell_ended(&self, identity: &Identity, why: &str) {
        if let Some(audit) = self.systems.audit() {
            let who = (identity.principal.as_str(), identity.id());
            audit.record(Event::custody_ended(who, self.key_of(identity), why));
        }
    }

    async fn unwrapped(&self, identity: &Identity) -> Result<IdentitySecret, CustodyError> {
        let Custodian::Gateway(wrapped) = &identity.custody else {
            return Err(CustodyError::new(CustodyCause::Invalid, "the client keeps its own secret"));
        };
        let context = CustodyContext::IdentitySeed(identity.id());
        let seed = self.systems.unwrap_untold(&wrapped.key, &wrapped.blob, &context).await?;
        let corrupt = || CustodyError::new(CustodyCause::Corrupt, "the seed is not the one of this identity");
        let secret = IdentitySecret::from_seed(seed, identity.public.kem.suite()).map_err(|_| corrupt())?;
        if secret.id() == identity.id() { Ok(secret) } else { Err(corrupt()) }
    }

    fn look_up(&self, id: IdentityId) -> Option<Option<Arc<IdentitySecret>>> {
        let kept = lock(&self.kept);
        let counts = |kept: &&Kept| kept.secret.is_none() || kept.agreed.elapsed() < self.longest();
        kept.get(&id).filter(counts).map(|kept| kept.secret.clone())
    }

    /// Keeps what the KMS has said to a question of this time: an answer that took long is no newer than its question.
    /// Tells whether the client had a secret up to now.
    fn keep(&self, id: IdentityId, secret: Option<Arc<IdentitySecret>>, asked: Instant) -> bool {
        // Spread, so that a gateway's thousand clients do not come back to the KMS in one second for ever.
        let spread = u64::from(id.as_bytes().first().copied().unwrap_or(0));
        let half = self.terms.max_age / 2;
        let due = match secret {
            Some(_) => asked + half + half.mul_f64(spread as f64 / 512.0),
            None => asked + self.terms.max_age.clamp(SHORTEST_DENIAL, LONGEST_PAUSE),
        };
        let mut kept = lock(&self.kept);
        let had = kept.get(&id).is_some_and(|before| before.secret.is_some());
        if kept.len() < MOST_IDENTITIES || kept.contains_key(&id) {
            kept.insert(id, Kept { secret, agreed: asked, due });
        }
        self.metrics.cache.entries.set(i64::try_from(kept.len()).unwrap_or(i64::MAX));
        had
    }

    /// The longest use of a secret after its KMS last agreed.
    fn longest(&self) -> Duration {
        self.terms.max_age + self.terms.outage_grace
    }

    /// Until a KMS that did not answer is asked again about the same client.
    fn pause(&self) -> Duration {
        (self.terms.max_age / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    fn system_of<'i>(&self, identity: &'i Identity) -> &'i str {
        self.key_of(identity).0
    }

    /// The same for a metric: a name of the configuration, and nothing else that a keyring may say.
    fn known_system_of<'i>(&self, identity: &'i Identity) -> &'i str {
        let name = self.system_of(identity);
        if self.systems.system(name).is_some() { name } else { "unknown" }
    }

    /// System and name of the key that hides the seed.
    fn key_of<'i>(&self, identity: &'i Identity) -> (&'i str, &'i str) {
        match &identity.custody {
            Custodian::Gateway(wrapped) => self.systems.parts(&wrapped.key),
            Custodian::Client => (LOCAL, ""),
        }
    }
}

fn told_of_the_end(identity: &Identity) {
    tracing::error!(
        event = "custody_ended",
        identity = %identity.id(),
        principal = identity.principal,
        "the KMS has not answered for custody.max_age and custody.outage_grace together"
    );
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// About 3 KiB each, so 150 MiB at the most.
const MOST_IDENTITIES: usize = 50_000;

/// Below what the guards let through at once, so that a client's first use finds a place.
const REFRESHED_AT_ONCE: usize = 8;

/// A KMS that has said no is not asked again by every request of the client it said no to, and at most this often.
const SHORTEST_DENIAL: Duration = Duration::from_secs(5);

const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
