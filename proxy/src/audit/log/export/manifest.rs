//! The manifest of an export: which logs at which checkpoint, which of their entries, and the digest of all digests. A signed note by
//! the key of at least one of the logs, or plain text when who exported had none of the keys.

use std::fmt::{self, Write};
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use super::super::checkpoint::{parse_hash, parse_number};
use super::super::note::{KeyKind, MAX_NOTE, Note, NoteKey};
use super::super::tree::Hash;

/// What an export says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// When it was made.
    pub made: Timestamp,
    /// The period that was asked for; `None` at an end that is open.
    pub period: (Option<Timestamp>, Option<Timestamp>),
    /// How many members come before `digests`.
    pub members: u64,
    /// SHA-256 of `digests`.
    pub digests: Hash,
    /// The logs, in the order of their numbers.
    pub logs: Vec<ExportedLog>,
}

/// A log of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedLog {
    /// Its key.
    pub key: NoteKey,
    /// The size of its checkpoint.
    pub size: u64,
    /// The root of its checkpoint.
    pub root: Hash,
    /// Which bundles of entries are in the export, by their indices, in order and apart from each other.
    pub bundles: Vec<Range<u64>>,
}

impl ExportedLog {
    /// Whether a bundle is in the export.
    #[must_use]
    pub fn has(&self, bundle: u64) -> bool {
        let next = self.bundles.partition_point(|range| range.end <= bundle);
        self.bundles.get(next).is_some_and(|range| range.contains(&bundle))
    }
}

impl Manifest {
    /// Reads a manifest, and the note if it is one. What is not exactly as it is written is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, Option<Note>)> {
        let note = Note::parse(bytes);
        let text = match &note {
            Some(note) => note.text.as_str(),
            None => std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_NOTE)?,
        };
        let found = Self::parse_text(text)?;
        (found.to_string() == text).then_some((found, note))
    }

    fn parse_text(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n').peekable();
        if lines.next()? != TITLE {
            return None;
        }
        let made = lines.next()?.strip_prefix("made ")?.parse().ok()?;
        let (from, to) = lines.next()?.strip_prefix("period ")?.split_once(' ')?;
        let members = parse_number(lines.next()?.strip_prefix("members ")?)?;
        let digests = parse_hash(lines.next()?.strip_prefix("digests ")?)?;
        let mut logs: Vec<ExportedLog> = Vec::new();
        for line in lines {
            if let Some(range) = line.strip_prefix("bundles ") {
                let (first, end) = range.split_once(' ')?;
                let (first, end) = (parse_number(first)?, parse_number(end)?);
                let log = logs.last_mut()?;
                let after = log.bundles.last().map_or(0, |last| last.end + 1);
                if first >= end || first < after.saturating_sub(u64::from(log.bundles.is_empty())) {
                    return None;
                }
                log.bundles.push(first..end);
                continue;
            }
            let mut words = line.strip_prefix("log ")?.split(' ');
            let key: NoteKey = words.next()?.parse().ok()?;
            let (size, root) = (parse_number(words.next()?)?, parse_hash(words.next()?)?);
            if key.kind() != KeyKind::Log || words.next().is_some() || logs.len() >= MOST_LOGS {
                return None;
            }
            logs.push(ExportedLog { key, size, root, bundles: Vec::new() });
        }
        Some(Self { made, period: (parse_moment(from)?, parse_moment(to)?), members, digests, logs })
    }
}

fn parse_moment(text: &str) -> Option<Option<Timestamp>> {
    if text == OPEN { Some(None) } else { text.parse().ok().map(Some) }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = |time: &Option<Timestamp>| time.map_or_else(|| OPEN.to_owned(), |time| time.to_string());
        let (from, to) = (moment(&self.period.0), moment(&self.period.1));
        writeln!(f, "{TITLE}\nmade {}\nperiod {from} {to}\nmembers {}", self.made, self.members)?;
        writeln!(f, "digests {}", BASE64.encode(self.digests))?;
        for ExportedLog { key, size, root, bundles } in &self.logs {
            writeln!(f, "log {key} {size} {}", BASE64.encode(root))?;
            let mut ranges = String::new();
            for range in bundles {
                writeln!(ranges, "bundles {} {}", range.start, range.end)?;
            }
            f.write_str(&ranges)?;
        }
        Ok(())
    }
}

/// No checkpoint and no list of statements can be mistaken for it.
const TITLE: &str = "barnabas.audit/bundle/v1";

/// An end of a period that is not given.
const OPEN: &str = "-";

/// Gateways of one installation.
pub const MOST_LOGS: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]
    use super::*;

    fn manifest() -> Manifest {
        let log = |name: &str, bundles| ExportedLog {
            key: NoteKey::new(name, KeyKind::Log, [7; 32]).unwrap(),
            size: 1_000,
            root: [9; 32],
            bundles,
        };
        Manifest {
            made: "2026-03-01T10:00:00Z".parse().unwrap(),
            period: (Some("2026-01-01T00:00:00Z".parse().unwrap()), None),
            members: 12,
            digests: [3; 32],
            logs: vec![log("a.example/1", vec![0..1, 2..4]), log("a.example/2", vec![])],
        }
    }

    #[test]
    fn a_manifest_reads_back_and_says_what_is_there() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(manifest.to_string().as_bytes()), Some((manifest.clone(), None)));
        let log = manifest.logs.first().unwrap();
        assert_eq!((0..5).map(|at| log.has(at)).collect::<Vec<_>>(), [true, false, true, true, false]);
    }

    #[test]
    fn what_is_not_exactly_a_manifest_is_none() {
        let text = manifest().to_string();
        for (from, to) in [
            ("v1", "v2"),
            ("members 12", "members 012"),
            ("bundles 2 4", "bundles 4 2"),
            ("bundles 2 4", "bundles 1 4"),
            ("bundles 2 4", "bundles 0 4"),
            ("period ", "period  "),
            ("\nlog ", "\nbundles 0 1\nlog "),
            ("10:00:00Z", "10:00:00+00:00"),
        ] {
            assert!(text.contains(from), "{from}");
            assert_eq!(Manifest::parse(text.replacen(from, to, 1).as_bytes()), None, "{to}");
        }
        for cut in 0..text.len() {
            if let Some((cut, _)) = Manifest::parse(text.get(..cut).unwrap().as_bytes()) {
                // Whole lines at the end are missing: the digests of the rest then do not fit.
                assert!(cut.logs.len() < 2);
            }
        }
    }
}
