//! librdkafka, the client of C, C++, Python, .NET, Go (confluent) and Rust programs: the tests' own hands.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::Endpoint;
use super::record::{Blob, Placed, Received, Sent};
use crate::wait::{self, PATIENCE};

/// What became of a produced record: its place or the broker's refusal.
pub type Outcome = Result<Placed, RDKafkaErrorCode>;

/// A producer that keeps what became of each record, in the order of the sending.
pub struct Producer {
    inner: ThreadedProducer<Outcomes>,
    sent: usize,
}

impl Producer {
    /// A producer with librdkafka's defaults (acks=all) and these further settings.
    pub fn new(endpoint: &Endpoint, settings: &[(&str, &str)]) -> Self {
        let mut config = config(endpoint);
        config.set("linger.ms", "20").set("message.timeout.ms", "60000");
        settings.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        let inner = config.create_with_context(Outcomes::default()).expect("librdkafka takes these settings");
        Self { inner, sent: 0 }
    }

    /// Hands a record to librdkafka; what becomes of it is asked by [`Producer::outcomes`]. One that librdkafka does not take, since it
    /// knows already that the client may not write, has its outcome at once.
    pub fn send(&mut self, topic: &str, record: &Sent) {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_ref().map(|blob| &blob.0) })
        });
        let mut message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, self.sent)
            .partition(record.partition)
            .timestamp(record.timestamp);
        message.key = record.key.as_ref().map(|blob| blob.0.as_slice());
        message.payload = record.value.as_ref().map(|blob| blob.0.as_slice());
        if !record.headers.is_empty() {
            message.headers = Some(headers);
        }
        self.inner.context().outcomes.lock().expect("no panic under the lock").push(None);
        self.sent += 1;
        wait::until("librdkafka has room for a record", PATIENCE, || {
            let mut copy = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, self.sent - 1);
            copy.partition = message.partition;
            copy.timestamp = message.timestamp;
            copy.key = message.key;
            copy.payload = message.payload;
            copy.headers = message.headers.clone();
            match self.inner.send(copy) {
                Ok(()) => Some(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => None,
                Err((KafkaError::MessageProduction(code @ RDKafkaErrorCode::TopicAuthorizationFailed), _)) => {
                    self.inner.context().outcomes.lock().expect("no panic under the lock")[self.sent - 1] =
                        Some(Err(code));
                    Some(())
                }
                Err((e, _)) => panic!("librdkafka refuses a record: {e}"),
            }
        });
    }

    /// What is known up to now, without waiting: `None` for a record in flight.
    pub fn so_far(&self) -> Vec<Option<Outcome>> {
        self.inner.context().outcomes.lock().expect("no panic under the lock").clone()
    }

    /// Waits for all records and says what became of each.
    #[track_caller]
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.inner.flush(Duration::from_secs(120)).expect("all records got an answer in two minutes");
        self.so_far().into_iter().map(|outcome| outcome.expect("flushed")).collect()
    }

    /// Waits for all records, each of which must have been taken.
    #[track_caller]
    pub fn placed(&self) -> Vec<Placed> {
        self.outcomes().into_iter().map(|outcome| outcome.expect("the record was acknowledged")).collect()
    }

    /// Begins the use of transactions; needs `transactional.id`.
    pub fn transactions(&self) -> &ThreadedProducer<Outcomes> {
        &self.inner
    }
}

/// Produces these records and waits until all are acknowledged.
#[track_caller]
pub fn produce(endpoint: &Endpoint, topic: &str, records: &[Sent], settings: &[(&str, &str)]) -> Vec<Placed> {
    let mut producer = Producer::new(endpoint, settings);
    records.iter().for_each(|record| producer.send(topic, record));
    producer.placed()
}

/// Produces one record and says what became of it.
pub fn try_produce(endpoint: &Endpoint, topic: &str, record: &Sent) -> Outcome {
    let mut producer = Producer::new(endpoint, &[("message.timeout.ms", "45000")]);
    producer.send(topic, record);
    producer.outcomes().remove(0)
}

/// A consumer in a group, from the beginning, with these further settings.
pub fn consumer(endpoint: &Endpoint, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(endpoint);
    config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.partition.eof", "true");
    settings.iter().for_each(|(key, value)| {
        config.set(*key, *value);
    });
    config.create().expect("librdkafka takes these settings")
}

/// Consumes `count` records with a group.
///
/// # Panics
/// When they do not come, or an error comes instead.
#[track_caller]
pub fn consume(endpoint: &Endpoint, topic: &str, group: &str, count: usize) -> Vec<Received> {
    let consumer = consumer(endpoint, group, &[]);
    consumer.subscribe(&[topic]).expect("librdkafka takes the subscription");
    take(&consumer, count)
}

