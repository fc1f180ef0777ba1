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
use crate::frame::batch::{BATCH_OVERHEAD, BatchError, finish_batch, put_varint, varint_len};
use crate::frame::put::put_varlong;
use crate::rest::formats::Placed;
use crate::rest::record::Record;

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

/// Who writes, and where in its series a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) sequence: i32,
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
        let mut bytes = std::mem::take(&mut self.bytes);
        let first = self.timestamps.first().copied().unwrap_or_default();
        let latest = self.timestamps.iter().copied().max().unwrap_or_default();
        put(&mut bytes, LEADER_EPOCH_AT, &(-1_i32).to_be_bytes())?;
        put(&mut bytes, MAGIC_AT, &[2])?;
        put(&mut bytes, LAST_OFFSET_DELTA_AT, &length(self.count().saturating_sub(1)).to_be_bytes())?;
        put(&mut bytes, BASE_TIMESTAMP_AT, &first.to_be_bytes())?;
        put(&mut bytes, MAX_TIMESTAMP_AT, &latest.to_be_bytes())?;
        put(&mut bytes, COUNT_AT, &length(self.count()).to_be_bytes())?;
        set_place(&mut bytes, place)?;
        Ok(bytes.into())
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

/// The same batch from another place.
pub(super) fn replaced(bytes: &[u8], place: Place) -> Result<Bytes, BatchError> {
    let mut bytes = bytes.to_vec();
    set_place(&mut bytes, place)?;
    Ok(bytes.into())
}

fn set_place(bytes: &mut [u8], place: Place) -> Result<(), BatchError> {
    put(bytes, PRODUCER_ID_AT, &place.producer_id.to_be_bytes())?;
    put(bytes, PRODUCER_EPOCH_AT, &place.producer_epoch.to_be_bytes())?;
    put(bytes, SEQUENCE_AT, &place.sequence.to_be_bytes())?;
    finish_batch(bytes)
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) -> Result<(), BatchError> {
    bytes.get_mut(at..at + field.len()).ok_or(BatchError::Truncated)?.copy_from_slice(field);
    Ok(())
}

fn put_record(out: &mut Vec<u8>, record: &Record, timestamp_delta: i64, offset_delta: i32) {
    let nullable = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => varint_len(length(bytes.len())) + bytes.len(),
        None => 1,
    };
    let mut size = 1 + varlong_len(timestamp_delta) + varint_len(offset_delta);
    size += nullable(&record.key) + nullable(&record.value) + varint_len(length(record.headers.len()));
    for (name, value) in &record.headers {
        size += varint_len(length(name.len())) + name.len() + nullable(value);
    }
    out.reserve(size + 5);
    put_varint(out, length(size));
    out.push(0);
    put_varlong(out, timestamp_delta);
    put_varint(out, offset_delta);
    put_nullable(out, record.key.as_deref());
    put_nullable(out, record.value.as_deref());
    put_varint(out, length(record.headers.len()));
    for (name, value) in &record.headers {
        put_nullable(out, Some(name.as_bytes()));
        put_nullable(out, value.as_deref());
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn varlong_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    (64 - (zigzag | 1).leading_zeros()).div_ceil(7) as usize
}

/// Counts and lengths are bounded by the bytes of a request.
fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Where fields of a batch's header stand.
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

/// A quarter of what a topic takes as one batch by default (`max.message.bytes`): nothing is refused for the company it is in.
pub(super) const FULL_BYTES: usize = 256 * 1024;

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

    fn delivery(count: usize) -> Delivery {
        let flight = Arc::new(Flight::default());
        assert!(flight.reserve(count, count));
        Delivery::new(count, flight, None)
    }

    const PLACE: Place = Place { producer_id: 77, producer_epoch: 3, sequence: 41 };

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
        let moved = replaced(&bytes, Place { producer_id: 78, producer_epoch: 0, sequence: 0 }).unwrap();
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

    #[test]
    fn lengths_of_varlongs_are_those_that_are_written() {
        for value in [0, -1, 63, -64, 64, i64::MAX, i64::MIN, 1 << 40, -(1 << 20)] {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            assert_eq!(varlong_len(value), out.len(), "{value}");
        }
    }
}
