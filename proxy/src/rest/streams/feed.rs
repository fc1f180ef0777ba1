//! The tail of a topic, followed once for all readers of one principal.
//!
//! Arrives: a principal's entry and a topic, when the first reader comes. Leaves: what is written from then on, kept for a moment for the
//! readers that stand at the end; others fetch for themselves. It ends with its last reader. What must never happen here: a feed shared by
//! two principals; memory that grows with the number of readers or with what is written.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ask::{self, Trouble};
use super::batches;
use crate::identity::Principal;
use crate::rest::Error;
use crate::rest::kafka::fetch::Fetched;
use crate::rest::kafka::list_offsets::LATEST;
use crate::rest::pool::Entry;

/// The feeds of one bridge.
#[derive(Default)]
pub struct Feeds(Mutex<ByReader>);

/// Of a principal and a topic.
type ByReader = HashMap<(Principal, Box<str>), Weak<Feed>>;

/// One topic, as one principal may read it.
pub struct Feed {
    /// Whose.
    pub entry: Arc<Entry>,
    /// Which.
    pub topic: Box<str>,
    tails: Mutex<BTreeMap<i32, Tail>>,
    changed: watch::Sender<()>,
}

/// The end of one partition.
struct Tail {
    leader: i32,
    /// The offset behind what is kept.
    next: i64,
    kept: VecDeque<Chunk>,
    trouble: Option<i16>,
}

/// Records that lie behind each other.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The position that they were asked from.
    pub from: i64,
    /// The position behind them.
    pub next: i64,
    /// Batches.
    pub records: Bytes,
}

/// What there is for a reader at a position.
#[derive(Debug)]
pub enum Look {
    /// Records.
    Kept(Chunk),
    /// Nothing yet.
    AtEnd,
    /// Something that is not kept: to be fetched of this broker.
    Behind(i32),
    /// Kafka refuses, with this code.
    Refused(i16),
    /// The partition is not there any more.
    Absent,
}

impl Feeds {
    /// The feed of a topic; begun when there is none.
    ///
    /// # Errors
    /// `TopicNotFound`, `Forbidden`, or that Kafka does not answer.
    pub async fn join(&self, entry: &Arc<Entry>, topic: &str) -> Result<Arc<Feed>, Error> {
        let key = (entry.principal.clone(), Box::from(topic));
        if let Some(feed) = self.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(feed);
        }
        let made = Arc::new(Feed::at_the_end(entry.clone(), topic).await?);
        let mut feeds = self.lock();
        if let Some(feed) = feeds.get(&key).and_then(Weak::upgrade) {
            return Ok(feed);
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        feeds.insert(key, Arc::downgrade(&made));
        tokio::spawn(follow(Arc::downgrade(&made)));
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, ByReader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    async fn at_the_end(entry: Arc<Entry>, topic: &str) -> Result<Self, Error> {
        let mut tails = BTreeMap::new();
        for partition in entry.kafka.topic(topic).await?.partitions {
            let place = (partition.leader, partition.index);
            let next = entry.kafka.offset(topic, place, LATEST).await?;
            tails
                .insert(partition.index, Tail { leader: partition.leader, next, kept: VecDeque::new(), trouble: None });
        }
        Ok(Self { entry, topic: topic.into(), tails: Mutex::new(tails), changed: watch::Sender::new(()) })
    }

    /// Partitions with their leaders and the offsets behind what is kept.
    pub fn ends(&self) -> Vec<(i32, i32, i64)> {
        self.lock().iter().map(|(partition, tail)| (*partition, tail.leader, tail.next)).collect()
    }

    /// Tells whenever there may be something new.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What there is at a position.
    pub fn look(&self, partition: i32, next: i64) -> Look {
        let tails = self.lock();
        let Some(tail) = tails.get(&partition) else { return Look::Absent };
        if next == tail.next {
            return tail.trouble.map_or(Look::AtEnd, Look::Refused);
        }
        match tail.kept.iter().find(|chunk| chunk.from <= next && next < chunk.next) {
            Some(chunk) => Look::Kept(chunk.clone()),
            None => Look::Behind(tail.leader),
        }
    }

    /// Takes what a broker gave. False when somebody else may lead.
    fn take(&self, fetched: Fetched) -> bool {
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(&fetched.partition) else { return false };
        match Trouble::of(fetched.error_code) {
            None => tail.trouble = None,
            Some(Trouble::Refused(code)) => {
                tail.trouble = Some(code);
                return false;
            }
            // Truncated, or made anew: readers find out by their own fetch.
            Some(Trouble::OutOfRange) => {
                tail.kept.clear();
                tail.next = fetched.end.max(0);
                return false;
            }
            Some(Trouble::Passing) => return false,
        }
        if fetched.records.is_empty() {
            return true;
        }
        let place = (&*self.topic, fetched.partition);
        match batches::each(&fetched.records, place, i64::MAX, |_| ControlFlow::Continue(())) {
            Ok(Some(next)) => {
                tail.kept.push_back(Chunk { from: tail.next, next, records: fetched.records });
                tail.next = next;
                while tail.kept.iter().map(|chunk| chunk.records.len()).sum::<usize>() > MOST_KEPT
                    && tail.kept.len() > 1
                {
                    tail.kept.pop_front();
                }
                true
            }
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(event = "feed_unreadable", topic = &*self.topic, partition = fetched.partition, %error);
                tail.trouble = Some(CORRUPT_MESSAGE);
                false
            }
        }
    }

