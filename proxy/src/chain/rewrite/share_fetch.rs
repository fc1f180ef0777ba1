//! ShareFetch, versions 1 and 2: records of a share group (KIP-932).
//!
//! Arrives: a request, with acknowledgements of earlier records; later the broker's response, whose
//! records the chain opens in place. Leaves: the request without the topics that were refused; the
//! response with these put in, with records shortened, replaced or withheld and with addresses
//! rewritten. What must never happen here: a partition without records
//! that still says they were acquired: a consumer answers for acquired offsets that it does not
//! find with "gap", and the broker then never delivers them again.

use bytes::{BufMut, Bytes, BytesMut};

use super::fetch::FetchEdit;
use super::node_endpoints::{self, AddressBook};
use super::records::RecordsField;
use super::{CountField, RewriteError, count_field, keep};
use crate::frame::{Call, Cursor, Encoding, RequestHeader, ResponseHeader, Segments, Span, Splices, WireError};

/// A request of a share consumer. Topics are named by id.
#[derive(Debug, Clone)]
pub struct ShareFetchRequest {
    /// Where the group id and the member id lie: together they name the share session.
    pub member: Span,
    /// Epoch of the share session: 0 opens it, -1 closes it.
    pub session_epoch: i32,
    /// Topics of partitions added to the session or acknowledged, in the order of the message.
    pub topics: Vec<ShareTopic>,
    /// Partitions of all topics, in the order of the message.
    pub partitions: Vec<SharePartition>,
    /// Partitions taken out of the session.
    pub forgotten: Vec<([u8; 16], i32)>,
    encoding: Encoding,
    topic_count: CountField,
}

/// A topic of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareTopic {
    /// Topic id.
    pub id: [u8; 16],
    /// All of it, partitions included.
    pub entry: Span,
}

/// A partition of which nothing was asked of the broker, and what the client hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedShare {
    /// Topic id.
    pub topic: [u8; 16],
    /// Partition index.
    pub index: i32,
    /// Kafka's error code.
    pub error_code: i16,
}

/// A partition of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharePartition {
    /// Topic id.
    pub topic: [u8; 16],
    /// Partition index.
    pub index: i32,
    /// How many ranges of offsets are acknowledged.
    pub acknowledgements: usize,
}

/// A response.
#[derive(Debug, Clone)]
pub struct ShareFetchResponse {
    /// Error of the whole request.
    pub error_code: i16,
    /// Partitions of all topics, in the order of the message.
    pub partitions: Vec<ShareFetchedPartition>,
    encoding: Encoding,
    topic_count: CountField,
    topics_end: usize,
}

/// A partition of a response.
#[derive(Debug, Clone, Copy)]
pub struct ShareFetchedPartition {
    /// Topic id.
    pub topic: [u8; 16],
    /// Partition index.
    pub index: i32,
    /// Kafka's error code for the fetch, 0 for none.
    pub error_code: i16,
    /// Its records.
    pub records: RecordsField,
    error_at: Span,
    acquired: Span,
}

impl ShareFetchRequest {
    /// Walks the body of a request.
    pub fn walk(frame: &[u8], header: &RequestHeader<'_>) -> Result<Self, RewriteError> {
        let mut cursor = header.cursor(frame);
        let start = cursor.position();
        cursor.skip_string("group id")?;
        cursor.skip_string("member id")?;
        let member = cursor.span_from(start)?;
        let session_epoch = cursor.i32("share session epoch")?;
        for field in ["max wait", "min bytes", "max bytes", "max records", "batch size"] {
            cursor.i32(field)?;
        }
        if header.call.version.0 >= 2 {
            cursor.i8("share acquire mode")?;
            cursor.bool("is renew ack")?;
        }
        let (mut topics, mut partitions) = (Vec::new(), Vec::new());
        let topic_count = walk_acknowledged_topics(&mut cursor, &mut topics, &mut partitions)?;
        let mut forgotten = Vec::new();
        for _ in 0..cursor.count("forgotten topics", SMALLEST_TOPIC)? {
            let topic = cursor.uuid("topic id")?;
            for _ in 0..cursor.count("forgotten partitions", size_of::<i32>())? {
                keep(&mut forgotten, (topic, cursor.i32("forgotten partition")?), "forgotten partitions")?;
            }
            cursor.skip_tags()?;
        }
        cursor.skip_tags()?;
        cursor.finish("share fetch request")?;
        let encoding = header.call.encoding()?;
        Ok(Self { member, session_epoch, topics, partitions, forgotten, encoding, topic_count })
    }

