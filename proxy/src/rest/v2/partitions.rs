//! `GET /topics/{topic}/partitions`, `/{partition}`, `/{partition}/offsets`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer;
use crate::rest::bridge::Bridge;
use crate::rest::kafka::list_offsets::{EARLIEST, LATEST};
use crate::rest::kafka::metadata::{Partition, Topic};
use crate::rest::{Caller, Code, Error, refusal};

/// All partitions of a topic.
pub async fn list(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(topic): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let entry = bridge.pool.entry(&caller.principal)?;
    answer(&headers, &views(&entry.kafka.topic(&topic).await?))
}

/// One partition.
pub async fn describe(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path((topic, partition)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let entry = bridge.pool.entry(&caller.principal)?;
    let found = entry.kafka.topic(&topic).await?;
    answer(&headers, &PartitionView::of(find(&found, &partition)?))
}

/// Where a partition begins and ends.
pub async fn offsets(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path((topic, partition)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let entry = bridge.pool.entry(&caller.principal)?;
    let found = entry.kafka.topic(&topic).await?;
    let partition = find(&found, &partition)?;
    if partition.leader < 0 {
        return Err(Code::LeaderNotAvailable.with(format!("partition {} has no leader now", partition.index)));
    }
    let place = (partition.leader, partition.index);
    let offset = |timestamp| entry.kafka.offset(&topic, place, timestamp);
    let (beginning_offset, end_offset) = (offset(EARLIEST).await?, offset(LATEST).await?);
    answer(&headers, &Offsets { beginning_offset, end_offset })
}

fn find<'t>(topic: &'t Topic, partition: &str) -> Result<&'t Partition, Error> {
    let index: i32 = partition.parse().map_err(|_| Code::NotFound.with("HTTP 404 Not Found"))?;
    let found = topic.partitions.iter().find(|partition| partition.index == index);
    found.ok_or_else(|| refusal::partition_not_found(index))
}

/// The partitions of a topic in their order.
pub fn views(topic: &Topic) -> Vec<PartitionView> {
    let mut views: Vec<PartitionView> = topic.partitions.iter().map(PartitionView::of).collect();
    views.sort_unstable_by_key(|view| view.partition);
    views
}

/// A partition as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct PartitionView {
    partition: i32,
    leader: i32,
    replicas: Vec<ReplicaView>,
}

#[derive(Serialize, JsonSchema)]
struct ReplicaView {
    broker: i32,
    leader: bool,
    in_sync: bool,
}

impl PartitionView {
    fn of(partition: &Partition) -> Self {
        let replica = |broker: &i32| ReplicaView {
            broker: *broker,
            leader: *broker == partition.leader,
            in_sync: partition.in_sync.contains(broker),
        };
        let replicas = partition.replicas.iter().map(replica).collect();
        Self { partition: partition.index, leader: partition.leader, replicas }
    }
}

/// Where a partition begins and ends.
#[derive(Serialize, JsonSchema)]
pub struct Offsets {
    beginning_offset: i64,
    end_offset: i64,
}
