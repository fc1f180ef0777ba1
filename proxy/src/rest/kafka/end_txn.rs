//! EndTxn: commits a transaction, or takes it back.
//!
//! Source: message schemas of Kafka 4.2, EndTxn version 0 to 3.

use bytes::{BufMut, BytesMut};

use super::init_producer_id::ProducerId;
use super::{Question, put_bool};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Ends a transaction. Asked of the transactional id's coordinator.
pub struct EndTxn<'a> {
    /// The transactional id.
    pub transactional_id: &'a str,
    /// Who we are.
    pub producer: ProducerId,
    /// Whether it is to count.
    pub commit: bool,
}

impl Question for EndTxn<'_> {
    /// Kafka's error code.
    type Answer = i16;
    const API: ApiKey = ApiKey(26);
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=3;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_string(out, self.transactional_id)?;
        out.put_i64(self.producer.id);
        out.put_i16(self.producer.epoch);
        put_bool(out, self.commit);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<i16, WireError> {
        cursor.i32("throttle time")?;
        cursor.i16("error code")
    }
}
