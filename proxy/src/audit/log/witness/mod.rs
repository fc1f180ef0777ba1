//! Witnesses (C2SP tlog-witness): a log shows its checkpoints to others, who cosign that it only ever grew.
//! A witness remembers the last checkpoint of each log that it knows, and signs a later one only with a proof that the
//! earlier is its beginning. So a log that was rolled back or that has two histories gets no cosignature any more. Gateways
//! witness each other with this; any other witness or log that speaks the protocol can take part.

mod request;
mod server;
mod client;
mod gather;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use self::client::{WitnessClient, WitnessError};
pub use self::gather::gather;
pub use self::request::AddCheckpoint;
pub use self::server::router;

use super::Error;
use super::checkpoint::Checkpoint;
use super::folder::{Folder, PUBLIC_KEY};
use super::note::{Note, NoteKey};
use super::proof::is_consistent;
use super::signer::Pen;
use super::tree::{empty_root, sha256};

/// Cosigns the checkpoints of logs that it knows.
pub struct Witness {
    pen: Pen,
    logs: Vec<NoteKey>,
    folder: Folder,
    /// Held from the look at what was cosigned last until the new one is on the disk: when each log was last told to be wrong.
    turn: Mutex<HashMap<String, Instant>>,
    notice: Notice,
}

/// Hears of logs that are not what they were: the log's name and what is wrong. Requests are not authenticated, so that anybody who
/// has an old checkpoint of a log can cause a notice; there is one a minute of each log at most.
pub type Notice = Box<dyn Fn(&str, Noticed) + Send + Sync>;

/// What is wrong with a log that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// It has fewer entries than were cosigned: it was rolled back, or an old checkpoint of it was shown again.
    Shorter {
        /// How many it has.
        size: u64,
        /// How many were cosigned.
        seen: u64,
    },
    /// It does not continue what was cosigned.
    Forked {
        /// How many entries it has.
        size: u64,
    },
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: the cosignature's line.
    Cosigned(String),
    /// 409: the size of the last checkpoint that it cosigned.
    OtherSize(u64),
    /// 400: not a request, or an old size above the new one.
    Malformed,
    /// 403: not signed by the log.
    NotSigned,
    /// 404: a log that it does not know.
    UnknownLog,
    /// 422: the proof does not hold. The log has two histories, or the request is wrong.
    Inconsistent,
    /// 500: it could not write down what it was about to sign, so it signs nothing.
    Unwritable,
}

impl Witness {
    /// A witness that keeps its memory in a folder of its own.
    ///
    /// # Errors
    /// `Io`, `InUse`.
    pub fn open(directory: PathBuf, pen: Pen, logs: Vec<NoteKey>, notice: Notice) -> Result<Self, Error> {
        let folder = Folder::open(&directory)?;
        folder.put(&[(PUBLIC_KEY.into(), format!("{}\n", pen.key()).into_bytes())])?;
        Ok(Self { pen, logs, folder, turn: Mutex::new(HashMap::new()), notice })
    }

    /// The witness's key, for those who verify.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        self.pen.key()
    }

    /// Answers `add-checkpoint`. Blocks while it writes.
    #[must_use]
    pub fn add_checkpoint(&self, body: &[u8]) -> Answer {
        let Some(asked) = AddCheckpoint::parse(body) else { return Answer::Malformed };
        let mut keys = self.logs.iter().filter(|key| key.name() == asked.checkpoint.origin).peekable();
        if keys.peek().is_none() {
            return Answer::UnknownLog;
        }
        let named: Vec<&NoteKey> = keys.filter(|key| asked.note.names(key)).collect();
        if named.is_empty() || !named.iter().all(|key| asked.note.is_signed_by(key)) {
            return Answer::NotSigned;
        }
        if asked.old > asked.checkpoint.size {
            return Answer::Malformed;
        }
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let last = match self.last(&asked.checkpoint.origin) {
            Ok(last) => last,
            Err(error) => {
                tracing::error!(event = "audit_witness_memory_unreadable", %error);
                return Answer::Unwritable;
            }
        };
        let (size, root) = last.map_or_else(|| (0, empty_root()), |(last, _)| (last.size, last.root));
        if asked.checkpoint.size < size {
            self.notice(&mut turn, &asked.checkpoint, Noticed::Shorter { size: asked.checkpoint.size, seen: size });
        }
        if asked.old != size {
            return Answer::OtherSize(size);
        }
        if !is_consistent((size, &root), (asked.checkpoint.size, &asked.checkpoint.root), &asked.proof) {
            self.notice(&mut turn, &asked.checkpoint, Noticed::Forked { size: asked.checkpoint.size });
            return Answer::Inconsistent;
        }
        self.cosign(asked, &named)
    }

    /// The last checkpoint of the log with this hash of its origin, with the log's signature and our own.
    #[must_use]
    pub fn latest(&self, origin_hash: &str) -> Option<String> {
        let known = self.logs.iter().any(|key| hex::encode(sha256(key.name().as_bytes())) == origin_hash);
        known.then(|| fs::read_to_string(self.folder.path(origin_hash)).ok()).flatten()
    }

    fn notice(&self, turn: &mut HashMap<String, Instant>, shown: &Checkpoint, noticed: Noticed) {
        if turn.get(&shown.origin).is_some_and(|last| last.elapsed() < QUIET) {
            return;
        }
        // Only logs that are known come here.
        turn.insert(shown.origin.clone(), Instant::now());
        let origin = &shown.origin;
        match noticed {
            Noticed::Shorter { size, seen } => {
                tracing::error!(event = "audit_witness_saw_a_shorter_log", origin, size, seen, "was it rolled back?");
            }
            Noticed::Forked { size } => tracing::error!(event = "audit_witness_saw_a_fork", origin, size),
        }
        (self.notice)(origin, noticed);
    }

    fn cosign(&self, asked: AddCheckpoint, keys: &[&NoteKey]) -> Answer {
        let seconds = u64::try_from(Timestamp::now().as_second()).unwrap_or_default().max(1);
        let line = self.pen.cosign(&asked.note.text, seconds);
        let mut note = asked.note;
        note.signatures.retain(|line| keys.iter().any(|key| key.name() == line.name && key.id() == line.key_id));
        note.signatures.push(line.clone());
        let name = hex::encode(sha256(asked.checkpoint.origin.as_bytes()));
        match self.folder.put(&[(name.into(), note.to_string().into_bytes())]) {
            Ok(()) => Answer::Cosigned(format!("{line}\n")),
            Err(error) => {
                tracing::error!(event = "audit_witness_memory_unwritable", %error);
                Answer::Unwritable
            }
        }
    }

    /// What was cosigned last. A memory that is there and cannot be believed is an error, never a fresh start.
    fn last(&self, origin: &str) -> Result<Option<(Checkpoint, Note)>, Error> {
        let name = hex::encode(sha256(origin.as_bytes()));
        let Some(bytes) = super::folder::read_if_there(&self.folder.path(name))? else { return Ok(None) };
        let found = Checkpoint::parse_note(&bytes);
        let found = found.filter(|(checkpoint, note)| checkpoint.origin == origin && note.is_signed_by(self.key()));
        let unbelievable = || Error::Broken(format!("the witness's memory of `{origin}` is not what it has signed"));
        found.map(Some).ok_or_else(unbelievable)
    }
}

/// Between two notices of one log.
const QUIET: Duration = Duration::from_secs(60);
