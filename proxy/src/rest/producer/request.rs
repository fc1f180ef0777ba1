//! Produce requests of the bridge's own, and the brokers' answers to them.
//!
//! Batches arrive, a request leaves that shares their bytes; an answer arrives, a verdict for each partition leaves. What must never
//! happen here: a partition's verdict given to another.
//!
//! Source: message schemas of Kafka 4.2, Produce versions 3 to 12; KIP-467 (record errors).

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::verdict::{Verdict, Written};
use crate::frame::{Call, Cursor, Segments, WireError};
use crate::rest::kafka::produce::read_each;

/// The versions that are written and read here.
pub(super) const VERSIONS: RangeInclusive<i16> = 3..=12;

/// One batch of a request.
pub(super) struct Entry {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) batch: Bytes,
}

/// One partition of an answer.
pub(super) struct Told {
    pub(super) topic: Box<str>,
    pub(super) partition: i32,
    pub(super) verdict: Verdict,
}

/// The request, with its length in front. It waits for all in-sync replicas.
pub(super) fn put(call: Call, client_id: &str, timeout: Duration, entries: &[&Entry]) -> Result<Segments, WireError> {
    let encoding = call.encoding()?;
    let mut segments = Segments::default();
    let mut out = BytesMut::with_capacity(BYTES_OF_HEAD + entries.len() * BYTES_OF_ENTRY);
    call.put_request_header(&mut out, client_id)?;
    encoding.put_nullable_string(&mut out, None)?;
    out.put_i16(ALL_IN_SYNC);
    out.put_i32(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    let topics = || entries.chunk_by(|one, other| one.topic == other.topic);
    encoding.put_length(&mut out, topics().count())?;
    for partitions in topics() {
        let Some(first) = partitions.first() else { continue };
        encoding.put_string(&mut out, &first.topic)?;
        encoding.put_length(&mut out, partitions.len())?;
        for entry in partitions {
            out.put_i32(entry.partition);
            encoding.put_length(&mut out, entry.batch.len())?;
            segments.push(out.split().freeze());
            segments.push(entry.batch.clone());
            encoding.put_no_tags(&mut out);
        }
        encoding.put_no_tags(&mut out);
    }
    encoding.put_no_tags(&mut out);
    segments.push(out.freeze());
    segments.framed()
}

/// Reads the body of an answer.
pub(super) fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Vec<Told>, WireError> {
    let mut told = Vec::new();
    read_each(cursor, version, |topic, produced, wrong| {
        let offset = Some(produced.base_offset).filter(|offset| *offset >= 0);
        let verdict = Verdict::of(produced.error_code, Written { offset, appended: produced.append_time }, wrong);
        told.push(Told { topic: topic.into(), partition: produced.partition, verdict });
    })?;
    cursor.i32("throttle time")?;
    cursor.skip_tags()?;
    Ok(told)
}

const ALL_IN_SYNC: i16 = -1;

/// What stands before the topics; what stands around a batch.
const BYTES_OF_HEAD: usize = 64;
const BYTES_OF_ENTRY: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use kafka_protocol::messages::produce_response::{
        BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    use super::*;
    use crate::frame::{ApiVersion, CorrelationId, RequestHeader, api};
    use crate::rest::producer::delivery::Refusal;

    fn call(version: i16) -> Call {
        Call { api_key: api::PRODUCE, version: ApiVersion(version), correlation_id: CorrelationId(9) }
    }

    #[test]
    fn another_implementation_reads_the_request() {
        let entry = |topic: &str, partition, batch: &'static [u8]| Entry {
            topic: topic.into(),
            partition,
            batch: Bytes::from_static(batch),
        };
        let entries = [entry("a", 0, b"one"), entry("a", 7, b"two"), entry("b", 1, b"three")];
        for version in VERSIONS {
            let framed = put(call(version), "me", Duration::from_secs(5), &entries.each_ref()).unwrap().into_bytes();
            let frame = framed.slice(4..);
            assert_eq!(framed[..4], u32::try_from(frame.len()).unwrap().to_be_bytes());
            let header = RequestHeader::parse(&frame).unwrap();
            assert_eq!((header.call, header.client_id), (call(version), Some(&b"me"[..])));
            let mut body = frame.slice(header.body..);
            let read = ProduceRequest::decode(&mut body, version).unwrap();
            assert!(body.is_empty());
            assert_eq!((read.acks, read.timeout_ms, read.transactional_id), (-1, 5000, None));
            let batches = |topic: usize| -> Vec<_> {
                let partitions = read.topic_data[topic].partition_data.iter();
                partitions.map(|partition| (partition.index, partition.records.clone().unwrap())).collect()
            };
            assert_eq!(batches(0), [(0, Bytes::from_static(b"one")), (7, Bytes::from_static(b"two"))]);
            assert_eq!(batches(1), [(1, Bytes::from_static(b"three"))]);
        }
    }

    #[test]
    fn the_answer_of_another_implementation_is_read_and_no_cut_of_it() {
        for version in VERSIONS {
            let part = |index| PartitionProduceResponse::default().with_index(index);
            let mut refused = part(3).with_error_code(87).with_base_offset(-1).with_log_append_time_ms(-1);
            if version >= 8 {
                let error = BatchIndexAndErrorMessage::default().with_batch_index(5);
                refused = refused.with_record_errors(vec![error]);
            }
            let parts = vec![part(2).with_base_offset(41).with_log_append_time_ms(1234), refused];
            let topic = TopicProduceResponse::default().with_name(TopicName(StrBytes::from_static_str("t")));
            let answer = ProduceResponse::default().with_responses(vec![topic.with_partition_responses(parts)]);
            let mut out = BytesMut::new();
            answer.encode(&mut out, version).unwrap();
            let encoding = call(version).encoding().unwrap();
            let told = read(&mut Cursor::new(&out, 0, encoding), version).unwrap();
            assert_eq!((told.len(), &*told[1].topic, told[0].partition, told[1].partition), (2, "t", 2, 3));
            assert_eq!(told[0].verdict, Verdict::Written(Written { offset: Some(41), appended: Some(1234) }));
            let wrong = if version >= 8 { vec![5] } else { Vec::new() };
            assert_eq!(told[1].verdict, Verdict::Refused(Refusal::InvalidRecord, wrong));
            for length in 0..out.len() {
                assert!(read(&mut Cursor::new(&out[..length], 0, encoding), version).is_err());
            }
        }
    }
}
