//! One partition of the topic: which keys it has, and where their answers are.
//!
//! Arrives: batches as brokers keep them. Leaves: the place of a key's answer. Only keys and offsets are held, no answers. What must never
//! happen here: an answer counted whose transaction was taken back; a key forgotten within its window.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use super::key::{Id, Installation};
use crate::frame::batch::header::PRODUCER_ID_AT;
use crate::frame::batch::{BatchError, BatchHeader, Entry, entries};
use crate::rest::kafka::fetch::Fetched;
use crate::rest::streams::batches::{self, Unreadable};

/// The keys of one partition.
#[derive(Default)]
pub struct Page {
    /// Up to where it was read; `None` before the first time.
    pub next: Option<i64>,
    known: HashMap<Id, Place>,
    /// As they came.
    order: VecDeque<(i64, Id)>,
}

/// How many keys there are, those of each principal too.
#[derive(Default)]
pub struct Counts {
    /// All.
    pub all: usize,
    of: HashMap<[u8; 8], usize>,
}

/// Where an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its record's offset.
    pub offset: i64,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
}

impl Counts {
    /// Those of a principal.
    pub fn of(&self, id: &Id) -> usize {
        self.of.get(&id.principal).copied().unwrap_or(0)
    }

    fn add(&mut self, id: &Id) {
        self.all += 1;
        *self.of.entry(id.principal).or_default() += 1;
    }

    fn take(&mut self, id: &Id) {
        self.all = self.all.saturating_sub(1);
        if let Some(count) = self.of.get_mut(&id.principal) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of.remove(&id.principal);
            }
        }
    }
}

impl Page {
    /// Where the answer to a key is, if it is not older than `oldest`.
    pub fn find(&self, id: &Id, oldest: i64) -> Option<Place> {
        self.known.get(id).copied().filter(|place| place.at >= oldest)
    }

    /// Takes note of an answer.
    pub fn insert(&mut self, id: Id, place: Place, counts: &mut Counts) {
        match self.known.get_mut(&id) {
            Some(known) if known.offset >= place.offset => return,
            Some(known) => *known = place,
            None => {
                self.known.insert(id, place);
                counts.add(&id);
            }
        }
        self.order.push_back((place.at, id));
    }

    /// Forgets what is older.
    pub fn forget(&mut self, oldest: i64, counts: &mut Counts) {
        while let Some((_, id)) = self.order.pop_front_if(|(at, _)| *at < oldest) {
            // A key that was used again after its time has a younger place.
            if self.known.get(&id).is_some_and(|place| place.at < oldest) {
                self.known.remove(&id);
                counts.take(&id);
            }
        }
    }

    /// Forgets all that was read: the partition is another one than before.
    pub fn reset(&mut self, counts: &mut Counts) {
        self.known.drain().for_each(|(id, _)| counts.take(&id));
        self.order.clear();
        self.next = None;
    }

    /// Takes note of what was fetched from `next` on, as far as it is this installation's. True when that led further.
    ///
    /// # Errors
    /// When the batches are none.
    pub fn apply(
        &mut self,
        (topic, own): (&str, &Installation),
        fetched: &Fetched,
        counts: &mut Counts,
    ) -> Result<bool, Unreadable> {
        let from = self.next.unwrap_or(0);
        let mut aborted = Aborted::new(&fetched.aborted);
        for entry in entries(&fetched.records) {
            let range = match entry? {
                Entry::Batch(range) => range,
                Entry::Legacy(_, magic) => return Err(Unreadable::Legacy(magic)),
                Entry::Partial(_) => break,
            };
            let batch = fetched.records.get(range).unwrap_or_default();
            let header = BatchHeader::parse(batch)?;
            let last = header.base_offset.saturating_add(header.last_offset_delta.into());
            if aborted.counts(batch, &header, last)? && last >= from {
                batches::each(batch, (topic, fetched.partition), from, |record| {
                    let place = Place { offset: record.offset, at: record.timestamp.unwrap_or(0) };
                    let id = record.key.and_then(Id::parse).filter(|id| id.installation == *own);
                    if let (Some(id), Some(_)) = (id, record.value) {
                        self.insert(id, place, counts);
                    }
                    ControlFlow::Continue(())
                })?;
            }
            self.next = Some(last.saturating_add(1).max(from));
        }
        Ok(self.next.unwrap_or(0) > from)
    }
}

/// Tells batches of transactions that were taken back, as Kafka's consumers do: from a transaction's first offset on until the marker of
/// its end, batches of its producer do not count.
struct Aborted {
    waiting: VecDeque<(i64, i64)>,
    now: HashSet<i64>,
}

