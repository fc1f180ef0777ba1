//! Settings of a topic, of a broker, and of all brokers: list, show, set, take away, change several at once.
//!
//! Arrives: the kind of a resource with its name. Leaves: its settings with where they come from. What must never happen here: the value
//! of a sensitive setting; Kafka gives none, and what it gives is passed over.

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ask::{Ask, Cluster};
use super::envelope::{List, Metadata, Place};
use super::{brokers, refusal, topics};
use crate::rest::kafka::alter_configs::AlterConfigs;
use crate::rest::kafka::describe_configs::{DescribeConfigs, Resource, Setting, Settings};
use crate::rest::kafka::metadata;
use crate::rest::kafka::verdict::Verdict;
use crate::rest::{Code, Error};

/// Whose settings.
enum Subject<'a> {
    Topic(&'a str),
    Broker(&'a str),
    /// What is set for all brokers at run time.
    AllBrokers,
}

/// All settings of a topic.
pub async fn of_topic(
    ask: Ask,
    Path((cluster_id, topic)): Path<(String, String)>,
) -> Result<Json<List<Config>>, Error> {
    Subject::Topic(&topic).list(&ask.cluster(&cluster_id).await?).await
}

/// One setting of a topic.
pub async fn one_of_topic(
    ask: Ask,
    Path((cluster_id, topic, name)): Path<(String, String, String)>,
) -> Result<Json<Config>, Error> {
    Subject::Topic(&topic).show(&ask.cluster(&cluster_id).await?, &name).await
}

/// Sets a setting of a topic.
pub async fn set_of_topic(
    ask: Ask,
    Path((cluster_id, topic, name)): Path<(String, String, String)>,
    body: Body,
) -> Result<StatusCode, Error> {
    Subject::Topic(&topic).set(&ask.cluster(&cluster_id).await?, name, body).await
}

/// Takes a setting of a topic away.
pub async fn reset_of_topic(
    ask: Ask,
    Path((cluster_id, topic, name)): Path<(String, String, String)>,
) -> Result<StatusCode, Error> {
    Subject::Topic(&topic).reset(&ask.cluster(&cluster_id).await?, name).await
}

/// Changes settings of a topic, all or none.
pub async fn alter_topic(
    ask: Ask,
    Path((cluster_id, topic)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Error> {
    Subject::Topic(&topic).alter(&ask.cluster(&cluster_id).await?, body).await
}

/// All settings of a broker.
pub async fn of_broker(
    ask: Ask,
    Path((cluster_id, broker)): Path<(String, String)>,
) -> Result<Json<List<Config>>, Error> {
    Subject::Broker(&broker).list(&ask.cluster(&cluster_id).await?).await
}

/// One setting of a broker.
pub async fn one_of_broker(
    ask: Ask,
    Path((cluster_id, broker, name)): Path<(String, String, String)>,
) -> Result<Json<Config>, Error> {
    Subject::Broker(&broker).show(&ask.cluster(&cluster_id).await?, &name).await
}

/// Sets a setting of a broker.
pub async fn set_of_broker(
    ask: Ask,
    Path((cluster_id, broker, name)): Path<(String, String, String)>,
    body: Body,
) -> Result<StatusCode, Error> {
    Subject::Broker(&broker).set(&ask.cluster(&cluster_id).await?, name, body).await
}

/// Takes a setting of a broker away.
pub async fn reset_of_broker(
    ask: Ask,
    Path((cluster_id, broker, name)): Path<(String, String, String)>,
) -> Result<StatusCode, Error> {
    Subject::Broker(&broker).reset(&ask.cluster(&cluster_id).await?, name).await
}

/// Changes settings of a broker, all or none.
pub async fn alter_broker(
    ask: Ask,
    Path((cluster_id, broker)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Error> {
    Subject::Broker(&broker).alter(&ask.cluster(&cluster_id).await?, body).await
}

/// What is set for all brokers at run time.
pub async fn of_all_brokers(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<Config>>, Error> {
    Subject::AllBrokers.list(&ask.cluster(&cluster_id).await?).await
}

/// One setting of all brokers.
pub async fn one_of_all_brokers(
    ask: Ask,
    Path((cluster_id, name)): Path<(String, String)>,
) -> Result<Json<Config>, Error> {
    Subject::AllBrokers.show(&ask.cluster(&cluster_id).await?, &name).await
}

/// Sets a setting of all brokers.
pub async fn set_of_all_brokers(
    ask: Ask,
    Path((cluster_id, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Error> {
    Subject::AllBrokers.set(&ask.cluster(&cluster_id).await?, name, body).await
}

/// Takes a setting of all brokers away.
pub async fn reset_of_all_brokers(
    ask: Ask,
    Path((cluster_id, name)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    Subject::AllBrokers.reset(&ask.cluster(&cluster_id).await?, name).await
}

/// Changes settings of all brokers, all or none.
pub async fn alter_all_brokers(ask: Ask, Path(cluster_id): Path<String>, body: Body) -> Result<StatusCode, Error> {
    Subject::AllBrokers.alter(&ask.cluster(&cluster_id).await?, body).await
}

/// The settings of each topic that the caller may see.
pub async fn of_each_topic(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<Config>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let mut topics = cluster.any(&metadata::Metadata { topics: None }).await?.topics;
    topics.retain(|topic| topic.error_code == 0);
    topics.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let mut all = Vec::new();
    for topic in topics {
        let subject = Subject::Topic(&topic.name);
        // One that was deleted meanwhile has no settings.
        if let Ok(settings) = subject.settings(&cluster).await {
            all.extend(settings.into_iter().map(|setting| subject.view(&cluster.place, setting)));
        }
    }
    Ok(Json(List::new("KafkaTopicConfigList", cluster.place.address(&["topics", "-", "configs"]), all)))
}

/// Changes settings of several topics: of each all or none. What did not work is told by topic.
pub async fn alter_topics(ask: Ask, Path(cluster_id): Path<String>, body: Body) -> Result<Response, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let wanted: ChangesOfTopics = cluster.ask.body(body).await?;
    if wanted.data.len() > MOST_TOPICS {
        return Err(Code::TooLarge.with(format!("`data` has more than {MOST_TOPICS} topics")));
    }
    let mut failures = Vec::new();
    for ChangesOfTopic { topic_name, configs } in wanted.data {
        let pairs: Vec<_> = configs.into_iter().map(Change::pair).collect();
        let changed = Subject::Topic(&topic_name).change(&cluster, &pairs, wanted.validate_only).await;
        if let Err(Error { code, message, .. }) = changed {
            failures.push(Failure { topic_name, error_code: code.number(), message: message.into_owned() });
        }
    }
    if failures.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok((StatusCode::MULTI_STATUS, Json(Failures { failures })).into_response())
}

/// The settings of each broker.
pub async fn of_each_broker(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<Config>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let mut all = Vec::new();
    for broker in cluster.ask.describe().await?.brokers {
        let id = broker.id.to_string();
        let subject = Subject::Broker(&id);
        let settings = subject.describe(&cluster, broker.id).await?;
        all.extend(settings.into_iter().map(|setting| subject.view(&cluster.place, setting)));
    }
    Ok(Json(List::new("KafkaBrokerConfigList", cluster.place.address(&["brokers", "-", "configs"]), all)))
}

impl Subject<'_> {
    async fn list(&self, cluster: &Cluster) -> Result<Json<List<Config>>, Error> {
        let settings = self.settings(cluster).await?;
        let views = settings.into_iter().map(|setting| self.view(&cluster.place, setting)).collect();
        let (kind, address) = match self {
            Self::Topic(name) => ("KafkaTopicConfigList", cluster.place.address(&["topics", name, "configs"])),
            Self::Broker(id) => ("KafkaBrokerConfigList", cluster.place.address(&["brokers", id, "configs"])),
            Self::AllBrokers => ("KafkaClusterConfigList", cluster.place.address(&["broker-configs"])),
        };
        Ok(Json(List::new(kind, address, views)))
    }

    async fn show(&self, cluster: &Cluster, name: &str) -> Result<Json<Config>, Error> {
        let settings = self.settings(cluster).await?;
        let found = settings.into_iter().find(|setting| setting.name == name);
        let setting = found.ok_or_else(|| refusal::not_found("Config", name))?;
        Ok(Json(self.view(&cluster.place, setting)))
    }

    async fn set(&self, cluster: &Cluster, name: String, body: Body) -> Result<StatusCode, Error> {
        let NewValue { value } = cluster.ask.body(body).await?;
        self.change(cluster, &[(name, value)], false).await
    }

    async fn reset(&self, cluster: &Cluster, name: String) -> Result<StatusCode, Error> {
        self.change(cluster, &[(name, None)], false).await
    }

    async fn alter(&self, cluster: &Cluster, body: Body) -> Result<StatusCode, Error> {
        let changes: Changes = cluster.ask.body(body).await?;
        let pairs: Vec<_> = changes.data.into_iter().map(Change::pair).collect();
        self.change(cluster, &pairs, changes.validate_only).await
    }

    async fn change(
        &self,
        cluster: &Cluster,
        changes: &[(String, Option<String>)],
        validate_only: bool,
    ) -> Result<StatusCode, Error> {
        let node = self.node(cluster).await?;
        let (kind, name) = self.resource();
        let altered = cluster.node(node, &AlterConfigs { kind, name, changes, validate_only }).await;
        let verdict = altered.map_err(|error| cluster.refused(name, error))?;
        refusal::check(&verdict, &self.words())?;
        Ok(StatusCode::NO_CONTENT)
    }

    async fn settings(&self, cluster: &Cluster) -> Result<Vec<Setting>, Error> {
        let node = self.node(cluster).await?;
        self.describe(cluster, node).await
    }

    async fn describe(&self, cluster: &Cluster, node: i32) -> Result<Vec<Setting>, Error> {
        let (kind, name) = self.resource();
        let Settings { error_code, error_message, mut settings } =
            cluster.node(node, &DescribeConfigs { kind, name }).await?;
        refusal::check(&Verdict { error_code, message: error_message }, &self.words())?;
        settings.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(settings)
    }

    /// Who knows the settings; a resource that is not there is told here.
    async fn node(&self, cluster: &Cluster) -> Result<i32, Error> {
        match self {
            Self::Topic(name) => topics::find(cluster, name).await.map(|_| crate::rest::kafka::ANY),
            Self::Broker(id) => brokers::find(cluster, id).await.map(|broker| broker.id),
            Self::AllBrokers => Ok(crate::rest::kafka::ANY),
        }
    }

    fn resource(&self) -> (Resource, &str) {
        match self {
            Self::Topic(name) => (Resource::Topic, name),
            Self::Broker(id) => (Resource::Broker, id),
            Self::AllBrokers => (Resource::Broker, ""),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic {name}"),
            Self::Broker(id) => format!("broker {id}"),
            Self::AllBrokers => "all brokers".to_owned(),
        }
    }

    fn view(&self, place: &Place, setting: Setting) -> Config {
        let name = setting.name.as_str();
        let (kind, metadata) = match self {
            Self::Topic(topic) => (
                "KafkaTopicConfig",
                place.metadata(&["topics", topic, "configs", name], &[("topic", topic), ("config", name)]),
            ),
            Self::Broker(id) => (
                "KafkaBrokerConfig",
                place.metadata(&["brokers", id, "configs", name], &[("broker", id), ("config", name)]),
            ),
            Self::AllBrokers => {
                ("KafkaClusterConfig", place.metadata(&["broker-configs", name], &[("broker-config", name)]))
            }
        };
        let synonym = |(name, value, source): (String, Option<String>, i8)| Synonym {
            name,
            value: value.filter(|_| !setting.is_sensitive),
            source: source_word(source),
        };
        Config {
            kind,
            metadata,
            cluster_id: place.cluster_id.clone(),
            topic_name: if let Self::Topic(topic) = self { Some((*topic).to_owned()) } else { None },
            broker_id: if let Self::Broker(id) = self { id.parse().ok() } else { None },
            config_type: matches!(self, Self::AllBrokers).then_some("BROKER"),
            value: setting.value.filter(|_| !setting.is_sensitive),
            is_default: setting.source == DEFAULT_CONFIG,
            is_read_only: setting.is_read_only,
            is_sensitive: setting.is_sensitive,
            source: source_word(setting.source),
            synonyms: setting.synonyms.into_iter().map(synonym).collect(),
            name: setting.name,
        }
    }
}

/// Kafka's word for where a value comes from (`ConfigEntry.ConfigSource`).
fn source_word(source: i8) -> &'static str {
    match source {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        DEFAULT_CONFIG => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

/// A value for a setting.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewValue {
    /// The value; null takes the setting away.
    value: Option<String>,
}

/// Changes of settings, all or none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// The changes.
    data: Vec<Change>,
    /// Only look whether they could be done.
    #[serde(default)]
    validate_only: bool,
}

/// Changes of settings of several topics.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangesOfTopics {
    /// The topics.
    data: Vec<ChangesOfTopic>,
    /// Only look whether they could be done.
    #[serde(default)]
    validate_only: bool,
}

/// Changes of settings of one topic, all or none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangesOfTopic {
    /// The topic.
    topic_name: String,
    /// The changes.
    configs: Vec<Change>,
}

/// What did not work.
#[derive(Serialize, JsonSchema)]
pub struct Failures {
    failures: Vec<Failure>,
}

/// Why the settings of a topic are as they were.
#[derive(Serialize, JsonSchema)]
pub struct Failure {
    topic_name: String,
    error_code: u32,
    message: String,
}

/// One change of a setting.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The setting.
    name: String,
    /// Its new value, for `SET`.
    value: Option<String>,
    /// What to do.
    #[serde(default)]
    operation: ChangeKind,
}

/// What to do with a setting.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChangeKind {
    /// Give it the value.
    #[default]
    Set,
    /// Take it away.
    Delete,
}

impl Change {
    fn pair(self) -> (String, Option<String>) {
        match self.operation {
            ChangeKind::Set => (self.name, self.value),
            ChangeKind::Delete => (self.name, None),
        }
    }
}

/// A setting as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Config {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    topic_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    broker_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    config_type: Option<&'static str>,
    name: String,
    value: Option<String>,
    is_default: bool,
    is_read_only: bool,
    is_sensitive: bool,
    source: &'static str,
    synonyms: Vec<Synonym>,
}

/// What would apply without a setting.
#[derive(Serialize, JsonSchema)]
pub struct Synonym {
    name: String,
    value: Option<String>,
    source: &'static str,
}

const DEFAULT_CONFIG: i8 = 5;

/// Each is a question to Kafka.
const MOST_TOPICS: usize = 1_000;
