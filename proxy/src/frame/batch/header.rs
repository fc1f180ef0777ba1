//! The 61 bytes before the records of a batch, and the walk from batch to batch.
//!
//! Arrives: a records field. Leaves: one [`Entry`] per log entry; a truncated last entry is reported as
//! such, since a broker may cut a Fetch response anywhere. Older message sets (magic 0 and 1) are named,
//! never parsed. What must never happen: a batch whose CRC was not checked reaches the sealing code.

use std::ops::Range;

use crc_fast::CrcAlgorithm;

use super::codec::Codec;

/// Bytes of a batch before its first record.
pub const BATCH_OVERHEAD: usize = 61;

/// Where the parts of a batch header lie (KIP-98).
const LENGTH_AT: usize = 8;
pub(crate) const LEADER_EPOCH_AT: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;
pub(crate) const LAST_OFFSET_DELTA_AT: usize = 23;
pub(crate) const BASE_TIMESTAMP_AT: usize = 27;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
pub(crate) const PRODUCER_ID_AT: usize = 43;
pub(crate) const PRODUCER_EPOCH_AT: usize = 51;
pub(crate) const SEQUENCE_AT: usize = 53;
pub(crate) const RECORD_COUNT_AT: usize = 57;
/// The length field counts from after itself.
const LENGTH_FROM: usize = 12;
/// No entry of any magic is shorter: offset, length, epoch or CRC, magic.
const SHORTEST_ENTRY: usize = 17;

/// Why a batch was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end inside the batch.
    #[error("record batch is cut off")]
    Truncated,
    /// A length or count that the bytes at hand cannot hold.
    #[error("record batch has an impossible {0}")]
    Malformed(&'static str),
    /// The CRC-32C over the batch does not match.
    #[error("record batch fails its checksum")]
    Checksum,
    /// A message set of format 0 or 1, which cannot hold sealed records.
    #[error("message format {0} cannot be sealed; record batches of format 2 are needed")]
    Magic(i8),
    /// The batch inflates to more than the configured limit, or is not valid for its codec.
    #[error("record batch cannot be inflated: {0}")]
    Inflate(#[from] super::codec::InflateError),
}

/// The attribute bits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    /// Bits 0-2: the codec.
    pub fn codec(self) -> Result<Codec, BatchError> {
        Codec::from_bits(self.0 & 0x07).ok_or(BatchError::Malformed("compression codec"))
    }

    /// Bit 3: all records have the batch's largest timestamp, set by the broker.
    pub fn is_log_append_time(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// Bit 5: a control batch (transaction markers); never touched.
    pub fn is_control(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// The same attributes with the codec set to none.
    #[must_use]
    pub fn uncompressed(self) -> Self {
        Self(self.0 & !0x07)
    }
}

/// The header fields that the gateway looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// The attribute bits.
    pub attributes: Attributes,
    /// Offset of the last record minus the base offset.
    pub last_offset_delta: i32,
    /// Milliseconds; the records hold deltas to it.
    pub base_timestamp: i64,
    /// Milliseconds, the largest of the batch.
    pub max_timestamp: i64,
    /// How many records follow; bounded by the bytes only once they are walked.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header of one whole batch (`batch` ends where the batch ends).
    pub fn parse(batch: &[u8]) -> Result<Self, BatchError> {
        if batch.len() < BATCH_OVERHEAD {
            return Err(BatchError::Truncated);
        }
        let record_count = be_i32(batch, RECORD_COUNT_AT)?;
        if record_count < 0 {
            return Err(BatchError::Malformed("record count"));
        }
        Ok(Self {
            base_offset: be_i64(batch, 0)?,
            attributes: Attributes(be_i16(batch, ATTRIBUTES_AT)?),
            last_offset_delta: be_i32(batch, LAST_OFFSET_DELTA_AT)?,
            base_timestamp: be_i64(batch, BASE_TIMESTAMP_AT)?,
            max_timestamp: be_i64(batch, MAX_TIMESTAMP_AT)?,
            record_count,
        })
    }

    /// Checks the CRC-32C, which covers everything from the attributes on.
    pub fn check_crc(batch: &[u8]) -> Result<(), BatchError> {
        let covered = batch.get(ATTRIBUTES_AT..).ok_or(BatchError::Truncated)?;
        if be_i32(batch, CRC_AT)? as u32 == crc32c(covered) { Ok(()) } else { Err(BatchError::Checksum) }
    }
}

/// One entry of a records field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A whole batch of format 2.
    Batch(Range<usize>),
    /// A whole entry of format 0 or 1.
    Legacy(Range<usize>, i8),
    /// The rest of the field, which ends inside an entry. Only a Fetch response may have it.
    Partial(Range<usize>),
}

