//! One reader: where it stands, and what comes next.
//!
//! Arrives: a feed and positions. Leaves: pieces of partitions, one after another and in turn. What must never happen here: an offset
//! that is stepped over without a word.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::ask::{self, Trouble};
use super::feed::{Feed, Look};
use super::positions::Positions;
use crate::rest::Error;
use crate::rest::kafka::list_offsets::{EARLIEST, LATEST};

/// A reader of some partitions of a topic.
pub struct Reader {
    feed: Arc<Feed>,
    changes: watch::Receiver<()>,
    positions: Positions,
    turn: usize,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Records, of which those from the reader's position on count. Nothing has moved yet: [`Reader::moved`] says how far it came.
    Records(i32, Bytes),
    /// Offsets that are not there any more, from the first to before the second: retention or deletion took them.
    Gap(i32, i64, i64),
    /// Kafka, or the gateway, refuses this partition to the reader.
    Refused(i32, i16),
}

impl Reader {
    /// Stands at `positions`, whose partitions are there.
    pub fn new(feed: Arc<Feed>, positions: Positions) -> Self {
        let mut changes = feed.changes();
        changes.mark_unchanged();
        Self { feed, changes, positions, turn: 0 }
    }

    /// Where it stands.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.feed.topic
    }

    /// Says how far the reader came in a partition.
    pub fn moved(&mut self, partition: i32, next: i64) {
        self.positions.set(partition, next);
    }

    /// What is there at once, if anything: asked before an answer begins, so that a refusal can be its status.
    ///
    /// # Errors
    /// That Kafka does not answer.
    pub async fn at_once(&self) -> Result<Option<Step>, Error> {
        for (partition, next) in self.positions.all() {
            if let Some(step) = self.look(*partition, *next).await? {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    /// What comes next, whenever that is. May be given up at any time.
    pub async fn next(&mut self) -> Step {
        loop {
            let mut waits_for_kafka = false;
            for _ in 0..self.positions.all().len() {
                let count = self.positions.all().len();
                let Some((partition, next)) = self.positions.all().get(self.turn % count).copied() else { break };
                match self.look(partition, next).await {
                    Ok(Some(step)) => {
                        self.turn = self.turn.wrapping_add(1) % count;
                        return step;
                    }
                    Ok(None) => {}
                    Err(_) => waits_for_kafka = true,
                }
                self.turn = self.turn.wrapping_add(1) % count;
            }
            if waits_for_kafka {
                tokio::time::sleep(PAUSE).await;
            } else {
                // The feed is held by this reader: its sender is there.
                self.changes.changed().await.ok();
            }
        }
    }

    /// `None`: the reader has all that there is.
    async fn look(&self, partition: i32, next: i64) -> Result<Option<Step>, Error> {
        match self.feed.look(partition, next) {
            Look::AtEnd => Ok(None),
            Look::Kept(chunk) => Ok(Some(Step::Records(partition, chunk.records))),
            Look::Refused(code) => Ok(Some(Step::Refused(partition, code))),
            Look::Absent => Ok(Some(Step::Refused(partition, UNKNOWN_PARTITION))),
            Look::Behind(leader) => self.fetch(leader, partition, next).await,
        }
    }

    async fn fetch(&self, leader: i32, partition: i32, next: i64) -> Result<Option<Step>, Error> {
        let (entry, topic) = (&self.feed.entry, self.topic());
        let position = [(partition, next)];
        let fetched = ask::fetch(entry, topic, (leader, &position), (Duration::ZERO, MOST_AT_ONCE)).await?;
        let Some(fetched) = fetched.into_iter().find(|one| one.partition == partition) else {
            return Err(crate::rest::Code::KafkaRetriable.with("the broker says nothing of the partition"));
        };
        match Trouble::of(fetched.error_code) {
            None if fetched.records.is_empty() => {
                // All that was between here and the end is gone by compaction, or is the work of a transaction that is open.
                Err(crate::rest::Code::KafkaRetriable.with("there is nothing yet"))
            }
            None => Ok(Some(Step::Records(partition, fetched.records))),
            Some(Trouble::Refused(code)) => Ok(Some(Step::Refused(partition, code))),
            Some(Trouble::Passing) => Err(crate::rest::Code::KafkaRetriable.with("the partition has no leader now")),
            Some(Trouble::OutOfRange) => {
                let first = entry.kafka.offset(topic, (leader, partition), EARLIEST).await?;
                let end = entry.kafka.offset(topic, (leader, partition), LATEST).await?;
                Ok(match next {
                    _ if next < first => Some(Step::Gap(partition, next, first)),
                    _ if next > end => Some(Step::Gap(partition, next, end)),
                    _ => None,
                })
            }
        }
    }
}

/// What a reader that is behind fetches at once: it holds that much until it has read it.
const MOST_AT_ONCE: i32 = 256 << 10;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// Kafka's error code.
const UNKNOWN_PARTITION: i16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_says_is_sorted_by_what_is_to_be_done() {
        assert_eq!(Trouble::of(0), None);
        assert_eq!(Trouble::of(1), Some(Trouble::OutOfRange));
        assert_eq!(Trouble::of(6), Some(Trouble::Passing));
        assert_eq!(Trouble::of(56), Some(Trouble::Passing));
        assert_eq!(Trouble::of(29), Some(Trouble::Refused(29)));
        assert_eq!(Trouble::of(87), Some(Trouble::Refused(87)));
    }
}
