//! The members of an export: names arrive, what they stand for leaves, and the other way round.
//! There are no other names: a path that is not exactly that of a member is refused, so nothing in an export can lead out of
//! it. The order of members in the file is the order of this type.

use std::fmt;
use std::path::Path;

use super::super::folder::{CHECKPOINT, PUBLIC_KEY};
use super::super::note::MAX_NOTE;
use super::super::statement::STATEMENTS;
use super::super::stored::MAX_BUNDLE;
use super::super::tile::{Content, Tile};
use super::super::tree::{MAX_LEVELS, TILE_WIDTH};
use super::super::verify::WITNESSED;

/// A member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// A file of the log with this number.
    Log(u16, Part),
    /// The digests of all members before it.
    Digests,
    /// What the export is of; the last.
    Manifest,
}

/// A file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `vkey`.
    Key,
    /// `checkpoint`.
    Checkpoint,
    /// `witnessed`.
    Witnessed,
    /// `witnesses`: their keys.
    Witnesses,
    /// `statements`.
    Statements,
    /// A tile of hashes: level, index, width.
    Hashes(u32, u64, u16),
    /// A bundle of entries: index, width. A full one is compressed.
    Entries(u64, u16),
}

impl Member {
    /// The member of a path; none if there is none.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let found = match path {
            DIGESTS => Self::Digests,
            MANIFEST => Self::Manifest,
            _ => {
                let (log, file) = path.strip_prefix("log/")?.split_once('/')?;
                Self::Log(log.parse().ok()?, Part::parse(file)?)
            }
        };
        // There is one way to write it.
        (found.to_string() == path).then_some(found)
    }

    /// The most bytes that it can have; for `digests`, with so many members before it.
    #[must_use]
    pub const fn most(&self, before: usize) -> u64 {
        match self {
            Self::Log(_, part) => part.most(),
            Self::Digests => (before as u64).saturating_mul(MOST_LINE),
            Self::Manifest => MAX_NOTE as u64,
        }
    }
}

impl Part {
    /// The part that lies in a file of a log's folder; none if it is no part of an export.
    #[must_use]
    pub fn of(file: &Path) -> Option<Self> {
        let text = file.to_str()?;
        Self::parse(text).filter(|part| part.to_string() == text)
    }

    /// The tile, of a tile or a bundle.
    #[must_use]
    pub fn tile(&self) -> Option<Tile> {
        match *self {
            Self::Hashes(level, index, width) => {
                Some(Tile { content: Content::Hashes(level), index, width: width.into() })
            }
            Self::Entries(index, width) => Some(Tile { content: Content::Entries, index, width: width.into() }),
            Self::Key | Self::Checkpoint | Self::Witnessed | Self::Witnesses | Self::Statements => None,
        }
    }

    fn parse(file: &str) -> Option<Self> {
        match file {
            PUBLIC_KEY => return Some(Self::Key),
            CHECKPOINT => return Some(Self::Checkpoint),
            WITNESSED => return Some(Self::Witnessed),
            WITNESSES => return Some(Self::Witnesses),
            STATEMENTS => return Some(Self::Statements),
            _ => {}
        }
        let (level, place) = file.strip_prefix("tile/")?.split_once('/')?;
        let (place, width) = match place.split_once(".p/") {
            Some((place, width)) => (place, width.parse().ok().filter(|width| (1..FULL).contains(width))?),
            None => (place, FULL),
        };
        if level == "entries" {
            let place = if width == FULL { place.strip_suffix(".zst")? } else { place };
            return Some(Self::Entries(parse_index(place)?, width));
        }
        let level = level.parse().ok().filter(|level| *level < MAX_LEVELS)?;
        Some(Self::Hashes(level, parse_index(place)?, width))
    }

    const fn most(&self) -> u64 {
        match self {
            Self::Key => 1024,
            Self::Checkpoint | Self::Witnessed | Self::Witnesses | Self::Statements => MAX_NOTE as u64,
            Self::Hashes(_, _, width) => *width as u64 * 32,
            Self::Entries(..) => MAX_BUNDLE as u64 + MOST_PACKED_MORE,
        }
    }
}

/// `x001/x234/067`; what is not exactly of this form is seen when it is written again.
fn parse_index(place: &str) -> Option<u64> {
    let digits: String = place.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|index| *index < 1 << 55)
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log, part) => write!(f, "log/{log}/{part}"),
            Self::Digests => f.write_str(DIGESTS),
            Self::Manifest => f.write_str(MANIFEST),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str(PUBLIC_KEY),
            Self::Checkpoint => f.write_str(CHECKPOINT),
            Self::Witnessed => f.write_str(WITNESSED),
            Self::Witnesses => f.write_str(WITNESSES),
            Self::Statements => f.write_str(STATEMENTS),
            Self::Hashes(..) | Self::Entries(..) => {
                let Some(tile) = self.tile() else { return Ok(()) };
                let packed = tile.content == Content::Entries && tile.is_full();
                let path = if packed { tile.compressed_path() } else { tile.path() };
                write!(f, "{}", path.display())
            }
        }
    }
}

/// The keys of the log's witnesses, one a line.
pub const WITNESSES: &str = "witnesses";

const DIGESTS: &str = "digests";
const MANIFEST: &str = "manifest";

const FULL: u16 = TILE_WIDTH as u16;

/// A digest, two spaces, the longest path.
const MOST_LINE: u64 = 160;

/// What a compression adds to what cannot be compressed.
const MOST_PACKED_MORE: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_one_name_and_nothing_else_is_one() {
        let members = [
            Member::Log(0, Part::Key),
            Member::Log(0, Part::Witnesses),
            Member::Log(0, Part::Statements),
            Member::Log(0, Part::Hashes(0, 1_234_067, 256)),
            Member::Log(0, Part::Hashes(2, 0, 17)),
            Member::Log(0, Part::Entries(999, 256)),
            Member::Log(0, Part::Entries(1_000, 3)),
            Member::Log(12, Part::Checkpoint),
            Member::Digests,
            Member::Manifest,
        ];
        assert!(members.is_sorted());
        for member in members {
            assert_eq!(Member::parse(&member.to_string()), Some(member));
        }
        for wrong in [
            "",
            "/manifest",
            "../manifest",
            "log/0/../1/vkey",
            "log/00/vkey",
            "log/0/vkey/",
            "log/0/tile/0/1",
            "log/0/tile/0/000.p/256",
            "log/0/tile/0/000.p/0x1",
            "log/0/tile/9/000",
            "log/0/tile/entries/000",
            "log/0/tile/entries/000.p/3.zst",
            "log/0/tile/entries/x000/001.zst",
            "log/0/tile/0/..%2f",
            "log/70000/vkey",
            "log/0/wal/1",
        ] {
            assert_eq!(Member::parse(wrong), None, "{wrong}");
        }
    }
}
