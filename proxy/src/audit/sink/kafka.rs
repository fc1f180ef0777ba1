//! A Kafka topic: each entry as it is hashed in the log, under the key `ORIGIN/INDEX`; after each piece the checkpoint, under
//! `ORIGIN/checkpoint`. Several gateways write into one topic, so that each sees the checkpoints of the others (`cross.rs`).

use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;

use super::cross::CrossCheckpoints;
use super::{Delivery, Piece, Sink};
use crate::audit::event::Audit;
use crate::config::Cluster;
use crate::keyring::{ANSWER_TIMEOUT, KeyValue, KeyringProducer, QuietContext, client_config};

/// Writes into one topic of a cluster.
pub struct KafkaSink {
    cluster: Cluster,
    topic: String,
    audit: Audit,
    origin: Arc<str>,
    open: Option<Open>,
}

struct Open {
    producer: KeyringProducer,
    /// Ends with the sink.
    _others: CrossCheckpoints,
}

impl KafkaSink {
    /// Connects when there is something to write.
    pub fn new(cluster: Cluster, topic: String, origin: Arc<str>, audit: Audit) -> Self {
        Self { cluster, topic, audit, origin, open: None }
    }

    async fn opened(&mut self) -> Result<&KeyringProducer, String> {
        if self.open.is_none() {
            let mut config = client_config(&self.cluster).map_err(|error| error.to_string())?;
            make_topic(&config, &self.topic).await?;
            let others = CrossCheckpoints::follow(&config, &self.topic, self.origin.clone(), self.audit.clone())?;
            config.set("enable.idempotence", "true");
            config.set("acks", "all");
            config.set("linger.ms", "5");
            config.set("compression.type", "lz4");
            config.set("delivery.timeout.ms", "10000");
            let producer = KeyringProducer::new(&self.topic, &config).map_err(|error| error.to_string())?;
            self.open = Some(Open { producer, _others: others });
        }
        self.open.as_ref().map(|open| &open.producer).ok_or_else(|| "not open".to_owned())
    }
}

impl Sink for KafkaSink {
    fn deliver<'a>(&'a mut self, piece: &'a Piece) -> Delivery<'a> {
        Box::pin(async move {
            let key = |name: &str| format!("{}/{name}", piece.origin).into_bytes();
            let mut records: Vec<KeyValue> = Vec::with_capacity(piece.entries.len() + 1);
            let entries = piece.entries.iter();
            records.extend(entries.map(|entry| (key(&entry.index.to_string()), Some(entry.bytes.clone()))));
            records.push((key(CHECKPOINT), Some(piece.checkpoint.clone().into_bytes())));
            let producer = self.opened().await?;
            producer.send_all(records).await.map_err(|error| error.to_string())
        })
    }
}

/// Unless it is there. With `cleanup.policy=delete` and no end: how long entries stay in it is the operator's to say.
async fn make_topic(config: &ClientConfig, topic: &str) -> Result<(), String> {
    let admin: AdminClient<QuietContext> =
        config.create_with_context(QuietContext).map_err(|error: rdkafka::error::KafkaError| error.to_string())?;
    let wanted = NewTopic::new(topic, 1, TopicReplication::Fixed(-1)).set("cleanup.policy", "delete");
    let wanted = wanted.set("retention.ms", "-1");
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
    let made = admin.create_topics([&wanted], &options).await.map_err(|error| error.to_string())?;
    match made.into_iter().next() {
        None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((name, code))) => Err(format!("topic {name} cannot be created: {code}")),
    }
}

/// Behind the origin, the key of a checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