/// Walks a records field entry by entry. Ends after the first error.
pub fn entries(records: &[u8]) -> impl Iterator<Item = Result<Entry, BatchError>> + '_ {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        let rest = records.get(at..)?;
        if rest.is_empty() {
            return None;
        }
        let entry = next_entry(rest, at);
        at = match &entry {
            Ok(Entry::Batch(range) | Entry::Legacy(range, _) | Entry::Partial(range)) => range.end,
            Err(_) => records.len(),
        };
        Some(entry)
    })
}

fn next_entry(rest: &[u8], at: usize) -> Result<Entry, BatchError> {
    let whole = at..at + rest.len();
    if rest.len() < SHORTEST_ENTRY {
        return Ok(Entry::Partial(whole));
    }
    let length = usize::try_from(be_i32(rest, LENGTH_AT)?).map_err(|_| BatchError::Malformed("batch length"))?;
    if length < SHORTEST_ENTRY - LENGTH_FROM {
        return Err(BatchError::Malformed("batch length"));
    }
    let end = LENGTH_FROM + length;
    if end > rest.len() {
        return Ok(Entry::Partial(whole));
    }
    let magic = rest.get(MAGIC_AT).copied().unwrap_or(0) as i8;
    match magic {
        2 if end < BATCH_OVERHEAD => Err(BatchError::Malformed("batch length")),
        2 => Ok(Entry::Batch(at..at + end)),
        0 | 1 => Ok(Entry::Legacy(at..at + end, magic)),
        _ => Err(BatchError::Malformed("magic")),
    }
}

/// Begins a rewritten batch in `out`: the source's header, to be completed by [`finish_batch`].
/// Returns where in `out` the batch starts.
pub fn start_batch(source: &[u8], out: &mut Vec<u8>) -> Result<usize, BatchError> {
    let start = out.len();
    out.extend_from_slice(source.get(..BATCH_OVERHEAD).ok_or(BatchError::Truncated)?);
    Ok(start)
}

/// Completes a batch whose records have been written behind its header: sets length and CRC,
/// clears the codec bits, since what is written here is never compressed.
pub fn finish_batch(batch: &mut [u8]) -> Result<(), BatchError> {
    let length = batch
        .len()
        .checked_sub(LENGTH_FROM)
        .and_then(|length| i32::try_from(length).ok())
        .ok_or(BatchError::Malformed("batch length"))?;
    let attributes = Attributes(be_i16(batch, ATTRIBUTES_AT)?).uncompressed();
    put(batch, ATTRIBUTES_AT, &attributes.0.to_be_bytes())?;
    put(batch, LENGTH_AT, &length.to_be_bytes())?;
    let covered = batch.get(ATTRIBUTES_AT..).ok_or(BatchError::Truncated)?;
    let crc = crc32c(covered);
    put(batch, CRC_AT, &crc.to_be_bytes())
}

/// Shortens a batch that is being rewritten to its first `count` records, the last of them at
/// `last_offset_delta`. Consumers resume behind the last offset of a batch, so it must move too.
pub fn cut_batch(batch: &mut [u8], count: i32, last_offset_delta: i32) -> Result<(), BatchError> {
    put(batch, RECORD_COUNT_AT, &count.to_be_bytes())?;
    put(batch, LAST_OFFSET_DELTA_AT, &last_offset_delta.to_be_bytes())
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) -> Result<(), BatchError> {
    bytes.get_mut(at..at + new.len()).ok_or(BatchError::Truncated)?.copy_from_slice(new);
    Ok(())
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], BatchError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(BatchError::Truncated)
}

fn be_i16(bytes: &[u8], at: usize) -> Result<i16, BatchError> {
    be(bytes, at).map(i16::from_be_bytes)
}

fn be_i32(bytes: &[u8], at: usize) -> Result<i32, BatchError> {
    be(bytes, at).map(i32::from_be_bytes)
}

fn be_i64(bytes: &[u8], at: usize) -> Result<i64, BatchError> {
    be(bytes, at).map(i64::from_be_bytes)
}
