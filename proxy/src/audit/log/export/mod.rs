//! Logs as one file, for an auditor: the files of a log's folder arrive, one signed file leaves, and the other way round.
//! It is a tar archive of known members in a known order, so that any tool unpacks it; what is in it is verified as a folder is.
//! Its form is written in `README.md` of the audit log. "Bundle" is what users call the file; here that word is for entries.

mod member;
mod manifest;
mod archive;
mod writer;

pub use self::archive::{Archive, Checked};
pub use self::manifest::{ExportedLog, MOST_LOGS, Manifest};
pub use self::member::WITNESSES;
pub use self::writer::{Export, write};
