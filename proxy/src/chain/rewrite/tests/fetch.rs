//! Fetch.

use bytes::Bytes;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest as Oracle, FetchTopic, ForgottenTopic, ReplicaState,
};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchResponse as OracleResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};

use super::*;
use crate::chain::rewrite::TopicRef;
use crate::chain::rewrite::fetch::{FetchEdit, FetchRequest, FetchResponse};

const KEY: i16 = 1;

pub(super) fn sample(version: i16) -> Oracle {
    let tags = || unknown_tags(version >= 12);
    let partition = |index: i32| {
        let mut partition = FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(1000 + i64::from(index))
            .with_partition_max_bytes(1 << 20)
            .with_unknown_tagged_fields(tags());
        if version >= 17 {
            partition.replica_directory_id = id(5);
        }
        if version >= 18 {
            partition.high_watermark = 12;
        }
        partition
    };
    let mut topic =
        FetchTopic::default().with_partitions(vec![partition(0), partition(4)]).with_unknown_tagged_fields(tags());
    let mut forgotten = ForgottenTopic::default().with_partitions(vec![1, 2]);
    if version >= 13 {
        (topic.topic_id, forgotten.topic_id) = (id(1), id(2));
    } else {
        (topic.topic, forgotten.topic) = (TopicName(text("orders")), TopicName(text("old")));
    }
    let mut request = Oracle::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(1 << 25)
        .with_isolation_level(1)
        .with_topics(vec![topic])
        .with_unknown_tagged_fields(tags());
    if version >= 7 {
        (request.session_id, request.session_epoch) = (31, 2);
        request.forgotten_topics_data = vec![forgotten];
    }
    if version >= 11 {
        request.rack_id = text("rack-a");
    }
    if version >= 12 {
        request.cluster_id = Some(text("cluster"));
    }
    if version >= 15 {
        // Said aloud, though it is the default.
        request.replica_state = ReplicaState::default().with_replica_epoch(4);
    }
    request
}

pub(super) fn response_sample(version: i16) -> OracleResponse {
    let partition = |index: i32, records: Option<&'static [u8]>, aborted| {
        let mut partition = PartitionData::default()
            .with_partition_index(index)
            .with_high_watermark(50)
            .with_last_stable_offset(49)
            .with_aborted_transactions(aborted)
            .with_records(records.map(Bytes::from_static))
            .with_unknown_tagged_fields(unknown_tags(version >= 12));
        if version >= 5 {
            partition.log_start_offset = 3;
        }
        if version >= 12 {
            partition.current_leader = LeaderIdAndEpoch::default().with_leader_id(2.into());
        }
        partition
    };
    let aborted = vec![AbortedTransaction::default().with_first_offset(4); 3];
    let topic = |name: &str, number, partitions| {
        let topic = FetchableTopicResponse::default().with_partitions(partitions);
        if version >= 13 { topic.with_topic_id(id(number)) } else { topic.with_topic(TopicName(text(name))) }
    };
    let mut response = OracleResponse::default().with_throttle_time_ms(3).with_responses(vec![
        topic(
            "orders",
            1,
            vec![
                partition(0, Some(b"sealed records"), Some(aborted)),
                partition(4, Some(b"more sealed records"), Some(vec![])),
            ],
        ),
        topic("payments", 2, vec![partition(1, None, None), partition(2, Some(b"xyz"), None)]),
    ]);
    if version >= 7 {
        response.session_id = 31;
    }
    if version >= 16 {
        let endpoint = |number| NodeEndpoint::default().with_node_id(number).with_host(text("b")).with_port(9092);
        response.node_endpoints = vec![endpoint(1.into()), endpoint(2.into())];
    }
    response
}

fn named(version: i16, name: &str, number: u128) -> TopicRef<'_> {
    if version >= 13 { TopicRef::Id(*id(number).as_bytes()) } else { TopicRef::Name(name) }
}

#[test]
fn a_request_is_walked_in_every_version() {
    for version in versions::<Oracle>(KEY) {
        let frame = request_frame(&sample(version), version);
        let header = request_header(&frame);
        let request = FetchRequest::walk(&frame, &header).unwrap();
        assert_eq!((request.max_wait_ms, request.min_bytes, request.max_bytes), (500, 1, 1 << 25));
        assert_eq!(request.isolation_level, 1);
        let session = if version >= 7 { (31, 2, 1) } else { (0, -1, 0) };
        assert_eq!((request.session_id, request.session_epoch, request.forgotten.len()), session);
        let seen: Vec<_> = request
            .partitions
            .iter()
            .map(|p| (request.topic(&frame, p).unwrap(), p.index, p.fetch_offset, p.max_bytes))
            .collect();
        let orders = named(version, "orders", 1);
        assert_eq!(seen, [(orders, 0, 1000, 1 << 20), (orders, 4, 1004, 1 << 20)]);
        if version >= 11 {
            assert_eq!(request.rack_id.unwrap().of(&frame).unwrap(), b"rack-a");
        }
        refuses_every_cut(&frame, header.body, |cut| FetchRequest::walk(&cut, &header));
    }
}

