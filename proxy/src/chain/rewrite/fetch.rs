//! Fetch, versions 4 to 18: a consumer's question, and the records on their way back.
//!
//! Arrives: a request, refused unless a consumer sent it; later the broker's response, whose
//! records the chain opens in place. Leaves: the response with records shortened, replaced or
//! withheld partition by partition, and with the addresses of new leaders rewritten. What must
//! never happen here: a partition with an error that still carries records, or a replica's fetch,
//! which would be answered with opened records and written to a log as they are.
//!
//! Source: message schemas of Kafka 4.2; KIP-227 (sessions, v7), KIP-392 (follower fetch, v11),
//! KIP-516 (ids, v13), KIP-903 (replica state, v15), KIP-951 (node endpoints, v16). From v13 on
//! understood, but not offered; see `frame/api.rs`.

use bytes::{BufMut, Bytes, BytesMut};

use super::node_endpoints::{self, AddressBook};
use super::records::RecordsField;
use super::topic::{TopicRef, TopicSpan};
use super::{RewriteError, keep};
use crate::frame::{Call, Cursor, Encoding, RequestHeader, ResponseHeader, Segments, Span, Splices, WireError};

/// A request of a consumer.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// How long the broker may wait for data, in milliseconds.
    pub max_wait_ms: i32,
    /// Bytes that the broker waits for.
    pub min_bytes: i32,
    /// Bytes that the response should not exceed.
    pub max_bytes: i32,
    /// 0: all records. 1: none of open or aborted transactions.
    pub isolation_level: i8,
    /// Fetch session, 0 for none (v7+).
    pub session_id: i32,
    /// Epoch in the session; -1 closes it or uses none (v7+).
    pub session_epoch: i32,
    /// Topics in the order of the message. In a session only those that changed.
    pub topics: Vec<TopicSpan>,
    /// Partitions of all topics in the order of the message.
    pub partitions: Vec<FetchPartition>,
    /// Topics taken out of the session, whole or in part (v7+).
    pub forgotten: Vec<TopicSpan>,
    /// Where the rack id lies (v11+).
    pub rack_id: Option<Span>,
}

/// A partition of a request.
#[derive(Debug, Clone, Copy)]
pub struct FetchPartition {
    /// Index in [`FetchRequest::topics`].
    pub topic: usize,
    /// Partition index.
    pub index: i32,
    /// First offset that is wanted.
    pub fetch_offset: i64,
    /// Bytes that this partition should not exceed.
    pub max_bytes: i32,
}

/// A response.
#[derive(Debug, Clone)]
pub struct FetchResponse {
    /// Error of the whole request (v7+).
    pub error_code: i16,
    /// Fetch session, 0 for none (v7+).
    pub session_id: i32,
    /// Topics in the order of the message.
    pub topics: Vec<TopicSpan>,
    /// Partitions of all topics in the order of the message.
    pub partitions: Vec<FetchedPartition>,
    encoding: Encoding,
    topics_end: usize,
}

/// A partition of a response.
#[derive(Debug, Clone, Copy)]
pub struct FetchedPartition {
    /// Index in [`FetchResponse::topics`].
    pub topic: usize,
    /// Partition index.
    pub index: i32,
    /// Kafka's error code, 0 for none.
    pub error_code: i16,
    /// Offset after the last record that all in-sync replicas have.
    pub high_watermark: i64,
    /// Offset before which no transaction is open.
    pub last_stable_offset: i64,
    /// First offset of the log (v5+), else -1.
    pub log_start_offset: i64,
    /// Its records.
    pub records: RecordsField,
    error_at: Span,
}

/// What becomes of a partition of a response.
#[derive(Debug, Clone)]
pub enum FetchEdit {
    /// No records, and this error code.
    Refuse(i16),
    /// Other records.
    Replace(Bytes),
    /// The first so many bytes of the same place: what opening in place leaves.
    Shrink(usize),
}

impl FetchRequest {
    /// Walks the body of a request; fails with [`RewriteError::NotConsumer`] if a replica sent it.
    pub fn walk(frame: &[u8], header: &RequestHeader<'_>) -> Result<Self, RewriteError> {
        let version = header.call.version.0;
        let mut cursor = header.cursor(frame);
        if version < FIRST_WITH_REPLICA_STATE {
            check_consumer(cursor.i32("replica id")?)?;
        }
        let mut request = Self {
            max_wait_ms: cursor.i32("max wait")?,
            min_bytes: cursor.i32("min bytes")?,
            max_bytes: cursor.i32("max bytes")?,
            isolation_level: cursor.i8("isolation level")?,
            session_id: if version >= FIRST_WITH_SESSIONS { cursor.i32("session id")? } else { 0 },
            session_epoch: if version >= FIRST_WITH_SESSIONS { cursor.i32("session epoch")? } else { -1 },
            topics: Vec::new(),
            partitions: Vec::new(),
            forgotten: Vec::new(),
            rack_id: None,
        };
        for _ in 0..cursor.count("topics", 2)? {
            request.walk_topic(&mut cursor, version)?;
        }
        if version >= FIRST_WITH_SESSIONS {
            for _ in 0..cursor.count("forgotten topics", 2)? {
                let topic = TopicSpan::read(&mut cursor, version >= FIRST_BY_ID)?;
                cursor.skip_array("forgotten partitions", size_of::<i32>())?;
                cursor.skip_tags()?;
                keep(&mut request.forgotten, topic, "forgotten topics")?;
            }
        }
        if version >= 11 {
            let rack = cursor.string("rack id")?;
            request.rack_id = Some(Span::new(cursor.position() - rack.len(), cursor.position())?);
        }
        cursor.tags(|tag, value| walk_request_tag(version, tag, value))?;
        cursor.finish("fetch request")?;
        Ok(request)
    }

