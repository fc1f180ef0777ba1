//! ShareFetch and ShareAcknowledge. The codec knows version 1; version 2 adds fields that are
//! written by hand here.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch as Acknowledged, ShareAcknowledgeRequest as OracleAck,
};
use kafka_protocol::messages::share_acknowledge_response::{
    NodeEndpoint as AckEndpoint, PartitionData as AckPartition, ShareAcknowledgeResponse, ShareAcknowledgeTopicResponse,
};
use kafka_protocol::messages::share_fetch_request::{
    AcknowledgementBatch, FetchPartition, FetchTopic, ForgottenTopic, ShareFetchRequest as Oracle,
};
use kafka_protocol::messages::share_fetch_response::{
    AcquiredRecords, NodeEndpoint, PartitionData, ShareFetchResponse as OracleResponse, ShareFetchableTopicResponse,
};

use super::*;
use crate::chain::rewrite::fetch::FetchEdit;
use crate::chain::rewrite::share_acknowledge::{self, ShareAcknowledgeRequest};
use crate::chain::rewrite::share_fetch::{RefusedShare, ShareFetchRequest, ShareFetchResponse, SharePartition};

pub(super) fn fetch_sample() -> Oracle {
    let batch = AcknowledgementBatch::default().with_last_offset(4).with_acknowledge_types(vec![1, 2]);
    let partition = FetchPartition::default()
        .with_partition_index(3)
        .with_acknowledgement_batches(vec![batch; 2])
        .with_unknown_tagged_fields(unknown_tags(true));
    Oracle::default()
        .with_group_id(Some(GroupId(text("share"))))
        .with_member_id(Some(text("member")))
        .with_share_session_epoch(2)
        .with_topics(vec![FetchTopic::default().with_topic_id(id(1)).with_partitions(vec![partition])])
        .with_forgotten_topics_data(vec![ForgottenTopic::default().with_topic_id(id(2)).with_partitions(vec![9])])
}

pub(super) fn response_sample() -> OracleResponse {
    let acquired = AcquiredRecords::default().with_last_offset(4).with_delivery_count(1);
    let partition = |index: i32, records: Option<&'static [u8]>| {
        PartitionData::default()
            .with_partition_index(index)
            .with_records(records.map(Bytes::from_static))
            .with_acquired_records(vec![acquired.clone(); 2])
            .with_unknown_tagged_fields(unknown_tags(true))
    };
    let topic = ShareFetchableTopicResponse::default().with_topic_id(id(1)).with_partitions(vec![
        partition(0, Some(b"sealed records")),
        partition(1, Some(b"others")),
        partition(2, None),
    ]);
    let endpoint = NodeEndpoint::default().with_node_id(4.into()).with_host(text("b")).with_port(9092);
    OracleResponse::default().with_responses(vec![topic]).with_node_endpoints(vec![endpoint])
}

/// A version 1 request as version 2: `extra` goes in after the session's fields, `at` bytes into
/// the body.
fn as_version_2(frame: &Bytes, at: usize, extra: &[u8]) -> Bytes {
    let body = request_header(frame).body;
    let mut out = BytesMut::from(&frame[..body + at]);
    out.put_slice(extra);
    out.put_slice(&frame[body + at..]);
    out[2..4].copy_from_slice(&2i16.to_be_bytes());
    out.freeze()
}

/// Length of group "share", member "member" and session epoch.
const SESSION: usize = 6 + 7 + 4;

#[test]
fn a_share_fetch_is_walked_in_both_versions() {
    let first = request_frame(&fetch_sample(), 1);
    let second = as_version_2(&first, SESSION + 20, &[0, 1]);
    for frame in [first, second] {
        let header = request_header(&frame);
        let request = ShareFetchRequest::walk(&frame, &header).unwrap();
        assert_eq!(request.member.of(&frame).unwrap(), b"\x06share\x07member");
        let topic = *id(1).as_bytes();
        assert_eq!(request.topics.iter().map(|topic| topic.id).collect::<Vec<_>>(), [topic]);
        assert_eq!(request.partitions, [SharePartition { topic, index: 3, acknowledgements: 2 }]);
        assert_eq!(request.forgotten, [(*id(2).as_bytes(), 9)]);
        refuses_every_cut(&frame, header.body, |cut| ShareFetchRequest::walk(&cut, &header));
    }
}

