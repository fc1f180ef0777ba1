//! Reading an export: a file of unknown origin arrives, the files of its logs leave.
//! Opening it looks at every header: only members of an export, in their order, each once, of a size that they can have, nothing
//! between them and nothing after the end. A member is read when it is asked for, so that what is in memory is an index and one
//! member. That the members are those that were exported is what [`Archive::check`] says.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use tar::Header;

use super::super::Error;
use super::super::checkpoint::Checkpoint;
use super::super::folder::{CHECKPOINT, PUBLIC_KEY, at};
use super::super::note::Note;
use super::super::tile::{Content, Tile};
use super::super::tree::{Hash, sha256};
use super::manifest::{ExportedLog, Manifest};
use super::member::{Member, Part};

/// An export that was opened.
pub struct Archive {
    path: PathBuf,
    file: File,
    index: Vec<Located>,
    manifest: Manifest,
    note: Option<Note>,
}

/// Where a member is.
struct Located {
    member: Member,
    at: u64,
    length: u64,
}

/// Who has signed an export, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The names of the logs whose keys signed the manifest.
    pub signed_by: Vec<String>,
    /// What is wrong, each with the member's name.
    pub faults: Vec<String>,
}

impl Archive {
    /// Opens a file.
    ///
    /// # Errors
    /// `Io`; `Export` when it is not an export, with the name of the member that is not as it must be.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(at(path))?;
        let length = file.metadata().map_err(at(path))?.len();
        let index = Listing { path, file: &file, length, index: Vec::new() }.read()?;
        let last = index.last().filter(|located| located.member == Member::Manifest);
        let last = last.ok_or_else(|| refused(path, "its last member is not `manifest`: it was cut off"))?;
        let bytes = read(path, &file, last)?;
        let (manifest, note) =
            Manifest::parse(&bytes).ok_or_else(|| refused(path, "`manifest` is not the manifest of an export"))?;
        let archive = Self { path: path.to_owned(), file, index, manifest, note };
        archive.check_members()?;
        Ok(archive)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself; nothing of it is verified.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether a log has a file.
    #[must_use]
    pub fn has(&self, log: usize, file: &Path) -> bool {
        self.locate(log, file).is_some()
    }

    /// Whether a bundle of entries of a log was left out.
    #[must_use]
    pub fn is_left_out(&self, log: usize, bundle: u64) -> bool {
        self.manifest.logs.get(log).is_some_and(|log| !log.has(bundle))
    }

    /// A file of a log; none if it is not there.
    ///
    /// # Errors
    /// `Io`.
    pub fn file(&self, log: usize, file: &Path) -> Result<Option<Vec<u8>>, Error> {
        self.locate(log, file).map(|located| read(&self.path, &self.file, located)).transpose()
    }

    /// Holds every member against its digest, and the manifest against the keys of its logs. `progress` is told how many bytes of how
    /// many are done.
    ///
    /// # Errors
    /// `Io`. What is wrong with the export is no error but in what is given back.
    pub fn check(&self, progress: &dyn Fn(u64, u64)) -> Result<Checked, Error> {
        let mut checked = Checked::default();
        for log in &self.manifest.logs {
            let Some(note) = &self.note else { break };
            if note.is_signed_by(&log.key) {
                checked.signed_by.push(log.key.name().to_owned());
            } else if note.names(&log.key) {
                checked.faults.push(format!("the signature of `{}` under `manifest` is not valid", log.key.name()));
            }
        }
        self.check_digests(&mut checked, progress)?;
        Ok(checked)
    }

    fn check_digests(&self, checked: &mut Checked, progress: &dyn Fn(u64, u64)) -> Result<(), Error> {
        let Some(digests) = self.index.iter().find(|located| located.member == Member::Digests) else { return Ok(()) };
        if self.digest(digests)? != self.manifest.digests {
            checked.faults.push("`digests` is not what the manifest speaks of".to_owned());
            return Ok(());
        }
        let (mut line_at, end) = (digests.at, digests.at + digests.length);
        for located in self.index.iter().filter(|located| located.member < Member::Digests) {
            let line = format!("{}  {}\n", hex::encode(self.digest(located)?), located.member);
            let there = line_at + line.len() as u64 <= end;
            let mut expected = vec![0; line.len()];
            if there {
                self.file.read_exact_at(&mut expected, line_at).map_err(at(&self.path))?;
            }
            if expected != line.as_bytes() {
                checked.faults.push(format!("`{}` is not what was exported: its digest is another", located.member));
                // A line of another length: what follows cannot be compared any more.
                let same_name = expected.get(64..) == line.as_bytes().get(64..);
                if !same_name || checked.faults.len() >= MOST_FAULTS {
                    return Ok(());
                }
            }
            line_at += line.len() as u64;
            progress(located.at + located.length, digests.at);
        }
        if line_at != end {
            checked.faults.push("`digests` speaks of members that are not there".to_owned());
        }
        Ok(())
    }

