//! What becomes of the records of one request, told to whoever waits for it.
//!
//! Arrives: outcomes, some records at a time, from the batches that carry them. Leaves: a [`Delivery`] that is whole once every record
//! has its outcome. What must never happen here: a record counted as under way for ever, or settled twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::rest::formats::Placed;

/// Why a record was not written, in Kafka's words.
pub type Refusal = RDKafkaErrorCode;

/// The room that a request has been given; nothing where none was needed.
pub type Hold = Option<OwnedSemaphorePermit>;

/// What becomes of the records of one request. Clones see the same.
#[derive(Clone)]
pub struct Delivery {
    outcomes: Arc<Outcomes>,
}

impl Delivery {
    /// Of `count` records, for which there is room in `flight`. `hold` is kept until the last outcome is there.
    pub(super) fn new(count: usize, flight: Arc<Flight>, hold: Hold) -> Self {
        let slots = (0..count).map(|_| OnceLock::new()).collect();
        let (left, whole) = (AtomicUsize::new(count), Notify::new());
        Self { outcomes: Arc::new(Outcomes { slots, left, whole, flight, _hold: hold }) }
    }

    /// One whose records have their outcomes already.
    pub fn settled(outcomes: Vec<Result<Placed, Refusal>>, hold: Hold) -> Self {
        let slots = outcomes.into_iter().map(OnceLock::from).collect();
        let (left, whole) = (AtomicUsize::new(0), Notify::new());
        Self { outcomes: Arc::new(Outcomes { slots, left, whole, flight: Arc::default(), _hold: hold }) }
    }

    /// Waits until every record has its outcome.
    pub async fn whole(&self) {
        loop {
            let told = self.outcomes.whole.notified();
            if self.is_whole() {
                return;
            }
            told.await;
        }
    }

    /// Whether every record has its outcome.
    pub fn is_whole(&self) -> bool {
        self.outcomes.left.load(Ordering::Acquire) == 0
    }

    /// Each record's outcome in the order of the request; `None` where there is none yet.
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = Option<&Result<Placed, Refusal>>> {
        self.outcomes.slots.iter().map(OnceLock::get)
    }

    /// The part that begins with one record.
    pub(super) fn part(&self, first: usize) -> Part {
        Part { outcomes: self.outcomes.clone(), first, count: 1, is_settled: false }
    }
}

struct Outcomes {
    slots: Box<[OnceLock<Result<Placed, Refusal>>]>,
    left: AtomicUsize,
    whole: Notify,
    flight: Arc<Flight>,
    _hold: Hold,
}

impl Outcomes {
    fn settle(&self, first: usize, count: usize, mut outcome: impl FnMut(usize) -> Result<Placed, Refusal>) {
        let slots = self.slots.get(first..first.saturating_add(count)).unwrap_or_default();
        let settled = slots.iter().enumerate().filter(|(nth, slot)| slot.set(outcome(*nth)).is_ok()).count();
        if settled == 0 {
            return;
        }
        self.flight.records.fetch_sub(settled, Ordering::AcqRel);
        if self.left.fetch_sub(settled, Ordering::AcqRel) == settled {
            self.whole.notify_one();
        }
    }
}

/// Consecutive records of one request that are in one batch.
pub(super) struct Part {
    outcomes: Arc<Outcomes>,
    first: usize,
    count: usize,
    is_settled: bool,
}

impl Part {
    /// Whether a record of a delivery continues this part; then it is added.
    pub(super) fn takes(&mut self, delivery: &Delivery, index: usize) -> bool {
        let continues = index == self.first + self.count && Arc::ptr_eq(&self.outcomes, &delivery.outcomes);
        self.count += usize::from(continues);
        continues
    }

    /// How many records it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Tells the outcome of each record; `outcome` is given its number within the part.
    pub(super) fn settle(mut self, outcome: impl FnMut(usize) -> Result<Placed, Refusal>) {
        self.is_settled = true;
        self.outcomes.settle(self.first, self.count, outcome);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Whatever happened to the batch: nobody waits for ever, and nothing is called written.
        if !self.is_settled {
            self.outcomes.settle(self.first, self.count, |_| Err(Refusal::PurgeQueue));
        }
    }
}

/// Records under way.
#[derive(Default)]
pub(super) struct Flight {
    records: AtomicUsize,
}

impl Flight {
    /// Takes room for `count` records where `most` may be under way.
    pub(super) fn reserve(&self, count: usize, most: usize) -> bool {
        let fits = |records: usize| records.checked_add(count).filter(|sum| *sum <= most);
        self.records.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok()
    }

    /// Whether any are under way.
    pub(super) fn is_busy(&self) -> bool {
        self.records.load(Ordering::Acquire) > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_more_is_taken_than_the_bound() {
        let flight = Flight::default();
        assert!(!flight.is_busy());
        assert!(flight.reserve(3, 5));
        assert!(!flight.reserve(3, 5));
        assert!(flight.reserve(2, 5));
        assert!(!flight.reserve(usize::MAX, 5));
        assert_eq!(flight.records.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn a_delivery_is_whole_when_every_record_has_its_outcome() {
        let flight = Arc::new(Flight::default());
        assert!(flight.reserve(3, 10));
        let delivery = Delivery::new(3, flight.clone(), None);
        let placed = |offset| Placed { partition: 1, offset, timestamp: None };
        let mut part = delivery.part(1);
        assert!(part.takes(&delivery, 2) && !part.takes(&delivery, 0));
        part.settle(|nth| Ok(placed(7 + i64::try_from(nth).unwrap())));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), delivery.whole()).await.is_err());
        assert_eq!(delivery.outcomes().map(|outcome| outcome.is_some()).collect::<Vec<_>>(), [false, true, true]);
        delivery.part(0).settle(|_| Err(Refusal::PolicyViolation));
        delivery.part(0).settle(|_| Ok(placed(0)));
        delivery.whole().await;
        assert!(!flight.is_busy());
        let outcomes: Vec<_> = delivery.outcomes().map(|outcome| *outcome.unwrap()).collect();
        assert_eq!(outcomes, [Err(Refusal::PolicyViolation), Ok(placed(7)), Ok(placed(8))]);
    }

    #[tokio::test]
    async fn what_is_lost_is_told_and_not_counted_any_more() {
        let flight = Arc::new(Flight::default());
        assert!(flight.reserve(1, 1));
        let delivery = Delivery::new(1, flight.clone(), None);
        drop(delivery.part(0));
        delivery.whole().await;
        assert!(matches!(delivery.outcomes().next(), Some(Some(Err(Refusal::PurgeQueue)))));
        assert!(!flight.is_busy());
    }
}
