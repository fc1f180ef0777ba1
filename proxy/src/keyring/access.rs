//! What one client may do with one topic.
//!
//! Arrives: nothing; these are the answers of [`Keys`](super::Keys). They are taken once per connection and topic
//! and hold until the generation changes.

use std::sync::Arc;

use barnabas_crypto::{Session, StreamId};

use crate::chain::seal::ClientSealed;
use crate::config::{Compress, OnUnreadable};

/// What becomes of records that a client writes.
#[derive(Clone)]
pub enum WriteAccess {
    /// They go as they are: the policy says that the topic is not sealed.
    Pass,
    /// They are sealed with this session, which was announced in the client's name.
    Seal(Arc<Session>, Compress),
    /// The client seals them itself; they are checked.
    SealedByClient(Arc<dyn ClientSealed>),
}

/// What becomes of records that a client reads.
#[derive(Clone)]
pub enum ReadAccess {
    /// They go as they are.
    Pass,
    /// They are opened with the client's grants.
    Open {
        /// The stream that the topic is.
        stream: StreamId,
        /// What becomes of a record that cannot be opened.
        on_unreadable: OnUnreadable,
    },
    /// The client opens them itself: only sealed records pass.
    SealedForClient {
        /// The stream that the topic is.
        stream: StreamId,
        /// What becomes of a record that is not sealed.
        on_unreadable: OnUnreadable,
    },
}
