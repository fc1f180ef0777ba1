//! InitProducerId: a producer's identity, by which brokers know a batch that comes twice.
//!
//! Source: message schemas of Kafka 4.2, InitProducerId versions 0 to 2; KIP-98. Without a transactional id.

use bytes::{BufMut, BytesMut};

use super::Question;
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Asks for an identity that nobody has.
pub struct InitProducerId;

/// The broker's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// Kafka's error code; 0 for none.
    pub error_code: i16,
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
}

impl Question for InitProducerId {
    type Answer = ProducerIdentity;
    const API: ApiKey = ApiKey(22);
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_nullable_string(out, None)?;
        // The time that a transaction may take: there is none.
        out.put_i32(i32::MAX);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<ProducerIdentity, WireError> {
        cursor.i32("throttle time")?;
        let error_code = cursor.i16("error code")?;
        let producer_id = cursor.i64("producer id")?;
        Ok(ProducerIdentity { error_code, producer_id, producer_epoch: cursor.i16("producer epoch")? })
    }
}
