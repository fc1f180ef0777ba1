//! What all requests with a key share: where answers are, who is at it, and the way into a slot.
//!
//! Arrives: a key, and the digest of its request. Leaves: the kept answer, or the turn to carry the request out. What must never happen
//! here: a turn given before everything that was committed in its slot is known.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex as Turnstile, MutexGuard as Passed, OwnedMutexGuard};
use tokio::time::Instant;

use super::key::{Digest, Id, Key, PARTITIONS};
use super::outcome::Outcome;
use super::page::{Counts, Page, Place};
use super::turn::Turn;
use super::{
    CONCURRENT_TRANSACTIONS, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, MOST_LOOKS, NOT_COORDINATOR,
    UNKNOWN_SERVER_ERROR, pause, refused, topic,
};
use crate::config::{IDEMPOTENCY_TOPIC, Idempotency};
use crate::identity::Principal;
use crate::metrics::RestMetrics;
use crate::rest::inner::Inner;
use crate::rest::kafka::Kafka;
use crate::rest::kafka::fetch::Fetch;
use crate::rest::kafka::groups::{Coordinated, FindCoordinator};
use crate::rest::kafka::init_producer_id::{InitProducerId, ProducerId};
use crate::rest::kafka::list_offsets::{EARLIEST, LATEST};
use crate::rest::pool::Entry;
use crate::rest::streams::batches;
use crate::rest::{Code, Error, refusal};

/// The answers that one bridge knows of.
pub struct Ledger {
    /// Tells this installation from others on the same cluster.
    installation: String,
    settings: Idempotency,
    /// How long Kafka is waited for.
    limit: Duration,
    kafka: Kafka,
    metrics: RestMetrics,
    /// Who leads the topic's partitions; empty until the topic was looked at.
    leaders: Turnstile<Arc<[i32]>>,
    pages: Vec<Turnstile<Page>>,
    counts: Mutex<Counts>,
    slots: Mutex<HashMap<SlotOf, Arc<Turnstile<Slot>>>>,
    busy: Arc<Mutex<HashSet<Id>>>,
    /// Who leads the partitions of callers' topics.
    topics: Mutex<HashMap<String, Known>>,
}

/// A principal, and the number of a slot.
type SlotOf = ([u8; 8], u16);

/// Who leads a topic's partitions, until when.
type Known = (Instant, Arc<[i32]>);

/// One slot of a principal: one request at a time in this process, and by its transactional id one at a time on all replicas.
#[derive(Default)]
pub struct Slot {
    coordinator: Option<i32>,
}

/// What becomes of a request with a key.
pub enum Begun {
    /// It was carried out before: its answer.
    Before(Box<Outcome>),
    /// It is to be carried out.
    Now(Arc<Turn>),
}

/// A key whose request is under way, until this is dropped.
pub struct Busy {
    keys: Arc<Mutex<HashSet<Id>>>,
    id: Id,
}

impl Ledger {
    /// One that has not read anything yet.
    pub fn new(inner: &Arc<Inner>, settings: Idempotency, limit: Duration, metrics: RestMetrics) -> Arc<Self> {
        Arc::new(Self {
            installation: inner.installation(),
            settings,
            limit,
            kafka: Kafka::own(inner.clone(), Principal::anonymous(), limit),
            metrics,
            leaders: Turnstile::new(Arc::default()),
            pages: (0..PARTITIONS).map(|_| Turnstile::default()).collect(),
            counts: Mutex::default(),
            slots: Mutex::default(),
            busy: Arc::default(),
            topics: Mutex::default(),
        })
    }

    /// Takes a key for as long as its request is under way.
    ///
    /// # Errors
    /// `Conflict` when it is under way already.
    pub fn take(&self, key: &Key, principal: &Principal) -> Result<Busy, Error> {
        let id = key.id(&self.installation, principal);
        if !lock(&self.busy).insert(id) {
            self.metrics.keyed("in_progress");
            let text = "a request with this Idempotency-Key is under way; ask again when it is done";
            return Err(Code::Conflict.with(text).after(Duration::from_secs(1)));
        }
        Ok(Busy { keys: self.busy.clone(), id })
    }

