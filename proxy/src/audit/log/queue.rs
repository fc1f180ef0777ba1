//! What the callers, the writer and the publisher of a log share: entries wait here, answers leave.
//! Bounded at each stage in entries and bytes: a slow disk refuses callers, it never fills the memory. What is refused is
//! counted, until the writer has said so in the log.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{AppendError, Error, Failing, MAX_ENTRY, Settings, State, Ticket};

/// The shared part of a log.
pub struct Shared {
    /// The limits.
    pub settings: Settings,
    inner: Mutex<Inner>,
    to_write: Condvar,
    to_publish: Condvar,
}

struct Inner {
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    in_flight: u64,
    durable: u64,
    /// Durable entries that are not under a checkpoint.
    backlog: VecDeque<Bytes>,
    backlog_bytes: usize,
    waits_since: Option<Instant>,
    published: u64,
    checkpoint: Arc<str>,
    refused: u64,
    unsaid: Option<Refusals>,
    cannot_write: Option<Failing>,
    cannot_publish: Option<Failing>,
    segments: VecDeque<(u64, PathBuf)>,
    closing: bool,
    writer_ended: bool,
}

/// An entry that waits to be written.
pub struct Waiting {
    /// The entry.
    pub entry: Vec<u8>,
    /// Who is to be told; nobody for the log's own statements.
    pub answer: Option<Answer>,
}

/// The other end of a ticket.
pub type Answer = oneshot::Sender<Result<u64, AppendError>>;

/// Entries that were refused and of which the log does not speak yet.
#[derive(Clone, Copy, Debug)]
pub struct Refusals {
    /// How many.
    pub entries: u64,
    /// When the first was.
    pub since: Timestamp,
}

/// What is written and synced at once.
pub struct Group {
    /// The entries.
    pub entries: Vec<Waiting>,
    /// What was refused before them.
    pub refusals: Option<Refusals>,
}

/// What the publisher does next.
pub enum Work {
    /// These entries go under a checkpoint.
    Publish(Vec<Bytes>),
    /// Nothing waits: old entries may be looked after.
    Idle,
    /// Everything is published and nothing will come.
    End,
}

impl Shared {
    /// The state of a log that was recovered up to a size, all of it under a checkpoint.
    pub fn new(settings: Settings, size: u64, checkpoint: Arc<str>) -> Self {
        let inner = Inner {
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: 0,
            durable: size,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            waits_since: None,
            published: size,
            checkpoint,
            refused: 0,
            unsaid: None,
            cannot_write: None,
            cannot_publish: None,
            segments: VecDeque::new(),
            closing: false,
            writer_ended: false,
        };
        Self { settings, inner: Mutex::new(inner), to_write: Condvar::new(), to_publish: Condvar::new() }
    }

    /// Takes an entry, or refuses and counts it.
    pub fn append(&self, entry: Vec<u8>) -> Result<Ticket, AppendError> {
        if entry.is_empty() || entry.len() > MAX_ENTRY {
            return Err(AppendError::Length(entry.len()));
        }
        let mut inner = self.inner();
        if inner.closing {
            return Err(AppendError::Closed);
        }
        if let Some(failing) = &inner.cannot_write {
            let refusal = AppendError::Failed(failing.why.clone());
            inner.refuse(1);
            return Err(refusal);
        }
        let bytes = inner.queued_bytes + entry.len();
        if inner.queue.len() >= self.settings.queue_entries || bytes > self.settings.queue_bytes {
            inner.refuse(1);
            return Err(AppendError::Full);
        }
        let (answer, ticket) = Ticket::new();
        inner.queue(entry, Some(answer));
        drop(inner);
        self.to_write.notify_one();
        Ok(ticket)
    }

    /// Takes a statement of the log itself, whatever the limits say: there are few.
    pub fn append_own(&self, entry: Vec<u8>) -> Ticket {
        let (answer, ticket) = Ticket::new();
        self.inner().queue(entry, Some(answer));
        self.to_write.notify_one();
        ticket
    }

