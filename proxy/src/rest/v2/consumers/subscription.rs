//! `/subscription` and `/assignments`: which partitions an instance reads, given by its group or by its caller.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use serde::Serialize;
use serde_json::Value;

use super::instance::Source;
use super::{find, list, object, told, topic_partition};
use crate::rest::bridge::Bridge;
use crate::rest::v2::answer;
use crate::rest::{Caller, Code, Error, refusal};

/// Subscribes to topics, or to all whose names match a pattern.
pub async fn subscribe(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let body = object(&bridge, &headers, body).await?;
    let given = |name: &str| body.get(name).filter(|value| !value.is_null());
    let wanted = match (given("topics"), given("topic_pattern")) {
        (Some(_), Some(_)) => return Err(exclusive()),
        (Some(Value::Array(topics)), None) => {
            let name = |topic: &Value| topic.as_str().filter(|name| !name.starts_with('^')).map(str::to_owned);
            let wrong = || Code::Unprocessable.with("`topics` must be a list of names");
            Source::Topics(topics.iter().map(name).collect::<Option<_>>().ok_or_else(wrong)?)
        }
        (None, Some(Value::String(_))) => Source::Pattern,
        (None, None) => return Err(Code::Unprocessable.with("the body needs `topics` or `topic_pattern`")),
        _ => return Err(Code::Unprocessable.with("`topics` must be a list of names, `topic_pattern` a text")),
    };
    let mut state = instance.state().await;
    match (&state.source, &wanted) {
        (Source::Nothing, _) | (Source::Topics(_), Source::Topics(_)) | (Source::Pattern, Source::Pattern) => {}
        _ => return Err(exclusive()),
    }
    instance.store(&state);
    let kafka = instance.kafka()?;
    match (&wanted, given("topic_pattern")) {
        (Source::Topics(topics), _) if topics.is_empty() => {
            kafka.unsubscribe();
            state.source = Source::Nothing;
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        (Source::Topics(topics), _) => {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            kafka.subscribe(&topics).map_err(|error| told(&error))?;
        }
        (_, Some(Value::String(pattern))) => {
            let anchored = if pattern.starts_with('^') { pattern.clone() } else { format!("^{pattern}") };
            let refused = |_| Code::Unprocessable.with("`topic_pattern` is not a regular expression");
            kafka.subscribe(&[&anchored]).map_err(refused)?;
        }
        _ => return Err(Code::Internal.with("a subscription to nothing")),
    }
    state.source = wanted;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The topics of the subscription; of a pattern those that the instance has partitions of.
pub async fn show(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let state = instance.state().await;
    let topics = match &state.source {
        Source::Nothing | Source::Assigned => Vec::new(),
        Source::Topics(topics) => topics.clone(),
        Source::Pattern => {
            let assigned: BTreeSet<String> = instance.assigned()?.into_iter().map(|(topic, _)| topic).collect();
            assigned.into_iter().collect()
        }
    };
    answer(&headers, &Topics { topics })
}

/// Ends subscription and assignment.
pub async fn unsubscribe(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let mut state = instance.state().await;
    instance.store(&state);
    let kafka = instance.kafka()?;
    kafka.unsubscribe();
    kafka.unassign().map_err(|error| told(&error))?;
    state.source = Source::Nothing;
    state.pending = None;
    state.positions.clear();
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Assigns partitions, all anew.
pub async fn assign(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let body = object(&bridge, &headers, body).await?;
    let wanted = list(&body, "partitions")?.iter().map(topic_partition).collect::<Result<Vec<_>, _>>()?;
    let entry = bridge.pool.entry(&caller.principal)?;
    let mut partitions = TopicPartitionList::new();
    for (topic, partition) in &wanted {
        if *partition >= entry.partitions(topic).await? {
            return Err(refusal::partition_not_found(*partition));
        }
        partitions.add_partition(topic, *partition);
    }
    let mut state = instance.state().await;
    if !matches!(state.source, Source::Nothing | Source::Assigned) {
        return Err(exclusive());
    }
    instance.store(&state);
    instance.kafka()?.assign(&partitions).map_err(|error| told(&error))?;
    state.source = if wanted.is_empty() { Source::Nothing } else { Source::Assigned };
    state.pending = None;
    state.positions.clear();
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What is assigned.
pub async fn assignment(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let partitions = instance.assigned()?;
    let partitions = partitions.into_iter().map(|(topic, partition)| TopicPartition { topic, partition }).collect();
    answer(&headers, &Partitions { partitions })
}

fn exclusive() -> Error {
    Code::IllegalState.with(
        "Subscription to topics, partitions and pattern are mutually exclusive: delete the subscription, or make another consumer",
    )
}

#[derive(Serialize)]
struct Topics {
    topics: Vec<String>,
}

#[derive(Serialize)]
struct Partitions {
    partitions: Vec<TopicPartition>,
}

#[derive(Serialize)]
struct TopicPartition {
    topic: String,
    partition: i32,
}
