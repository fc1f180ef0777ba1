//! Records to Kafka, as their caller: the way that every kind of post takes.
//!
//! Arrives: records of one request. Leaves: their delivery, whole, or as far as it came in time. What must never happen here: a record
//! sent to a partition or a topic that is not there, where the client library would keep it until it gives up.

use tokio::sync::OwnedSemaphorePermit;

use super::bridge::Bridge;
use super::idempotency::Turn;
use super::pool::Delivery;
use super::record::Record;
use super::{Caller, Code, Error, refusal};

/// Sends records and waits for their outcomes, `limits.request_timeout` at most. `partition` counts for all of them. `hold` is what
/// the body took of the room, kept until the last outcome is there.
/// Those of a request with an `Idempotency-Key` go in its turn, all or none.
///
/// # Errors
/// That nothing was sent: no such topic or partition, nobody who answers, too much under way.
pub async fn all(
    bridge: &Bridge,
    (caller, turn): (&Caller, Option<&Turn>),
    (topic, partition): (&str, Option<i32>),
    records: &[Record],
    hold: OwnedSemaphorePermit,
) -> Result<Delivery, Error> {
    if !is_topic_name(topic) {
        return Err(refusal::topic_not_found(topic));
    }
    let entry = bridge.pool.entry(&caller.principal)?;
    let count = entry.partitions(topic).await?;
    let chosen = partition.into_iter().chain(records.iter().filter_map(|record| record.partition));
    if let Some(absent) = chosen.into_iter().find(|partition| !(0..count).contains(partition)) {
        return Err(refusal::partition_not_found(absent));
    }
    if let Some(turn) = turn {
        return turn.send(topic, partition, records, Some(hold)).await;
    }
    let sent = entry.producer().send((topic, count), partition, records, Some(hold));
    let full =
        || Code::TooManyRequests.with("too many records wait for their acknowledgement (limits.max_queued_records)");
    let delivery = sent.ok_or_else(full)?;
    // Late ones have no outcome, and are told so.
    tokio::time::timeout(bridge.settings.limits.request_timeout, delivery.whole()).await.ok();
    Ok(delivery)
}

/// What Kafka accepts as a name (`Topic.validate`).
pub fn is_topic_name(topic: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !topic.is_empty() && topic.len() <= 249 && topic != "." && topic != ".." && topic.bytes().all(plain)
}
