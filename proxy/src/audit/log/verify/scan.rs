//! The tree from its entries up to its root: bundles and tiles are read and hashed by several threads, faults leave.
//! Each thread takes the 65,536 entries below one tile of level 1 at a time. A bundle is held against its tile, the tile
//! against the hash above it, and so on up to the root that the checkpoint signs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::super::Error;
use super::super::checkpoint::Checkpoint;
use super::super::statement::{ItemKind, StatementList};
use super::super::stored::Stored;
use super::super::tile::{Content, Tile, parse_bundle};
use super::super::tree::{Edge, Hash, MAX_LEVELS, TILE_WIDTH, leaf_hash, root_of};
use super::bundle::diagnose;
use super::{Fault, FaultKind, Report};

/// Verifies all entries and tiles under a checkpoint.
pub(super) fn scan(
    stored: &Stored,
    checkpoint: &Checkpoint,
    list: &StatementList,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
    report: &mut Report,
) -> Result<(), Error> {
    let size = checkpoint.size;
    let units = size.div_ceil(UNIT);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let found = Mutex::new(Vec::new());
    let work = || -> Result<(), Error> {
        loop {
            let unit = next.fetch_add(1, Ordering::Relaxed);
            if unit >= units {
                return Ok(());
            }
            let result = Unit { stored, list, size, unit }.check()?;
            let entries = UNIT.min(size - unit * UNIT);
            found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(result);
            progress(done.fetch_add(entries, Ordering::Relaxed) + entries, size);
        }
    };
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if threads == 0 { processors } else { threads };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())));
        ended.collect::<Result<Vec<()>, Error>>()
    })?;
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_by_key(|result| result.unit);
    found.iter_mut().flat_map(|result| std::mem::take(&mut result.faults)).for_each(|fault| report.add(fault));
    check_statements(list, &found, size, report);
    check_top(stored, checkpoint, found, report)
}

/// The entries below one tile of level 1.
struct Unit<'a> {
    stored: &'a Stored,
    list: &'a StatementList,
    size: u64,
    unit: u64,
}

/// What was found below one tile of level 1.
struct Checked {
    unit: u64,
    faults: Vec<Fault>,
    /// The hashes of its full tiles, or the leaves of the partial one: what the tree above is made of.
    roots: Vec<Hash>,
    leaves: Vec<Hash>,
    /// The hashes of entries that statements name.
    named: Vec<(u64, Hash)>,
}

impl Unit<'_> {
    fn check(&self) -> Result<Checked, Error> {
        let mut checked =
            Checked { unit: self.unit, faults: Vec::new(), roots: Vec::new(), leaves: Vec::new(), named: Vec::new() };
        let above = match Tile::of(Content::Hashes(1), self.unit, self.size) {
            Some(tile) => self.stored.hashes(tile)?.ok_or(tile),
            None => Ok(Vec::new()),
        };
        if let Err(tile) = &above {
            let what = format!("`{}` is missing or has the wrong length", tile.path().display());
            checked.faults.push(Fault::of_entry(self.unit * UNIT, FaultKind::Tile, what));
        }
        let above = above.unwrap_or_default();
        let width = TILE_WIDTH as u64;
        for (place, index) in (self.unit * width..(self.unit + 1) * width).enumerate() {
            let Some(tile) = Tile::of(Content::Hashes(0), index, self.size) else { break };
            self.check_bundle(tile, above.get(place), &mut checked)?;
        }
        Ok(checked)
    }

    /// One tile of level 0 and its bundle; `above` is the hash that the tile above has for it.
    fn check_bundle(&self, tile: Tile, above: Option<&Hash>, checked: &mut Checked) -> Result<(), Error> {
        let first = tile.index * TILE_WIDTH as u64;
        let path = tile.path();
        let Some(hashes) = self.stored.hashes(tile)? else {
            let what = format!("`{}` is missing or has the wrong length", path.display());
            checked.faults.push(Fault::of_entry(first, FaultKind::Tile, what));
            checked.roots.extend(tile.is_full().then(|| above.copied().unwrap_or_default()));
            return Ok(());
        };
        if tile.is_full() {
            let root = root_of(&hashes);
            if above.is_some_and(|above| *above != root) {
                let what = format!("`{}` was changed: it does not lead to the tile above it", path.display());
                checked.faults.push(Fault::of_entry(first, FaultKind::Tile, what));
            }
            checked.roots.push(root);
        } else {
            checked.leaves.clone_from(&hashes);
        }
        for item in &self.list.items {
            let place = item.entry.checked_sub(first).and_then(|place| usize::try_from(place).ok());
            checked.named.extend(place.and_then(|place| hashes.get(place)).map(|hash| (item.entry, *hash)));
        }
        checked.faults.extend(self.check_entries(tile, first, &hashes)?);
        Ok(())
    }

    fn check_entries(&self, tile: Tile, first: u64, hashes: &[Hash]) -> Result<Option<Fault>, Error> {
        let end = first + hashes.len() as u64;
        let bundle = match self.stored.bundle(tile) {
            Ok(bundle) => bundle,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::Other => Some(vec![0]),
            Err(error) => return Err(error),
        };
        let Some(bytes) = bundle else {
            let is_excused = end <= self.list.expired_end() || self.stored.is_left_out(tile.index);
            let what =
                format!("the bundle `{}` is missing", Tile { content: Content::Entries, ..tile }.path().display());
            return Ok((!is_excused).then(|| Fault::of_entry(first, FaultKind::Missing, what)));
        };
        let Some(mut entries) = parse_bundle(&bytes) else {
            return Ok(Some(Fault::of_entry(first, FaultKind::Changed, "its bundle is torn: lengths do not fit")));
        };
        // A full bundle that took the place of the partial one holds later entries too.
        if !tile.is_full() && entries.len() > hashes.len() && !self.stored.has(&tile_path(tile)) {
            entries.truncate(hashes.len());
        }
        let found = (first..).zip(entries).zip(hashes.iter().map(Some).chain(std::iter::repeat(None)));
        let hash_of = |((index, entry), expected): ((u64, &[u8]), Option<&Hash>)| {
            let excused =
                entry.is_empty() && self.list.about(index).is_some_and(|item| item.kind == ItemKind::Unreadable);
            expected.filter(|_| excused).copied().unwrap_or_else(|| leaf_hash(entry))
        };
        let found: Vec<Hash> = found.map(hash_of).collect();
        Ok(diagnose(first, &found, hashes))
    }
}

