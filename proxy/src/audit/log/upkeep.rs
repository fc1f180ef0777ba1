//! What is done to old entries: they are compressed, and dropped when they are older than the log is to keep them.
//! Dropping takes three steps, each durable before the next: an entry says what goes, the signed list of statements says it
//! too, then the bundles go. Tiles of hashes stay for ever. How old a bundle is tells its tile, which is written once.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::folder::{self, Folder, at, read_if_there};
use super::published::Published;
use super::queue::Shared;
use super::statement::{Item, ItemKind, STATEMENTS, StatementList};
use super::tile::{Content, Tile};
use super::tree::{Hash, TILE_WIDTH, leaf_hash};
use super::{Error, Expired, MAX_ENTRY, Statements, Ticket};

/// Looks after old entries.
pub struct Upkeep {
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    statements: Arc<dyn Statements>,
    last: Option<Instant>,
    stated: Option<Stated>,
    /// The bundle up to which all that was stated as dropped is really gone.
    swept: u64,
    /// The bundle up to which all are compressed.
    compressed: u64,
}

/// A statement that was appended and waits until it is under a checkpoint.
struct Stated {
    expired: Expired,
    leaf: Hash,
    ticket: Option<Ticket>,
    index: u64,
}

impl Upkeep {
    /// Upkeep of a log that was just opened.
    pub const fn new(shared: Arc<Shared>, folder: Arc<Folder>, statements: Arc<dyn Statements>) -> Self {
        Self { shared, folder, statements, last: None, stated: None, swept: 0, compressed: 0 }
    }

    /// Does a bounded part of what is due, if it is time for it. What fails is tried again the next time.
    pub fn run(&mut self, published: &Published) {
        let interval = self.shared.settings.upkeep_interval;
        // What was stated is done as soon as it can be: a log that is closed before would state it once more.
        if self.stated.is_none() && self.last.is_some_and(|last| last.elapsed() < interval) {
            return;
        }
        self.last = Some(Instant::now());
        if let Err(error) = self.turn(published) {
            tracing::warn!(event = "audit_upkeep_failed", %error);
        }
    }

    fn turn(&mut self, published: &Published) -> Result<(), Error> {
        let bytes = read_if_there(&self.folder.path(STATEMENTS))?.unwrap_or_default();
        let mut list = StatementList::parse(&bytes, published.pen().key()).unwrap_or_default();
        if self.stated.is_some() {
            self.settle(published, &mut list)?;
        } else if let Some(retention) = self.shared.settings.retention {
            self.state(published, &list, retention)?;
        }
        self.sweep(&list)?;
        match self.shared.settings.compress_after {
            Some(age) => self.compress(published, &list, age),
            None => Ok(()),
        }
    }

    /// Says which bundles are too old.
    fn state(&mut self, published: &Published, list: &StatementList, retention: Duration) -> Result<(), Error> {
        let first = list.expired_end();
        let begin = first / BUNDLE;
        let mut end = begin;
        while end < published.size() / BUNDLE && end - begin < MAX_DROPPED && self.is_older(end, retention)? {
            end += 1;
        }
        if end == begin {
            return Ok(());
        }
        let written_before = Timestamp::now().checked_sub(retention).unwrap_or(Timestamp::MIN);
        let expired = Expired { first, end: end * BUNDLE, written_before };
        let mut entry = self.statements.expired(&expired);
        if !(1..=MAX_ENTRY).contains(&entry.len()) {
            entry = format!("{expired:?}").into_bytes();
        }
        let leaf = leaf_hash(&entry);
        let ticket = Some(self.shared.append_own(entry));
        self.stated = Some(Stated { expired, leaf, ticket, index: u64::MAX });
        Ok(())
    }

    /// Adds the statement to the signed list once its entry is under a checkpoint.
    fn settle(&mut self, published: &Published, list: &mut StatementList) -> Result<(), Error> {
        let Some(stated) = &mut self.stated else { return Ok(()) };
        match stated.ticket.as_mut().and_then(Ticket::answered) {
            Some(Ok(index)) => (stated.index, stated.ticket) = (index, None),
            // The disk refused it: it will be said again.
            Some(Err(_)) => {
                self.stated = None;
                return Ok(());
            }
            None => {}
        }
        if stated.index >= published.size() {
            return Ok(());
        }
        let Expired { first, end, .. } = stated.expired;
        list.items.push(Item { kind: ItemKind::Expired, first, end, entry: stated.index, leaf: stated.leaf });
        let note = published.pen().sign(list.text(published.pen().key().name()));
        self.folder.put(&[(STATEMENTS.into(), note.to_string().into_bytes())])?;
        self.stated = None;
        Ok(())
    }

    /// Removes what the list says is dropped.
    fn sweep(&mut self, list: &StatementList) -> Result<(), Error> {
        while self.swept < list.expired_end() / BUNDLE {
            let tile = bundle(self.swept);
            folder::remove(&self.folder.path(tile.path()))?;
            folder::remove(&self.folder.path(tile.compressed_path()))?;
            self.swept += 1;
        }
        Ok(())
    }

    fn compress(&mut self, published: &Published, list: &StatementList, age: Duration) -> Result<(), Error> {
        self.compressed = self.compressed.max(list.expired_end() / BUNDLE);
        let mut files = Vec::new();
        let mut plain = Vec::new();
        let (mut index, mut looked_at) = (self.compressed, 0);
        while index < published.size() / BUNDLE && plain.len() < MAX_COMPRESSED && looked_at < MAX_LOOKED_AT {
            let tile = bundle(index);
            let path = self.folder.path(tile.path());
            let is_compressed = self.folder.path(tile.compressed_path()).exists();
            if !is_compressed && !self.is_older(index, age)? {
                break;
            }
            if let Some(bytes) = read_if_there(&path)? {
                if !is_compressed {
                    let packed = zstd::bulk::compress(&bytes, COMPRESSION_LEVEL).map_err(at(&path))?;
                    files.push((tile.compressed_path(), packed));
                }
                plain.push(path);
            }
            (index, looked_at) = (index + 1, looked_at + 1);
        }
        self.folder.put(&files)?;
        plain.iter().try_for_each(|path| folder::remove(path))?;
        self.compressed = index;
        Ok(())
    }

    fn is_older(&self, index: u64, age: Duration) -> Result<bool, Error> {
        let path = self.folder.path(Tile { content: Content::Hashes(0), ..bundle(index) }.path());
        let written = fs::metadata(&path).and_then(|metadata| metadata.modified()).map_err(at(&path))?;
        // A clock that was set back makes nothing older.
        Ok(SystemTime::now().duration_since(written).is_ok_and(|found| found >= age))
    }
}

const fn bundle(index: u64) -> Tile {
    Tile { content: Content::Entries, index, width: TILE_WIDTH }
}

/// Entries in a full bundle.
const BUNDLE: u64 = TILE_WIDTH as u64;

/// Bundles that one statement drops.
const MAX_DROPPED: u64 = 4_096;

/// Bundles that are compressed in one turn: the publisher has other things to do.
const MAX_COMPRESSED: usize = 64;

/// Bundles that are looked at in one turn.
const MAX_LOOKED_AT: usize = 4_096;

/// The level that zstd itself takes.
const COMPRESSION_LEVEL: i32 = 3;
