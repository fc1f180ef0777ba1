//! Verification of a log's folder, offline: a folder and what is known from elsewhere arrive, a report leaves.
//! Every entry is hashed and followed up to the root that the checkpoint signs. A folder alone cannot show that it is the
//! latest, or the only one: for that it is held against checkpoints that were kept elsewhere, and against witnesses.
//! Nothing is written and nothing of the gateway is needed.

mod bundle;
mod known;
mod scan;
mod tail;

use barnabas_crypto::Secret;

pub use self::bundle::diagnose;
pub use self::known::{WITNESSED, hold};

use self::known::{check_known, check_witnesses};
use self::scan::scan;
use self::tail::check_tail;
use super::Error;
use super::checkpoint::Checkpoint;
use super::folder::{CHECKPOINT, PUBLIC_KEY};
use super::note::{KeyKind, Note, NoteKey};
use super::statement::{ItemKind, STATEMENTS, StatementList};
use super::stored::Stored;
use super::tree::Hash;

/// What is verified, and what is known about it from elsewhere.
#[derive(Default)]
pub struct Verification {
    /// The log's files.
    pub log: Stored,
    /// The log's key as the verifier knows it. Without it the folder's own is taken, which proves less.
    pub key: Option<NoteKey>,
    /// Checkpoints of this log that were kept elsewhere: signed notes.
    pub known: Vec<Vec<u8>>,
    /// Witnesses that the verifier trusts.
    pub witnesses: Vec<NoteKey>,
    /// How many of them must have cosigned.
    pub quorum: usize,
    /// The root of the MAC ratchet, with which entries after the checkpoint are checked too.
    pub ratchet_root: Option<Secret<32>>,
    /// How many threads hash; 0 for as many as there are processors.
    pub threads: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The log's name.
    pub origin: String,
    /// Its key as a vkey.
    pub key: String,
    /// How many entries are under the checkpoint.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// The last checkpoint as it was verified: worth keeping for the next time.
    pub checkpoint: String,
    /// Entries before this index were dropped because of their age, as a signed statement says.
    pub expired_end: u64,
    /// Ranges whose bytes were lost, as a signed statement says.
    pub unreadable: Vec<(u64, u64)>,
    /// Ranges that were left out of an export, as it says. Their hashes were verified.
    pub left_out: Vec<(u64, u64)>,
    /// Entries after the checkpoint.
    pub tail: u64,
    /// Whether the MACs of those were checked.
    pub is_tail_checked: bool,
    /// The witnesses whose cosignatures are valid.
    pub witnesses: Vec<String>,
    /// How many entries each of them has cosigned at least.
    pub witnessed: u64,
    /// Checkpoints from elsewhere that agree.
    pub known: usize,
    /// What is wrong, by index; at most [`MAX_FAULTS`].
    pub faults: Vec<Fault>,
    /// How many faults there are in all.
    pub fault_count: usize,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.fault_count == 0
    }

    fn add(&mut self, fault: Fault) {
        self.fault_count += 1;
        self.faults.push(fault);
        if self.faults.len() >= 2 * MAX_FAULTS {
            self.settle();
        }
    }

    /// The first faults, those of an entry before those of the whole.
    fn settle(&mut self) {
        self.faults.sort_by_key(|fault| fault.entry.unwrap_or(u64::MAX));
        self.faults.truncate(MAX_FAULTS);
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first entry that is concerned; `None` when it is the whole log.
    pub entry: Option<u64>,
    /// What it is.
    pub kind: FaultKind,
    /// What was found, for people.
    pub what: String,
}

impl Fault {
    fn of_entry(entry: u64, kind: FaultKind, what: impl Into<String>) -> Self {
        Self { entry: Some(entry), kind, what: what.into() }
    }

    fn of_log(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { entry: None, kind, what: what.into() }
    }
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// An entry has other bytes than were logged.
    Changed,
    /// The checkpoint is not there, not one, or not signed by the log's key.
    Checkpoint,
    /// A checkpoint that is known from elsewhere is not part of this tree: there are two histories.
    Forked,
    /// An entry is there that was not logged.
    Inserted,
    /// Entries are not there, and no statement says why.
    Missing,
    /// It is another log than the one that was asked for.
    OtherLog,
    /// An entry was taken out.
    Removed,
    /// Entries have changed places.
    Reordered,
    /// The log is older than it was once.
    RolledBack,
    /// The list of statements is not signed by the log, or speaks of what is not so.
    Statement,
    /// A tile is missing or does not fit the tree.
    Tile,
    /// The write-ahead files do not continue the tree.
    WriteAhead,
    /// Too few witnesses have cosigned, or one has cosigned something else.
    Witness,
}

