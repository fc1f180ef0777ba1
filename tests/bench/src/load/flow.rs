//! Produce and consume at full speed and at once, for as long as somebody conducts: each partition has one connection that
//! writes numbered records and one that reads them as they come. Every acknowledgement and every delivery is kept with its
//! moment, so that silences can be looked for afterwards. A refused request ends it; nothing is sent a second time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::numbered::{Mark, NumberedBatch, Sequence};
use super::{Gauge, Shape, Target, pause};
use crate::batch;
use crate::error::{Attempt, Error};
use crate::wire::{self, admin::Leader, fetch};

/// One acknowledgement, or one answer with records. Moments count from the beginning of the load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// When it came.
    pub at: Duration,
    /// When the last of its records was sent.
    pub sent: Duration,
    /// How many records it is about.
    pub records: u64,
}

/// What one partition showed.
pub struct Lane {
    /// Acknowledgements, in order.
    pub acknowledged: Vec<Arrival>,
    /// Deliveries, in order.
    pub delivered: Vec<Arrival>,
    /// What was delivered against what was acknowledged.
    pub sequence: Sequence,
}

/// The load as its conductor sees it.
pub struct Course<'a> {
    epoch: Instant,
    gauge: &'a Gauge,
}

impl Course<'_> {
    /// Time since the beginning, as in [`Arrival::at`].
    pub fn elapsed(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Whether no connection has failed.
    pub fn goes_on(&self) -> bool {
        !self.gauge.stopped()
    }

    /// Lets the load go on for a while; an error when a connection has failed.
    pub fn wait(&self, length: Duration) -> Result<(), Error> {
        pause(self.gauge, length);
        match self.goes_on() {
            true => Ok(()),
            false => Err(Error::Mismatch("the load has ended early".into())),
        }
    }
}

/// Loads as many partitions as the shape has connections until `conduct` returns. All that was acknowledged is waited for.
pub fn run<T>(
    target: &Target,
    shape: &Shape,
    conduct: impl FnOnce(&Course<'_>) -> Result<T, Error>,
) -> Result<(T, Vec<Lane>), Error> {
    let leaders = target.leaders(&shape.topic)?;
    let leaders = leaders.get(..shape.connections).ok_or_else(|| {
        Error::Setup(format!("{} connections need as many partitions, topic has {}", shape.connections, leaders.len()))
    })?;
    let (gauge, epoch) = (Gauge::new(), Instant::now());
    let failed = AtomicBool::new(false);
    let ends: Vec<_> = leaders.iter().map(|_| AtomicU64::new(u64::MAX)).collect();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (leader, end) in leaders.iter().zip(&ends) {
            let side = Side { target, shape, leader, gauge: &gauge, epoch, end, failed: &failed };
            let producer = side.note(spawn(scope, move || side.note(side.produce())))?;
            let consumer = side.note(spawn(scope, move || side.note(side.consume())))?;
            threads.push((producer, consumer));
        }
        while gauge.arrived.load(Ordering::Relaxed) < 2 * leaders.len() as u64 && !gauge.stopped() {
            thread::sleep(Duration::from_millis(1));
        }
        let conducted = conduct(&Course { epoch, gauge: &gauge });
        gauge.stop.store(true, Ordering::Relaxed);
        let mut lanes = Vec::new();
        // A thread's own reason says more than that the conductor was interrupted.
        let mut failure = None;
        for (producer, consumer) in threads {
            match (join(producer.join()), join(consumer.join())) {
                (Ok(acknowledged), Ok((delivered, sequence))) => {
                    lanes.push(Lane { acknowledged, delivered, sequence });
                }
                (produced, consumed) => failure = failure.or(produced.err()).or(consumed.err()),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => conducted.map(|conducted| (conducted, lanes)),
        }
    })
}

/// What the two threads of one partition share.
#[derive(Clone, Copy)]
struct Side<'a> {
    target: &'a Target,
    shape: &'a Shape,
    leader: &'a Leader,
    gauge: &'a Gauge,
    epoch: Instant,
    /// How many records were acknowledged in all; the highest number until that is known.
    end: &'a AtomicU64,
    failed: &'a AtomicBool,
}

impl Side<'_> {
    /// Keeps the first failure from being waited out by the others.
    fn note<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_err() {
            self.failed.store(true, Ordering::Relaxed);
            self.gauge.stop.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn produce(&self) -> Result<Vec<Arrival>, Error> {
        let (shape, partition) = (self.shape, self.leader.partition);
        let mut link = self.target.connect(self.leader)?;
        let mut numbered = NumberedBatch::new(shape)?;
        let mut waiting = VecDeque::new();
        let mut arrivals = Vec::new();
        let records = shape.records as u64;
        let mut acknowledged = 0;
        self.gauge.arrive();
        loop {
            while link.in_flight() < shape.in_flight && !self.gauge.stopped() {
                let sent = self.epoch.elapsed();
                let mut frame = wire::produce::request(&shape.topic, partition, shape.acks, numbered.next(sent));
                link.send(&mut frame)?;
                waiting.push_back(sent);
            }
            let Some(sent) = waiting.pop_front() else {
                self.end.store(acknowledged, Ordering::SeqCst);
                return Ok(arrivals);
            };
            let offset = wire::produce::base_offset(link.receive()?)?;
            if u64::try_from(offset) != Ok(acknowledged) {
                let text =
                    format!("record {acknowledged} of partition {partition} was acknowledged at offset {offset}");
                return Err(Error::Mismatch(text));
            }
            acknowledged += records;
            arrivals.push(Arrival { at: self.epoch.elapsed(), sent, records });
        }
    }

    fn consume(&self) -> Result<(Vec<Arrival>, Sequence), Error> {
        let mut link = self.target.connect(self.leader)?;
        let mut wish = fetch::Wish {
            topic: &self.shape.topic,
            partition: self.leader.partition,
            offset: 0,
            max_wait_ms: 500,
            max_bytes: self.shape.fetch_bytes,
        };
        let (mut arrivals, mut sequence) = (Vec::new(), Sequence::default());
        let mut silence = Instant::now();
        self.gauge.arrive();
        loop {
            let end = self.end.load(Ordering::SeqCst);
            if sequence.next >= end || self.failed.load(Ordering::Relaxed) {
                return Ok((arrivals, sequence));
            }
            let fetched = fetch::answer(link.call(&mut fetch::request(&wish))?)?;
            let at = self.epoch.elapsed();
            let mut last = None;
            batch::each_value(fetched.records, |value| {
                let mark = Mark::read(value)?;
                sequence.enter(mark.number);
                last = Some(mark.sent);
                Ok(())
            })?;
            let walked = batch::walk(fetched.records)?;
            if let (Some(next), Some(sent)) = (walked.next_offset, last) {
                arrivals.push(Arrival { at, sent, records: walked.records });
                (wish.offset, silence) = (next, Instant::now());
            } else if silence.elapsed() > PATIENCE {
                if end == u64::MAX {
                    let text = format!("nothing was delivered for {PATIENCE:?} behind record {}", sequence.next);
                    return Err(Error::Mismatch(text));
                }
                sequence.end(end);
                return Ok((arrivals, sequence));
            }
        }
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, T>, Error> {
    thread::Builder::new().stack_size(super::STACK).spawn_scoped(scope, work).attempt(|| "start a thread".into())
}

fn join<T>(outcome: thread::Result<Result<T, Error>>) -> Result<T, Error> {
    outcome.unwrap_or_else(|_| Err(Error::Setup("a load thread panicked".into())))
}

/// What is not delivered after so long a silence is a gap, or the end of the measurement.
const PATIENCE: Duration = Duration::from_secs(10);
