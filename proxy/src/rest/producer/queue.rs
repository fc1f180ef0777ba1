//! Everything that one producer has to send: by topic, by partition, by the broker that leads it.
//!
//! Arrives: the records of requests; who leads a partition; verdicts. Leaves: batches for one broker, as soon as that makes sense: at
//! once while nothing is under way to it, otherwise when a batch is full or has waited long enough for company. What must never happen
//! here: a partition with work that nobody looks after.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::delivery::{Delivery, Refusal};
use super::partition::{Desk, Partition, Sent, Settled};
use super::partitioner;
use super::verdict::Verdict;
use crate::rest::kafka::init_producer_id::ProducerId;
use crate::rest::record::Record;

/// What waits and what is known.
#[derive(Default)]
pub(super) struct Queue {
    topics: HashMap<Arc<str>, Topic>,
    partitions: Vec<Partition>,
    links: HashMap<i32, Link>,
    /// Partitions whose leader is to be found.
    searched: Vec<usize>,
    is_searching: bool,
    /// For partitions that have no series yet.
    pub(super) identity: Option<ProducerId>,
}

#[derive(Default)]
struct Topic {
    /// Numbers in [`Queue::partitions`], by index.
    numbers: Vec<Option<usize>>,
    /// Where records without a key go now.
    current: i32,
}

/// What is known of the way to a broker.
#[derive(Default)]
struct Link {
    wake: Arc<Notify>,
    /// Partitions with work.
    waiting: VecDeque<usize>,
    /// Requests that are not answered.
    under_way: usize,
}

/// How records are gathered and how long they are kept.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// How long a batch waits for company while another is under way.
    pub(super) linger: Duration,
    /// How long until a batch is given up.
    pub(super) delivery: Duration,
}

/// Who has something to do now.
#[derive(Default)]
pub(super) struct Calls {
    /// Ways to brokers that are to be opened.
    pub(super) open: Vec<(i32, Arc<Notify>)>,
    /// Those that are open.
    pub(super) wake: Vec<Arc<Notify>>,
    /// Leaders are to be found, and nobody looks.
    pub(super) search: bool,
    /// The same, and somebody looks.
    pub(super) find_more: bool,
}

/// What a way to a broker is to do.
pub(super) enum Work {
    /// To send these, by their partitions' numbers.
    Send(Vec<(usize, Sent)>),
    /// To ask for an identity first.
    Identify,
    /// To sleep until then at the longest.
    Sleep(Option<Instant>),
}

impl Queue {
    /// Takes the records of a request for a topic of `count` partitions. `partition` counts for all of them.
    pub(super) fn add(
        &mut self,
        (topic, count): (&str, i32),
        partition: Option<i32>,
        (records, delivery): (&[Record], &Delivery),
        patience: &Patience,
    ) -> Calls {
        let mut calls = Calls::default();
        let name = match self.topics.get_key_value(topic) {
            Some((name, _)) => name.clone(),
            None => self.know(topic),
        };
        let now = milliseconds();
        let mut expected: usize = records.iter().map(|record| record.size() + BYTES_OF_FRAMING).sum();
        // Where the record before went, and the one before without a key.
        let mut last: Option<(i32, usize)> = None;
        let mut loose = None;
        for (at, record) in records.iter().enumerate() {
            let index = match (partition.or(record.partition), &record.key) {
                (Some(index), _) => index,
                (None, Some(key)) => partitioner::of_key(key, count),
                (None, None) => match loose.filter(|(_, number)| self.takes_more(*number, record)) {
                    Some((index, _)) => index,
                    None => self.current(&name, count, record),
                },
            };
            let number = match last {
                Some((same, number)) if same == index => number,
                _ => {
                    if let Some((_, number)) = last {
                        self.offer(number, &mut calls);
                    }
                    self.number(&name, index)
                }
            };
            last = Some((index, number));
            if record.key.is_none() {
                loose = last;
            }
            if let Some(found) = self.partitions.get_mut(number) {
                let timestamp = record.timestamp.unwrap_or(now);
                found.push(record, timestamp, (delivery, at), (expected, patience.delivery));
            }
            expected = expected.saturating_sub(record.size() + BYTES_OF_FRAMING);
        }
        if let Some((_, number)) = last {
            self.offer(number, &mut calls);
        }
        calls
    }

