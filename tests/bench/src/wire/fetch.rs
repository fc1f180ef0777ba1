//! Fetch, version 12: the last one that names the topic by its name. Sessions are not used, so that each request says all.

use super::{Reader, frame};
use crate::error::Error;

/// What one Fetch asks of one partition.
pub struct Wish<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Partition index.
    pub partition: i32,
    /// First offset wanted.
    pub offset: i64,
    /// How long the broker may wait for the first byte.
    pub max_wait_ms: i32,
    /// Limit of the answer, and of the partition in it.
    pub max_bytes: i32,
}

/// The part of an answer that the generator looks at.
pub struct Fetched<'a> {
    /// Offset behind the last record that may be read.
    pub high_watermark: i64,
    /// The record batches as they came.
    pub records: &'a [u8],
}

/// A Fetch frame for one partition.
pub fn request(wish: &Wish<'_>) -> Vec<u8> {
    frame(API_KEY, 12, |body| {
        body.int32(-1);
        body.int32(wish.max_wait_ms);
        body.int32(1);
        body.int32(wish.max_bytes);
        body.int8(0);
        body.int32(0);
        body.int32(-1);
        body.compact_count(1);
        body.compact_string(wish.topic);
        body.compact_count(1);
        body.int32(wish.partition);
        body.int32(-1);
        body.int64(wish.offset);
        body.int32(-1);
        body.int64(-1);
        body.int32(wish.max_bytes);
        body.no_tags();
        body.no_tags();
        body.compact_count(0);
        body.compact_string("");
        body.no_tags();
    })
}

/// Reads the answer to a one-partition request; an error code is an error.
pub fn answer(answer: &[u8]) -> Result<Fetched<'_>, Error> {
    let mut reader = Reader::new(answer);
    reader.skip_tags()?;
    reader.int32()?;
    refuse(reader.int16()?)?;
    reader.int32()?;
    if reader.compact_count()? == 0 {
        return Err(Error::Mismatch("fetch was answered without the partition".into()));
    }
    reader.compact_string()?;
    reader.compact_count()?;
    reader.int32()?;
    refuse(reader.int16()?)?;
    let high_watermark = reader.int64()?;
    reader.int64()?;
    reader.int64()?;
    for _ in 0..reader.compact_count()? {
        reader.take(16)?;
        reader.skip_tags()?;
    }
    reader.int32()?;
    let records = reader.compact_bytes()?.unwrap_or_default();
    Ok(Fetched { high_watermark, records })
}

fn refuse(code: i16) -> Result<(), Error> {
    match code {
        0 => Ok(()),
        code => Err(Error::Kafka { api: "Fetch", code }),
    }
}

const API_KEY: i16 = 1;
