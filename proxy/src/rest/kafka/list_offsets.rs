//! ListOffsets: where a partition begins and ends. Asked of its leader.
//!
//! Source: message schemas of Kafka 4.2, ListOffsets version 1 to 6.

use bytes::{BufMut, BytesMut};

use super::{Question, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Asks for one offset of one partition.
pub struct ListOffsets<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// [`EARLIEST`], [`LATEST`], or a timestamp in milliseconds.
    pub timestamp: i64,
}

/// The first record that is still there.
pub const EARLIEST: i64 = -2;
/// The end: what the next record gets, as readers of committed records see it or not by `isolation_level`; here all records count.
pub const LATEST: i64 = -1;

impl Question for ListOffsets<'_> {
    /// Kafka's error code, and the offset; negative when no record is that young.
    type Answer = (i16, i64);
    const API: ApiKey = ApiKey(2);
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=6;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        out.put_i32(-1);
        if version >= 2 {
            out.put_i8(0);
        }
        encoding.put_length(out, 1)?;
        encoding.put_string(out, self.topic)?;
        encoding.put_length(out, 1)?;
        out.put_i32(self.partition);
        if version >= 4 {
            out.put_i32(-1);
        }
        out.put_i64(self.timestamp);
        encoding.put_no_tags(out);
        encoding.put_no_tags(out);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<(i16, i64), WireError> {
        if version >= 2 {
            cursor.i32("throttle time")?;
        }
        let mut found = None;
        read_array(cursor, ("topics", 3), |cursor| {
            cursor.skip_string("name")?;
            read_array(cursor, ("partitions", 22), |cursor| {
                cursor.i32("partition index")?;
                let error_code = cursor.i16("error code")?;
                cursor.i64("timestamp")?;
                let offset = cursor.i64("offset")?;
                if version >= 4 {
                    cursor.i32("leader epoch")?;
                }
                cursor.skip_tags()?;
                found = Some((error_code, offset));
                Ok(())
            })?;
            cursor.skip_tags()
        })?;
        found.ok_or(WireError::BadCount { field: "partitions", count: 0, at: cursor.position(), remaining: 0 })
    }
}