/// Everything above level 1, up to the root.
fn check_top(stored: &Stored, checkpoint: &Checkpoint, found: Vec<Checked>, report: &mut Report) -> Result<(), Error> {
    let size = checkpoint.size;
    let (mut levels, mut hashes) = (Vec::new(), Vec::new());
    for checked in found {
        hashes.extend(checked.roots);
        if !checked.leaves.is_empty() {
            levels = vec![checked.leaves];
        }
    }
    if levels.is_empty() {
        levels.push(Vec::new());
    }
    for level in 1..MAX_LEVELS {
        let full = hashes.len() - hashes.len() % TILE_WIDTH;
        let (full, partial) = hashes.split_at(full);
        for (index, computed) in (0..).zip(hashes.chunks(TILE_WIDTH)) {
            let tile = Tile { content: Content::Hashes(level), index, width: computed.len() };
            let first = (index * TILE_WIDTH as u64) << (8 * level);
            let stored = stored.hashes(tile)?;
            if level > 1 && stored.as_deref() != Some(computed) {
                let what = format!("`{}` is missing or does not fit the tiles below it", tile.path().display());
                report.add(Fault::of_entry(first, FaultKind::Tile, what));
            }
        }
        levels.push(partial.to_vec());
        hashes = full.chunks(TILE_WIDTH).map(root_of).collect();
    }
    let root = Edge::new(size, levels).map(|edge| edge.root());
    if root != Some(checkpoint.root) {
        let what = format!("the tree of {size} entries has another root than the checkpoint: it is of another history");
        report.add(Fault::of_log(FaultKind::Tile, what));
    }
    Ok(())
}

/// Each statement of the list must stand in the log as it says.
fn check_statements(list: &StatementList, found: &[Checked], size: u64, report: &mut Report) {
    for item in &list.items {
        let mut named = found.iter().flat_map(|checked| &checked.named);
        let is_logged = named.any(|(index, hash)| *index == item.entry && *hash == item.leaf);
        if !is_logged || item.end > size {
            let what = format!("the list says that entry {} states `{item}`; the log does not", item.entry);
            report.add(Fault::of_entry(item.first, FaultKind::Statement, what));
        }
    }
}

fn tile_path(tile: Tile) -> std::path::PathBuf {
    Tile { content: Content::Entries, ..tile }.path()
}

fn panicked() -> Error {
    Error::Broken("a thread of the verification has panicked".to_owned())
}

/// Entries below a tile of level 1.
const UNIT: u64 = (TILE_WIDTH * TILE_WIDTH) as u64;
