//! DescribeTopicPartitions, version 0: read for its topic ids, passed as it came (KIP-966).
//!
//! Arrives: the broker's answer. Leaves: pairs of topic name and id. The message carries broker ids
//! and no address, so there is nothing to rewrite.

use super::RewriteError;
use super::metadata::NO_ID;
use crate::frame::{Cursor, ResponseHeader, WireError};

/// Shows `learn` each topic's name and id.
pub fn walk(frame: &[u8], header: &ResponseHeader, mut learn: impl FnMut(&str, [u8; 16])) -> Result<(), RewriteError> {
    let mut cursor = header.cursor(frame);
    cursor.i32("throttle time")?;
    for _ in 0..cursor.count("topics", SMALLEST_TOPIC)? {
        let error_code = cursor.i16("topic error code")?;
        let name = cursor.nullable_string("topic name")?;
        let id = cursor.uuid("topic id")?;
        cursor.bool("is internal")?;
        for _ in 0..cursor.count("partitions", SMALLEST_PARTITION)? {
            walk_partition(&mut cursor)?;
        }
        cursor.i32("topic authorized operations")?;
        cursor.skip_tags()?;
        if let (0, Some(name), true) = (error_code, name, id != NO_ID) {
            learn(name, id);
        }
    }
    // A structure that may be null has a byte in front: negative is null.
    if cursor.i8("next cursor")? >= 0 {
        cursor.skip_string("next topic")?;
        cursor.i32("next partition")?;
        cursor.skip_tags()?;
    }
    cursor.skip_tags()?;
    cursor.finish("describe topic partitions response")?;
    Ok(())
}

fn walk_partition(cursor: &mut Cursor<'_>) -> Result<(), WireError> {
    cursor.i16("partition error code")?;
    cursor.i32("partition index")?;
    cursor.i32("leader id")?;
    cursor.i32("leader epoch")?;
    for field in ["replicas", "in-sync replicas", "eligible leader replicas", "last known replicas", "offline replicas"]
    {
        cursor.skip_array(field, size_of::<i32>())?;
    }
    cursor.skip_tags()
}

/// Error code, name length, id, flag, count, operations, tagged fields.
const SMALLEST_TOPIC: usize = 26;
/// Error code, three numbers, five counts, tagged fields.
const SMALLEST_PARTITION: usize = 20;
