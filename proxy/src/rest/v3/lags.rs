//! `/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}/lags` and `/lag-summary`: how far a group is behind.
//!
//! Arrives: a group. Leaves: for each partition with a committed offset where the group stands, where the partition ends, and the
//! difference. What must never happen here: a partition whose end is not known told as caught up.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use schemars::JsonSchema;
use serde::Serialize;

use super::ask::{Ask, Cluster};
use super::envelope::{List, Metadata, Place, Related};
use super::groups::{self, Found};
use super::refusal;
use crate::rest::kafka::group_offsets::{At, CommittedOffsets, EndOffsets};
use crate::rest::kafka::groups::Member;
use crate::rest::kafka::metadata;
use crate::rest::{Code, Error};

/// How far a group is behind, for each partition.
pub async fn list(ask: Ask, Path((cluster_id, id)): Path<(String, String)>) -> Result<Json<List<Lag>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let lags = lags(&cluster, &id).await?;
    Ok(Json(List::new("KafkaConsumerLagList", cluster.place.address(&["consumer-groups", &id, "lags"]), lags)))
}

/// How far a group is behind in one partition.
pub async fn show(
    ask: Ask,
    Path((cluster_id, id, topic, partition)): Path<(String, String, String, String)>,
) -> Result<Json<Lag>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let lags = lags(&cluster, &id).await?;
    let index: Option<i32> = partition.parse().ok();
    let found = lags.into_iter().find(|lag| lag.topic_name == topic && Some(lag.partition_id) == index);
    found.map(Json).ok_or_else(|| refusal::not_found("Consumer lag", &format!("{topic}-{partition}")))
}

/// How far a group is behind altogether, and where most.
pub async fn summary(ask: Ask, Path((cluster_id, id)): Path<(String, String)>) -> Result<Json<LagSummary>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let lags = lags(&cluster, &id).await?;
    let total = lags.iter().fold(0i64, |sum, lag| sum.saturating_add(lag.lag));
    let most = lags.into_iter().max_by_key(|lag| lag.lag);
    let most = most.ok_or_else(|| Code::NotFound.with(format!("Consumer group {id} has committed no offset.")))?;
    Ok(Json(LagSummary::of(&cluster.place, &id, most, total)))
}

async fn lags(cluster: &Cluster, id: &str) -> Result<Vec<Lag>, Error> {
    let found = groups::find(cluster, id).await?;
    let (error_code, mut committed) = cluster.node(found.coordinator, &CommittedOffsets { group_id: id }).await?;
    refusal::check_code(error_code, &format!("consumer group {id}"))?;
    committed.retain(|at| at.error_code == 0 && at.offset >= 0);
    committed.sort_unstable_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    let ends = ends(cluster, &committed).await?;
    let lag = |at: &At| {
        let end = *ends.get(&(at.topic.as_str(), at.partition))?;
        Some(Lag::of(&cluster.place, id, &found, at, end))
    };
    Ok(committed.iter().filter_map(lag).collect())
}

/// Where partitions end, asked of their leaders. What was deleted, or has no leader now, is left out.
async fn ends<'a>(cluster: &Cluster, committed: &'a [At]) -> Result<BTreeMap<(&'a str, i32), i64>, Error> {
    let mut names: Vec<&str> = committed.iter().map(|at| at.topic.as_str()).collect();
    names.dedup();
    let topics = cluster.any(&metadata::Metadata { topics: Some(&names) }).await?.topics;
    let mut by_leader: BTreeMap<i32, Vec<(&str, Vec<i32>)>> = BTreeMap::new();
    for at in committed {
        let topic = topics.iter().find(|topic| topic.name == at.topic && topic.error_code == 0);
        let partition = topic.and_then(|topic| topic.partitions.iter().find(|one| one.index == at.partition));
        let Some(leader) = partition.map(|partition| partition.leader).filter(|leader| *leader >= 0) else { continue };
        let asked = by_leader.entry(leader).or_default();
        match asked.last_mut().filter(|(topic, _)| *topic == at.topic) {
            Some((_, partitions)) => partitions.push(at.partition),
            None => asked.push((&at.topic, vec![at.partition])),
        }
    }
    let mut ends = BTreeMap::new();
    for (leader, partitions) in &by_leader {
        let answered = cluster.node(*leader, &EndOffsets { partitions }).await?;
        for at in committed {
            let end = answered.iter().find(|end| end.partition == at.partition && end.topic == at.topic);
            if let Some(end) = end.filter(|end| end.error_code == 0 && end.offset >= 0) {
                ends.insert((at.topic.as_str(), at.partition), end.offset);
            }
        }
    }
    Ok(ends)
}

/// A group's lag in one partition as the API shows it. The member is empty where nobody reads the partition now.
#[derive(Serialize, JsonSchema)]
pub struct Lag {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    consumer_group_id: String,
    topic_name: String,
    partition_id: i32,
    consumer_id: String,
    instance_id: Option<String>,
    client_id: String,
    current_offset: i64,
    log_end_offset: i64,
    lag: i64,
}

/// A group's lag altogether as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct LagSummary {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    consumer_group_id: String,
    max_lag_consumer_id: String,
    max_lag_instance_id: Option<String>,
    max_lag_client_id: String,
    max_lag_topic_name: String,
    max_lag_partition_id: i32,
    max_lag: i64,
    total_lag: i64,
    max_lag_consumer: Related,
    max_lag_partition: Related,
}

impl Lag {
    fn of(place: &Place, id: &str, found: &Found, at: &At, end: i64) -> Self {
        let index = at.partition.to_string();
        let reads = |member: &&Member| {
            member.assigned.iter().any(|(topic, partitions)| *topic == at.topic && partitions.contains(&at.partition))
        };
        let member = found.group.members.iter().find(reads);
        Self {
            kind: "KafkaConsumerLag",
            metadata: place.metadata(
                &["consumer-groups", id, "lags", &at.topic, "partitions", &index],
                &[("consumer-group", id), ("lag", &at.topic), ("partition", &index)],
            ),
            cluster_id: place.cluster_id.clone(),
            consumer_group_id: id.to_owned(),
            topic_name: at.topic.clone(),
            partition_id: at.partition,
            consumer_id: member.map(|member| member.id.clone()).unwrap_or_default(),
            instance_id: member.and_then(|member| member.instance_id.clone()),
            client_id: member.map(|member| member.client_id.clone()).unwrap_or_default(),
            current_offset: at.offset,
            log_end_offset: end,
            // A group may have committed beyond an end that it was asked about before.
            lag: end.saturating_sub(at.offset).max(0),
        }
    }
}

impl LagSummary {
    fn of(place: &Place, id: &str, most: Lag, total_lag: i64) -> Self {
        let index = most.partition_id.to_string();
        Self {
            kind: "KafkaConsumerGroupLagSummary",
            metadata: place
                .metadata(&["consumer-groups", id, "lag-summary"], &[("consumer-group", id), ("lag-summary", "")]),
            cluster_id: place.cluster_id.clone(),
            consumer_group_id: id.to_owned(),
            max_lag_consumer: place.related(&["consumer-groups", id, "consumers", &most.consumer_id]),
            max_lag_partition: place.related(&["topics", &most.topic_name, "partitions", &index]),
            max_lag_consumer_id: most.consumer_id,
            max_lag_instance_id: most.instance_id,
            max_lag_client_id: most.client_id,
            max_lag_topic_name: most.topic_name,
            max_lag_partition_id: most.partition_id,
            max_lag: most.lag,
            total_lag,
        }
    }
}
