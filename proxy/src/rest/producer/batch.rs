//! Records of one partition, written straight into the batch that goes to the broker (message format 2, KIP-98).
//!
//! Arrives: records as the requests have them. Leaves: the batch's bytes, and later the outcome of every record in it. A record is
//! copied once, from the request's body into the batch. What must never happen here: a batch whose count, sequence or checksum is not
//! that of its records.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::delivery::{Delivery, Part, Refusal};
use super::verdict::Written;
use crate::frame::batch::{BATCH_OVERHEAD, BatchError};
use crate::rest::formats::Placed;
use crate::rest::record::Record;
use crate::rest::record_batch::{PLAIN, Place, finish, length, put_record};

/// Records that go to the broker together.
pub(super) struct Batch {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    /// Milliseconds since 1970, for each record.
    timestamps: Vec<i64>,
    /// What sealing will add.
    growth: usize,
    /// When its first record came.
    pub(super) since: Instant,
    /// When it is given up.
    pub(super) deadline: Instant,
}

impl Batch {
    /// An empty one that is given up after `patience`; about `expected` bytes will come.
    pub(super) fn new(expected: usize, patience: Duration) -> Self {
        let since = Instant::now();
        // Who posts many records is soon followed by others who do.
        let room = if expected >= MANY_BYTES { FULL_BYTES } else { (expected * 2).max(LEAST_ROOM_BYTES) };
        let mut bytes = Vec::with_capacity(room.max(expected) + BATCH_OVERHEAD);
        bytes.resize(BATCH_OVERHEAD, 0);
        let (parts, timestamps) = (Vec::new(), Vec::new());
        Self { bytes, parts, timestamps, growth: 0, since, deadline: since + patience }
    }

    /// How many records it has.
    pub(super) fn count(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether a record of about `size` bytes may still come in. The first always may.
    pub(super) fn has_room(&self, size: usize) -> bool {
        let after = self.bytes.len() + self.growth + size + GROWTH_PER_RECORD;
        self.count() == 0 || (after <= FULL_BYTES && self.count() < MOST_RECORDS)
    }

    /// Bytes, with what sealing adds.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.growth
    }

    /// Appends the record that stands at `index` in its request.
    pub(super) fn push(&mut self, record: &Record, timestamp: i64, delivery: &Delivery, index: usize) {
        let delta = timestamp - self.timestamps.first().copied().unwrap_or(timestamp);
        let offset_delta = length(self.count());
        put_record(&mut self.bytes, record, delta, offset_delta);
        self.timestamps.push(timestamp);
        self.growth += GROWTH_PER_RECORD;
        if !self.parts.last_mut().is_some_and(|part| part.takes(delivery, index)) {
            self.parts.push(delivery.part(index));
        }
    }

    /// The batch as it is sent from this place: header, count and checksum. The records are there once only, so this
    /// is done once; see [`replaced`].
    pub(super) fn finish(&mut self, place: Place) -> Result<Bytes, BatchError> {
        finish(std::mem::take(&mut self.bytes), &self.timestamps, PLAIN, place)
    }

    /// The brokers have it: tells every record its offset.
    pub(super) fn written(self, partition: i32, written: &Written) {
        let timestamps = self.timestamps;
        let mut before = 0;
        for part in self.parts {
            let (from, count) = (before, part.count());
            part.settle(|nth| {
                let at = from + nth;
                let offset = written.offset.map_or(UNKNOWN_OFFSET, |first| first + i64::from(length(at)));
                let timestamp = written.appended.or_else(|| timestamps.get(at).copied());
                Ok(Placed { partition, offset, timestamp })
            });
            before += count;
        }
    }

    /// The brokers do not have it, or it is not known. Where they have named `wrong` records, the others fail for their sake.
    pub(super) fn refused(self, refusal: Refusal, wrong: &[i32]) {
        let mut before = 0;
        for part in self.parts {
            let (from, count) = (before, part.count());
            part.settle(|nth| {
                let is_other = !wrong.is_empty() && !wrong.contains(&length(from + nth));
                Err(if is_other { Refusal::InvalidDifferentRecord } else { refusal })
            });
            before += count;
        }
    }
}

/// Half of what a topic takes as one batch by default (`max.message.bytes`): nothing is refused for the company it is in.
pub(super) const FULL_BYTES: usize = 512 * 1024;

/// More make no request cheaper.
const MOST_RECORDS: usize = 10_000;

/// The envelope of a sealed record, and the lengths around a record.
const GROWTH_PER_RECORD: usize = barnabas_crypto::RECORD_OVERHEAD + 24;

/// From here on a request's records are many.
const MANY_BYTES: usize = 16 * 1024;
const LEAST_ROOM_BYTES: usize = 2 * 1024;

