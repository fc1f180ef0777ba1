//! The keyring topic in Kafka: created, checked, followed, written.
//!
//! Arrives: the cluster's configuration. Leaves: a consumer that starts at the first record, and producers whose
//! acknowledgement means that all in-sync replicas have the object. Nothing here looks into an object. What must
//! never happen here: a keyring topic that deletes by time, since losing a session's announcement loses its records.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::producer::KeyringProducer;
use crate::config::{ClientProperty, Cluster};

/// What the client library says of itself goes to the log as detail: what matters of it comes back from its calls.
#[derive(Clone, Default)]
pub struct QuietContext;

impl ClientContext for QuietContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(event = "kafka_client", facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(event = "kafka_client", %error, reason);
    }
}

impl ConsumerContext for QuietContext {}

/// A consumer that follows the keyring topic.
pub type KeyringConsumer = StreamConsumer<QuietContext>;

/// What goes wrong with the keyring topic.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// Kafka or the client library says no.
    #[error("keyring topic {topic}: {error}")]
    Kafka {
        /// The topic.
        topic: String,
        /// What was said.
        error: KafkaError,
    },
    /// A topic of this name is there, but it cannot be a keyring.
    #[error("keyring topic {topic} {what}")]
    Unfit {
        /// The topic.
        topic: String,
        /// What is wrong, and the remedy.
        what: String,
    },
    /// A property's secret cannot be read.
    #[error("cluster {cluster}: client property {property}: {reason}")]
    Secret {
        /// The cluster.
        cluster: String,
        /// The property.
        property: String,
        /// Why.
        reason: String,
    },
}

/// The keyring topic of one cluster.
pub struct KeyringTopic {
    name: String,
    replication_factor: Option<i16>,
    client: ClientConfig,
}

impl KeyringTopic {
    /// The topic `name` on `cluster`, reached with the gateway's own credentials.
    pub fn new(cluster: &Cluster, name: &str, replication_factor: Option<i16>) -> Result<Self, TopicError> {
        let client = client_config(cluster)?;
        Ok(Self { name: name.to_owned(), replication_factor, client })
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates the topic when it is not there, and refuses one that could lose objects: by its partitions or by its
    /// settings. Blocking.
    pub fn ensure(&self) -> Result<(), TopicError> {
        match self.leader()? {
            Some(leader) => self.check_settings(Some(leader).filter(|leader| *leader >= 0)),
            None => {
                self.create()?;
                self.check_settings(None)
            }
        }
    }

    /// Refuses to go on without the topic. Blocking.
    pub fn check_exists(&self) -> Result<(), TopicError> {
        if self.leader()?.is_some() {
            return Ok(());
        }
        let remedy = "a gateway that seals makes it, and so does the first `barnabas` command that adds something";
        Err(self.unfit(format!("is not there; {remedy}")))
    }

    /// The leader of its one partition, negative while there is none; `None` when the topic is not there.
    fn leader(&self) -> Result<Option<i32>, TopicError> {
        let consumer: BaseConsumer<QuietContext> = self.consumer()?;
        let metadata = consumer.fetch_metadata(Some(&self.name), ANSWER_TIMEOUT).map_err(|e| self.kafka(e))?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.name && topic.error().is_none());
        match found.map(|topic| topic.partitions()) {
            None | Some([]) => Ok(None),
            Some([partition]) => Ok(Some(partition.leader())),
            Some(partitions) => {
                let count = partitions.len();
                Err(self.unfit(format!("has {count} partitions, a keyring has one; name another topic")))
            }
        }
    }

