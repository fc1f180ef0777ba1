//! The tree on disk: durable entries arrive, tiles and a signed checkpoint over them leave.
//! The tiles and bundles of a checkpoint are synced before it is signed, and it is put in place last: no crash leaves a
//! checkpoint whose tree is not there. When anything fails, nothing in memory has moved and the same entries come again.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use super::checkpoint::Checkpoint;
use super::folder::{self, CHECKPOINT, Folder};
use super::signer::Pen;
use super::tile::{Content, Tile, add_to_bundle, hash_bytes};
use super::tree::{Edge, FullTile, MAX_LEVELS, TILE_WIDTH, leaf_hash};

/// The part of a log that is under a checkpoint.
pub struct Published {
    folder: Arc<Folder>,
    pen: Pen,
    edge: Edge,
    /// The entries of the bundle that is not full yet, as they stand in it.
    bundle: Vec<u8>,
}

impl Published {
    /// A tree as recovery found it.
    pub fn new(folder: Arc<Folder>, pen: Pen, edge: Edge, bundle: Vec<u8>) -> Self {
        Self { folder, pen, edge, bundle }
    }

    /// How many entries it has.
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// What it signs with.
    pub const fn pen(&self) -> &Pen {
        &self.pen
    }

    /// Puts entries under a new checkpoint, and gives that.
    pub fn publish(&mut self, entries: &[Bytes]) -> Result<Arc<str>, Error> {
        let mut next =
            Next { edge: self.edge.clone(), bundle: self.bundle.clone(), full: Vec::new(), files: Vec::new() };
        entries.iter().for_each(|entry| next.add(entry));
        next.finish(&self.edge);
        self.folder.put(&next.files)?;
        let checkpoint = Checkpoint::new(self.pen.key().name().to_owned(), next.edge.size(), next.edge.root());
        let note = self.pen.sign(checkpoint.to_string()).to_string();
        self.folder.put(&[(CHECKPOINT.into(), note.clone().into_bytes())])?;
        (self.edge, self.bundle) = (next.edge, next.bundle);
        // The partial tiles of earlier checkpoints may go when the full tile is there, not before.
        for tile in &next.full {
            self.drop_partials(tile);
        }
        Ok(note.into())
    }

    /// What cannot be removed now costs space, nothing else.
    fn drop_partials(&self, tile: &FullTile) {
        let hashes = Tile { content: Content::Hashes(tile.level), index: tile.index, width: TILE_WIDTH };
        drop(folder::remove(&self.folder.path(hashes.partials())));
        if tile.level == 0 {
            drop(folder::remove(&self.folder.path(Tile { content: Content::Entries, ..hashes }.partials())));
        }
    }
}

/// The tree on its way to the next checkpoint.
struct Next {
    edge: Edge,
    bundle: Vec<u8>,
    full: Vec<FullTile>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Next {
    fn add(&mut self, entry: &[u8]) {
        let known = self.full.len();
        add_to_bundle(&mut self.bundle, entry);
        self.edge.push(leaf_hash(entry), &mut self.full);
        for tile in self.full.iter().skip(known) {
            let hashes = Tile { content: Content::Hashes(tile.level), index: tile.index, width: TILE_WIDTH };
            self.files.push((hashes.path(), hash_bytes(&tile.hashes)));
            if tile.level == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                self.files.push((Tile { content: Content::Entries, ..hashes }.path(), bundle));
            }
        }
    }

    /// The partial tiles, where they are others than before.
    fn finish(&mut self, before: &Edge) {
        let size = self.edge.size();
        for level in 0..MAX_LEVELS {
            let hashes = self.edge.partial(level);
            let index = size.checked_shr(8 * (level + 1)).unwrap_or_default();
            let known = before.size().checked_shr(8 * (level + 1)).unwrap_or_default();
            let is_new = index != known || hashes != before.partial(level);
            let Some(tile) = Tile::of(Content::Hashes(level), index, size).filter(|_| is_new) else { continue };
            self.files.push((tile.path(), hash_bytes(hashes)));
            if level == 0 {
                self.files.push((Tile { content: Content::Entries, ..tile }.path(), self.bundle.clone()));
            }
        }
    }
}
