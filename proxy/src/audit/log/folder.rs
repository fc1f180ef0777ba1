//! The log's folder: files arrive whole and are put in place whole, synced, or not at all.
//! A file is written under another name, synced and then renamed; the folders that changed are synced last. Many files
//! are synced by several threads at once, which a journaling file system answers with one commit.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Error;

/// The folder of one open log, locked against other processes.
pub struct Folder {
    root: PathBuf,
    temporaries: AtomicU64,
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is missing and locks it.
    ///
    /// # Errors
    /// `Io`, `InUse`.
    pub fn open(root: &Path) -> Result<Self, Error> {
        // What is logged is not for everybody who has an account on the machine.
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(root).map_err(at(root))?;
        let temporary = root.join(TEMPORARY);
        fs::create_dir_all(&temporary).map_err(at(&temporary))?;
        let path = root.join(LOCK);
        let lock = File::options().create(true).write(true).truncate(false).open(&path).map_err(at(&path))?;
        let until = Instant::now() + LONGEST_LOCK;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // A child that is just being started holds what its parent had until it is another program.
                Err(fs::TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_PAUSE),
                Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse(root.to_owned())),
                Err(fs::TryLockError::Error(error)) => return Err(at(&path)(error)),
            }
        }
        let folder = Self { root: root.to_owned(), temporaries: AtomicU64::new(0), _lock: lock };
        folder.sweep()?;
        sync_folder(root)?;
        Ok(folder)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file's path.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// Puts files in place, in place of what was there. When it returns, all of them are durable.
    pub fn put(&self, files: &[(PathBuf, Vec<u8>)]) -> Result<(), Error> {
        let written: Vec<(PathBuf, PathBuf, &[u8])> =
            files.iter().map(|(name, bytes)| (self.temporary(), self.path(name), &bytes[..])).collect();
        let put = self.put_in_place(&written);
        if put.is_err() {
            // A full disk must not fill up with attempts.
            written.iter().for_each(|(temporary, ..)| drop(fs::remove_file(temporary)));
        }
        put
    }

    fn put_in_place(&self, written: &[(PathBuf, PathBuf, &[u8])]) -> Result<(), Error> {
        let changed = self.make_parents(written)?;
        let share = written.len().div_ceil(SYNC_THREADS).max(1);
        thread::scope(|scope| {
            let shares = written.chunks(share);
            let running: Vec<_> =
                shares.map(|share| scope.spawn(move || share.iter().try_for_each(write_one))).collect();
            running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(panicked(&self.root))))
        })?;
        for (temporary, path, _) in written {
            fs::rename(temporary, path).map_err(at(path))?;
        }
        changed.iter().try_for_each(|folder| sync_folder(folder))
    }

    fn temporary(&self) -> PathBuf {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        self.root.join(TEMPORARY).join(number.to_string())
    }

    /// Makes the folders of files, and gives all folders that have to be synced afterwards, the lowest first.
    fn make_parents(&self, files: &[(PathBuf, PathBuf, &[u8])]) -> Result<Vec<PathBuf>, Error> {
        let mut changed = BTreeSet::new();
        for (_, path, _) in files {
            let mut folder = path.parent().unwrap_or(&self.root);
            changed.insert(folder.to_owned());
            while !folder.is_dir() && folder != self.root {
                folder = folder.parent().unwrap_or(&self.root);
                changed.insert(folder.to_owned());
            }
            let parent = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        Ok(changed.into_iter().rev().collect())
    }

    /// Removes what a crash left half written.
    fn sweep(&self) -> Result<(), Error> {
        let folder = self.root.join(TEMPORARY);
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            fs::remove_file(&path).map_err(at(&path))?;
        }
        Ok(())
    }
}

/// Reads a file; none if it is not there.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Removes a file or a folder with everything in it; one that is not there is no error.
pub fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(at(folder))
}

/// The error of a path.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

fn write_one((temporary, _, bytes): &(PathBuf, PathBuf, &[u8])) -> Result<(), Error> {
    let written = File::create(temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(at(temporary))
}

fn panicked(root: &Path) -> Error {
    at(root)(io::Error::other("a thread that wrote files has panicked"))
}

/// The folder of the write-ahead files.
pub const SEGMENTS: &str = "wal";

/// The latest checkpoint (C2SP tlog-tiles).
pub const CHECKPOINT: &str = "checkpoint";

/// The log's public key as a vkey.
pub const PUBLIC_KEY: &str = "vkey";

/// Where files are written before they are renamed.
const TEMPORARY: &str = "tmp";

/// Held open and locked by the process that writes.
const LOCK: &str = "lock";

/// For whoever held the folder and is about to end.
const LONGEST_LOCK: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// For the owner to write and a group of auditors to read.
const FOLDER_MODE: u32 = 0o750;

/// Threads that sync at once.
const SYNC_THREADS: usize = 8;
