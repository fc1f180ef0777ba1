//! Records as batches of a transaction: which partition, in which batch, in Kafka's format.
//!
//! Arrives: records of one request. Leaves: for each partition batches in their order, each with the numbers of its records in the
//! request. What must never happen here: records of a partition in another order than in the request.
//!
//! Source: `DefaultPartitioner` for partitions by key.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::frame::batch::{BATCH_OVERHEAD, BatchError};
use crate::rest::producer::partitioner;
use crate::rest::record::Record;
use crate::rest::record_batch::{Place, TRANSACTIONAL, finish, put_record};

/// A batch of one partition.
pub struct Part {
    /// The partition.
    pub partition: i32,
    /// The numbers of its records in the request.
    pub indices: Vec<usize>,
    /// How many records of the partition stand before it.
    pub before: i32,
}

/// Divides records into rounds of batches, one batch at most for each partition in a round. `keyless` is the partition of records that
/// have neither partition nor key.
pub fn divide(records: &[Record], partition: Option<i32>, (count, keyless): (i32, i32)) -> Vec<Vec<Part>> {
    let mut by_partition: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let by_key = || record.key.as_ref().map(|key| partitioner::of_key(key, count));
        let chosen = partition.or(record.partition).or_else(by_key).unwrap_or(keyless);
        by_partition.entry(chosen).or_default().push(index);
    }
    let mut rounds: Vec<Vec<Part>> = Vec::new();
    for (partition, indices) in by_partition {
        let (mut round, mut before) = (0, 0);
        let mut rest = indices.as_slice();
        while !rest.is_empty() {
            let (mut bytes, mut length) = (0, 0);
            for index in rest {
                bytes += records.get(*index).map_or(0, Record::size);
                if length > 0 && bytes > MOST_BYTES {
                    break;
                }
                length += 1;
            }
            let (these, others) = rest.split_at(length);
            rest = others;
            if rounds.len() <= round {
                rounds.push(Vec::new());
            }
            if let Some(parts) = rounds.get_mut(round) {
                parts.push(Part { partition, indices: these.to_vec(), before });
            }
            before = before.saturating_add(i32::try_from(length).unwrap_or(i32::MAX));
            round += 1;
        }
    }
    rounds
}

/// A batch of a transaction. `now`: milliseconds since 1970, for records without a time of their own.
pub fn encode(records: &[&Record], place: Place, now: i64) -> Result<Bytes, BatchError> {
    let times: Vec<i64> = records.iter().map(|record| record.timestamp.unwrap_or(now)).collect();
    let base = times.first().copied().unwrap_or(now);
    let size: usize = records.iter().map(|record| record.size() + BYTES_AROUND).sum();
    let mut bytes = Vec::with_capacity(BATCH_OVERHEAD + size);
    bytes.resize(BATCH_OVERHEAD, 0);
    for (delta, (record, time)) in (0..).zip(records.iter().zip(&times)) {
        put_record(&mut bytes, record, time.saturating_sub(base), delta);
    }
    finish(bytes, &times, TRANSACTIONAL, place)
}

/// Half of what brokers take by default (`message.max.bytes`): sealing adds some.
const MOST_BYTES: usize = 512 << 10;

/// Lengths and deltas of a record.
const BYTES_AROUND: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::ops::ControlFlow;

    use super::*;
    use crate::frame::batch::BatchHeader;
    use crate::rest::kafka::init_producer_id::ProducerId;
    use crate::rest::streams::batches::each;

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let first = Record {
            key: Some("k".into()),
            value: None,
            timestamp: Some(2000),
            headers: vec![("h".into(), Some("v".into())), ("n".into(), None)],
            ..Record::default()
        };
        let second = Record { value: Some(vec![7; 300].into()), ..Record::default() };
        let place = Place { producer: ProducerId { id: 5, epoch: 3 }, sequence: 9 };
        let batch = encode(&[&first, &second], place, 1000).unwrap();
        BatchHeader::check_crc(&batch).unwrap();
        let mut seen = Vec::new();
        let next = each(&batch, ("t", 0), 0, |record| {
            let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec)));
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            seen.push((record.offset, record.timestamp, key, value, headers.collect::<Vec<_>>()));
            ControlFlow::Continue(())
        });
        assert_eq!(next.unwrap(), Some(2));
        let headers = vec![("h".to_owned(), Some(b"v".to_vec())), ("n".to_owned(), None)];
        assert_eq!(seen[0], (0, Some(2000), Some(b"k".to_vec()), None, headers));
        assert_eq!(seen[1], (1, Some(1000), None, Some(vec![7; 300]), vec![]));
        assert_eq!(batch[43..57], [0, 0, 0, 0, 0, 0, 0, 5, 0, 3, 0, 0, 0, 9]);
    }

    #[test]
    fn records_are_divided_by_partition_and_size_in_their_order() {
        let record = |partition: Option<i32>, size: usize| Record {
            value: Some(vec![0; size].into()),
            partition,
            ..Record::default()
        };
        let large = 300 << 10;
        let records = [record(Some(1), large), record(None, 1), record(Some(1), large), record(Some(1), 1)];
        let rounds = divide(&records, None, (4, 2));
        let of = |round: &Vec<Part>| {
            round.iter().map(|part| (part.partition, part.indices.clone(), part.before)).collect::<Vec<_>>()
        };
        assert_eq!(of(&rounds[0]), [(1, vec![0], 0), (2, vec![1], 0)]);
        assert_eq!(of(&rounds[1]), [(1, vec![2, 3], 1)]);
        assert_eq!(rounds.len(), 2);
        assert_eq!(of(&divide(&records[1..2], Some(3), (4, 2))[0]), [(3, vec![0], 0)]);
    }
}
