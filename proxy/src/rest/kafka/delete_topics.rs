//! DeleteTopics: one topic, by its name.
//!
//! Source: message schemas of Kafka 4.2, DeleteTopics version 1 to 5.

use bytes::{BufMut, BytesMut};

use super::verdict::{Verdict, only, put_texts};
use super::{Question, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Deletes a topic.
pub struct DeleteTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
}

impl Question for DeleteTopic<'_> {
    type Answer = Verdict;
    const API: ApiKey = ApiKey(20);
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=5;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        put_texts(out, encoding, &[self.name])?;
        out.put_i32(self.timeout_ms);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Verdict, WireError> {
        cursor.i32("throttle time")?;
        let deleted = read_array(cursor, ("responses", 3), |cursor| {
            cursor.skip_string("name")?;
            let verdict = if version >= 5 { Verdict::read(cursor)? } else { Verdict::bare(cursor.i16("error code")?) };
            cursor.skip_tags()?;
            Ok(verdict)
        })?;
        only(deleted, "responses", cursor.position())
    }
}