    /// Waits for the next group; none when the log is closed and everything is written.
    pub fn next_group(&self) -> Option<Group> {
        let mut inner = self.inner();
        loop {
            // A disk that refused is tried again also when nothing waits: else nothing would ever be taken again.
            let ready = !inner.queue.is_empty() || inner.unsaid.is_some() || inner.cannot_write.is_some();
            if ready && (inner.backlog_bytes < MAX_BACKLOG || inner.closing) {
                return Some(inner.take_group());
            }
            if inner.closing && !ready {
                return None;
            }
            inner = self.to_write.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A group is durable: its tickets are answered and its entries wait for a checkpoint.
    pub fn written(&self, entries: Vec<Waiting>) {
        let mut answers = Vec::with_capacity(entries.len());
        let mut inner = self.inner();
        inner.cannot_write = None;
        inner.in_flight = 0;
        let was_empty = inner.backlog.is_empty();
        for waiting in entries {
            answers.extend(waiting.answer.map(|answer| (answer, inner.durable)));
            inner.durable += 1;
            inner.backlog_bytes += waiting.entry.len();
            inner.backlog.push_back(Bytes::from(waiting.entry));
        }
        if !inner.backlog.is_empty() {
            inner.waits_since.get_or_insert_with(Instant::now);
        }
        let is_due = inner.backlog.len() as u64 >= self.settings.checkpoint_entries;
        drop(inner);
        if is_due || was_empty {
            self.to_publish.notify_one();
        }
        // Whoever does not wait any more is not told.
        answers.into_iter().for_each(|(answer, index)| drop(answer.send(Ok(index))));
    }

    /// The disk refused a group: it and all that waits is refused, until the writer gets through again.
    pub fn refused(&self, group: Group, error: &Error) {
        let why = error.to_string();
        let mut inner = self.inner();
        let waiting: Vec<Waiting> = inner.queue.drain(..).collect();
        inner.queued_bytes = 0;
        inner.in_flight = 0;
        let own = |waiting: &&Waiting| waiting.answer.is_some();
        let refused = group.entries.iter().chain(&waiting).filter(own).count() as u64;
        inner.refuse(refused);
        if let (Some(before), Some(unsaid)) = (group.refusals, &mut inner.unsaid) {
            *unsaid = Refusals { entries: unsaid.entries + before.entries, since: before.since };
        } else if group.refusals.is_some() {
            inner.unsaid = group.refusals;
        }
        inner.cannot_write.get_or_insert_with(|| Failing { since: Timestamp::now(), why: why.clone() });
        drop(inner);
        let all = group.entries.into_iter().chain(waiting).filter_map(|waiting| waiting.answer);
        all.for_each(|answer| drop(answer.send(Err(AppendError::Failed(why.clone())))));
    }

    /// Waits before the disk is tried again; false when the log is being closed and there is nothing to wait for.
    pub fn wait_to_retry(&self) -> bool {
        let inner = self.inner();
        if !inner.closing {
            drop(self.to_write.wait_timeout(inner, RETRY).unwrap_or_else(PoisonError::into_inner));
        }
        !self.inner().closing
    }

    /// A new write-ahead file begins.
    pub fn add_segment(&self, first: u64, path: PathBuf) {
        self.inner().segments.push_back((first, path));
    }

    /// The writer has ended.
    pub fn end_writing(&self) {
        self.inner().writer_ended = true;
        self.to_publish.notify_all();
    }

    /// Waits until a checkpoint is due, or for so long that there is time for other things.
    pub fn next_work(&self, patience: Duration) -> Work {
        let asked = Instant::now();
        let mut inner = self.inner();
        loop {
            let age = inner.waits_since.map(|since| since.elapsed()).unwrap_or_default();
            let many = inner.backlog.len() as u64 >= self.settings.checkpoint_entries;
            let old = age >= self.settings.checkpoint_interval;
            if !inner.backlog.is_empty() && (many || old || inner.writer_ended) {
                return Work::Publish(inner.first_of_backlog());
            }
            if inner.backlog.is_empty() && inner.writer_ended {
                return Work::End;
            }
            let quiet = patience.saturating_sub(asked.elapsed());
            if quiet.is_zero() {
                return Work::Idle;
            }
            let until_old = self.settings.checkpoint_interval.saturating_sub(age);
            let wait = if inner.backlog.is_empty() { quiet } else { until_old.min(quiet) };
            inner = self.to_publish.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Entries are under a checkpoint. Gives the write-ahead files that are not needed any more.
    pub fn published(&self, entries: usize, checkpoint: Arc<str>) -> Vec<PathBuf> {
        let mut inner = self.inner();
        inner.cannot_publish = None;
        inner.published += entries as u64;
        inner.checkpoint = checkpoint;
        let freed: usize = inner.backlog.drain(..entries).map(|entry| entry.len()).sum();
        inner.backlog_bytes -= freed;
        inner.waits_since = (!inner.backlog.is_empty()).then(Instant::now);
        let mut old = Vec::new();
        while inner.segments.get(1).is_some_and(|(first, _)| *first <= inner.published) {
            old.extend(inner.segments.pop_front().map(|(_, path)| path));
        }
        drop(inner);
        self.to_write.notify_all();
        old
    }

    /// No checkpoint could be made. Waits before the next try; false when the log is closed.
    pub fn wait_to_publish(&self, error: &Error) -> bool {
        let mut inner = self.inner();
        inner.cannot_publish.get_or_insert_with(|| Failing { since: Timestamp::now(), why: error.to_string() });
        if inner.writer_ended {
            return false;
        }
        drop(self.to_publish.wait_timeout(inner, RETRY).unwrap_or_else(PoisonError::into_inner));
        true
    }

    /// Nothing is taken any more.
    pub fn close(&self) {
        self.inner().closing = true;
        self.to_write.notify_all();
        self.to_publish.notify_all();
    }

    /// How the log is doing.
    pub fn state(&self) -> State {
        let inner = self.inner();
        State {
            size: inner.durable + inner.in_flight + inner.queue.len() as u64,
            durable: inner.durable,
            checkpoint: inner.published,
            queued_entries: inner.queue.len(),
            queued_bytes: inner.queued_bytes,
            refused: inner.refused,
            failing: inner.cannot_write.clone().or_else(|| inner.cannot_publish.clone()),
        }
    }

    /// The last checkpoint.
    pub fn checkpoint(&self) -> Arc<str> {
        self.inner().checkpoint.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is complete before the lock is given back; a panic elsewhere cannot have left half of one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn queue(&mut self, entry: Vec<u8>, answer: Option<Answer>) {
        self.queued_bytes += entry.len();
        self.queue.push_back(Waiting { entry, answer });
    }

    fn refuse(&mut self, entries: u64) {
        self.refused += entries;
        if entries > 0 {
            let unsaid = self.unsaid.get_or_insert_with(|| Refusals { entries: 0, since: Timestamp::now() });
            unsaid.entries += entries;
        }
    }

    fn take_group(&mut self) -> Group {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while bytes < MAX_GROUP
            && let Some(waiting) = self.queue.pop_front()
        {
            bytes += waiting.entry.len();
            entries.push(waiting);
        }
        self.queued_bytes -= bytes;
        self.in_flight = entries.len() as u64;
        Group { entries, refusals: self.unsaid.take() }
    }

    fn first_of_backlog(&self) -> Vec<Bytes> {
        let mut bytes = 0;
        let fits = |entry: &&Bytes| {
            let fits = bytes < MAX_BATCH;
            bytes += entry.len();
            fits
        };
        self.backlog.iter().take_while(fits).cloned().collect()
    }
}

/// Bytes of entries that are written and synced at once.
const MAX_GROUP: usize = 4 * 1024 * 1024;

/// Bytes of durable entries that may wait for a checkpoint before nothing more is written.
const MAX_BACKLOG: usize = 64 * 1024 * 1024;

/// Bytes of entries that go under one checkpoint.
const MAX_BATCH: usize = 8 * 1024 * 1024;

/// How long a disk that refused is left alone.
const RETRY: Duration = Duration::from_millis(250);
