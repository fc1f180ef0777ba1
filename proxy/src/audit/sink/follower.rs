//! Follows the log's folder for one sink.
//!
//! Arrives: the folder, and how far the sink has come. Leaves: pieces of at most one bundle, one after another; a sink that fails
//! is tried again, with pauses. Entries that were dropped because of their age before the sink got them are told as lost. What must
//! never happen here: a place beyond what the other side can have, for a sink that knows no acknowledgements.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Entry, Piece, Sink};
use crate::audit::event::{Audit, Event};
use crate::audit::log::checkpoint::Checkpoint;
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
    /// How far it has ever come: a log that is shorter is another one.
    farthest: u64,
    /// What the other side may not have taken yet.
    sent: Sent,
    failures: u32,
}

/// Pieces that were written to a side that acknowledges nothing. Some MB may wait in the buffers of both systems when a connection
/// breaks, and are gone then.
#[derive(Debug, Default)]
struct Sent {
    pieces: VecDeque<SentPiece>,
    /// The other side was asked about the last one, and it is not certain that it has it.
    asked: bool,
}

#[derive(Debug)]
struct SentPiece {
    first: u64,
    bytes: usize,
    at: Instant,
}

impl Follower {
    /// From where the sink has come to.
    pub fn new(followed: Followed, sink: Box<dyn Sink>) -> Self {
        let kept = std::fs::read_to_string(place(&followed)).unwrap_or_default();
        let mut kept = kept.split_whitespace().map_while(|number| number.parse().ok());
        let start = if sink.wants_history() { 0 } else { followed.size_at_start };
        let next = kept.next().unwrap_or(start);
        let farthest = kept.next().unwrap_or(next);
        Self { followed, sink, next, farthest, sent: Sent::default(), failures: 0 }
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
                return self.settle().await;
            }
            for _ in 0..1_u32 << self.failures.min(MOST_DOUBLINGS) {
                tokio::select! {
                    () = sleep(LOOK) => {}
                    // A sender that is gone counts as the end.
                    _ = ending.wait_for(|ending| *ending) => break,
                }
                self.observe();
            }
            if self.sent.is_quiet(Instant::now()) {
                self.settle().await;
            }
        }
    }

    /// While nothing is to be sent: makes sure that what was sent has arrived, so that it need not come again after a break or a
    /// restart.
    async fn settle(&mut self) {
        if self.sent.first().is_none() {
            return;
        }
        match timeout(SETTLEMENT_LIMIT, self.sink.settle()).await {
            Ok(Ok(true)) => {
                self.sent = Sent::default();
                if let Err(error) = self.keep() {
                    self.failed(&error);
                }
            }
            // It comes again if a connection breaks soon.
            Ok(Ok(false)) | Err(_) => self.sent.asked = true,
            Ok(Err(error)) => {
                self.next = self.sent.take_back(Instant::now()).unwrap_or(self.next);
                self.failed(&error);
            }
        }
    }

    /// How much the sink lacks grows while nothing is tried, too.
    fn observe(&self) {
        let path = self.followed.directory.join("checkpoint");
        let note = std::fs::read(path).unwrap_or_default();
        if let Some((checkpoint, _)) = Checkpoint::parse_note(&note) {
            self.lacks(checkpoint.size.saturating_sub(self.next));
        }
    }

    fn lacks(&self, entries: u64) {
        self.followed.lag.set(i64::try_from(entries).unwrap_or(i64::MAX));
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
        if self.farthest > size {
            // The sink has more than there is: an old log is in the place of this one, or a new one.
            let (farthest, place) = (self.farthest, place(&self.followed).display().to_string());
            return Err(format!(
                "the log has {size} entries, and this sink has got {farthest}: it was rolled back; if it is a new log, remove `{place}`"
            ));
        }
        self.lacks(size - self.next);
        let Some(last) = piece.entries.last().map(|entry| entry.index) else { return Ok(false) };
        let delivered = timeout(DELIVERY_LIMIT, self.sink.deliver(&piece)).await;
        if let Err(error) = delivered.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            self.next = self.sent.take_back(Instant::now()).unwrap_or(self.next);
            return Err(error);
        }
        if self.failures > 0 {
            tracing::info!(event = "audit_sink_works_again", sink = self.followed.name);
        }
        self.failures = 0;
        if !self.sink.is_acknowledged() {
            let bytes = piece.entries.iter().map(|entry| entry.bytes.len()).sum();
            self.sent.add(SentPiece { first: self.next, bytes, at: Instant::now() });
        }
        self.next = last + 1;
        self.farthest = self.farthest.max(self.next);
        self.lacks(size.saturating_sub(self.next));
        self.keep()?;
        Ok(true)
    }

    /// Keeps the place for the next start, on disk: where to go on, and behind it how far the sink has come, where that is more.
    fn keep(&self) -> Result<(), String> {
        let (path, sure) = (place(&self.followed), self.sent.first().unwrap_or(self.next));
        let text = if sure == self.farthest { sure.to_string() } else { format!("{sure} {}", self.farthest) };
        let fresh = path.with_added_extension("new");
        let kept = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path));
        kept.map_err(|error| format!("{}: {error}", path.display()))
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