    /// What the way to a broker does next.
    pub(super) fn work(&mut self, node_id: i32, linger: Duration, settled: &mut Vec<Settled>) -> Work {
        let now = Instant::now();
        let Some(link) = self.links.get_mut(&node_id) else { return Work::Sleep(None) };
        let waiting: Vec<usize> = std::mem::take(&mut link.waiting).into();
        let is_free = link.under_way == 0;
        let has_room = link.under_way < MOST_UNDER_WAY;
        let (mut is_due, mut is_unknown, mut earliest) = (is_free, false, None);
        let mut ready: Vec<usize> = Vec::new();
        let mut kept = VecDeque::new();
        for number in waiting {
            self.expire(number, now, settled);
            let Some(partition) = self.partitions.get_mut(number) else { continue };
            if !partition.has_work() {
                partition.desk = Desk::None;
                continue;
            }
            if partition.is_under_way {
                kept.push_back(number);
                continue;
            }
            is_unknown |= partition.needs_identity() && self.identity.is_none();
            let due = partition.since().unwrap_or(now) + linger;
            is_due |= partition.is_full() || due <= now;
            let wake = partition.deadline().unwrap_or(due).min(due);
            earliest = Some(earliest.map_or(wake, |other: Instant| other.min(wake)));
            ready.push(number);
        }
        let goes = has_room && is_due && !is_unknown && !ready.is_empty();
        let work = if goes {
            Work::Send(self.take(ready, &mut kept))
        } else {
            let identify = has_room && is_due && is_unknown && !ready.is_empty();
            kept.extend(ready);
            // Without room the next answer wakes.
            if identify { Work::Identify } else { Work::Sleep(earliest.filter(|_| has_room)) }
        };
        if let Some(link) = self.links.get_mut(&node_id) {
            link.under_way += usize::from(goes);
            link.waiting = kept;
        }
        work
    }

    /// A batch of each partition, as many as one request takes; the others are kept.
    fn take(&mut self, ready: Vec<usize>, kept: &mut VecDeque<usize>) -> Vec<(usize, Sent)> {
        let (mut taken, mut size) = (Vec::with_capacity(ready.len()), 0_usize);
        for number in ready {
            let Some(partition) = self.partitions.get_mut(number) else { continue };
            if size > 0 && size + partition.size() > MOST_REQUEST_BYTES {
                kept.push_back(number);
                continue;
            }
            size += partition.size();
            if let Some(sent) = partition.take(self.identity) {
                taken.push((number, sent));
            }
            if partition.has_work() {
                kept.push_back(number);
            } else {
                partition.desk = Desk::None;
            }
            // What comes next goes elsewhere, instead of waiting for this one.
            if let Some(topic) = self.topics.get_mut(&partition.topic)
                && topic.current == partition.index
            {
                topic.current = partition.index.saturating_add(1);
            }
        }
        taken
    }

    /// A request of this broker was answered.
    pub(super) fn answered(&mut self, node_id: i32) {
        if let Some(link) = self.links.get_mut(&node_id) {
            link.under_way = link.under_way.saturating_sub(1);
        }
    }

    /// What became of a batch.
    pub(super) fn judge(&mut self, number: usize, sent: Sent, verdict: Verdict, calls: &mut Calls) -> Option<Settled> {
        let moves = matches!(verdict, Verdict::Again(_) | Verdict::Unsure | Verdict::LostSeries(_));
        let settled = self.watched(number, |partition| partition.answered(sent, verdict))?;
        let Some(partition) = self.partitions.get_mut(number) else { return settled };
        if settled.is_none() && moves {
            let from = Instant::now() + partition.backoff();
            self.search(number, from, calls);
        } else if partition.has_work() {
            self.offer(number, calls);
        }
        settled
    }

    /// The way to a broker has ended. All that waits for it looks for its leader anew, after a pause unless it ended in peace.
    pub(super) fn close(&mut self, node_id: i32, in_peace: bool, calls: &mut Calls) {
        let Some(link) = self.links.remove(&node_id) else { return };
        for number in link.waiting {
            let Some(partition) = self.partitions.get_mut(number) else { continue };
            let from = Instant::now() + if in_peace { Duration::ZERO } else { partition.pause() };
            partition.desk = Desk::None;
            self.search(number, from, calls);
        }
    }

