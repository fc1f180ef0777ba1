//! The proof for one entry as a file of its own (C2SP tlog-proof): who has it and the log's key needs nothing else.
//! The entry travels with it in the `extra` line, which proves nothing by itself: its hash must lead to the signed root.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::checkpoint::{Checkpoint, parse_hash, parse_number};
use super::note::{Note, NoteKey};
use super::proof::is_included;
use super::tree::{Hash, leaf_hash};

/// An entry and where it is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The entry, if it travels with its proof.
    pub entry: Option<Vec<u8>>,
    /// Its index.
    pub index: u64,
    /// The inclusion proof, the sibling of the leaf first.
    pub hashes: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The signed note that it came as.
    pub note: Note,
}

impl TlogProof {
    /// Parses a proof; none if it is not one. Nothing of it is verified.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_PROOF)?;
        let (head, note) = text.split_once("\n\n")?;
        let mut lines = head.split('\n').peekable();
        if lines.next()? != TITLE {
            return None;
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let entry = match extra.and_then(|line| line.strip_prefix("extra ")) {
            Some(extra) => Some(BASE64.decode(extra).ok()?),
            None => None,
        };
        let index = parse_number(lines.next()?.strip_prefix("index ")?)?;
        let hashes = lines.map(parse_hash).collect::<Option<Vec<_>>>().filter(|hashes| hashes.len() <= 63)?;
        let (checkpoint, note) = Checkpoint::parse_note(note.as_bytes())?;
        Some(Self { entry, index, hashes, checkpoint, note })
    }

    /// Whether a log with this key has the entry at this index.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn verify(&self, key: &NoteKey, entry: &[u8]) -> Result<(), String> {
        if self.checkpoint.origin != key.name() {
            return Err(format!("the proof is for the log `{}`, not for `{}`", self.checkpoint.origin, key.name()));
        }
        if !self.note.is_signed_by(key) {
            return Err(format!("the proof's checkpoint is not signed by `{key}`"));
        }
        let Checkpoint { size, root, .. } = &self.checkpoint;
        if !is_included(&leaf_hash(entry), self.index, *size, &self.hashes, root) {
            return Err(format!("the entry is not at index {} of the log's {size} entries", self.index));
        }
        Ok(())
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}")?;
        if let Some(entry) = &self.entry {
            writeln!(f, "extra {}", BASE64.encode(entry))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

const TITLE: &str = "c2sp.org/tlog-proof@v1";

/// A note, an entry in base64, 63 hashes.
const MAX_PROOF: usize = 2 << 20;
