//! OffsetFetch and ListOffsets for many partitions: where a group stands, and where partitions end.
//!
//! Source: message schemas of Kafka 4.2, OffsetFetch version 3 to 7 (one group), ListOffsets version 1 to 6.

use bytes::{BufMut, BytesMut};

use super::{Question, put_bool, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// An offset of a partition.
#[derive(Debug, PartialEq, Eq)]
pub struct At {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Kafka's error code; 0 for none.
    pub error_code: i16,
    /// The offset; negative for none.
    pub offset: i64,
}

/// Asks the coordinator for all offsets that a group has committed.
pub struct CommittedOffsets<'a> {
    /// The group.
    pub group_id: &'a str,
}

impl Question for CommittedOffsets<'_> {
    type Answer = (i16, Vec<At>);
    const API: ApiKey = ApiKey(9);
    const VERSIONS: std::ops::RangeInclusive<i16> = 3..=7;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_string(out, self.group_id)?;
        // Null: all that there are.
        encoding.put_null(out);
        if version >= 7 {
            put_bool(out, false);
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Self::Answer, WireError> {
        cursor.i32("throttle time")?;
        let mut committed = Vec::new();
        read_array(cursor, ("topics", 3), |cursor| {
            let topic = cursor.string("name")?;
            read_array(cursor, ("partitions", 15), |cursor| {
                let partition = cursor.i32("partition index")?;
                let offset = cursor.i64("committed offset")?;
                if version >= 5 {
                    cursor.i32("leader epoch")?;
                }
                cursor.skip_string("metadata")?;
                let error_code = cursor.i16("error code")?;
                cursor.skip_tags()?;
                committed.push(At { topic: topic.to_owned(), partition, error_code, offset });
                Ok(())
            })?;
            cursor.skip_tags()
        })?;
        Ok((cursor.i16("error code")?, committed))
    }
}

/// Asks a broker for the ends of partitions that it leads.
pub struct EndOffsets<'a> {
    /// Topics with their partitions.
    pub partitions: &'a [(&'a str, Vec<i32>)],
}

impl Question for EndOffsets<'_> {
    type Answer = Vec<At>;
    const API: ApiKey = ApiKey(2);
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=6;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        out.put_i32(NO_REPLICA);
        if version >= 2 {
            out.put_i8(READ_UNCOMMITTED);
        }
        encoding.put_length(out, self.partitions.len())?;
        for (topic, partitions) in self.partitions {
            encoding.put_string(out, topic)?;
            encoding.put_length(out, partitions.len())?;
            for partition in partitions {
                out.put_i32(*partition);
                if version >= 4 {
                    out.put_i32(-1);
                }
                out.put_i64(LATEST);
                encoding.put_no_tags(out);
            }
            encoding.put_no_tags(out);
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Vec<At>, WireError> {
        if version >= 2 {
            cursor.i32("throttle time")?;
        }
        let mut ends = Vec::new();
        read_array(cursor, ("topics", 3), |cursor| {
            let topic = cursor.string("name")?;
            read_array(cursor, ("partitions", 22), |cursor| {
                let partition = cursor.i32("partition index")?;
                let error_code = cursor.i16("error code")?;
                cursor.i64("timestamp")?;
                let offset = cursor.i64("offset")?;
                if version >= 4 {
                    cursor.i32("leader epoch")?;
                }
                cursor.skip_tags()?;
                ends.push(At { topic: topic.to_owned(), partition, error_code, offset });
                Ok(())
            })?;
            cursor.skip_tags()
        })?;
        Ok(ends)
    }
}

/// A client asks.
const NO_REPLICA: i32 = -1;
const READ_UNCOMMITTED: i8 = 0;
const LATEST: i64 = -1;
