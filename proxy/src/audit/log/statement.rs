//! The signed list of what the log says about its own entries: which were dropped because of their age, which cannot be read
//! any more. It lies beside the tree as a note signed by the log's key, and each item names the entry that says the same
//! in the log. A verifier accepts missing entries exactly where this list has them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::checkpoint::{parse_hash, parse_number};
use super::note::{Note, NoteKey};
use super::tree::Hash;

/// The list of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementList {
    /// Its items, oldest first.
    pub items: Vec<Item>,
}

/// A statement about a range of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What is said.
    pub kind: ItemKind,
    /// The first entry that it is about.
    pub first: u64,
    /// The index after the last.
    pub end: u64,
    /// The index of the entry that says it in the log.
    pub entry: u64,
    /// The hash of that entry.
    pub leaf: Hash,
}

/// What is said of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// They were dropped because of their age.
    Expired,
    /// Their bytes were lost.
    Unreadable,
}

impl ItemKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unreadable => "unreadable",
        }
    }
}

impl StatementList {
    /// The text of the note that is signed.
    #[must_use]
    pub fn text(&self, origin: &str) -> String {
        let items: String = self.items.iter().map(|item| format!("{item}\n")).collect();
        format!("{TITLE}\n{origin}\n{items}")
    }

    /// Parses a note that the log's key signed; none if it is not that log's list.
    #[must_use]
    pub fn parse(bytes: &[u8], key: &NoteKey) -> Option<Self> {
        let note = Note::parse(bytes).filter(|note| note.is_signed_by(key))?;
        let mut lines = note.text.strip_suffix('\n')?.split('\n');
        if lines.next()? != TITLE || lines.next()? != key.name() {
            return None;
        }
        let items = lines.map(Item::parse).collect::<Option<Vec<_>>>()?;
        Some(Self { items })
    }

    /// What is said about an entry.
    #[must_use]
    pub fn about(&self, index: u64) -> Option<&Item> {
        self.items.iter().find(|item| (item.first..item.end).contains(&index))
    }

    /// The index of the first entry that was not dropped.
    #[must_use]
    pub fn expired_end(&self) -> u64 {
        let expired = self.items.iter().filter(|item| item.kind == ItemKind::Expired);
        expired.map(|item| item.end).max().unwrap_or_default()
    }
}

impl Item {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let kind = match words.next()? {
            "expired" => ItemKind::Expired,
            "unreadable" => ItemKind::Unreadable,
            _ => return None,
        };
        let mut number = || words.next().and_then(parse_number);
        let (first, end, entry) = (number()?, number()?, number()?);
        let leaf = parse_hash(words.next()?)?;
        (words.next().is_none() && first < end).then_some(Self { kind, first, end, entry, leaf })
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, first, end, entry, leaf } = self;
        write!(f, "{} {first} {end} {entry} {}", kind.name(), BASE64.encode(leaf))
    }
}

/// The list's file.
pub const STATEMENTS: &str = "statements";

/// No checkpoint can be mistaken for a list, nor a list for a checkpoint: a checkpoint's second line is a number.
const TITLE: &str = "barnabas.audit/statements/v1";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use barnabas_crypto::Secret;

    use super::*;
    use crate::audit::log::Signer;

    #[test]
    fn lists_read_back_and_are_those_of_one_log() {
        let signer = Signer::from_seed(&Secret::from_slice(&[3; 32]).unwrap()).unwrap();
        let (pen, other) = (signer.log_pen("log.example/1").unwrap(), signer.log_pen("log.example/2").unwrap());
        let expired = Item { kind: ItemKind::Expired, first: 0, end: 512, entry: 700, leaf: [1; 32] };
        let lost = Item { kind: ItemKind::Unreadable, first: 600, end: 601, entry: 650, leaf: [2; 32] };
        let list = StatementList { items: vec![expired, lost] };
        let note = pen.sign(list.text("log.example/1")).to_string();
        assert_eq!(StatementList::parse(note.as_bytes(), pen.key()).unwrap(), list);
        assert!(StatementList::parse(note.as_bytes(), other.key()).is_none());
        let stolen = other.sign(list.text("log.example/1")).to_string();
        assert!(StatementList::parse(stolen.as_bytes(), other.key()).is_none());
        assert!(StatementList::parse(note.replace("512", "513").as_bytes(), pen.key()).is_none());
        assert_eq!((list.expired_end(), list.about(600).is_some(), list.about(601).is_some()), (512, true, false));
    }
}
