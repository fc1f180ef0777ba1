//! What a log's folder holds when it is opened: the last checkpoint's tree, the entries after it, and what is missing.
//! Entries come back up to the last whole record. What was acknowledged and is gone becomes a gap; a folder that contradicts
//! what was signed is refused, because going on would make two logs of one name.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use barnabas_crypto::Secret;
use bytes::Bytes;

use super::checkpoint::Checkpoint;
use super::folder::{self, CHECKPOINT, Folder, PUBLIC_KEY, SEGMENTS, at, read_if_there};
use super::note::NoteKey;
use super::segment::{self, Piece};
use super::statement::{STATEMENTS, StatementList};
use super::stored::Stored;
use super::tile::{Content, Tile, add_to_bundle, hash_bytes, parse_bundle};
use super::tree::{Edge, Hash, MAX_LEVELS, TILE_WIDTH, leaf_hash, root_of};
use super::{Error, GapReason};

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    /// The tree under the last checkpoint; `None` for a folder without a log.
    pub tree: Option<Tree>,
    /// What comes after it.
    pub tail: Vec<Found>,
    /// The write-ahead files that were read, to be removed once their entries are under a checkpoint.
    pub segments: Vec<PathBuf>,
}

/// The tree under the last checkpoint.
#[derive(Debug)]
pub struct Tree {
    /// Its right edge.
    pub edge: Edge,
    /// The entries of its last, partial bundle as they stand there. An entry that cannot be read any more is empty.
    pub bundle: Vec<u8>,
    /// Tiles that were missing and could be computed.
    pub repairs: Vec<(PathBuf, Vec<u8>)>,
    /// The last checkpoint.
    pub note: String,
}

/// Something after the last checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// An entry.
    Entry(Bytes),
    /// Entries that are missing: why, the index of the first, how many.
    Missing(GapReason, u64, u64),
}

/// Reads a folder.
///
/// # Errors
/// `Io`, `Broken`.
pub fn recover(folder: &Folder, key: &NoteKey, root: &Secret<32>) -> Result<Recovered, Error> {
    let Some(note) = read_if_there(&folder.path(CHECKPOINT))? else {
        if !segment_paths(folder)?.is_empty() || folder.path("tile").exists() {
            return Err(Error::Broken("entries are there, the checkpoint over them is not".to_owned()));
        }
        return Ok(Recovered { tree: None, tail: Vec::new(), segments: Vec::new() });
    };
    let checkpoint = read_checkpoint(&note, key)?;
    let ahead = Ahead::read(folder, key.name(), root)?;
    let public_key = read_if_there(&folder.path(PUBLIC_KEY))?.unwrap_or_default();
    if String::from_utf8_lossy(&public_key).trim() != key.to_string() {
        return Err(Error::Broken(format!("its public key is not `{key}`")));
    }
    if ahead.first.is_some_and(|first| first > checkpoint.size) {
        return Err(Error::Broken("its checkpoint is older than its write-ahead files: it was rolled back".to_owned()));
    }
    let stored = Stored::new(folder.root());
    let stated = StatementList::parse(&stored.file(STATEMENTS)?.unwrap_or_default(), key).unwrap_or_default();
    let (bundle, unreadable) = read_bundle(&stored, &checkpoint, &ahead, &stated)?;
    let mut tree = read_tree(&stored, &checkpoint, &bundle)?;
    let mut tail: Vec<Found> = unreadable;
    tail.extend(ahead.tail(checkpoint.size));
    tree.note = String::from_utf8_lossy(&note).into_owned();
    Ok(Recovered { tree: Some(tree), tail, segments: ahead.segments })
}

fn read_checkpoint(note: &[u8], key: &NoteKey) -> Result<Checkpoint, Error> {
    let parsed = Checkpoint::parse_note(note).filter(|(checkpoint, note)| {
        let ours = checkpoint.origin == key.name();
        ours && note.is_signed_by(key)
    });
    let (checkpoint, _) = parsed.ok_or_else(|| Error::Broken(format!("its checkpoint is not signed by `{key}`")))?;
    Ok(checkpoint)
}

/// All that the write-ahead files hold.
struct Ahead {
    /// The index at which the first file begins; `None` without files.
    first: Option<u64>,
    entries: BTreeMap<u64, Vec<u8>>,
    /// The index after the last entry that a record or a file name speaks of as durable.
    durable: u64,
    segments: Vec<PathBuf>,
}

impl Ahead {
    fn read(folder: &Folder, origin: &str, root: &Secret<32>) -> Result<Self, Error> {
        let mut ahead = Self { first: None, entries: BTreeMap::new(), durable: 0, segments: Vec::new() };
        for path in segment_paths(folder)? {
            let bytes = fs::read(&path).map_err(at(&path))?;
            let segment = segment::read(&bytes, origin, Some(root))?;
            ahead.first.get_or_insert(segment.header.first);
            // A file begins where the log stood: whatever an earlier one has from there on was never acknowledged.
            drop(ahead.entries.split_off(&segment.header.first));
            ahead.durable = ahead.durable.max(segment.durable);
            let mut index = segment.header.first;
            for piece in segment.pieces {
                match piece {
                    Piece::Entry(entry) => {
                        ahead.entries.insert(index, entry);
                        index += 1;
                    }
                    Piece::Hole(missing) => index += missing,
                }
            }
            ahead.segments.push(path);
        }
        Ok(ahead)
    }

