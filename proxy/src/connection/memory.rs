//! What frames of all connections may hold together, so that no number of peers makes the process larger than it was
//! told to be.
//!
//! Arrives: the announced length of a frame. Leaves: a [`Hold`] on that many bytes, as soon as there is room; it is
//! given back when it is dropped. Small frames hold nothing: their number is bounded by that of the connections. What
//! must never happen here: a wait in a circle. Requests wait for brokers, who wait for answers to be read, so answers
//! have shares of their own; and large frames have, so that ordinary ones never wait behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::metrics::Metrics;

/// In which direction a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To a broker.
    Request,
    /// To a client.
    Answer,
}

/// The memory of all connections of a process.
pub struct Memory {
    requests: Lanes,
    answers: Lanes,
    /// For what becomes longer on its way: found out only when it is there already, so nobody waits for it.
    grown: Lane,
    metrics: Arc<Metrics>,
}

/// Bytes that are held until this is dropped; none for a small frame.
#[derive(Default)]
pub struct Hold(Option<Held>);

/// Counts what a large frame moves: who stands still while others wait for the same memory has to go.
pub struct Watch<'m> {
    lane: Option<&'m Lane>,
    until: Instant,
    moved: usize,
}

impl Memory {
    /// `total` bytes, of which an eighth are for requests, an eighth for large requests, a quarter for answers, a quarter
    /// for large answers, and a quarter for what grows.
    pub fn new(total: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            requests: Lanes { ordinary: Lane::new(total / 8), large: Lane::new(total / 8) },
            answers: Lanes { ordinary: Lane::new(total / 4), large: Lane::new(total / 4) },
            grown: Lane::new(total / 4),
            metrics,
        }
    }

    /// Waits until a frame of `length` bytes may be read. A frame that is larger than its share waits until it has the
    /// whole share. Dropping the wait gives everything back.
    pub async fn hold(&self, way: Way, length: usize) -> Hold {
        let Some(lane) = self.lane(way, length) else { return Hold::default() };
        let units = lane.units(cost(way, length));
        if let Ok(permit) = lane.free.clone().try_acquire_many_owned(units) {
            return self.held(permit);
        }
        self.metrics.memory.waits.inc();
        let _waiting = Waiting::of(lane);
        match lane.free.clone().acquire_many_owned(units).await {
            Ok(permit) => self.held(permit),
            // Nobody closes a lane. If somebody did, no frame would come through any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// Bytes for what a frame of `before` bytes has become longer by; `None` when there are none left.
    pub fn grow(&self, way: Way, before: usize, after: usize) -> Option<Hold> {
        let grown = after.saturating_sub(cost(way, before) - before);
        if grown <= UNCOUNTED_BYTES {
            return Some(Hold::default());
        }
        let units = u32::try_from(grown / UNIT_BYTES).ok()?;
        self.grown.free.clone().try_acquire_many_owned(units).ok().map(|permit| self.held(permit))
    }

    /// A watch on the reading or writing of a frame of `length` bytes.
    pub fn watch(&self, way: Way, length: usize) -> Watch<'_> {
        Watch { lane: self.lane(way, length), until: Instant::now() + STAND_STILL, moved: 0 }
    }

    fn lane(&self, way: Way, length: usize) -> Option<&Lane> {
        let lanes = match way {
            Way::Request => &self.requests,
            Way::Answer => &self.answers,
        };
        if length <= UNCOUNTED_BYTES {
            return None;
        }
        Some(if length <= ORDINARY_BYTES { &lanes.ordinary } else { &lanes.large })
    }

    fn held(&self, permit: OwnedSemaphorePermit) -> Hold {
        self.metrics.memory.held.inc_by(bytes(&permit));
        Hold(Some(Held { permit, metrics: self.metrics.clone() }))
    }
}

impl Hold {
    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Watch<'_> {
    /// When to look.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether there is anything to watch.
    pub fn is_due(&self) -> bool {
        self.lane.is_some()
    }

    /// So many bytes were read or written.
    pub fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// True when hardly anything was moved since the last look and others wait for the memory.
    pub fn stands_in_the_way(&mut self) -> bool {
        let slow = self.moved < SLOW_BYTES && self.lane.is_some_and(Lane::is_waited_for);
        self.until = Instant::now() + STAND_STILL;
        self.moved = 0;
        slow
    }
}

struct Lanes {
    ordinary: Lane,
    large: Lane,
}

struct Lane {
    free: Arc<Semaphore>,
    /// All units, of [`UNIT_BYTES`].
    size: u32,
    waiting: AtomicUsize,
}

impl Lane {
    fn new(bytes: usize) -> Self {
        let size = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self { free: Arc::new(Semaphore::new(size as usize)), size, waiting: AtomicUsize::new(0) }
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.size)
    }

    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

struct Held {
    permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.metrics.memory.held.dec_by(bytes(&self.permit));
    }
}

/// Counts one who waits, also if the wait is given up.
struct Waiting<'l>(&'l Lane);

