//! Where tiles and entry bundles lie and what is in them (C2SP tlog-tiles): coordinates arrive, paths and bytes leave.
//! What comes from a disk is parsed with bounds; a tile of the wrong length is none.

use std::path::PathBuf;

use super::tree::{Hash, TILE_WIDTH, partial_width};

/// A tile of hashes, or the bundle of entries beside a tile of level 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// What it holds.
    pub content: Content,
    /// Its index in its level.
    pub index: u64,
    /// How many hashes or entries it has: 256 when it is full.
    pub width: usize,
}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Entries.
    Entries,
    /// Hashes of a level; level 0 has those of entries.
    Hashes(u32),
}

impl Tile {
    /// The tile of a level at an index as a tree of `size` has it; none if that tree has none there.
    #[must_use]
    pub fn of(content: Content, index: u64, size: u64) -> Option<Self> {
        let level = match content {
            Content::Entries => 0,
            Content::Hashes(level) => level,
        };
        let full = size.checked_shr(8 * (level + 1)).unwrap_or_default();
        let width = match index.cmp(&full) {
            std::cmp::Ordering::Less => TILE_WIDTH,
            std::cmp::Ordering::Equal => partial_width(size, level),
            std::cmp::Ordering::Greater => 0,
        };
        (width > 0).then_some(Self { content, index, width })
    }

    /// Whether it has 256 hashes or entries.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile when it is full.
    #[must_use]
    pub const fn filled(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// The path below the log's folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let path = self.full_path();
        if self.is_full() { path.into() } else { format!("{path}.p/{}", self.width).into() }
    }

    /// The folder of the partial tiles at this place.
    #[must_use]
    pub fn partials(&self) -> PathBuf {
        format!("{}.p", self.full_path()).into()
    }

    /// The path of the compressed form; only full entry bundles have one.
    #[must_use]
    pub fn compressed_path(&self) -> PathBuf {
        format!("{}.zst", self.full_path()).into()
    }

    fn full_path(&self) -> String {
        let index = index_path(self.index);
        match self.content {
            Content::Entries => format!("tile/entries/{index}"),
            Content::Hashes(level) => format!("tile/{level}/{index}"),
        }
    }
}

/// An index in groups of three digits, each but the last behind an `x`.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// The bytes of a tile of hashes.
#[must_use]
pub fn hash_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes in the bytes of a tile that must have `width` of them; none if there are more or fewer.
#[must_use]
pub fn parse_hashes(bytes: &[u8], width: usize) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == width).then(|| hashes.to_vec())
}

/// Adds an entry to a bundle: its length in two bytes, itself. Entries are never longer than that can say.
pub fn add_to_bundle(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend(entry.iter().take(usize::from(length)));
}

/// The entries of a bundle; none if it ends inside of one.
#[must_use]
pub fn parse_bundle(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = after;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let path = |content, index, width| Tile { content, index, width }.path().display().to_string();
        assert_eq!(path(Content::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(path(Content::Hashes(3), 5, 7), "tile/3/005.p/7");
        assert_eq!(path(Content::Entries, 1_000, 256), "tile/entries/x001/000");
        assert_eq!(path(Content::Entries, 0, 255), "tile/entries/000.p/255");
    }

    #[test]
    fn tiles_of_a_tree_have_the_width_that_its_size_gives_them() {
        let width = |content, index, size| Tile::of(content, index, size).map(|tile| tile.width);
        assert_eq!(width(Content::Hashes(0), 272, 70_000), Some(256));
        assert_eq!(width(Content::Entries, 273, 70_000), Some(112));
        assert_eq!(width(Content::Hashes(1), 1, 70_000), Some(17));
        assert_eq!(width(Content::Hashes(2), 0, 70_000), Some(1));
        assert_eq!(width(Content::Hashes(0), 274, 70_000), None);
        assert_eq!(width(Content::Hashes(0), 1, 256), None);
        assert_eq!(width(Content::Hashes(1), 0, 256), Some(1));
    }

    #[test]
    fn bundles_read_back_and_torn_ones_do_not() {
        let mut bundle = Vec::new();
        for entry in [&b"one"[..], b"", &[7; 65_535]] {
            add_to_bundle(&mut bundle, entry);
        }
        assert_eq!(parse_bundle(&bundle).unwrap(), [&b"one"[..], b"", &[7; 65_535]]);
        bundle.pop();
        assert!(parse_bundle(&bundle).is_none());
        assert!(parse_bundle(&[0]).is_none());
        assert!(parse_hashes(&[0; 64], 2).is_some());
        assert!(parse_hashes(&[0; 65], 2).is_none());
        assert!(parse_hashes(&[0; 64], 1).is_none());
    }
}
