//! `/v3/clusters/{cluster_id}/topics/{topic_name}/partitions`: partitions, their replicas, and replicas that move.

use axum::Json;
use axum::extract::Path;
use schemars::JsonSchema;
use serde::Serialize;

use super::ask::{Ask, Cluster};
use super::envelope::{List, Metadata, Place, Related};
use super::{refusal, topics};
use crate::rest::kafka::list_offsets::{EARLIEST, LATEST};
use crate::rest::kafka::metadata;
use crate::rest::kafka::reassignments::{self, ListReassignments};
use crate::rest::{Code, Error};

/// All partitions of a topic.
pub async fn list(ask: Ask, Path((cluster_id, topic)): Path<(String, String)>) -> Result<Json<List<Partition>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let mut found = topics::find(&cluster, &topic).await?;
    found.partitions.sort_unstable_by_key(|partition| partition.index);
    let views = found.partitions.iter().map(|partition| Partition::of(&cluster.place, &topic, partition)).collect();
    Ok(Json(List::new("KafkaPartitionList", cluster.place.address(&["topics", &topic, "partitions"]), views)))
}

/// One partition.
pub async fn show(
    ask: Ask,
    Path((cluster_id, topic, partition)): Path<(String, String, String)>,
) -> Result<Json<Partition>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let partition = find(&cluster, &topic, &partition).await?;
    Ok(Json(Partition::of(&cluster.place, &topic, &partition)))
}

/// Where a partition begins and ends.
pub async fn offsets(
    ask: Ask,
    Path((cluster_id, topic, partition)): Path<(String, String, String)>,
) -> Result<Json<Offsets>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    if let Some((_, kind)) = cluster.ask.query()?.iter().find(|(name, kind)| name == "offset_type" && kind != BOTH) {
        return Err(Code::BadRequest.with(format!("offset_type:{kind} is invalid")));
    }
    let found = find(&cluster, &topic, &partition).await?;
    if found.leader < 0 {
        return Err(Code::LeaderNotAvailable.with(format!("partition {partition} has no leader now")));
    }
    let asked = |moment| cluster.ask.kafka().offset(&topic, (found.leader, found.index), moment);
    let (earliest_offset, latest_offset) = (asked(EARLIEST).await?, asked(LATEST).await?);
    let mut partition = Partition::of(&cluster.place, &topic, &found);
    let index = found.index.to_string();
    partition.metadata = cluster.place.metadata(
        &["topics", &topic, "partitions", &index, "offset"],
        &[("topic", &topic), ("partition", &index), ("offset_type", BOTH)],
    );
    Ok(Json(Offsets { partition, earliest_offset, latest_offset }))
}

/// The replicas of a partition.
pub async fn replicas(
    ask: Ask,
    Path((cluster_id, topic, partition)): Path<(String, String, String)>,
) -> Result<Json<List<Replica>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = find(&cluster, &topic, &partition).await?;
    let views = found.replicas.iter().map(|broker| Replica::of(&cluster.place, &topic, &found, *broker)).collect();
    let address = cluster.place.address(&["topics", &topic, "partitions", &partition, "replicas"]);
    Ok(Json(List::new("KafkaReplicaList", address, views)))
}

/// One replica of a partition.
pub async fn replica(
    ask: Ask,
    Path((cluster_id, topic, partition, broker)): Path<(String, String, String, String)>,
) -> Result<Json<Replica>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = find(&cluster, &topic, &partition).await?;
    let absent = || refusal::not_found("Replica", &broker);
    let id: i32 = broker.parse().map_err(|_| absent())?;
    if !found.replicas.contains(&id) {
        return Err(absent());
    }
    Ok(Json(Replica::of(&cluster.place, &topic, &found, id)))
}

/// All partitions that are moving.
pub async fn all_reassignments(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<Reassignment>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let moving = moving(&cluster, None).await?;
    let address = cluster.place.address(&["topics", "-", "partitions", "-", "reassignment"]);
    Ok(Json(List::new("KafkaReassignmentList", address, moving)))
}

/// Partitions of a topic that are moving.
pub async fn reassignments(
    ask: Ask,
    Path((cluster_id, topic)): Path<(String, String)>,
) -> Result<Json<List<Reassignment>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = topics::find(&cluster, &topic).await?;
    let partitions: Vec<i32> = found.partitions.iter().map(|partition| partition.index).collect();
    let moving = moving(&cluster, Some((&topic, &partitions))).await?;
    let address = cluster.place.address(&["topics", &topic, "partitions", "-", "reassignment"]);
    Ok(Json(List::new("KafkaReassignmentList", address, moving)))
}

