//! Kafka's messages, walked and rewritten: one file per API.
//!
//! Arrives: a frame with its header read. Leaves: what the chain asks for (topics, partitions,
//! where the records lie) and, after its edits, the message as
//! [`Segments`](crate::frame::Segments). What must never happen here: an address that the book does
//! not map, or records that the chain did not decide about, going through.
//!
//! Structures are flat (all partitions of a message in one list) and hold positions, not
//! references: a frame may be changed in place between the walk and the rebuild, as opening does. A
//! position is valid only for the frame that was walked.

use crate::frame::{Cursor, Encoding, Span, WireError};

pub mod api_versions;
pub mod metadata;
pub mod topology;
pub mod find_coordinator;
pub mod describe_cluster;
pub mod produce;
pub mod fetch;
pub mod share_fetch;
pub mod share_acknowledge;
pub mod refusal;
pub mod ids;

mod topic;
mod records;
mod node_endpoints;

#[cfg(test)]
mod tests;

pub use node_endpoints::AddressBook;
pub use records::RecordsField;
pub use topic::{TopicKey, TopicRef, TopicSpan};

/// Why a message cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The bytes are not the message they should be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A broker whose address has no mapping: passing it would show a way round the gateway.
    #[error("broker {node_id} at {host}:{port} has no advertised address")]
    NoAddress {
        /// Broker id.
        node_id: i32,
        /// Host as the broker advertises it.
        host: String,
        /// Port as the broker advertises it.
        port: i32,
    },
    /// A fetch that does not come from a consumer: a replica's fetch is not opened, and not served.
    #[error("fetch of replica {replica_id} refused: only consumers are served")]
    NotConsumer {
        /// The replica id in the request.
        replica_id: i32,
    },
    /// An edit that names a partition which the message does not have: a mistake of ours.
    #[error("edit of partition entry {entry}, the message has {count}")]
    NoSuchEntry {
        /// Entry that was named.
        entry: usize,
        /// Entries of the message.
        count: usize,
    },
    /// Two edits for one partition: a mistake of ours.
    #[error("partition entry {entry} is edited twice")]
    EditedTwice {
        /// Entry that was named.
        entry: usize,
    },
    /// Records shortened to more bytes than they have: a mistake of ours.
    #[error("records kept to {kept} bytes, there are {length}")]
    BadShrink {
        /// Bytes to keep.
        kept: usize,
        /// Bytes there are.
        length: usize,
    },
}

/// Most topics or partitions kept for one message. A broker hosts some thousands; the bound keeps
/// what a message of the permitted frame size can make us hold to a few MiB.
pub const MAX_ENTRIES: usize = 65_536;

/// Adds an element unless the message has too many of them.
fn keep<T>(list: &mut Vec<T>, element: T, field: &'static str) -> Result<(), WireError> {
    if list.len() >= MAX_ENTRIES {
        return Err(WireError::TooMany { field, limit: MAX_ENTRIES });
    }
    list.push(element);
    Ok(())
}

/// Reads an array count that must not be null, and remembers where it lies so that it can be
/// replaced.
fn count_field(cursor: &mut Cursor<'_>, field: &'static str, smallest: usize) -> Result<CountField, WireError> {
    let start = cursor.position();
    let value = cursor.count(field, smallest)?;
    Ok(CountField { value, span: cursor.span_from(start)? })
}

/// An array count and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CountField {
    value: usize,
    span: Span,
}

impl CountField {
    /// Replaces the count, unless it stays what it is.
    fn patch(self, splices: &mut crate::frame::Splices, encoding: Encoding, value: usize) -> Result<(), WireError> {
        if value != self.value {
            splices.write(self.span, |out| encoding.put_length(out, value))?;
        }
        Ok(())
    }
}
