//! The keyring as it is now: the topic's objects, verified, kept up to date.
//!
//! Arrives: records of the keyring topic, in order. Leaves: look-ups for slow paths, a generation number for fast
//! ones, and the word that something was refused. What must never happen here: an object that the keyring refused
//! changing anything, or a caller waiting without an end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use barnabas_crypto::{
    Body, Change, Effect, HeadState, Keyring, Kind, Refusal, SignedObject, UnixMillis, VerifyingKey,
};
use rdkafka::Message;
use rdkafka::error::KafkaError;
use tokio::sync::watch;

use super::requests::Requests;
use super::sealed_topics::SealedTopics;
use super::told::Told;
use super::topic::KeyringConsumer;
use crate::audit::event::Audit;
use crate::metrics::Metrics;

/// The followed keyring.
pub struct LiveKeyring {
    keyring: RwLock<Keyring>,
    /// Rises with every change that can change a decision; announcements are looked up by need and do not count.
    generation: AtomicU64,
    /// The offset behind the last applied record.
    applied_to: AtomicI64,
    caught_up: AtomicBool,
    /// A head came after the history was read. Before that a head may differ honestly: compaction moves objects that
    /// have changed since behind it.
    head_came: AtomicBool,
    changed: watch::Sender<u64>,
    /// What gateways ask of a steward elsewhere, by record key.
    requests: Mutex<Requests>,
    /// Keys of refused records: under some of them an accepted object stands, which compaction would drop.
    damaged: Mutex<BTreeSet<Vec<u8>>>,
    sealed_topics: RwLock<SealedTopics>,
    told: Told,
    metrics: Arc<Metrics>,
}

impl LiveKeyring {
    /// An empty keyring under a pinned root key.
    pub fn new(root: VerifyingKey, metrics: Arc<Metrics>) -> Self {
        Self::telling(root, metrics, Told::nobody())
    }

    /// The same, of which the audit log hears.
    pub fn telling(root: VerifyingKey, metrics: Arc<Metrics>, told: Told) -> Self {
        Self {
            keyring: RwLock::new(Keyring::new(root)),
            generation: AtomicU64::new(1),
            applied_to: AtomicI64::new(0),
            caught_up: AtomicBool::new(false),
            head_came: AtomicBool::new(false),
            changed: watch::Sender::new(0),
            requests: Mutex::default(),
            damaged: Mutex::default(),
            sealed_topics: RwLock::default(),
            told,
            metrics,
        }
    }

