//! One partition of one producer: batches that wait, the one that is under way, and the series by which the broker knows it again.
//!
//! Arrives: records, and verdicts about what was sent. Leaves: the next batch to send, and batches with their outcome. One batch is
//! under way at a time, so order survives every retry. What must never happen here: a batch sent under two places of the log, or a
//! sequence number used again that a batch may have been written with.
//!
//! Source: KIP-98, KIP-360; `ProducerStateManager` of Kafka 4.2.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::batch::Batch;
use super::delivery::{Delivery, Refusal};
use super::verdict::{Verdict, Written};
use crate::rest::kafka::init_producer_id::ProducerId;
use crate::rest::record::Record;
use crate::rest::record_batch::{Place, replaced};

/// The numbers of a partition's records under one identity.
#[derive(Clone, Copy)]
struct Series {
    identity: ProducerId,
    next: i32,
}

/// Where a partition is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Desk {
    /// Nothing is to be sent.
    None,
    /// Whoever sends to its leader.
    Link,
    /// Whoever looks for leaders, from this moment on.
    Finder(Instant),
}

/// See the module.
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) index: i32,
    /// The leader's node id; negative while it is not known.
    pub(super) leader: i32,
    pub(super) desk: Desk,
    pub(super) is_under_way: bool,
    waiting: VecDeque<Batch>,
    again: Option<Sent>,
    series: Option<Series>,
    failures: u32,
}

/// A batch that was sent at least once.
pub(super) struct Sent {
    batch: Batch,
    pub(super) bytes: Bytes,
    identity: ProducerId,
    sequence: i32,
    /// An attempt has ended without a word.
    may_be_written: bool,
}

/// A batch with its outcome, to be told when nothing is locked.
pub(super) enum Settled {
    Written(Batch, i32, Written),
    Refused(Batch, Refusal, Vec<i32>),
}

impl Settled {
    /// Tells whoever waits.
    pub(super) fn tell(self) {
        match self {
            Self::Written(batch, partition, written) => batch.written(partition, &written),
            Self::Refused(batch, refusal, wrong) => batch.refused(refusal, &wrong),
        }
    }
}

impl Sent {
    /// When it is given up.
    pub(super) fn deadline(&self) -> Instant {
        self.batch.deadline
    }
}

impl Partition {
    pub(super) fn new(topic: Arc<str>, index: i32, leader: i32) -> Self {
        Self {
            topic,
            index,
            leader,
            desk: Desk::None,
            is_under_way: false,
            waiting: VecDeque::new(),
            again: None,
            series: None,
            failures: 0,
        }
    }

    /// Adds a record to the last batch, or to a new one. About `expected` bytes of the same request are still to come.
    pub(super) fn push(
        &mut self,
        record: &Record,
        timestamp: i64,
        (delivery, index): (&Delivery, usize),
        (expected, patience): (usize, Duration),
    ) {
        let size = record.size();
        if !self.waiting.back().is_some_and(|batch| batch.has_room(size)) {
            self.waiting.push_back(Batch::new(expected.max(size), patience));
        }
        if let Some(batch) = self.waiting.back_mut() {
            batch.push(record, timestamp, delivery, index);
        }
    }

    /// Whether there is anything to send.
    pub(super) fn has_work(&self) -> bool {
        self.again.is_some() || !self.waiting.is_empty()
    }

    /// Whether its next batch gains nothing by waiting for more records.
    pub(super) fn is_full(&self) -> bool {
        self.again.is_some() || self.waiting.len() > 1 || self.waiting.front().is_some_and(|batch| !batch.has_room(0))
    }

    /// When its next batch came.
    pub(super) fn since(&self) -> Option<Instant> {
        self.again.as_ref().map(|sent| &sent.batch).or(self.waiting.front()).map(|batch| batch.since)
    }