/// How one partition is moving.
pub async fn reassignment(
    ask: Ask,
    Path((cluster_id, topic, partition)): Path<(String, String, String)>,
) -> Result<Json<Reassignment>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = find(&cluster, &topic, &partition).await?;
    let moving = moving(&cluster, Some((&topic, &[found.index]))).await?;
    let still = || refusal::not_found("Reassignment of partition", &partition);
    moving.into_iter().next().map(Json).ok_or_else(still)
}

async fn moving(cluster: &Cluster, topic: Option<(&str, &[i32])>) -> Result<Vec<Reassignment>, Error> {
    let question = ListReassignments { topic, timeout_ms: cluster.ask.timeout_ms() };
    let (verdict, moving) = cluster.controller(&question).await?;
    refusal::check(&verdict, "reassignments")?;
    Ok(moving.iter().map(|one| Reassignment::of(&cluster.place, one)).collect())
}

async fn find(cluster: &Cluster, topic: &str, partition: &str) -> Result<metadata::Partition, Error> {
    let index: i32 = partition.parse().map_err(|_| refusal::unknown_topic_or_partition())?;
    let topic = topics::find(cluster, topic).await?;
    let found = topic.partitions.into_iter().find(|partition| partition.index == index);
    found.ok_or_else(refusal::unknown_topic_or_partition)
}

/// A partition as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Partition {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    topic_name: String,
    partition_id: i32,
    leader: Option<Related>,
    replicas: Related,
    reassignment: Related,
}

/// A partition with its first offset and its end.
#[derive(Serialize, JsonSchema)]
pub struct Offsets {
    #[serde(flatten)]
    partition: Partition,
    earliest_offset: i64,
    latest_offset: i64,
}

/// A replica as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Replica {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    topic_name: String,
    partition_id: i32,
    broker_id: i32,
    is_leader: bool,
    is_in_sync: bool,
    broker: Related,
}

/// A partition that moves, as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Reassignment {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    topic_name: String,
    partition_id: i32,
    adding_replicas: Vec<i32>,
    removing_replicas: Vec<i32>,
    replicas: Related,
}

impl Partition {
    fn of(place: &Place, topic: &str, partition: &metadata::Partition) -> Self {
        let index = partition.index.to_string();
        let below = |part: &str| place.related(&["topics", topic, "partitions", &index, part]);
        let leader = Some(partition.leader).filter(|id| *id >= 0);
        let leader =
            leader.map(|id| place.related(&["topics", topic, "partitions", &index, "replicas", &id.to_string()]));
        Self {
            kind: "KafkaPartition",
            metadata: place
                .metadata(&["topics", topic, "partitions", &index], &[("topic", topic), ("partition", &index)]),
            cluster_id: place.cluster_id.clone(),
            topic_name: topic.to_owned(),
            partition_id: partition.index,
            leader,
            replicas: below("replicas"),
            reassignment: below("reassignment"),
        }
    }
}

impl Replica {
    /// The replica that a broker has.
    pub fn of(place: &Place, topic: &str, partition: &metadata::Partition, broker: i32) -> Self {
        let (index, id) = (partition.index.to_string(), broker.to_string());
        Self {
            kind: "KafkaReplica",
            metadata: place.metadata(
                &["topics", topic, "partitions", &index, "replicas", &id],
                &[("topic", topic), ("partition", &index), ("replica", &id)],
            ),
            cluster_id: place.cluster_id.clone(),
            topic_name: topic.to_owned(),
            partition_id: partition.index,
            broker_id: broker,
            is_leader: broker == partition.leader,
            is_in_sync: partition.in_sync.contains(&broker),
            broker: place.related(&["brokers", &id]),
        }
    }
}

impl Reassignment {
    fn of(place: &Place, moving: &reassignments::Reassignment) -> Self {
        let (topic, index) = (moving.topic.as_str(), moving.partition.to_string());
        Self {
            kind: "KafkaReassignment",
            metadata: place.metadata(
                &["topics", topic, "partitions", &index, "reassignment"],
                &[("topic", topic), ("partition", &index), ("reassignment", "")],
            ),
            cluster_id: place.cluster_id.clone(),
            topic_name: topic.to_owned(),
            partition_id: moving.partition,
            adding_replicas: moving.adding.clone(),
            removing_replicas: moving.removing.clone(),
            replicas: place.related(&["topics", topic, "partitions", &index, "replicas"]),
        }
    }
}

/// The only kind of offsets that the API has.
const BOTH: &str = "earliest_and_latest";
