//! Records, as readers ask Kafka for them.
//!
//! Arrives: a principal's entry, a topic, positions. Leaves: what there is, with Kafka's errors sorted by what is to be done about them. What must
//! never happen here: a wait without an end.

use std::time::Duration;

use crate::rest::Error;
use crate::rest::kafka::fetch::{Fetch, Fetched};
use crate::rest::pool::Entry;

/// Records of partitions that one broker leads.
///
/// # Errors
/// That the broker does not answer.
pub async fn fetch(
    entry: &Entry,
    topic: &str,
    (leader, positions): (i32, &[(i32, i64)]),
    (wait, max_bytes): (Duration, i32),
) -> Result<Vec<Fetched>, Error> {
    Ok(entry.kafka.ask_node(leader, &Fetch { topic, positions, wait, max_bytes, committed_only: false }).await?)
}

/// What Kafka's error for a partition means to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The offset is not there: before the first, or behind the last.
    OutOfRange,
    /// Try again, and look who leads.
    Passing,
    /// The reader is refused.
    Refused(i16),
}

impl Trouble {
    /// Of an error code; `None` for 0.
    pub fn of(error_code: i16) -> Option<Self> {
        match error_code {
            0 => None,
            1 => Some(Self::OutOfRange),
            // UNKNOWN_TOPIC_OR_PARTITION while a topic is made, NOT_LEADER, keys that cannot be had now (56), and others of their kind.
            3 | 5..=9 | 13 | 56 | 74..=76 | 78 | 100 | 103 => Some(Self::Passing),
            other => Some(Self::Refused(other)),
        }
    }
}
