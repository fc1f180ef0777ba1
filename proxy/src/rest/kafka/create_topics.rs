//! CreateTopics: one topic.
//!
//! Source: message schemas of Kafka 4.2, CreateTopics version 4 (the broker's defaults, KIP-464) to 7.

use bytes::{BufMut, BytesMut};

use super::verdict::{Verdict, only, put_numbers};
use super::{Question, put_bool, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Makes a topic, or tells whether it could be made.
pub struct CreateTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Number of partitions; -1 for the brokers' default, and with `assignments`.
    pub partitions: i32,
    /// Number of replicas; -1 for the brokers' default, and with `assignments`.
    pub replication_factor: i16,
    /// Which brokers have a replica, for each partition.
    pub assignments: &'a [(i32, Vec<i32>)],
    /// Settings.
    pub configs: &'a [(String, Option<String>)],
    /// Only look whether it could be made.
    pub validate_only: bool,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Created {
    /// Whether it was made.
    pub verdict: Verdict,
    /// Partitions, where the broker tells.
    pub partitions: Option<i32>,
    /// Replicas, where the broker tells.
    pub replication_factor: Option<i16>,
}

impl Question for CreateTopic<'_> {
    type Answer = Created;
    const API: ApiKey = ApiKey(19);
    const VERSIONS: std::ops::RangeInclusive<i16> = 4..=7;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_length(out, 1)?;
        encoding.put_string(out, self.name)?;
        out.put_i32(self.partitions);
        out.put_i16(self.replication_factor);
        encoding.put_length(out, self.assignments.len())?;
        for (partition, brokers) in self.assignments {
            out.put_i32(*partition);
            put_numbers(out, encoding, brokers)?;
            encoding.put_no_tags(out);
        }
        encoding.put_length(out, self.configs.len())?;
        for (name, value) in self.configs {
            encoding.put_string(out, name)?;
            encoding.put_nullable_string(out, value.as_deref())?;
            encoding.put_no_tags(out);
        }
        encoding.put_no_tags(out);
        out.put_i32(self.timeout_ms);
        put_bool(out, self.validate_only);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Created, WireError> {
        cursor.i32("throttle time")?;
        let created = read_array(cursor, ("topics", 6), |cursor| {
            cursor.skip_string("name")?;
            if version >= 7 {
                cursor.uuid("topic id")?;
            }
            let verdict = Verdict::read(cursor)?;
            let (mut partitions, mut replication_factor) = (None, None);
            if version >= 5 {
                partitions = Some(cursor.i32("number of partitions")?).filter(|count| *count > 0);
                replication_factor = Some(cursor.i16("replication factor")?).filter(|count| *count > 0);
                read_array(cursor, ("configs", 6), |cursor| {
                    cursor.skip_string("name")?;
                    cursor.skip_string("value")?;
                    cursor.take(3, "read only, source, sensitive")?;
                    cursor.skip_tags()
                })?;
            }
            cursor.skip_tags()?;
            Ok(Created { verdict, partitions, replication_factor })
        })?;
        only(created, "topics", cursor.position())
    }
}
