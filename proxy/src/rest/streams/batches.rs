//! What a fetch has brought, record by record.
//!
//! Arrives: the records of one partition, opened by the gateway. Leaves: each record from a position on, and the position behind the
//! last whole batch. Control batches are stepped over. What must never happen here: a count or a length believed before it was
//! compared with the bytes at hand.

use std::ops::ControlFlow;

use crate::frame::batch::{BATCH_OVERHEAD, BatchError, BatchHeader, Codec, Entry, Records, entries, inflate};
use crate::rest::record::Delivered;

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not batches.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Of a format from before 2017.
    #[error("records of format {0} are not read here")]
    Legacy(i8),
}

/// Gives every record of `records` at `from` or behind it to `take`, until that breaks. Returns the position to go on from: behind
/// the record that broke it, or behind the last whole batch; `None` when there is no whole batch.
///
/// # Errors
/// [`Unreadable`], when the first batch that counts is.
pub fn each(
    records: &[u8],
    (topic, partition): (&str, i32),
    from: i64,
    mut take: impl FnMut(&Delivered<'_>) -> ControlFlow<()>,
) -> Result<Option<i64>, Unreadable> {
    let mut next = None;
    let mut inflated = Vec::new();
    for entry in entries(records) {
        let range = match entry? {
            Entry::Batch(range) => range,
            Entry::Legacy(_, magic) => return Err(Unreadable::Legacy(magic)),
            Entry::Partial(_) => break,
        };
        let batch = records.get(range).unwrap_or_default();
        let header = BatchHeader::parse(batch)?;
        let behind = header.base_offset.saturating_add(header.last_offset_delta.into()).saturating_add(1);
        if behind > from && !header.attributes.is_control() {
            let body = batch.get(BATCH_OVERHEAD..).unwrap_or_default();
            let body = match header.attributes.codec()? {
                Codec::None => body,
                codec => {
                    inflated.clear();
                    inflate(codec, body, MOST_INFLATED, &mut inflated).map_err(BatchError::from)?;
                    &inflated
                }
            };
            if let Some(stopped) = each_of(body, &header, (topic, partition), from, &mut take)? {
                return Ok(Some(stopped));
            }
        }
        next = Some(behind);
    }
    Ok(next)
}

fn each_of(
    body: &[u8],
    header: &BatchHeader,
    (topic, partition): (&str, i32),
    from: i64,
    take: &mut impl FnMut(&Delivered<'_>) -> ControlFlow<()>,
) -> Result<Option<i64>, BatchError> {
    let mut records = Records::new(0, header.record_count);
    let mut headers = Vec::new();
    while let Some(view) = records.next(body)? {
        let offset = header.base_offset.saturating_add(view.offset_delta.into());
        if offset < from {
            continue;
        }
        headers.clear();
        view.each_header(body, |(key, value)| {
            headers.push((std::str::from_utf8(key).unwrap_or(UNREADABLE_NAME), value));
        })?;
        let timestamp = match header.attributes.is_log_append_time() {
            true => header.max_timestamp,
            false => header.base_timestamp.saturating_add(view.timestamp_delta),
        };
        let part = |range: &Option<std::ops::Range<usize>>| range.clone().and_then(|range| body.get(range));
        let record = Delivered {
            topic,
            partition,
            offset,
            timestamp: Some(timestamp).filter(|timestamp| *timestamp >= 0),
            key: part(&view.key),
            value: part(&view.value),
            headers: &headers,
        };
        if take(&record).is_break() {
            return Ok(Some(offset.saturating_add(1)));
        }
    }
    Ok(None)
}

/// What a batch may grow to: as `limits.max_inflated_bytes` by default.
const MOST_INFLATED: usize = 100 << 20;

/// A header's name that is no text; Kafka's clients cannot write such a one.
const UNREADABLE_NAME: &str = "\u{fffd}";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::batch::put_varint;

    /// A batch at `base` with these values, in format 2.
    fn batch(base: i64, values: &[&str], control: bool) -> Vec<u8> {
        let mut body = Vec::new();
        for (delta, value) in values.iter().enumerate() {
            let mut record = vec![0, 0];
            put_varint(&mut record, i32::try_from(delta).unwrap());
            put_varint(&mut record, 1);
            record.push(b'k');
            put_varint(&mut record, i32::try_from(value.len()).unwrap());
            record.extend_from_slice(value.as_bytes());
            put_varint(&mut record, 1);
            put_varint(&mut record, 1);
            record.push(b'h');
            put_varint(&mut record, -1);
            put_varint(&mut body, i32::try_from(record.len()).unwrap());
            body.extend_from_slice(&record);
        }
        let mut out = base.to_be_bytes().to_vec();
        out.extend_from_slice(&i32::try_from(BATCH_OVERHEAD - 12 + body.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&0_i32.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(if control { 0x20_i16 } else { 0 }).to_be_bytes());
        out.extend_from_slice(&i32::try_from(values.len() - 1).unwrap().to_be_bytes());
        out.extend_from_slice(&1000_i64.to_be_bytes());
        out.extend_from_slice(&1000_i64.to_be_bytes());
        out.extend_from_slice(&[0xff; 14]);
        out.extend_from_slice(&i32::try_from(values.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&body);
        out
    }

    fn read(records: &[u8], from: i64, most: usize) -> (Vec<(i64, String)>, Option<i64>) {
        let mut seen = Vec::new();
        let next = each(records, ("t", 3), from, |record| {
            assert_eq!((record.topic, record.partition, record.timestamp), ("t", 3, Some(1000)));
            assert_eq!((record.key, record.headers), (Some(&b"k"[..]), &[("h", None)][..]));
            seen.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
            if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (seen, next.unwrap())
    }

    #[test]
    fn records_come_from_the_position_on_and_control_batches_do_not() {
        let records = [batch(10, &["a", "b", "c"], false), batch(13, &["x"], true), batch(20, &["d"], false)].concat();
        let of = |pairs: &[(i64, &str)]| pairs.iter().map(|(o, v)| (*o, (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(read(&records, 0, 9), (of(&[(10, "a"), (11, "b"), (12, "c"), (20, "d")]), Some(21)));
        assert_eq!(read(&records, 12, 9), (of(&[(12, "c"), (20, "d")]), Some(21)));
        assert_eq!(read(&records, 12, 1), (of(&[(12, "c")]), Some(13)));
        assert_eq!(read(&records, 13, 9), (of(&[(20, "d")]), Some(21)));
        assert_eq!(read(&[], 0, 9), (vec![], None));
    }

    #[test]
    fn every_cut_ends_before_the_batch_that_is_not_whole() {
        let first = batch(0, &["a"], false);
        let records = [first.clone(), batch(1, &["b", "c"], false)].concat();
        for cut in first.len()..records.len() {
            let (seen, next) = read(records.get(..cut).unwrap(), 0, 9);
            assert_eq!((seen.len(), next), (1, Some(1)), "cut at {cut}");
        }
    }
}
