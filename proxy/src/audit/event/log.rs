//! Events of the log itself: what is missing, what expired, who read it, what other logs have signed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::connection::{failed, metadata, principal};
use super::content::{LogStatement, Status, Text, Window};
use super::encode::{Stamp, moment};
use super::{Event, Kind, Peer};
use crate::audit::log::{Expired, Gap, GapReason, Statements};

impl Event {
    /// Entries are missing.
    pub fn gap(gap: &Gap) -> Self {
        let mut event = Self::new(Kind::LogGap, "log");
        let message = match gap.reason {
            GapReason::Lost => "entries that were written are not on the disk any more",
            GapReason::Unreadable => "entries under a checkpoint are not on the disk any more; their hashes are",
            GapReason::Refused => "the queue was full, or the disk refused",
        };
        event.content.log = Some(LogStatement {
            gap: Some(gap.reason.name()),
            first_index: Some(gap.first),
            entries: Some(gap.entries),
            ..LogStatement::default()
        });
        event.content.window = Some(Window { from: Some(moment(gap.since)), ..Window::default() });
        event.content.result = failed(Status::Failure, gap.reason.name(), message);
        event
    }

    /// Entries were deleted, since their time was over.
    pub fn expired(expired: &Expired) -> Self {
        let mut event = Self::new(Kind::LogExpired, "log");
        event.content.log = Some(LogStatement {
            first_index: Some(expired.first),
            last_index: Some(expired.end.saturating_sub(1)),
            ..LogStatement::default()
        });
        event.content.window = Some(Window { to: Some(moment(expired.written_before)), ..Window::default() });
        event
    }

    /// Somebody has read entries through the gateway.
    pub fn log_read(peer: &Peer, (first, last): (u64, u64), filter: &str) -> Self {
        let mut event = Self::new(Kind::LogRead, "log");
        event.content.authentication_info = Some(principal(peer));
        event.content.request_metadata = Some(metadata(peer));
        event.content.log = Some(LogStatement {
            first_index: Some(first),
            last_index: Some(last),
            filter: Some(Text::from(filter)).filter(|text| !text.as_str().is_empty()),
            ..LogStatement::default()
        });
        event
    }

    /// The checkpoint of another log: its name, entries, root hash (base64), the name and key hash of its signer, and the signed
    /// note, which the caller has bounded.
    pub fn cross_checkpoint(origin: &str, size: u64, root: &str, signer: &str, note: String) -> Self {
        let mut event = Self::new(Kind::CrossCheckpoint, format!("log={origin}"));
        event.content.log = Some(LogStatement {
            origin: Some(Text::from(origin)),
            size: Some(size),
            root: Some(Text::from(root)),
            signer: Some(Text::from(signer)),
            checkpoint: Some(note),
            ..LogStatement::default()
        });
        event
    }

    /// A witness says that a log was rolled back or has two histories.
    pub fn witness_alarm(origin: &str, alarm: WitnessAlarm, witness: &str) -> Self {
        let mut event = Self::new(Kind::WitnessAlarm, format!("log={origin}"));
        let (size, seen, reason, message) = match alarm {
            WitnessAlarm::Shorter { size, seen } => {
                (size, Some(seen), "log_shorter", "the log was rolled back, or there are two of it")
            }
            WitnessAlarm::Forked { size } => (size, None, "log_forked", "the log is not a continuation of what it was"),
        };
        event.content.log = Some(LogStatement {
            origin: Some(Text::from(origin)),
            size: Some(size),
            witness: Some(Text::from(witness)),
            seen,
            ..LogStatement::default()
        });
        event.content.result = failed(Status::Failure, reason, message);
        event
    }

    /// A sink did not get so many entries, since the first of them.
    pub fn sink_lost(sink: &str, entries: u64, since: Timestamp) -> Self {
        let mut event = Self::new(Kind::SinkLost, format!("sink={sink}"));
        event.content.log =
            Some(LogStatement { sink: Some(Text::from(sink)), entries: Some(entries), ..LogStatement::default() });
        let to = Some(moment(Timestamp::now()));
        event.content.window = Some(Window { from: Some(moment(since)), to, folded: None });
        event.content.result = failed(Status::Failure, "lost", "the sink was too slow, or away");
        event
    }
}

/// What a witness says is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessAlarm {
    /// It has fewer entries than the witness has seen.
    Shorter {
        /// How many it has.
        size: u64,
        /// How many the witness has seen.
        seen: u64,
    },
    /// It does not continue what the witness has seen.
    Forked {
        /// How many entries it has.
        size: u64,
    },
}

/// Encodes the log's own statements. It has numbers of its own, since it is there before the recorder is.
pub struct LogStatements {
    origin: Arc<str>,
    run: u64,
    number: AtomicU64,
    /// Since when the last refused entries were missing, and the number under which that was told.
    last_refused: Mutex<Option<(Timestamp, u64)>>,
}

impl LogStatements {
    /// For the log of this name.
    pub fn new(origin: Arc<str>) -> Self {
        let mut run = [0; 8];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut run).ok();
        Self { origin, run: u64::from_be_bytes(run), number: AtomicU64::new(0), last_refused: Mutex::default() }
    }

    fn next(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// A disk that refuses is asked again and again to take the statement about that: until it has, the number is the same. A number
    /// that is missing is an event that is missing.
    fn number_of(&self, gap: &Gap) -> u64 {
        if gap.reason != GapReason::Refused {
            return self.next();
        }
        let mut last = self.last_refused.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((since, number)) if since == gap.since => number,
            _ => last.insert((gap.since, self.next())).1,
        }
    }

    fn write(&self, event: &Event, number: u64) -> Vec<u8> {
        event.encode(&Stamp { origin: self.origin.clone(), run: self.run, number, time: Timestamp::now() })
    }
}

impl Statements for LogStatements {
    fn gap(&self, gap: &Gap) -> Vec<u8> {
        self.write(&Event::gap(gap), self.number_of(gap))
    }

    fn expired(&self, expired: &Expired) -> Vec<u8> {
        self.write(&Event::expired(expired), self.next())
    }
}
