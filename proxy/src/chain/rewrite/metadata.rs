//! Metadata, versions 0 to 13: where the brokers are, and which topic has which id.
//!
//! Arrives: the broker's answer to a client. Leaves: the same with every broker's address
//! rewritten; on the way the caller is shown which topics there are. What must never happen here: a
//! broker's own address reaching a client.
//!
//! Source: message schemas of Kafka 4.2; KIP-516 (topic ids, v10).

use bytes::{BufMut, Bytes, BytesMut};

use super::node_endpoints::{AddressBook, rewrite_address};
use super::{RewriteError, keep};
use crate::frame::{Call, Cursor, RequestHeader, ResponseHeader, Segments, Span, Splices, WireError};

/// A request: which topics are asked for.
#[derive(Debug, Clone)]
pub struct MetadataRequest {
    /// The topics; `None` asks for all.
    pub topics: Option<Vec<WantedTopic>>,
    /// True if the broker may create a topic that is missing.
    pub allow_auto_creation: bool,
}

/// A topic that a request asks for: by name or, with no name, by id.
#[derive(Debug, Clone, Copy)]
pub struct WantedTopic {
    /// Where the name lies.
    pub name: Option<Span>,
    /// The id; zero if the topic is named.
    pub id: [u8; 16],
}

impl MetadataRequest {
    /// Walks the body of a request.
    pub fn walk(frame: &[u8], header: &RequestHeader<'_>) -> Result<Self, RewriteError> {
        let version = header.call.version.0;
        let mut cursor = header.cursor(frame);
        let count = match version {
            // Before there was null, an empty list asked for all.
            0 => Some(cursor.count("topics", 2)?).filter(|count| *count > 0),
            _ => cursor.nullable_count("topics", 2)?,
        };
        let mut topics = count.map(|_| Vec::new());
        for _ in 0..count.unwrap_or(0) {
            let id = if version >= FIRST_WITH_IDS { cursor.uuid("topic id")? } else { NO_ID };
            let name = match cursor.nullable_string("topic name")? {
                Some(name) => Some(Span::new(cursor.position() - name.len(), cursor.position())?),
                None => None,
            };
            cursor.skip_tags()?;
            if let Some(topics) = &mut topics {
                keep(topics, WantedTopic { name, id }, "topics")?;
            }
        }
        let allow_auto_creation = version < 4 || cursor.bool("allow auto topic creation")?;
        if (8..=10).contains(&version) {
            cursor.bool("include cluster authorized operations")?;
        }
        if version >= 8 {
            cursor.bool("include topic authorized operations")?;
        }
        cursor.skip_tags()?;
        cursor.finish("metadata request")?;
        Ok(Self { topics, allow_auto_creation })
    }

    /// An answer of the gateway's own: no broker, and each topic that was asked for with this
    /// error.
    pub fn error_response(&self, frame: &[u8], call: Call, error_code: i16) -> Result<Bytes, RewriteError> {
        let version = call.version.0;
        let encoding = call.encoding()?;
        let mut out = BytesMut::new();
        call.put_response_header(&mut out)?;
        if version >= 3 {
            out.put_i32(0); // throttle time
        }
        encoding.put_length(&mut out, 0)?; // brokers
        if version >= 2 {
            encoding.put_nullable_string(&mut out, None)?; // cluster id
        }
        if version >= 1 {
            out.put_i32(-1); // controller id: none
        }
        let topics = self.topics.as_deref().unwrap_or_default();
        encoding.put_length(&mut out, topics.len())?;
        for topic in topics {
            put_refused_topic(&mut out, call, topic, frame, error_code)?;
        }
        if (8..=10).contains(&version) {
            out.put_i32(i32::MIN); // cluster authorized operations: not asked
        }
        if version >= 13 {
            out.put_i16(error_code);
        }
        encoding.put_no_tags(&mut out);
        Ok(out.freeze())
    }
}

