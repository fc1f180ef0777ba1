//! `/v3/clusters/{cluster_id}/topics`: list, show, make, grow, delete.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ask::{Ask, Cluster};
use super::envelope::{List, Metadata, Place, Related};
use super::refusal;
use crate::rest::kafka::create_partitions::CreatePartitions;
use crate::rest::kafka::create_topics::{CreateTopic, Created};
use crate::rest::kafka::delete_topics::DeleteTopic;
use crate::rest::kafka::metadata;
use crate::rest::{Code, Error};

/// All topics that the caller may see.
pub async fn list(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<Topic>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let question = metadata::Metadata { topics: None };
    let mut topics = match wants_operations(&cluster)? {
        true => cluster.any(&metadata::WithOperations(question)).await?.topics,
        false => cluster.any(&question).await?.topics,
    };
    topics.retain(|topic| topic.error_code == 0);
    topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let views = topics.iter().map(|topic| Topic::of(&cluster.place, topic)).collect();
    Ok(Json(List::new("KafkaTopicList", cluster.place.address(&["topics"]), views)))
}

/// One topic.
pub async fn show(ask: Ask, Path((cluster_id, name)): Path<(String, String)>) -> Result<Json<Topic>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let names = [name.as_str()];
    let question = metadata::Metadata { topics: Some(&names) };
    let topics = match wants_operations(&cluster)? {
        true => cluster.any(&metadata::WithOperations(question)).await?.topics,
        false => cluster.any(&question).await?.topics,
    };
    Ok(Json(Topic::of(&cluster.place, &only(topics, &name)?)))
}

/// Whether the caller asks what may be done with topics.
fn wants_operations(cluster: &Cluster) -> Result<bool, Error> {
    let query = cluster.ask.query()?;
    let word = query.iter().find(|(name, _)| name == "include_authorized_operations");
    match word.map(|(_, value)| value.as_str()) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Code::BadRequest.with("include_authorized_operations is true or false")),
    }
}

/// Makes a topic, or only looks whether it could be made.
pub async fn create(ask: Ask, Path(cluster_id): Path<String>, body: Body) -> Result<Response, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let wanted: NewTopic = cluster.ask.body(body).await?;
    let configs: Vec<_> = wanted.configs.into_iter().map(|config| (config.name, config.value)).collect();
    let assignments: Vec<_> = wanted.replicas_assignments.into_iter().collect();
    let counts = wanted.partitions_count.is_some() || wanted.replication_factor.is_some();
    if counts && !assignments.is_empty() {
        let text = "partitions_count and replication_factor follow from replicas_assignments: leave them out";
        return Err(Code::KafkaBadRequest.with(text));
    }
    let question = CreateTopic {
        name: &wanted.topic_name,
        partitions: wanted.partitions_count.unwrap_or(DEFAULT),
        replication_factor: wanted.replication_factor.unwrap_or(-1),
        assignments: &assignments,
        configs: &configs,
        validate_only: wanted.validate_only,
        timeout_ms: cluster.ask.timeout_ms(),
    };
    let created = cluster.controller(&question).await.map_err(|error| cluster.refused(&wanted.topic_name, error))?;
    refusal::check(&created.verdict, &format!("topic {}", wanted.topic_name))?;
    let view = Topic::made(&cluster.place, &question, &created);
    let location = view.metadata.address.clone();
    let status = if wanted.validate_only { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Gives a topic more partitions.
pub async fn grow(
    ask: Ask,
    Path((cluster_id, name)): Path<(String, String)>,
    body: Body,
) -> Result<Json<Topic>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let GrownTopic { partitions_count } = cluster.ask.body(body).await?;
    let mut topic = find(&cluster, &name).await?;
    let timeout_ms = cluster.ask.timeout_ms();
    let question = CreatePartitions { topic: &name, count: partitions_count, timeout_ms };
    let grown = cluster.controller(&question).await.map_err(|error| cluster.refused(&name, error))?;
    refusal::check(&grown, &format!("topic {name}"))?;
    let replication_factor = replication_factor(&topic);
    topic.partitions.clear();
    Ok(Json(Topic { partitions_count, replication_factor, ..Topic::of(&cluster.place, &topic) }))
}