    /// The request without the topics that `is_refused`: the broker takes no record of them from the group.
    /// `frame` is the frame that was walked.
    pub fn rebuild(&self, frame: Bytes, is_refused: impl Fn(&[u8; 16]) -> bool) -> Result<Segments, RewriteError> {
        let mut splices = Splices::new(frame);
        let refused: Vec<&ShareTopic> = self.topics.iter().filter(|topic| is_refused(&topic.id)).collect();
        for topic in &refused {
            splices.remove(topic.entry);
        }
        self.topic_count.patch(&mut splices, self.encoding, self.topics.len() - refused.len())?;
        Ok(splices.finish()?)
    }
}

impl ShareFetchResponse {
    /// Walks the body of a response.
    pub fn walk(frame: &[u8], header: &ResponseHeader) -> Result<Self, RewriteError> {
        let mut cursor = header.cursor(frame);
        cursor.i32("throttle time")?;
        let error_code = cursor.i16("error code")?;
        cursor.skip_string("error message")?;
        cursor.i32("acquisition lock timeout")?;
        let mut partitions = Vec::new();
        let topic_count = count_field(&mut cursor, "topics", SMALLEST_TOPIC)?;
        for _ in 0..topic_count.value {
            let topic = cursor.uuid("topic id")?;
            for _ in 0..cursor.count("partitions", SMALLEST_FETCHED)? {
                keep(&mut partitions, ShareFetchedPartition::walk(&mut cursor, topic)?, "partitions")?;
            }
            cursor.skip_tags()?;
        }
        let topics_end = cursor.position();
        node_endpoints::skip_list(&mut cursor)?;
        cursor.skip_tags()?;
        cursor.finish("share fetch response")?;
        Ok(Self { error_code, partitions, encoding: header.encoding, topic_count, topics_end })
    }

    /// The response with its edits, each for an entry of [`ShareFetchResponse::partitions`], and with the partitions
    /// that were refused before the broker was asked; those of one topic stand together.
    /// `frame` is the frame that was walked; the contents of its records may have changed since.
    ///
    /// [`FetchEdit::Shrink`] is for records that became smaller. To withhold a record, refuse the
    /// partition: the records stay acquired at the broker until their lock expires, and are
    /// delivered again.
    pub fn rebuild(
        &self,
        frame: Bytes,
        edits: impl IntoIterator<Item = (usize, FetchEdit)>,
        refused: &[RefusedShare],
        book: &dyn AddressBook,
    ) -> Result<Segments, RewriteError> {
        let mut splices = Splices::new(frame.clone());
        let topics: Vec<&[RefusedShare]> = refused.chunk_by(|a, b| a.topic == b.topic).collect();
        self.topic_count.patch(&mut splices, self.encoding, self.topic_count.value + topics.len())?;
        if !topics.is_empty() {
            let end = Span::new(self.topics_end, self.topics_end)?;
            splices.write(end, |out| topics.iter().try_for_each(|topic| put_refused(out, self.encoding, topic)))?;
        }
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
                    splices.write(partition.acquired, |out| self.encoding.put_length(out, 0))?;
                }
                FetchEdit::Replace(records) => partition.records.replace(&mut splices, self.encoding, records)?,
                FetchEdit::Shrink(kept) => partition.records.shrink(&mut splices, self.encoding, kept)?,
            }
        }
        let mut cursor = Cursor::new(&frame, self.topics_end, self.encoding);
        node_endpoints::rewrite_list(&mut cursor, &mut splices, book)?;
        Ok(splices.finish()?)
    }
}

impl ShareFetchedPartition {
    fn walk(cursor: &mut Cursor<'_>, topic: [u8; 16]) -> Result<Self, WireError> {
        let index = cursor.i32("partition index")?;
        let start = cursor.position();
        let error_code = cursor.i16("error code")?;
        let error_at = cursor.span_from(start)?;
        cursor.skip_string("error message")?;
        cursor.i16("acknowledge error code")?;
        cursor.skip_string("acknowledge error message")?;
        walk_leader(cursor)?;
        let records = RecordsField::read(cursor)?;
        let start = cursor.position();
        for _ in 0..cursor.count("acquired records", SMALLEST_ACQUIRED)? {
            cursor.i64("first offset")?;
            cursor.i64("last offset")?;
            cursor.i16("delivery count")?;
            cursor.skip_tags()?;
        }
        let acquired = cursor.span_from(start)?;
        cursor.skip_tags()?;
        Ok(Self { topic, index, error_code, records, error_at, acquired })
    }
}

