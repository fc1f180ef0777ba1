//! `/positions`: where an instance reads on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use super::{find, list, object, topic_partition};
use crate::rest::bridge::Bridge;
use crate::rest::{Caller, Code, Error};

type Context = (State<Arc<Bridge>>, Caller, Path<(String, String)>, HeaderMap);

/// To given offsets.
pub async fn seek(
    state: State<Arc<Bridge>>,
    caller: Caller,
    path: Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let offset = |entry: &Value| {
        let offset = entry.get("offset").and_then(Value::as_i64).filter(|offset| *offset >= 0);
        offset.map(Offset::Offset).ok_or_else(|| Code::Unprocessable.with("an entry needs `offset`, a number from 0"))
    };
    to((state, caller, path, headers), body, "offsets", offset).await
}

/// To the first records that are still there.
pub async fn beginning(
    state: State<Arc<Bridge>>,
    caller: Caller,
    path: Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    to((state, caller, path, headers), body, "partitions", |_| Ok(Offset::Beginning)).await
}

/// To what comes next.
pub async fn end(
    state: State<Arc<Bridge>>,
    caller: Caller,
    path: Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    to((state, caller, path, headers), body, "partitions", |_| Ok(Offset::End)).await
}

async fn to(
    (State(bridge), caller, Path(path), headers): Context,
    body: Body,
    name: &str,
    offset: impl Fn(&Value) -> Result<Offset, Error>,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let body = object(&bridge, &headers, body).await?;
    let mut wanted = Vec::new();
    for entry in list(&body, name)? {
        wanted.push((topic_partition(entry)?, offset(entry)?));
    }
    let mut state = instance.state().await;
    let assigned = instance.assigned()?;
    if let Some(((topic, partition), _)) = wanted.iter().find(|(one, _)| !assigned.contains(one)) {
        let text = format!("partition {partition} of topic {topic} is not assigned to this consumer");
        return Err(Code::IllegalState.with(text));
    }
    let sought = wanted.clone();
    let until = Instant::now() + bridge.settings.limits.request_timeout.min(MOST_WAIT);
    instance
        .blocking(move |kafka| {
            let mut list = TopicPartitionList::new();
            for ((topic, partition), offset) in &sought {
                list.add_partition_offset(topic, *partition, *offset)?;
            }
            loop {
                match seek_all(kafka, list.clone()) {
                    // The library takes a position only once the partition's reading has begun.
                    Err(error) if is_early(&error) && Instant::now() < until => std::thread::sleep(PAUSE),
                    other => return other,
                }
            }
        })
        .await?;
    for (one, offset) in wanted {
        // What was read before is not part of where it reads on.
        let is_old =
            |pending: &&rdkafka::message::OwnedMessage| pending.topic() == one.0 && pending.partition() == one.1;
        if state.pending.as_ref().filter(is_old).is_some() {
            state.pending = None;
        }
        match offset {
            Offset::Offset(offset) => state.positions.insert(one, offset),
            _ => state.positions.remove(&one),
        };
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn seek_all(kafka: &super::instance::Kafka, list: TopicPartitionList) -> Result<(), KafkaError> {
    let done = kafka.seek_partitions(list, ANSWER)?;
    done.elements().iter().try_for_each(|one| one.error())
}

fn is_early(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::State)
}

/// One attempt.
const ANSWER: Duration = Duration::from_secs(5);
/// All of them.
const MOST_WAIT: Duration = Duration::from_secs(10);
/// Reading begins within milliseconds.
const PAUSE: Duration = Duration::from_millis(20);