#[test]
fn opened_and_refused_share_partitions_are_what_the_client_reads() {
    let frame = response_frame(78, &response_sample(), 1);
    // Version 2 of the response has the same fields.
    for version in [1, 2] {
        let response = ShareFetchResponse::walk(&frame, &response_header(&frame, 78, version)).unwrap();
        let edits = vec![(0, FetchEdit::Shrink(6)), (1, FetchEdit::Refuse(87))];
        let rebuilt = bytes(response.rebuild(frame.clone(), edits, &[], &Book).unwrap());
        let mut expected = response_sample();
        let partitions = &mut expected.responses[0].partitions;
        partitions[0].records = Some(Bytes::from_static(b"sealed"));
        partitions[1].records = Some(Bytes::new());
        partitions[1].error_code = 87;
        partitions[1].acquired_records.clear();
        expected.node_endpoints[0].host = text("gateway.example");
        expected.node_endpoints[0].port = 9004;
        assert_eq!(decode_response::<OracleResponse>(78, &rebuilt, 1), expected);
        refuses_every_cut(&frame, 0, |cut| {
            ShareFetchResponse::walk(&cut, &ResponseHeader::parse(&cut, call(78, version))?)
        });
    }
}

#[test]
fn what_is_refused_is_not_asked_for_and_stands_in_the_answer() {
    let mut sample = fetch_sample();
    let other = FetchTopic::default().with_topic_id(id(7)).with_partitions(vec![FetchPartition::default()]);
    sample.topics.push(other);
    let frame = request_frame(&sample, 1);
    let request = ShareFetchRequest::walk(&frame, &request_header(&frame)).unwrap();
    let cleared = bytes(request.rebuild(frame.clone(), |topic| topic == id(1).as_bytes()).unwrap());
    let mut expected = sample.clone();
    expected.topics.remove(0);
    assert_eq!(decode_request::<Oracle>(&cleared, 1), expected);
    assert_eq!(bytes(request.rebuild(frame.clone(), |_| false).unwrap()), frame);

    let frame = response_frame(78, &response_sample(), 1);
    let response = ShareFetchResponse::walk(&frame, &response_header(&frame, 78, 1)).unwrap();
    let refused = |topic: u128, index| RefusedShare { topic: *id(topic).as_bytes(), index, error_code: 29 };
    let refused = [refused(8, 0), refused(8, 4), refused(9, 1)];
    let rebuilt = bytes(response.rebuild(frame.clone(), [], &refused, &Book).unwrap());
    let read = decode_response::<OracleResponse>(78, &rebuilt, 1);
    assert_eq!(read.responses[0], response_sample().responses[0]);
    let added: Vec<_> = read.responses[1..]
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic_id, p.partition_index, p.error_code)))
        .collect();
    assert_eq!(added, [(id(8), 0, 29), (id(8), 4, 29), (id(9), 1, 29)]);
    assert_eq!(read.responses[1].partitions[0].records, Some(Bytes::new()));
}

#[test]
fn a_share_acknowledgement_is_walked_in_both_versions() {
    let batch = Acknowledged::default().with_acknowledge_types(vec![1]);
    let partition = AcknowledgePartition::default().with_partition_index(3).with_acknowledgement_batches(vec![batch]);
    let sample = OracleAck::default()
        .with_group_id(Some(GroupId(text("share"))))
        .with_member_id(Some(text("member")))
        .with_topics(vec![AcknowledgeTopic::default().with_topic_id(id(1)).with_partitions(vec![partition])]);
    let first = request_frame(&sample, 1);
    let second = as_version_2(&first, SESSION, &[1]);
    for frame in [first, second] {
        let header = request_header(&frame);
        let request = ShareAcknowledgeRequest::walk(&frame, &header).unwrap();
        let topic = *id(1).as_bytes();
        assert_eq!(request.partitions, [SharePartition { topic, index: 3, acknowledgements: 1 }]);
        refuses_every_cut(&frame, header.body, |cut| ShareAcknowledgeRequest::walk(&cut, &header));
    }
}

