//! Record batches that the bridge writes itself (message format 2, KIP-98).
//!
//! Arrives: records, one after another. Leaves: a batch's bytes. A record is copied once. What must never happen here: a batch whose count,
//! sequence or checksum is not that of its records.

use bytes::Bytes;

use super::kafka::init_producer_id::ProducerId;
use super::record::Record;
use crate::frame::batch::header::{
    ATTRIBUTES_AT, BASE_TIMESTAMP_AT, LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT, MAGIC_AT, MAX_TIMESTAMP_AT,
    PRODUCER_EPOCH_AT, PRODUCER_ID_AT, RECORD_COUNT_AT, SEQUENCE_AT,
};
use crate::frame::batch::{BatchError, finish_batch, put_varint, varint_len};
use crate::frame::put::put_varlong;

/// Who writes, and where in its series a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The producer.
    pub producer: ProducerId,
    /// How many records it has written to the partition before.
    pub sequence: i32,
}

/// The batch of these bytes: room for its header, and records that were put after it. `timestamps`: of each record.
///
/// # Errors
/// When there is no room for the header.
pub fn finish(mut bytes: Vec<u8>, timestamps: &[i64], attributes: i16, place: Place) -> Result<Bytes, BatchError> {
    let first = timestamps.first().copied().unwrap_or_default();
    let latest = timestamps.iter().copied().max().unwrap_or_default();
    let count = timestamps.len();
    put(&mut bytes, LEADER_EPOCH_AT, &(-1_i32).to_be_bytes())?;
    put(&mut bytes, MAGIC_AT, &[2])?;
    put(&mut bytes, ATTRIBUTES_AT, &attributes.to_be_bytes())?;
    put(&mut bytes, LAST_OFFSET_DELTA_AT, &length(count.saturating_sub(1)).to_be_bytes())?;
    put(&mut bytes, BASE_TIMESTAMP_AT, &first.to_be_bytes())?;
    put(&mut bytes, MAX_TIMESTAMP_AT, &latest.to_be_bytes())?;
    put(&mut bytes, RECORD_COUNT_AT, &length(count).to_be_bytes())?;
    set_place(&mut bytes, place)?;
    Ok(bytes.into())
}

/// The same batch from another place.
pub fn replaced(bytes: &[u8], place: Place) -> Result<Bytes, BatchError> {
    let mut bytes = bytes.to_vec();
    set_place(&mut bytes, place)?;
    Ok(bytes.into())
}

fn set_place(bytes: &mut [u8], place: Place) -> Result<(), BatchError> {
    put(bytes, PRODUCER_ID_AT, &place.producer.id.to_be_bytes())?;
    put(bytes, PRODUCER_EPOCH_AT, &place.producer.epoch.to_be_bytes())?;
    put(bytes, SEQUENCE_AT, &place.sequence.to_be_bytes())?;
    finish_batch(bytes)
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) -> Result<(), BatchError> {
    bytes.get_mut(at..at + field.len()).ok_or(BatchError::Truncated)?.copy_from_slice(field);
    Ok(())
}

/// Appends a record.
pub fn put_record(out: &mut Vec<u8>, record: &Record, timestamp_delta: i64, offset_delta: i32) {
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
pub fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Attributes of a batch outside of transactions, and within one.
pub const PLAIN: i16 = 0;
/// See [`PLAIN`].
pub const TRANSACTIONAL: i16 = 0x10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_varlongs_are_those_that_are_written() {
        for value in [0, -1, 63, -64, 64, i64::MAX, i64::MIN, 1 << 40, -(1 << 20)] {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            assert_eq!(varlong_len(value), out.len(), "{value}");
        }
    }
}
