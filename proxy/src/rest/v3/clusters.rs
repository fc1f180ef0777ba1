//! `/v3/clusters`: there is one, the one behind the bridge.

use axum::Json;
use axum::extract::Path;
use schemars::JsonSchema;
use serde::Serialize;

use super::ask::Ask;
use super::envelope::{List, Metadata, Place, Related};
use crate::rest::Error;
use crate::rest::kafka::describe_cluster::Described;

/// The one cluster, in a list.
pub async fn list(ask: Ask) -> Result<Json<List<Cluster>>, Error> {
    let described = ask.describe().await?;
    let view = Cluster::of(&Place::new(ask.root(), &described.cluster_id), &described);
    Ok(Json(List::new("KafkaClusterList", format!("{}/clusters", ask.root()), vec![view])))
}

/// The one cluster.
pub async fn show(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<Cluster>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let described = cluster.ask.describe().await?;
    Ok(Json(Cluster::of(&cluster.place, &described)))
}

/// A cluster as the API shows it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cluster")]
pub struct Cluster {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    controller: Option<Related>,
    acls: Related,
    brokers: Related,
    broker_configs: Related,
    consumer_groups: Related,
    topics: Related,
    partition_reassignments: Related,
}

impl Cluster {
    fn of(place: &Place, described: &Described) -> Self {
        let controller = Some(described.controller_id).filter(|id| *id >= 0);
        Self {
            kind: "KafkaCluster",
            metadata: place.metadata(&[], &[]),
            cluster_id: place.cluster_id.clone(),
            controller: controller.map(|id| place.related(&["brokers", &id.to_string()])),
            acls: place.related(&["acls"]),
            brokers: place.related(&["brokers"]),
            broker_configs: place.related(&["broker-configs"]),
            consumer_groups: place.related(&["consumer-groups"]),
            topics: place.related(&["topics"]),
            partition_reassignments: place.related(&["topics", "-", "partitions", "-", "reassignment"]),
        }
    }
}
