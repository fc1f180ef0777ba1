//! What is on its way: one entry for each request whose answer is still to come, in order.
//!
//! Arrives: an entry from the request side, as the request is sent. Leaves: the entry to the response side, as
//! its answer is due. Kafka answers in order, so a bounded queue pairs them; when it is full no further
//! request is read. Answers that the gateway gives itself stand in the same queue, so that they too keep their
//! place.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::chain::fetch::FetchNote;
use crate::chain::produce::ProduceNote;
use crate::chain::rewrite::share_fetch::RefusedShare;
use crate::frame::Call;

/// One answer that is due.
pub enum Due {
    /// The broker's, to this call.
    Broker(Call, Note),
    /// The gateway's own.
    Own(Bytes),
    /// The broker's, to a request of the gateway's own; the client never sees it.
    Asked(Call, oneshot::Sender<Bytes>),
}

/// What must be known of a request when its answer comes.
pub enum Note {
    /// Nothing.
    Plain,
    /// Positions of a Fetch request.
    Fetch(FetchNote),
    /// Partitions of a Produce request that were refused, and those that were sealed.
    Produce(ProduceNote),
    /// Partitions of a share session that were refused.
    Share(Vec<RefusedShare>),
}

/// An entry, with the time at which the request was read.
pub struct Entry {
    /// What is due.
    pub due: Due,
    /// When the request had been read.
    pub since: Instant,
}

/// The two ends of the queue for at most `limit` answers.
pub fn queue(limit: usize) -> (mpsc::Sender<Entry>, mpsc::Receiver<Entry>) {
    mpsc::channel(limit.max(1))
}
