//! Produce, versions 3 to 13: records on their way to the broker, and its acknowledgements.
//!
//! Arrives: a request, whose records the chain seals or refuses partition by partition; later the
//! broker's response. Leaves: the request with other records and without the refused partitions;
//! the response with the refused ones put back as errors, so that the client finds an answer for
//! each partition it sent. What must never happen here: a partition that is neither in the rebuilt
//! request nor in the refusals, or records whose length prefix is wrong.
//!
//! Source: message schemas of Kafka 4.2; KIP-467 (record errors, v8), KIP-951 (node endpoints,
//! v10), KIP-516 (ids, v13: understood, but not offered; see `frame/api.rs`).

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::node_endpoints::{self, AddressBook};
use super::records::RecordsField;
use super::topic::{TopicRef, TopicSpan};
use super::{CountField, RewriteError, count_field, keep};
use crate::frame::{Call, Cursor, Encoding, RequestHeader, ResponseHeader, Segments, Span, Splices, WireError};

/// A request: its parameters and where its records lie.
#[derive(Debug, Clone)]
pub struct ProduceRequest {
    /// Where the transactional id lies; `None` outside of transactions.
    pub transactional_id: Option<Span>,
    /// 0: no response follows. 1: the leader's word. -1: all in-sync replicas.
    pub acks: i16,
    /// How long the broker may wait for replicas, in milliseconds.
    pub timeout_ms: i32,
    /// Topics in the order of the message.
    pub topics: Vec<ProduceTopic>,
    /// Partitions of all topics in the order of the message.
    pub partitions: Vec<ProducePartition>,
    encoding: Encoding,
    topic_count: CountField,
}

/// A topic of a request.
#[derive(Debug, Clone, Copy)]
pub struct ProduceTopic {
    /// Its name, or from v13 on its id.
    pub name: TopicSpan,
    entry: Span,
    partition_count: CountField,
}

/// A partition of a request.
#[derive(Debug, Clone, Copy)]
pub struct ProducePartition {
    /// Index in [`ProduceRequest::topics`].
    pub topic: usize,
    /// Partition index.
    pub index: i32,
    /// Its records.
    pub records: RecordsField,
    entry: Span,
}

/// What becomes of a partition of a request.
#[derive(Debug, Clone)]
pub enum ProduceEdit {
    /// Taken out: the caller answers for it.
    Drop,
    /// Other records go to the broker.
    Replace(Bytes),
}

/// A response: what the broker said about each partition.
#[derive(Debug, Clone)]
pub struct ProduceResponse {
    /// Topics in the order of the message.
    pub topics: Vec<ProducedTopic>,
    /// Partitions of all topics in the order of the message.
    pub partitions: Vec<ProducedPartition>,
    call: Call,
    encoding: Encoding,
    topic_count: CountField,
    topics_end: usize,
    after_throttle: usize,
}

/// A topic of a response.
#[derive(Debug, Clone, Copy)]
pub struct ProducedTopic {
    /// Its name, or from v13 on its id.
    pub name: TopicSpan,
    partition_count: CountField,
    partitions_end: usize,
}

/// A partition of a response.
#[derive(Debug, Clone, Copy)]
pub struct ProducedPartition {
    /// Index in [`ProduceResponse::topics`].
    pub topic: usize,
    /// Partition index.
    pub index: i32,
    /// Kafka's error code, 0 for none.
    pub error_code: i16,
    /// Offset of the first record, -1 with an error.
    pub base_offset: i64,
}

/// A partition that the gateway refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The topic as the request named it.
    pub topic: TopicRef<'a>,
    /// Partition index.
    pub index: i32,
    /// Kafka's error code.
    pub error_code: i16,
    /// For the client's log; sent from v8 on.
    pub message: Option<&'a str>,
}

impl ProduceRequest {
    /// Walks the body of a request.
    pub fn walk(frame: &[u8], header: &RequestHeader<'_>) -> Result<Self, RewriteError> {
        let mut cursor = header.cursor(frame);
        let by_id = header.call.version.0 >= FIRST_BY_ID;
        let transactional_id = match cursor.nullable_string("transactional id")? {
            Some(id) => Some(Span::new(cursor.position() - id.len(), cursor.position())?),
            None => None,
        };
        let acks = cursor.i16("acks")?;
        let timeout_ms = cursor.i32("timeout")?;
        let topic_count = count_field(&mut cursor, "topics", 2)?;
        let mut request = Self {
            transactional_id,
            acks,
            timeout_ms,
            topics: Vec::new(),
            partitions: Vec::new(),
            encoding: header.encoding,
            topic_count,
        };
        for _ in 0..topic_count.value {
            request.walk_topic(&mut cursor, by_id)?;
        }
        cursor.skip_tags()?;
        cursor.finish("produce request")?;
        Ok(request)
    }

