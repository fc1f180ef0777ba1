//! Writing records to the keyring topic.
//!
//! Arrives: keys and values. Leaves: the answer that all in-sync replicas have them, or why not. The client library
//! reports deliveries as events that somebody must fetch; its own thread for that looks without a pause for one
//! millisecond in a hundred, which is a hundredth of a core for a producer that writes twice a day. So events are fetched
//! by whoever waits for one, and once a second what has gathered. What must never happen here: a record called
//! delivered that was not.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::topic::{ANSWER_TIMEOUT, QuietContext};

/// A producer towards the keyring topic.
#[derive(Clone)]
pub struct KeyringProducer {
    topic: Arc<str>,
    producer: Arc<BaseProducer<Deliveries>>,
}

/// Key and value of a record; no value deletes what the key had.
pub type KeyValue = (Vec<u8>, Option<Vec<u8>>);

impl KeyringProducer {
    /// A producer with these properties. Must be called within a runtime.
    pub fn new(topic: &str, config: &ClientConfig) -> KafkaResult<Self> {
        let producer: Arc<BaseProducer<Deliveries>> = Arc::new(config.create_with_context(Deliveries)?);
        tokio::spawn(fetch_idle_events(Arc::downgrade(&producer)));
        Ok(Self { topic: topic.into(), producer })
    }

    /// Writes one record, and waits until all in-sync replicas have it.
    pub async fn send(&self, key: impl Into<Vec<u8>>, value: Option<&[u8]>) -> KafkaResult<()> {
        self.send_all(vec![(key.into(), value.map(<[u8]>::to_vec))]).await
    }

    /// Writes records, and waits until all in-sync replicas have all of them. The first error counts; which of the others
    /// were written is then not known.
    pub async fn send_all(&self, records: Vec<KeyValue>) -> KafkaResult<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.deliver(&records)).await.unwrap_or(Err(KafkaError::Canceled))
    }

    fn deliver(&self, records: &[KeyValue]) -> KafkaResult<()> {
        let (told, reports) = channel();
        for (key, value) in records {
            let record = BaseRecord::with_opaque_to(&self.topic, Box::new(told.clone())).key(key).partition(0);
            let sent = match value {
                Some(value) => self.producer.send(record.payload(value)),
                None => self.producer.send::<Vec<u8>, Vec<u8>>(record),
            };
            sent.map_err(|(error, _)| error)?;
        }
        self.wait(&reports, records.len())
    }

    /// Fetches events until `count` deliveries are reported. A report may be fetched by another waiting call.
    fn wait(&self, reports: &Receiver<KafkaResult<()>>, count: usize) -> KafkaResult<()> {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        for _ in 0..count {
            loop {
                match reports.recv_timeout(Duration::ZERO) {
                    Ok(outcome) => break outcome?,
                    Err(RecvTimeoutError::Disconnected) => return Err(KafkaError::Canceled),
                    Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                        return Err(KafkaError::MessageProduction(RDKafkaErrorCode::OperationTimedOut));
                    }
                    Err(RecvTimeoutError::Timeout) => self.producer.poll(LOOK),
                }
            }
        }
        Ok(())
    }

    /// Becomes the one writer of the transactional id. Blocking.
    pub fn init_transactions(&self, timeout: Duration) -> KafkaResult<()> {
        self.producer.init_transactions(timeout)
    }

    /// What is sent from here on counts once it is committed.
    pub fn begin_transaction(&self) -> KafkaResult<()> {
        self.producer.begin_transaction()
    }

    /// Makes what was sent count. Blocking.
    pub fn commit_transaction(&self) -> KafkaResult<()> {
        self.producer.commit_transaction(ANSWER_TIMEOUT)
    }
}

/// Tells each record's sender how its delivery ended.
struct Deliveries;

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        QuietContext.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        QuietContext.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Sender<KafkaResult<()>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Self::DeliveryOpaque) {
        let outcome = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        // Whoever waited may have given up.
        told.send(outcome).ok();
    }
}

/// Fetches what gathers while nobody waits, errors of connections mostly, until the producer is gone.
async fn fetch_idle_events(producer: Weak<BaseProducer<Deliveries>>) {
    loop {
        tokio::time::sleep(IDLE_LOOK).await;
        let Some(producer) = producer.upgrade() else { return };
        for _ in 0..EVENTS_AT_ONCE {
            producer.poll(Duration::ZERO);
        }
    }
}

/// One look for events; in its last millisecond the library does not wait but looks again and again.
const LOOK: Duration = Duration::from_millis(2);

/// The library gives a record up after ten seconds and reports that; nobody waits much longer for its word.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);

/// A client without any broker reports an error or two in this time.
const IDLE_LOOK: Duration = Duration::from_secs(1);
const EVENTS_AT_ONCE: usize = 32;