impl<'l> Waiting<'l> {
    fn of(lane: &'l Lane) -> Self {
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        Self(lane)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request lies beside its sealed copy until the broker has taken it; an answer is opened where it lies.
fn cost(way: Way, length: usize) -> usize {
    match way {
        Way::Request => length.saturating_mul(2),
        Way::Answer => length,
    }
}

fn bytes(permit: &OwnedSemaphorePermit) -> i64 {
    i64::try_from(permit.num_permits().saturating_mul(UNIT_BYTES)).unwrap_or(i64::MAX)
}

/// Not counted: ten thousand connections that each send and receive such a frame hold little more than a gigabyte.
pub const UNCOUNTED_BYTES: usize = 64 * 1024;

/// Twice the largest request that a producer with Kafka's defaults makes (`max.request.size`).
const ORDINARY_BYTES: usize = 2 * 1024 * 1024;

/// What is counted in one permit.
const UNIT_BYTES: usize = 1024;

/// How long a frame that others wait for may stand still.
const STAND_STILL: Duration = Duration::from_secs(10);

/// Less than this in [`STAND_STILL`] is standing still: some modem lines were faster.
const SLOW_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::Poll;

    use super::*;

    const MIB: usize = 1 << 20;

    fn memory(total: usize) -> Memory {
        Memory::new(total, Arc::new(Metrics::default()))
    }

    /// What a wait gives now, if it ends now.
    async fn at_once(memory: &Memory, way: Way, length: usize) -> Option<Hold> {
        tokio::select! {
            biased;
            hold = memory.hold(way, length) => Some(hold),
            () = tokio::task::yield_now() => None,
        }
    }

    #[tokio::test]
    async fn what_is_held_is_given_back_and_never_more_than_there_is() {
        let memory = memory(64 * MIB);
        let first = at_once(&memory, Way::Answer, 10 * MIB).await.unwrap();
        assert_eq!(memory.metrics.memory.held.get(), 10 * MIB as i64);
        assert!(at_once(&memory, Way::Answer, 10 * MIB).await.is_none());
        drop(first);
        assert_eq!(memory.metrics.memory.held.get(), 0);
        let second = at_once(&memory, Way::Answer, 10 * MIB).await.unwrap();
        assert!(!second.is_empty());
        assert_eq!(memory.metrics.memory.waits.get(), 1);
    }

    #[tokio::test]
    async fn small_frames_and_ordinary_ones_do_not_wait_behind_large_ones() {
        let memory = memory(64 * MIB);
        let large = at_once(&memory, Way::Request, 100 * MIB).await.unwrap();
        assert!(at_once(&memory, Way::Request, 3 * MIB).await.is_none(), "the share of large requests is taken");
        assert!(at_once(&memory, Way::Request, MIB).await.is_some());
        assert!(at_once(&memory, Way::Request, UNCOUNTED_BYTES).await.unwrap().is_empty());
        assert!(at_once(&memory, Way::Answer, 3 * MIB).await.is_some());
        drop(large);
        assert!(at_once(&memory, Way::Request, 3 * MIB).await.is_some());
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_holds_up_nobody() {
        let memory = memory(64 * MIB);
        let held = at_once(&memory, Way::Answer, 10 * MIB).await.unwrap();
        let given_up = at_once(&memory, Way::Answer, 16 * MIB).await;
        assert!(given_up.is_none());
        assert!(at_once(&memory, Way::Answer, 4 * MIB).await.is_some(), "6 of 16 MiB are free");
        drop(held);
        assert!(at_once(&memory, Way::Answer, 16 * MIB).await.is_some());
        assert!(!memory.answers.large.is_waited_for());
    }

    #[tokio::test]
    async fn a_large_frame_gets_its_turn_among_many_ordinary_ones() {
        let memory = Arc::new(memory(64 * MIB));
        let first = memory.hold(Way::Answer, 10 * MIB).await;
        let (big, later) = (memory.clone(), memory.clone());
        let big = tokio::spawn(async move { big.hold(Way::Answer, 16 * MIB).await });
        tokio::task::yield_now().await;
        let later = tokio::spawn(async move { later.hold(Way::Answer, 3 * MIB).await });
        tokio::task::yield_now().await;
        drop(first);
        drop(big.await.unwrap());
        assert!(!later.await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn growth_is_refused_when_there_is_no_room_for_it() {
        let memory = memory(64 * MIB);
        assert!(memory.grow(Way::Request, MIB, MIB + 100).unwrap().is_empty(), "the copy was counted with the request");
        let most = memory.grow(Way::Request, MIB, 16 * MIB).unwrap();
        assert!(memory.grow(Way::Answer, 0, 2 * MIB).is_none());
        drop(most);
        assert!(memory.grow(Way::Answer, 0, 2 * MIB).is_some());
    }

    #[tokio::test]
    async fn who_stands_still_is_in_the_way_only_while_others_wait() {
        let memory = memory(64 * MIB);
        let _held = memory.hold(Way::Answer, 16 * MIB).await;
        let mut watch = memory.watch(Way::Answer, 16 * MIB);
        assert!(!watch.stands_in_the_way(), "nobody waits");
        let waits = memory.hold(Way::Answer, 16 * MIB);
        tokio::pin!(waits);
        assert!(std::future::poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_pending())).await);
        watch.moved(SLOW_BYTES);
        assert!(!watch.stands_in_the_way(), "it moves");
        assert!(watch.stands_in_the_way());
    }
}
