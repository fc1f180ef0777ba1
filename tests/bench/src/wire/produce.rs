//! Produce, version 9: the last flexible version that names the topic by its name rather than by its id.

use super::{Reader, frame};
use crate::error::Error;

/// A Produce frame with one batch for one partition.
pub fn request(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Vec<u8> {
    frame(API_KEY, 9, |body| {
        body.compact_null();
        body.int16(acks);
        body.int32(TIMEOUT_MS);
        body.compact_count(1);
        body.compact_string(topic);
        body.compact_count(1);
        body.int32(partition);
        body.compact_bytes(batch);
        for _ in 0..3 {
            body.no_tags();
        }
    })
}

/// The base offset that the batch of a one-partition request got; an error code is an error.
pub fn base_offset(answer: &[u8]) -> Result<i64, Error> {
    let mut reader = Reader::new(answer);
    reader.skip_tags()?;
    reader.compact_count()?;
    reader.compact_string()?;
    reader.compact_count()?;
    reader.int32()?;
    match reader.int16()? {
        0 => reader.int64(),
        code => Err(Error::Kafka { api: "Produce", code }),
    }
}

const API_KEY: i16 = 0;
const TIMEOUT_MS: i32 = 30_000;
