//! Writing an export: logs that were verified arrive, one file leaves. Members are written in their order, with a digest of each;
//! the manifest comes last, when all digests are known, and is signed by those keys of the logs that the caller has.

use std::fs::File;
use std::io::BufWriter;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use tar::{Builder, EntryType, Header};

use super::super::Error;
use super::super::checkpoint::Checkpoint;
use super::super::folder::at;
use super::super::note::NoteKey;
use super::super::signer::Pen;
use super::super::statement::STATEMENTS;
use super::super::stored::Stored;
use super::super::tile::{Content, Tile, add_to_bundle, hash_bytes};
use super::super::tree::{Hash, MAX_LEVELS, sha256};
use super::super::verify::WITNESSED;
use super::manifest::{ExportedLog, Manifest};
use super::member::{Member, Part, WITNESSES};

/// A log to be exported.
pub struct Export {
    /// Its files.
    pub stored: Stored,
    /// Its key.
    pub key: NoteKey,
    /// The checkpoint that was verified: a signed note.
    pub note: String,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The list of statements, read before the checkpoint was: it speaks of nothing that came later.
    pub statements: Option<Vec<u8>>,
    /// What witnesses have cosigned, read before the checkpoint was.
    pub witnessed: Option<Vec<u8>>,
    /// The keys of its witnesses, one a line.
    pub witnesses: Option<Vec<u8>>,
    /// Which bundles of entries, by their indices, in order and apart from each other.
    pub bundles: Vec<Range<u64>>,
}

impl Export {
    /// A log as it stands now; the checkpoint is not verified and nothing is chosen.
    ///
    /// # Errors
    /// `Io`.
    pub fn begin(stored: Stored, key: NoteKey) -> Result<Self, Error> {
        let (statements, witnessed) = (stored.file(STATEMENTS)?, stored.file(WITNESSED)?);
        let witnesses = stored.file(WITNESSES)?;
        let checkpoint = Checkpoint::new(key.name().to_owned(), 0, Hash::default());
        Ok(Self { stored, key, note: String::new(), checkpoint, statements, witnessed, witnesses, bundles: Vec::new() })
    }
}

/// Writes an export into a new file. `pens` are of logs of it. `progress` is told how many entries of how many are done.
///
/// # Errors
/// `Io`, also when the file is there already; `Missing` when a log has dropped entries in the meantime.
pub fn write(
    path: &Path,
    logs: &[Export],
    period: (Option<Timestamp>, Option<Timestamp>),
    pens: &[Pen],
    progress: &dyn Fn(u64, u64),
) -> Result<Manifest, Error> {
    // As the log's folder: not for everybody who has an account on the machine.
    let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))?;
    let written = Writing::begin(path, file, logs, progress).and_then(|writing| writing.finish(logs, period, pens));
    if written.is_err() {
        // Half an export is none. The first error counts.
        std::fs::remove_file(path).ok();
    }
    written
}

struct Writing<'a> {
    path: &'a Path,
    tar: Builder<BufWriter<File>>,
    made: Timestamp,
    digests: String,
    members: u64,
    done: u64,
    total: u64,
    progress: &'a dyn Fn(u64, u64),
}

impl<'a> Writing<'a> {
    fn begin(path: &'a Path, file: File, logs: &[Export], progress: &'a dyn Fn(u64, u64)) -> Result<Self, Error> {
        let made = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        let tar = Builder::new(BufWriter::new(file));
        let total = logs.iter().map(|log| log.checkpoint.size).sum();
        let mut writing = Self { path, tar, made, digests: String::new(), members: 0, done: 0, total, progress };
        for (number, log) in (0..).zip(logs) {
            writing.log(number, log)?;
        }
        Ok(writing)
    }

