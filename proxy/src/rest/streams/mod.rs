//! Records to readers that stay: Server-Sent Events, lines of JSON, web sockets; and single reads that keep nothing.
//!
//! Arrives: a topic, positions, a caller. Leaves: records as they come, for as long as the caller is accepted. Readers of one principal
//! share one tail of a topic (`feed.rs`); one that is behind fetches for itself. What must never happen here: a record of one
//! principal's shown to another, a record left out without a word, memory for a reader that does not read.

pub mod batches;
mod feed;
mod positions;
mod query;
mod reader;
mod ask;
pub mod events;
mod group;
pub mod socket;
pub mod partition;

pub use feed::Feeds;
