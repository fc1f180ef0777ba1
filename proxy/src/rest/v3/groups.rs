//! `/v3/clusters/{cluster_id}/consumer-groups`: groups, their members, what each reads.

use axum::Json;
use axum::extract::Path;
use schemars::JsonSchema;
use serde::Serialize;

use super::ask::{Ask, Cluster};
use super::envelope::{List, Metadata, Place, Related};
use super::refusal;
use crate::rest::kafka::groups::{
    CONSUMER, Coordinated, DescribeConsumerGroup, DescribeGroup, FindCoordinator, Group, ListGroups, Listed, Member,
};
use crate::rest::{Code, Error};

/// All groups of consumers.
pub async fn list(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<ConsumerGroup>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let mut views = Vec::new();
    for broker in cluster.ask.describe().await?.brokers {
        let (error_code, listed) = cluster.node(broker.id, &ListGroups).await?;
        refusal::check_code(error_code, "consumer groups")?;
        for group in listed.iter().filter(|group| is_of_consumers(group)) {
            let found = describe(&cluster, &group.group_id, broker.id, &group.kind).await;
            // One that has ended meanwhile is no error.
            if let Ok(found) = found {
                views.push(ConsumerGroup::of(&cluster.place, &group.group_id, &found));
            }
        }
    }
    views.sort_unstable_by(|one, other| one.consumer_group_id.cmp(&other.consumer_group_id));
    Ok(Json(List::new("KafkaConsumerGroupList", cluster.place.address(&["consumer-groups"]), views)))
}

/// One group.
pub async fn show(ask: Ask, Path((cluster_id, id)): Path<(String, String)>) -> Result<Json<ConsumerGroup>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = find(&cluster, &id).await?;
    Ok(Json(ConsumerGroup::of(&cluster.place, &id, &found)))
}

/// The members of a group.
pub async fn consumers(
    ask: Ask,
    Path((cluster_id, id)): Path<(String, String)>,
) -> Result<Json<List<Consumer>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = find(&cluster, &id).await?;
    let views = found.group.members.iter().map(|member| Consumer::of(&cluster.place, &id, member)).collect();
    Ok(Json(List::new("KafkaConsumerList", cluster.place.address(&["consumer-groups", &id, "consumers"]), views)))
}

/// One member of a group.
pub async fn consumer(
    ask: Ask,
    Path((cluster_id, id, consumer)): Path<(String, String, String)>,
) -> Result<Json<Consumer>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = find(&cluster, &id).await?;
    Ok(Json(Consumer::of(&cluster.place, &id, member(&found, &consumer)?)))
}

/// What a member reads.
pub async fn assignments(
    ask: Ask,
    Path((cluster_id, id, consumer)): Path<(String, String, String)>,
) -> Result<Json<List<Assignment>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = find(&cluster, &id).await?;
    let member = member(&found, &consumer)?;
    let mut views = Vec::new();
    for (topic, partitions) in &member.assigned {
        views.extend(partitions.iter().map(|partition| Assignment::of(&cluster.place, &id, member, topic, *partition)));
    }
    let address = cluster.place.address(&["consumer-groups", &id, "consumers", &consumer, "assignments"]);
    Ok(Json(List::new("KafkaConsumerAssignmentList", address, views)))
}

/// One partition that a member reads.
pub async fn assignment(
    ask: Ask,
    Path((cluster_id, id, consumer, topic, partition)): Path<(String, String, String, String, String)>,
) -> Result<Json<Assignment>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let found = find(&cluster, &id).await?;
    let member = member(&found, &consumer)?;
    let absent = || refusal::not_found("Assignment", &format!("{topic}-{partition}"));
    let index: i32 = partition.parse().map_err(|_| absent())?;
    let reads = |(name, partitions): &(String, Vec<i32>)| *name == topic && partitions.contains(&index);
    if !member.assigned.iter().any(reads) {
        return Err(absent());
    }
    Ok(Json(Assignment::of(&cluster.place, &id, member, &topic, index)))
}

/// A group, who coordinates it, and which protocol it speaks.
pub struct Found {
    /// The group.
    pub group: Group,
    /// The node id of its coordinator.
    pub coordinator: i32,
    kind: &'static str,
}

/// A group by its id.
///
/// # Errors
/// `GroupNotFound`, or that Kafka does not tell.
pub async fn find(cluster: &Cluster, id: &str) -> Result<Found, Error> {
    let (verdict, coordinator) = cluster.any(&FindCoordinator { key: id, kind: Coordinated::Group }).await?;
    refusal::check(&verdict, &format!("consumer group {id}"))?;
    describe(cluster, id, coordinator, "").await
}

