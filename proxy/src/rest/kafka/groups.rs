//! Consumer groups: ListGroups, DescribeGroups, ConsumerGroupDescribe, FindCoordinator.
//!
//! Leaves: groups with their members, of the classic protocol and of KIP-848 alike. What must never happen here: what a member wrote
//! about itself taken for more than bytes; assignments are read with the same bounds as a broker's answers.
//!
//! Source: message schemas of Kafka 4.2; `ConsumerProtocolAssignment` versions 0 to 3.

use bytes::{BufMut, BytesMut};

use super::verdict::{Verdict, only, put_texts, read_bytes, read_numbers};
use super::{Question, put_bool, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError, api};

/// Asks a broker which groups it coordinates.
pub struct ListGroups;

/// One group in a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub group_id: String,
    /// What its members speak: `consumer`, or nothing when only offsets are kept.
    pub protocol_type: String,
    /// Kafka's word; empty when the broker is too old to tell.
    pub state: String,
    /// Kafka's word; empty when the broker is too old to tell.
    pub kind: String,
}

impl Question for ListGroups {
    type Answer = (i16, Vec<Listed>);
    const API: ApiKey = ApiKey(16);
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=5;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        // No filter: all states, all types.
        if version >= 4 {
            encoding.put_length(out, 0)?;
        }
        if version >= 5 {
            encoding.put_length(out, 0)?;
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Self::Answer, WireError> {
        cursor.i32("throttle time")?;
        let error_code = cursor.i16("error code")?;
        let groups = read_array(cursor, ("groups", 3), |cursor| {
            let group_id = cursor.string("group id")?.to_owned();
            let protocol_type = cursor.string("protocol type")?.to_owned();
            let mut optional = |from, field| {
                if version >= from { cursor.string(field).map(str::to_owned) } else { Ok(String::new()) }
            };
            let (state, kind) = (optional(4, "group state")?, optional(5, "group type")?);
            cursor.skip_tags()?;
            Ok(Listed { group_id, protocol_type, state, kind })
        })?;
        Ok((error_code, groups))
    }
}

/// Asks which broker coordinates a group or the transactions of an id. The answer is an error code and a node id.
pub struct FindCoordinator<'a> {
    /// The group, or the transactional id.
    pub key: &'a str,
    /// Which of them.
    pub kind: Coordinated,
}

/// What has a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinated {
    /// A consumer group.
    Group = 0,
    /// The transactions of an id.
    Transaction = 1,
}

impl Question for FindCoordinator<'_> {
    type Answer = (Verdict, i32);
    const API: ApiKey = api::FIND_COORDINATOR;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_string(out, self.key)?;
        out.put_i8(self.kind as i8);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<Self::Answer, WireError> {
        cursor.i32("throttle time")?;
        let verdict = Verdict::read(cursor)?;
        let node_id = cursor.i32("node id")?;
        cursor.skip_string("host")?;
        cursor.i32("port")?;
        Ok((verdict, node_id))
    }
}

/// A group as its coordinator describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Whether it tells.
    pub verdict: Verdict,
    /// Kafka's word for the state.
    pub state: String,
    /// What its members speak: `consumer`, or nothing when only offsets are kept.
    pub protocol_type: String,
    /// How partitions are shared out.
    pub assignor: String,
    /// Who is in it.
    pub members: Vec<Member>,
}

/// One member of a group.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id, given by the coordinator or made by itself.
    pub id: String,
    /// `group.instance.id`, for static members.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// What it reads: topics with their partitions.
    pub assigned: Vec<(String, Vec<i32>)>,
}

/// Asks the coordinator about a group of the classic protocol.
pub struct DescribeGroup<'a> {
    /// The group.
    pub group_id: &'a str,
}

impl Question for DescribeGroup<'_> {
    type Answer = Group;
    const API: ApiKey = ApiKey(15);
    const VERSIONS: std::ops::RangeInclusive<i16> = 3..=6;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        put_texts(out, encoding, &[self.group_id])?;
        put_bool(out, false);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Group, WireError> {
        cursor.i32("throttle time")?;
        let groups = read_array(cursor, ("groups", 8), |cursor| {
            let verdict = if version >= 6 { Verdict::read(cursor)? } else { Verdict::bare(cursor.i16("error code")?) };
            cursor.skip_string("group id")?;
            let state = cursor.string("group state")?.to_owned();
            let protocol_type = cursor.string("protocol type")?.to_owned();
            let assignor = cursor.string("protocol data")?.to_owned();
            let members = read_array(cursor, ("members", 6), |cursor| read_classic_member(cursor, version))?;
            cursor.i32("authorized operations")?;
            cursor.skip_tags()?;
            Ok(Group { verdict, state, protocol_type, assignor, members })
        })?;
        only(groups, "groups", cursor.position())
    }
}

