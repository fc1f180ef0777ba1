//! Produce.

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest as Oracle, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse as OracleResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{TopicName, TransactionalId};

use super::*;
use crate::chain::rewrite::TopicRef;
use crate::chain::rewrite::produce::{ProduceEdit, ProduceRequest, ProduceResponse, Refused, error_response};

const KEY: i16 = 0;

pub(super) fn sample(version: i16) -> Oracle {
    let tags = || unknown_tags(version >= 9);
    let partition = |index: i32, records: Option<&'static [u8]>| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(records.map(Bytes::from_static))
            .with_unknown_tagged_fields(tags())
    };
    let topic = |name: &str, number, partitions| {
        let topic = TopicProduceData::default().with_partition_data(partitions).with_unknown_tagged_fields(tags());
        if version >= 13 { topic.with_topic_id(id(number)) } else { topic.with_name(TopicName(text(name))) }
    };
    Oracle::default()
        .with_transactional_id(Some(TransactionalId(text("tx"))))
        .with_acks(-1)
        .with_timeout_ms(1500)
        .with_topic_data(vec![
            topic("orders", 1, vec![partition(0, Some(b"zero")), partition(7, Some(b"")), partition(8, None)]),
            topic("payments", 2, vec![partition(3, Some(b"three"))]),
        ])
        .with_unknown_tagged_fields(tags())
}

pub(super) fn response_sample(version: i16) -> OracleResponse {
    let partition = |index, error_code| {
        let partition = PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(error_code)
            .with_base_offset(100)
            .with_log_append_time_ms(5)
            .with_unknown_tagged_fields(unknown_tags(version >= 9));
        let leader = LeaderIdAndEpoch::default().with_leader_id(4.into()).with_leader_epoch(9);
        if version >= 10 { partition.with_current_leader(leader) } else { partition }
    };
    let topic = TopicProduceResponse::default().with_partition_responses(vec![partition(0, 0), partition(7, 6)]);
    let topic = if version >= 13 { topic.with_topic_id(id(1)) } else { topic.with_name(TopicName(text("orders"))) };
    let response = OracleResponse::default().with_responses(vec![topic]).with_throttle_time_ms(11);
    let endpoint = |number| {
        NodeEndpoint::default()
            .with_node_id(number)
            .with_host(text("broker.internal"))
            .with_port(9092)
            .with_rack(Some(text("r1")))
            .with_unknown_tagged_fields(unknown_tags(true))
    };
    match version {
        10.. => response.with_node_endpoints(vec![endpoint(4.into()), endpoint(5.into())]),
        _ => response,
    }
}

fn named(version: i16, name: &str, number: u128) -> TopicRef<'_> {
    if version >= 13 { TopicRef::Id(*id(number).as_bytes()) } else { TopicRef::Name(name) }
}

#[test]
fn a_request_is_walked_in_every_version() {
    for version in versions::<Oracle>(KEY) {
        let frame = request_frame(&sample(version), version);
        let request = ProduceRequest::walk(&frame, &request_header(&frame)).unwrap();
        assert_eq!(request.transactional_id.unwrap().of(&frame).unwrap(), b"tx");
        assert_eq!((request.acks, request.timeout_ms), (-1, 1500));
        let seen: Vec<_> = request
            .partitions
            .iter()
            .map(|partition| {
                let records = partition.records.content.map(|span| span.of(&frame).unwrap());
                (request.topic(&frame, partition).unwrap(), partition.index, records)
            })
            .collect();
        let (orders, payments) = (named(version, "orders", 1), named(version, "payments", 2));
        let expected: Vec<(_, _, Option<&[u8]>)> =
            vec![(orders, 0, Some(b"zero")), (orders, 7, Some(b"")), (orders, 8, None), (payments, 3, Some(b"three"))];
        assert_eq!(seen, expected);
        assert_eq!(bytes(request.rebuild(frame.clone(), []).unwrap()), frame);
        refuses_every_cut(&frame, request_header(&frame).body, |cut| {
            ProduceRequest::walk(&cut, &request_header(&frame))
        });
    }
}

