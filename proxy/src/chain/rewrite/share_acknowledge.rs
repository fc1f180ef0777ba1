//! ShareAcknowledge, versions 1 and 2: acknowledgements of a share group's records (KIP-932).
//!
//! Arrives: a request, and the broker's response. Leaves: the topics that the request names, and
//! the response with addresses rewritten. What must never happen here: a broker's own address
//! reaching a client.

use bytes::Bytes;

use super::RewriteError;
use super::node_endpoints::{self, AddressBook};
use super::share_fetch::{
    SMALLEST_TOPIC, SharePartition, ShareTopic, put_refusal, walk_acknowledged_topics, walk_leader,
};
use crate::frame::{Call, RequestHeader, ResponseHeader, Segments, Span, Splices};

/// A request of a share consumer. Topics are named by id.
#[derive(Debug, Clone)]
pub struct ShareAcknowledgeRequest {
    /// Where the group id lies.
    pub group_id: Option<Span>,
    /// Topics, in the order of the message.
    pub topics: Vec<ShareTopic>,
    /// Partitions of all topics, in the order of the message.
    pub partitions: Vec<SharePartition>,
}

impl ShareAcknowledgeRequest {
    /// Walks the body of a request.
    pub fn walk(frame: &[u8], header: &RequestHeader<'_>) -> Result<Self, RewriteError> {
        let mut cursor = header.cursor(frame);
        let group_id = match cursor.nullable_string("group id")? {
            Some(id) => Some(Span::new(cursor.position() - id.len(), cursor.position())?),
            None => None,
        };
        cursor.skip_string("member id")?;
        cursor.i32("share session epoch")?;
        if header.call.version.0 >= 2 {
            cursor.bool("is renew ack")?;
        }
        let (mut topics, mut partitions) = (Vec::new(), Vec::new());
        walk_acknowledged_topics(&mut cursor, &mut topics, &mut partitions)?;
        cursor.skip_tags()?;
        cursor.finish("share acknowledge request")?;
        Ok(Self { group_id, topics, partitions })
    }
}

/// The broker's response with addresses rewritten.
pub fn rewrite(frame: Bytes, header: &ResponseHeader, book: &dyn AddressBook) -> Result<Segments, RewriteError> {
    let mut splices = Splices::new(frame.clone());
    let mut cursor = header.cursor(&frame);
    cursor.i32("throttle time")?;
    cursor.i16("error code")?;
    cursor.skip_string("error message")?;
    if header.call.version.0 >= FIRST_WITH_LOCK_TIMEOUT {
        cursor.i32("acquisition lock timeout")?;
    }
    for _ in 0..cursor.count("topics", SMALLEST_TOPIC)? {
        cursor.uuid("topic id")?;
        for _ in 0..cursor.count("partitions", SMALLEST_PARTITION)? {
            cursor.i32("partition index")?;
            cursor.i16("error code")?;
            cursor.skip_string("error message")?;
            walk_leader(&mut cursor)?;
            cursor.skip_tags()?;
        }
        cursor.skip_tags()?;
    }
    node_endpoints::rewrite_list(&mut cursor, &mut splices, book)?;
    cursor.skip_tags()?;
    cursor.finish("share acknowledge response")?;
    Ok(splices.finish()?)
}

/// A response of the gateway's own that refuses the whole request.
pub fn error_response(call: Call, error_code: i16, message: Option<&str>) -> Result<Bytes, RewriteError> {
    put_refusal(call, error_code, message, call.version.0 >= FIRST_WITH_LOCK_TIMEOUT)
}

/// First version whose response has the acquisition lock timeout.
const FIRST_WITH_LOCK_TIMEOUT: i16 = 2;
/// Index, error code, message length, leader, tagged fields.
const SMALLEST_PARTITION: usize = 17;