    /// When its next batch is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.again.as_ref().map(|sent| &sent.batch).or(self.waiting.front()).map(|batch| batch.deadline)
    }

    /// Bytes of its next batch.
    pub(super) fn size(&self) -> usize {
        self.again.as_ref().map(|sent| &sent.batch).or(self.waiting.front()).map_or(0, Batch::size)
    }

    /// Whether it can only send under a new identity.
    pub(super) fn needs_identity(&self) -> bool {
        self.series.is_none()
    }

    /// Under which identity it sends.
    pub(super) fn identity(&self) -> Option<ProducerId> {
        self.series.map(|series| series.identity)
    }

    /// Whether a record that may go anywhere should come here: nothing is under way or to be repeated, and the batch is not full.
    pub(super) fn takes_more(&self, size: usize) -> bool {
        let is_blocked =
            self.is_under_way || self.again.is_some() || matches!(self.desk, Desk::Finder(_)) && self.failures > 0;
        !is_blocked && self.waiting.len() <= 1 && self.waiting.front().is_none_or(|batch| batch.has_room(size))
    }

    /// Whether it may be forgotten.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_under_way && !self.has_work()
    }

    /// The next batch, with its place; `identity` is for a partition that has none. `None` where it cannot be sent.
    pub(super) fn take(&mut self, identity: Option<ProducerId>) -> Option<Sent> {
        if self.is_under_way {
            return None;
        }
        if self.series.is_none() {
            self.series = identity.map(|identity| Series { identity, next: 0 });
        }
        let series = self.series.as_mut()?;
        let place = Place { producer: series.identity, sequence: series.next };
        let sent = match self.again.take() {
            Some(sent) if sent.identity == series.identity => Some(sent),
            Some(mut sent) => {
                sent.bytes = replaced(&sent.bytes, place).ok()?;
                (sent.identity, sent.sequence) = (series.identity, series.next);
                series.next = after(series.next, sent.batch.count());
                Some(sent)
            }
            None => {
                let mut batch = self.waiting.pop_front()?;
                let bytes = batch.finish(place).ok()?;
                series.next = after(series.next, batch.count());
                Some(Sent { batch, bytes, identity: series.identity, sequence: place.sequence, may_be_written: false })
            }
        };
        self.is_under_way = sent.is_some();
        sent
    }

    /// What became of the batch that is under way. `None`: it is sent again.
    pub(super) fn answered(&mut self, mut sent: Sent, verdict: Verdict) -> Option<Settled> {
        self.is_under_way = false;
        let refusal = match verdict {
            Verdict::Written(written) => {
                self.failures = 0;
                return Some(Settled::Written(sent.batch, self.index, written));
            }
            Verdict::Refused(refusal, wrong) => {
                self.failures = 0;
                return Some(self.give_up(sent, refusal, wrong));
            }
            Verdict::Failed(refusal) => {
                sent.may_be_written = true;
                return Some(self.give_up(sent, refusal, Vec::new()));
            }
            Verdict::LostSeries(refusal) if sent.may_be_written => {
                return Some(self.give_up(sent, refusal, Vec::new()));
            }
            Verdict::LostSeries(_) => {
                self.series = None;
                Refusal::MessageTimedOut
            }
            Verdict::Unsure => {
                sent.may_be_written = true;
                Refusal::RequestTimedOut
            }
            // Nobody who posts to it has a topic that was deleted meanwhile.
            Verdict::Again(refusal @ Refusal::UnknownTopicOrPartition) => refusal,
            Verdict::Again(_) => Refusal::MessageTimedOut,
        };
        self.failures = self.failures.saturating_add(1);
        if sent.deadline() <= Instant::now() {
            return Some(self.give_up(sent, refusal, Vec::new()));
        }
        self.again = Some(sent);
        None
    }

    /// Nobody could be asked: how long until the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff()
    }

    /// How long until the next attempt.
    pub(super) fn backoff(&self) -> Duration {
        let doubled = self.failures.saturating_sub(1).min(5);
        (LEAST_PAUSE * 2_u32.pow(doubled)).min(MOST_PAUSE)
    }

    /// Batches that nobody waits for any longer.
    pub(super) fn expire(&mut self, now: Instant, settled: &mut Vec<Settled>) {
        if let Some(sent) = self.again.take_if(|sent| sent.deadline() <= now) {
            settled.push(self.give_up(sent, Refusal::MessageTimedOut, Vec::new()));
        }
        while let Some(batch) = self.waiting.pop_front_if(|batch| batch.deadline <= now) {
            settled.push(Settled::Refused(batch, Refusal::MessageTimedOut, Vec::new()));
        }
    }

    /// Nothing that waits can be sent.
    pub(super) fn refuse(&mut self, refusal: Refusal, settled: &mut Vec<Settled>) {
        if let Some(sent) = self.again.take() {
            settled.push(self.give_up(sent, refusal, Vec::new()));
        }
        settled.extend(self.waiting.drain(..).map(|batch| Settled::Refused(batch, refusal, Vec::new())));
    }

    /// A batch has failed. Its numbers are free again only if it is certain that the broker does not have it.
    fn give_up(&mut self, sent: Sent, refusal: Refusal, wrong: Vec<i32>) -> Settled {
        match &mut self.series {
            Some(series) if !sent.may_be_written && series.identity == sent.identity => series.next = sent.sequence,
            series => *series = None,
        }
        Settled::Refused(sent.batch, refusal, wrong)
    }
}

/// The sequence number `count` records later (`DefaultRecordBatch.incrementSequence`): after 2^31-1 comes 0.
fn after(sequence: i32, count: usize) -> i32 {
    let sum = i64::from(sequence) + i64::try_from(count).unwrap_or_default();
    i32::try_from(sum & i64::from(i32::MAX)).unwrap_or_default()
}

