//! Follows the log's folder for one sink.
//!
//! Arrives: the folder, and how far the sink has come. Leaves: pieces of at most one bundle, one after another; a sink that fails
//! is tried again, with pauses. Entries that were dropped because of their age before the sink got them are told as lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Entry, Piece, Sink};
use crate::audit::event::{Audit, Event};
use crate::audit::log::reader::Reader;

/// What is followed for whom.
#[derive(Clone)]
pub struct Followed {
    /// The sink's name.
    pub name: String,
    /// The log's folder.
    pub directory: PathBuf,
    /// The log's name.
    pub origin: Arc<str>,
    /// How far it was when the gateway began.
    pub size_at_start: u64,
    /// How many entries the sink does not have yet.
    pub lag: Gauge,
    /// To tell what it has lost.
    pub audit: Audit,
    /// True when the log is closed: what is there is delivered, then it ends.
    pub ending: watch::Receiver<bool>,
}

/// Delivers to one sink.
pub struct Follower {
    followed: Followed,
    sink: Box<dyn Sink>,
    next: u64,
    /// Where the piece before began.
    before: u64,
    failures: u32,
}

impl Follower {
    /// From where the sink has come to.
    pub fn new(followed: Followed, sink: Box<dyn Sink>) -> Self {
        let kept = std::fs::read_to_string(place(&followed)).ok().and_then(|text| text.trim().parse().ok());
        let start = if sink.wants_history() { 0 } else { followed.size_at_start };
        let next = kept.unwrap_or(start);
        Self { followed, sink, next, before: next, failures: 0 }
    }

    /// Runs until the log is closed and all of it is delivered, or cannot be.
    pub async fn run(mut self) {
        let mut ending = self.followed.ending.clone();
        loop {
            let is_last = *ending.borrow_and_update();
            match self.step().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => self.failed(&error),
            }
            if is_last {
                return;
            }
            let pause = LOOK.saturating_mul(1 << self.failures.min(MOST_DOUBLINGS));
            tokio::select! {
                () = sleep(pause) => {}
                // A sender that is gone counts as the end.
                _ = ending.wait_for(|ending| *ending) => {}
            }
        }
    }

    /// Delivers one piece; false when there is none.
    async fn step(&mut self) -> Result<bool, String> {
        let (directory, origin, next) = (self.followed.directory.clone(), self.followed.origin.clone(), self.next);
        let read = tokio::task::spawn_blocking(move || read(&directory, origin, next)).await;
        let Read { first, size, piece } = read.map_err(|error| error.to_string())??;
        if first > self.next {
            self.followed.audit.record(Event::sink_lost(&self.followed.name, first - self.next, Timestamp::now()));
            self.next = first;
            return Ok(true);
        }
        self.followed.lag.set(i64::try_from(size.saturating_sub(self.next)).unwrap_or(i64::MAX));
        let Some(last) = piece.entries.last().map(|entry| entry.index) else { return Ok(false) };
        let delivered = timeout(DELIVERY_LIMIT, self.sink.deliver(&piece)).await;
        if let Err(error) = delivered.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            if !self.sink.is_acknowledged() {
                self.next = self.before;
            }
            return Err(error);
        }
        if self.failures > 0 {
            tracing::info!(event = "audit_sink_works_again", sink = self.followed.name);
        }
        self.failures = 0;
        (self.before, self.next) = (self.next, last + 1);
        self.followed.lag.set(i64::try_from(size.saturating_sub(self.next)).unwrap_or(i64::MAX));
        keep(&place(&self.followed), self.next)?;
        Ok(true)
    }

    fn failed(&mut self, error: &str) {
        // One line for an outage, not one for every attempt.
        if self.failures == 0 {
            let sink = &self.followed.name;
            tracing::warn!(event = "audit_sink_failing", sink, error, "entries wait in the log's folder");
        }
        self.failures = self.failures.saturating_add(1);
    }
}

struct Read {
    first: u64,
    size: u64,
    piece: Piece,
}

fn read(directory: &Path, origin: Arc<str>, next: u64) -> Result<Read, String> {
    let reader = Reader::open(directory, None).map_err(|error| error.to_string())?;
    // To the end of a bundle: the next piece then begins with one.
    let end = (next / PIECE + 1).saturating_mul(PIECE).min(reader.size());
    let entries = reader.entries(next..end).map(|entry| entry.map(|(index, bytes)| Entry { index, bytes }));
    let entries: Vec<Entry> = entries.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let checkpoint = std::fs::read_to_string(directory.join("checkpoint")).unwrap_or_default();
    Ok(Read { first: reader.first(), size: reader.size(), piece: Piece { origin, entries, checkpoint } })
}

/// Beside the log's folder, as nothing but the log writes into it: `audit` has `audit.sink-NAME`.
fn place(followed: &Followed) -> PathBuf {
    let mut name = followed.directory.file_name().unwrap_or_default().to_owned();
    name.push(format!(".sink-{}", followed.name));
    followed.directory.with_file_name(name)
}

fn keep(path: &Path, next: u64) -> Result<(), String> {
    let fresh = path.with_added_extension("new");
    let kept = std::fs::write(&fresh, next.to_string()).and_then(|()| std::fs::rename(&fresh, path));
    kept.map_err(|error| format!("{}: {error}", path.display()))
}

/// Entries of a bundle (C2SP tlog-tiles).
const PIECE: u64 = 256;

/// A log makes a checkpoint each second.
const LOOK: Duration = Duration::from_secs(1);

/// A minute between two attempts at the most.
const MOST_DOUBLINGS: u32 = 6;

/// Above what a client library waits for.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);