    /// Asks the keyring. Never held across an await, and never on the way of a record.
    pub fn read<T>(&self, ask: impl FnOnce(&Keyring) -> T) -> T {
        ask(&self.keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// See [`Self::bump`].
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes every connection decide anew: for what changes outside of the keyring, such as the policy.
    pub fn bump(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.changed.send_modify(|count| *count += 1);
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        self.told.audit()
    }

    /// Tells the audit log of the history what it has not heard of; true when nothing is left.
    pub fn tell_history(&self) -> bool {
        self.read(|keyring| self.told.catch_up(keyring, self.applied_to()))
    }

    /// Whether the history has been read to its end once.
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// Whether the newest head says something else than what was read, and must not.
    pub fn head_differs(&self) -> bool {
        self.head_came.load(Ordering::Acquire) && self.read(Keyring::head_state) == HeadState::Differs
    }

    /// Whether a topic was sealed once, as far as this process or its keystore has heard.
    pub fn was_sealed(&self, topic: &str) -> bool {
        self.sealed_topics.read().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }

    /// Takes note of a topic that was sealed before this process began.
    pub fn remember_sealed(&self, topic: String) {
        self.sealed_topics.write().unwrap_or_else(PoisonError::into_inner).insert(topic);
    }

    /// The offset behind the last record that was applied.
    pub fn applied_to(&self) -> i64 {
        self.applied_to.load(Ordering::Acquire)
    }

    /// Waits until `ask` gives something, at most `limit`.
    pub async fn wait_for<T>(&self, limit: Duration, mut ask: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(deadline);
        loop {
            changed.mark_unchanged();
            if let Some(found) = ask(self) {
                return Some(found);
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = &mut deadline => return None,
            }
        }
    }

    /// What is asked of a steward now: record keys and what stands there.
    pub fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Whether a request stands under this record key.
    pub fn is_requested(&self, key: &str) -> bool {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).has(key)
    }

    /// Waits until the history has been read.
    pub async fn wait_until_caught_up(&self, limit: Duration) -> bool {
        self.wait_for(limit, |live| live.is_caught_up().then_some(())).await.is_some()
    }

    /// Follows the topic for ever. Errors of the connection are passing: the client library reconnects by itself.
    pub async fn follow(self: Arc<Self>, consumer: KeyringConsumer) {
        let mut failing = false;
        loop {
            match consumer.recv().await {
                Ok(message) => {
                    failing = false;
                    let key = message.key().unwrap_or_default();
                    self.apply(key, message.payload(), message.offset());
                }
                Err(KafkaError::PartitionEOF(_)) => {
                    failing = false;
                    self.catch_up();
                }
                Err(error) => {
                    // One line for an outage, not one for every attempt.
                    if !failing {
                        tracing::warn!(event = "keyring_unreachable", %error);
                    }
                    failing = true;
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    /// Applies one record.
    pub fn apply(&self, key: &[u8], value: Option<&[u8]>, offset: i64) {
        if let Some(key) = Requests::key(key) {
            // Not an object: nothing that is asked for changes the keyring.
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).take(key, value);
            self.applied_to.fetch_max(offset + 1, Ordering::AcqRel);
            self.changed.send_modify(|count| *count += 1);
            return;
        }
        let outcome = self.keyring.write().unwrap_or_else(PoisonError::into_inner).apply(key, value, now());
        if self.sealed_topics.write().unwrap_or_else(PoisonError::into_inner).take(value, outcome.as_ref()) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        self.applied_to.fetch_max(offset + 1, Ordering::AcqRel);
        match outcome {
            Ok(change) => {
                if change.slot.kind == Kind::Head && self.is_caught_up() {
                    self.head_came.store(true, Ordering::Release);
                }
                for (slot, refusal) in change.follow_ups.iter().filter_map(|(slot, r)| Some((slot, r.as_ref().err()?)))
                {
                    self.alarm(&slot.to_string(), offset, refusal);
                }
                self.read(|keyring| self.told.accepted(keyring, &change, offset, self.is_caught_up()));
                self.tell_destroyed(&change);
                let decides = !matches!(change.slot.kind, Kind::Announcement | Kind::Head);
                if decides && change.effect != Effect::Unchanged || !change.follow_ups.is_empty() {
                    self.generation.fetch_add(1, Ordering::AcqRel);
                }
            }
            Err(refusal) => {
                self.alarm(&String::from_utf8_lossy(key), offset, &refusal);
                let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
                if self.is_caught_up() && damaged.len() < MOST_DAMAGED {
                    damaged.insert(key.to_vec());
                }
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// The accepted objects under the keys of refused records, once.
    pub fn to_repair(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let damaged = std::mem::take(&mut *self.damaged.lock().unwrap_or_else(PoisonError::into_inner));
        let accepted = |key: Vec<u8>| {
            let wire = self.read(|keyring| keyring.accepted(&key).map(|object| object.wire().to_vec()))?;
            Some((key, wire))
        };
        damaged.into_iter().filter_map(accepted).collect()
    }

    fn catch_up(&self) {
        if !self.caught_up.swap(true, Ordering::AcqRel) {
            self.keyring.write().unwrap_or_else(PoisonError::into_inner).mark_caught_up();
            let objects = self.read(Keyring::len);
            tracing::info!(event = "keyring_read", objects, offset = self.applied_to());
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// For the auditor: from here on this gateway opens nothing of the epoch.
    fn tell_destroyed(&self, change: &Change) {
        if change.slot.kind != Kind::Epoch || change.effect != Effect::Replaced || !self.is_caught_up() {
            return;
        }
        self.read(|keyring| {
            let object = keyring.accepted(change.slot.to_string().as_bytes());
            let Some(Body::Epoch(epoch)) = object.map(SignedObject::body) else { return };
            if epoch.custody.is_none() {
                let topic = keyring.stream(epoch.stream).map(|stream| stream.topic.as_str());
                tracing::info!(event = "epoch_destroyed", topic, stream = %epoch.stream, epoch = %epoch.number);
            }
        });
    }

    fn alarm(&self, key: &str, offset: i64, refusal: &Refusal) {
        self.metrics.keyring.refused(refusal_label(refusal));
        self.told.refused(key, offset, refusal, refusal_label(refusal));
        tracing::warn!(event = "keyring_object_refused", key, offset, reason = %refusal);
    }
}

/// A closed set of labels for the metric.
fn refusal_label(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::BadSignature | Refusal::Unsigned => "signature",
        Refusal::Older { .. } => "older",
        Refusal::Conflict { .. } => "conflict",
        Refusal::BareTombstone => "tombstone",
        Refusal::ExpiredDelegate | Refusal::RemovedDelegate | Refusal::NotPermitted(_) | Refusal::OutOfScope => {
            "signer"
        }
        _ => "other",
    }
}

/// The time, as keyring objects and sessions have it.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Repairs are made once a second; whoever floods the topic with garbage is not helped by flooding it back.
const MOST_DAMAGED: usize = 100;

/// A broken connection is tried again by the library meanwhile; this only keeps the loop from spinning.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);