/// Between two attempts.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::delivery::Flight;
    use super::*;

    const ONE: ProducerId = ProducerId { id: 1, epoch: 0 };
    const TWO: ProducerId = ProducerId { id: 2, epoch: 0 };
    const DONE: Verdict = Verdict::Written(Written { offset: Some(9), appended: None });

    fn with_records(counts: &[usize]) -> (Partition, Vec<Delivery>) {
        let mut partition = Partition::new("t".into(), 0, 1);
        let deliveries = counts.iter().map(|&count| post(&mut partition, count, Duration::from_secs(60))).collect();
        (partition, deliveries)
    }

    fn post(partition: &mut Partition, count: usize, patience: Duration) -> Delivery {
        let flight = Arc::new(Flight::default());
        assert!(flight.reserve(count, count));
        let delivery = Delivery::new(count, flight, None);
        for index in 0..count {
            partition.push(&Record::default(), 0, (&delivery, index), (0, patience));
        }
        delivery
    }

    fn place(sent: &Sent) -> (i64, i32) {
        let written = sent.bytes.get(53..57).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes);
        assert_eq!(written, Some(sent.sequence));
        (sent.identity.id, sent.sequence)
    }

    fn outcome(delivery: &Delivery) -> Option<Refusal> {
        delivery.outcomes().next().unwrap().and_then(|outcome| outcome.err())
    }

    #[test]
    fn one_batch_is_under_way_and_the_next_goes_on_where_it_ended() {
        let (mut partition, deliveries) = with_records(&[2, 1]);
        assert!(partition.take(None).is_none());
        let first = partition.take(Some(ONE)).unwrap();
        assert_eq!(place(&first), (1, 0));
        let later = post(&mut partition, 1, Duration::from_secs(60));
        assert!(partition.take(Some(ONE)).is_none());
        partition.answered(first, DONE).unwrap().tell();
        assert!(deliveries.iter().all(Delivery::is_whole) && !later.is_whole());
        assert_eq!(place(&partition.take(Some(TWO)).unwrap()), (1, 3));
    }

    #[test]
    fn what_may_be_written_is_sent_again_as_it_was() {
        let (mut partition, _deliveries) = with_records(&[2]);
        let sent = partition.take(Some(ONE)).unwrap();
        let bytes = sent.bytes.clone();
        assert!(partition.answered(sent, Verdict::Unsure).is_none());
        let sent = partition.take(Some(TWO)).unwrap();
        assert_eq!((place(&sent), &sent.bytes), ((1, 0), &bytes));
        assert!(partition.answered(sent, Verdict::Again(Refusal::NotLeaderForPartition)).is_none());
        let sent = partition.take(None).unwrap();
        // The broker has forgotten the series: whether the first attempt was written, nobody knows.
        partition.answered(sent, Verdict::LostSeries(Refusal::UnknownProducerId)).unwrap().tell();
        let _next = post(&mut partition, 1, Duration::from_secs(60));
        assert!(partition.take(None).is_none());
        assert_eq!(place(&partition.take(Some(TWO)).unwrap()), (2, 0));
    }

    #[test]
    fn a_series_that_is_lost_before_anything_was_written_is_begun_anew() {
        let (mut partition, deliveries) = with_records(&[2]);
        let sent = partition.take(Some(ONE)).unwrap();
        assert!(partition.answered(sent, Verdict::LostSeries(Refusal::OutOfOrderSequenceNumber)).is_none());
        let sent = partition.take(Some(TWO)).unwrap();
        assert_eq!(place(&sent), (2, 0));
        partition.answered(sent, DONE).unwrap().tell();
        assert!(deliveries.first().unwrap().is_whole());
    }

    #[test]
    fn numbers_are_used_again_only_when_nothing_was_written_with_them() {
        let (mut partition, deliveries) = with_records(&[2]);
        let sent = partition.take(Some(ONE)).unwrap();
        partition.answered(sent, Verdict::Refused(Refusal::PolicyViolation, Vec::new())).unwrap().tell();
        assert_eq!(deliveries.first().and_then(outcome), Some(Refusal::PolicyViolation));
        let _second = post(&mut partition, 1, Duration::from_secs(60));
        let sent = partition.take(None).unwrap();
        assert_eq!(place(&sent), (1, 0));
        partition.answered(sent, Verdict::Failed(Refusal::Unknown)).unwrap().tell();
        let _third = post(&mut partition, 1, Duration::from_secs(60));
        assert!(partition.needs_identity());
        assert_eq!(place(&partition.take(Some(TWO)).unwrap()), (2, 0));
    }

    #[test]
    fn what_came_too_late_is_told_and_its_numbers_stay_used() {
        let (mut partition, _) = with_records(&[]);
        let delivery = post(&mut partition, 1, Duration::ZERO);
        let sent = partition.take(Some(ONE)).unwrap();
        partition.answered(sent, Verdict::Unsure).unwrap().tell();
        assert_eq!(outcome(&delivery), Some(Refusal::RequestTimedOut));
        let waiting = post(&mut partition, 1, Duration::ZERO);
        let mut settled = Vec::new();
        partition.expire(Instant::now(), &mut settled);
        settled.into_iter().for_each(Settled::tell);
        assert_eq!(outcome(&waiting), Some(Refusal::MessageTimedOut));
        assert!(partition.needs_identity() && partition.is_idle());
    }

    #[test]
    fn numbers_begin_again_after_the_last() {
        assert_eq!(after(0, 5), 5);
        assert_eq!(after(i32::MAX, 1), 0);
        assert_eq!(after(i32::MAX - 1, 5), 3);
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let (mut partition, _) = with_records(&[]);
        let pauses: Vec<_> = (0..8).map(|_| partition.pause().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
    }
}