fn read_classic_member(cursor: &mut Cursor<'_>, version: i16) -> Result<Member, WireError> {
    let id = cursor.string("member id")?.to_owned();
    let instance_id = if version >= 4 { cursor.nullable_string("instance id")?.map(str::to_owned) } else { None };
    let client_id = cursor.string("client id")?.to_owned();
    cursor.skip_string("client host")?;
    read_bytes(cursor, "member metadata")?;
    let assignment = read_bytes(cursor, "member assignment")?;
    cursor.skip_tags()?;
    // Bytes of another protocol than the consumers' are no assignment.
    let assigned = read_assignment(assignment).unwrap_or_default();
    Ok(Member { id, instance_id, client_id, assigned })
}

/// What the leader of a classic group wrote for a member.
fn read_assignment(bytes: &[u8]) -> Result<Vec<(String, Vec<i32>)>, WireError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut cursor = Cursor::new(bytes, 0, Encoding::Classic);
    cursor.i16("version")?;
    read_array(&mut cursor, ("assigned topics", 6), |cursor| {
        let topic = cursor.string("topic")?.to_owned();
        Ok((topic, read_numbers(cursor, "partitions")?))
    })
}

/// Asks the coordinator about a group of KIP-848's protocol.
pub struct DescribeConsumerGroup<'a> {
    /// The group.
    pub group_id: &'a str,
}

impl Question for DescribeConsumerGroup<'_> {
    type Answer = Group;
    const API: ApiKey = ApiKey(69);
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        put_texts(out, encoding, &[self.group_id])?;
        put_bool(out, false);
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Group, WireError> {
        cursor.i32("throttle time")?;
        let groups = read_array(cursor, ("groups", 18), |cursor| {
            let verdict = Verdict::read(cursor)?;
            cursor.skip_string("group id")?;
            let state = cursor.string("group state")?.to_owned();
            cursor.i32("group epoch")?;
            cursor.i32("assignment epoch")?;
            let assignor = cursor.string("assignor name")?.to_owned();
            let members = read_array(cursor, ("members", 14), |cursor| read_member(cursor, version))?;
            cursor.i32("authorized operations")?;
            cursor.skip_tags()?;
            Ok(Group { verdict, state, protocol_type: CONSUMER.to_owned(), assignor, members })
        })?;
        only(groups, "groups", cursor.position())
    }
}

fn read_member(cursor: &mut Cursor<'_>, version: i16) -> Result<Member, WireError> {
    let id = cursor.string("member id")?.to_owned();
    let instance_id = cursor.nullable_string("instance id")?.map(str::to_owned);
    cursor.skip_string("rack id")?;
    cursor.i32("member epoch")?;
    let client_id = cursor.string("client id")?.to_owned();
    cursor.skip_string("client host")?;
    read_array(cursor, ("subscribed topics", 1), |cursor| cursor.skip_string("topic"))?;
    cursor.skip_string("subscribed topic regex")?;
    let assigned = read_assigned(cursor)?;
    read_assigned(cursor)?;
    if version >= 1 {
        cursor.i8("member type")?;
    }
    cursor.skip_tags()?;
    Ok(Member { id, instance_id, client_id, assigned })
}

fn read_assigned(cursor: &mut Cursor<'_>) -> Result<Vec<(String, Vec<i32>)>, WireError> {
    let assigned = read_array(cursor, ("topic partitions", 19), |cursor| {
        cursor.uuid("topic id")?;
        let topic = cursor.string("topic name")?.to_owned();
        let partitions = read_numbers(cursor, "partitions")?;
        cursor.skip_tags()?;
        Ok((topic, partitions))
    })?;
    cursor.skip_tags()?;
    Ok(assigned)
}

/// The protocol type of consumers.
pub const CONSUMER: &str = "consumer";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_assignment_is_topics_with_partitions() {
        let bytes = [&[0, 3, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 2][..], &[0, 0, 0, 0, 0, 0, 0, 7], &[0xff; 4]].concat();
        assert_eq!(read_assignment(&bytes).unwrap(), [("a".to_owned(), vec![0, 7])]);
        assert_eq!(read_assignment(&[]).unwrap(), []);
        assert!(read_assignment(&[0, 0, 0x7f, 0xff, 0xff, 0xff]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_believed(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0i16..=6) {
            let classic = || Cursor::new(&bytes, 0, Encoding::Classic);
            let compact = || Cursor::new(&bytes, 0, Encoding::Compact);
            let _ = (read_assignment(&bytes), ListGroups::read(&mut compact(), version.min(5)));
            let _ = (DescribeGroup::read(&mut classic(), version), DescribeGroup::read(&mut compact(), version));
            let _ = (DescribeConsumerGroup::read(&mut compact(), version), FindCoordinator::read(&mut compact(), version));
        }
    }
}
