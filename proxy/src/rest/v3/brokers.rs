//! `/v3/clusters/{cluster_id}/brokers`: node ids and racks. Addresses are the gateway's affair, and null.

use axum::Json;
use axum::extract::Path;
use schemars::JsonSchema;
use serde::Serialize;

use super::ask::{Ask, Cluster};
use super::envelope::{List, Metadata, Place, Related};
use super::partitions::Replica;
use super::refusal;
use crate::rest::Error;
use crate::rest::kafka::describe_cluster;
use crate::rest::kafka::metadata;

/// All brokers that are up.
pub async fn list(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<Broker>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let described = cluster.ask.describe().await?;
    let brokers = described.brokers.iter().map(|broker| Broker::of(&cluster.place, broker)).collect();
    Ok(Json(List::new("KafkaBrokerList", cluster.place.address(&["brokers"]), brokers)))
}

/// One broker.
pub async fn show(ask: Ask, Path((cluster_id, id)): Path<(String, String)>) -> Result<Json<Broker>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let broker = find(&cluster, &id).await?;
    Ok(Json(Broker::of(&cluster.place, &broker)))
}

/// Partitions that have a replica on a broker.
pub async fn replicas(ask: Ask, Path((cluster_id, id)): Path<(String, String)>) -> Result<Json<List<Replica>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let broker = find(&cluster, &id).await?;
    let topics = cluster.any(&metadata::Metadata { topics: None }).await?.topics;
    let mut replicas = Vec::new();
    for topic in &topics {
        for partition in topic.partitions.iter().filter(|partition| partition.replicas.contains(&broker.id)) {
            replicas.push(Replica::of(&cluster.place, &topic.name, partition, broker.id));
        }
    }
    let address = cluster.place.address(&["brokers", &id, "partition-replicas"]);
    Ok(Json(List::new("KafkaReplicaList", address, replicas)))
}

/// A broker that is up.
///
/// # Errors
/// `NotFound` for another one.
pub async fn find(cluster: &Cluster, id: &str) -> Result<describe_cluster::Broker, Error> {
    let absent = || refusal::not_found("Broker", id);
    let wanted: i32 = id.parse().map_err(|_| absent())?;
    let brokers = cluster.ask.describe().await?.brokers;
    brokers.into_iter().find(|broker| broker.id == wanted).ok_or_else(absent)
}

/// A broker as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Broker {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    broker_id: i32,
    host: Option<String>,
    port: Option<i32>,
    rack: Option<String>,
    configs: Related,
    partition_replicas: Related,
}

impl Broker {
    fn of(place: &Place, broker: &describe_cluster::Broker) -> Self {
        let id = broker.id.to_string();
        Self {
            kind: "KafkaBroker",
            metadata: place.metadata(&["brokers", &id], &[("broker", &id)]),
            cluster_id: place.cluster_id.clone(),
            broker_id: broker.id,
            host: None,
            port: None,
            rack: broker.rack.clone(),
            configs: place.related(&["brokers", &id, "configs"]),
            partition_replicas: place.related(&["brokers", &id, "partition-replicas"]),
        }
    }
}