    fn walk_topic(&mut self, cursor: &mut Cursor<'_>, version: i16) -> Result<(), WireError> {
        let name = TopicSpan::read(cursor, version >= FIRST_BY_ID)?;
        let topic = self.topics.len();
        for _ in 0..cursor.count("partitions", SMALLEST_PARTITION)? {
            let index = cursor.i32("partition index")?;
            if version >= 9 {
                cursor.i32("current leader epoch")?;
            }
            let fetch_offset = cursor.i64("fetch offset")?;
            if version >= 12 {
                cursor.i32("last fetched epoch")?;
            }
            if version >= 5 {
                cursor.i64("log start offset")?;
            }
            let max_bytes = cursor.i32("partition max bytes")?;
            cursor.tags(|tag, value| match tag {
                0 if version >= 17 => value.uuid("replica directory id").map(|_| true),
                1 if version >= 18 => value.i64("high watermark").map(|_| true),
                _ => Ok::<_, WireError>(false),
            })?;
            keep(&mut self.partitions, FetchPartition { topic, index, fetch_offset, max_bytes }, "partitions")?;
        }
        cursor.skip_tags()?;
        keep(&mut self.topics, name, "topics")
    }

    /// The topic of a partition of this request.
    pub fn topic<'f>(&self, frame: &'f [u8], partition: &FetchPartition) -> Result<TopicRef<'f>, RewriteError> {
        topic_at(&self.topics, frame, partition.topic)
    }

    /// A whole response of the gateway's own, that refuses the request: with an error for all from
    /// v7 on, with one for each partition before.
    pub fn error_response(&self, frame: &[u8], call: Call, error_code: i16) -> Result<Bytes, RewriteError> {
        let mut out = BytesMut::new();
        call.put_response_header(&mut out)?;
        let encoding = call.encoding()?;
        out.put_i32(0); // throttle time
        if call.version.0 >= FIRST_WITH_SESSIONS {
            out.put_i16(error_code);
            out.put_i32(0); // session id: none
            encoding.put_length(&mut out, 0)?;
            encoding.put_no_tags(&mut out);
            return Ok(out.freeze());
        }
        encoding.put_length(&mut out, self.topics.len())?;
        let mut partitions = self.partitions.iter().peekable();
        for (position, topic) in self.topics.iter().enumerate() {
            topic.resolve(frame)?.put(&mut out, encoding)?;
            let mut refused = Vec::new();
            while let Some(partition) = partitions.next_if(|partition| partition.topic == position) {
                refused.push(partition.index);
            }
            encoding.put_length(&mut out, refused.len())?;
            for index in refused {
                put_refused_partition(&mut out, call.version.0, index, error_code)?;
            }
        }
        Ok(out.freeze())
    }
}

impl FetchResponse {
    /// Walks the body of a response.
    pub fn walk(frame: &[u8], header: &ResponseHeader) -> Result<Self, RewriteError> {
        let version = header.call.version.0;
        let mut cursor = header.cursor(frame);
        cursor.i32("throttle time")?;
        let sessions = version >= FIRST_WITH_SESSIONS;
        let mut response = Self {
            error_code: if sessions { cursor.i16("error code")? } else { 0 },
            session_id: if sessions { cursor.i32("session id")? } else { 0 },
            topics: Vec::new(),
            partitions: Vec::new(),
            encoding: header.encoding,
            topics_end: 0,
        };
        for _ in 0..cursor.count("topics", 2)? {
            let name = TopicSpan::read(&mut cursor, version >= FIRST_BY_ID)?;
            for _ in 0..cursor.count("partitions", SMALLEST_FETCHED)? {
                let partition = FetchedPartition::walk(&mut cursor, version, response.topics.len())?;
                keep(&mut response.partitions, partition, "partitions")?;
            }
            cursor.skip_tags()?;
            keep(&mut response.topics, name, "topics")?;
        }
        response.topics_end = cursor.position();
        cursor.skip_tags()?;
        cursor.finish("fetch response")?;
        Ok(response)
    }

