//! Answers of the gateway's own, read by the independent codec.

use kafka_protocol::messages::*;

use super::*;
use crate::chain::rewrite::refusal::{Refusal, refuse, refuse_unknown};

fn answer<M: Request>(request: &M, version: i16) -> Bytes {
    let frame = request_frame(request, version);
    match refuse(&frame, &request_header(&frame), 41, Some("not now")).unwrap() {
        Refusal::Answer(answer) => answer,
        other => panic!("api {} version {version}: {other:?}", M::KEY),
    }
}

macro_rules! errors_are_readable {
    ($($name:ident: $request:ty, $response:ty;)*) => {$(
        #[test]
        fn $name() {
            for version in versions::<$request>(<$request as Request>::KEY) {
                let answer = answer(&<$request>::default(), version);
                let read = decode_response::<$response>(<$request as Request>::KEY, &answer, version);
                assert_eq!(read.error_code, 41, "version {version}");
            }
        }
    )*};
}

errors_are_readable! {
    join_group: JoinGroupRequest, JoinGroupResponse;
    heartbeat: HeartbeatRequest, HeartbeatResponse;
    leave_group: LeaveGroupRequest, LeaveGroupResponse;
    sync_group: SyncGroupRequest, SyncGroupResponse;
    list_groups: ListGroupsRequest, ListGroupsResponse;
    sasl_handshake: SaslHandshakeRequest, SaslHandshakeResponse;
    api_versions: ApiVersionsRequest, ApiVersionsResponse;
    init_producer_id: InitProducerIdRequest, InitProducerIdResponse;
    add_offsets_to_txn: AddOffsetsToTxnRequest, AddOffsetsToTxnResponse;
    end_txn: EndTxnRequest, EndTxnResponse;
    sasl_authenticate: SaslAuthenticateRequest, SaslAuthenticateResponse;
    describe_cluster: DescribeClusterRequest, DescribeClusterResponse;
    consumer_group_heartbeat: ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
    share_group_heartbeat: ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse;
    share_fetch: ShareFetchRequest, ShareFetchResponse;
    share_acknowledge: ShareAcknowledgeRequest, ShareAcknowledgeResponse;
}

#[test]
fn produce_and_fetch() {
    for version in versions::<ProduceRequest>(0) {
        let answer = answer(&super::produce::sample(version), version);
        let read = decode_response::<ProduceResponse>(0, &answer, version);
        assert_eq!(read.responses[1].partition_responses[0].error_code, 41);
        let message = read.responses[1].partition_responses[0].error_message.clone();
        assert_eq!(message, (version >= 8).then(|| text("not now")));
    }
    for version in versions::<FetchRequest>(1) {
        let answer = answer(&super::fetch::sample(version), version);
        let read = decode_response::<FetchResponse>(1, &answer, version);
        let code = if version >= 7 { read.error_code } else { read.responses[0].partitions[0].error_code };
        assert_eq!(code, 41);
    }
}

#[test]
fn a_produce_without_acknowledgement_has_no_answer() {
    for version in versions::<ProduceRequest>(0) {
        let frame = request_frame(&super::produce::sample(version).with_acks(0), version);
        assert_eq!(refuse(&frame, &request_header(&frame), 41, None).unwrap(), Refusal::Silence);
    }
}

#[test]
fn metadata_names_each_topic_that_was_asked_for() {
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    for version in versions::<MetadataRequest>(3) {
        let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text("orders"))));
        let answer = answer(&MetadataRequest::default().with_topics(Some(vec![topic])), version);
        let read = decode_response::<MetadataResponse>(3, &answer, version);
        assert_eq!(read.topics[0].name, Some(TopicName(text("orders"))));
        assert_eq!((read.topics[0].error_code, read.brokers.len()), (41, 0));
        assert_eq!(read.error_code, if version >= 13 { 41 } else { 0 });
    }
}

#[test]
fn find_coordinator_names_each_key_that_was_asked_for() {
    for version in versions::<FindCoordinatorRequest>(10) {
        let request = FindCoordinatorRequest::default();
        let request = if version >= 4 {
            request.with_coordinator_keys(vec![text("a"), text("b")])
        } else {
            request.with_key(text("a"))
        };
        let answer = answer(&request, version);
        let read = decode_response::<FindCoordinatorResponse>(10, &answer, version);
        if version >= 4 {
            let seen: Vec<_> = read.coordinators.iter().map(|c| (c.key.as_str(), c.error_code)).collect();
            assert_eq!(seen, [("a", 41), ("b", 41)]);
        } else {
            assert_eq!((read.error_code, read.node_id.0), (41, -1));
        }
    }
}

#[test]
fn what_has_no_answer_closes_the_connection() {
    assert_eq!(refuse_unknown(call(4, 7)), Refusal::Close);
    assert_eq!(refuse_unknown(call(1, 99)), Refusal::Close);
    assert!(matches!(refuse_unknown(call(18, 99)), Refusal::Answer(_)));
    let frame = request_frame(&OffsetCommitRequest::default(), 9);
    assert_eq!(refuse(&frame, &request_header(&frame), 41, None).unwrap(), Refusal::Close);
}
