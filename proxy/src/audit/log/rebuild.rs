//! A log out of its entries: entries and checkpoints arrive, in the order in which a sink has got them, and the folder of a log leaves.
//! The tree is computed from the entries alone, so that the checkpoint, which the log has signed, is what judges them. Entries
//! may come again; one that is not what it was, or one that is missing, is told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::checkpoint::Checkpoint;
use super::folder::{CHECKPOINT, at};
use super::stored::Stored;
use super::tile::{Content, Tile, add_to_bundle, hash_bytes};
use super::tree::{Edge, Hash, MAX_LEVELS, TILE_WIDTH, leaf_hash};

/// A log that is being put together again.
pub struct Rebuilt {
    folder: PathBuf,
    edge: Edge,
    bundle: Vec<u8>,
    has_gap: bool,
    /// Checkpoints over more entries than have come; the newest are kept.
    ahead: BTreeMap<u64, String>,
    /// The tree as it was at the last checkpoint whose entries have all come.
    last: Option<Standing>,
    /// What is wrong, at most [`MOST_FAULTS`].
    pub faults: Vec<String>,
    /// Checkpoints that came late or again; the newest are kept.
    pub known: BTreeMap<(u64, Hash), String>,
}

struct Standing {
    edge: Edge,
    bundle: Vec<u8>,
    note: String,
}

impl Rebuilt {
    /// In a folder that is empty.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            edge: Edge::default(),
            bundle: Vec::new(),
            has_gap: false,
            ahead: BTreeMap::new(),
            last: None,
            faults: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// `Io`.
    pub fn entry(&mut self, index: u64, entry: &[u8]) -> Result<(), Error> {
        let next = self.edge.size();
        if index < next {
            if self.leaf(index)? != Some(leaf_hash(entry)) {
                self.fault(format!("entry {index} is there twice, and not the same"));
            }
            return Ok(());
        }
        if index > next {
            // Nothing after it can be put together: it is told once.
            if !std::mem::replace(&mut self.has_gap, true) {
                self.fault(format!("entries {next} to {} are not there", index - 1));
            }
            return Ok(());
        }
        let mut full = Vec::new();
        add_to_bundle(&mut self.bundle, entry);
        self.edge.push(leaf_hash(entry), &mut full);
        for tile in full {
            let place = Tile { content: Content::Hashes(tile.level), index: tile.index, width: TILE_WIDTH };
            self.write(&place.path(), &hash_bytes(&tile.hashes))?;
            if tile.level == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                self.write(&Tile { content: Content::Entries, ..place }.path(), &bundle)?;
            }
        }
        let size = self.edge.size();
        if let Some(note) = self.ahead.remove(&size) {
            self.stand(note);
        }
        self.ahead = self.ahead.split_off(&size);
        Ok(())
    }

    /// Takes a checkpoint; its signature is not judged here.
    pub fn checkpoint(&mut self, note: &str) {
        let fits = note.len() <= MOST_NOTE;
        let Some((checkpoint, _)) = Checkpoint::parse_note(note.as_bytes()).filter(|_| fits) else {
            self.fault("a checkpoint is not one".to_owned());
            return;
        };
        match checkpoint.size.cmp(&self.edge.size()) {
            std::cmp::Ordering::Greater => {
                self.ahead.insert(checkpoint.size, note.to_owned());
                if self.ahead.len() > MOST_AHEAD {
                    self.ahead.pop_first();
                }
            }
            std::cmp::Ordering::Equal => self.stand(note.to_owned()),
            std::cmp::Ordering::Less => {}
        }
        self.known.insert((checkpoint.size, checkpoint.root), note.to_owned());
        if self.known.len() > MOST_KNOWN {
            self.known.pop_first();
        }
    }

    /// Puts the last checkpoint and its tree in place. Gives whether there is one.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(&mut self) -> Result<bool, Error> {
        let Some(Standing { edge, bundle, note }) = self.last.take() else { return Ok(false) };
        let size = edge.size();
        for level in 0..MAX_LEVELS {
            let index = size.checked_shr(8 * (level + 1)).unwrap_or_default();
            if let Some(tile) = Tile::of(Content::Hashes(level), index, size) {
                self.write(&tile.path(), &hash_bytes(edge.partial(level)))?;
            }
        }
        if let Some(tile) = Tile::of(Content::Entries, size / TILE_WIDTH as u64, size) {
            self.write(&tile.path(), &bundle)?;
        }
        self.write(Path::new(CHECKPOINT), note.as_bytes())?;
        Ok(true)
    }

    fn stand(&mut self, note: String) {
        self.last = Some(Standing { edge: self.edge.clone(), bundle: self.bundle.clone(), note });
    }

    fn leaf(&self, index: u64) -> Result<Option<Hash>, Error> {
        let width = TILE_WIDTH as u64;
        let place = usize::try_from(index % width).unwrap_or_default();
        if index / width == self.edge.size() / width {
            return Ok(self.edge.partial(0).get(place).copied());
        }
        let tile = Tile { content: Content::Hashes(0), index: index / width, width: TILE_WIDTH };
        Ok(Stored::new(&self.folder).hashes(tile)?.and_then(|hashes| hashes.get(place).copied()))
    }

    fn write(&self, name: &Path, bytes: &[u8]) -> Result<(), Error> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(at(parent))?;
        fs::write(&path, bytes).map_err(at(&path))
    }

    fn fault(&mut self, what: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(what);
        }
    }
}

/// A checkpoint a second for a quarter of an hour.
const MOST_AHEAD: usize = 1_024;

/// A checkpoint with the cosignatures of a hundred witnesses.
const MOST_NOTE: usize = 16 * 1024;

/// Each is held against the tree afterwards.
const MOST_KNOWN: usize = 10_000;

/// The first tell what happened.
const MOST_FAULTS: usize = 10;
