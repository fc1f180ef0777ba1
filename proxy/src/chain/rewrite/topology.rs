//! The gateway's own Metadata request, and its answer decoded.
//!
//! Arrives: a question of ours (all topics, some names, some topic ids) or a broker's answer to it.
//! Leaves: the bytes of the request, or brokers and topics as values. What must never happen here:
//! these addresses going to a client; for a client's own Metadata there is `metadata::rewrite`.

use bytes::{BufMut, Bytes, BytesMut};

use super::metadata::{DescribedTopic, NO_ID, SMALLEST_BROKER, SMALLEST_TOPIC, walk_end};
use super::topic::TopicRef;
use super::{RewriteError, keep};
use crate::frame::{ApiVersion, Call, CorrelationId, ResponseHeader, api};

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Error of the whole request (v13+).
    pub error_code: i16,
    /// Id of the cluster, if the broker knows it (v2+).
    pub cluster_id: Option<String>,
    /// Broker that plays the controller, -1 if none (v1+).
    pub controller_id: i32,
    /// Live brokers.
    pub brokers: Vec<Broker>,
    /// Topics that were asked for.
    pub topics: Vec<Topic>,
}

/// A broker as it advertises itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Broker id.
    pub node_id: i32,
    /// Host.
    pub host: String,
    /// Port.
    pub port: i32,
    /// Rack.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Kafka's error code, 0 for none.
    pub error_code: i16,
    /// Name; missing if it was asked for by an id that does not exist.
    pub name: Option<String>,
    /// Topic id; zero if the broker has none or the version is too old.
    pub id: [u8; 16],
    /// True for Kafka's own topics.
    pub is_internal: bool,
    /// Number of partitions.
    pub partitions: usize,
}

/// The call of a request of ours: version 12, the first that finds topics by id and answers for
/// unknown ids.
pub fn call(correlation_id: CorrelationId) -> Call {
    Call { api_key: api::METADATA, version: ApiVersion(12), correlation_id }
}

/// The call of a request that only wants the brokers: version 4, the first that can forbid the creation of
/// topics, which brokers of every age answer.
pub fn call_for_brokers(correlation_id: CorrelationId) -> Call {
    Call { version: ApiVersion(4), ..call(correlation_id) }
}

/// A request for `topics`, or for all with `None`; it never creates a topic.
pub fn request(call: Call, client_id: &str, topics: Option<&[TopicRef<'_>]>) -> Result<Bytes, RewriteError> {
    let encoding = call.encoding()?;
    let version = call.version.0;
    let mut out = BytesMut::new();
    call.put_request_header(&mut out, client_id)?;
    match topics {
        None if version == 0 => encoding.put_length(&mut out, 0)?,
        None => encoding.put_null(&mut out),
        Some(topics) => encoding.put_length(&mut out, topics.len())?,
    }
    for topic in topics.unwrap_or_default() {
        let (id, name) = match *topic {
            TopicRef::Name(name) => (NO_ID, Some(name)),
            TopicRef::Id(id) => (id, None),
        };
        if version >= 10 {
            out.put_slice(&id);
        }
        encoding.put_nullable_string(&mut out, name)?;
        encoding.put_no_tags(&mut out);
    }
    if version >= 4 {
        out.put_u8(0); // allow auto topic creation
    }
    if (8..=10).contains(&version) {
        out.put_u8(0); // include cluster authorized operations
    }
    if version >= 8 {
        out.put_u8(0); // include topic authorized operations
    }
    encoding.put_no_tags(&mut out);
    Ok(out.freeze())
}

/// Decodes an answer.
pub fn decode(frame: &[u8], header: &ResponseHeader) -> Result<Topology, RewriteError> {
    let version = header.call.version.0;
    let mut cursor = header.cursor(frame);
    if version >= 3 {
        cursor.i32("throttle time")?;
    }
    let mut brokers = Vec::new();
    for _ in 0..cursor.count("brokers", SMALLEST_BROKER)? {
        let node_id = cursor.i32("node id")?;
        let host = cursor.string("host")?.to_owned();
        let port = cursor.i32("port")?;
        let rack = if version >= 1 { cursor.nullable_string("rack")?.map(str::to_owned) } else { None };
        cursor.skip_tags()?;
        keep(&mut brokers, Broker { node_id, host, port, rack }, "brokers")?;
    }
    let cluster_id = if version >= 2 { cursor.nullable_string("cluster id")?.map(str::to_owned) } else { None };
    let controller_id = if version >= 1 { cursor.i32("controller id")? } else { -1 };
    let mut topics = Vec::new();
    for _ in 0..cursor.count("topics", SMALLEST_TOPIC)? {
        let DescribedTopic { error_code, name, id, is_internal, partitions } =
            DescribedTopic::walk(&mut cursor, version)?;
        let name = name.map(str::to_owned);
        keep(&mut topics, Topic { error_code, name, id, is_internal, partitions }, "topics")?;
    }
    let error_code = walk_end(&mut cursor, version)?;
    Ok(Topology { error_code, cluster_id, controller_id, brokers, topics })
}
