//! Tiles and bundles as they lie in a folder: coordinates arrive, hashes and entries leave.
//! Nothing here is verified; a file of the wrong length counts as one that is not there. A partial tile may have been
//! dropped because the full one took its place; its beginning is the same.

use std::path::{Path, PathBuf};

use super::Error;
use super::folder::{at, read_if_there};
use super::tile::{Content, Tile, parse_bundle, parse_hashes};
use super::tree::{Hash, TILE_WIDTH};

/// The tiles of a log's folder.
#[derive(Clone, Debug)]
pub struct Stored {
    root: PathBuf,
}

impl Stored {
    /// The tiles below a folder.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A file's path.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A file of the folder; none if it is not there.
    ///
    /// # Errors
    /// `Io`.
    pub fn file(&self, name: impl AsRef<Path>) -> Result<Option<Vec<u8>>, Error> {
        read_if_there(&self.path(name))
    }

    /// The hashes of a tile; none if it is not there or has fewer.
    ///
    /// # Errors
    /// `Io`.
    pub fn hashes(&self, tile: Tile) -> Result<Option<Vec<Hash>>, Error> {
        if let Some(hashes) = self.file(tile.path())?.and_then(|bytes| parse_hashes(&bytes, tile.width)) {
            return Ok(Some(hashes));
        }
        let full = if tile.is_full() { None } else { self.file(tile.filled().path())? };
        let full = full.and_then(|bytes| parse_hashes(&bytes, TILE_WIDTH));
        Ok(full.map(|hashes| hashes.into_iter().take(tile.width).collect()))
    }

    /// The bytes of a bundle, plain or compressed; none if it is not there. For a partial one that is not there any more,
    /// those of the full one.
    ///
    /// # Errors
    /// `Io`, also for a compressed bundle that does not decompress.
    pub fn bundle(&self, tile: Tile) -> Result<Option<Vec<u8>>, Error> {
        let tile = Tile { content: Content::Entries, ..tile };
        if !tile.is_full()
            && let Some(bytes) = self.file(tile.path())?
        {
            return Ok(Some(bytes));
        }
        if let Some(bytes) = self.file(tile.filled().path())? {
            return Ok(Some(bytes));
        }
        let Some(packed) = self.file(tile.compressed_path())? else { return Ok(None) };
        let path = self.path(tile.compressed_path());
        zstd::bulk::decompress(&packed, MAX_BUNDLE).map(Some).map_err(at(&path))
    }

    /// The entries of a bundle; none if it is not there, torn or too short.
    ///
    /// # Errors
    /// `Io`.
    pub fn entries(&self, tile: Tile) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(bytes) = self.bundle(tile)? else { return Ok(None) };
        let entries = parse_bundle(&bytes).filter(|entries| entries.len() >= tile.width);
        Ok(entries.map(|entries| entries.into_iter().take(tile.width).map(<[u8]>::to_vec).collect()))
    }
}

/// A bundle of 256 of the longest entries with their lengths.
const MAX_BUNDLE: usize = TILE_WIDTH * (65_535 + 2);
