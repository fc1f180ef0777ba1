//! What is known of topics, for a few seconds: a post must not cost a question to Kafka.
//!
//! Arrives: a topic's name. Leaves: its number of partitions, or why it has none. What must never happen here: a memory that callers
//! can fill by inventing names.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::rest::Error;
use crate::rest::kafka::Kafka;
use crate::rest::kafka::metadata::Metadata;
use crate::rest::refusal;

/// Topics of one principal.
#[derive(Default)]
pub struct Topics {
    known: Mutex<HashMap<Box<str>, Known>>,
}

struct Known {
    answer: Result<i32, Error>,
    until: Instant,
}

impl Topics {
    /// How many partitions a topic has.
    pub async fn count(&self, topic: &str, kafka: &Kafka) -> Result<i32, Error> {
        let now = Instant::now();
        if let Some(known) = self.lock().get(topic).filter(|known| known.until > now) {
            return known.answer.clone();
        }
        let cluster = kafka.ask(&Metadata { topics: Some(&[topic]) }).await?;
        let answer = match cluster.topics.into_iter().find(|found| found.name == topic) {
            Some(found) if found.error_code == 0 => Ok(i32::try_from(found.partitions.len()).unwrap_or(i32::MAX)),
            Some(found) => Err(refusal::of_topic(found.error_code, topic)),
            None => Err(refusal::of_topic(UNKNOWN_TOPIC_OR_PARTITION, topic)),
        };
        let valid = if answer.is_ok() { KNOWN_FOR } else { ABSENT_FOR };
        let mut known = self.lock();
        if known.len() >= MOST_TOPICS {
            // Asking again costs a question each.
            known.clear();
        }
        known.insert(topic.into(), Known { answer: answer.clone(), until: now + valid });
        answer
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kafka's error code.
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// A topic that grows gets its new partitions soon.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// A topic that was just made is found soon.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// More than one caller writes to.
const MOST_TOPICS: usize = 10_000;