    fn walk_topic(&mut self, cursor: &mut Cursor<'_>, by_id: bool) -> Result<(), WireError> {
        let start = cursor.position();
        let name = TopicSpan::read(cursor, by_id)?;
        let partition_count = count_field(cursor, "partitions", SMALLEST_PARTITION)?;
        let topic = self.topics.len();
        for _ in 0..partition_count.value {
            let start = cursor.position();
            let index = cursor.i32("partition index")?;
            let records = RecordsField::read(cursor)?;
            cursor.skip_tags()?;
            let partition = ProducePartition { topic, index, records, entry: cursor.span_from(start)? };
            keep(&mut self.partitions, partition, "partitions")?;
        }
        cursor.skip_tags()?;
        keep(&mut self.topics, ProduceTopic { name, entry: cursor.span_from(start)?, partition_count }, "topics")
    }

    /// The topic of a partition of this request.
    pub fn topic<'f>(&self, frame: &'f [u8], partition: &ProducePartition) -> Result<TopicRef<'f>, RewriteError> {
        let missing = RewriteError::NoSuchEntry { entry: partition.topic, count: self.topics.len() };
        Ok(self.topics.get(partition.topic).ok_or(missing)?.name.resolve(frame)?)
    }

    /// Every partition of the request as refused with the same error: what [`error_response`]
    /// takes.
    pub fn refuse_all<'f>(
        &self,
        frame: &'f [u8],
        error_code: i16,
        message: Option<&'f str>,
    ) -> Result<Vec<Refused<'f>>, RewriteError> {
        let refuse = |partition: &ProducePartition| {
            Ok(Refused { topic: self.topic(frame, partition)?, index: partition.index, error_code, message })
        };
        self.partitions.iter().map(refuse).collect()
    }

    /// The request with its edits, each for an entry of [`ProduceRequest::partitions`]; an entry
    /// without an edit stays as it came. A topic of which every partition is dropped goes too.
    pub fn rebuild(
        &self,
        frame: Bytes,
        edits: impl IntoIterator<Item = (usize, ProduceEdit)>,
    ) -> Result<Segments, RewriteError> {
        let mut splices = Splices::new(frame);
        let mut kept: Vec<usize> = self.topics.iter().map(|topic| topic.partition_count.value).collect();
        let mut dropped = Vec::new();
        let mut edited = vec![false; self.partitions.len()];
        for (entry, edit) in edits {
            let missing = RewriteError::NoSuchEntry { entry, count: self.partitions.len() };
            let partition = self.partitions.get(entry).ok_or(missing)?;
            // A partition counted twice as dropped would take its topic with it, and other
            // partitions.
            match edited.get_mut(entry) {
                Some(first) if !*first => *first = true,
                _ => return Err(RewriteError::EditedTwice { entry }),
            }
            match edit {
                ProduceEdit::Replace(records) => partition.records.replace(&mut splices, self.encoding, records)?,
                ProduceEdit::Drop => {
                    dropped.push(partition);
                    if let Some(left) = kept.get_mut(partition.topic) {
                        *left = left.saturating_sub(1);
                    }
                }
            }
        }
        let emptied = |topic: usize| kept.get(topic) == Some(&0);
        for partition in dropped.iter().filter(|partition| !emptied(partition.topic)) {
            splices.remove(partition.entry);
        }
        let mut topics_left = self.topic_count.value;
        for (topic, left) in self.topics.iter().zip(&kept) {
            // A topic that came without partitions stays: nobody dropped it.
            if *left == 0 && topic.partition_count.value > 0 {
                splices.remove(topic.entry);
                topics_left -= 1;
            } else {
                topic.partition_count.patch(&mut splices, self.encoding, *left)?;
            }
        }
        self.topic_count.patch(&mut splices, self.encoding, topics_left)?;
        Ok(splices.finish()?)
    }
}

impl ProduceResponse {
    /// Walks the body of a response.
    pub fn walk(frame: &[u8], header: &ResponseHeader) -> Result<Self, RewriteError> {
        let mut cursor = header.cursor(frame);
        let topic_count = count_field(&mut cursor, "topics", 2)?;
        let mut response = Self {
            topics: Vec::new(),
            partitions: Vec::new(),
            call: header.call,
            encoding: header.encoding,
            topic_count,
            topics_end: 0,
            after_throttle: 0,
        };
        for _ in 0..topic_count.value {
            response.walk_topic(&mut cursor)?;
        }
        response.topics_end = cursor.position();
        cursor.i32("throttle time")?;
        response.after_throttle = cursor.position();
        cursor.skip_tags()?;
        cursor.finish("produce response")?;
        Ok(response)
    }

