//! Writing to the keyring as the only one who does.
//!
//! Arrives: signed objects that were made from the keyring as it was read. Leaves: all of them in the topic, or none.
//! Kafka lets one producer of a transactional id live; a newer one fences the older. So a delegate that holds the
//! producer and has read the topic to its end knows that nobody else has written since, or its commit fails. What must
//! never happen here: a version that was given twice.

use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::SignedObject;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::keyring::{ANSWER_TIMEOUT, KeyringProducer, KeyringTopic, LiveKeyring, QuietContext, TopicError};

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Kafka says no, or does not answer.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Another delegate has taken over; read again and decide again.
    #[error("another steward has written to the keyring meanwhile")]
    Fenced,
    /// The topic was not read to its end in time.
    #[error("the keyring was not read to its end within {0:?}")]
    Behind(Duration),
    /// A thread of ours has died.
    #[error("publisher stopped")]
    Stopped,
}

/// The one writer.
pub struct ExclusivePublisher {
    topic: Arc<KeyringTopic>,
    live: Arc<LiveKeyring>,
    producer: Option<KeyringProducer>,
}

impl ExclusivePublisher {
    /// Nothing is taken yet: the first use does.
    pub fn new(topic: Arc<KeyringTopic>, live: Arc<LiveKeyring>) -> Self {
        Self { topic, live, producer: None }
    }

    /// Makes sure that this is the one writer and that everything written before has been read. Counts as taken only
    /// once it has been read: whoever gives up before leaves nothing that the next one could decide from.
    pub async fn take(&mut self) -> Result<(), PublishError> {
        if self.producer.is_none() {
            let topic = self.topic.clone();
            let producer = blocking(move || {
                let producer = topic.publish_exclusively()?;
                producer.init_transactions(INIT_TIMEOUT).map_err(|error| topic.kafka(error))?;
                Ok(producer)
            })
            .await?;
            let topic = self.topic.clone();
            let from = self.live.applied_to();
            let end = blocking(move || end_of_topic(&topic, from)).await?;
            let read = self.live.wait_for(ANSWER_TIMEOUT, |live| (live.applied_to() >= end).then_some(())).await;
            read.ok_or(PublishError::Behind(ANSWER_TIMEOUT))?;
            self.producer = Some(producer);
        }
        Ok(())
    }

    /// Writes all objects or none, and waits until the keyring here has them. On any other end, also when the caller
    /// goes away in the middle, the producer is given up: the next one fences it, and reads what became of its
    /// transaction before anything else is decided.
    pub async fn publish(&mut self, objects: &[SignedObject]) -> Result<(), PublishError> {
        if objects.is_empty() {
            return Ok(());
        }
        let producer = self.write(objects).await?;
        // The last one first: when it has come, all have.
        let arrived = |live: &LiveKeyring| {
            live.read(|keyring| {
                let known =
                    |object: &SignedObject| keyring.next_version(object.body().slot()) > object.object().version;
                objects.iter().rev().all(known).then_some(())
            })
        };
        self.live.wait_for(ANSWER_TIMEOUT, arrived).await.ok_or(PublishError::Behind(ANSWER_TIMEOUT))?;
        self.producer = Some(producer);
        Ok(())
    }

    /// Writes all objects or none; does not wait until they were read again, since what is history may be refused by
    /// those who take it for news.
    pub async fn append(&mut self, objects: &[SignedObject]) -> Result<(), PublishError> {
        let producer = self.write(objects).await?;
        self.producer = Some(producer);
        Ok(())
    }

    async fn write(&mut self, objects: &[SignedObject]) -> Result<KeyringProducer, PublishError> {
        // A producer that failed, or whose caller went away in the middle, is not used again: the next one starts clean.
        let producer = self.producer.take().ok_or(PublishError::Fenced)?;
        self.transact(&producer, objects).await?;
        Ok(producer)
    }

    async fn transact(&self, producer: &KeyringProducer, objects: &[SignedObject]) -> Result<(), PublishError> {
        producer.begin_transaction().map_err(|error| self.judge(error))?;
        for some in objects.chunks(MOST_IN_FLIGHT) {
            let records =
                some.iter().map(|object| (object.record_key().into(), Some(object.wire().to_vec()))).collect();
            producer.send_all(records).await.map_err(|error| self.judge(error))?;
        }
        let committing = producer.clone();
        let committed = tokio::task::spawn_blocking(move || committing.commit_transaction()).await;
        committed.map_err(|_| PublishError::Stopped)?.map_err(|error| self.judge(error))
    }

    fn judge(&self, error: KafkaError) -> PublishError {
        let code = match &error {
            KafkaError::Transaction(error) => Some(error.code()),
            other => other.rdkafka_error_code(),
        };
        match code {
            Some(
                RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
                // A fenced producer gives back what it has not sent as purged; nobody else purges.
                | RDKafkaErrorCode::PurgeQueue
                | RDKafkaErrorCode::PurgeInflight
                | RDKafkaErrorCode::Fatal
                // A coordinator that is fencing this producer in the same moment has answered just that.
                | RDKafkaErrorCode::InvalidTransactionalState
                | RDKafkaErrorCode::Unknown,
            ) => PublishError::Fenced,
            _ => self.topic.kafka(error).into(),
        }
    }
}

/// The offset behind the last record that readers can see, found by reading: the end of the log may be a transaction
/// marker, which nobody is ever shown.
fn end_of_topic(topic: &KeyringTopic, from: i64) -> Result<i64, TopicError> {
    let consumer: BaseConsumer<QuietContext> = topic.consumer()?;
    let mut partitions = TopicPartitionList::new();
    let start = if from > 0 { Offset::Offset(from) } else { Offset::Beginning };
    partitions.add_partition_offset(topic.name(), 0, start).map_err(|error| topic.kafka(error))?;
    consumer.assign(&partitions).map_err(|error| topic.kafka(error))?;
    let mut end = from;
    let deadline = std::time::Instant::now() + ANSWER_TIMEOUT;
    while std::time::Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => end = message.offset() + 1,
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(end),
            Some(Err(error)) => return Err(topic.kafka(error)),
            None => {}
        }
    }
    Err(topic.kafka(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TopicError> + Send + 'static,
) -> Result<T, PublishError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| PublishError::Stopped)?;
    Ok(done?)
}

/// Far below what the client library queues.
const MOST_IN_FLIGHT: usize = 1_000;

/// A fresh cluster makes its transaction log first, which takes seconds.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