    /// What the manifest speaks of is there, and nothing else.
    fn check_members(&self) -> Result<(), Error> {
        let digests = self.index.iter().position(|located| located.member == Member::Digests);
        let before = digests.ok_or_else(|| refused(&self.path, "the member `digests` is missing"))?;
        if before as u64 != self.manifest.members {
            let what = format!("it has {before} members, and its manifest speaks of {}", self.manifest.members);
            return Err(refused(&self.path, &what));
        }
        for located in &self.index {
            let Member::Log(number, part) = located.member else { continue };
            let Some(log) = self.manifest.logs.get(usize::from(number)) else {
                return Err(refused(
                    &self.path,
                    &format!("`{}` is of a log that the manifest has not", located.member),
                ));
            };
            if !part.tile().is_none_or(|tile| belongs(tile, log)) {
                let what = format!("`{}` is not a part of a log of {} entries", located.member, log.size);
                return Err(refused(&self.path, &what));
            }
        }
        for (number, log) in self.manifest.logs.iter().enumerate() {
            let has = |part| u16::try_from(number).is_ok_and(|number| self.find(Member::Log(number, part)).is_some());
            if !has(Part::Key) || !has(Part::Checkpoint) {
                return Err(refused(
                    &self.path,
                    &format!("the log `{}` has no `vkey` or `checkpoint`", log.key.name()),
                ));
            }
            self.check_log(number, log)?;
        }
        Ok(())
    }

    /// The log is the one that the manifest speaks of.
    fn check_log(&self, number: usize, log: &ExportedLog) -> Result<(), Error> {
        let exchanged = |name: &str| {
            refused(&self.path, &format!("`log/{number}/{name}` is not that of the log that the manifest speaks of"))
        };
        let key = self.file(number, Path::new(PUBLIC_KEY))?.unwrap_or_default();
        if String::from_utf8_lossy(&key).trim_end() != log.key.to_string() {
            return Err(exchanged(PUBLIC_KEY));
        }
        let bytes = self.file(number, Path::new(CHECKPOINT))?.unwrap_or_default();
        let found = Checkpoint::parse_note(&bytes).map(|(found, _)| found);
        let is_it =
            |found: Checkpoint| (found.origin.as_str(), found.size, found.root) == (log.key.name(), log.size, log.root);
        if found.is_some_and(is_it) { Ok(()) } else { Err(exchanged(CHECKPOINT)) }
    }

    fn locate(&self, log: usize, file: &Path) -> Option<&Located> {
        self.find(Member::Log(u16::try_from(log).ok()?, Part::of(file)?))
    }

    fn find(&self, member: Member) -> Option<&Located> {
        let found = self.index.binary_search_by_key(&member, |located| located.member).ok()?;
        self.index.get(found)
    }

    fn digest(&self, located: &Located) -> Result<Hash, Error> {
        if located.member != Member::Digests {
            return Ok(sha256(&read(&self.path, &self.file, located)?));
        }
        // The one member that may be large.
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; BUFFER];
        let mut done = 0;
        while done < located.length {
            let part = usize::try_from(located.length - done).unwrap_or(BUFFER).min(BUFFER);
            let Some(part) = buffer.get_mut(..part) else { break };
            self.file.read_exact_at(part, located.at + done).map_err(at(&self.path))?;
            context.update(part);
            done += part.len() as u64;
        }
        let mut hash = Hash::default();
        hash.copy_from_slice(context.finish().as_ref());
        Ok(hash)
    }
}

fn belongs(tile: Tile, log: &ExportedLog) -> bool {
    let is_tile = Tile::of(tile.content, tile.index, log.size) == Some(tile);
    is_tile && (tile.content != Content::Entries || log.has(tile.index))
}

