//! `GET /topics`, `GET /topics/{topic}`: names, partitions, settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer;
use super::partitions::{self, PartitionView};
use crate::rest::bridge::Bridge;
use crate::rest::kafka::describe_configs::{DescribeConfigs, Resource};
use crate::rest::kafka::metadata::Metadata;
use crate::rest::{Caller, Error, refusal};

/// The names of the topics that the caller may see, Kafka's own left out.
pub async fn list(State(bridge): State<Arc<Bridge>>, caller: Caller, headers: HeaderMap) -> Result<Response, Error> {
    let entry = bridge.pool.entry(&caller.principal)?;
    let cluster = entry.kafka.ask(&Metadata { topics: None }).await?;
    let seen = cluster.topics.into_iter().filter(|topic| topic.error_code == 0 && !topic.is_internal);
    let mut names: Vec<String> = seen.map(|topic| topic.name).collect();
    names.sort_unstable();
    answer(&headers, &names)
}

/// One topic with its settings.
pub async fn describe(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(topic): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let entry = bridge.pool.entry(&caller.principal)?;
    let found = entry.kafka.topic(&topic).await?;
    let settings = entry.kafka.ask(&DescribeConfigs { kind: Resource::Topic, name: &topic }).await?;
    if settings.error_code != 0 {
        return Err(refusal::of_topic(settings.error_code, &topic));
    }
    let configs = settings.settings.into_iter().filter_map(|setting| Some((setting.name, setting.value?))).collect();
    answer(&headers, &TopicView { name: topic, configs, partitions: partitions::views(&found) })
}

/// A topic as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct TopicView {
    name: String,
    configs: BTreeMap<String, String>,
    partitions: Vec<PartitionView>,
}