    fn create(&self) -> Result<(), TopicError> {
        let admin: AdminClient<QuietContext> = self.make(&self.client)?;
        let replication = TopicReplication::Fixed(self.replication_factor.map_or(-1, i32::from));
        let topic = SETTINGS
            .iter()
            .fold(NewTopic::new(&self.name, 1, replication), |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
        let created = futures_block(admin.create_topics([&topic], &options)).map_err(|e| self.kafka(e))?;
        match created.into_iter().next() {
            // Another gateway was faster.
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(()),
            Some(Err((_, code))) => Err(self.unfit(format!("cannot be created: {code}"))),
        }
    }

    /// Refuses a topic whose records expire. Brokers that do not answer DescribeConfigs are believed.
    ///
    /// The client library asks the controller about a topic, and waits for it where a cluster has none; a question that
    /// names a broker as well goes to that broker. What it answers about itself is not looked at.
    fn check_settings(&self, leader: Option<i32>) -> Result<(), TopicError> {
        let admin: AdminClient<QuietContext> = self.make(&self.client)?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
        let topic = ResourceSpecifier::Topic(&self.name);
        let asked: Vec<ResourceSpecifier<'_>> =
            std::iter::once(topic).chain(leader.map(ResourceSpecifier::Broker)).collect();
        let Ok(answers) = futures_block(admin.describe_configs(asked.iter(), &options)) else {
            return Ok(());
        };
        let policy = answers
            .into_iter()
            .flatten()
            .filter(|resource| matches!(&resource.specifier, OwnedResourceSpecifier::Topic(name) if *name == self.name))
            .find_map(|resource| resource.entry_map().get("cleanup.policy").and_then(|entry| entry.value.clone()));
        match policy.as_deref() {
            None | Some("compact") => Ok(()),
            Some(other) => Err(self.unfit(format!(
                "has cleanup.policy={other}: objects would expire and records with them; set it to compact"
            ))),
        }
    }

    /// A consumer that follows from the first record and sees committed records only.
    pub fn follow(&self) -> Result<StreamConsumer<QuietContext>, TopicError> {
        let consumer: StreamConsumer<QuietContext> = self.consumer()?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(&self.name, 0, Offset::Beginning).map_err(|e| self.kafka(e))?;
        consumer.assign(&partitions).map_err(|e| self.kafka(e))?;
        Ok(consumer)
    }

    /// A producer for announcements: idempotent, acknowledged by all in-sync replicas, never waiting to batch.
    pub fn publish(&self) -> Result<KeyringProducer, TopicError> {
        KeyringProducer::new(&self.name, &self.producer_config()).map_err(|e| self.kafka(e))
    }

    /// A producer for the steward. Kafka fences an older producer of the same transactional id, so that of two
    /// stewards only the one that has read everything can commit. Blocking, up to [`ANSWER_TIMEOUT`].
    pub fn publish_exclusively(&self) -> Result<KeyringProducer, TopicError> {
        let mut config = self.producer_config();
        config.set("transactional.id", format!("{}-steward", self.name));
        config.set("transaction.timeout.ms", "30000");
        KeyringProducer::new(&self.name, &config).map_err(|e| self.kafka(e))
    }

    /// An error of this topic.
    pub fn kafka(&self, error: KafkaError) -> TopicError {
        TopicError::Kafka { topic: self.name.clone(), error }
    }

    fn unfit(&self, what: String) -> TopicError {
        TopicError::Unfit { topic: self.name.clone(), what }
    }

    fn producer_config(&self) -> ClientConfig {
        let mut config = self.client.clone();
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("linger.ms", "0");
        config.set("delivery.timeout.ms", "10000");
        config
    }

    /// A consumer, assigned to nothing yet.
    pub fn consumer<C: FromClientConfigAndContext<QuietContext>>(&self) -> Result<C, TopicError> {
        let mut config = self.client.clone();
        // Partitions are assigned, never subscribed: no group is joined, but the library wants a name.
        config.set("group.id", "barnabas-keyring");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true");
        config.set("isolation.level", "read_committed");
        config.set("auto.offset.reset", "error");
        config.set("allow.auto.create.topics", "false");
        config.set("reconnect.backoff.max.ms", "2000");
        // An answer that never comes, or to a question that nobody asked, must not keep the follower for a minute.
        config.set("socket.timeout.ms", "6000");
        self.make(&config)
    }

    fn make<C: FromClientConfigAndContext<QuietContext>>(&self, config: &ClientConfig) -> Result<C, TopicError> {
        config.create_with_context(QuietContext).map_err(|e| self.kafka(e))
    }
}

/// librdkafka's properties for the gateway's own client on a cluster.
pub fn client_config(cluster: &Cluster) -> Result<ClientConfig, TopicError> {
    let mut config = ClientConfig::new();
    let servers: Vec<String> = cluster.bootstrap_servers.iter().map(ToString::to_string).collect();
    config.set("bootstrap.servers", servers.join(","));
    config.set("client.id", "barnabas");
    config.set("log.connection.close", "false");
    let sasl = cluster.client.iter().any(|(name, _)| name == "sasl.mechanism" || name == "sasl.mechanisms");
    config.set(
        "security.protocol",
        match (cluster.tls.is_some(), sasl) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        },
    );
    if let Some(tls) = &cluster.tls {
        config.set("ssl.ca.location", tls.ca.display().to_string());
        if let Some(own) = &tls.certificate {
            config.set("ssl.certificate.location", own.certificate.display().to_string());
            config.set("ssl.key.location", own.private_key.display().to_string());
        }
        if tls.server_name.is_some() {
            // The library can verify the broker's own host name only; the chain is verified all the same.
            config.set("ssl.endpoint.identification.algorithm", "none");
        }
    }
    for (name, value) in &cluster.client {
        match value {
            ClientProperty::Plain(value) => config.set(name, value),
            ClientProperty::Secret(secret) => config.set(
                name,
                secret.read().map(|value| value.to_string()).map_err(|reason| TopicError::Secret {
                    cluster: cluster.name.clone(),
                    property: name.clone(),
                    reason: reason.to_string(),
                })?,
            ),
        };
    }
    Ok(config)
}

/// Runs one of the admin client's futures on this (blocking) thread.
fn futures_block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Handle::current().block_on(future)
}

/// Compaction keeps the newest version of every object for ever; nothing expires.
const SETTINGS: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("compression.type", "producer"),
    // What was replaced, the seed of a destroyed epoch above all, is gone from the log a day later.
    ("max.compaction.lag.ms", "86400000"),
];

/// A broker that has not answered by then will not be waited for; the next round asks again.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