/// Polls until `count` records have come.
#[track_caller]
pub fn take(consumer: &BaseConsumer, count: usize) -> Vec<Received> {
    let mut received = Vec::new();
    wait::until(&format!("{count} records come"), PATIENCE, || {
        while received.len() < count {
            match consumer.poll(POLL)? {
                Ok(message) => received.push(owned(&message)),
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(e) if is_passing(&e) => {}
                Err(e) => panic!("an error instead of a record: {e}"),
            }
        }
        Some(())
    });
    received
}

/// What came out of a topic, and the error that stood in the way of the rest.
pub struct Reading {
    /// The records that were delivered.
    pub records: Vec<Received>,
    /// The first error that is not about a connection; reading stopped there.
    pub error: Option<RDKafkaErrorCode>,
}

/// Reads a whole topic without a group, from the beginning to its end.
///
/// # Panics
/// When an error comes instead.
#[track_caller]
pub fn read_all(endpoint: &Endpoint, topic: &str) -> Vec<Received> {
    let reading = read(endpoint, topic, &[]);
    assert_eq!(reading.error, None, "{topic} cannot be read");
    reading.records
}

/// The same with further settings, where an error is what the test asks about.
///
/// # Panics
/// When neither an error nor the end of the topic comes: a reader must never hang.
#[track_caller]
pub fn read(endpoint: &Endpoint, topic: &str, settings: &[(&str, &str)]) -> Reading {
    let consumer = consumer(endpoint, "none", &[&[("enable.auto.commit", "false")], settings].concat());
    let mut open = wait::until(&format!("the partitions of {topic} are known"), PATIENCE, || {
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).ok()?;
        let partitions = metadata.topics().iter().flat_map(|t| t.partitions().iter().map(|p| p.id()));
        let partitions: BTreeSet<i32> = partitions.collect();
        (!partitions.is_empty()).then_some(partitions)
    });
    let mut list = TopicPartitionList::new();
    for partition in &open {
        list.add_partition_offset(topic, *partition, Offset::Beginning).expect("an offset that exists");
    }
    consumer.assign(&list).expect("librdkafka takes the assignment");
    let mut reading = Reading { records: Vec::new(), error: None };
    wait::until(&format!("the end of {topic}"), PATIENCE, || {
        while !open.is_empty() && reading.error.is_none() {
            match consumer.poll(POLL)? {
                Ok(message) => reading.records.push(owned(&message)),
                Err(KafkaError::PartitionEOF(partition)) => {
                    open.remove(&partition);
                }
                Err(e) if is_passing(&e) => {}
                Err(e) => reading.error = Some(e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
            }
        }
        Some(())
    });
    reading
}

/// librdkafka's settings for an endpoint.
pub fn config(endpoint: &Endpoint) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &endpoint.bootstrap).set("broker.address.family", "v4");
    config.set("reconnect.backoff.max.ms", "500").set("log_level", "0");
    if let Some(files) = &endpoint.tls {
        config.set("security.protocol", "ssl").set("ssl.ca.location", files.ca.display().to_string());
        if let Some(own) = &files.own {
            config.set("ssl.certificate.location", own.certificate.display().to_string());
            config.set("ssl.key.location", own.private_key.display().to_string());
        }
    }
    config
}

/// Errors that librdkafka reports and mends by itself.
pub fn is_passing(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| PASSING.contains(&code))
}

/// A message with all that the comparison looks at.
pub fn owned(message: &BorrowedMessage<'_>) -> Received {
    let headers = message.headers().map(|headers| {
        let named = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(|value| Blob(value.to_vec())));
        headers.iter().map(named).collect()
    });
    let record = Sent {
        partition: message.partition(),
        key: message.key().map(|key| Blob(key.to_vec())),
        value: message.payload().map(|value| Blob(value.to_vec())),
        headers: headers.unwrap_or_default(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
    };
    Received { offset: message.offset(), record }
}

/// Where the delivery reports go.
#[derive(Clone, Default)]
pub struct Outcomes {
    outcomes: Arc<Mutex<Vec<Option<Outcome>>>>,
}

impl ClientContext for Outcomes {}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(message) => Ok(Placed { partition: message.partition(), offset: message.offset() }),
            Err((e, _)) => Err(e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        let mut outcomes = self.outcomes.lock().expect("no panic under the lock");
        if let Some(slot) = outcomes.get_mut(number) {
            *slot = Some(outcome);
        }
    }
}

const PASSING: [RDKafkaErrorCode; 5] = [
    RDKafkaErrorCode::BrokerTransportFailure,
    RDKafkaErrorCode::AllBrokersDown,
    RDKafkaErrorCode::OperationTimedOut,
    RDKafkaErrorCode::Resolve,
    RDKafkaErrorCode::UnknownTopicOrPartition,
];

/// One asking of a consumer.
const POLL: Duration = Duration::from_millis(200);
