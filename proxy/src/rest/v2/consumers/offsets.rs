//! `/offsets`: what the group remembers.
//!
//! An offset in a commit is that of a record that was processed: the group reads on behind it, as all of this API count.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;
use serde_json::Value;

use super::{find, list, object, told, topic_partition};
use crate::rest::bridge::Bridge;
use crate::rest::v2::answer;
use crate::rest::{Caller, Code, Error};

/// Commits the given offsets, or all that was delivered.
pub async fn commit(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let body = object(&bridge, &headers, body).await?;
    let state = instance.state().await;
    let mut offsets = TopicPartitionList::new();
    let unfit = |_| Code::Unprocessable.with("an offset cannot be committed");
    if body.contains_key("offsets") {
        for entry in list(&body, "offsets")? {
            let (topic, partition) = topic_partition(entry)?;
            let offset = entry.get("offset").and_then(Value::as_i64).and_then(|offset| offset.checked_add(1));
            let wrong = || Code::Unprocessable.with("an entry needs `offset`, a number from 0");
            let offset = offset.filter(|offset| *offset > 0).ok_or_else(wrong)?;
            let mut added = offsets.add_partition(&topic, partition);
            added.set_offset(Offset::Offset(offset)).map_err(unfit)?;
            if let Some(metadata) = entry.get("metadata").and_then(Value::as_str) {
                added.set_metadata(metadata);
            }
        }
    } else {
        let assigned = instance.assigned()?;
        for ((topic, partition), offset) in state.positions.iter().filter(|(one, _)| assigned.contains(one)) {
            offsets.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(unfit)?;
        }
    }
    if offsets.count() > 0 {
        instance.blocking(move |kafka| kafka.commit(&offsets, CommitMode::Sync)).await?;
    }
    Ok(StatusCode::OK.into_response())
}

/// What is committed for the given partitions; those without a commit are left out.
pub async fn committed(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let body = object(&bridge, &headers, body).await?;
    let mut partitions = TopicPartitionList::new();
    for entry in list(&body, "partitions")? {
        let (topic, partition) = topic_partition(entry)?;
        partitions.add_partition(&topic, partition);
    }
    let limit: Duration = bridge.settings.limits.request_timeout;
    let committed = instance.blocking(move |kafka| kafka.committed_offsets(partitions, limit)).await?;
    let mut offsets = Vec::new();
    for one in committed.elements() {
        one.error().map_err(|error| told(&error))?;
        if let Offset::Offset(offset) = one.offset() {
            let (topic, metadata) = (one.topic().to_owned(), one.metadata().to_owned());
            offsets.push(Committed { topic, partition: one.partition(), offset, metadata });
        }
    }
    answer(&headers, &Offsets { offsets })
}

#[derive(Serialize)]
struct Offsets {
    offsets: Vec<Committed>,
}

#[derive(Serialize)]
struct Committed {
    topic: String,
    partition: i32,
    offset: i64,
    metadata: String,
}
