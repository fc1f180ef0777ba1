//! What readers ask of Kafka: who leads which partition, where partitions begin and end, records.
//!
//! Arrives: a principal's entry and a topic. Leaves: answers, with Kafka's errors sorted by what is to be done about them. What must
//! never happen here: a wait without an end.

use std::time::Duration;

use crate::rest::kafka::fetch::{Fetch, Fetched};
use crate::rest::kafka::list_offsets::ListOffsets;
use crate::rest::kafka::metadata::{Metadata, Topic};
use crate::rest::pool::Entry;
use crate::rest::{Error, refusal};

/// The partitions of a topic with their leaders.
///
/// # Errors
/// `TopicNotFound`, `Forbidden`, or that Kafka does not answer.
pub async fn topic(entry: &Entry, topic: &str) -> Result<Topic, Error> {
    let cluster = entry.kafka.ask(&Metadata { topics: Some(&[topic]) }).await?;
    match cluster.topics.into_iter().find(|found| found.name == topic) {
        Some(found) if found.error_code == 0 => Ok(found),
        Some(found) => Err(refusal::of_topic(found.error_code, topic)),
        None => Err(refusal::topic_not_found(topic)),
    }
}

/// An offset of one partition, by [`ListOffsets::timestamp`].
///
/// # Errors
/// Kafka's, or that it does not answer.
pub async fn offset(entry: &Entry, topic: &str, (leader, partition): (i32, i32), timestamp: i64) -> Result<i64, Error> {
    let question = ListOffsets { topic, partition, timestamp };
    match entry.kafka.ask_node(leader, &question).await? {
        (0, offset) => Ok(offset),
        (error_code, _) => Err(refusal::of_answer(error_code, &format!("partition {partition}"))),
    }
}

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
    Ok(entry.kafka.ask_node(leader, &Fetch { topic, positions, wait, max_bytes }).await?)
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
