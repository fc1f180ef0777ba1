//! Metadata, FindCoordinator, DescribeCluster: addresses.

use kafka_protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest as OracleRequest, TopicName};

use super::*;
use crate::chain::rewrite::{TopicRef, describe_cluster, find_coordinator, metadata, topology};

pub(super) fn metadata_sample(version: i16) -> MetadataResponse {
    let tags = || unknown_tags(version >= 9);
    let broker = |number: i32| {
        let mut broker = MetadataResponseBroker::default()
            .with_node_id(number.into())
            .with_host(text("broker.internal"))
            .with_port(9092)
            .with_unknown_tagged_fields(tags());
        if version >= 1 {
            broker.rack = Some(text("rack-b"));
        }
        broker
    };
    let partition = MetadataResponsePartition::default()
        .with_partition_index(2)
        .with_leader_id(1.into())
        .with_replica_nodes(vec![BrokerId(1), BrokerId(2)])
        .with_isr_nodes(vec![BrokerId(1)])
        .with_unknown_tagged_fields(tags());
    let topic = |name: &str, number, error_code| {
        let mut topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(text(name))))
            .with_error_code(error_code)
            .with_partitions(vec![partition.clone(); 2])
            .with_unknown_tagged_fields(tags());
        if version >= 10 {
            topic.topic_id = id(number);
        }
        topic
    };
    let mut response = MetadataResponse::default()
        .with_brokers(vec![broker(1), broker(2)])
        .with_topics(vec![topic("orders", 1, 0), topic("gone", 0, 3)])
        .with_unknown_tagged_fields(tags());
    if version >= 1 {
        response.controller_id = 2.into();
    }
    if version >= 2 {
        response.cluster_id = Some(text("cluster"));
    }
    if version >= 12 {
        response
            .topics
            .push(MetadataResponseTopic::default().with_error_code(100).with_topic_id(id(9)).with_name(None));
    }
    response
}

#[test]
fn every_address_of_metadata_is_ours_and_topics_are_learnt() {
    for version in versions::<MetadataResponse>(3) {
        let sample = metadata_sample(version);
        let frame = response_frame(3, &sample, version);
        let header = response_header(&frame, 3, version);
        let mut learnt = Vec::new();
        let learn = |name: &str, count: usize| learnt.push((name.to_owned(), count));
        let rewritten = bytes(metadata::rewrite(frame.clone(), &header, &Book, learn).unwrap());
        let mut expected = sample;
        for broker in &mut expected.brokers {
            broker.host = text("gateway.example");
            broker.port = 9000 + broker.node_id.0;
        }
        assert_eq!(decode_response::<MetadataResponse>(3, &rewritten, version), expected);
        assert_eq!(learnt, [("orders".to_owned(), 2)]);
        refuses_every_cut(&frame, 0, |cut| {
            let header = ResponseHeader::parse(&cut, call(3, version))?;
            metadata::rewrite(cut, &header, &Book, |_, _| {})
        });
    }
}

#[test]
fn an_unknown_broker_fails_the_answer() {
    for version in versions::<MetadataResponse>(3) {
        let mut sample = metadata_sample(version);
        sample.brokers[1].node_id = 99.into();
        let frame = response_frame(3, &sample, version);
        let header = response_header(&frame, 3, version);
        let refused = metadata::rewrite(frame, &header, &Book, |_, _| {}).unwrap_err();
        let host = "broker.internal".to_owned();
        assert_eq!(refused, RewriteError::NoAddress { node_id: 99, host, port: 9092 });
    }
}

#[test]
fn our_own_metadata_request_and_its_answer_are_understood() {
    for version in versions::<MetadataResponse>(3) {
        let all = topology::request(call(3, version), "gateway", None).unwrap();
        let read = decode_request::<OracleRequest>(&all, version);
        let expected = if version == 0 { Some(vec![]) } else { None };
        assert_eq!(read.topics, expected);
        let topics = [TopicRef::Name("orders")];
        let named = topology::request(call(3, version), "gateway", Some(&topics)).unwrap();
        let read = decode_request::<OracleRequest>(&named, version);
        assert_eq!(read.topics.unwrap()[0].name, Some(TopicName(text("orders"))));
        assert_eq!(read.allow_auto_topic_creation, version < 4);

        let frame = response_frame(3, &metadata_sample(version), version);
        let read = topology::decode(&frame, &response_header(&frame, 3, version)).unwrap();
        assert_eq!(read.brokers.len(), 2);
        assert_eq!((read.brokers[1].node_id, read.brokers[1].host.as_str()), (2, "broker.internal"));
        assert_eq!(read.topics[0].name.as_deref(), Some("orders"));
        assert_eq!((read.topics[0].partitions, read.topics[1].error_code), (2, 3));
    }
    let by_id = topology::request(topology::call(CorrelationId(77)), "gateway", Some(&[TopicRef::Id([3; 16])]));
    let topics = decode_request::<OracleRequest>(&by_id.unwrap(), 12).topics.unwrap();
    assert_eq!((topics[0].topic_id.as_bytes(), &topics[0].name), (&[3u8; 16], &None));
}