    /// The answer that is kept, or the turn to make one.
    ///
    /// # Errors
    /// `Unprocessable` for another request under the same key; `TooManyRequests`; that Kafka does not answer.
    pub async fn begin(self: &Arc<Self>, entry: &Arc<Entry>, busy: &Busy, digest: Digest) -> Result<Begun, Error> {
        let id = busy.id;
        self.leaders().await?;
        if let Some(place) = self.page(&id).await?.find(&id, self.oldest()) {
            return self.before(&id, place, &digest).await;
        }
        let slot = self.slot(&id).await;
        // Of this transactional id nothing is open any more, and whoever had it before can commit nothing.
        let (slot, claim) = self.claim(&entry.own, &id, slot).await?;
        let found = {
            let mut page = self.page(&id).await?;
            self.read_to_end(&id, &mut page).await?;
            page.find(&id, self.oldest())
        };
        if let Some(place) = found {
            return self.before(&id, place, &digest).await;
        }
        self.check_room(&id)?;
        Ok(Begun::Now(Arc::new(Turn::new((self.clone(), entry.clone()), (id, digest), claim, slot))))
    }

    /// Takes note of an answer that was committed just now. Whoever reads the page next finds it anyway.
    pub fn note(&self, id: Id, place: Place) {
        self.metrics.keyed("first");
        let page = self.pages.get(usize::try_from(id.partition()).unwrap_or(0));
        if let Some(mut page) = page.and_then(|page| page.try_lock().ok()) {
            page.insert(id, place, &mut lock(&self.counts));
        }
    }

    /// Who leads the topic's partitions.
    ///
    /// # Errors
    /// That it cannot be made, is unfit, or that Kafka does not answer.
    pub async fn leaders(&self) -> Result<Arc<[i32]>, Error> {
        let mut leaders = self.leaders.lock().await;
        if leaders.is_empty() {
            topic::ensure(&self.kafka, self.limit).await?;
            let mut pause = pause();
            *leaders = loop {
                // A topic that was just made has its leaders in a moment.
                match topic::leaders(&self.kafka, IDEMPOTENCY_TOPIC).await {
                    Ok(leaders) if leaders.len() == usize::from(PARTITIONS) => break leaders.into(),
                    Ok(_) | Err(Error { code: Code::KafkaRetriable | Code::TopicNotFound, .. }) => pause.wait().await,
                    Err(error) => return Err(error),
                }
            };
        }
        Ok(leaders.clone())
    }

    /// Who leads the partitions of a caller's topic, asked as the caller.
    ///
    /// # Errors
    /// That there is none, or that Kafka does not answer.
    pub async fn leaders_of(&self, entry: &Entry, topic: &str) -> Result<Arc<[i32]>, Error> {
        let now = Instant::now();
        let known = lock(&self.topics).get(topic).filter(|(until, _)| *until > now).map(|(_, leaders)| leaders.clone());
        if let Some(leaders) = known {
            return Ok(leaders);
        }
        let mut pause = pause();
        let leaders: Arc<[i32]> = loop {
            match topic::leaders(&entry.kafka, topic).await {
                // One will be there in a moment; how long a request waits is bounded.
                Err(Error { code: Code::KafkaRetriable, .. }) => pause.wait().await,
                answered => break answered?.into(),
            }
        };
        let mut topics = lock(&self.topics);
        if topics.len() >= MOST_TOPICS {
            topics.clear();
        }
        topics.insert(topic.to_owned(), (now + LEADERS_KNOWN_FOR, leaders.clone()));
        Ok(leaders)
    }

    /// Leaders have changed: they are asked for again.
    pub async fn forget_leaders(&self, topic: &str) {
        lock(&self.topics).remove(topic);
        if topic == IDEMPOTENCY_TOPIC {
            *self.leaders.lock().await = Arc::default();
        }
    }

    /// How long Kafka is waited for, in milliseconds.
    pub fn limit_ms(&self) -> i32 {
        i32::try_from((self.limit * 4 / 5).as_millis()).unwrap_or(i32::MAX)
    }

    /// The answer that was kept, if it is one to the same request.
    async fn before(&self, id: &Id, place: Place, digest: &Digest) -> Result<Begun, Error> {
        let outcome = self.fetch(id, place).await?;
        if outcome.digest != *digest {
            self.metrics.keyed("mismatch");
            let text = "this Idempotency-Key was used for another request; a new request needs a new key";
            return Err(Code::Unprocessable.with(text));
        }
        self.metrics.keyed("replayed");
        Ok(Begun::Before(Box::new(outcome)))
    }