    /// Topics whose leaders are to be asked for now; when there are none, until when to sleep; `None` when nothing is searched.
    pub(super) fn searched(&mut self, settled: &mut Vec<Settled>) -> Option<Result<Vec<Arc<str>>, Instant>> {
        let now = Instant::now();
        let (mut topics, mut earliest, mut kept) = (Vec::new(), None, Vec::new());
        for number in std::mem::take(&mut self.searched) {
            self.expire(number, now, settled);
            let Some(partition) = self.partitions.get_mut(number) else { continue };
            let Desk::Finder(from) = partition.desk else { continue };
            if !partition.has_work() {
                partition.desk = Desk::None;
                continue;
            }
            kept.push(number);
            if from <= now {
                if topics.last() != Some(&partition.topic) && topics.len() < MOST_ASKED {
                    topics.push(partition.topic.clone());
                }
            } else {
                let wake = partition.deadline().unwrap_or(from).min(from);
                earliest = Some(earliest.map_or(wake, |other: Instant| other.min(wake)));
            }
        }
        self.searched = kept;
        if !topics.is_empty() {
            topics.sort();
            topics.dedup();
            return Some(Ok(topics));
        }
        self.is_searching = earliest.is_some();
        earliest.map(Err)
    }

    /// The earliest moment at which something that is searched is given up.
    pub(super) fn earliest_deadline(&self) -> Option<Instant> {
        self.searched.iter().filter_map(|number| self.partitions.get(*number)?.deadline()).min()
    }

    /// Leaders of topics that were asked for, as far as there are any.
    pub(super) fn found(
        &mut self,
        leader: impl Fn(&str, i32) -> Result<i32, Refusal>,
        settled: &mut Vec<Settled>,
    ) -> Calls {
        let (now, mut calls, mut kept) = (Instant::now(), Calls::default(), Vec::new());
        for number in std::mem::take(&mut self.searched) {
            let Some(partition) = self.partitions.get_mut(number) else { continue };
            if !matches!(partition.desk, Desk::Finder(from) if from <= now) {
                kept.push(number);
                continue;
            }
            match leader(&partition.topic, partition.index) {
                Ok(leader) if leader >= 0 => {
                    partition.leader = leader;
                    partition.desk = Desk::None;
                    self.offer(number, &mut calls);
                }
                Ok(_) => {
                    partition.desk = Desk::Finder(now + partition.pause());
                    kept.push(number);
                }
                Err(refusal) => {
                    partition.desk = Desk::None;
                    self.watched(number, |partition| partition.refuse(refusal, settled));
                }
            }
        }
        self.searched.extend(kept);
        calls
    }

    /// Nothing that waits for this broker can be sent.
    pub(super) fn refuse(&mut self, node_id: i32, refusal: Refusal, settled: &mut Vec<Settled>) {
        let Some(link) = self.links.get_mut(&node_id) else { return };
        for number in std::mem::take(&mut link.waiting) {
            self.watched(number, |partition| {
                partition.desk = Desk::None;
                partition.refuse(refusal, settled);
            });
        }
    }

    /// Wakes every way to a broker.
    pub(super) fn wake_all(&self) {
        self.links.values().for_each(|link| link.wake.notify_one());
    }

    /// The topic and index of a partition.
    pub(super) fn name(&self, number: usize) -> Option<(Arc<str>, i32)> {
        self.partitions.get(number).map(|partition| (partition.topic.clone(), partition.index))
    }

    fn expire(&mut self, number: usize, now: Instant, settled: &mut Vec<Settled>) {
        self.watched(number, |partition| partition.expire(now, settled));
    }

    /// Whoever loses a series needs an identity with which nothing was written: the one that it had is given up.
    fn watched<T>(&mut self, number: usize, change: impl FnOnce(&mut Partition) -> T) -> Option<T> {
        let partition = self.partitions.get_mut(number)?;
        let before = partition.identity();
        let outcome = change(partition);
        if before.is_some() && partition.identity().is_none() && self.identity == before {
            self.identity = None;
        }
        Some(outcome)
    }

