//! The few Kafka messages that the generator speaks, each in one fixed version: ApiVersions 3, Metadata 9, CreateTopics 7,
//! DeleteTopics 6, Produce 9, Fetch 12. A request is a finished frame whose correlation id is written when it is sent, so
//! that a prepared frame costs nothing to send again. Field order is that of Kafka's message definitions.

mod primitive;

pub mod admin;
pub mod fetch;
pub mod produce;

pub use primitive::{Reader, Writer, overwrite};

/// Where the correlation id stands in a frame: after length, API key and API version.
pub const CORRELATION_AT: std::ops::Range<usize> = 8..12;

/// Builds a frame: length, request header version 2, and the body that `body` writes.
fn frame(api_key: i16, api_version: i16, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.int32(0);
    writer.int16(api_key);
    writer.int16(api_version);
    writer.int32(0);
    writer.string(CLIENT_ID);
    writer.no_tags();
    body(&mut writer);
    writer.into_frame()
}

/// Shows up in broker and gateway logs.
const CLIENT_ID: &str = "barnabas-bench";