impl FaultKind {
    /// The word for it in output for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Checkpoint => "checkpoint",
            Self::Forked => "forked",
            Self::Inserted => "inserted",
            Self::Missing => "missing",
            Self::OtherLog => "other-log",
            Self::Removed => "removed",
            Self::Reordered => "reordered",
            Self::RolledBack => "rolled-back",
            Self::Statement => "statement",
            Self::Tile => "tile",
            Self::WriteAhead => "write-ahead",
            Self::Witness => "witness",
        }
    }
}

/// Verifies a log. `progress` is told how many entries of how many are done, from several threads.
///
/// # Errors
/// Those of reading. What is wrong with the log is no error but in the report.
pub fn verify(asked: &Verification, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Report, Error> {
    let stored = asked.log.clone();
    let mut report = Report::default();
    let key = match key_of(asked, &stored)? {
        Ok(key) => key,
        Err(fault) => {
            report.add(fault);
            return Ok(report);
        }
    };
    (report.origin, report.key) = (key.name().to_owned(), key.to_string());
    let (checkpoint, note) = match read_checkpoint(&stored, &key)? {
        Ok(found) => found,
        Err(fault) => {
            report.add(fault);
            return Ok(report);
        }
    };
    (report.size, report.root, report.checkpoint) = (checkpoint.size, checkpoint.root, note.to_string());
    let list = read_statements(&stored, &key, &mut report)?;
    report.left_out = stored.left_out(report.expired_end, checkpoint.size);
    scan(&stored, &checkpoint, &list, asked.threads, progress, &mut report)?;
    check_tail(asked, &stored, &key, &checkpoint, &mut report)?;
    check_known(asked, &stored, &key, &checkpoint, &mut report)?;
    check_witnesses(asked, &stored, &note, &mut report)?;
    report.settle();
    Ok(report)
}

/// The key that the checkpoint has to be signed by.
fn key_of(asked: &Verification, stored: &Stored) -> Result<Result<NoteKey, Fault>, Error> {
    if let Some(key) = &asked.key {
        return Ok(Ok(key.clone()));
    }
    let text = stored.file(PUBLIC_KEY)?.unwrap_or_default();
    let key = String::from_utf8_lossy(&text).trim().parse::<NoteKey>();
    let key = key.ok().filter(|key| key.kind() == KeyKind::Log);
    let fault = || Fault::of_log(FaultKind::Checkpoint, "the folder has no `vkey`, and no key was given");
    Ok(key.ok_or_else(fault))
}

fn read_checkpoint(stored: &Stored, key: &NoteKey) -> Result<Result<(Checkpoint, Note), Fault>, Error> {
    let fault = |kind, what: String| Ok(Err(Fault::of_log(kind, what)));
    let Some(bytes) = stored.file(CHECKPOINT)? else {
        return fault(FaultKind::Checkpoint, "there is no checkpoint".to_owned());
    };
    let Some((checkpoint, note)) = Checkpoint::parse_note(&bytes) else {
        return fault(FaultKind::Checkpoint, "the checkpoint is not a signed note of a checkpoint".to_owned());
    };
    if checkpoint.origin != key.name() {
        let what = format!("the checkpoint is of the log `{}`, not of `{}`", checkpoint.origin, key.name());
        return fault(FaultKind::OtherLog, what);
    }
    if !note.is_signed_by(key) {
        return fault(FaultKind::Checkpoint, format!("the checkpoint is not signed by `{key}`"));
    }
    Ok(Ok((checkpoint, note)))
}

/// The list of statements; a list that is not the log's counts as none and is a fault.
fn read_statements(stored: &Stored, key: &NoteKey, report: &mut Report) -> Result<StatementList, Error> {
    let Some(bytes) = stored.file(STATEMENTS)? else { return Ok(StatementList::default()) };
    let Some(list) = StatementList::parse(&bytes, key) else {
        report.add(Fault::of_log(FaultKind::Statement, "the list of statements is not signed by the log's key"));
        return Ok(StatementList::default());
    };
    report.expired_end = list.expired_end();
    let unreadable = list.items.iter().filter(|item| item.kind == ItemKind::Unreadable);
    report.unreadable = unreadable.map(|item| (item.first, item.end)).collect();
    Ok(list)
}

/// How many faults a report names; more say nothing more.
pub const MAX_FAULTS: usize = 100;