#[test]
fn a_replica_is_not_served() {
    for version in versions::<Oracle>(KEY) {
        for replica in [0, 3, -2] {
            let mut message = sample(version);
            if version >= 15 {
                message.replica_state = ReplicaState::default().with_replica_id(replica.into());
            } else {
                message.replica_id = replica.into();
            }
            let frame = request_frame(&message, version);
            let refused = FetchRequest::walk(&frame, &request_header(&frame)).unwrap_err();
            assert_eq!(refused, RewriteError::NotConsumer { replica_id: replica });
        }
    }
}

#[test]
fn a_response_is_walked_and_passes_untouched_in_every_version() {
    for version in versions::<OracleResponse>(KEY) {
        let mut sample = response_sample(version);
        sample.node_endpoints.clear();
        let frame = response_frame(KEY, &sample, version);
        let header = response_header(&frame, KEY, version);
        let response = FetchResponse::walk(&frame, &header).unwrap();
        assert_eq!(response.session_id, if version >= 7 { 31 } else { 0 });
        let seen: Vec<_> = response
            .partitions
            .iter()
            .map(|p| (p.topic, p.index, p.error_code, p.records.content.map(|span| span.of(&frame).unwrap())))
            .collect();
        let expected: Vec<(_, _, _, Option<&[u8]>)> = vec![
            (0, 0, 0, Some(b"sealed records")),
            (0, 4, 0, Some(b"more sealed records")),
            (1, 1, 0, None),
            (1, 2, 0, Some(b"xyz")),
        ];
        assert_eq!(seen, expected);
        let first = &response.partitions[0];
        let log_start = if version >= 5 { 3 } else { -1 };
        let offsets = (first.high_watermark, first.last_stable_offset, first.log_start_offset);
        assert_eq!(offsets, (50, 49, log_start));
        assert_eq!(response.topic(&frame, &response.partitions[3]).unwrap(), named(version, "payments", 2));
        assert_eq!(bytes(response.rebuild(frame.clone(), [], &Book).unwrap()), frame);
        refuses_every_cut(&frame, 0, |cut| {
            FetchResponse::walk(&cut, &ResponseHeader::parse(&cut, call(KEY, version))?)
        });
    }
}

#[test]
fn opened_replaced_and_refused_partitions_are_what_the_client_reads() {
    for version in versions::<OracleResponse>(KEY) {
        let frame = response_frame(KEY, &response_sample(version), version);
        let header = response_header(&frame, KEY, version);
        let response = FetchResponse::walk(&frame, &header).unwrap();
        let mut opened = frame.to_vec();
        let place = response.partitions[0].records.content.unwrap();
        place.of_mut(&mut opened).unwrap()[..4].copy_from_slice(b"open");
        let long = Bytes::from(vec![1u8; 300]);
        let edits = vec![
            (0, FetchEdit::Shrink(4)),
            (1, FetchEdit::Refuse(87)),
            (2, FetchEdit::Shrink(0)),
            (3, FetchEdit::Replace(long.clone())),
        ];
        let rebuilt = bytes(response.rebuild(opened.into(), edits, &Book).unwrap());
        let mut expected = decode_response::<OracleResponse>(KEY, &frame, version);
        expected.responses[0].partitions[0].records = Some(Bytes::from_static(b"open"));
        expected.responses[0].partitions[1].records = Some(Bytes::new());
        expected.responses[0].partitions[1].error_code = 87;
        expected.responses[1].partitions[1].records = Some(long);
        for endpoint in &mut expected.node_endpoints {
            endpoint.host = text("gateway.example");
            endpoint.port = 9000 + endpoint.node_id.0;
        }
        assert_eq!(decode_response::<OracleResponse>(KEY, &rebuilt, version), expected);
        assert_eq!(
            response.rebuild(frame.clone(), [(3, FetchEdit::Shrink(4))], &Book).unwrap_err(),
            RewriteError::BadShrink { kept: 4, length: 3 }
        );
    }
}

#[test]
fn a_refused_request_gets_an_answer_with_the_error() {
    for version in versions::<OracleResponse>(KEY) {
        let frame = request_frame(&sample(version), version);
        let header = request_header(&frame);
        let request = FetchRequest::walk(&frame, &header).unwrap();
        let answer = request.error_response(&frame, header.call, 29).unwrap();
        let answer = decode_response::<OracleResponse>(KEY, &answer, version);
        if version >= 7 {
            assert_eq!((answer.error_code, answer.responses.len()), (29, 0));
        } else {
            let codes: Vec<_> =
                answer.responses[0].partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
            assert_eq!(codes, [(0, 29), (4, 29)]);
        }
    }
}