impl Sent {
    fn add(&mut self, piece: SentPiece) {
        self.forget_old(piece.at);
        self.asked = false;
        self.pieces.push_back(piece);
        let mut bytes: usize = self.pieces.iter().map(|piece| piece.bytes).sum();
        while let Some(old) = self.pieces.pop_front_if(|old| bytes - old.bytes >= MOST_IN_BUFFERS) {
            bytes -= old.bytes;
        }
    }

    /// Whether it is time to ask the other side: nothing was sent for a while.
    fn is_quiet(&self, now: Instant) -> bool {
        !self.asked && self.pieces.back().is_some_and(|last| now.duration_since(last.at) >= QUIET)
    }

    /// Where to begin again after a connection broke; `None` when nothing was under way.
    fn take_back(&mut self, now: Instant) -> Option<u64> {
        self.forget_old(now);
        let first = self.first();
        self.pieces.clear();
        first
    }

    fn first(&self) -> Option<u64> {
        self.pieces.front().map(|piece| piece.first)
    }

    /// But for the last one: a side that went away while nothing was sent takes one more piece before that shows.
    fn forget_old(&mut self, now: Instant) {
        while self.pieces.len() > 1
            && self.pieces.front().is_some_and(|piece| now.duration_since(piece.at) > LONGEST_IN_BUFFERS)
        {
            self.pieces.pop_front();
        }
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

/// Entries of a bundle (C2SP tlog-tiles).
const PIECE: u64 = 256;

/// A log makes a checkpoint each second.
const LOOK: Duration = Duration::from_secs(1);

/// A minute between two attempts at the most.
const MOST_DOUBLINGS: u32 = 6;

/// Above what Linux gives to a connection: 4 MiB on the side that sends, 32 MiB on the other one (6 MiB before Linux 6.16).
const MOST_IN_BUFFERS: usize = 40 << 20;

/// What a server that lives has read by then. More would be repeated whenever an idle connection is closed.
const LONGEST_IN_BUFFERS: Duration = Duration::from_secs(300);

/// Servers close connections that are idle for longer.
const QUIET: Duration = Duration::from_secs(15);

/// A server that lives answers at once.
const SETTLEMENT_LIMIT: Duration = Duration::from_secs(4);

/// Above what a client library waits for.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(first: u64, bytes: usize, at: Instant) -> SentPiece {
        SentPiece { first, bytes, at }
    }

    #[test]
    fn after_a_break_all_that_may_be_in_buffers_comes_again_and_no_more() {
        let start = Instant::now();
        let mut sent = Sent::default();
        assert_eq!(sent.take_back(start), None);
        for first in 0..5 {
            sent.add(piece(first, MOST_IN_BUFFERS / 2, start));
        }
        assert_eq!(sent.take_back(start), Some(3));
        for first in 0..4 {
            sent.add(piece(first, MOST_IN_BUFFERS / 2 - 1, start));
        }
        assert_eq!(sent.take_back(start), Some(1), "the one that crosses the bound comes, too");
        assert_eq!(sent.take_back(start), None, "it is under way once more only when it was sent once more");
        let later = start + LONGEST_IN_BUFFERS + Duration::from_secs(1);
        (0..3).for_each(|first| sent.add(piece(first, 1, start)));
        sent.add(piece(3, 1, later));
        assert_eq!(sent.take_back(later), Some(3));
        sent.add(piece(7, 1, start));
        assert_eq!(sent.take_back(later), Some(7), "the last one, however old");
    }

    #[test]
    fn the_other_side_is_asked_once_when_nothing_was_sent_for_a_while() {
        let start = Instant::now();
        let mut sent = Sent::default();
        assert!(!sent.is_quiet(start + QUIET));
        sent.add(piece(0, 1, start));
        assert!(!sent.is_quiet(start + QUIET / 2) && sent.is_quiet(start + QUIET));
        sent.asked = true;
        assert!(!sent.is_quiet(start + QUIET));
        sent.add(piece(1, 1, start));
        assert!(sent.is_quiet(start + QUIET));
    }
}