    /// Partitions by leader, with their positions.
    fn plan(&self) -> BTreeMap<i32, Vec<i32>> {
        let mut plan = BTreeMap::<i32, Vec<i32>>::new();
        for (partition, tail) in self.lock().iter() {
            plan.entry(tail.leader).or_default().push(*partition);
        }
        plan
    }

    fn positions(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let tails = self.lock();
        partitions.iter().filter_map(|partition| Some((*partition, tails.get(partition)?.next))).collect()
    }

    async fn look_who_leads(&self) -> Result<(), Error> {
        let found = self.entry.kafka.topic(&self.topic).await?;
        let mut tails = self.lock();
        for partition in found.partitions {
            // A partition that was added begins at its beginning: nothing of it was there before.
            let tail = tails.entry(partition.index).or_insert(Tail {
                leader: -1,
                next: 0,
                kept: VecDeque::new(),
                trouble: None,
            });
            tail.leader = partition.leader;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Tail>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows all brokers that lead partitions, as long as there are readers.
async fn follow(feed: Weak<Feed>) {
    loop {
        let Some(plan) = feed.upgrade().map(|feed| feed.plan()) else { return };
        let mut following = JoinSet::new();
        for (leader, partitions) in plan {
            following.spawn(follow_leader(feed.clone(), leader, partitions));
        }
        // One that may not lead any more ends; then all are planned anew.
        following.join_next().await;
        following.abort_all();
        tokio::time::sleep(PAUSE).await;
        let Some(feed) = feed.upgrade() else { return };
        if let Err(error) = feed.look_who_leads().await {
            tracing::debug!(event = "feed_waits", topic = &*feed.topic, %error);
        }
        feed.changed.send_replace(());
    }
}

async fn follow_leader(feed: Weak<Feed>, leader: i32, partitions: Vec<i32>) {
    let began = tokio::time::Instant::now();
    // Partitions that are added are found by planning anew now and then.
    while began.elapsed() < PLAN_FOR {
        let Some(feed) = feed.upgrade() else { return };
        let positions = feed.positions(&partitions);
        let fetched = ask::fetch(&feed.entry, &feed.topic, (leader, &positions), (WAIT, MOST_AT_ONCE)).await;
        let Ok(fetched) = fetched else { return };
        let news = fetched.iter().any(|one| !one.records.is_empty() || one.error_code != 0);
        // Every one is taken, whatever another says.
        let unsound = fetched.into_iter().map(|one| feed.take(one)).filter(|sound| !sound).count();
        if news {
            feed.changed.send_replace(());
        }
        if unsound > 0 {
            return;
        }
    }
}

/// How long a broker waits while there is nothing. A feed without readers ends as soon.
const WAIT: Duration = Duration::from_secs(5);

/// Leaders are asked for this often at least.
const PLAN_FOR: Duration = Duration::from_secs(60);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// What one fetch brings at most.
const MOST_AT_ONCE: i32 = 1 << 20;

/// What is kept of a partition for readers that are a moment behind; the last chunk always is.
const MOST_KEPT: usize = 256 << 10;

/// Kafka's error code for what is not a sound batch.
const CORRUPT_MESSAGE: i16 = 2;