    /// The topic of a partition of this response.
    pub fn topic<'f>(&self, frame: &'f [u8], partition: &FetchedPartition) -> Result<TopicRef<'f>, RewriteError> {
        topic_at(&self.topics, frame, partition.topic)
    }

    /// The response with its edits, each for an entry of [`FetchResponse::partitions`]; an entry
    /// without an edit stays as it came. `frame` is the frame that was walked; the contents of its
    /// records may have changed since.
    pub fn rebuild(
        &self,
        frame: Bytes,
        edits: impl IntoIterator<Item = (usize, FetchEdit)>,
        book: &dyn AddressBook,
    ) -> Result<Segments, RewriteError> {
        let mut splices = Splices::new(frame.clone());
        for (entry, edit) in edits {
            let missing = RewriteError::NoSuchEntry { entry, count: self.partitions.len() };
            let partition = self.partitions.get(entry).ok_or(missing)?;
            match edit {
                FetchEdit::Refuse(error_code) => {
                    splices.write(partition.error_at, |out| {
                        out.put_i16(error_code);
                        Ok::<(), WireError>(())
                    })?;
                    partition.records.shrink(&mut splices, self.encoding, 0)?;
                }
                FetchEdit::Replace(records) => partition.records.replace(&mut splices, self.encoding, records)?,
                FetchEdit::Shrink(kept) => partition.records.shrink(&mut splices, self.encoding, kept)?,
            }
        }
        let mut tags = Cursor::new(&frame, self.topics_end, self.encoding);
        node_endpoints::rewrite_tagged(&mut tags, &mut splices, book)?;
        Ok(splices.finish()?)
    }
}

impl FetchedPartition {
    fn walk(cursor: &mut Cursor<'_>, version: i16, topic: usize) -> Result<Self, WireError> {
        let index = cursor.i32("partition index")?;
        let start = cursor.position();
        let error_code = cursor.i16("error code")?;
        let error_at = cursor.span_from(start)?;
        let high_watermark = cursor.i64("high watermark")?;
        let last_stable_offset = cursor.i64("last stable offset")?;
        let log_start_offset = if version >= 5 { cursor.i64("log start offset")? } else { -1 };
        for _ in 0..cursor.nullable_count("aborted transactions", 16)?.unwrap_or(0) {
            cursor.i64("producer id")?;
            cursor.i64("first offset")?;
            cursor.skip_tags()?;
        }
        if version >= 11 {
            cursor.i32("preferred read replica")?;
        }
        let records = RecordsField::read(cursor)?;
        cursor.skip_tags()?;
        Ok(Self { topic, index, error_code, high_watermark, last_stable_offset, log_start_offset, records, error_at })
    }
}

fn topic_at<'f>(topics: &[TopicSpan], frame: &'f [u8], entry: usize) -> Result<TopicRef<'f>, RewriteError> {
    let missing = RewriteError::NoSuchEntry { entry, count: topics.len() };
    Ok(topics.get(entry).ok_or(missing)?.resolve(frame)?)
}

fn walk_request_tag(version: i16, tag: u32, value: &mut Cursor<'_>) -> Result<bool, RewriteError> {
    match tag {
        0 => value.skip_string("cluster id")?,
        1 if version >= FIRST_WITH_REPLICA_STATE => {
            check_consumer(value.i32("replica id")?)?;
            value.i64("replica epoch")?;
            value.skip_tags()?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn check_consumer(replica_id: i32) -> Result<(), RewriteError> {
    match replica_id {
        CONSUMER => Ok(()),
        _ => Err(RewriteError::NotConsumer { replica_id }),
    }
}

/// A partition without records; versions 4 to 6 only, which are classic.
fn put_refused_partition(out: &mut BytesMut, version: i16, index: i32, error_code: i16) -> Result<(), WireError> {
    out.put_i32(index);
    out.put_i16(error_code);
    out.put_i64(-1); // high watermark: not known
    out.put_i64(-1); // last stable offset: not known
    if version >= 5 {
        out.put_i64(-1); // log start offset: not known
    }
    Encoding::Classic.put_null(out); // aborted transactions
    Encoding::Classic.put_length(out, 0) // records
}

/// The replica id of a consumer. Other negative ones are those of tools that read beyond the high
/// watermark.
const CONSUMER: i32 = -1;
/// First version with sessions, and with an error for the whole request.
const FIRST_WITH_SESSIONS: i16 = 7;
/// First version that names topics by id.
const FIRST_BY_ID: i16 = 13;
/// First version where the replica id is in a tagged field.
const FIRST_WITH_REPLICA_STATE: i16 = 15;
/// Index, fetch offset, max bytes.
const SMALLEST_PARTITION: usize = 16;
/// Index, error code, high watermark, last stable offset, two lengths.
const SMALLEST_FETCHED: usize = 24;
