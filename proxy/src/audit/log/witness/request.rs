//! The body of `add-checkpoint` (C2SP tlog-witness): an old size, a consistency proof and a checkpoint.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::checkpoint::{Checkpoint, parse_hash, parse_number};
use super::super::note::Note;
use super::super::tree::Hash;

/// A request to cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is believed to have seen last.
    pub old: u64,
    /// The proof from there, as the log has it.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The note that it came as.
    pub note: Note,
}

impl AddCheckpoint {
    /// Parses a body; none if it is not one.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_BODY)?;
        let (head, note) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = parse_number(lines.next()?.strip_prefix("old ")?)?;
        let proof = lines.map(parse_hash).collect::<Option<Vec<_>>>().filter(|proof| proof.len() <= MAX_PROOF)?;
        let (checkpoint, note) = Checkpoint::parse_note(note.as_bytes())?;
        Some(Self { old, proof, checkpoint, note })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

/// A proof in a tree of 2^63 entries has no more.
const MAX_PROOF: usize = 63;

/// A note and a proof.
pub(super) const MAX_BODY: usize = 1 << 20;
