//! What each principal has of its own: a password for the inner listener, a producer, questions to Kafka, what is known of topics.
//!
//! Arrives: a principal. Leaves: its [`Entry`], made when first asked for and closed when unused for a while. What must never happen
//! here: an entry for two principals; more entries than the bound.

mod producer;
mod topics;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;

pub use producer::{Delivery, Hold, Producer, Refusal};

use self::topics::Topics;
use super::inner::{Admission, Inner};
use super::kafka::Kafka;
use super::{Code, Error};
use crate::config::{BridgeLimits, BridgeProducer};
use crate::identity::Principal;
use crate::metrics::RestMetrics;

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
    config: ClientConfig,
    most_records: usize,
    making: Mutex<()>,
    producer: OnceLock<Producer>,
    used: AtomicU64,
    // Last: the password outlives the clients that use it.
    _admission: Admission,
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
            config: self.config(&admission),
            most_records: self.limits.max_queued_records,
            making: Mutex::default(),
            producer: OnceLock::new(),
            used: AtomicU64::new(now),
            _admission: admission,
        })
    }

    fn config(&self, admission: &Admission) -> ClientConfig {
        let mut config = ClientConfig::new();
        // What the library gives up must be told before the caller is: it looks once a second.
        let timeout = self.limits.request_timeout;
        let timeout = timeout.saturating_sub(Duration::from_secs(2)).max(timeout / 2).as_millis();
        let bytes = self.limits.max_record_bytes.saturating_add(FRAMING_BYTES).max(LEAST_REQUEST_BYTES);
        for (name, value) in [
            ("bootstrap.servers", self.inner.bootstrap().to_string()),
            ("client.id", CLIENT_ID.to_owned()),
            ("security.protocol", "sasl_plaintext".to_owned()),
            ("sasl.mechanism", "PLAIN".to_owned()),
            ("sasl.username", admission.user().to_owned()),
            ("sasl.password", admission.password().to_owned()),
            ("log.connection.close", "false".to_owned()),
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            ("linger.ms", self.producer.linger.as_millis().to_string()),
            ("message.timeout.ms", timeout.to_string()),
            ("message.max.bytes", bytes.to_string()),
            // Bounded by what the pool takes; the library's own bounds must not come first.
            ("queue.buffering.max.messages", "0".to_owned()),
            ("queue.buffering.max.kbytes", MOST_QUEUE_KIB.to_string()),
            // As Kafka's Java client and the other REST bridges choose a partition by key.
            ("partitioner", "murmur2_random".to_owned()),
            ("reconnect.backoff.ms", "50".to_owned()),
            ("reconnect.backoff.max.ms", "1000".to_owned()),
        ] {
            config.set(name, value);
        }
        config
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
    ///
    /// # Errors
    /// `Internal` when the client library refuses.
    pub fn producer(&self) -> Result<&Producer, Error> {
        if let Some(producer) = self.producer.get() {
            return Ok(producer);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.producer.get().is_none() {
            let made = Producer::new(&self.config, self.most_records);
            let made = made.map_err(|error| Code::Internal.with(format!("no producer: {error}")))?;
            self.producer.set(made).ok();
        }
        self.producer.get().ok_or_else(|| Code::Internal.with("no producer"))
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
        for name in
            ["bootstrap.servers", "client.id", "security.protocol", "sasl.mechanism", "sasl.username", "sasl.password"]
        {
            if let Some(value) = self.config.get(name) {
                config.set(name, value);
            }
        }
        config.set("log.connection.close", "false");
        config
    }
}

/// Nobody holds it, and nothing is under way.
fn is_free(entry: &Arc<Entry>) -> bool {
    Arc::strong_count(entry) == 1 && !entry.producer.get().is_some_and(Producer::is_busy)
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

/// A batch's header and a record's lengths.
const FRAMING_BYTES: usize = 64 * 1024;

/// The library's default: smaller requests would carry fewer records of others.
const LEAST_REQUEST_BYTES: usize = 1_000_000;

/// The library's own maximum; the bodies that wait are bounded by `limits.max_memory_bytes`.
const MOST_QUEUE_KIB: u32 = 2_097_151;

/// How often is looked for what is unused.
const LEAST_LOOK: Duration = Duration::from_secs(1);
const MOST_LOOK: Duration = Duration::from_secs(30);
