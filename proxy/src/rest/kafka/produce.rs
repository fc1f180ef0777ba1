//! Produce: one batch for each of some partitions, within a transaction, acknowledged by all replicas that are in sync.
//!
//! Source: message schemas of Kafka 4.2, Produce version 3 to 9.

use bytes::{BufMut, Bytes, BytesMut};

use super::Question;
use crate::frame::{ApiKey, Cursor, Encoding, WireError, api};

/// Writes batches. Asked of the leader of all of the partitions.
pub struct Produce<'a> {
    /// The transactional id.
    pub transactional_id: &'a str,
    /// How long the broker may wait for its replicas, in milliseconds.
    pub timeout_ms: i32,
    /// The topic.
    pub topic: &'a str,
    /// A batch for each partition.
    pub batches: &'a [(i32, Bytes)],
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The partition.
    pub partition: i32,
    /// Kafka's error code; 0 for none.
    pub error_code: i16,
    /// The offset of the batch's first record.
    pub base_offset: i64,
    /// Milliseconds since 1970, where the broker gives records their time.
    pub append_time: Option<i64>,
}

impl Question for Produce<'_> {
    type Answer = Vec<Produced>;
    const API: ApiKey = api::PRODUCE;
    const VERSIONS: std::ops::RangeInclusive<i16> = 3..=9;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_nullable_string(out, Some(self.transactional_id))?;
        out.put_i16(ALL_IN_SYNC);
        out.put_i32(self.timeout_ms);
        encoding.put_length(out, 1)?;
        encoding.put_string(out, self.topic)?;
        encoding.put_length(out, self.batches.len())?;
        for (partition, batch) in self.batches {
            out.put_i32(*partition);
            // Bytes have the same length before them as arrays.
            encoding.put_length(out, batch.len())?;
            out.put_slice(batch);
            encoding.put_no_tags(out);
        }
        encoding.put_no_tags(out);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Vec<Produced>, WireError> {
        let mut all = Vec::new();
        read_each(cursor, version, |_, produced, _| all.push(produced))?;
        Ok(all)
    }
}

/// Shows `told` each partition of an answer, versions 3 to 12: its topic, and the numbers of the records to blame, where the broker names
/// them. Reads as far as the last one.
///
/// # Errors
/// When the bytes are no answer.
pub fn read_each(
    cursor: &mut Cursor<'_>,
    version: i16,
    mut told: impl FnMut(&str, Produced, Vec<i32>),
) -> Result<(), WireError> {
    for _ in 0..cursor.count("responses", SMALLEST_TOPIC)? {
        let topic = cursor.string("topic")?;
        for _ in 0..cursor.count("partition responses", SMALLEST_PARTITION)? {
            let partition = cursor.i32("partition")?;
            let error_code = cursor.i16("error code")?;
            let base_offset = cursor.i64("base offset")?;
            let append_time = Some(cursor.i64("log append time")?).filter(|time| *time >= 0);
            let mut wrong = Vec::new();
            if version >= 5 {
                cursor.i64("log start offset")?;
            }
            if version >= 8 {
                for _ in 0..cursor.nullable_count("record errors", SMALLEST_RECORD_ERROR)?.unwrap_or(0) {
                    wrong.push(cursor.i32("batch index")?);
                    cursor.skip_string("record error message")?;
                    cursor.skip_tags()?;
                }
                cursor.skip_string("error message")?;
            }
            cursor.skip_tags()?;
            told(topic, Produced { partition, error_code, base_offset, append_time }, wrong);
        }
        cursor.skip_tags()?;
    }
    Ok(())
}

/// A name and a count.
const SMALLEST_TOPIC: usize = 5;
/// Index, error, offset, time.
const SMALLEST_PARTITION: usize = 22;
/// Index and message.
const SMALLEST_RECORD_ERROR: usize = 5;

/// `acks=all`.
const ALL_IN_SYNC: i16 = -1;
