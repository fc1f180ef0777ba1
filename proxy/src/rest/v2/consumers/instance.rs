//! One consumer instance: a Kafka consumer of its principal, and what it has delivered.
//!
//! Arrives: calls, one after the other. Leaves: what the client library gives. Ending a client blocks, so a thread of its own does it.
//! What must never happen here: a record that was taken from the library and is not given to anybody.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::OwnedMessage;
use tokio::sync::{Mutex, MutexGuard};

use super::told;
use crate::rest::formats::Format;
use crate::rest::pool::Entry;
use crate::rest::{Code, Error};

/// The client library's consumer.
pub type Kafka = StreamConsumer<Quiet>;

/// One instance.
pub struct Instance {
    /// Its group.
    pub group: String,
    /// Its name, which is its id.
    pub name: String,
    /// How records are shown.
    pub format: Format,
    /// How long a read waits that does not say.
    pub request_timeout: Duration,
    /// Whether what was delivered is committed by itself.
    pub auto_commit: bool,
    // Taken out when dropped.
    consumer: Option<Arc<Kafka>>,
    state: Mutex<State>,
    used: AtomicU64,
    /// Keeps the principal's password for the inner listener.
    _entry: Arc<Entry>,
}

/// What calls change, one at a time.
#[derive(Default)]
pub struct State {
    /// Where its partitions come from.
    pub source: Source,
    /// A record that did not fit the last answer.
    pub pending: Option<OwnedMessage>,
    /// The next offset of each partition, after what was delivered.
    pub positions: HashMap<(String, i32), i64>,
}

/// Where the partitions of an instance come from. The ways exclude each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nothing was said yet.
    #[default]
    Nothing,
    /// From the group, for these topics.
    Topics(Vec<String>),
    /// From the group, for topics whose names match.
    Pattern,
    /// From the caller.
    Assigned,
}

impl Instance {
    /// Connects a consumer with these properties.
    ///
    /// # Errors
    /// `ConsumerConfig` when the library refuses them.
    pub fn new(
        (group, name): (String, String),
        format: Format,
        (request_timeout, auto_commit): (Duration, bool),
        config: &ClientConfig,
        entry: Arc<Entry>,
    ) -> Result<Self, Error> {
        let refused = |error: KafkaError| Code::ConsumerConfig.with(format!("Invalid consumer configuration: {error}"));
        let consumer: Kafka = config.create_with_context(Quiet).map_err(refused)?;
        Ok(Self {
            group,
            name,
            format,
            request_timeout,
            auto_commit,
            consumer: Some(Arc::new(consumer)),
            state: Mutex::default(),
            used: AtomicU64::new(0),
            _entry: entry,
        })
    }

    /// The state, when no other call is at work.
    pub async fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    /// The consumer.
    ///
    /// # Errors
    /// Never, while the instance lives.
    pub fn kafka(&self) -> Result<&Arc<Kafka>, Error> {
        self.consumer.as_ref().ok_or_else(|| Code::ConsumerNotFound.with("Consumer instance not found."))
    }

    /// Runs what may block.
    ///
    /// # Errors
    /// What the library says, in the API's words.
    pub async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Kafka) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, Error> {
        let kafka = self.kafka()?.clone();
        let done = tokio::task::spawn_blocking(move || call(&kafka)).await;
        done.map_err(|_| Code::Internal.with("a worker stopped"))?.map_err(|error| told(&error))
    }

    /// What is assigned now, by the group or by the caller.
    ///
    /// # Errors
    /// What the library says.
    pub fn assigned(&self) -> Result<Vec<(String, i32)>, Error> {
        let assigned = self.kafka()?.assignment().map_err(|error| told(&error))?;
        Ok(assigned.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect())
    }

    /// Lets the library commit what was delivered up to here, where it commits by itself.
    pub fn store(&self, state: &State) {
        if !self.auto_commit || state.positions.is_empty() {
            return;
        }
        let (Ok(kafka), Ok(assigned)) = (self.kafka(), self.assigned()) else { return };
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), offset) in state.positions.iter().filter(|(one, _)| assigned.contains(one)) {
            offsets.add_partition_offset(topic, *partition, rdkafka::Offset::Offset(*offset)).ok();
        }
        // What was taken away meanwhile is read again by somebody else.
        kafka.store_offsets(&offsets).ok();
    }

    /// Notes a call.
    pub fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    /// When the last call came.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let state = std::mem::take(self.state.get_mut());
        self.store(&state);
        let consumer = self.consumer.take();
        // Leaving the group takes a moment.
        let closing = std::thread::Builder::new().name("rest-close".to_owned()).spawn(move || drop(consumer));
        if let Err(error) = closing {
            tracing::warn!(event = "consumer_closed_late", %error);
        }
    }
}

/// What the client library says of itself goes to the log as detail.
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(event = "rest_client", facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(event = "rest_client", %error, reason);
    }
}

impl ConsumerContext for Quiet {}