/// The broker's answer with the brokers' addresses rewritten. `learn` is shown each topic's name
/// and number of partitions.
pub fn rewrite(
    frame: Bytes,
    header: &ResponseHeader,
    book: &dyn AddressBook,
    mut learn: impl FnMut(&str, usize),
) -> Result<Segments, RewriteError> {
    let mut splices = Splices::new(frame.clone());
    let version = header.call.version.0;
    let mut cursor = header.cursor(&frame);
    if version >= 3 {
        cursor.i32("throttle time")?;
    }
    for _ in 0..cursor.count("brokers", SMALLEST_BROKER)? {
        rewrite_address(&mut cursor, &mut splices, book)?;
        if version >= 1 {
            cursor.skip_string("rack")?;
        }
        cursor.skip_tags()?;
    }
    if version >= 2 {
        cursor.skip_string("cluster id")?;
    }
    if version >= 1 {
        cursor.i32("controller id")?;
    }
    for _ in 0..cursor.count("topics", SMALLEST_TOPIC)? {
        let topic = DescribedTopic::walk(&mut cursor, version)?;
        if let (0, Some(name)) = (topic.error_code, topic.name) {
            learn(name, topic.partitions);
        }
    }
    walk_end(&mut cursor, version)?;
    Ok(splices.finish()?)
}

/// A topic of an answer.
pub(super) struct DescribedTopic<'a> {
    pub(super) error_code: i16,
    pub(super) name: Option<&'a str>,
    pub(super) id: [u8; 16],
    pub(super) is_internal: bool,
    pub(super) partitions: usize,
}

impl<'a> DescribedTopic<'a> {
    pub(super) fn walk(cursor: &mut Cursor<'a>, version: i16) -> Result<Self, WireError> {
        let error_code = cursor.i16("topic error code")?;
        let name = cursor.nullable_string("topic name")?;
        let id = if version >= FIRST_WITH_IDS { cursor.uuid("topic id")? } else { NO_ID };
        let is_internal = version >= 1 && cursor.bool("is internal")?;
        let partitions = cursor.count("partitions", SMALLEST_PARTITION)?;
        for _ in 0..partitions {
            cursor.i16("partition error code")?;
            cursor.i32("partition index")?;
            cursor.i32("leader id")?;
            if version >= 7 {
                cursor.i32("leader epoch")?;
            }
            cursor.skip_array("replicas", size_of::<i32>())?;
            cursor.skip_array("in-sync replicas", size_of::<i32>())?;
            if version >= 5 {
                cursor.skip_array("offline replicas", size_of::<i32>())?;
            }
            cursor.skip_tags()?;
        }
        if version >= 8 {
            cursor.i32("topic authorized operations")?;
        }
        cursor.skip_tags()?;
        Ok(Self { error_code, name, id, is_internal, partitions })
    }
}

/// What follows the topics.
pub(super) fn walk_end(cursor: &mut Cursor<'_>, version: i16) -> Result<i16, WireError> {
    if (8..=10).contains(&version) {
        cursor.i32("cluster authorized operations")?;
    }
    let error_code = if version >= 13 { cursor.i16("error code")? } else { 0 };
    cursor.skip_tags()?;
    cursor.finish("metadata response")?;
    Ok(error_code)
}

fn put_refused_topic(
    out: &mut BytesMut,
    call: Call,
    topic: &WantedTopic,
    frame: &[u8],
    error_code: i16,
) -> Result<(), WireError> {
    let version = call.version.0;
    let encoding = call.encoding()?;
    out.put_i16(error_code);
    let name = match topic.name {
        Some(span) => std::str::from_utf8(span.of(frame)?).ok(),
        // Before v12 the name of an answer must not be null.
        None => (version < 12).then_some(""),
    };
    encoding.put_nullable_string(out, name)?;
    if version >= FIRST_WITH_IDS {
        out.put_slice(&topic.id);
    }
    if version >= 1 {
        out.put_u8(0); // is internal
    }
    encoding.put_length(out, 0)?; // partitions
    if version >= 8 {
        out.put_i32(i32::MIN); // topic authorized operations: not asked
    }
    encoding.put_no_tags(out);
    Ok(())
}

/// The id of a topic that has none.
pub(super) const NO_ID: [u8; 16] = [0; 16];
/// First version with topic ids.
const FIRST_WITH_IDS: i16 = 10;
/// Node id, host length, port.
pub(super) const SMALLEST_BROKER: usize = 9;
/// Error code, name length, count of partitions.
pub(super) const SMALLEST_TOPIC: usize = 4;
/// Error code, index, leader, two counts.
const SMALLEST_PARTITION: usize = 12;