    async fn slot(&self, id: &Id) -> OwnedMutexGuard<Slot> {
        let slot = {
            let mut slots = lock(&self.slots);
            if slots.len() >= MOST_SLOTS {
                slots.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            slots.entry((id.principal, id.slot())).or_default().clone()
        };
        slot.lock_owned().await
    }

    /// Becomes the one producer of a slot, on all replicas.
    async fn claim(
        &self,
        kafka: &Kafka,
        id: &Id,
        mut slot: OwnedMutexGuard<Slot>,
    ) -> Result<(OwnedMutexGuard<Slot>, Claim), Error> {
        let transactional_id = self.transactional_id(id);
        let timeout_ms = i32::try_from(TRANSACTION_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
        let mut pause = pause();
        loop {
            let error_code = match slot.coordinator.take() {
                None => {
                    let question = FindCoordinator { key: &transactional_id, kind: Coordinated::Transaction };
                    let (verdict, node_id) = kafka.ask(&question).await?;
                    if verdict.error_code == 0 {
                        slot.coordinator = Some(node_id);
                        continue;
                    }
                    verdict.error_code
                }
                Some(coordinator) => {
                    let question = InitProducerId { transactional_id: Some(&transactional_id), timeout_ms };
                    let (error_code, producer) = kafka.ask_node(coordinator, &question).await?;
                    if error_code != NOT_COORDINATOR && error_code != COORDINATOR_NOT_AVAILABLE {
                        slot.coordinator = Some(coordinator);
                    }
                    if error_code == 0 {
                        return Ok((slot, Claim { transactional_id, coordinator, producer }));
                    }
                    error_code
                }
            };
            match error_code {
                CONCURRENT_TRANSACTIONS
                | COORDINATOR_LOAD_IN_PROGRESS
                | COORDINATOR_NOT_AVAILABLE
                | NOT_COORDINATOR => {
                    pause.wait().await;
                }
                // What brokers say when the one who had the slot does something at the same moment.
                UNKNOWN_SERVER_ERROR if pause.count() < MOST_LOOKS => pause.wait().await,
                other => return Err(refused(other)),
            }
        }
    }

    /// Begins with the topic's name, so that whoever is kept from the topic is kept from this, too.
    fn transactional_id(&self, id: &Id) -> String {
        format!("{IDEMPOTENCY_TOPIC}-{}-{}", hex::encode(id.principal), id.slot())
    }

    async fn page(&self, id: &Id) -> Result<Passed<'_, Page>, Error> {
        let page = self.pages.get(usize::try_from(id.partition()).unwrap_or(0));
        let mut page = page.ok_or_else(|| Code::Internal.with("no such page"))?.lock().await;
        page.forget(self.oldest(), &mut lock(&self.counts));
        self.metrics.keys.set(i64::try_from(lock(&self.counts).all).unwrap_or(i64::MAX));
        Ok(page)
    }

    /// Reads a page as far as the partition goes now. What is in a transaction that is open is waited for: it may be an answer to the
    /// same key, from a replica that had the slot before.
    async fn read_to_end(&self, id: &Id, page: &mut Page) -> Result<(), Error> {
        let partition = id.partition();
        let mut pause = pause();
        let end = self.offset(partition, LATEST).await?;
        if page.next.is_some_and(|next| next > end) {
            // The topic was made anew, or its brokers have lost some of it.
            page.reset(&mut lock(&self.counts));
        }
        loop {
            let leader = leader(&self.leaders().await?, partition)?;
            let next = match page.next {
                Some(next) => next,
                None => {
                    let oldest = self.oldest().saturating_sub(CLOCKS_MILLIS);
                    let first = self.offset(partition, oldest).await?;
                    // Where nothing is young enough, what is written from now on is behind the end that was asked for before.
                    *page.next.insert(if first < 0 { end } else { first })
                }
            };
            if next >= end {
                return Ok(());
            }
            let fetched = self.fetch_from(leader, (partition, next), true).await?;
            match fetched.error_code {
                0 => {
                    let further = page.apply((IDEMPOTENCY_TOPIC, &id.installation), &fetched, &mut lock(&self.counts));
                    let further = further.map_err(|_| Code::Kafka.with("the kept answers cannot be read"))?;
                    if !further {
                        pause.wait().await;
                    }
                }
                OFFSET_OUT_OF_RANGE => {
                    let first = self.offset(partition, EARLIEST).await?;
                    page.next = Some(first.max(next));
                    if first <= next {
                        return Err(refusal::of_answer(fetched.error_code, "the kept answers"));
                    }
                }
                NOT_LEADER | LEADER_NOT_AVAILABLE | UNKNOWN_PARTITION => {
                    self.forget_leaders(IDEMPOTENCY_TOPIC).await;
                    pause.wait().await;
                }
                other => return Err(refusal::of_answer(other, "the kept answers")),
            }
        }
    }

    /// An offset of a partition; its end has open transactions before it. A broker that has just become the leader and is not sure says
    /// so, and is asked again.
    async fn offset(&self, partition: i32, timestamp: i64) -> Result<i64, Error> {
        let mut pause = pause();
        loop {
            let leader = leader(&self.leaders().await?, partition)?;
            match self.kafka.offset(IDEMPOTENCY_TOPIC, (leader, partition), timestamp).await {
                Err(Error { code: Code::KafkaRetriable | Code::TopicNotFound | Code::LeaderNotAvailable, .. }) => {
                    self.forget_leaders(IDEMPOTENCY_TOPIC).await;
                    pause.wait().await;
                }
                answered => return answered,
            }
        }
    }

    /// A kept answer.
    async fn fetch(&self, id: &Id, place: Place) -> Result<Outcome, Error> {
        let leader = leader(&self.leaders().await?, id.partition())?;
        let fetched = self.fetch_from(leader, (id.partition(), place.offset), false).await?;
        if fetched.error_code != 0 {
            self.forget_leaders(IDEMPOTENCY_TOPIC).await;
            return Err(refusal::of_answer(fetched.error_code, "the kept answer"));
        }
        let mut found = None;
        let read = batches::each(&fetched.records, (IDEMPOTENCY_TOPIC, fetched.partition), place.offset, |record| {
            if record.offset == place.offset && record.key.and_then(Id::parse).as_ref() == Some(id) {
                found = record.value.and_then(Outcome::read);
            }
            ControlFlow::Break(())
        });
        read.ok().and(found).ok_or_else(|| Code::KafkaRetriable.with("the kept answer cannot be read"))
    }

    async fn fetch_from(
        &self,
        leader: i32,
        position: (i32, i64),
        committed_only: bool,
    ) -> Result<crate::rest::kafka::fetch::Fetched, Error> {
        let question = Fetch {
            topic: IDEMPOTENCY_TOPIC,
            positions: &[position],
            wait: Duration::ZERO,
            max_bytes: if committed_only { MOST_FETCHED } else { 1 },
            committed_only,
        };
        let answer = self.kafka.ask_node(leader, &question).await?;
        answer.into_iter().next().ok_or_else(|| Code::Kafka.with("a broker's answer is malformed"))
    }

    fn check_room(&self, id: &Id) -> Result<(), Error> {
        let counts = lock(&self.counts);
        if counts.all >= self.settings.max_keys || counts.of(id) >= self.settings.max_keys / 4 {
            let text = "as many Idempotency-Keys are kept as may be (rest[].idempotency.max_keys)";
            return Err(Code::TooManyRequests.with(text).after(Duration::from_secs(60)));
        }
        Ok(())
    }

    /// Answers from before are past their time.
    fn oldest(&self) -> i64 {
        let now = now_millis();
        now.saturating_sub(i64::try_from(self.settings.window.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.keys).remove(&self.id);
    }
}

/// The one producer of a slot, until the next one.
pub struct Claim {
    /// The slot's.
    pub transactional_id: String,
    /// Who keeps its transactions.
    pub coordinator: i32,
    /// Whom the brokers take us for.
    pub producer: ProducerId,
}

/// Milliseconds since 1970.
pub fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The leader of a partition.
pub fn leader(leaders: &[i32], partition: i32) -> Result<i32, Error> {
    let found = usize::try_from(partition).ok().and_then(|index| leaders.get(index));
    found.copied().ok_or_else(|| refusal::partition_not_found(partition))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The brokers take a transaction back that nobody has ended by then. Readers of committed records, and whoever takes over the slot's
/// partition, wait for it when a gateway has died.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How far clocks of brokers and gateways may differ.
const CLOCKS_MILLIS: i64 = 5 * 60 * 1000;

/// A page is read in pieces.
const MOST_FETCHED: i32 = 4 << 20;

/// More than are in use at once.
const MOST_SLOTS: usize = 10_000;

/// More than one bridge writes to.
const MOST_TOPICS: usize = 10_000;

/// As long as other posts know of a topic.
const LEADERS_KNOWN_FOR: Duration = Duration::from_secs(10);

/// Kafka's error codes.
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_PARTITION: i16 = 3;
const LEADER_NOT_AVAILABLE: i16 = 5;
const NOT_LEADER: i16 = 6;
