//! The writer's thread: groups of entries arrive, and leave in the write-ahead file, synced, as one write.
//! A file in which a write failed is never continued, because nobody knows what it holds; a new one is begun. What the disk
//! refused and what the queue had no room for is said in a gap entry before anything else is written.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use barnabas_crypto::Secret;
use ring::rand::{SecureRandom, SystemRandom};

use super::folder::{Folder, SEGMENTS, at};
use super::queue::{Refusals, Shared, Waiting};
use super::ratchet::{Chain, Run, RunId};
use super::segment::{Position, SegmentHeader, add_record};
use super::tree::{Hash, sha256};
use super::{Error, Gap, GapReason, MAX_ENTRY, Statements};

/// Writes what waits.
pub struct Writer {
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    statements: Arc<dyn Statements>,
    origin: Hash,
    run_id: RunId,
    run: Run,
    sequence: u64,
    next: u64,
    /// `None` after a failure.
    segment: Option<OpenSegment>,
    buffer: Vec<u8>,
}

struct OpenSegment {
    file: File,
    chain: Chain,
    bytes: usize,
}

impl Writer {
    /// Begins a run of files after those that are there.
    pub fn begin(
        shared: Arc<Shared>,
        folder: Arc<Folder>,
        statements: Arc<dyn Statements>,
        start: Start<'_>,
    ) -> Result<Self, Error> {
        let mut run_id = RunId::default();
        SystemRandom::new().fill(&mut run_id).map_err(|_| Error::Key("the system gives no random bytes"))?;
        let origin = sha256(start.origin.as_bytes());
        let run = Run::new(start.root, &origin, &run_id)?;
        let (sequence, next) = (start.sequence, start.size);
        let buffer = Vec::new();
        let mut writer =
            Self { shared, folder, statements, origin, run_id, run, sequence, next, segment: None, buffer };
        writer.begin_segment()?;
        Ok(writer)
    }

    /// Writes until the log is closed.
    pub fn run(mut self) {
        while let Some(mut group) = self.shared.next_group() {
            let own = group.refusals.map(|refusals| self.gap(refusals, group.entries.len()));
            group.entries.extend(own.map(|entry| Waiting { entry, answer: None }));
            match self.write(&group.entries) {
                Ok(()) => {
                    self.next += group.entries.len() as u64;
                    self.shared.written(group.entries);
                }
                Err(error) => {
                    tracing::error!(event = "audit_write_failed", %error);
                    self.segment = None;
                    self.shared.refused(group, &error);
                    if !self.shared.wait_to_retry() {
                        break;
                    }
                }
            }
        }
        self.shared.end_writing();
    }

    fn write(&mut self, entries: &[Waiting]) -> Result<(), Error> {
        if self.segment.as_ref().is_none_or(|segment| segment.bytes >= MAX_SEGMENT) {
            self.begin_segment()?;
        }
        let Some(segment) = &mut self.segment else { return Ok(()) };
        self.buffer.clear();
        for (index, waiting) in (self.next..).zip(entries) {
            let at = Position { index, durable: self.next };
            add_record(&mut self.buffer, &mut segment.chain, at, &waiting.entry)?;
        }
        let written = segment.file.write_all(&self.buffer).and_then(|()| segment.file.sync_data());
        written.map_err(at(&self.folder.path(SEGMENTS)))?;
        segment.bytes += self.buffer.len();
        self.buffer.shrink_to(KEPT_BUFFER);
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), Error> {
        self.segment = None;
        let (number, keys) = self.run.next_segment()?;
        let header = SegmentHeader { origin: self.origin, run: self.run_id, number, first: self.next };
        let name = format!("{SEGMENTS}/{:020}-{:010}", self.next, self.sequence);
        self.sequence += 1;
        let bytes = header.to_bytes(&keys);
        let path = self.folder.path(&name);
        self.folder.put(&[(name.into(), bytes)])?;
        let file = File::options().append(true).open(&path).map_err(at(&path))?;
        self.shared.add_segment(self.next, path);
        self.segment = Some(OpenSegment { file, chain: keys.chain, bytes: 0 });
        Ok(())
    }

    fn gap(&self, refusals: Refusals, before: usize) -> Vec<u8> {
        let first = self.next + before as u64;
        let gap = Gap { reason: GapReason::Refused, first, entries: refusals.entries, since: refusals.since };
        gap_entry(self.statements.as_ref(), &gap)
    }
}

/// Where a writer begins.
pub struct Start<'a> {
    /// The log's name.
    pub origin: &'a str,
    /// The root of the ratchet.
    pub root: &'a Secret<32>,
    /// How many entries there are.
    pub size: u64,
    /// The number in the next file's name.
    pub sequence: u64,
}

/// The statement about a gap. An encoder that gives nothing usable does not silence it.
pub fn gap_entry(statements: &dyn Statements, gap: &Gap) -> Vec<u8> {
    let entry = statements.gap(gap);
    if (1..=MAX_ENTRY).contains(&entry.len()) { entry } else { format!("{gap:?}").into_bytes() }
}

/// Bytes after which a new file is begun.
const MAX_SEGMENT: usize = 16 * 1024 * 1024;

/// A buffer that was once larger gives its memory back.
const KEPT_BUFFER: usize = 1024 * 1024;
