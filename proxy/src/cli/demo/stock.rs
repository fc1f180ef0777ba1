//! Stock clients, as anybody would configure them: nothing in them knows of sealing.
//!
//! Arrives: where to connect, and as whom. Leaves: records written and read, or the very error that such a client gets,
//! in the words of the library. Connections that fail for a moment are retried by the library and are no answer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, timeout_at};

use super::stage::Stage;
use crate::keyring::QuietContext;

/// A client's configuration.
#[derive(Clone)]
pub(super) struct Stock(ClientConfig);

/// Reads one partition from its first record on.
pub(super) struct Reader {
    consumer: StreamConsumer<Words>,
    topic: String,
}

/// What a reader is told.
pub(super) enum Told {
    /// A record.
    Record(OwnedMessage),
    /// An error: its code, and the library's words.
    Refused(RDKafkaErrorCode, String),
    /// Nothing before the limit.
    Nothing,
}

impl Stock {
    /// A client of the gateway, with the certificate of `name`.
    pub(super) fn of_gateway(stage: &Stage, name: &str) -> Self {
        let mut config = ClientConfig::new();
        for (property, value) in properties(stage, name) {
            config.set(property, value);
        }
        Self(config)
    }

    /// A client of the brokers themselves: what whoever runs them can do.
    pub(super) fn of_brokers(stage: &Stage) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", stage.upstream());
        Self(config)
    }

    /// Writes a record to partition 0 and gives its offset.
    pub(super) async fn write(&self, topic: &str, key: &[u8], value: &[u8]) -> Result<i64, KafkaError> {
        let mut config = self.0.clone();
        config.set("acks", "all").set("delivery.timeout.ms", "30000").set("linger.ms", "0");
        let producer: FutureProducer<QuietContext> = config.create_with_context(QuietContext)?;
        let record = FutureRecord::to(topic).partition(0).key(key).payload(value);
        let delivered = producer.send(record, PATIENCE).await;
        delivered.map(|delivery| delivery.offset).map_err(|(error, _)| error)
    }

    /// Begins to read partition 0 of `topic`.
    pub(super) fn read(&self, topic: &str) -> Result<Reader, KafkaError> {
        let mut config = self.0.clone();
        config.set("group.id", "demo").set("enable.auto.commit", "false");
        let consumer: StreamConsumer<Words> = config.create_with_context(Words::default())?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&partitions)?;
        Ok(Reader { consumer, topic: topic.to_owned() })
    }
}

impl Reader {
    /// The next thing that the application is told.
    pub(super) async fn next(&self) -> Told {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.consumer.recv()).await {
                Ok(Ok(message)) => return Told::Record(message.detach()),
                Ok(Err(error)) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                    if !PASSING.contains(&code) {
                        return Told::Refused(code, self.consumer.context().about(code, &error));
                    }
                }
                Err(_) => return Told::Nothing,
            }
        }
    }

    /// Where the application stands: the offset that it has not been given yet.
    pub(super) fn position(&self) -> Option<i64> {
        let positions = self.consumer.position().ok()?;
        match positions.find_partition(&self.topic, 0)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

/// librdkafka's properties of a client of the gateway: the same that the user is told.
pub(super) fn properties(stage: &Stage, name: &str) -> Vec<(&'static str, String)> {
    let file = |name: String| stage.tls_file(&name).display().to_string();
    vec![
        ("bootstrap.servers", stage.bootstrap()),
        ("broker.address.family", "v4".to_owned()),
        ("security.protocol", "ssl".to_owned()),
        ("ssl.ca.location", file("ca.pem".to_owned())),
        ("ssl.certificate.location", file(format!("{name}.pem"))),
        ("ssl.key.location", file(format!("{name}.key"))),
    ]
}

/// What the library says of its errors: the binding hands on the code alone, other clients print the words.
#[derive(Default)]
struct Words(Mutex<Option<(RDKafkaErrorCode, String)>>);

impl Words {
    fn about(&self, code: RDKafkaErrorCode, error: &KafkaError) -> String {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        words.filter(|(about, _)| *about == code).map_or_else(|| error.to_string(), |(_, words)| words)
    }
}

impl ClientContext for Words {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        QuietContext.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let words = error.rdkafka_error_code().map(|code| (code, reason.to_owned()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

impl ConsumerContext for Words {}

/// The library tells of lost connections and connects anew by itself.
const PASSING: [RDKafkaErrorCode; 2] = [RDKafkaErrorCode::BrokerTransportFailure, RDKafkaErrorCode::AllBrokersDown];

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
