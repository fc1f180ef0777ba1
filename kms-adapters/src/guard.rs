//! What stands between the gateway and every adapter, so that no adapter has to think of it.
//!
//! Arrives: a custody call. Leaves: its result, within a bounded time, from a bounded number of calls at once. Calls that
//! fail for want of an answer are tried again with jitter; a KMS that stays silent is left alone; many who want the same
//! blob unwrapped wait for one call. Nothing is kept when a call is over: caching belongs to the caller. All of it waits
//! without a thread, so the data path never does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use barnabas_crypto::custody::{CustodyCause, CustodyFuture};
use barnabas_crypto::{Custody, CustodyContext, CustodyError, Secret};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zeroize::Zeroizing;

use crate::breaker::{Breaker, BreakerSettings};
use crate::retry::{Retry, RetrySettings};

/// The bounds of a guarded adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuardSettings {
    /// For one call of the adapter.
    pub attempt_timeout: Duration,
    /// For all tries and pauses together, waiting for a free place included.
    pub total_timeout: Duration,
    /// Calls of the adapter at once; more wait.
    pub concurrency: usize,
    /// When to try again.
    pub retry: RetrySettings,
    /// When to leave the KMS alone.
    pub breaker: BreakerSettings,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            // Above an adapter's own limit for a request (10 s): its error says more than ours.
            attempt_timeout: Duration::from_secs(12),
            // Below the 30 s after which Kafka's clients give a request up.
            total_timeout: Duration::from_secs(20),
            concurrency: 16,
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
        }
    }
}

/// An adapter with bounds around it.
pub struct Guarded<C: ?Sized> {
    settings: GuardSettings,
    retry: Retry,
    breaker: Breaker,
    places: Semaphore,
    flights: Mutex<HashMap<Wanted, Arc<Flight>>>,
    outage: Mutex<Option<Outage>>,
    inner: Arc<C>,
}

/// That the KMS gives no answers that can be used, for readiness and metrics.
#[derive(Clone, Debug)]
pub struct Outage {
    /// Since when.
    pub since: Instant,
    /// The last failure.
    pub error: CustodyError,
}

impl<C: Custody + ?Sized> Guarded<C> {
    /// Puts bounds around an adapter.
    #[must_use]
    pub fn new(inner: Arc<C>, settings: GuardSettings) -> Self {
        Self {
            settings,
            retry: Retry::new(settings.retry),
            breaker: Breaker::new(settings.breaker),
            places: Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            flights: Mutex::default(),
            outage: Mutex::new(None),
            inner,
        }
    }

    /// The outage that lasts, if one does: it begins with a call that failed retriably and ends with the first answer.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        locked(&self.outage).clone()
    }

    /// Calls until it works, fails for good, or time is up.
    async fn call<'a, T>(&'a self, call: impl Fn(&'a C) -> CustodyFuture<'a, T>) -> Result<T, CustodyError> {
        let end = Instant::now() + self.settings.total_timeout;
        let mut failures = 0;
        loop {
            let error = match self.attempt(end, &call).await {
                Err(error) => error,
                done => return done,
            };
            failures += 1;
            match self.retry.pause(failures, &error) {
                Some(pause) if Instant::now() + pause < end => sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    async fn attempt<'a, T>(
        &'a self,
        end: Instant,
        call: &impl Fn(&'a C) -> CustodyFuture<'a, T>,
    ) -> Result<T, CustodyError> {
        let busy = || self.failed("has too many calls under way, none ended in time");
        let _place = timeout_at(end, self.places.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let pass = self.breaker.pass().map_err(|left| {
            let left = left.as_millis();
            self.failed(&format!("did not answer several times and is left alone for another {left} ms"))
        })?;
        let limit = self.settings.attempt_timeout.min(end.saturating_duration_since(Instant::now()));
        let result = match timeout(limit, call(&self.inner)).await {
            Ok(result) => result,
            Err(_) => Err(self.failed(&format!("gave no answer within {} ms", limit.as_millis()))),
        };
        match &result {
            Err(error) if error.cause == CustodyCause::Unreachable => pass.silent(),
            _ => pass.answered(),
        }
        self.note(result.as_ref().err());
        result
    }

    fn failed(&self, what: &str) -> CustodyError {
        CustodyError::new(CustodyCause::Unreachable, format!("{} {what}", self.inner.describe()))
    }

    /// Only what says nothing about a key is an outage; everything else is an answer.
    fn note(&self, error: Option<&CustodyError>) {
        let mut outage = locked(&self.outage);
        *outage = error.filter(|error| error.is_retryable()).map(|error| {
            let since = outage.as_ref().map_or_else(Instant::now, |outage| outage.since);
            Outage { since, error: error.clone() }
        });
    }

    /// Unwraps once for all who want the same at the same time.
    async fn unwrap_shared<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> Result<Secret<32>, CustodyError> {
        let wanted = (key.to_owned(), wrapped.to_vec(), context.associated_data());
        let aboard = Aboard::board(self, wanted);
        let fly = || async { self.call(|inner| inner.unwrap(key, wrapped, context)).await };
        // If the one who asks goes away, the next who waits asks: nobody waits for nobody.
        let landed = aboard.flight.get_or_init(fly).await;
        match landed {
            Ok(secret) => Ok(Secret::take(&mut Zeroizing::new(*secret.expose()))),
            Err(error) => Err(error.clone()),
        }
    }
}

impl<C: Custody + ?Sized> Custody for Guarded<C> {
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(self.call(move |inner| inner.ensure_key(key)))
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(self.call(move |inner| inner.wrap(key, secret, context)))
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        Box::pin(self.unwrap_shared(key, wrapped, context))
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<String> {
        self.inner.version_of(wrapped)
    }

    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        Box::pin(self.call(move |inner| inner.current_version(key)))
    }
}

/// Key, blob, associated data.
type Wanted = (String, Vec<u8>, Vec<u8>);

type Flight = OnceCell<Result<Secret<32>, CustodyError>>;

/// One who waits for a flight. The last one out takes it off the board, and with it the secret.
struct Aboard<'a> {
    flights: &'a Mutex<HashMap<Wanted, Arc<Flight>>>,
    wanted: Wanted,
    flight: Arc<Flight>,
}

impl<'a> Aboard<'a> {
    fn board<C: ?Sized>(guarded: &'a Guarded<C>, wanted: Wanted) -> Self {
        let flights = &guarded.flights;
        let mut board = locked(flights);
        let flight = match board.get(&wanted) {
            // One that has landed is of the past: what is asked now gets an answer of now.
            Some(flight) if !flight.initialized() => Arc::clone(flight),
            _ => {
                let flight = Arc::default();
                board.insert(wanted.clone(), Arc::clone(&flight));
                flight
            }
        };
        drop(board);
        Self { flights, wanted, flight }
    }
}

impl Drop for Aboard<'_> {
    fn drop(&mut self) {
        let mut board = locked(self.flights);
        let is_listed = board.get(&self.wanted).is_some_and(|listed| Arc::ptr_eq(listed, &self.flight));
        // Two hold it: the board and we. Nobody can board meanwhile, the board is locked.
        if is_listed && (self.flight.initialized() || Arc::strong_count(&self.flight) == 2) {
            board.remove(&self.wanted);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
