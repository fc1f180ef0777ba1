//! A consumer in a group, for one socket: what it is given, what it has acknowledged.
//!
//! Arrives: a group's name; acknowledgements of the client. Leaves: records, commits, and what the group decides. What must never happen
//! here: a commit of a record that was not delivered to this client, since the group would then step over it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::rest::pool::Entry;
use crate::rest::record::Delivered;
use crate::rest::{Code, Error, refusal};

/// A member of a group.
pub struct Member {
    consumer: Option<Arc<StreamConsumer<Context>>>,
    tell: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
    topic: String,
    is_held: bool,
    /// What is to be committed once the commit that is under way is done: in order, so that none takes another back.
    waiting: BTreeMap<i32, i64>,
    is_committing: bool,
    // The password that the consumer connects by.
    _entry: Arc<Entry>,
}

/// What the group says.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// These partitions are this member's from now on.
    Assigned(Vec<i32>),
    /// These are not any more.
    Revoked(Vec<i32>),
    /// Committed: the offsets to go on from.
    Committed(Vec<(i32, i64)>),
    /// A commit that Kafka refused.
    NotCommitted(RDKafkaErrorCode),
}

/// Tells of the group; the library calls it while it is polled.
struct Context(mpsc::UnboundedSender<News>);

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.0.send(News::Revoked(numbers(partitions))).ok();
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            self.0.send(News::Assigned(numbers(partitions))).ok();
        }
    }
}

impl Member {
    /// Joins a group as the principal of `entry`. A group without commits begins at the first record, or at the end.
    ///
    /// # Errors
    /// `Internal` when the client library refuses.
    pub fn join(entry: Arc<Entry>, topic: &str, group: &str, from_beginning: bool) -> Result<Self, Error> {
        let mut config = entry.client_config();
        for (name, value) in [
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", if from_beginning { "earliest" } else { "latest" }),
            ("queued.min.messages", "500"),
            ("queued.max.messages.kbytes", "4096"),
            ("partition.assignment.strategy", "range,roundrobin"),
        ] {
            config.set(name, value);
        }
        let (tell, news) = mpsc::unbounded_channel();
        let refused = |error: KafkaError| Code::Internal.with(format!("no consumer: {error}"));
        let consumer: StreamConsumer<Context> = config.create_with_context(Context(tell.clone())).map_err(refused)?;
        consumer.subscribe(&[topic]).map_err(refused)?;
        Ok(Self {
            consumer: Some(Arc::new(consumer)),
            tell,
            news,
            topic: topic.to_owned(),
            is_held: false,
            waiting: BTreeMap::new(),
            is_committing: false,
            _entry: entry,
        })
    }

    /// Has Kafka keep its records for now, or not any more. The group is heard on: a member that is not polled would be put out.
    pub fn hold(&mut self, held: bool) {
        if self.is_held != held {
            self.is_held = held;
            self.pause_or_resume();
        }
    }

    fn pause_or_resume(&self) {
        let Some(consumer) = self.consumer.as_ref() else { return };
        let done = consumer.assignment().and_then(|partitions| match self.is_held {
            true => consumer.pause(&partitions),
            false => consumer.resume(&partitions),
        });
        if let Err(error) = done {
            tracing::debug!(event = "consumer_not_held", topic = self.topic, %error);
        }
    }

    /// What comes next. May be given up at any time.
    pub async fn next(&mut self) -> Result<Next<'_>, Error> {
        let Some(consumer) = self.consumer.as_ref() else { return Err(Code::Internal.with("the consumer is closed")) };
        let record = tokio::select! {
            biased;
            Some(news) = self.news.recv() => return Ok(Next::News(news)),
            record = consumer.recv() => record,
        };
        match record {
            Ok(record) => Ok(Next::Record(Box::new(record))),
            Err(KafkaError::MessageConsumption(code)) if is_final(code) => Err(told(code)),
            // The library tries again by itself.
            Err(_) => Ok(Next::Nothing),
        }
    }

    /// To be told of news before anything else is done.
    pub fn heard(&mut self, news: &News) {
        match news {
            News::Assigned(_) if self.is_held => self.pause_or_resume(),
            News::Assigned(_) => {}
            News::Revoked(partitions) => self.waiting.retain(|partition, _| !partitions.contains(partition)),
            News::Committed(_) | News::NotCommitted(_) => {
                self.is_committing = false;
                self.commit(&[]);
            }
        }
    }

    /// Commits: the offsets to go on from. The outcome is news.
    pub fn commit(&mut self, offsets: &[(i32, i64)]) {
        self.waiting.extend(offsets.iter().copied());
        let Some(consumer) = self.consumer.clone().filter(|_| !self.is_committing && !self.waiting.is_empty()) else {
            return;
        };
        self.is_committing = true;
        let offsets: Vec<(i32, i64)> = std::mem::take(&mut self.waiting).into_iter().collect();
        let list = list(&self.topic, &offsets);
        let tell = self.tell.clone();
        tokio::task::spawn_blocking(move || {
            let news = match consumer.commit(&list, CommitMode::Sync) {
                Ok(()) => News::Committed(offsets),
                Err(error) => News::NotCommitted(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
            };
            tell.send(news).ok();
        });
    }
}

