//! Metadata: which topics there are, and who leads their partitions. Never makes a topic.
//!
//! Source: message schemas of Kafka 4.2, Metadata version 4 (no automatic creation) to 9; version 8 tells what may be done (KIP-430).

use bytes::BytesMut;

use super::{Question, put_bool, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError, api};

/// Asks for these topics; `None` for all that the principal may see.
pub struct Metadata<'a> {
    /// Names.
    pub topics: Option<&'a [&'a str]>,
}

/// The same, with what may be done with each topic.
pub struct WithOperations<'a>(pub Metadata<'a>);

/// What the broker knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Node ids of the brokers that are up.
    pub brokers: Vec<i32>,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The node id of the controller, or of a broker that stands for it.
    pub controller_id: i32,
    /// What was asked for.
    pub topics: Vec<Topic>,
}

/// One topic.
#[derive(Debug, PartialEq, Eq)]
pub struct Topic {
    /// Kafka's error code; 0 for none.
    pub error_code: i16,
    /// The name.
    pub name: String,
    /// Whether it is one of Kafka's own.
    pub is_internal: bool,
    /// In no particular order.
    pub partitions: Vec<Partition>,
    /// What may be done with it, a bit for each of Kafka's operations; `None` when that was not asked for.
    pub operations: Option<u32>,
}

/// One partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// Kafka's error code; 0 for none.
    pub error_code: i16,
    /// Its number.
    pub index: i32,
    /// The leader's node id; negative while there is none.
    pub leader: i32,
    /// Node ids of the replicas.
    pub replicas: Vec<i32>,
    /// Node ids of the replicas that are in sync.
    pub in_sync: Vec<i32>,
}

impl Question for Metadata<'_> {
    type Answer = Cluster;
    const API: ApiKey = api::METADATA;
    const VERSIONS: std::ops::RangeInclusive<i16> = 4..=9;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        self.put_asking(out, (version, false), encoding)
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Cluster, WireError> {
        cursor.i32("throttle time")?;
        let brokers = read_array(cursor, ("brokers", 10), |cursor| {
            let node_id = cursor.i32("node id")?;
            cursor.skip_string("host")?;
            cursor.i32("port")?;
            cursor.skip_string("rack")?;
            cursor.skip_tags()?;
            Ok(node_id)
        })?;
        let cluster_id = cursor.nullable_string("cluster id")?.map(str::to_owned);
        let controller_id = cursor.i32("controller id")?;
        let topics = read_array(cursor, ("topics", 5), |cursor| read_topic(cursor, version))?;
        Ok(Cluster { brokers, cluster_id, controller_id, topics })
    }
}

impl Metadata<'_> {
    fn put_asking(
        &self,
        out: &mut BytesMut,
        (version, operations): (i16, bool),
        encoding: Encoding,
    ) -> Result<(), WireError> {
        match self.topics {
            None => encoding.put_null(out),
            Some(topics) => {
                encoding.put_length(out, topics.len())?;
                for topic in topics {
                    encoding.put_string(out, topic)?;
                    encoding.put_no_tags(out);
                }
            }
        }
        put_bool(out, false);
        if version >= 8 {
            put_bool(out, false);
            put_bool(out, operations);
        }
        encoding.put_no_tags(out);
        Ok(())
    }
}

impl Question for WithOperations<'_> {
    type Answer = Cluster;
    const API: ApiKey = api::METADATA;
    const VERSIONS: std::ops::RangeInclusive<i16> = 8..=9;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        self.0.put_asking(out, (version, true), encoding)
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Cluster, WireError> {
        Metadata::read(cursor, version)
    }
}

fn read_topic(cursor: &mut Cursor<'_>, version: i16) -> Result<Topic, WireError> {
    let error_code = cursor.i16("error code")?;
    let name = cursor.string("name")?.to_owned();
    let is_internal = cursor.bool("is internal")?;
    let partitions = read_array(cursor, ("partitions", 12), |cursor| read_partition(cursor, version))?;
    let operations = if version >= 8 { cursor.i32("authorized operations")? } else { UNASKED };
    cursor.skip_tags()?;
    let operations = u32::try_from(operations).ok();
    Ok(Topic { error_code, name, is_internal, partitions, operations })
}

fn read_partition(cursor: &mut Cursor<'_>, version: i16) -> Result<Partition, WireError> {
    let error_code = cursor.i16("error code")?;
    let index = cursor.i32("partition index")?;
    let leader = cursor.i32("leader id")?;
    if version >= 7 {
        cursor.i32("leader epoch")?;
    }
    let replicas = read_array(cursor, ("replicas", 4), |cursor| cursor.i32("replica"))?;
    let in_sync = read_array(cursor, ("in-sync replicas", 4), |cursor| cursor.i32("replica"))?;
    if version >= 5 {
        read_array(cursor, ("offline replicas", 4), |cursor| cursor.i32("replica"))?;
    }
    cursor.skip_tags()?;
    Ok(Partition { error_code, index, leader, replicas, in_sync })
}

/// What stands in the place of operations that nobody asked for.
const UNASKED: i32 = i32::MIN;