#[test]
fn every_coordinator_is_ours() {
    for version in versions::<FindCoordinatorResponse>(10) {
        let mut sample = FindCoordinatorResponse::default();
        if version >= 4 {
            let known = Coordinator::default()
                .with_key(text("group"))
                .with_node_id(3.into())
                .with_host(text("broker.internal"))
                .with_port(9092)
                .with_unknown_tagged_fields(unknown_tags(true));
            let missing = Coordinator::default()
                .with_key(text("other"))
                .with_node_id((-1).into())
                .with_port(-1)
                .with_error_code(15)
                .with_error_message(Some(text("none")));
            sample.coordinators = vec![known, missing];
        } else {
            sample = sample.with_node_id(3.into()).with_host(text("broker.internal")).with_port(9092);
        }
        let frame = response_frame(10, &sample, version);
        let header = response_header(&frame, 10, version);
        let rewritten = bytes(find_coordinator::rewrite(frame.clone(), &header, &Book).unwrap());
        let mut expected = sample;
        if version >= 4 {
            expected.coordinators[0].host = text("gateway.example");
            expected.coordinators[0].port = 9003;
        } else {
            (expected.host, expected.port) = (text("gateway.example"), 9003);
        }
        assert_eq!(decode_response::<FindCoordinatorResponse>(10, &rewritten, version), expected);
        refuses_every_cut(&frame, 0, |cut| {
            let header = ResponseHeader::parse(&cut, call(10, version))?;
            find_coordinator::rewrite(cut, &header, &Book)
        });
    }
}

pub(super) fn cluster_sample(version: i16) -> DescribeClusterResponse {
    let mut broker = DescribeClusterBroker::default()
        .with_broker_id(6.into())
        .with_host(text("broker.internal"))
        .with_port(9092)
        .with_rack(Some(text("r")))
        .with_unknown_tagged_fields(unknown_tags(true));
    if version >= 2 {
        broker.is_fenced = true;
    }
    DescribeClusterResponse::default()
        .with_cluster_id(text("cluster"))
        .with_controller_id(6.into())
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(12)
}

#[test]
fn every_broker_of_describe_cluster_is_ours() {
    for version in versions::<DescribeClusterResponse>(60) {
        let sample = cluster_sample(version);
        let frame = response_frame(60, &sample, version);
        let header = response_header(&frame, 60, version);
        let rewritten = bytes(describe_cluster::rewrite(frame.clone(), &header, &Book).unwrap());
        let mut expected = sample;
        expected.brokers[0].host = text("gateway.example");
        expected.brokers[0].port = 9006;
        assert_eq!(decode_response::<DescribeClusterResponse>(60, &rewritten, version), expected);
        refuses_every_cut(&frame, 0, |cut| {
            let header = ResponseHeader::parse(&cut, call(60, version))?;
            describe_cluster::rewrite(cut, &header, &Book)
        });
    }
}

#[test]
fn controllers_are_not_shown() {
    for version in versions::<DescribeClusterResponse>(60).filter(|version| *version >= 1) {
        let frame = response_frame(60, &cluster_sample(version).with_endpoint_type(2), version);
        let header = response_header(&frame, 60, version);
        let rewritten = bytes(describe_cluster::rewrite(frame, &header, &Book).unwrap());
        let read = decode_response::<DescribeClusterResponse>(60, &rewritten, version);
        assert_eq!((read.error_code, read.brokers.len()), (115, 0));
    }
}

#[test]
fn a_metadata_request_is_walked_in_every_version() {
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    for version in versions::<OracleRequest>(3) {
        let mut topics = vec![MetadataRequestTopic::default().with_name(Some(TopicName(text("orders"))))];
        if version >= 12 {
            topics.push(MetadataRequestTopic::default().with_name(None).with_topic_id(id(9)));
        }
        let count = topics.len();
        let mut message = OracleRequest::default().with_topics(Some(topics));
        if version >= 4 {
            message.allow_auto_topic_creation = false;
        }
        let frame = request_frame(&message, version);
        let header = request_header(&frame);
        let read = metadata::MetadataRequest::walk(&frame, &header).unwrap();
        assert_eq!(read.allow_auto_creation, version < 4);
        let topics = read.topics.unwrap();
        assert_eq!(topics.len(), count);
        assert_eq!(topics[0].name.unwrap().of(&frame).unwrap(), b"orders");
        if version >= 12 {
            assert_eq!((topics[1].name, topics[1].id), (None, *id(9).as_bytes()));
        }
        refuses_every_cut(&frame, header.body, |cut| metadata::MetadataRequest::walk(&cut, &header));
        let all = if version == 0 { Some(vec![]) } else { None };
        let frame = request_frame(&OracleRequest::default().with_topics(all), version);
        let read = metadata::MetadataRequest::walk(&frame, &request_header(&frame)).unwrap();
        assert!(read.topics.is_none());
    }
}
