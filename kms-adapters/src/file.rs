//! Files that only their owner may touch.
//!
//! Reading refuses whatever others could have read or written; the check is made on the open file, so that no one can swap
//! it in between. Writing leaves either the old file or the new one, whenever the machine stops.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use barnabas_crypto::Secret;
use zeroize::Zeroizing;

use crate::Error;

/// Reads a whole file of at most `limit` bytes that only its owner can read and write.
pub(crate) fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    check_mode(&file, path, FILE_MODE)?;
    let len = file.metadata().map_err(Error::io("read", path))?.len();
    if len > limit {
        return Err(Error::NotAKeystore(path.to_path_buf()));
    }
    // One byte more than the length: the buffer does not move while it fills, so no copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 1));
    (&file).take(limit).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// Replaces a file: a new one beside it, flushed, renamed over it, and the directory flushed.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let fresh = beside(path, ".new");
    // Whoever writes holds the lock: what is left of a crash is ours to remove.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &fresh)(error));
        }
        _ => {}
    }
    let mut file = create_private(&fresh)?;
    file.write_all(content).map_err(Error::io("write", &fresh))?;
    file.sync_all().map_err(Error::io("flush", &fresh))?;
    std::fs::rename(&fresh, path).map_err(Error::io("replace", path))?;
    let directory = directory_of(path);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::io("flush", directory))
}

/// Waits for the lock that writers of this file share. It is released when the file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let path = beside(path, ".lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = file.map_err(Error::io("open", &path))?;
    file.lock().map_err(Error::io("lock", &path))?;
    Ok(file)
}

/// Makes the directory of a keystore if it is missing, and refuses one that others can enter.
pub(crate) fn ensure_directory(path: &Path) -> Result<(), Error> {
    let directory = directory_of(path);
    if !directory.exists() {
        let built = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
        built.map_err(Error::io("create", directory))?;
    }
    check_directory(path)
}

/// Refuses a directory that others can enter.
pub(crate) fn check_directory(path: &Path) -> Result<(), Error> {
    let directory = directory_of(path);
    let file = File::open(directory).map_err(Error::io("open", directory))?;
    check_mode(&file, directory, DIRECTORY_MODE)
}

/// Makes a key file of 32 random bytes, mode 0600. Keep it apart from the keystore that it unlocks.
///
/// # Errors
/// `AlreadyExists`, `Io`, `Entropy`.
pub fn create_key_file(path: &Path) -> Result<(), Error> {
    let key = Secret::<32>::draw().map_err(|_| Error::Entropy)?;
    if path.exists() {
        return Err(Error::AlreadyExists(path.to_path_buf()));
    }
    let mut file = create_private(path)?;
    file.write_all(key.expose()).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

fn create_private(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let file = file.map_err(Error::io("create", path))?;
    // The umask can only take bits away; this sets exactly the owner's.
    file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(Error::io("create", path))?;
    Ok(file)
}

fn check_mode(file: &File, path: &Path, wanted: u32) -> Result<(), Error> {
    let found = file.metadata().map_err(Error::io("read", path))?.permissions().mode() & 0o7777;
    if found & 0o077 != 0 {
        return Err(Error::OpenToOthers { path: path.to_path_buf(), found, wanted });
    }
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