/// One topic of a response, with an error in the place of records.
fn put_refused(out: &mut BytesMut, encoding: Encoding, partitions: &[RefusedShare]) -> Result<(), WireError> {
    let Some(first) = partitions.first() else { return Ok(()) };
    out.put_slice(&first.topic);
    encoding.put_length(out, partitions.len())?;
    for partition in partitions {
        out.put_i32(partition.index);
        out.put_i16(partition.error_code);
        encoding.put_nullable_string(out, None)?;
        out.put_i16(0); // acknowledge error
        encoding.put_nullable_string(out, None)?;
        out.put_i32(-1); // leader: not said
        out.put_i32(-1);
        encoding.put_no_tags(out);
        encoding.put_length(out, 0)?; // records: none; null is no value of Kafka 4.2's client
        encoding.put_length(out, 0)?; // acquired records
        encoding.put_no_tags(out);
    }
    encoding.put_no_tags(out);
    Ok(())
}

/// A response of the gateway's own that refuses the whole request; ShareAcknowledge v1 lacks the
/// lock timeout that `with_lock_timeout` stands for.
pub(super) fn put_refusal(
    call: Call,
    error_code: i16,
    message: Option<&str>,
    with_lock_timeout: bool,
) -> Result<Bytes, RewriteError> {
    let encoding = call.encoding()?;
    let mut out = BytesMut::new();
    call.put_response_header(&mut out)?;
    out.put_i32(0); // throttle time
    out.put_i16(error_code);
    encoding.put_nullable_string(&mut out, message)?;
    if with_lock_timeout {
        out.put_i32(0);
    }
    encoding.put_length(&mut out, 0)?; // topics
    encoding.put_length(&mut out, 0)?; // node endpoints
    encoding.put_no_tags(&mut out);
    Ok(out.freeze())
}

/// A response of the gateway's own that refuses the whole request.
pub fn error_response(call: Call, error_code: i16, message: Option<&str>) -> Result<Bytes, RewriteError> {
    put_refusal(call, error_code, message, true)
}

/// The topics of a ShareFetch or ShareAcknowledge request, with the offsets that are acknowledged.
pub(super) fn walk_acknowledged_topics(
    cursor: &mut Cursor<'_>,
    topics: &mut Vec<ShareTopic>,
    partitions: &mut Vec<SharePartition>,
) -> Result<CountField, WireError> {
    let topic_count = count_field(cursor, "topics", SMALLEST_TOPIC)?;
    for _ in 0..topic_count.value {
        let start = cursor.position();
        let topic = cursor.uuid("topic id")?;
        for _ in 0..cursor.count("partitions", SMALLEST_PARTITION)? {
            let index = cursor.i32("partition index")?;
            let acknowledgements = cursor.count("acknowledgement batches", SMALLEST_ACKNOWLEDGEMENT)?;
            for _ in 0..acknowledgements {
                cursor.i64("first offset")?;
                cursor.i64("last offset")?;
                cursor.skip_array("acknowledge types", size_of::<i8>())?;
                cursor.skip_tags()?;
            }
            cursor.skip_tags()?;
            keep(partitions, SharePartition { topic, index, acknowledgements }, "partitions")?;
        }
        cursor.skip_tags()?;
        keep(topics, ShareTopic { id: topic, entry: cursor.span_from(start)? }, "topics")?;
    }
    Ok(topic_count)
}

/// The current leader of a partition: ids only.
pub(super) fn walk_leader(cursor: &mut Cursor<'_>) -> Result<(), WireError> {
    cursor.i32("leader id")?;
    cursor.i32("leader epoch")?;
    cursor.skip_tags()
}

/// Id, count, tagged fields.
pub(super) const SMALLEST_TOPIC: usize = 18;
/// Index, count, tagged fields.
const SMALLEST_PARTITION: usize = 6;
/// Two offsets, count, tagged fields.
const SMALLEST_ACKNOWLEDGEMENT: usize = 18;
/// Two offsets, delivery count, tagged fields.
const SMALLEST_ACQUIRED: usize = 19;
/// Index, two errors with messages, leader, records, acquired records, tagged fields.
const SMALLEST_FETCHED: usize = 22;
