//! One principal's producer: records go in, outcomes come out, many requests at once.
//!
//! Arrives: the records of a request. Leaves: a [`Delivery`] that is whole when the brokers have acknowledged every record, or said
//! no. One thread for each producer fetches the client library's reports, and sleeps while nothing is under way. What must never
//! happen here: a record called written without the broker's word (acks=all); a queue without a bound.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::rest::formats::Placed;
use crate::rest::record::Record;

/// Why a record was not written, in Kafka's words.
pub type Refusal = RDKafkaErrorCode;

/// The room that a request has been given; nothing where none was needed.
pub type Hold = Option<OwnedSemaphorePermit>;

/// A producer of one principal.
pub struct Producer {
    // Taken out when dropped: ending a client blocks, so the reporting thread does it.
    kafka: Option<Arc<BaseProducer<Reports>>>,
    flight: Arc<Flight>,
    reporting: Thread,
    most_records: usize,
}

impl Producer {
    /// A producer with these properties, which holds `most_records` that are not acknowledged at most.
    pub fn new(config: &ClientConfig, most_records: usize) -> KafkaResult<Self> {
        let kafka: Arc<BaseProducer<Reports>> = Arc::new(config.create_with_context(Reports)?);
        let flight = Arc::new(Flight::default());
        let (reported, of) = (kafka.clone(), flight.clone());
        let thread = thread::Builder::new().name("rest-reports".to_owned()).spawn(move || fetch_reports(reported, &of));
        let reporting = thread.map_err(|_| KafkaError::Canceled)?.thread().clone();
        Ok(Self { kafka: Some(kafka), flight, reporting, most_records })
    }

    /// Takes records, all or none; `None` when too many are under way. Never waits.
    /// `hold` is kept until the last of them has its outcome, whether or not anybody waits for it.
    pub fn send(&self, topic: &str, partition: Option<i32>, records: &[Record], hold: Hold) -> Option<Delivery> {
        let reserved = self.flight.reserve(records.len(), self.most_records)?;
        let delivery = Delivery::new(records.len(), self.flight.clone(), hold);
        let Some(kafka) = &self.kafka else { return None };
        for (index, record) in records.iter().enumerate() {
            let receipt = Box::new(Receipt { outcomes: delivery.outcomes.clone(), index });
            let prepared = prepare(topic, partition.or(record.partition), record, receipt);
            if let Err((error, refused)) = kafka.send(prepared) {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                refused.delivery_opaque.settle(Err(code));
            }
        }
        if reserved == Reserved::First {
            self.reporting.unpark();
        }
        Some(delivery)
    }

    /// Whether records wait for their acknowledgement.
    pub fn is_busy(&self) -> bool {
        self.flight.records.load(Ordering::Acquire) > 0
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // In this order the thread's is the last one.
        self.kafka = None;
        self.flight.ended.store(true, Ordering::Release);
        self.reporting.unpark();
    }
}

/// What becomes of the records of one request. Clones see the same.
#[derive(Clone)]
pub struct Delivery {
    outcomes: Arc<Outcomes>,
}

impl Delivery {
    fn new(count: usize, flight: Arc<Flight>, hold: Hold) -> Self {
        let slots = (0..count).map(|_| OnceLock::new()).collect();
        let (left, whole) = (AtomicUsize::new(count), Notify::new());
        Self { outcomes: Arc::new(Outcomes { slots, left, whole, flight, _hold: hold }) }
    }

    /// One whose records have their outcomes already.
    pub fn settled(outcomes: Vec<Result<Placed, Refusal>>, hold: Hold) -> Self {
        let slots = outcomes.into_iter().map(OnceLock::from).collect();
        let (left, whole) = (AtomicUsize::new(0), Notify::new());
        Self { outcomes: Arc::new(Outcomes { slots, left, whole, flight: Arc::default(), _hold: hold }) }
    }

    /// Waits until every record has its outcome.
    pub async fn whole(&self) {
        loop {
            let told = self.outcomes.whole.notified();
            if self.outcomes.left.load(Ordering::Acquire) == 0 {
                return;
            }
            told.await;
        }
    }

    /// Each record's outcome in the order of the request; `None` where there is none yet.
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = Option<&Result<Placed, Refusal>>> {
        self.outcomes.slots.iter().map(OnceLock::get)
    }
}

struct Outcomes {
    slots: Box<[OnceLock<Result<Placed, Refusal>>]>,
    left: AtomicUsize,
    whole: Notify,
    flight: Arc<Flight>,
    _hold: Hold,
}

/// Travels with a record through the client library.
struct Receipt {
    outcomes: Arc<Outcomes>,
    index: usize,
}

