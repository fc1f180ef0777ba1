//! The records inside one uncompressed batch body.
//!
//! Arrives: the bytes behind a batch header (inflated if they were compressed). Leaves: one
//! [`RecordView`] per record, as ranges into those bytes, so that a rewrite copies what it does not
//! change. The walk ends with an error when the count in the header and the bytes disagree.

use std::ops::Range;

use super::header::BatchError;

/// Where the parts of one record lie in the batch body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordView {
    /// From the attributes byte to the end of the key: copied as it is by every rewrite.
    pub head: Range<usize>,
    /// The record's offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// The key's bytes; `None` is a null key.
    pub key: Option<Range<usize>>,
    /// The value's bytes; `None` is a null value (a tombstone).
    pub value: Option<Range<usize>>,
    /// How many headers follow.
    pub header_count: i32,
    /// The headers without their count, to the end of the record.
    pub headers: Range<usize>,
}

impl RecordView {
    /// The first header's key and value, and where it ends; `None` when there are no headers.
    pub fn first_header(&self, body: &[u8]) -> Result<Option<FirstHeader>, BatchError> {
        if self.header_count == 0 {
            return Ok(None);
        }
        let mut at = self.headers.start;
        let limit = self.headers.end;
        let key = nullable(body, &mut at, limit)?.ok_or(BatchError::Malformed("header key"))?;
        let value = nullable(body, &mut at, limit)?;
        Ok(Some(FirstHeader { key, value, end: at }))
    }

    /// Every header's key and value, in their order.
    pub fn each_header<'b>(&self, body: &'b [u8], mut take: impl FnMut(HeaderBytes<'b>)) -> Result<(), BatchError> {
        let mut at = self.headers.start;
        for _ in 0..self.header_count {
            let key = nullable(body, &mut at, self.headers.end)?.ok_or(BatchError::Malformed("header key"))?;
            let value = nullable(body, &mut at, self.headers.end)?;
            take((body.get(key).unwrap_or_default(), value.and_then(|value| body.get(value))));
        }
        Ok(())
    }
}

/// One header: its key, and its value if it has one.
type HeaderBytes<'b> = (&'b [u8], Option<&'b [u8]>);

/// See [`RecordView::first_header`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstHeader {
    /// The header's key.
    pub key: Range<usize>,
    /// The header's value; `None` is null.
    pub value: Option<Range<usize>>,
    /// Where the next header starts.
    pub end: usize,
}

/// A walk over the records of one batch body.
#[derive(Clone, Copy)]
pub struct Records {
    at: usize,
    left: i32,
}

impl Records {
    /// `count` is the batch header's; `from` is where the first record starts in the bytes given to `next`.
    pub fn new(from: usize, count: i32) -> Self {
        Self { at: from, left: count }
    }

    /// The next record, or `None` behind the last. The body is passed each time so that the caller may
    /// rewrite parts already walked in between.
    pub fn next(&mut self, body: &[u8]) -> Result<Option<RecordView>, BatchError> {
        if self.left == 0 {
            return if self.at == body.len() { Ok(None) } else { Err(BatchError::Malformed("record count")) };
        }
        let mut at = self.at;
        let length = varint(body, &mut at, body.len())?;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| at.checked_add(length))
            .filter(|end| *end <= body.len())
            .ok_or(BatchError::Malformed("record length"))?;
        let record = record(body, at, end)?;
        self.at = end;
        self.left -= 1;
        Ok(Some(record))
    }
}

fn record(body: &[u8], start: usize, end: usize) -> Result<RecordView, BatchError> {
    let mut at = start + 1; // attributes, unused by Kafka so far
    let timestamp_delta = varlong(body, &mut at, end)?;
    let offset_delta = varint(body, &mut at, end)?;
    let key = nullable(body, &mut at, end)?;
    let head = start..at;
    let value = nullable(body, &mut at, end)?;
    let header_count = varint(body, &mut at, end)?;
    // A header takes two bytes at least, so the bytes bound the count.
    if header_count < 0 || (header_count as usize) > end.saturating_sub(at) / 2 {
        return Err(BatchError::Malformed("header count"));
    }
    Ok(RecordView { head, offset_delta, timestamp_delta, key, value, header_count, headers: at..end })
}

fn nullable(body: &[u8], at: &mut usize, limit: usize) -> Result<Option<Range<usize>>, BatchError> {
    let length = varint(body, at, limit)?;
    if length < 0 {
        return Ok(None);
    }
    let end =
        at.checked_add(length as usize).filter(|end| *end <= limit).ok_or(BatchError::Malformed("field length"))?;
    let range = *at..end;
    *at = end;
    Ok(Some(range))
}

fn varint(body: &[u8], at: &mut usize, limit: usize) -> Result<i32, BatchError> {
    let long = varlong(body, at, limit)?;
    i32::try_from(long).map_err(|_| BatchError::Malformed("varint"))
}

/// Zig-zag varint of at most ten bytes.
fn varlong(body: &[u8], at: &mut usize, limit: usize) -> Result<i64, BatchError> {
    let rest = body.get(*at..limit).ok_or(BatchError::Malformed("record length"))?;
    let mut raw = 0u64;
    for (index, byte) in rest.iter().take(10).enumerate() {
        raw |= u64::from(byte & 0x7f) << (7 * index as u32);
        if byte & 0x80 == 0 {
            *at += index + 1;
            return Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64));
        }
    }
    Err(BatchError::Malformed("varint"))
}

/// Appends a zig-zag varint.
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    let (digits, length) = encode_varint(value);
    out.extend_from_slice(digits.get(..length).unwrap_or_default());
}

/// The bytes of a zigzag varint, and how many of them count.
pub fn encode_varint(value: i32) -> ([u8; 5], usize) {
    let mut digits = [0; 5];
    let mut raw = ((value << 1) ^ (value >> 31)) as u32;
    let mut length = 0;
    for digit in &mut digits {
        length += 1;
        *digit = raw as u8 | 0x80;
        raw >>= 7;
        if raw == 0 {
            *digit &= 0x7f;
            break;
        }
    }
    (digits, length)
}

/// How many bytes [`put_varint`] writes.
pub fn varint_len(value: i32) -> usize {
    let raw = ((value << 1) ^ (value >> 31)) as u32;
    match raw {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        0x20_0000..=0xfff_ffff => 4,
        _ => 5,
    }
}
