//! The file of credentials: names and stored passwords arrive from `barnabas credential`, what Basic is checked against leaves.
//!
//! One line for each name: the name, a space, RFC 5803's form (`scram.rs`), a space, when it was added. Only its owner may read the
//! file: a stolen one can be guessed at. It is replaced as a whole, by a rename, and read anew when it has changed; a file that
//! cannot be read, is open to others or has a broken line leaves in use what was, with an error in the log. A file that is
//! not there holds nobody.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::header::MAX_NAME_BYTES;
use super::scram::{ScramError, Stored, Stretching};

/// All credentials of a file, by name.
#[derive(Clone, Default)]
pub struct CredentialSet(BTreeMap<String, Credential>);

/// One of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its password.
    pub stored: Stored,
    /// When it was added, RFC 3339.
    pub added: String,
}

impl CredentialSet {
    /// Reads a file. One that is not there is an empty set.
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed("read", path)(error)),
        };
        // On the open file, so that nobody swaps it in between.
        let mode = file.metadata().map_err(failed("read", path))?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(CredentialError::OpenToOthers { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed("read", path))?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(CredentialError::TooLong(path.to_owned()));
        }
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, CredentialError> {
        let mut set = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let broken = |why: String| CredentialError::Line { path: path.to_owned(), line: index + 1, why };
            let (name, credential) = parse_line(line).map_err(broken)?;
            if set.insert(name.to_owned(), credential).is_some() {
                return Err(broken(format!("the name `{name}` stands twice")));
            }
        }
        Ok(Self(set))
    }

    /// The credential of a name.
    pub fn find(&self, name: &str) -> Option<&Credential> {
        self.0.get(name)
    }

    /// Some credential, always the same one for the same draw: what a name that is not there is checked against, so that it
    /// costs what a name costs that is.
    pub fn decoy(&self, draw: u64) -> Option<&Credential> {
        let count = u64::try_from(self.0.len()).ok().filter(|count| *count > 0)?;
        self.0.values().nth(usize::try_from(draw % count).ok()?)
    }

    /// Everything, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Credential)> {
        self.0.iter().map(|(name, credential)| (name.as_str(), credential))
    }

    /// Adds a name, or replaces it.
    pub fn put(&mut self, name: CredentialName, credential: Credential) {
        self.0.insert(name.0, credential);
    }

    /// Takes a name out; false when it was not there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }
}

/// Changes a file: whoever else changes it waits. `change` gets what it holds, and what it makes of it is written, unless it fails.
pub fn change<T, E: From<CredentialError>>(
    path: &Path,
    change: impl FnOnce(&mut CredentialSet) -> Result<T, E>,
) -> Result<T, E> {
    let _lock = lock(path)?;
    let mut set = CredentialSet::read(path)?;
    let made = change(&mut set)?;
    let mut text = String::from(HEADING);
    for (name, Credential { stored, added }) in &set.0 {
        text.push_str(&format!("{name} {stored} {added}\n"));
    }
    replace(path, text.as_bytes())?;
    Ok(made)
}

/// A name that can stand in the file, in a header and in an ACL: 1 to 256 visible ASCII characters without `:` and `#`.
/// Beyond ASCII, clients disagree on how a name is sent (RFC 7617, section 2.1), and two of them would be two principals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialName(String);

