//! Records as batches of a transaction: which partition, in which batch, in Kafka's format.
//!
//! Arrives: records of one request. Leaves: for each partition batches in their order, each with the numbers of its records in the
//! request. What must never happen here: records of a partition in another order than in the request.
//!
//! Source: Kafka's record batch format 2; `DefaultPartitioner` and `Utils.murmur2` for partitions by key.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};

use crate::frame::batch::{BATCH_OVERHEAD, BatchError, finish_batch, put_varint};
use crate::frame::put::put_varlong;
use crate::rest::kafka::init_producer_id::ProducerId;
use crate::rest::record::Record;

/// Who writes a batch, and where its numbers begin.
pub struct Sequence {
    /// The producer.
    pub producer: ProducerId,
    /// How many records it has written to the partition before.
    pub first: i32,
}

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
        let by_key = || record.key.as_ref().map(|key| by_key(key, count));
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
pub fn encode(records: &[&Record], sequence: &Sequence, now: i64) -> Result<Bytes, BatchError> {
    let time = |record: &Record| record.timestamp.unwrap_or(now);
    let base = records.first().map_or(now, |record| time(record));
    let count = i32::try_from(records.len()).map_err(|_| BatchError::Malformed("record count"))?;
    let size: usize = records.iter().map(|record| record.size() + BYTES_AROUND).sum();
    let mut out = Vec::with_capacity(BATCH_OVERHEAD + size);
    out.put_i64(0);
    out.put_i32(0);
    out.put_i32(-1);
    out.put_i8(MAGIC);
    out.put_i32(0);
    out.put_i16(TRANSACTIONAL);
    out.put_i32(count.saturating_sub(1));
    out.put_i64(base);
    out.put_i64(records.iter().map(|record| time(record)).max().unwrap_or(base));
    out.put_i64(sequence.producer.id);
    out.put_i16(sequence.producer.epoch);
    out.put_i32(sequence.first);
    out.put_i32(count);
    let mut one = Vec::new();
    for (delta, record) in (0..).zip(records) {
        one.clear();
        one.put_i8(0);
        put_varlong(&mut one, time(record).saturating_sub(base));
        put_varint(&mut one, delta);
        put_part(&mut one, record.key.as_deref())?;
        put_part(&mut one, record.value.as_deref())?;
        put_varint(&mut one, length(record.headers.len())?);
        for (name, value) in &record.headers {
            put_varint(&mut one, length(name.len())?);
            one.put_slice(name.as_bytes());
            put_part(&mut one, value.as_deref())?;
        }
        put_varint(&mut out, length(one.len())?);
        out.extend_from_slice(&one);
    }
    finish_batch(&mut out)?;
    Ok(out.into())
}

fn put_part(out: &mut Vec<u8>, part: Option<&[u8]>) -> Result<(), BatchError> {
    match part {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, length(bytes.len())?);
            out.put_slice(bytes);
        }
    }
    Ok(())
}

fn length(length: usize) -> Result<i32, BatchError> {
    i32::try_from(length).map_err(|_| BatchError::Malformed("record length"))
}

/// The partition of a key, as Kafka's own producers choose it.
fn by_key(key: &[u8], count: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff).checked_rem(count.cast_unsigned()).unwrap_or(0).cast_signed()
}

/// Austin Appleby's hash, as Kafka's clients have it.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Record batches of today.
const MAGIC: i8 = 2;

/// Attribute bit 4.
const TRANSACTIONAL: i16 = 0x10;

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
    use crate::rest::streams::batches::each;

    #[test]
    fn keys_go_where_kafkas_own_producers_put_them() {
        // Of Kafka's own UtilsTest.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!(by_key(b"21", 0), 0);
    }

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
        let sequence = Sequence { producer: ProducerId { id: 5, epoch: 3 }, first: 9 };
        let batch = encode(&[&first, &second], &sequence, 1000).unwrap();
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
