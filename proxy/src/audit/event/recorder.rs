//! The handle by which the rest of the gateway writes to the audit log.
//!
//! Arrives: events. Leaves: entries of the log. `on_failure: alarm` never waits: what cannot be written is counted, by the log
//! itself, which says so in an entry of its own once it works again. `on_failure: block` lets a request of a sealed topic wait
//! until what it caused is durable, and refuses it when that cannot be. What must never happen here: an event that is lost in
//! silence; a wait without an end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::Event;
use super::encode::Stamp;
use super::flood::Flood;
use crate::audit::log::{AppendError, Log, State};
use crate::metrics::AuditMetrics;

/// What happens to requests while the log cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// They go on; the loss is counted, and an alarm is given.
    Alarm,
    /// Those of sealed topics are refused, with a code that clients retry.
    Block,
}

/// The audit log of this gateway, or none. Clones are the same.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Recorder>>);

struct Recorder {
    journal: Box<dyn Journal>,
    origin: Arc<str>,
    run: u64,
    number: AtomicU64,
    connections: AtomicU64,
    on_failure: OnFailure,
    window: Duration,
    failing: AtomicBool,
    flood: Flood,
    metrics: AuditMetrics,
}

/// Where entries go.
pub(super) trait Journal: Send + Sync {
    /// Takes an entry; never waits.
    fn append(&self, entry: Vec<u8>) -> Result<Receipt, AppendError>;
    /// How it is doing.
    fn state(&self) -> State;
}

/// Resolves when an entry is durable.
pub type Receipt = Pin<Box<dyn Future<Output = Result<u64, AppendError>> + Send + Sync>>;

impl Journal for Log {
    fn append(&self, entry: Vec<u8>) -> Result<Receipt, AppendError> {
        let ticket = Log::append(self, entry)?;
        Ok(Box::pin(ticket.durable()))
    }

    fn state(&self) -> State {
        Log::state(self)
    }
}

/// What was to be told could not be written, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written, and on_failure is block")]
pub struct Unwritten;

/// How a gateway keeps its log.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// The log's name.
    pub origin: Arc<str>,
    /// When it cannot be written.
    pub on_failure: OnFailure,
    /// How long use is counted before it is told.
    pub window: Duration,
}

impl Audit {
    /// No log.
    pub fn off() -> Self {
        Self(None)
    }

    /// Writes to this log.
    pub fn new(log: Log, keeping: Keeping, metrics: AuditMetrics) -> Self {
        Self::with_journal(Box::new(log), keeping, metrics)
    }

    pub(super) fn with_journal(journal: Box<dyn Journal>, keeping: Keeping, metrics: AuditMetrics) -> Self {
        let Keeping { origin, on_failure, window } = keeping;
        let mut run = [0; 8];
        // Without randomness nothing else starts either; the numbers then still rise within the run.
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut run).ok();
        Self(Some(Arc::new(Recorder {
            journal,
            origin,
            run: u64::from_be_bytes(run),
            number: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            on_failure,
            window,
            failing: AtomicBool::new(false),
            flood: Flood::default(),
            metrics,
        })))
    }

    /// Whether there is a log.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether requests wait for what they caused.
    pub fn blocks(&self) -> bool {
        self.0.as_ref().is_some_and(|recorder| recorder.on_failure == OnFailure::Block)
    }

    /// How long use is counted before it is told.
    pub fn window(&self) -> Duration {
        self.0.as_ref().map_or(super::flood::WINDOW, |recorder| recorder.window)
    }

    /// The number of a new connection.
    pub fn connection(&self) -> u64 {
        self.0.as_ref().map_or(0, |recorder| recorder.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Tells an event. Never waits.
    pub fn record(&self, event: Event) {
        self.append(event).ok();
    }

    /// Tells an event; its receipt, where requests wait for one.
    pub fn told(&self, event: Event) -> Option<Receipt> {
        let receipt = match self.append(event) {
            Ok(receipt) => receipt?,
            // A receipt that is never good.
            Err(error) => Box::pin(std::future::ready(Err(error))),
        };
        self.blocks().then_some(receipt)
    }

    /// Tells an event, at once, and under `block` waits until it is durable. What waits holds no event: it is a part of every
    /// connection, busy or idle.
    pub fn commit(&self, event: Event) -> impl Future<Output = Result<(), Unwritten>> + Send + '_ {
        self.settle(self.told(event).into_iter().collect())
    }

    /// Waits for all of these.
    pub async fn settle(&self, receipts: Vec<Receipt>) -> Result<(), Unwritten> {
        if receipts.is_empty() {
            return Ok(());
        }
        let all = async {
            for receipt in receipts {
                receipt.await.map_err(|_| Unwritten)?;
            }
            Ok(())
        };
        tokio::time::timeout(WRITE_WAIT, all).await.unwrap_or(Err(Unwritten))
    }

    /// Whether requests of sealed topics may be served at all.
    pub fn check(&self) -> Result<(), Unwritten> {
        match &self.0 {
            Some(recorder) if self.blocks() && recorder.failing.load(Ordering::Relaxed) => Err(Unwritten),
            _ => Ok(()),
        }
    }

    /// Whether what can wait should be told now.
    pub fn has_room(&self) -> bool {
        self.0.as_ref().is_some_and(|recorder| {
            let state = recorder.journal.state();
            state.failing.is_none() && state.queued_entries < COMFORTABLE_QUEUE
        })
    }

    /// What is due now and then: counts of what was repeated, the state for the metrics. `ending`: everything.
    pub fn tick(&self, ending: bool) -> Option<State> {
        let recorder = self.0.as_ref()?;
        for event in recorder.flood.drain(Timestamp::now(), ending) {
            recorder.write(&event).ok();
        }
        let state = recorder.journal.state();
        recorder.failing.store(state.failing.is_some(), Ordering::Relaxed);
        recorder.metrics.observe(&state);
        Some(state)
    }

    fn append(&self, event: Event) -> Result<Option<Receipt>, AppendError> {
        let Some(recorder) = &self.0 else { return Ok(None) };
        match recorder.flood.admit(event, Timestamp::now()) {
            Some(event) => recorder.write(&event).map(Some),
            None => Ok(None),
        }
    }
}

impl Recorder {
    fn write(&self, event: &Event) -> Result<Receipt, AppendError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let stamp = Stamp { origin: self.origin.clone(), run: self.run, number, time: Timestamp::now() };
        let appended = self.journal.append(event.encode(&stamp));
        match &appended {
            Ok(_) => {
                self.metrics.entries.inc();
            }
            // After `gateway.stopped` nothing is told any more; what a sink still hears of others comes again at the next start.
            Err(AppendError::Closed) => tracing::info!(event = "audit_after_the_end", kind = event.kind().name()),
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(event = "audit_unwritten", kind = event.kind().name(), %error);
                }
            }
        }
        appended
    }
}

/// Below the time after which clients give a request up, and above any disk that works.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// A quarter of what may wait is left to what cannot.
const COMFORTABLE_QUEUE: usize = 49_152;
