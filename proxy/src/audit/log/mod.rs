//! A tamper-evident log in a folder: entries arrive as bytes, a signed Merkle tree over them leaves.
//!
//! An entry is first written to a write-ahead file and synced there, in groups; then its ticket is answered. After that it
//! joins the tree (C2SP tlog-tiles) and is put under a signed checkpoint (C2SP tlog-checkpoint). `append` never waits, and
//! no entry that was acknowledged may ever be missing without an entry that says so.

// What a log is made of.
pub mod tree;
pub mod tile;
pub mod note;
pub mod checkpoint;
mod signer;
pub mod statement;

// An entry's way.
mod ticket;
mod queue;
mod ratchet;
mod segment;
mod writer;
mod published;
mod publisher;
mod upkeep;
mod folder;

// Before it begins.
mod recover;
mod restore;

// For those who read it.
pub mod stored;
pub mod proof;
pub mod reader;
pub mod tlog_proof;
pub mod verify;
pub mod export;
pub mod rebuild;
pub mod witness;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;

pub use self::signer::{AUDIT_SECRET, Pen, Signer};
pub use self::ticket::{AppendError, Ticket};

use self::folder::{Folder, SEGMENTS, at, sync_folder};
use self::publisher::Publisher;
use self::queue::Shared;
use self::recover::{drop_segments, recover};
use self::restore::{next_sequence, restore};
use self::upkeep::Upkeep;
use self::writer::{Start, Writer};

/// Where a log lives and what it may use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The log's folder. Nothing else may write there.
    pub directory: PathBuf,
    /// The name of the log, for ever: the first line of its checkpoints and the name of its key (C2SP tlog-checkpoint). A
    /// URL without a scheme, without spaces and without `+`.
    pub origin: String,
    /// A checkpoint is made when entries have waited for one so long.
    pub checkpoint_interval: Duration,
    /// A checkpoint is made when so many entries wait for one.
    pub checkpoint_entries: u64,
    /// How many entries may wait to be written.
    pub queue_entries: usize,
    /// How many bytes of entries may wait to be written.
    pub queue_bytes: usize,
    /// Entry bundles older than this are dropped, their hashes stay. `None` keeps everything.
    pub retention: Option<Duration>,
    /// Full entry bundles older than this are compressed. `None` compresses none.
    pub compress_after: Option<Duration>,
    /// How often old entries are looked after.
    pub upkeep_interval: Duration,
}

impl Settings {
    /// The settings of a log with the usual limits: a checkpoint each second or 1,000 entries, nothing dropped.
    #[must_use]
    pub fn new(directory: PathBuf, origin: String) -> Self {
        Self {
            directory,
            origin,
            checkpoint_interval: Duration::from_secs(1),
            checkpoint_entries: 1_000,
            queue_entries: 65_536,
            queue_bytes: 64 * 1024 * 1024,
            retention: None,
            compress_after: None,
            upkeep_interval: Duration::from_secs(60),
        }
    }
}

/// An open log. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    running: Arc<Running>,
}

impl Log {
    /// Opens a log or creates it, recovers what a crash left, and starts to write. Blocks while it reads.
    ///
    /// # Errors
    /// `Io` when the folder cannot be used; `InUse`; `Broken` when it cannot be continued without contradicting what was
    /// signed; `Name`.
    pub fn open(settings: Settings, signer: Signer, statements: Arc<dyn Statements>) -> Result<Self, Error> {
        let folder = Arc::new(Folder::open(&settings.directory)?);
        let root = signer.ratchet_root()?;
        let pen = signer.log_pen(&settings.origin)?;
        drop(signer);
        let found = recover(&folder, pen.key(), &root)?;
        let sequence = next_sequence(&found.segments);
        let (published, checkpoint) = restore(&folder, pen, found.tree, found.tail, statements.as_ref())?;
        let size = published.size();
        let shared = Arc::new(Shared::new(settings, size, checkpoint));
        let start = Start { origin: &shared.settings.origin.clone(), root: &root, size, sequence };
        let writer = Writer::begin(shared.clone(), folder.clone(), statements.clone(), start)?;
        drop(root);
        // Their entries are under a checkpoint, and the writer's own file is there already.
        drop_segments(&found.segments)?;
        sync_folder(&folder.path(SEGMENTS))?;
        let upkeep = Upkeep::new(shared.clone(), folder.clone(), statements);
        let publisher = Publisher::new(shared.clone(), published, upkeep);
        let threads =
            [spawn("audit-writer", move || writer.run())?, spawn("audit-publisher", move || publisher.run())?];
        Ok(Self { running: Arc::new(Running { shared, folder, threads: Mutex::new(threads.into()) }) })
    }