/// What a broker that has a batch already may not tell any more.
const UNKNOWN_OFFSET: i64 = -1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::Arc;

    use super::super::delivery::Flight;
    use super::*;
    use crate::frame::batch::{BatchHeader, Entry, Records, entries};
    use crate::rest::kafka::init_producer_id::ProducerId;
    use crate::rest::record_batch::replaced;

    fn delivery(count: usize) -> Delivery {
        let flight = Arc::new(Flight::default());
        assert!(flight.reserve(count, count));
        Delivery::new(count, flight, None)
    }

    const PLACE: Place = Place { producer: ProducerId { id: 77, epoch: 3 }, sequence: 41 };

    #[test]
    fn a_batch_is_read_by_the_gateway_as_it_was_written() {
        let delivery = delivery(3);
        let mut batch = Batch::new(100, Duration::from_secs(1));
        let headers = vec![("a".to_owned(), Some(Bytes::from_static(b"x"))), ("a".to_owned(), None)];
        let records = [
            Record { key: Some(Bytes::from_static(b"key")), value: Some(Bytes::new()), headers, ..Record::default() },
            Record::default(),
            Record { value: Some(vec![7; 70_000].into()), ..Record::default() },
        ];
        for (index, (record, timestamp)) in records.iter().zip([1000, 400, 90_000_000_000]).enumerate() {
            batch.push(record, timestamp, &delivery, index);
        }
        assert_eq!(batch.parts.len(), 1);
        let bytes = batch.finish(PLACE).unwrap();
        assert_eq!(entries(&bytes).collect::<Vec<_>>(), [Ok(Entry::Batch(0..bytes.len()))]);
        BatchHeader::check_crc(&bytes).unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!((header.record_count, header.last_offset_delta, header.attributes.0), (3, 2, 0));
        assert_eq!((header.base_timestamp, header.max_timestamp), (1000, 90_000_000_000));
        assert_eq!(&bytes[43..57], &[0, 0, 0, 0, 0, 0, 0, 77, 0, 3, 0, 0, 0, 41]);
        let body = &bytes[BATCH_OVERHEAD..];
        let mut walk = Records::new(0, 3);
        for (index, (record, timestamp)) in records.iter().zip([1000_i64, 400, 90_000_000_000]).enumerate() {
            let view = walk.next(body).unwrap().unwrap();
            assert_eq!(view.key.map(|key| &body[key]), record.key.as_deref());
            assert_eq!(view.value.map(|value| &body[value]), record.value.as_deref());
            assert_eq!((view.offset_delta, view.timestamp_delta), (i32::try_from(index).unwrap(), timestamp - 1000));
            assert_eq!(view.header_count, i32::try_from(record.headers.len()).unwrap());
        }
        assert!(walk.next(body).unwrap().is_none());
        let moved = replaced(&bytes, Place { producer: ProducerId { id: 78, epoch: 0 }, sequence: 0 }).unwrap();
        BatchHeader::check_crc(&moved).unwrap();
        assert_eq!((moved.len(), moved[50], &moved[BATCH_OVERHEAD..]), (bytes.len(), 78, body));
    }

    #[test]
    fn each_record_hears_its_own_outcome() {
        let (one, other) = (delivery(2), delivery(1));
        let mut batch = Batch::new(0, Duration::from_secs(1));
        let record = Record::default();
        batch.push(&record, 5, &one, 0);
        batch.push(&record, 6, &other, 0);
        batch.push(&record, 7, &one, 1);
        batch.written(4, &Written { offset: Some(100), appended: None });
        let told = |delivery: &Delivery| -> Vec<_> {
            let outcomes = delivery.outcomes().map(|outcome| outcome.unwrap().unwrap());
            outcomes.map(|placed| (placed.partition, placed.offset, placed.timestamp)).collect()
        };
        assert_eq!(told(&one), [(4, 100, Some(5)), (4, 102, Some(7))]);
        assert_eq!(told(&other), [(4, 101, Some(6))]);
        let (one, other) = (delivery(1), delivery(1));
        let mut batch = Batch::new(0, Duration::from_secs(1));
        batch.push(&record, 5, &one, 0);
        batch.push(&record, 6, &other, 0);
        batch.refused(Refusal::InvalidRecord, &[1]);
        assert!(matches!(one.outcomes().next(), Some(Some(Err(Refusal::InvalidDifferentRecord)))));
        assert!(matches!(other.outcomes().next(), Some(Some(Err(Refusal::InvalidRecord)))));
    }

    #[test]
    fn a_batch_is_full_before_a_topic_refuses_it() {
        let delivery = delivery(MOST_RECORDS);
        let mut batch = Batch::new(0, Duration::from_secs(1));
        assert!(batch.has_room(10 << 20));
        for index in 0..MOST_RECORDS {
            if !batch.has_room(1) {
                break;
            }
            batch.push(&Record::default(), 0, &delivery, index);
        }
        assert!(batch.size() <= FULL_BYTES && batch.count() > 1000);
        batch.push(&Record { value: Some(vec![0; FULL_BYTES].into()), ..Record::default() }, 0, &delivery, 0);
        assert!(!batch.has_room(0));
    }
}
