//! Where entries of the audit log go besides its folder: each sink follows the log by itself, from where it has come to.
//!
//! Arrives: the log's folder. Leaves: every entry under a checkpoint, in order, at least once. The log itself is the queue: a
//! sink that is slow or away holds one bundle of entries in memory and its place on disk, and no other sink waits for it. What
//! must never happen here: a sink that the log, or a client, waits for; an entry that is passed over without an event.

mod follower;
mod stdout;
mod kafka;
mod cross;
mod syslog;
mod ocsf;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use follower::{Followed, Follower};
pub use kafka::KafkaSink;
pub use stdout::StdoutSink;
pub use syslog::SyslogSink;

use crate::config::SinkFormat;

/// An entry and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its bytes, those that are hashed.
    pub bytes: Vec<u8>,
}

/// Some entries in a row, and the checkpoint that they are under.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The log's name.
    pub origin: Arc<str>,
    /// The entries.
    pub entries: Vec<Entry>,
    /// The signed note of the checkpoint.
    pub checkpoint: String,
}

/// Somewhere else.
pub trait Sink: Send {
    /// Takes a piece; `Ok` when it has it. A piece that failed comes again, whole.
    fn deliver<'a>(&'a mut self, piece: &'a Piece) -> Delivery<'a>;

    /// Whether `deliver` knows that the other side has it. Of one that does not, pieces before the one that failed come again,
    /// too.
    fn is_acknowledged(&self) -> bool {
        true
    }

    /// Of one that knows no acknowledgements: nothing comes for now. `Ok` says whether the other side has certainly got all that was
    /// delivered; `Err` that some of it is lost.
    fn settle(&mut self) -> Settlement<'_> {
        Box::pin(async { Ok(true) })
    }

    /// Whether a sink that is new gets what is in the log already.
    fn wants_history(&self) -> bool {
        true
    }
}

/// A delivery under way; its error is for the operator.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// An answer to [`Sink::settle`].
pub type Settlement<'a> = Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>>;

impl Entry {
    /// What the sink writes.
    fn as_format(&self, format: SinkFormat, origin: &str) -> Vec<u8> {
        match format {
            SinkFormat::CloudEvents => self.bytes.clone(),
            SinkFormat::Ocsf => ocsf::translated(&self.bytes, self.index, origin),
        }
    }
}
