//! Consumer instances of the v2 API: made, subscribed or assigned, read, committed, deleted; or closed when nobody comes back.
//!
//! Arrives: calls that name a group and an instance. Leaves: records, opened for the instance's principal, and positions. What must
//! never happen here: an instance that answers another principal than the one who made it; a record left out without a word.

pub mod create;
mod instance;
pub mod offsets;
pub mod positions;
pub mod records;
mod registry;
pub mod subscription;

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde_json::{Map, Value};

pub use instance::Instance;
pub use registry::Consumers;

use crate::rest::bridge::Bridge;
use crate::rest::replicas::MARK;
use crate::rest::{Caller, Code, Error, refusal};

/// The instance that a path names.
fn find(bridge: &Bridge, caller: &Caller, (group, instance): &(String, String)) -> Result<Arc<Instance>, Error> {
    bridge.consumers.find(&caller.principal, group, named(bridge, instance))
}

/// An instance's name, out of its id: where there are replicas, its owner stands before it.
fn named<'i>(bridge: &Bridge, id: &'i str) -> &'i str {
    let name = bridge.replicas.as_ref().and_then(|_| id.split_once(MARK));
    name.map_or(id, |(_, name)| name)
}

/// A small JSON object out of a body; nothing at all counts as an empty one.
async fn object(bridge: &Bridge, headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, Error> {
    let (body, _hold): (Bytes, _) = bridge.room.read(headers, body).await?;
    if body.len() > MOST_CONTROL_BYTES {
        return Err(Code::TooLarge.with("a call about a consumer has no such large body"));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Code::Unprocessable.with("the body is not a JSON object")),
        Err(_) => Err(Code::BadRequest.with("the body is not JSON")),
    }
}

/// The topic and partition of an entry of a list.
fn topic_partition(entry: &Value) -> Result<(String, i32), Error> {
    let wrong = || Code::Unprocessable.with("an entry needs `topic`, a string, and `partition`, a number from 0");
    let topic = entry.get("topic").and_then(Value::as_str).ok_or_else(wrong)?;
    let partition = entry.get("partition").and_then(Value::as_i64).and_then(|one| i32::try_from(one).ok());
    Ok((topic.to_owned(), partition.filter(|one| *one >= 0).ok_or_else(wrong)?))
}

/// A list of a body.
fn list<'b>(body: &'b Map<String, Value>, name: &str) -> Result<&'b [Value], Error> {
    let list = body.get(name).and_then(Value::as_array).map(Vec::as_slice);
    let list = list.ok_or_else(|| Code::Unprocessable.with(format!("the body needs `{name}`, a list")))?;
    if list.len() > MOST_ENTRIES {
        return Err(Code::TooLarge.with(format!("`{name}` has more than {MOST_ENTRIES} entries")));
    }
    Ok(list)
}

/// Why a call of the client library did not work.
fn told(error: &KafkaError) -> Error {
    let Some(code) = error.rdkafka_error_code() else { return Code::Kafka.with("the consumer cannot do this now") };
    match code {
        RDKafkaErrorCode::State | RDKafkaErrorCode::UnknownPartition => {
            Code::IllegalState.with("the partition is not assigned to this consumer")
        }
        RDKafkaErrorCode::UnknownMemberId
        | RDKafkaErrorCode::IllegalGeneration
        | RDKafkaErrorCode::RebalanceInProgress
        | RDKafkaErrorCode::AssignmentLost
        | RDKafkaErrorCode::FencedInstanceId => {
            Code::IllegalState.with("the group has given the partitions to another member; read again")
        }
        RDKafkaErrorCode::WaitingForCoordinator
        | RDKafkaErrorCode::NotCoordinator
        | RDKafkaErrorCode::CoordinatorNotAvailable => {
            Code::CoordinatorUnavailable.with("no coordinator now; try again")
        }
        RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed => {
            Code::Forbidden.with("not authorized to read this topic in this group")
        }
        RDKafkaErrorCode::InvalidRecord => {
            Code::Kafka.with("a record cannot be opened: it was changed, moved or written past the gateway")
        }
        RDKafkaErrorCode::AutoOffsetReset => Code::Kafka.with("no committed offset, and auto.offset.reset is none"),
        other => {
            let (code, _) = refusal::of_record(other);
            code.with(format!("Kafka: {other}"))
        }
    }
}

/// Names and settings are short; a thousand partitions fit.
const MOST_CONTROL_BYTES: usize = 256 * 1024;
/// More than one consumer reads.
const MOST_ENTRIES: usize = 10_000;
