//! What happens to a request on its way to the broker and to the response on its way back.
//!
//! Arrives: frames with their headers read. Leaves: [`Cleared`] requests, and responses that the client may
//! see. What must never happen here: a request that policy has not looked at becoming [`Cleared`]. The type
//! can be made in this module only, and the upstream side takes nothing else, so that plain records of a
//! sealed stream on the way to a broker are a type error.

pub mod refusal;
pub mod rewrite;
pub mod heavy;
pub mod seal;
pub mod open;
pub mod topic_ids;
pub mod partitions;
pub mod produce;
pub mod share;
pub mod fetch;

#[cfg(test)]
mod tests;

use crate::frame::{Call, Segments, Treatment, WireError};

/// A request on which policy has decided. Only the chain makes one.
#[derive(Debug)]
pub struct Cleared(Segments);

impl Cleared {
    /// A request of an API whose table row says *pass*: it carries no records.
    pub fn pass(call: Call, frame: bytes::Bytes) -> Result<Self, WireError> {
        let carries_records = [crate::frame::api::PRODUCE].contains(&call.api_key);
        match call.api() {
            Some(api) if api.treatment != Treatment::Refuse && !carries_records => Ok(Self(Segments::whole(frame))),
            _ => Err(WireError::UnknownVersion { api_key: call.api_key.0, version: call.version.0 }),
        }
    }

    /// A Fetch request: it carries no records, and what comes back is opened or refused there.
    pub(crate) fn fetch(frame: bytes::Bytes) -> Self {
        Self(Segments::whole(frame))
    }

    /// Bytes in all.
    #[expect(clippy::len_without_is_empty, reason = "a request is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes, for the upstream connection.
    pub fn into_segments(self) -> Segments {
        self.0
    }
}

/// Topics that one connection keeps decisions about; a client that uses more of them pays a look-up again.
const MOST_TOPICS: usize = 10_000;

/// All decisions about one request or response together: half of the time after which Kafka's clients give a request
/// up. What is not decided by then is refused with a code that clients retry, and goes on being prepared.
const DECISION_WAIT: std::time::Duration = std::time::Duration::from_secs(15);

/// See [`DECISION_WAIT`].
const NOT_IN_TIME: refusal::Reason = refusal::Reason::Unavailable("it could not be decided in time");
