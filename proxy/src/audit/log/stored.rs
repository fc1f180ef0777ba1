//! Tiles and bundles as they lie in a folder or in an export: coordinates arrive, hashes and entries leave.
//! Nothing here is verified; a file of the wrong length counts as one that is not there. A partial tile may have been
//! dropped because the full one took its place; its beginning is the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use super::export::Archive;
use super::folder::{at, read_if_there};
use super::tile::{Content, Tile, parse_bundle, parse_hashes};
use super::tree::{Hash, TILE_WIDTH};

/// The files of a log.
#[derive(Clone)]
pub struct Stored(Place);

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    /// An export, and the number of the log in it.
    Export(Arc<Archive>, usize),
}

impl Default for Stored {
    fn default() -> Self {
        Self(Place::Folder(PathBuf::new()))
    }
}

impl Stored {
    /// The files below a folder.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(Place::Folder(root.to_owned()))
    }

    /// The files of one of the logs of an export.
    #[must_use]
    pub const fn exported(archive: Arc<Archive>, log: usize) -> Self {
        Self(Place::Export(archive, log))
    }

    /// The folder of a log that lies in one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.0 {
            Place::Folder(root) => Some(root),
            Place::Export(..) => None,
        }
    }

    /// The path of a file, for people.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        match &self.0 {
            Place::Folder(root) => root.join(name),
            Place::Export(archive, log) => archive.path().join(format!("log/{log}")).join(name),
        }
    }

    /// Whether a file is there.
    #[must_use]
    pub fn has(&self, name: &Path) -> bool {
        match &self.0 {
            Place::Folder(root) => root.join(name).exists(),
            Place::Export(archive, log) => archive.has(*log, name),
        }
    }

    /// Whether a bundle of entries was left out of an export, which says so.
    #[must_use]
    pub fn is_left_out(&self, bundle: u64) -> bool {
        match &self.0 {
            Place::Folder(_) => false,
            Place::Export(archive, log) => archive.is_left_out(*log, bundle),
        }
    }

    /// The entries from one index to before another that were left out of an export, as ranges.
    #[must_use]
    pub fn left_out(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let Place::Export(archive, log) = &self.0 else { return Vec::new() };
        let there = archive.manifest().logs.get(*log).map_or(&[][..], |log| &log.bundles);
        let (mut ranges, mut next) = (Vec::new(), from);
        let width = TILE_WIDTH as u64;
        for bundles in there.iter().map(|range| range.start * width..range.end * width).chain(std::iter::once(to..to)) {
            if next < bundles.start.min(to) {
                ranges.push((next, bundles.start.min(to)));
            }
            next = next.max(bundles.end);
        }
        ranges
    }

    /// A file of the log; none if it is not there.
    ///
    /// # Errors
    /// `Io`.
    pub fn file(&self, name: impl AsRef<Path>) -> Result<Option<Vec<u8>>, Error> {
        match &self.0 {
            Place::Folder(root) => read_if_there(&root.join(name)),
            Place::Export(archive, log) => archive.file(*log, name.as_ref()),
        }
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
pub const MAX_BUNDLE: usize = TILE_WIDTH * (65_535 + 2);