fn read(path: &Path, file: &File, located: &Located) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(located.length).unwrap_or_default()];
    file.read_exact_at(&mut bytes, located.at).map_err(at(path))?;
    Ok(bytes)
}

/// Looks at the headers of a file, one after the other.
struct Listing<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
    index: Vec<Located>,
}

impl Listing<'_> {
    fn read(mut self) -> Result<Vec<Located>, Error> {
        let mut next = 0;
        loop {
            let block = self.block(next)?;
            if block == [0; BLOCK] {
                self.check_end(next)?;
                return Ok(self.index);
            }
            let located = self.member(next, &block)?;
            next = (located.at + located.length).next_multiple_of(BLOCK as u64);
            self.check_padding(&located, next)?;
            self.index.push(located);
        }
    }

    fn block(&self, from: u64) -> Result<[u8; BLOCK], Error> {
        let mut block = [0; BLOCK];
        if from + BLOCK as u64 > self.length {
            let after = self.index.last().map_or_else(String::new, |last| format!(" behind `{}`", last.member));
            return Err(refused(self.path, &format!("it ends{after}, in the middle: it was cut off")));
        }
        self.file.read_exact_at(&mut block, from).map_err(at(self.path))?;
        Ok(block)
    }

    fn member(&self, from: u64, block: &[u8; BLOCK]) -> Result<Located, Error> {
        let header = Header::from_byte_slice(block);
        let name = header.path_bytes();
        let shown: String = String::from_utf8_lossy(&name).chars().take(MOST_SHOWN).collect();
        let wrong = |what: &str| refused(self.path, &format!("the member `{}` {what}", shown.escape_debug()));
        // As POSIX has it: the sum of the header's bytes with spaces in the place of the sum.
        let sum = |(place, byte): (usize, &u8)| u32::from(if (148..156).contains(&place) { b' ' } else { *byte });
        if header.cksum().ok() != Some(block.iter().enumerate().map(sum).sum()) || header.as_ustar().is_none() {
            return Err(if self.index.is_empty() {
                refused(self.path, "it is not an export of an audit log")
            } else {
                wrong("has a damaged header")
            });
        }
        if !header.entry_type().is_file() {
            return Err(wrong("is not a plain file"));
        }
        let member = std::str::from_utf8(&name).ok().and_then(Member::parse);
        let member = member.ok_or_else(|| wrong("is not a member of an export"))?;
        if self.index.last().is_some_and(|last| last.member >= member) {
            return Err(wrong("stands twice, or in the wrong place"));
        }
        let length = header.entry_size().map_err(|_| wrong("has no readable size"))?;
        if length > member.most(self.index.len()) {
            return Err(wrong(&format!("has {length} bytes, more than it can have")));
        }
        let at = from + BLOCK as u64;
        if at.saturating_add(length) > self.length {
            return Err(wrong("is cut off"));
        }
        Ok(Located { member, at, length })
    }

    /// Nothing is hidden between two members.
    fn check_padding(&self, located: &Located, next: u64) -> Result<(), Error> {
        let end = located.at + located.length;
        if next > self.length {
            return Err(refused(self.path, &format!("the member `{}` is cut off", located.member)));
        }
        let mut padding = vec![0; usize::try_from(next - end).unwrap_or_default()];
        self.file.read_exact_at(&mut padding, end).map_err(at(self.path))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(refused(self.path, &format!("there is something behind the member `{}`", located.member)));
        }
        Ok(())
    }

    /// Two empty blocks, and nothing after them.
    fn check_end(&self, from: u64) -> Result<(), Error> {
        if self.length != from + 2 * BLOCK as u64 || self.block(from + BLOCK as u64)? != [0; BLOCK] {
            return Err(refused(self.path, "it does not end with two empty blocks"));
        }
        Ok(())
    }
}

fn refused(path: &Path, what: &str) -> Error {
    Error::Export { path: path.to_owned(), what: what.to_owned() }
}

/// Of tar (POSIX pax).
const BLOCK: usize = 512;

const BUFFER: usize = 64 * 1024;

/// How many members that are not what was exported are named.
const MOST_FAULTS: usize = 20;

/// How much of a name that is none is shown.
const MOST_SHOWN: usize = 120;
