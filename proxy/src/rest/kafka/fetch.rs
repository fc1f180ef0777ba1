//! Fetch: records of some partitions, as the gateway has opened them for this principal. Asked of their leader.
//!
//! Source: message schemas of Kafka 4.2, Fetch version 4 to 11, without a fetch session (KIP-227).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Question, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Asks for records of one topic.
pub struct Fetch<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Partitions, and from which offset on.
    pub positions: &'a [(i32, i64)],
    /// How long the broker waits while there is nothing; less than questions are waited for.
    pub wait: Duration,
    /// What the answer holds at most; the first batch comes whole, whatever its size.
    pub max_bytes: i32,
    /// Whether the broker stops before the first transaction that is open.
    pub committed_only: bool,
}

/// What one partition has to say.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The partition.
    pub partition: i32,
    /// Kafka's error code; 0 for none.
    pub error_code: i16,
    /// The offset behind the last record that readers may see.
    pub end: i64,
    /// Producer ids of transactions that were taken back, and from which offset on; told when only what is committed was asked for.
    pub aborted: Vec<(i64, i64)>,
    /// Record batches, whole ones and perhaps a part of one behind them.
    pub records: Bytes,
}

impl Question for Fetch<'_> {
    type Answer = Vec<Fetched>;
    const API: ApiKey = ApiKey(1);
    const VERSIONS: std::ops::RangeInclusive<i16> = 4..=11;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        out.put_i32(-1);
        out.put_i32(i32::try_from(self.wait.as_millis()).unwrap_or(i32::MAX));
        out.put_i32(1);
        out.put_i32(self.max_bytes);
        out.put_i8(i8::from(self.committed_only));
        if version >= 7 {
            out.put_i32(0);
            out.put_i32(-1);
        }
        encoding.put_length(out, 1)?;
        encoding.put_string(out, self.topic)?;
        encoding.put_length(out, self.positions.len())?;
        for (partition, offset) in self.positions {
            out.put_i32(*partition);
            if version >= 9 {
                out.put_i32(-1);
            }
            out.put_i64(*offset);
            if version >= 5 {
                out.put_i64(-1);
            }
            out.put_i32(self.max_bytes);
        }
        if version >= 7 {
            encoding.put_length(out, 0)?;
        }
        if version >= 11 {
            encoding.put_string(out, "")?;
        }
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Vec<Fetched>, WireError> {
        cursor.i32("throttle time")?;
        if version >= 7 {
            cursor.i16("error code")?;
            cursor.i32("session id")?;
        }
        let mut all = Vec::new();
        read_array(cursor, ("topics", 6), |cursor| {
            cursor.skip_string("topic")?;
            all.extend(read_array(cursor, ("partitions", 30), |cursor| read_partition(cursor, version))?);
            Ok(())
        })?;
        Ok(all)
    }
}

fn read_partition(cursor: &mut Cursor<'_>, version: i16) -> Result<Fetched, WireError> {
    let partition = cursor.i32("partition index")?;
    let error_code = cursor.i16("error code")?;
    let end = cursor.i64("high watermark")?;
    cursor.i64("last stable offset")?;
    if version >= 5 {
        cursor.i64("log start offset")?;
    }
    let aborted = read_array(cursor, ("aborted transactions", 16), |cursor| {
        Ok((cursor.i64("producer id")?, cursor.i64("first offset")?))
    })?;
    if version >= 11 {
        cursor.i32("preferred read replica")?;
    }
    // Lengths of this version are fixed fields; the cursor bounds them by the frame.
    let length = usize::try_from(cursor.i32("records")?).unwrap_or(0);
    let records = Bytes::copy_from_slice(cursor.take(length, "records")?);
    Ok(Fetched { partition, error_code, end, aborted, records })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(version: i16, records: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_i32(0);
        if version >= 7 {
            out.put_i16(0);
            out.put_i32(0);
        }
        out.put_i32(1);
        out.put_i16(1);
        out.put_slice(b"t");
        out.put_i32(1);
        out.put_i32(3);
        out.put_i16(29);
        out.put_i64(7);
        out.put_i64(7);
        if version >= 5 {
            out.put_i64(0);
        }
        out.put_i32(-1);
        if version >= 11 {
            out.put_i32(-1);
        }
        out.put_i32(i32::try_from(records.len()).unwrap());
        out.put_slice(records);
        out
    }

    #[test]
    fn every_version_is_read_and_every_cut_is_an_error() {
        for version in Fetch::VERSIONS {
            let whole = answer(version, b"abc");
            let read = |bytes: &[u8]| Fetch::read(&mut Cursor::new(bytes, 0, Encoding::Classic), version);
            let fetched =
                Fetched { partition: 3, error_code: 29, end: 7, aborted: vec![], records: Bytes::from_static(b"abc") };
            assert_eq!(read(&whole).unwrap(), [fetched], "version {version}");
            for cut in 0..whole.len() {
                assert!(read(whole.get(..cut).unwrap()).is_err(), "version {version} cut at {cut}");
            }
        }
    }
}
