//! One principal's producer: records go in, outcomes come out, many requests at once.
//!
//! Arrives: the records of a request. Leaves: a [`Delivery`] that is whole when the brokers have acknowledged every record, or said
//! no. It is a client of this same gateway in this same process: its requests go through the chain of every Kafka client, over
//! pipes instead of sockets. Records are gathered by partition (`batch`, `partition`, `queue`), sent to the leaders (`link`), which
//! are asked for (`finder`), and sent again until they are acknowledged, refused or too old (`verdict`). What must never happen
//! here: a record called written without the broker's word (acks=all); a record written twice by a retry; a queue without a bound.
//!
//! Source: KIP-98 (idempotence), KIP-480 (records without keys), KIP-360; `Sender` and `RecordAccumulator` of Kafka 4.2.

mod delivery;
mod batch;
pub(crate) mod partitioner;
pub(crate) mod verdict;
mod partition;
mod queue;
mod request;
mod link;
mod finder;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::Notify;

pub use self::delivery::{Delivery, Hold, Refusal};

use self::delivery::Flight;
use self::link::Verdicts;
use self::partition::Settled;
use self::queue::{Calls, Patience, Queue, Work};
use super::inner::Lane;
use super::kafka::init_producer_id::InitProducerId;
use super::kafka::{AskError, Link, Question};
use super::record::Record;

/// Ways to the brokers of a cluster, as one principal.
pub trait Brokers: Send + Sync + 'static {
    /// A new connection to any broker, for a question. It ends where there is none.
    fn ask_any(&self) -> DuplexStream;

    /// A new connection to the broker with this node id. It ends where there is none.
    fn connect(&self, node_id: i32) -> Lane;
}

/// What a producer may take and how long.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a batch waits for company while another is under way to the same broker.
    pub linger: Duration,
    /// How long a record is tried before it is given up.
    pub delivery: Duration,
    /// Records that are not acknowledged.
    pub most_records: usize,
}

/// A producer of one principal. Must be used within a runtime.
pub struct Producer {
    shared: Arc<Shared>,
    most_records: usize,
}

impl Producer {
    /// A producer that has nothing under way, and no connection until it has.
    pub fn new(brokers: impl Brokers, terms: Terms) -> Self {
        let shared = Shared {
            brokers: Box::new(brokers),
            patience: Patience { linger: terms.linger, delivery: terms.delivery },
            flight: Arc::default(),
            queue: Mutex::default(),
            identifying: tokio::sync::Mutex::default(),
            searching: Notify::new(),
            ended: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), most_records: terms.most_records }
    }

    /// Takes records for a topic that has so many partitions, all or none; `None` when too many are under way. Never waits.
    /// `partition` counts for all of them. `hold` is kept until the last of them has its outcome, whether or not anybody waits for it.
    pub fn send(&self, topic: (&str, i32), partition: Option<i32>, records: &[Record], hold: Hold) -> Option<Delivery> {
        if !self.shared.flight.reserve(records.len(), self.most_records) {
            return None;
        }
        let delivery = Delivery::new(records.len(), self.shared.flight.clone(), hold);
        let calls = self.shared.queue().add(topic, partition, (records, &delivery), &self.shared.patience);
        self.shared.call(calls);
        Some(delivery)
    }

    /// Whether records wait for their acknowledgement.
    pub fn is_busy(&self) -> bool {
        self.shared.flight.is_busy()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.searching.notify_one();
        self.shared.queue().wake_all();
    }
}

/// What the tasks of a producer have in common.
struct Shared {
    brokers: Box<dyn Brokers>,
    patience: Patience,
    flight: Arc<Flight>,
    queue: Mutex<Queue>,
    identifying: tokio::sync::Mutex<()>,
    /// More is searched.
    searching: Notify,
    ended: AtomicBool,
}

/// Why there is no identity.
enum IdentifyError {
    /// The principal may not have one.
    Refused(Refusal),
    /// Nobody has answered, or not with one.
    Ask(AskError),
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Sees to it that everybody who has something to do does it.
    fn call(self: &Arc<Self>, calls: Calls) {
        for (node_id, wake) in calls.open {
            tokio::spawn(link::run(self.clone(), node_id, wake));
        }
        if calls.search {
            tokio::spawn(finder::run(self.clone()));
        } else if calls.find_more {
            self.searching.notify_one();
        }
        calls.wake.into_iter().for_each(|wake| wake.notify_one());
    }

    /// Tells whoever waits, while nothing is locked.
    fn tell(&self, settled: Vec<Settled>) {
        settled.into_iter().for_each(Settled::tell);
    }

    /// What the way to a broker does next.
    fn work(&self, node_id: i32) -> Work {
        let mut settled = Vec::new();
        let work = self.queue().work(node_id, self.patience.linger, &mut settled);
        self.tell(settled);
        work
    }

    /// A request was answered.
    fn judge(self: &Arc<Self>, node_id: i32, verdicts: Verdicts) {
        let (mut calls, mut settled) = (Calls::default(), Vec::with_capacity(verdicts.len()));
        {
            let mut queue = self.queue();
            queue.answered(node_id);
            for (number, sent, verdict) in verdicts {
                settled.extend(queue.judge(number, sent, verdict, &mut calls));
            }
        }
        self.tell(settled);
        self.call(calls);
    }

    /// The way to a broker has ended; so much of what was sent has no answer.
    fn close(self: &Arc<Self>, node_id: i32, lost: Verdicts, in_peace: bool) {
        let (mut calls, mut settled) = (Calls::default(), Vec::new());
        {
            let mut queue = self.queue();
            queue.close(node_id, in_peace, &mut calls);
            for (number, sent, verdict) in lost {
                settled.extend(queue.judge(number, sent, verdict, &mut calls));
            }
        }
        self.tell(settled);
        self.call(calls);
    }

    /// Nothing that waits for this broker can be sent.
    fn refuse(&self, node_id: i32, refusal: Refusal) {
        let mut settled = Vec::new();
        self.queue().refuse(node_id, refusal, &mut settled);
        self.tell(settled);
    }

    /// Asks any broker.
    async fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, AskError> {
        Link::open(self.brokers.ask_any()).await?.ask(question).await
    }

    /// Gets the identity for partitions that have no series, unless there is one.
    async fn identify(&self) -> Result<(), IdentifyError> {
        let _identifying = self.identifying.lock().await;
        if self.queue().identity.is_some() {
            return Ok(());
        }
        let limit = CONNECT_TIME.min(self.patience.delivery);
        let asked = tokio::time::timeout(limit, self.ask(&InitProducerId::PLAIN)).await;
        let (error_code, producer) = asked.unwrap_or(Err(AskError::Late(limit))).map_err(IdentifyError::Ask)?;
        match error_code {
            0 => {
                self.queue().identity = Some(producer);
                Ok(())
            }
            code if FORBIDDEN.contains(&code) => Err(IdentifyError::Refused(verdict::refusal(code))),
            _ => Err(IdentifyError::Ask(AskError::Late(limit))),
        }
    }
}

/// What brokers see in their request logs.
const CLIENT_ID: &str = "barnabas-rest";

/// How long a broker may take to be there.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// TOPIC_AUTHORIZATION_FAILED, CLUSTER_AUTHORIZATION_FAILED.
const FORBIDDEN: [i16; 2] = [29, 31];