#[test]
fn replaced_and_dropped_partitions_are_what_the_broker_reads() {
    for version in versions::<Oracle>(KEY) {
        let frame = request_frame(&sample(version), version);
        let request = ProduceRequest::walk(&frame, &request_header(&frame)).unwrap();
        let long = Bytes::from(vec![7u8; 20_000]);
        let edits = vec![
            (2, ProduceEdit::Replace(Bytes::from_static(b"no longer null"))),
            (0, ProduceEdit::Replace(long.clone())),
            (1, ProduceEdit::Drop),
            (3, ProduceEdit::Drop),
        ];
        let rebuilt = bytes(request.rebuild(frame.clone(), edits).unwrap());
        let mut expected = sample(version);
        expected.topic_data.truncate(1);
        let partitions = &mut expected.topic_data[0].partition_data;
        partitions[2].records = Some(Bytes::from_static(b"no longer null"));
        partitions[0].records = Some(long);
        partitions.remove(1);
        assert_eq!(decode_request::<Oracle>(&rebuilt, version), expected);

        let all = (0..4).map(|entry| (entry, ProduceEdit::Drop));
        let rebuilt = bytes(request.rebuild(frame.clone(), all).unwrap());
        assert!(decode_request::<Oracle>(&rebuilt, version).topic_data.is_empty());

        let twice = vec![(1, ProduceEdit::Drop), (1, ProduceEdit::Drop)];
        assert_eq!(request.rebuild(frame.clone(), twice).unwrap_err(), RewriteError::EditedTwice { entry: 1 });
        assert!(request.rebuild(frame, [(4, ProduceEdit::Drop)]).is_err());
    }
}

#[test]
fn a_refused_partition_is_answered_beside_those_of_the_broker() {
    for version in versions::<OracleResponse>(KEY) {
        let sample = response_sample(version);
        let frame = response_frame(KEY, &sample, version);
        let response = ProduceResponse::walk(&frame, &response_header(&frame, KEY, version)).unwrap();
        let codes: Vec<_> = response.partitions.iter().map(|p| (p.index, p.error_code, p.base_offset)).collect();
        assert_eq!(codes, [(0, 0, 100), (7, 6, 100)]);
        assert_eq!(response.topic(&frame, &response.partitions[0]).unwrap(), named(version, "orders", 1));
        let refused = |topic, index| Refused { topic, index, error_code: 87, message: Some("no grant") };
        let refused = [
            refused(named(version, "payments", 2), 3),
            refused(named(version, "orders", 1), 8),
            refused(named(version, "payments", 2), 4),
        ];
        let rebuilt = bytes(response.rebuild(frame.clone(), &refused, &Book).unwrap());
        let mut expected = decode_response::<OracleResponse>(KEY, &frame, version);
        let error = |index| {
            let error = PartitionProduceResponse::default().with_index(index).with_error_code(87).with_base_offset(-1);
            if version >= 8 { error.with_error_message(Some(text("no grant"))) } else { error }
        };
        expected.responses[0].partition_responses.push(error(8));
        let added = TopicProduceResponse::default().with_partition_responses(vec![error(3), error(4)]);
        expected.responses.push(if version >= 13 {
            added.with_topic_id(id(2))
        } else {
            added.with_name(TopicName(text("payments")))
        });
        for endpoint in &mut expected.node_endpoints {
            endpoint.host = text("gateway.example");
            endpoint.port = 9000 + endpoint.node_id.0;
        }
        assert_eq!(decode_response::<OracleResponse>(KEY, &rebuilt, version), expected);
        refuses_every_cut(&frame, 0, |cut| {
            ProduceResponse::walk(&cut, &ResponseHeader::parse(&cut, call(KEY, version))?)
        });
    }
}

#[test]
fn a_request_of_which_nothing_is_sent_gets_a_whole_answer() {
    for version in versions::<OracleResponse>(KEY) {
        let frame = request_frame(&sample(version), version);
        let header = request_header(&frame);
        let request = ProduceRequest::walk(&frame, &header).unwrap();
        let refused = request.refuse_all(&frame, 56, Some("later")).unwrap();
        let answer = error_response(header.call, &refused).unwrap();
        let answer = decode_response::<OracleResponse>(KEY, &answer, version);
        let seen: Vec<_> = answer
            .responses
            .iter()
            .flat_map(|topic| topic.partition_responses.iter().map(|p| (p.index, p.error_code)))
            .collect();
        assert_eq!(seen, [(0, 56), (7, 56), (8, 56), (3, 56)]);
    }
}

#[test]
fn an_unknown_leader_address_is_never_passed() {
    for version in versions::<OracleResponse>(KEY).filter(|version| *version >= 10) {
        let mut sample = response_sample(version);
        sample.node_endpoints[1].node_id = 99.into();
        let frame = response_frame(KEY, &sample, version);
        let response = ProduceResponse::walk(&frame, &response_header(&frame, KEY, version)).unwrap();
        let refused = response.rebuild(frame.clone(), &[], &Book).unwrap_err();
        assert!(matches!(refused, RewriteError::NoAddress { node_id: 99, .. }));
    }
}