impl Aborted {
    fn new(aborted: &[(i64, i64)]) -> Self {
        let mut waiting: Vec<(i64, i64)> = aborted.iter().map(|(producer, first)| (*first, *producer)).collect();
        waiting.sort_unstable();
        Self { waiting: waiting.into(), now: HashSet::new() }
    }

    /// Whether the records of a batch count.
    fn counts(&mut self, batch: &[u8], header: &BatchHeader, last: i64) -> Result<bool, BatchError> {
        let producer = batch.get(PRODUCER_ID_AT..).and_then(|rest| rest.first_chunk());
        let producer = i64::from_be_bytes(*producer.ok_or(BatchError::Truncated)?);
        while let Some((_, begun)) = self.waiting.pop_front_if(|(first, _)| *first <= last) {
            self.now.insert(begun);
        }
        if header.attributes.is_control() {
            self.now.remove(&producer);
            return Ok(false);
        }
        Ok(!self.now.contains(&producer))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;
    use crate::rest::idempotency::batch::encode;
    use crate::rest::kafka::init_producer_id::ProducerId;
    use crate::rest::record::Record;
    use crate::rest::record_batch::Place as Written;

    fn id(n: u8) -> Id {
        Id { installation: [u8::from(n > 100); 8], principal: [n % 2; 8], key: [n; 16] }
    }

    fn batch(base: i64, producer: i64, ids: &[u8]) -> Vec<u8> {
        let records: Vec<Record> = ids
            .iter()
            .map(|n| Record { key: Some(id(*n).bytes().into()), value: Some("v".into()), ..Record::default() })
            .collect();
        let refs: Vec<&Record> = records.iter().collect();
        let place = Written { producer: ProducerId { id: producer, epoch: 0 }, sequence: 0 };
        let mut bytes = encode(&refs, place, 1000).unwrap().to_vec();
        bytes.get_mut(..8).unwrap().copy_from_slice(&base.to_be_bytes());
        bytes
    }

    fn marker(base: i64, producer: i64) -> Vec<u8> {
        let mut bytes = batch(base, producer, &[0]);
        *bytes.get_mut(22).unwrap() |= 0x20;
        bytes
    }

    fn fetched(parts: &[Vec<u8>], aborted: &[(i64, i64)]) -> Fetched {
        let records = Bytes::from(parts.concat());
        Fetched { partition: 0, error_code: 0, end: 0, aborted: aborted.to_vec(), records }
    }

    #[test]
    fn what_was_taken_back_does_not_count() {
        let (mut page, mut counts) = (Page::default(), Counts::default());
        // That of another installation does not count either.
        let parts = [batch(0, 7, &[1]), batch(1, 8, &[2]), marker(2, 7), marker(3, 8), batch(4, 7, &[3, 101])];
        let place = ("t", &[0; 8]);
        assert!(page.apply(place, &fetched(&parts, &[(7, 0)]), &mut counts).unwrap());
        let found = |page: &Page, n| page.find(&id(n), 0).map(|place| place.offset);
        assert_eq!((found(&page, 1), found(&page, 2), found(&page, 3)), (None, Some(1), Some(4)));
        assert_eq!((page.next, counts.all, counts.of(&id(4)), counts.of(&id(3))), (Some(6), 2, 1, 1));
        assert!(!page.apply(place, &fetched(&parts, &[(7, 0)]), &mut counts).unwrap());
        assert_eq!(counts.all, 2);
    }

    #[test]
    fn what_is_past_its_time_is_forgotten_and_what_was_used_again_is_not() {
        let (mut page, mut counts) = (Page::default(), Counts::default());
        for (n, offset, at) in [(1, 0, 10), (2, 1, 20), (1, 2, 30)] {
            page.insert(id(n), Place { offset, at }, &mut counts);
        }
        assert_eq!(page.find(&id(2), 21), None);
        page.forget(25, &mut counts);
        assert_eq!(page.find(&id(1), 25), Some(Place { offset: 2, at: 30 }));
        assert_eq!((page.find(&id(2), 0), counts.all), (None, 1));
        page.insert(id(5), Place { offset: 3, at: 40 }, &mut counts);
        page.reset(&mut counts);
        assert_eq!((page.next, page.find(&id(5), 0)), (None, None));
        page.forget(31, &mut counts);
        assert_eq!((page.known.len(), page.order.len(), counts.all, counts.of.len()), (0, 0, 0, 0));
    }
}
