//! Reading a log's folder: the entries under its last checkpoint, in their order or one by its index.
//! The checkpoint's signature is checked; that the entries are those that it covers is the verification's concern, or that of
//! a proof for one entry. A log can be read while it grows.

use std::ops::Range;
use std::path::Path;

use super::Error;
use super::checkpoint::Checkpoint;
use super::folder::{CHECKPOINT, PUBLIC_KEY};
use super::note::{Note, NoteKey};
use super::proof::Prover;
use super::statement::{STATEMENTS, StatementList};
use super::stored::Stored;
use super::tile::{Content, Tile};
use super::tlog_proof::TlogProof;
use super::tree::TILE_WIDTH;
use super::verify::WITNESSED;

/// A log that is read.
pub struct Reader {
    stored: Stored,
    key: NoteKey,
    checkpoint: Checkpoint,
    note: Note,
    first: u64,
}

impl Reader {
    /// Opens a folder. Without a key, the one in the folder is taken.
    ///
    /// # Errors
    /// `Io`; `Missing` and `Broken` when there is no checkpoint by that key; `Key`.
    pub fn open(directory: &Path, key: Option<&NoteKey>) -> Result<Self, Error> {
        Self::over(Stored::new(directory), key)
    }

    /// The same for a log that need not lie in a folder.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn over(stored: Stored, key: Option<&NoteKey>) -> Result<Self, Error> {
        let key = match key {
            Some(key) => key.clone(),
            None => String::from_utf8_lossy(&stored.file(PUBLIC_KEY)?.unwrap_or_default()).parse()?,
        };
        let (checkpoint, note) = read_signed(&stored, CHECKPOINT, &key)?;
        let mut reader = Self { stored, key, checkpoint, note, first: 0 };
        reader.read_first()?;
        Ok(reader)
    }

    /// Reads the checkpoint again; whether the log has grown.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn refresh(&mut self) -> Result<bool, Error> {
        let before = self.checkpoint.size;
        (self.checkpoint, self.note) = read_signed(&self.stored, CHECKPOINT, &self.key)?;
        self.read_first()?;
        Ok(self.checkpoint.size > before)
    }

    /// The log's key.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        &self.key
    }

    /// How many entries are under the checkpoint.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The index of the first entry that was not dropped because of its age.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The entries of a range, those that are there; one whose bytes were lost is empty.
    pub fn entries(&self, range: Range<u64>) -> impl Iterator<Item = Result<(u64, Vec<u8>), Error>> + '_ {
        let range = range.start.max(self.first)..range.end.min(self.checkpoint.size);
        let width = TILE_WIDTH as u64;
        let bundles = range.start / width..range.end.div_ceil(width).max(range.start / width);
        bundles.filter(|bundle| !self.stored.is_left_out(*bundle)).flat_map(move |bundle| {
            let numbered = self.bundle(bundle).map(|entries| (bundle * width..).zip(entries).collect());
            let numbered: Vec<Result<(u64, Vec<u8>), Error>> = match numbered {
                Ok(entries) => Vec::into_iter(entries).map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            let wanted = range.clone();
            numbered.into_iter().filter(move |entry| entry.as_ref().map_or(true, |(index, _)| wanted.contains(index)))
        })
    }

    /// An entry.
    ///
    /// # Errors
    /// `Missing` when it was dropped or is not there yet; `Io`.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, Error> {
        let found = self.entries(index..index.saturating_add(1)).next();
        Ok(found.ok_or_else(|| Error::Missing(format!("entry {index}")))??.1)
    }

    /// An entry with the proof that it is in the log. A checkpoint that witnesses have cosigned is preferred.
    ///
    /// # Errors
    /// `Missing` when it was dropped or is not there yet; `Io`.
    pub fn prove(&self, index: u64) -> Result<TlogProof, Error> {
        let entry = self.entry(index)?;
        let witnessed = read_signed(&self.stored, WITNESSED, &self.key).ok();
        let witnessed = witnessed.filter(|(checkpoint, _)| index < checkpoint.size);
        let (checkpoint, note) = witnessed.unwrap_or_else(|| (self.checkpoint.clone(), self.note.clone()));
        let hashes = Prover::new(&self.stored, checkpoint.size).inclusion(index)?;
        Ok(TlogProof { entry: Some(entry), index, hashes, checkpoint, note })
    }

    fn bundle(&self, index: u64) -> Result<Vec<Vec<u8>>, Error> {
        let tile = Tile::of(Content::Entries, index, self.checkpoint.size);
        let missing = || Error::Missing(format!("the bundle of entry {}", index * TILE_WIDTH as u64));
        self.stored.entries(tile.ok_or_else(missing)?)?.ok_or_else(missing)
    }

    fn read_first(&mut self) -> Result<(), Error> {
        let list = self.stored.file(STATEMENTS)?.and_then(|bytes| StatementList::parse(&bytes, &self.key));
        self.first = list.map_or(0, |list| list.expired_end());
        Ok(())
    }
}

fn read_signed(stored: &Stored, name: &str, key: &NoteKey) -> Result<(Checkpoint, Note), Error> {
    let bytes = stored.file(name)?.ok_or_else(|| Error::Missing(stored.path(name).display().to_string()))?;
    let found = Checkpoint::parse_note(&bytes);
    let found = found.filter(|(checkpoint, note)| checkpoint.origin == key.name() && note.is_signed_by(key));
    found.ok_or_else(|| Error::Broken(format!("`{name}` is not a checkpoint that is signed by `{key}`")))
}