    fn log(&mut self, number: u16, log: &Export) -> Result<(), Error> {
        let name = |part| Member::Log(number, part);
        self.digested(name(Part::Key), format!("{}\n", log.key).as_bytes())?;
        self.digested(name(Part::Checkpoint), log.note.as_bytes())?;
        let notes =
            [(Part::Witnessed, &log.witnessed), (Part::Witnesses, &log.witnesses), (Part::Statements, &log.statements)];
        for (part, bytes) in notes {
            bytes.iter().try_for_each(|bytes| self.digested(name(part), bytes))?;
        }
        let size = log.checkpoint.size;
        for level in 0..MAX_LEVELS {
            let tiles = (0..).map_while(|index| Tile::of(Content::Hashes(level), index, size));
            for tile in tiles {
                let hashes = log.stored.hashes(tile)?.ok_or_else(|| gone(tile))?;
                self.digested(name(Part::Hashes(level, tile.index, width(tile))), &hash_bytes(&hashes))?;
            }
        }
        for index in log.bundles.iter().cloned().flatten() {
            let Some(tile) = Tile::of(Content::Entries, index, size) else { break };
            let bytes = packed(&log.stored, tile)?.ok_or_else(|| gone(tile))?;
            self.digested(name(Part::Entries(index, width(tile))), &bytes)?;
            self.done += tile.width as u64;
            (self.progress)(self.done, self.total);
        }
        Ok(())
    }

    fn finish(
        mut self,
        logs: &[Export],
        period: (Option<Timestamp>, Option<Timestamp>),
        pens: &[Pen],
    ) -> Result<Manifest, Error> {
        let exported = |log: &Export| ExportedLog {
            key: log.key.clone(),
            size: log.checkpoint.size,
            root: log.checkpoint.root,
            bundles: log.bundles.clone(),
        };
        let digests = std::mem::take(&mut self.digests).into_bytes();
        let manifest = Manifest {
            made: self.made,
            period,
            members: self.members,
            digests: sha256(&digests),
            logs: logs.iter().map(exported).collect(),
        };
        self.put(Member::Digests, &digests)?;
        let mut pens = pens.iter();
        let text = match pens.next() {
            Some(pen) => {
                let mut note = pen.sign(manifest.to_string());
                note.signatures.extend(pens.flat_map(|pen| pen.sign(note.text.clone()).signatures));
                note.to_string()
            }
            None => manifest.to_string(),
        };
        self.put(Member::Manifest, text.as_bytes())?;
        let finished = self.tar.into_inner().and_then(|file| file.into_inner().map_err(|error| error.into_error()));
        finished.and_then(|file| file.sync_all()).map_err(at(self.path))?;
        (self.progress)(self.total, self.total);
        Ok(manifest)
    }

    fn digested(&mut self, member: Member, bytes: &[u8]) -> Result<(), Error> {
        self.digests.push_str(&format!("{}  {member}\n", hex::encode(sha256(bytes))));
        self.members += 1;
        self.put(member, bytes)
    }

    fn put(&mut self, member: Member, bytes: &[u8]) -> Result<(), Error> {
        let mut header = Header::new_ustar();
        header.set_path(member.to_string()).map_err(at(self.path))?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(self.made.as_second()).unwrap_or_default());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.tar.append(&header, bytes).map_err(at(self.path))
    }
}

/// A bundle as it is exported: a full one compressed, a partial one with as many entries as the checkpoint covers.
fn packed(stored: &Stored, tile: Tile) -> Result<Option<Vec<u8>>, Error> {
    if tile.is_full() {
        if let Some(bytes) = stored.file(tile.compressed_path())? {
            return Ok(Some(bytes));
        }
        let bytes = stored.bundle(tile)?;
        let packed = bytes.map(|bytes| zstd::bulk::compress(&bytes, LEVEL).map_err(at(&stored.path(tile.path()))));
        return packed.transpose();
    }
    let Some(entries) = stored.entries(tile)? else { return Ok(None) };
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| add_to_bundle(&mut bytes, entry));
    Ok(Some(bytes))
}

fn width(tile: Tile) -> u16 {
    u16::try_from(tile.width).unwrap_or_default()
}

fn gone(tile: Tile) -> Error {
    Error::Missing(format!("{} (the log has changed in the meantime; export again)", tile.path().display()))
}

/// As entries of age are compressed.
const LEVEL: i32 = 3;