impl CredentialName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, ':' | '#');
        if !(1..=MAX_NAME_BYTES).contains(&text.len()) || !text.chars().all(plain) {
            return Err(CredentialError::Name);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The credentials of a file as they are now.
pub struct CredentialStore {
    path: PathBuf,
    current: Mutex<Arc<CredentialSet>>,
    marks: Mutex<Option<Marks>>,
}

impl CredentialStore {
    /// Reads the file for the first time. A broken one is logged and holds nobody: the gateway's other clients are not to suffer.
    pub fn new(path: PathBuf) -> Self {
        let store = Self { path, current: Mutex::default(), marks: Mutex::new(None) };
        store.refresh();
        store
    }

    /// What is in force.
    pub fn current(&self) -> Arc<CredentialSet> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file when it has changed. True when other credentials are in force than before. Blocks on the file.
    pub fn refresh(&self) -> bool {
        let mut known = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        // Before reading: what is written meanwhile is another change.
        let found = marks(&self.path);
        if *known == found {
            return false;
        }
        *known = found;
        match CredentialSet::read(&self.path) {
            Ok(set) => {
                tracing::info!(event = "credentials_reloaded", file = %self.path.display(), names = set.0.len());
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
                true
            }
            Err(error) => {
                tracing::error!(event = "credentials_refused", %error);
                false
            }
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is not one.
    #[error("{} line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong; never the line.
        why: String,
    },
    /// A name that cannot be.
    #[error("a name has 1 to {MAX_NAME_BYTES} visible ASCII characters without `:` and `#`")]
    Name,
    /// Others can read it.
    #[error("{} has mode {mode:04o}, others have access: run chmod 0600 {}", path.display(), path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The password cannot be stored.
    #[error(transparent)]
    Scram(#[from] ScramError),
    /// Over the bound.
    #[error("{} has more than {MAX_FILE_BYTES} bytes", .0.display())]
    TooLong(PathBuf),
}

/// What a name that nobody has is checked against when there is no name at all.
pub(super) fn usual_costs() -> Stretching {
    Stretching::FOR_GENERATED
}

fn parse_line(line: &str) -> Result<(&str, Credential), String> {
    let mut parts = line.split(' ');
    let (Some(name), Some(stored), Some(added), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("it does not have the form NAME PASSWORD ADDED".to_owned());
    };
    CredentialName::parse(name).map_err(|error| error.to_string())?;
    let stored = stored.parse::<Stored>().map_err(|error| error.to_string())?;
    added.parse::<jiff::Timestamp>().map_err(|_| "its last part is not a time (RFC 3339)".to_owned())?;
    Ok((name, Credential { stored, added: added.to_owned() }))
}

/// When the file was last written, its length, its mode, and which file it is: one that is renamed into place is another.
type Marks = (Option<SystemTime>, u64, u64, u32);

fn marks(path: &Path) -> Option<Marks> {
    let found = fs::metadata(path).ok()?;
    Some((found.modified().ok(), found.len(), found.ino(), found.mode()))
}

fn lock(path: &Path) -> Result<File, CredentialError> {
    let path = beside(path, ".lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = opened.map_err(failed("open", &path))?;
    file.lock().map_err(failed("lock", &path))?;
    Ok(file)
}

/// A new file beside the old one, flushed, renamed over it, and the folder flushed: a crash leaves the one or the other.
fn replace(path: &Path, content: &[u8]) -> Result<(), CredentialError> {
    let fresh = beside(path, ".new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &fresh)(error)),
        // Whoever writes holds the lock: what is left of a crash is ours to remove.
        _ => {}
    }
    let created = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&fresh);
    let mut file = created.map_err(failed("create", &fresh))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed("write", &fresh))?;
    fs::rename(&fresh, path).map_err(failed("replace", path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush", folder))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CredentialError {
    let path = path.to_owned();
    move |source| CredentialError::Io { action, path, source }
}

const HEADING: &str = "# Who may use the HTTP bridge with a password. Written by `barnabas credential`.\n";
const FILE_MODE: u32 = 0o600;
/// Tens of thousands of names.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn add(path: &Path, name: &str, password: &str) {
        let stored = Stored::new(password, Stretching::FOR_GENERATED).unwrap();
        let credential = Credential { stored, added: "2026-01-02T03:04:05Z".to_owned() };
        change::<_, CredentialError>(path, |set| {
            set.put(CredentialName::parse(name).unwrap(), credential);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_is_added_is_found_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let store = CredentialStore::new(path.clone());
        assert!(store.current().find("alice").is_none() && !store.refresh());
        add(&path, "alice", "open sesame");
        add(&path, "bob", "b");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(store.refresh() && !store.refresh());
        let set = store.current();
        assert!(set.find("alice").unwrap().stored.is_made_of("open sesame"));
        assert!(!set.find("bob").unwrap().stored.is_made_of("open sesame"));
        assert!(!fs::read_to_string(&path).unwrap().contains("sesame"));
        let removed = change::<_, CredentialError>(&path, |set| Ok(set.remove("alice"))).unwrap();
        assert!(removed && store.refresh());
        assert!(store.current().find("alice").is_none() && store.current().find("bob").is_some());
        fs::remove_file(&path).unwrap();
        assert!(store.refresh() && store.current().iter().next().is_none());
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_broken_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        add(&path, "alice", "a");
        let store = CredentialStore::new(path.clone());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(!store.refresh() && store.current().find("alice").is_some());
        let error = CredentialSet::read(&path).err().unwrap().to_string();
        assert!(error.contains("0640") && error.contains("chmod"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for broken in ["alice", "alice x 2026-01-02T03:04:05Z", &whole.repeat(2), &whole.replace("2026", "later")] {
            fs::write(&path, broken).unwrap();
            let error = CredentialSet::read(&path).err().unwrap().to_string();
            assert!(error.contains("line "), "{error}");
            assert!(!error.contains("SCRAM-SHA-256$4096"), "{error}");
        }
        store.refresh();
        assert!(store.current().find("alice").is_some());
    }

    #[test]
    fn an_unknown_name_has_a_decoy_that_does_not_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        assert!(CredentialSet::default().decoy(7).is_none());
        add(&path, "alice", "a");
        add(&path, "bob", "b");
        let set = CredentialSet::read(&path).unwrap();
        assert!(set.decoy(4) == set.find("alice") && set.decoy(5) == set.find("bob"));
    }

    #[test]
    fn names_that_headers_or_lines_could_not_carry_are_refused() {
        for name in ["", "a b", "a:b", "#a", "\u{fc}", "a\n", &"a".repeat(257)] {
            assert!(CredentialName::parse(name).is_err(), "{name:?}");
        }
        assert_eq!(CredentialName::parse("CN=alice,O=Example").unwrap().as_str(), "CN=alice,O=Example");
    }
}