    /// Sees to it that somebody sends what a partition has.
    fn offer(&mut self, number: usize, calls: &mut Calls) {
        let Some(partition) = self.partitions.get_mut(number) else { return };
        let is_full = partition.is_full();
        match partition.desk {
            Desk::Finder(_) => {}
            Desk::None if partition.leader < 0 => self.search(number, Instant::now(), calls),
            Desk::None => {
                partition.desk = Desk::Link;
                let leader = partition.leader;
                let link = match self.links.entry(leader) {
                    std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
                    std::collections::hash_map::Entry::Vacant(none) => {
                        let link = none.insert(Link::default());
                        calls.open.push((leader, link.wake.clone()));
                        link
                    }
                };
                // Whoever sleeps does not know of this batch's time yet.
                if link.under_way == 0 || is_full || link.waiting.is_empty() {
                    calls.wake.push(link.wake.clone());
                }
                link.waiting.push_back(number);
            }
            Desk::Link => {
                if is_full && let Some(link) = self.links.get(&partition.leader) {
                    calls.wake.push(link.wake.clone());
                }
            }
        }
    }

    fn search(&mut self, number: usize, from: Instant, calls: &mut Calls) {
        let Some(partition) = self.partitions.get_mut(number) else { return };
        if partition.desk == Desk::Link
            && let Some(link) = self.links.get_mut(&partition.leader)
        {
            link.waiting.retain(|waiting| *waiting != number);
        }
        if !matches!(partition.desk, Desk::Finder(_)) {
            self.searched.push(number);
        }
        partition.desk = Desk::Finder(from);
        calls.find_more |= self.is_searching;
        calls.search |= !self.is_searching;
        self.is_searching = true;
    }

    /// The partition for records without a key: one until its batch goes, or is full, then another.
    fn current(&mut self, name: &Arc<str>, count: i32, record: &Record) -> i32 {
        let current = self.topics.get(name).map_or(0, |topic| topic.current).checked_rem(count).unwrap_or_default();
        let chosen = (0..count.min(MOST_TRIED)).map(|step| (current + step) % count).find(|index| {
            let known = self.topics.get(name).and_then(|topic| *topic.numbers.get(usize::try_from(*index).ok()?)?);
            let partition = known.and_then(|number| self.partitions.get(number));
            partition.is_none_or(|partition| partition.takes_more(record.size()))
        });
        let chosen = chosen.unwrap_or(current);
        if let Some(topic) = self.topics.get_mut(name) {
            topic.current = chosen;
        }
        chosen
    }

    fn takes_more(&self, number: usize, record: &Record) -> bool {
        self.partitions.get(number).is_some_and(|partition| partition.takes_more(record.size()))
    }

    fn number(&mut self, name: &Arc<str>, index: i32) -> usize {
        let Queue { topics, partitions, .. } = self;
        let topic = topics.entry(name.clone()).or_default();
        let at = usize::try_from(index).unwrap_or_default();
        if topic.numbers.len() <= at {
            topic.numbers.resize(at + 1, None);
        }
        if let Some(known) = topic.numbers.get(at).copied().flatten() {
            return known;
        }
        // Another partition of the topic does not tell who leads this one.
        partitions.push(Partition::new(name.clone(), index, UNKNOWN_LEADER));
        let number = partitions.len() - 1;
        if let Some(slot) = topic.numbers.get_mut(at) {
            *slot = Some(number);
        }
        number
    }

    /// A topic that is new here. Where there are too many, those without work are forgotten, and with them the identity
    /// under which they were written.
    fn know(&mut self, topic: &str) -> Arc<str> {
        if self.topics.len() >= MOST_TOPICS && self.partitions.iter().all(Partition::is_idle) {
            self.topics.clear();
            self.partitions.clear();
            self.searched.clear();
            self.links.values_mut().for_each(|link| link.waiting.clear());
            self.identity = None;
        }
        let name: Arc<str> = topic.into();
        // Not all producers begin with the same partition.
        let current = i32::try_from(milliseconds() & 0xffff).unwrap_or_default();
        self.topics.insert(name.clone(), Topic { numbers: Vec::new(), current });
        name
    }
}

fn milliseconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Nobody has said yet who leads a partition.
const UNKNOWN_LEADER: i32 = -1;

/// Requests to one broker that are not answered. It works on one of them at a time.
const MOST_UNDER_WAY: usize = 5;

/// What one request takes, unless a single batch is larger.
const MOST_REQUEST_BYTES: usize = 2 * super::batch::FULL_BYTES;

/// Topics in one question for leaders.
const MOST_ASKED: usize = 500;

/// Topics that are remembered.
const MOST_TOPICS: usize = 10_000;

/// Partitions that are looked at for one that is free.
const MOST_TRIED: i32 = 16;

/// Around a record of a batch.
const BYTES_OF_FRAMING: usize = 20;
