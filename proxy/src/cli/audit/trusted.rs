//! What an auditor remembers of a log from one verification to the next: its key and its last checkpoint, in one file.
//! The first verification believes the key that it finds unless one is given; from then on neither can be exchanged, and no
//! older log passes.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::failed;
use crate::audit::log::note::NoteKey;
use crate::audit::log::verify::{Report, Verification};
use crate::cli::{Exit, Failure};

/// The file.
pub(super) struct TrustedState {
    path: PathBuf,
    known: Option<(NoteKey, Vec<u8>)>,
}

impl TrustedState {
    /// Reads the file; one that is not there yet knows nothing.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), known: None });
            }
            Err(error) => return Err(Failure::new(Exit::Failed, format!("{}: {error}", path.display()))),
        };
        let parts = text.split_once("\n\n").and_then(|(key, note)| Some((key.parse().ok()?, note.as_bytes().to_vec())));
        let malformed = || format!("`{}` is not what an earlier verification has written", path.display());
        Ok(Self { path: path.to_owned(), known: Some(parts.ok_or_else(|| Failure::new(Exit::Data, malformed()))?) })
    }

    /// Adds what is remembered to what is asked.
    pub(super) fn apply(self, asked: &mut Verification) -> Result<Self, Failure> {
        if let Some((key, checkpoint)) = &self.known {
            let given = asked.key.get_or_insert_with(|| key.clone());
            if given != key {
                let text = format!("`{}` remembers the key `{key}`, and `{given}` was given", self.path.display());
                return Err(Failure::new(Exit::Failed, text));
            }
            asked.known.push(checkpoint.clone());
        }
        Ok(self)
    }

    /// Remembers what was verified.
    pub(super) fn write(&self, report: &Report) -> Result<(), Failure> {
        let refused =
            |error: std::io::Error| Failure::new(Exit::CannotCreate, format!("{}: {error}", self.path.display()));
        let key: NoteKey = report.key.parse().map_err(failed)?;
        let beside = self.path.with_added_extension("new");
        let mut file = fs::File::create(&beside).map_err(refused)?;
        write!(file, "{key}\n\n{}", report.checkpoint).and_then(|()| file.sync_all()).map_err(refused)?;
        fs::rename(&beside, &self.path).map_err(refused)
    }
}
