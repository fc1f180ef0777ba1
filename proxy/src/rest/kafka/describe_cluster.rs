//! DescribeCluster: which brokers there are. Addresses are stepped over: they are the gateway's own.
//!
//! Source: message schemas of Kafka 4.2, DescribeCluster version 0 and 1 (KIP-700, KIP-919).

use bytes::{BufMut, BytesMut};

use super::verdict::Verdict;
use super::{Question, put_bool, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError, api};

/// Asks for the brokers that are up.
pub struct DescribeCluster;

/// What the broker knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Described {
    /// Whether it tells.
    pub verdict: Verdict,
    /// The cluster's id.
    pub cluster_id: String,
    /// The node id of the controller, or of a broker that stands for it; negative for none.
    pub controller_id: i32,
    /// By node id.
    pub brokers: Vec<Broker>,
}

/// One broker.
#[derive(Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its node id.
    pub id: i32,
    /// Where it stands.
    pub rack: Option<String>,
}

impl Question for DescribeCluster {
    type Answer = Described;
    const API: ApiKey = api::DESCRIBE_CLUSTER;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        put_bool(out, false);
        if version >= 1 {
            out.put_i8(BROKERS);
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Described, WireError> {
        cursor.i32("throttle time")?;
        let verdict = Verdict::read(cursor)?;
        if version >= 1 {
            cursor.i8("endpoint type")?;
        }
        let cluster_id = cursor.string("cluster id")?.to_owned();
        let controller_id = cursor.i32("controller id")?;
        let mut brokers = read_array(cursor, ("brokers", 10), |cursor| {
            let id = cursor.i32("broker id")?;
            cursor.skip_string("host")?;
            cursor.i32("port")?;
            let rack = cursor.nullable_string("rack")?.map(str::to_owned);
            cursor.skip_tags()?;
            Ok(Broker { id, rack })
        })?;
        cursor.i32("authorized operations")?;
        brokers.sort_unstable_by_key(|broker| broker.id);
        Ok(Described { verdict, cluster_id, controller_id, brokers })
    }
}

/// Not the controllers.
const BROKERS: i8 = 1;