#[test]
fn addresses_in_acknowledgements_are_ours() {
    let partition = AckPartition::default().with_partition_index(1).with_error_message(Some(text("why")));
    let topic = ShareAcknowledgeTopicResponse::default().with_topic_id(id(1)).with_partitions(vec![partition; 2]);
    let endpoint = AckEndpoint::default().with_node_id(4.into()).with_host(text("b")).with_port(9092);
    let sample = ShareAcknowledgeResponse::default().with_responses(vec![topic]).with_node_endpoints(vec![endpoint]);
    let mut expected = sample.clone();
    expected.node_endpoints[0].host = text("gateway.example");
    expected.node_endpoints[0].port = 9004;
    let first = response_frame(79, &sample, 1);
    let rewritten = bytes(share_acknowledge::rewrite(first.clone(), &response_header(&first, 79, 1), &Book).unwrap());
    assert_eq!(decode_response::<ShareAcknowledgeResponse>(79, &rewritten, 1), expected);

    // Header, throttle time, error code, null message: then version 2 has a lock timeout.
    const BEFORE_TIMEOUT: usize = 5 + 4 + 2 + 1;
    let widen = |frame: &Bytes| {
        let mut out = BytesMut::from(&frame[..BEFORE_TIMEOUT]);
        out.put_i32(30_000);
        out.put_slice(&frame[BEFORE_TIMEOUT..]);
        out.freeze()
    };
    let second = widen(&first);
    let rewritten_second =
        bytes(share_acknowledge::rewrite(second.clone(), &response_header(&second, 79, 2), &Book).unwrap());
    assert_eq!(rewritten_second, widen(&rewritten));
    for (frame, version) in [(first, 1), (second, 2)] {
        refuses_every_cut(&frame, 0, |cut| {
            let header = ResponseHeader::parse(&cut, call(79, version))?;
            share_acknowledge::rewrite(cut, &header, &Book)
        });
    }
}

/// A body in hexadecimal behind a header of ours.
fn with_header(header: impl FnOnce(&mut BytesMut), body: &str) -> Bytes {
    let mut frame = BytesMut::new();
    header(&mut frame);
    frame.extend_from_slice(&hex::decode(body).unwrap());
    frame.freeze()
}

// What the Java client 4.2.0 writes in version 2, which the codec does not know.

#[test]
fn version_2_requests_of_the_java_client_are_walked() {
    let topic = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    let expected = [SharePartition { topic, index: 9, acknowledgements: 1 }];
    let fetch = "0267026d00000003000000040000000500000006000000070000000801010200000000000000010000000000\
                 000002020000000902000000000000000a000000000000000c0401020400000002000000000000000100000000\
                 000000020300000001000000020000";
    let frame = with_header(|out| call(78, 2).put_request_header(out, "c").unwrap(), fetch);
    let request = ShareFetchRequest::walk(&frame, &request_header(&frame)).unwrap();
    assert_eq!((request.session_epoch, request.partitions.as_slice()), (3, &expected[..]));
    assert_eq!(request.forgotten, [(topic, 1), (topic, 2)]);
    let acknowledge = "0267026d00000003010200000000000000010000000000000002020000000902000000000000000a0000\
                       00000000000c020100000000";
    let frame = with_header(|out| call(79, 2).put_request_header(out, "c").unwrap(), acknowledge);
    let request = ShareAcknowledgeRequest::walk(&frame, &request_header(&frame)).unwrap();
    assert_eq!(request.partitions, expected);
}

#[test]
fn version_2_responses_for_the_java_client_are_rewritten() {
    let response_with = |key, body| {
        let frame = with_header(|out| call(key, 2).put_response_header(out).unwrap(), body);
        let header = response_header(&frame, key, 2);
        (frame, header)
    };
    let (frame, header) = response_with(
        78,
        "00000001000000000075300200000000000000010000000000000002020000000900000000000477687900000004000000\
         0500077365616c656402000000000000000a000000000000000c00010000000200000004026200002384000000",
    );
    let response = ShareFetchResponse::walk(&frame, &header).unwrap();
    let records = response.partitions[0].records.content.unwrap();
    assert_eq!(records.of(&frame).unwrap(), b"sealed");
    let rebuilt = bytes(response.rebuild(frame, [(0, FetchEdit::Shrink(4))], &[], &Book).unwrap());
    let (expected, _) = response_with(
        78,
        "00000001000000000075300200000000000000010000000000000002020000000900000000000477687900000004000000\
         0500057365616c02000000000000000a000000000000000c0001000000020000000410676174657761792e6578616d706c\
         650000232c000000",
    );
    assert_eq!(hex::encode(rebuilt), hex::encode(expected));

    let (frame, header) = response_with(
        79,
        "000000000000026d0000753002000000000000000100000000000000020200000009000602780000000000000000000000\
         020000000402620000238402720000",
    );
    let (expected, _) = response_with(
        79,
        "000000000000026d0000753002000000000000000100000000000000020200000009000602780000000000000000000000\
         020000000410676174657761792e6578616d706c650000232c02720000",
    );
    let rewritten = bytes(share_acknowledge::rewrite(frame, &header, &Book).unwrap());
    assert_eq!(hex::encode(rewritten), hex::encode(expected));
}
