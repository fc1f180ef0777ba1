//! Records to readers that stay: Server-Sent Events, lines of JSON, web sockets; and single reads that keep nothing.
//!
//! Arrives: a topic, positions, a caller. Leaves: records as they come, for as long as the caller is accepted. Readers of one principal
//! share one tail of a topic (`feed.rs`); one that is behind fetches for itself. What must never happen here: a record of one
//! principal's shown to another, a record left out without a word, memory for a reader that does not read.

mod batches;
mod feed;
mod positions;
mod query;
mod reader;
mod ask;
mod events;
mod group;
mod socket;
pub mod partition;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

pub use feed::Feeds;

use super::bridge::Bridge;
use super::routes::at;

/// Adds the routes of this part.
pub fn routes(router: Router<Arc<Bridge>>) -> Router<Arc<Bridge>> {
    let router = at(router, "/topics/{topic}/partitions/{partition}/records", get(partition::read));
    let router = at(router, "/v1/topics/{topic}/events", get(events::open));
    at(router, "/v1/topics/{topic}/socket", get(socket::open))
}
