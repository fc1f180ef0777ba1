//! InitProducerId: a producer's identity, by which brokers know a batch that comes twice. With a transactional id it makes the one producer
//! of that id: whatever another one had begun is ended before.
//!
//! Source: message schemas of Kafka 4.2, InitProducerId versions 0 to 4; KIP-98, KIP-360.

use bytes::{BufMut, BytesMut};

use super::Question;
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Asks for an identity. With a transactional id it is asked of the id's coordinator.
pub struct InitProducerId<'a> {
    /// The transactional id; `None` for an identity that nobody has.
    pub transactional_id: Option<&'a str>,
    /// After this time the brokers end a transaction that nobody has ended, in milliseconds.
    pub timeout_ms: i32,
}

/// Whom the brokers take us for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerId {
    /// The producer's id.
    pub id: i64,
    /// Rises with each producer of the same transactional id; who comes with an older one is fenced.
    pub epoch: i16,
}

impl InitProducerId<'_> {
    /// For a producer without transactions.
    pub const PLAIN: Self = Self { transactional_id: None, timeout_ms: i32::MAX };
}

impl Question for InitProducerId<'_> {
    /// Kafka's error code, and who we are.
    type Answer = (i16, ProducerId);
    const API: ApiKey = ApiKey(22);
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=4;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_nullable_string(out, self.transactional_id)?;
        out.put_i32(self.timeout_ms);
        if version >= 3 {
            out.put_i64(-1);
            out.put_i16(-1);
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<(i16, ProducerId), WireError> {
        cursor.i32("throttle time")?;
        let error_code = cursor.i16("error code")?;
        let (id, epoch) = (cursor.i64("producer id")?, cursor.i16("producer epoch")?);
        Ok((error_code, ProducerId { id, epoch }))
    }
}
