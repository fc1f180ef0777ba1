//! IncrementalAlterConfigs: some settings of one topic, one broker, or all brokers.
//!
//! Source: message schemas of Kafka 4.2, IncrementalAlterConfigs version 0 and 1 (KIP-339).

use bytes::{BufMut, BytesMut};

use super::describe_configs::Resource;
use super::verdict::{Verdict, only};
use super::{Question, put_bool, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Changes settings, all or none.
pub struct AlterConfigs<'a> {
    /// Of which kind.
    pub kind: Resource,
    /// Its name; a node id for a broker, nothing for all brokers.
    pub name: &'a str,
    /// What changes: a name and its new value; `None` takes the setting away.
    pub changes: &'a [(String, Option<String>)],
    /// Only look whether it could be done.
    pub validate_only: bool,
}

impl Question for AlterConfigs<'_> {
    type Answer = Verdict;
    const API: ApiKey = ApiKey(44);
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_length(out, 1)?;
        out.put_i8(match self.kind {
            Resource::Topic => 2,
            Resource::Broker => 4,
        });
        encoding.put_string(out, self.name)?;
        encoding.put_length(out, self.changes.len())?;
        for (name, value) in self.changes {
            encoding.put_string(out, name)?;
            out.put_i8(if value.is_some() { SET } else { DELETE });
            encoding.put_nullable_string(out, value.as_deref())?;
            encoding.put_no_tags(out);
        }
        encoding.put_no_tags(out);
        put_bool(out, self.validate_only);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<Verdict, WireError> {
        cursor.i32("throttle time")?;
        let altered = read_array(cursor, ("responses", 6), |cursor| {
            let verdict = Verdict::read(cursor)?;
            cursor.i8("resource type")?;
            cursor.skip_string("resource name")?;
            cursor.skip_tags()?;
            Ok(verdict)
        })?;
        only(altered, "responses", cursor.position())
    }
}

const SET: i8 = 0;
const DELETE: i8 = 1;