/// Deletes a topic.
pub async fn delete(ask: Ask, Path((cluster_id, name)): Path<(String, String)>) -> Result<StatusCode, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let timeout_ms = cluster.ask.timeout_ms();
    let deleted = cluster.controller(&DeleteTopic { name: &name, timeout_ms }).await;
    let verdict = deleted.map_err(|error| cluster.refused(&name, error))?;
    refusal::check(&verdict, &format!("topic {name}"))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A topic as the brokers describe it.
///
/// # Errors
/// That there is none, or that Kafka does not tell.
pub async fn find(cluster: &Cluster, name: &str) -> Result<metadata::Topic, Error> {
    let topics = cluster.any(&metadata::Metadata { topics: Some(&[name]) }).await?.topics;
    only(topics, name)
}

fn only(topics: Vec<metadata::Topic>, name: &str) -> Result<metadata::Topic, Error> {
    let topic = topics.into_iter().find(|topic| topic.name == name).ok_or_else(refusal::unknown_topic_or_partition)?;
    match topic.error_code {
        // No topic has such a name.
        INVALID_TOPIC => Err(refusal::unknown_topic_or_partition()),
        other => refusal::check_code(other, &format!("topic {name}")).map(|()| topic),
    }
}

fn replication_factor(topic: &metadata::Topic) -> i32 {
    let first = topic.partitions.iter().min_by_key(|partition| partition.index);
    first.map_or(0, |partition| count(partition.replicas.len()))
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// A topic to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTopic {
    /// Its name.
    #[schemars(length(min = 1, max = 249))]
    topic_name: String,
    /// Number of partitions; the brokers' default without it.
    #[schemars(range(min = 1))]
    partitions_count: Option<i32>,
    /// Number of replicas; the brokers' default without it.
    #[schemars(range(min = 1))]
    replication_factor: Option<i16>,
    /// For each partition the brokers that have it, in place of both numbers.
    #[serde(default)]
    replicas_assignments: BTreeMap<i32, Vec<i32>>,
    /// Settings that are not the default.
    #[serde(default)]
    configs: Vec<NewConfig>,
    /// Only look whether it could be made.
    #[serde(default)]
    validate_only: bool,
}

/// A setting of a topic to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConfig {
    /// Its name.
    name: String,
    /// Its value; null for the default.
    value: Option<String>,
}

/// A topic that is to grow.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrownTopic {
    /// How many partitions it has afterwards: more than now.
    #[schemars(range(min = 1))]
    partitions_count: i32,
}

/// A topic as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Topic {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    topic_name: String,
    is_internal: bool,
    replication_factor: i32,
    partitions_count: i32,
    partitions: Related,
    configs: Related,
    partition_reassignments: Related,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    authorized_operations: Option<Vec<&'static str>>,
}

impl Topic {
    fn of(place: &Place, topic: &metadata::Topic) -> Self {
        let name = topic.name.as_str();
        Self {
            kind: "KafkaTopic",
            metadata: place.metadata(&["topics", name], &[("topic", name)]),
            cluster_id: place.cluster_id.clone(),
            topic_name: name.to_owned(),
            is_internal: topic.is_internal,
            replication_factor: replication_factor(topic),
            partitions_count: count(topic.partitions.len()),
            partitions: place.related(&["topics", name, "partitions"]),
            configs: place.related(&["topics", name, "configs"]),
            partition_reassignments: place.related(&["topics", name, "partitions", "-", "reassignment"]),
            authorized_operations: topic.operations.map(super::acls::operations_of),
        }
    }

    /// A topic that has just been made, or could be.
    fn made(place: &Place, wanted: &CreateTopic<'_>, created: &Created) -> Self {
        let name = wanted.name.to_owned();
        let nothing =
            metadata::Topic { error_code: 0, name, is_internal: false, partitions: Vec::new(), operations: None };
        let first = wanted.assignments.first();
        let partitions = first.map_or(wanted.partitions, |_| count(wanted.assignments.len()));
        let replicas = first.map_or(wanted.replication_factor.into(), |(_, brokers)| count(brokers.len()));
        Self {
            partitions_count: created.partitions.unwrap_or(partitions),
            replication_factor: created.replication_factor.map_or(replicas, i32::from),
            ..Self::of(place, &nothing)
        }
    }
}

/// As many as the brokers find right.
const DEFAULT: i32 = -1;

const INVALID_TOPIC: i16 = 17;