fn list(topic: &str, offsets: &[(i32, i64)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).ok();
    }
    list
}

impl Drop for Member {
    /// Leaving a group waits for the coordinator: not on a thread that others need. What was acknowledged is committed before.
    fn drop(&mut self) {
        let waiting: Vec<(i32, i64)> = std::mem::take(&mut self.waiting).into_iter().collect();
        let list = list(&self.topic, &waiting);
        if let (Some(consumer), Ok(runtime)) = (self.consumer.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || {
                if !waiting.is_empty()
                    && let Err(error) = consumer.commit(&list, CommitMode::Sync)
                {
                    tracing::debug!(event = "last_commit_refused", %error);
                }
            });
        }
    }
}

/// What a member hears.
pub enum Next<'m> {
    /// A record.
    Record(Box<BorrowedMessage<'m>>),
    /// Of the group.
    News(News),
    /// Nothing to tell.
    Nothing,
}

/// Gives a record in the form that writers of answers take.
pub fn delivered<T>(record: &BorrowedMessage<'_>, take: impl FnOnce(&Delivered<'_>) -> T) -> T {
    let headers: Vec<(&str, Option<&[u8]>)> =
        record.headers().into_iter().flat_map(Headers::iter).map(|header| (header.key, header.value)).collect();
    take(&Delivered {
        topic: record.topic(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp: record.timestamp().to_millis(),
        key: record.key(),
        value: record.payload(),
        headers: &headers,
    })
}

/// What was given to the client and not acknowledged yet.
#[derive(Default)]
pub struct Unacknowledged(BTreeMap<i32, VecDeque<i64>>);

impl Unacknowledged {
    /// Notes what was given.
    pub fn give(&mut self, partition: i32, offset: i64) {
        self.0.entry(partition).or_default().push_back(offset);
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }

    /// Takes the acknowledgement of a record and of all before it in its partition; `None` for one that was not given, or is
    /// acknowledged already.
    pub fn acknowledge(&mut self, partition: i32, offset: i64) -> Option<(i32, i64)> {
        let given = self.0.get_mut(&partition)?;
        let at = given.iter().position(|one| *one == offset)?;
        given.drain(..=at);
        Some((partition, offset.saturating_add(1)))
    }

    /// Forgets partitions that are another member's now.
    pub fn revoke(&mut self, partitions: &[i32]) {
        self.0.retain(|partition, _| !partitions.contains(partition));
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    partitions.elements().iter().map(|element| element.partition()).collect()
}

/// What trying again does not help against.
fn is_final(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Kafka;
    matches!(
        code,
        Kafka::TopicAuthorizationFailed
            | Kafka::GroupAuthorizationFailed
            | Kafka::ClusterAuthorizationFailed
            | Kafka::InvalidRecord
            | Kafka::InvalidMessage
            | Kafka::UnknownTopicOrPartition
            | Kafka::UnknownTopic
            | Kafka::InvalidGroupId
            | Kafka::InconsistentGroupProtocol
            | Kafka::PollExceeded
            | Kafka::Fatal
    )
}

fn told(code: RDKafkaErrorCode) -> Error {
    use RDKafkaErrorCode as Kafka;
    match code {
        Kafka::TopicAuthorizationFailed => Code::Forbidden.with("not authorized to read this topic"),
        Kafka::GroupAuthorizationFailed => Code::Forbidden.with("not authorized for this group"),
        Kafka::InvalidRecord | Kafka::InvalidMessage => {
            Code::Kafka.with("a record was changed, moved or not sealed, and is not delivered")
        }
        Kafka::PollExceeded => {
            Code::IllegalState.with("acknowledgements were not sent for too long; the group went on without")
        }
        other => {
            let (code, message) = refusal::of_record(other);
            code.with(message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_acknowledged_and_once() {
        let mut given = Unacknowledged::default();
        for (partition, offset) in [(0, 5), (0, 6), (0, 9), (1, 6)] {
            given.give(partition, offset);
        }
        assert_eq!(given.acknowledge(0, 7), None);
        assert_eq!(given.acknowledge(2, 6), None);
        assert_eq!(given.acknowledge(0, 6), Some((0, 7)));
        assert_eq!(given.acknowledge(0, 5), None);
        assert_eq!(given.count(), 2);
        given.revoke(&[0]);
        assert_eq!((given.acknowledge(0, 9), given.count()), (None, 1));
    }
}