    /// Takes an entry of 1 to [`MAX_ENTRY`] bytes; never waits. What is refused is counted, and the log says so in a
    /// gap entry as soon as it can write again.
    ///
    /// # Errors
    /// `Length`; `Full` when the queue is full; `Failed` when the disk refuses; `Closed`.
    pub fn append(&self, entry: Vec<u8>) -> Result<Ticket, AppendError> {
        self.running.shared.append(entry)
    }

    /// How the log is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.running.shared.state()
    }

    /// The last published checkpoint, a signed note (C2SP tlog-checkpoint).
    #[must_use]
    pub fn checkpoint(&self) -> Arc<str> {
        self.running.shared.checkpoint()
    }

    fn folder(&self) -> Arc<Folder> {
        self.running.folder.clone()
    }

    /// Writes what waits, publishes a last checkpoint and ends. What is appended afterwards is refused.
    pub async fn close(self) {
        self.running.shared.close();
        let running = self.running;
        // A thread that has panicked has said so already.
        drop(tokio::task::spawn_blocking(move || running.join()).await);
    }
}

/// The threads of an open log. When the last clone of it is gone they write what waits and end.
struct Running {
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Running {
    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(at(std::path::Path::new(name)))
}

/// How a log is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Entries that were taken: durable ones and those that wait.
    pub size: u64,
    /// Entries that are synced to disk.
    pub durable: u64,
    /// Entries under the last published checkpoint.
    pub checkpoint: u64,
    /// Entries that wait to be written.
    pub queued_entries: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Entries that were refused since the log was opened.
    pub refused: u64,
    /// Since when and why the disk refuses; `None` when all is well.
    pub failing: Option<Failing>,
}

/// Since when and why nothing can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// What the system said.
    pub why: String,
}

/// Encodes the log's own statements as entries. The log never reads them back: it keeps a signed list beside them.
pub trait Statements: Send + Sync {
    /// The entry that says that entries are missing.
    fn gap(&self, gap: &Gap) -> Vec<u8>;

    /// The entry that says which entries were dropped because of their age.
    fn expired(&self, expired: &Expired) -> Vec<u8>;
}

/// Entries that are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The index of the first missing entry; for refused ones, the index at which they would have begun.
    pub first: u64,
    /// How many are missing.
    pub entries: u64,
    /// When the first was refused, or when the loss was noticed.
    pub since: Timestamp,
}

/// Why entries are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// They were acknowledged and are not on the disk any more; the entries after them took their indices.
    Lost,
    /// They are under a checkpoint and their bytes are not on the disk any more; their hashes are.
    Unreadable,
    /// They were never taken: the queue was full or the disk refused.
    Refused,
}

impl GapReason {
    /// The word for it in statements.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
        }
    }
}

/// Entries that were dropped because of their age. Their hashes stay in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The index of the first that this statement drops.
    pub first: u64,
    /// The index after the last.
    pub end: u64,
    /// Everything dropped was written before this moment.
    pub written_before: Timestamp,
}

/// Why a log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("audit log: {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder cannot be continued without contradicting what was signed.
    #[error("audit log: {0}; move the folder away and keep it as evidence, then start a new log")]
    Broken(String),
    /// Another process has the log open.
    #[error("audit log: {0} is in use by another process; give each gateway a folder of its own")]
    InUse(PathBuf),
    /// The name of a log or a key must not hold this.
    #[error("audit log: the name `{0}` is empty or has spaces, control characters or `+`")]
    Name(String),
    /// A part of the tree is not there.
    #[error("audit log: `{0}` is missing or has the wrong length")]
    Missing(String),
    /// A key that is not one.
    #[error("audit log: {0}")]
    Key(&'static str),
    /// A file that is not an export of an audit log, or not whole.
    #[error("audit bundle: {}: {what}", path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The longest entry in bytes: an entry bundle prefixes each by its length in 16 bits (C2SP tlog-tiles).
pub const MAX_ENTRY: usize = 65_535;
