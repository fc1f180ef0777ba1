//! What each principal has of its own: a password for the inner listener, a producer, questions to Kafka, what is known of topics.
//!
//! Arrives: a principal. Leaves: its [`Entry`], made when first asked for and closed when unused for a while. What must never happen
//! here: an entry for two principals; more entries than the bound.

mod topics;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use tokio::io::DuplexStream;

pub use super::producer::{Delivery, Hold, Producer, Refusal};

use self::topics::Topics;
use super::inner::{Admission, Inner, Lane};
use super::kafka::Kafka;
use super::producer::{Brokers, Terms};
use super::{Code, Error};
use crate::config::{BridgeLimits, BridgeProducer};
use crate::identity::Principal;
use crate::metrics::RestMetrics;
use crate::router::Target;

/// The entries of one bridge.
pub struct Pool {
    inner: Arc<Inner>,
    producer: BridgeProducer,
    limits: BridgeLimits,
    metrics: RestMetrics,
    began: Instant,
    entries: Mutex<HashMap<Principal, Arc<Entry>>>,
}

/// What one principal has.
pub struct Entry {
    /// Whose it is.
    pub principal: Principal,
    /// Questions to Kafka.
    pub kafka: Kafka,
    /// Transactions of requests with an `Idempotency-Key`.
    pub own: Kafka,
    topics: Topics,
    bootstrap: String,
    producer: Producer,
    used: AtomicU64,
    // Last: the password outlives the clients that use it.
    admission: Admission,
}

impl Pool {
    /// A pool without entries.
    pub fn new(inner: Arc<Inner>, producer: BridgeProducer, limits: BridgeLimits, metrics: RestMetrics) -> Self {
        Self { inner, producer, limits, metrics, began: Instant::now(), entries: Mutex::default() }
    }

    /// The entry of a principal.
    ///
    /// # Errors
    /// `TooManyRequests` when there are as many as may be and none is unused.
    pub fn entry(&self, principal: &Principal) -> Result<Arc<Entry>, Error> {
        let now = self.now();
        let mut entries = self.entries();
        if let Some(entry) = entries.get(principal) {
            entry.used.store(now, Ordering::Relaxed);
            return Ok(entry.clone());
        }
        if entries.len() >= self.limits.max_producers && !evict(&mut entries) {
            return Err(Code::TooManyRequests.with("too many principals at once (limits.max_producers)"));
        }
        let entry = Arc::new(self.make(principal, now)?);
        entries.insert(principal.clone(), entry.clone());
        self.metrics.principals.set(count(entries.len()));
        Ok(entry)
    }

    /// Closes what has not been used for a while, for ever.
    pub async fn close_idle(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.producer.idle.clamp(LEAST_LOOK, MOST_LOOK));
        loop {
            ticks.tick().await;
            let oldest = self.now().saturating_sub(self.producer.idle.as_secs());
            let mut entries = self.entries();
            entries.retain(|_, entry| !is_free(entry) || entry.used.load(Ordering::Relaxed) >= oldest);
            self.metrics.principals.set(count(entries.len()));
        }
    }

    fn make(&self, principal: &Principal, now: u64) -> Result<Entry, Error> {
        let admission = self.inner.admit(principal).map_err(|_| Code::Internal.with("no random bytes"))?;
        let kafka = Kafka::new(self.inner.clone(), principal.clone(), self.limits.request_timeout);
        let own = Kafka::own(self.inner.clone(), principal.clone(), self.limits.request_timeout);
        Ok(Entry {
            principal: principal.clone(),
            kafka,
            own,
            topics: Topics::default(),
            bootstrap: self.inner.bootstrap().to_string(),
            producer: Producer::new(Pipes { inner: self.inner.clone(), principal: principal.clone() }, self.terms()),
            used: AtomicU64::new(now),
            admission,
        })
    }

    fn terms(&self) -> Terms {
        // What is given up must be told before the caller is.
        let timeout = self.limits.request_timeout;
        let delivery = timeout.saturating_sub(Duration::from_secs(2)).max(timeout / 2);
        Terms { linger: self.producer.linger, delivery, most_records: self.limits.max_queued_records }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Principal, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The principal's producer.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// How many partitions a topic has, as far as the principal may see it.
    ///
    /// # Errors
    /// `TopicNotFound`, `Forbidden`, or that Kafka does not answer.
    pub async fn partitions(&self, topic: &str) -> Result<i32, Error> {
        self.topics.count(topic, &self.kafka).await
    }

    /// The properties of a client of this principal, for consumers.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in [
            ("bootstrap.servers", self.bootstrap.as_str()),
            ("client.id", CLIENT_ID),
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", self.admission.user()),
            ("sasl.password", self.admission.password()),
        ] {
            config.set(name, value);
        }
        config.set("log.connection.close", "false");
        config
    }
}

/// A principal's ways into the gateway.
struct Pipes {
    inner: Arc<Inner>,
    principal: Principal,
}

impl Brokers for Pipes {
    fn ask_any(&self) -> DuplexStream {
        self.inner.pipe(self.principal.clone(), Target::Bootstrap, false)
    }

    fn connect(&self, node_id: i32) -> Lane {
        self.inner.lane(self.principal.clone(), Target::Node(node_id))
    }
}

/// Nobody holds it, and nothing is under way.
fn is_free(entry: &Arc<Entry>) -> bool {
    Arc::strong_count(entry) == 1 && !entry.producer.is_busy()
}

/// Makes room by closing what has been unused the longest; false when all are in use.
fn evict(entries: &mut HashMap<Principal, Arc<Entry>>) -> bool {
    let free = entries.values().filter(|entry| is_free(entry));
    let oldest = free.min_by_key(|entry| entry.used.load(Ordering::Relaxed)).map(|entry| entry.principal.clone());
    oldest.is_some_and(|principal| entries.remove(&principal).is_some())
}

fn count(entries: usize) -> i64 {
    i64::try_from(entries).unwrap_or(i64::MAX)
}

/// What brokers see in their request logs.
const CLIENT_ID: &str = "barnabas-rest";

/// How often is looked for what is unused.
const LEAST_LOOK: Duration = Duration::from_secs(1);
const MOST_LOOK: Duration = Duration::from_secs(30);