    /// The entries from an index on, with the holes in which something acknowledged was.
    fn tail(&self, from: u64) -> Vec<Found> {
        let mut found = Vec::new();
        let mut next = from;
        for (index, entry) in self.entries.range(from..) {
            found.extend(self.missing(next, *index));
            found.push(Found::Entry(Bytes::copy_from_slice(entry)));
            next = index + 1;
        }
        found.extend(self.missing(next, self.durable));
        if self.segments.is_empty() {
            // A log that was opened once has a write-ahead file for ever.
            found.push(Found::Missing(GapReason::Lost, from, 0));
        }
        found
    }

    fn missing(&self, from: u64, to: u64) -> Option<Found> {
        let end = to.min(self.durable);
        (from < end).then(|| Found::Missing(GapReason::Lost, from, end - from))
    }
}

/// The write-ahead files of a folder, oldest first.
pub fn segment_paths(folder: &Folder) -> Result<Vec<PathBuf>, Error> {
    list_segments(&folder.path(SEGMENTS))
}

/// The write-ahead files in their folder, oldest first.
pub fn list_segments(folder: &std::path::Path) -> Result<Vec<PathBuf>, Error> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let mut paths = entries.map(|entry| entry.map(|e| e.path()).map_err(at(folder))).collect::<Result<Vec<_>, _>>()?;
    // Twenty digits and a number: the order of names is that of entries, and of attempts at one entry.
    paths.sort();
    Ok(paths)
}

/// The last, partial bundle of a checkpoint, mended by the write-ahead files, and what of it cannot be read any more.
fn read_bundle(
    stored: &Stored,
    checkpoint: &Checkpoint,
    ahead: &Ahead,
    stated: &StatementList,
) -> Result<(Vec<u8>, Vec<Found>), Error> {
    let begin = checkpoint.size - checkpoint.size % TILE_WIDTH as u64;
    let index = begin / TILE_WIDTH as u64;
    let Some(tile) = Tile::of(Content::Entries, index, checkpoint.size) else { return Ok((Vec::new(), Vec::new())) };
    let bytes = stored.bundle(tile)?.unwrap_or_default();
    let entries = parse_bundle(&bytes).unwrap_or_default();
    let hashes = stored.hashes(Tile { content: Content::Hashes(0), ..tile })?;
    let (mut bundle, mut missing) = (Vec::new(), Vec::new());
    for (place, index) in (begin..checkpoint.size).enumerate() {
        let hash = hashes.as_ref().and_then(|hashes| hashes.get(place));
        let fits = |entry: &&[u8]| hash.is_none_or(|hash| leaf_hash(entry) == *hash);
        let stored = entries.get(place).copied().filter(fits);
        let entry = stored.or_else(|| ahead.entries.get(&index).map(Vec::as_slice).filter(fits));
        if entry.is_none() && stated.about(index).is_none() {
            match missing.last_mut() {
                Some(Found::Missing(_, first, count)) if *first + *count == index => *count += 1,
                _ => missing.push(Found::Missing(GapReason::Unreadable, index, 1)),
            }
        }
        add_to_bundle(&mut bundle, entry.unwrap_or_default());
    }
    Ok((bundle, missing))
}

/// The right edge of the checkpoint's tree, from its tiles or, where one is missing, from what it was computed from.
fn read_tree(stored: &Stored, checkpoint: &Checkpoint, bundle: &[u8]) -> Result<Tree, Error> {
    let size = checkpoint.size;
    let (mut levels, mut repairs) = (Vec::new(), Vec::new());
    for level in 0..MAX_LEVELS {
        let index = size.checked_shr(8 * (level + 1)).unwrap_or_default();
        let Some(tile) = Tile::of(Content::Hashes(level), index, size) else {
            levels.push(Vec::new());
            continue;
        };
        let hashes = match stored.hashes(tile)? {
            Some(hashes) => hashes,
            None => {
                let hashes = if level == 0 { hashes_of(bundle) } else { roots_below(stored, tile, level)? };
                repairs.push((tile.path(), hash_bytes(&hashes)));
                hashes
            }
        };
        levels.push(hashes);
    }
    if let Some(tile) = Tile::of(Content::Entries, size / TILE_WIDTH as u64, size)
        && stored.bundle(tile)?.is_none_or(|found| !found.starts_with(bundle))
    {
        repairs.push((tile.path(), bundle.to_vec()));
    }
    let edge = Edge::new(size, levels).filter(|edge| edge.root() == checkpoint.root);
    let edge =
        edge.ok_or_else(|| Error::Broken(format!("its tiles do not lead to its checkpoint of {size} entries")))?;
    Ok(Tree { edge, bundle: bundle.to_vec(), repairs, note: String::new() })
}

fn hashes_of(bundle: &[u8]) -> Vec<Hash> {
    parse_bundle(bundle).unwrap_or_default().into_iter().map(leaf_hash).collect()
}

/// The hashes of a partial tile above level 0 from the full tiles below it.
fn roots_below(stored: &Stored, tile: Tile, level: u32) -> Result<Vec<Hash>, Error> {
    let begin = tile.index * TILE_WIDTH as u64;
    let below = |index| Tile { content: Content::Hashes(level - 1), index, width: TILE_WIDTH };
    let roots = (begin..begin + tile.width as u64).map(|index| {
        let hashes = stored.hashes(below(index))?;
        let missing = || Error::Broken(format!("the tile {} is missing", below(index).path().display()));
        hashes.map(|hashes| root_of(&hashes)).ok_or_else(missing)
    });
    roots.collect()
}

/// Removes write-ahead files whose entries are under a checkpoint.
pub fn drop_segments(segments: &[PathBuf]) -> Result<(), Error> {
    segments.iter().try_for_each(|path| folder::remove(path))
}
