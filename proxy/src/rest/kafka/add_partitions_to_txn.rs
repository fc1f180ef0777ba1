//! AddPartitionsToTxn: names the partitions that a transaction is going to write to.
//!
//! Source: message schemas of Kafka 4.2, AddPartitionsToTxn version 0 to 3, those of clients.

use bytes::{BufMut, BytesMut};

use super::init_producer_id::ProducerId;
use super::verdict::put_numbers;
use super::{Question, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Adds partitions. Asked of the transactional id's coordinator.
pub struct AddPartitionsToTxn<'a> {
    /// The transactional id.
    pub transactional_id: &'a str,
    /// Who we are.
    pub producer: ProducerId,
    /// Topics with their partitions.
    pub topics: &'a [(&'a str, Vec<i32>)],
}

impl Question for AddPartitionsToTxn<'_> {
    /// The first error code that is not 0; 0 when all were added. The brokers add all or none.
    type Answer = i16;
    const API: ApiKey = ApiKey(24);
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=3;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_string(out, self.transactional_id)?;
        out.put_i64(self.producer.id);
        out.put_i16(self.producer.epoch);
        encoding.put_length(out, self.topics.len())?;
        for (topic, partitions) in self.topics {
            encoding.put_string(out, topic)?;
            put_numbers(out, encoding, partitions)?;
            encoding.put_no_tags(out);
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<i16, WireError> {
        cursor.i32("throttle time")?;
        let mut codes = Vec::new();
        read_array(cursor, ("topics", 5), |cursor| {
            cursor.skip_string("topic")?;
            codes.extend(read_array(cursor, ("partitions", 6), |cursor| {
                cursor.i32("partition index")?;
                let error_code = cursor.i16("error code")?;
                cursor.skip_tags()?;
                Ok(error_code)
            })?);
            cursor.skip_tags()
        })?;
        // What is told beside the reason for others is that nothing was tried.
        let first = codes.iter().find(|code| **code != 0 && **code != OPERATION_NOT_ATTEMPTED);
        Ok(first.or(codes.iter().find(|code| **code != 0)).copied().unwrap_or(0))
    }
}

/// Kafka's error code for a partition that would have been added if another one could.
const OPERATION_NOT_ATTEMPTED: i16 = 55;