    fn walk_topic(&mut self, cursor: &mut Cursor<'_>) -> Result<(), WireError> {
        let version = self.call.version.0;
        let name = TopicSpan::read(cursor, version >= FIRST_BY_ID)?;
        let partition_count = count_field(cursor, "partitions", SMALLEST_PRODUCED)?;
        let topic = self.topics.len();
        for _ in 0..partition_count.value {
            let index = cursor.i32("partition index")?;
            let error_code = cursor.i16("error code")?;
            let base_offset = cursor.i64("base offset")?;
            cursor.i64("log append time")?;
            if version >= 5 {
                cursor.i64("log start offset")?;
            }
            if version >= FIRST_WITH_MESSAGES {
                for _ in 0..cursor.count("record errors", 5)? {
                    cursor.i32("batch index")?;
                    cursor.skip_string("record error message")?;
                    cursor.skip_tags()?;
                }
                cursor.skip_string("error message")?;
            }
            cursor.skip_tags()?;
            keep(&mut self.partitions, ProducedPartition { topic, index, error_code, base_offset }, "partitions")?;
        }
        let partitions_end = cursor.position();
        cursor.skip_tags()?;
        keep(&mut self.topics, ProducedTopic { name, partition_count, partitions_end }, "topics")
    }

    /// The topic of a partition of this response.
    pub fn topic<'f>(&self, frame: &'f [u8], partition: &ProducedPartition) -> Result<TopicRef<'f>, RewriteError> {
        let missing = RewriteError::NoSuchEntry { entry: partition.topic, count: self.topics.len() };
        Ok(self.topics.get(partition.topic).ok_or(missing)?.name.resolve(frame)?)
    }

    /// The response with the refused partitions put in, and with the addresses of new leaders
    /// rewritten.
    pub fn rebuild(
        &self,
        frame: Bytes,
        refused: &[Refused<'_>],
        book: &dyn AddressBook,
    ) -> Result<Segments, RewriteError> {
        let mut splices = Splices::new(frame.clone());
        let version = self.call.version.0;
        let mut new_topics = by_topic(refused);
        for topic in &self.topics {
            let Some(added) = new_topics.remove(&topic.name.resolve(&frame)?) else {
                continue;
            };
            let total = topic.partition_count.value + added.len();
            topic.partition_count.patch(&mut splices, self.encoding, total)?;
            let end = Span::new(topic.partitions_end, topic.partitions_end)?;
            splices.write(end, |out| put_partitions(out, self.encoding, version, &added))?;
        }
        let total = self.topic_count.value + new_topics.len();
        self.topic_count.patch(&mut splices, self.encoding, total)?;
        if !new_topics.is_empty() {
            let end = Span::new(self.topics_end, self.topics_end)?;
            splices.write(end, |out| put_topics(out, self.encoding, version, &new_topics))?;
        }
        let mut tags = Cursor::new(&frame, self.after_throttle, self.encoding);
        node_endpoints::rewrite_tagged(&mut tags, &mut splices, book)?;
        Ok(splices.finish()?)
    }
}

/// A whole response of the gateway's own: for a request of which nothing goes to the broker.
pub fn error_response(call: Call, refused: &[Refused<'_>]) -> Result<Bytes, RewriteError> {
    let encoding = call.encoding()?;
    let mut out = BytesMut::new();
    call.put_response_header(&mut out)?;
    let topics = by_topic(refused);
    encoding.put_length(&mut out, topics.len())?;
    put_topics(&mut out, encoding, call.version.0, &topics)?;
    out.put_i32(0); // throttle time
    encoding.put_no_tags(&mut out);
    Ok(out.freeze())
}

type RefusedByTopic<'r, 'a> = BTreeMap<TopicRef<'a>, Vec<&'r Refused<'a>>>;

fn by_topic<'r, 'a>(refused: &'r [Refused<'a>]) -> RefusedByTopic<'r, 'a> {
    let mut topics = RefusedByTopic::new();
    for partition in refused {
        topics.entry(partition.topic).or_default().push(partition);
    }
    topics
}

fn put_topics(
    out: &mut BytesMut,
    encoding: Encoding,
    version: i16,
    topics: &RefusedByTopic<'_, '_>,
) -> Result<(), WireError> {
    for (topic, partitions) in topics {
        topic.put(out, encoding)?;
        encoding.put_length(out, partitions.len())?;
        put_partitions(out, encoding, version, partitions)?;
        encoding.put_no_tags(out);
    }
    Ok(())
}

fn put_partitions(
    out: &mut BytesMut,
    encoding: Encoding,
    version: i16,
    partitions: &[&Refused<'_>],
) -> Result<(), WireError> {
    for partition in partitions {
        out.put_i32(partition.index);
        out.put_i16(partition.error_code);
        out.put_i64(-1); // base offset: none
        out.put_i64(-1); // log append time: none
        if version >= 5 {
            out.put_i64(-1); // log start offset: not known
        }
        if version >= FIRST_WITH_MESSAGES {
            encoding.put_length(out, 0)?; // record errors
            encoding.put_nullable_string(out, partition.message)?;
        }
        encoding.put_no_tags(out);
    }
    Ok(())
}

/// First version that names topics by id.
const FIRST_BY_ID: i16 = 13;
/// First version with error messages.
const FIRST_WITH_MESSAGES: i16 = 8;
/// Index and a length.
const SMALLEST_PARTITION: usize = 5;
/// Index, error code, base offset, log append time.
const SMALLEST_PRODUCED: usize = 22;