/// Asks by the protocol that the group is known to speak, or by both.
async fn describe(cluster: &Cluster, id: &str, coordinator: i32, kind: &str) -> Result<Found, Error> {
    let absent = || Code::GroupNotFound.with(format!("Consumer group {id} could not be found."));
    if !kind.eq_ignore_ascii_case(CLASSIC) {
        // Brokers before KIP-848 do not know the question, and others not by this name a classic group.
        let asked = cluster.ask.kafka().ask_node(coordinator, &DescribeConsumerGroup { group_id: id }).await;
        if let Ok(group) = asked
            && group.verdict.error_code == 0
        {
            return Ok(Found { group, coordinator, kind: "CONSUMER" });
        }
    }
    let group = cluster.node(coordinator, &DescribeGroup { group_id: id }).await?;
    if group.verdict.error_code == GROUP_ID_NOT_FOUND || group.state.eq_ignore_ascii_case("dead") {
        return Err(absent());
    }
    refusal::check(&group.verdict, &format!("consumer group {id}"))?;
    Ok(Found { group, coordinator, kind: "CLASSIC" })
}

fn member<'f>(found: &'f Found, id: &str) -> Result<&'f Member, Error> {
    let member = found.group.members.iter().find(|member| member.id == id);
    member.ok_or_else(|| refusal::not_found("Consumer", id))
}

/// Whether a group is one of consumers, or keeps offsets only.
fn is_of_consumers(group: &Listed) -> bool {
    let kind = group.kind.as_str();
    (group.protocol_type == CONSUMER || group.protocol_type.is_empty())
        && ["", CLASSIC, CONSUMER].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// `PreparingRebalance` is `PREPARING_REBALANCE`.
fn upper_snake(word: &str) -> String {
    let mut out = String::with_capacity(word.len() + 4);
    for letter in word.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

/// A group as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct ConsumerGroup {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    consumer_group_id: String,
    is_simple: bool,
    partition_assignor: String,
    state: String,
    r#type: &'static str,
    coordinator: Related,
    consumers: Related,
    lag_summary: Related,
}

/// A member of a group as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Consumer {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    consumer_group_id: String,
    consumer_id: String,
    instance_id: Option<String>,
    client_id: String,
    assignments: Related,
}

/// A partition that a member reads, as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Assignment {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    consumer_group_id: String,
    consumer_id: String,
    topic_name: String,
    partition_id: i32,
    partition: Related,
    lag: Related,
}

impl ConsumerGroup {
    fn of(place: &Place, id: &str, found: &Found) -> Self {
        let group = &found.group;
        Self {
            kind: "KafkaConsumerGroup",
            metadata: place.metadata(&["consumer-groups", id], &[("consumer-group", id)]),
            cluster_id: place.cluster_id.clone(),
            consumer_group_id: id.to_owned(),
            is_simple: group.protocol_type.is_empty(),
            partition_assignor: group.assignor.clone(),
            state: upper_snake(&group.state),
            r#type: found.kind,
            coordinator: place.related(&["brokers", &found.coordinator.to_string()]),
            consumers: place.related(&["consumer-groups", id, "consumers"]),
            lag_summary: place.related(&["consumer-groups", id, "lag-summary"]),
        }
    }
}

impl Consumer {
    fn of(place: &Place, id: &str, member: &Member) -> Self {
        Self {
            kind: "KafkaConsumer",
            metadata: place.metadata(
                &["consumer-groups", id, "consumers", &member.id],
                &[("consumer-group", id), ("consumer", &member.id)],
            ),
            cluster_id: place.cluster_id.clone(),
            consumer_group_id: id.to_owned(),
            consumer_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            assignments: place.related(&["consumer-groups", id, "consumers", &member.id, "assignments"]),
        }
    }
}

impl Assignment {
    fn of(place: &Place, id: &str, member: &Member, topic: &str, partition: i32) -> Self {
        let index = partition.to_string();
        Self {
            kind: "KafkaConsumerAssignment",
            metadata: place.metadata(
                &["consumer-groups", id, "consumers", &member.id, "assignments", topic, "partitions", &index],
                &[("consumer-group", id), ("consumer", &member.id), ("assignment", topic), ("partition", &index)],
            ),
            cluster_id: place.cluster_id.clone(),
            consumer_group_id: id.to_owned(),
            consumer_id: member.id.clone(),
            topic_name: topic.to_owned(),
            partition_id: partition,
            partition: place.related(&["topics", topic, "partitions", &index]),
            lag: place.related(&["consumer-groups", id, "lags", topic, "partitions", &index]),
        }
    }
}

/// Kafka's word for the protocol before KIP-848.
const CLASSIC: &str = "classic";

const GROUP_ID_NOT_FOUND: i16 = 69;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_in_capitals() {
        assert_eq!(upper_snake("PreparingRebalance"), "PREPARING_REBALANCE");
        assert_eq!(upper_snake("Stable"), "STABLE");
        assert_eq!(upper_snake(""), "");
    }
}
