//! CreatePartitions: more partitions for one topic.
//!
//! Source: message schemas of Kafka 4.2, CreatePartitions version 0 to 3.

use bytes::{BufMut, BytesMut};

use super::verdict::{Verdict, only};
use super::{Question, put_bool, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Gives a topic as many partitions as `count`.
pub struct CreatePartitions<'a> {
    /// Its name.
    pub topic: &'a str,
    /// How many it has afterwards.
    pub count: i32,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
}

impl Question for CreatePartitions<'_> {
    type Answer = Verdict;
    const API: ApiKey = ApiKey(37);
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=3;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_length(out, 1)?;
        encoding.put_string(out, self.topic)?;
        out.put_i32(self.count);
        // The brokers choose who has them.
        encoding.put_null(out);
        encoding.put_no_tags(out);
        out.put_i32(self.timeout_ms);
        put_bool(out, false);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<Verdict, WireError> {
        cursor.i32("throttle time")?;
        let made = read_array(cursor, ("results", 4), |cursor| {
            cursor.skip_string("name")?;
            let verdict = Verdict::read(cursor)?;
            cursor.skip_tags()?;
            Ok(verdict)
        })?;
        only(made, "results", cursor.position())
    }
}
