//! ListPartitionReassignments: partitions that are moving between brokers.
//!
//! Source: message schemas of Kafka 4.2, ListPartitionReassignments version 0 (KIP-455).

use bytes::{BufMut, BytesMut};

use super::verdict::{Verdict, put_numbers, read_numbers};
use super::{Question, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Asks which partitions of a topic are moving; without one, of all topics.
pub struct ListReassignments<'a> {
    /// A topic with the partitions that are asked about.
    pub topic: Option<(&'a str, &'a [i32])>,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
}

/// One partition that moves.
#[derive(Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Brokers that get a replica.
    pub adding: Vec<i32>,
    /// Brokers that lose theirs.
    pub removing: Vec<i32>,
}

impl Question for ListReassignments<'_> {
    type Answer = (Verdict, Vec<Reassignment>);
    const API: ApiKey = ApiKey(46);
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        out.put_i32(self.timeout_ms);
        match self.topic {
            None => encoding.put_null(out),
            Some((name, partitions)) => {
                encoding.put_length(out, 1)?;
                encoding.put_string(out, name)?;
                put_numbers(out, encoding, partitions)?;
                encoding.put_no_tags(out);
            }
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<Self::Answer, WireError> {
        cursor.i32("throttle time")?;
        let verdict = Verdict::read(cursor)?;
        let mut moving = Vec::new();
        read_array(cursor, ("topics", 3), |cursor| {
            let topic = cursor.string("name")?;
            read_array(cursor, ("partitions", 8), |cursor| {
                let partition = cursor.i32("partition index")?;
                read_numbers(cursor, "replicas")?;
                let adding = read_numbers(cursor, "adding replicas")?;
                let removing = read_numbers(cursor, "removing replicas")?;
                cursor.skip_tags()?;
                moving.push(Reassignment { topic: topic.to_owned(), partition, adding, removing });
                Ok(())
            })?;
            cursor.skip_tags()
        })?;
        Ok((verdict, moving))
    }
}
