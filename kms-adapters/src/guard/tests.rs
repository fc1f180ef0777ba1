//! The guard around a scripted adapter, under a clock that stands still until everybody waits.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use barnabas_crypto::IdentityId;
use tokio::sync::Notify;
use tokio::time::advance;

use super::*;

/// Fails with these causes one after another, then works; counts; can be held.
#[derive(Default)]
struct Scripted {
    failures: Mutex<Vec<CustodyError>>,
    calls: AtomicUsize,
    under_way: AtomicUsize,
    most: AtomicUsize,
    is_held: bool,
    hold: Notify,
}

impl Scripted {
    fn failing(errors: impl IntoIterator<Item = CustodyError>) -> Self {
        let mut failures: Vec<_> = errors.into_iter().collect();
        failures.reverse();
        Self { failures: Mutex::new(failures), ..Self::default() }
    }

    fn held() -> Self {
        Self { is_held: true, ..Self::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Custody for Scripted {
    fn ensure_key<'a>(&'a self, _: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn wrap<'a>(&'a self, _: &'a str, _: &'a Secret<32>, _: &'a CustodyContext) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(async { Ok(vec![1]) })
    }

    fn unwrap<'a>(&'a self, _: &'a str, _: &'a [u8], _: &'a CustodyContext) -> CustodyFuture<'a, Secret<32>> {
        Box::pin(async {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            if self.is_held {
                self.hold.notified().await;
            }
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            match locked(&self.failures).pop() {
                Some(error) => Err(error),
                None => Ok(Secret::take(&mut [7; 32])),
            }
        })
    }
}

fn guarded(inner: Scripted) -> Arc<Guarded<Scripted>> {
    Arc::new(Guarded::new(Arc::new(inner), GuardSettings::default()))
}

fn unreachable() -> CustodyError {
    CustodyError::new(CustodyCause::Unreachable, "gone")
}

fn context() -> CustodyContext {
    CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]))
}

async fn unwrap(guarded: &Guarded<Scripted>) -> Result<Secret<32>, CustodyError> {
    guarded.unwrap("key", b"blob", &context()).await
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_tried_again_and_the_outage_is_known_while_it_lasts() {
    let guarded = guarded(Scripted::failing([unreachable(), unreachable()]));
    assert!(guarded.outage().is_none());
    assert_eq!(unwrap(&guarded).await.unwrap().expose(), &[7; 32]);
    assert_eq!(guarded.inner.calls(), 3);
    assert!(guarded.outage().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_final_and_no_outage() {
    let guarded = guarded(Scripted::failing([CustodyError::new(CustodyCause::Disabled, "off")]));
    assert_eq!(unwrap(&guarded).await.err().unwrap().cause, CustodyCause::Disabled);
    assert_eq!(guarded.inner.calls(), 1);
    assert!(guarded.outage().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_is_an_outage_and_not_hammered() {
    let guarded = guarded(Scripted::failing([CustodyError::new(CustodyCause::Unauthenticated, "expired")]));
    assert_eq!(unwrap(&guarded).await.err().unwrap().cause, CustodyCause::Unauthenticated);
    assert_eq!(guarded.inner.calls(), 1);
    assert_eq!(guarded.outage().unwrap().error.cause, CustodyCause::Unauthenticated);
    unwrap(&guarded).await.unwrap();
    assert!(guarded.outage().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_the_total_time_is_not_waited_for() {
    let slow = CustodyError::new(CustodyCause::Throttled, "slow").with_retry_after(Some(Duration::from_secs(60)));
    let guarded = guarded(Scripted::failing([slow]));
    let begun = Instant::now();
    assert_eq!(unwrap(&guarded).await.err().unwrap().cause, CustodyCause::Throttled);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_is_given_up_in_time() {
    let guarded = guarded(Scripted::held());
    let begun = Instant::now();
    let error = unwrap(&guarded).await.err().unwrap();
    assert_eq!(error.cause, CustodyCause::Unreachable);
    assert!(begun.elapsed() <= Duration::from_secs(21), "{:?}", begun.elapsed());
    assert!(guarded.inner.calls() >= 2, "the time allows for a second try");
}

#[tokio::test(start_paused = true)]
async fn many_who_want_the_same_wait_for_one_call() {
    let guarded = guarded(Scripted::held());
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let guarded = Arc::clone(&guarded);
            tokio::spawn(async move { unwrap(&guarded).await.unwrap() })
        })
        .collect();
    settle().await;
    assert_eq!(guarded.inner.calls(), 1);
    guarded.inner.hold.notify_one();
    for task in waiting {
        assert_eq!(task.await.unwrap().expose(), &[7; 32]);
    }
    assert_eq!(guarded.inner.calls(), 1);
    assert!(locked(&guarded.flights).is_empty(), "nothing is kept");
}

#[tokio::test(start_paused = true)]
async fn when_the_one_who_asks_goes_away_the_next_asks() {
    let guarded = guarded(Scripted::held());
    let ask = || {
        let guarded = Arc::clone(&guarded);
        tokio::spawn(async move { unwrap(&guarded).await.unwrap() })
    };
    let first = ask();
    settle().await;
    let second = ask();
    settle().await;
    first.abort();
    settle().await;
    assert_eq!(guarded.inner.calls(), 2);
    guarded.inner.hold.notify_one();
    second.await.unwrap();
    let third = ask();
    settle().await;
    third.abort();
    settle().await;
    assert!(locked(&guarded.flights).is_empty(), "nothing is kept of one that nobody waits for");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_allowed_calls_are_under_way() {
    let settings = GuardSettings { concurrency: 3, ..GuardSettings::default() };
    let guarded = Arc::new(Guarded::new(Arc::new(Scripted::held()), settings));
    let waiting: Vec<_> = (0..12u8)
        .map(|number| {
            let guarded = Arc::clone(&guarded);
            tokio::spawn(async move { guarded.unwrap("key", &[number], &context()).await.map(|_| ()) })
        })
        .collect();
    for _ in 0..12 {
        settle().await;
        guarded.inner.hold.notify_one();
    }
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    assert_eq!((guarded.inner.calls(), guarded.inner.most.load(Ordering::SeqCst)), (12, 3));
}

#[tokio::test(start_paused = true)]
async fn a_kms_that_stays_silent_is_left_alone_and_found_again() {
    let guarded = guarded(Scripted::failing((0..8).map(|_| unreachable())));
    // Four tries, then one more opens the circuit; what comes after it is not asked.
    assert!(unwrap(&guarded).await.is_err());
    assert!(unwrap(&guarded).await.is_err());
    assert_eq!(guarded.inner.calls(), 5);
    let error = unwrap(&guarded).await.err().unwrap();
    assert!(error.message.contains("left alone"), "{error}");
    assert_eq!(guarded.inner.calls(), 5);
    let Outage { since, error } = guarded.outage().unwrap();
    assert_eq!(error.message, "gone", "the outage tells what happened, not that nobody asks");
    advance(Duration::from_secs(5)).await;
    assert!(unwrap(&guarded).await.is_err());
    assert_eq!(guarded.outage().unwrap().since, since, "the outage is one");
    advance(Duration::from_secs(30)).await;
    assert!(unwrap(&guarded).await.is_err());
    advance(Duration::from_secs(30)).await;
    assert!(unwrap(&guarded).await.is_err());
    advance(Duration::from_secs(30)).await;
    unwrap(&guarded).await.unwrap();
    assert!(guarded.outage().is_none());
}