impl Receipt {
    fn settle(&self, outcome: Result<Placed, Refusal>) {
        let settled = self.outcomes.slots.get(self.index).is_some_and(|slot| slot.set(outcome).is_ok());
        if settled {
            self.outcomes.flight.records.fetch_sub(1, Ordering::AcqRel);
            if self.outcomes.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.outcomes.whole.notify_one();
            }
        }
    }
}

/// Records under way.
#[derive(Default)]
struct Flight {
    records: AtomicUsize,
    ended: AtomicBool,
}

#[derive(PartialEq, Eq)]
enum Reserved {
    /// Nothing else was under way: nobody is looking for reports.
    First,
    More,
}

impl Flight {
    fn reserve(&self, count: usize, most: usize) -> Option<Reserved> {
        let fits = |records: usize| records.checked_add(count).filter(|sum| *sum <= most);
        let before = self.records.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        Some(if before == 0 { Reserved::First } else { Reserved::More })
    }
}

fn prepare<'a>(
    topic: &'a str,
    partition: Option<i32>,
    record: &'a Record,
    receipt: Box<Receipt>,
) -> BaseRecord<'a, [u8], [u8], Box<Receipt>> {
    let mut prepared: BaseRecord<'a, [u8], [u8], Box<Receipt>> = BaseRecord::with_opaque_to(topic, receipt);
    prepared.partition = partition;
    prepared.key = record.key.as_deref();
    prepared.payload = record.value.as_deref();
    prepared.timestamp = record.timestamp;
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        prepared.headers = Some(headers);
    }
    prepared
}

/// The client library's words about a producer.
struct Reports;

impl ClientContext for Reports {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(event = "rest_client", facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(event = "rest_client", %error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, report: &DeliveryResult<'_>, receipt: Self::DeliveryOpaque) {
        receipt.settle(match report {
            Ok(message) => Ok(Placed {
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message.timestamp().to_millis(),
            }),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        });
    }
}

/// Fetches reports while records are under way, and sleeps otherwise: an idle producer costs nothing here.
fn fetch_reports(kafka: Arc<BaseProducer<Reports>>, flight: &Flight) {
    loop {
        if flight.records.load(Ordering::Acquire) > 0 {
            kafka.poll(LOOK);
        } else if flight.ended.load(Ordering::Acquire) {
            return;
        } else {
            thread::park();
        }
    }
}

/// A look ends only when its time is over, and spends its last millisecond without a pause: the longer, the cheaper.
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_more_is_taken_than_the_bound() {
        let flight = Flight::default();
        assert!(flight.reserve(3, 5) == Some(Reserved::First));
        assert!(flight.reserve(3, 5).is_none());
        assert!(flight.reserve(2, 5) == Some(Reserved::More));
        assert!(flight.reserve(usize::MAX, 5).is_none());
        assert_eq!(flight.records.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn a_delivery_is_whole_when_every_record_has_its_outcome() {
        let flight = Arc::new(Flight::default());
        flight.reserve(2, 10).unwrap();
        let delivery = Delivery::new(2, flight.clone(), None);
        let receipt = |index| Receipt { outcomes: delivery.outcomes.clone(), index };
        let placed = Placed { partition: 1, offset: 7, timestamp: None };
        receipt(1).settle(Ok(placed));
        receipt(1).settle(Err(RDKafkaErrorCode::Fail));
        assert!(tokio::time::timeout(Duration::from_millis(1), delivery.whole()).await.is_err());
        assert_eq!(delivery.outcomes().map(|outcome| outcome.is_some()).collect::<Vec<_>>(), [false, true]);
        receipt(0).settle(Err(RDKafkaErrorCode::PolicyViolation));
        delivery.whole().await;
        assert_eq!(flight.records.load(Ordering::Relaxed), 0);
        let outcomes: Vec<_> = delivery.outcomes().map(|outcome| *outcome.unwrap()).collect();
        assert_eq!(outcomes, [Err(RDKafkaErrorCode::PolicyViolation), Ok(placed)]);
    }

    #[tokio::test]
    async fn records_that_reach_no_broker_are_refused_in_time() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1").set("message.timeout.ms", "300");
        let producer = Producer::new(&config, 10).unwrap();
        let record = Record { value: Some(bytes::Bytes::from_static(b"x")), ..Record::default() };
        let delivery = producer.send("orders", None, std::slice::from_ref(&record), None).unwrap();
        assert!(producer.is_busy());
        delivery.whole().await;
        assert!(matches!(delivery.outcomes().next(), Some(Some(Err(_)))));
        assert!(!producer.is_busy());
    }
}
