//! What of a topic is still there: the oldest record of each partition, asked of the brokers themselves.
//!
//! Arrives: a configuration and a topic. Leaves: times. Brokers delete whole segments, from the old end: when the oldest
//! record of every partition is younger than the last one of an epoch could be, the epoch's records are gone. What must
//! never happen here: "nothing is there" as the answer of a cluster that was not reached.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::cli::{Exit, Failure, serve};
use crate::config::{Cluster, Config};
use crate::keyring::{ANSWER_TIMEOUT, QuietContext, TopicError, client_config};

/// The oldest record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Oldest {
    /// Of which cluster.
    pub(super) cluster: String,
    /// Of which partition.
    pub(super) partition: i32,
    /// Where.
    pub(super) offset: i64,
    /// Its timestamp, milliseconds; -1 where it has none.
    pub(super) timestamp: i64,
}

/// The oldest record of each partition that has any, on every cluster of the configuration.
pub(super) fn oldest(config: &Config, topic: &str) -> Result<Vec<Oldest>, Failure> {
    let mut found = Vec::new();
    for cluster in &config.clusters {
        let of_cluster = of_cluster(cluster, topic).map_err(|error| {
            let line = format!(
                "cluster `{}` does not tell what `{topic}` still has: {error}; --force goes on without it",
                cluster.name
            );
            Failure::new(Exit::Unavailable, line)
        })?;
        found.extend(of_cluster);
    }
    Ok(found)
}

/// The first record, by offset, that may be older than `time`.
pub(super) fn older_than(records: &[Oldest], time_millis: u64) -> Option<&Oldest> {
    // A record without a time may be of any.
    records.iter().find(|record| u64::try_from(record.timestamp).map_or(true, |written| written < time_millis))
}

fn of_cluster(cluster: &Cluster, topic: &str) -> Result<Vec<Oldest>, String> {
    let text = |error: KafkaError| error.to_string();
    let consumer = consumer(cluster).map_err(|error| serve::failure(error.into()).lines.join("; "))?;
    let metadata = consumer.fetch_metadata(None, ANSWER_TIMEOUT).map_err(text)?;
    let Some(known) = metadata.topics().iter().find(|known| known.name() == topic) else { return Ok(Vec::new()) };
    let mut open: BTreeSet<i32> = known.partitions().iter().map(|partition| partition.id()).collect();
    let mut list = TopicPartitionList::new();
    for partition in &open {
        list.add_partition_offset(topic, *partition, Offset::Beginning).map_err(text)?;
    }
    consumer.assign(&list).map_err(text)?;
    let mut found = Vec::new();
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    while !open.is_empty() {
        if Instant::now() >= deadline {
            return Err(format!("partition {} did not answer within {ANSWER_TIMEOUT:?}", first(&open)));
        }
        match consumer.poll(POLL) {
            Some(Ok(message)) if open.remove(&message.partition()) => {
                let timestamp = message.timestamp().to_millis().unwrap_or(-1);
                let (partition, offset) = (message.partition(), message.offset());
                found.push(Oldest { cluster: cluster.name.clone(), partition, offset, timestamp });
                let mut done = TopicPartitionList::new();
                done.add_partition(topic, partition);
                consumer.pause(&done).map_err(text)?;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(KafkaError::MessageConsumption(code))) if Instant::now() < deadline => {
                // The library connects again by itself.
                tracing::debug!(event = "topic_not_read_yet", topic, %code);
                std::thread::sleep(POLL);
            }
            Some(Err(error)) => return Err(text(error)),
            Some(Ok(_)) | None => {}
        }
    }
    found.sort_by_key(|record| record.partition);
    Ok(found)
}

fn consumer(cluster: &Cluster) -> Result<BaseConsumer<QuietContext>, TopicError> {
    let mut config = client_config(cluster)?;
    // Assigned, never subscribed: no group is joined, but the library wants a name.
    config.set("group.id", "barnabas-epoch");
    config.set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true");
    config.set("auto.offset.reset", "earliest");
    config.set("allow.auto.create.topics", "false");
    // One record of each partition is wanted, not a mebibyte.
    config.set("fetch.message.max.bytes", "1");
    config.set("queued.min.messages", "1");
    let made = config.create_with_context(QuietContext);
    made.map_err(|error| TopicError::Kafka { topic: cluster.name.clone(), error })
}

fn first(open: &BTreeSet<i32>) -> i32 {
    open.first().copied().unwrap_or_default()
}

const POLL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_a_time_may_be_of_any() {
        let record = |timestamp| Oldest { cluster: "c".to_owned(), partition: 0, offset: 0, timestamp };
        assert_eq!(older_than(&[record(10), record(11)], 10), None);
        assert_eq!(older_than(&[record(10), record(9)], 10), Some(&record(9)));
        assert_eq!(older_than(&[record(-1)], 10), Some(&record(-1)));
        assert_eq!(older_than(&[], 10), None);
    }
}
