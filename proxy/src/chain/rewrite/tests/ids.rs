//! Topic ids, found and replaced in every message that has some.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::HeaderVersion;

use super::*;
use crate::chain::rewrite::ids::{self, Foreseen, IdSpan};

/// A topic in a message: its id, and its name where the message has that too.
type Named = (u128, Option<&'static str>);

fn given(number: u128) -> Uuid {
    id(0xfeed_0000_0000_0000_0000_0000_0000_0000 + number)
}

/// What the places hold.
fn read(frame: &[u8], places: &[IdSpan]) -> Vec<(Uuid, Option<String>)> {
    let text = |name: crate::frame::Span| String::from_utf8(name.of(frame).unwrap().to_vec()).unwrap();
    let one = |place: &IdSpan| (Uuid::from_slice(place.id.of(frame).unwrap()).unwrap(), place.name.map(text));
    places.iter().map(one).collect()
}

fn expected(topics: &[Named]) -> Vec<(Uuid, Option<String>)> {
    topics.iter().map(|(number, name)| (given(*number), name.map(str::to_owned))).collect()
}

/// Every id replaced by one with all its bits the other way.
fn replaced(frame: &Bytes, places: &[IdSpan]) -> Bytes {
    let mut frame = BytesMut::from(frame.as_ref());
    for place in places {
        place.id.of_mut(&mut frame).unwrap().iter_mut().for_each(|byte| *byte = !*byte);
    }
    frame.freeze()
}

/// No id of the message is left, and nothing else has changed.
fn assert_replaced<M: std::fmt::Debug>(before: &M, after: &M, count: usize) {
    let (before, after) = (format!("{before:?}"), format!("{after:?}"));
    assert!(before.contains("feed0000") && !after.contains("feed0000"), "{after}");
    assert_eq!(before.matches("feed0000").count(), count, "{before}");
    assert_eq!(after.matches("0112ffff").count(), count, "{after}");
}

fn check_request<M: Request + Decodable + std::fmt::Debug>(message: &M, version: i16, topics: &[Named]) {
    let frame = request_frame(message, version);
    let header = request_header(&frame);
    assert!(ids::has_ids(header.call));
    let places = ids::of_request(&frame, &header).unwrap();
    assert_eq!(read(&frame, &places), expected(topics), "api {} version {version}", M::KEY);
    assert_replaced(message, &decode_request::<M>(&replaced(&frame, &places), version), topics.len());
    // Cut before its last id it is no message.
    let last = places.last().unwrap().id.start();
    for end in header.body..last {
        assert!(ids::of_request(&frame[..end], &header).is_err(), "cut at {end} was taken");
    }
}

fn check_response<M: Encodable + Decodable + HeaderVersion + std::fmt::Debug>(
    key: i16,
    message: &M,
    version: i16,
    topics: &[Named],
) {
    let frame = response_frame(key, message, version);
    let header = response_header(&frame, key, version);
    assert!(ids::has_ids(header.call));
    let places = ids::of_response(&frame, &header).unwrap();
    assert_eq!(read(&frame, &places), expected(topics), "api {key} version {version}");
    assert_replaced(message, &decode_response::<M>(key, &replaced(&frame, &places), version), topics.len());
    let last = places.last().unwrap().id.start();
    for end in header.body..last {
        assert!(ids::of_response(&frame[..end], &header).is_err(), "cut at {end} was taken");
    }
}

#[test]
fn requests_to_write_and_read() {
    use fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
    use produce_request::{PartitionProduceData, TopicProduceData};
    let data = PartitionProduceData::default().with_records(Some(Bytes::from_static(&[7; 40])));
    let topic =
        |number| TopicProduceData::default().with_topic_id(given(number)).with_partition_data(vec![data.clone(); 2]);
    let produce = ProduceRequest::default()
        .with_transactional_id(Some(TransactionalId(text("tx"))))
        .with_topic_data(vec![topic(1), topic(2)]);
    check_request(&produce, 13, &[(1, None), (2, None)]);
    for version in 13..=18 {
        let topic = |number| {
            FetchTopic::default().with_topic_id(given(number)).with_partitions(vec![FetchPartition::default(); 3])
        };
        let forgotten = ForgottenTopic::default().with_topic_id(given(3)).with_partitions(vec![1, 2]);
        let fetch = FetchRequest::default()
            .with_topics(vec![topic(1), topic(2)])
            .with_forgotten_topics_data(vec![forgotten])
            .with_rack_id(text("rack"));
        check_request(&fetch, version, &[(1, None), (2, None), (3, None)]);
    }
}

#[test]
fn requests_about_topics_and_offsets() {
    use delete_topics_request::DeleteTopicState;
    use metadata_request::MetadataRequestTopic;
    for version in 10..=13 {
        let by_id = MetadataRequestTopic::default().with_topic_id(given(1)).with_name(None);
        let metadata = MetadataRequest::default().with_topics(Some(vec![by_id]));
        check_request(&metadata, version, &[(1, None)]);
    }
    let state = DeleteTopicState::default().with_name(None).with_topic_id(given(4));
    check_request(&DeleteTopicsRequest::default().with_topics(vec![state]), 6, &[(4, None)]);
}

#[test]
fn requests_of_groups() {
    use consumer_group_heartbeat_request::TopicPartitions;
    for version in 0..=1 {
        let owned = TopicPartitions::default().with_topic_id(given(1)).with_partitions(vec![1, 2, 3]);
        let beat = ConsumerGroupHeartbeatRequest::default()
            .with_subscribed_topic_names(Some(vec![TopicName(text("orders")), TopicName(text("payments"))]))
            .with_rack_id(Some(text("rack")))
            .with_topic_partitions(Some(vec![owned]));
        check_request(&beat, version, &[(1, None)]);
        let frame = request_frame(&beat, version);
        let names = Foreseen::Names(vec!["orders", "payments"]);
        assert_eq!(ids::foreseen(&frame, &request_header(&frame)).unwrap(), names);
    }
    for version in versions::<ShareFetchRequest>(78) {
        let mut fetch = super::share::fetch_sample();
        let mut topics = Vec::new();
        for topic in &mut fetch.topics {
            topics.push((topics.len() as u128, None));
            topic.topic_id = given(topics.len() as u128 - 1);
        }
        for topic in &mut fetch.forgotten_topics_data {
            topics.push((topics.len() as u128, None));
            topic.topic_id = given(topics.len() as u128 - 1);
        }
        check_request(&fetch, version, &topics);
        use share_acknowledge_request::{AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch};
        let batch = AcknowledgementBatch::default().with_acknowledge_types(vec![1, 2]);
        let partition = AcknowledgePartition::default().with_acknowledgement_batches(vec![batch; 2]);
        let topic = AcknowledgeTopic::default().with_topic_id(given(5)).with_partitions(vec![partition; 2]);
        check_request(&ShareAcknowledgeRequest::default().with_topics(vec![topic]), version, &[(5, None)]);
    }
}

#[test]
fn what_an_answer_will_name_by_ids_alone() {
    let foreseen = |frame: &Bytes| format!("{:?}", ids::foreseen(frame, &request_header(frame)).unwrap());
    let regex = ConsumerGroupHeartbeatRequest::default().with_subscribed_topic_regex(Some(text("or.*")));
    assert_eq!(foreseen(&request_frame(&regex, 1)), "Everything");
    assert_eq!(foreseen(&request_frame(&ConsumerGroupHeartbeatRequest::default(), 1)), "Nothing");
    let share = ShareGroupHeartbeatRequest::default().with_subscribed_topic_names(Some(vec![TopicName(text("a"))]));
    assert_eq!(foreseen(&request_frame(&share, 1)), "Names([\"a\"])");
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let topic =
        OffsetFetchRequestTopics::default().with_name(TopicName(text(FIRST))).with_partition_indexes(vec![0, 1]);
    let some = OffsetFetchRequestGroup::default().with_topics(Some(vec![topic]));
    let all = OffsetFetchRequestGroup::default().with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![some.clone(), all]);
    assert_eq!(foreseen(&by_id(request_frame(&request, 9), true)), "Everything");
    let request = OffsetFetchRequest::default().with_groups(vec![some]);
    assert_eq!(foreseen(&by_id(request_frame(&request, 9), true)), "Nothing");
}

#[test]
fn answers_with_records_and_about_them() {
    use fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
    use produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse};
    let error = BatchIndexAndErrorMessage::default().with_batch_index_error_message(Some(text("bad")));
    let partition =
        PartitionProduceResponse::default().with_record_errors(vec![error; 2]).with_error_message(Some(text("worse")));
    let topic = |number| {
        TopicProduceResponse::default()
            .with_topic_id(given(number))
            .with_partition_responses(vec![partition.clone(); 2])
    };
    check_response(
        0,
        &ProduceResponse::default().with_responses(vec![topic(1), topic(2)]),
        13,
        &[(1, None), (2, None)],
    );
    for version in 13..=18 {
        let partition = PartitionData::default()
            .with_aborted_transactions(Some(vec![AbortedTransaction::default(); 3]))
            .with_records(Some(Bytes::from_static(&[9; 300])));
        let topic = |number| {
            FetchableTopicResponse::default().with_topic_id(given(number)).with_partitions(vec![partition.clone(); 2])
        };
        let answer = FetchResponse::default().with_responses(vec![topic(1), topic(2)]);
        check_response(1, &answer, version, &[(1, None), (2, None)]);
    }
}

#[test]
fn answers_about_topics() {
    use create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
    use delete_topics_response::DeletableTopicResult;
    use describe_topic_partitions_response::{
        DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
    };
    for version in 10..=13 {
        let mut metadata = super::addresses::metadata_sample(version);
        metadata.topics.iter_mut().for_each(|topic| topic.topic_id = given(0));
        metadata.topics[0].topic_id = given(1);
        let mut topics: Vec<Named> = vec![(0, None); metadata.topics.len()];
        topics[0] = (1, Some("orders"));
        for (place, topic) in topics.iter_mut().zip(&metadata.topics).skip(1) {
            place.1 = topic.name.as_ref().map(|name| &*name.to_string().leak());
        }
        check_response(3, &metadata, version, &topics);
    }
    let config = CreatableTopicConfigs::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let topic = |name: &str, number| {
        CreatableTopicResult::default()
            .with_name(TopicName(text(name)))
            .with_topic_id(given(number))
            .with_error_message(Some(text("no")))
            .with_topic_config_error_code(3)
            .with_configs(Some(vec![config.clone(); 2]))
    };
    let created = CreateTopicsResponse::default().with_topics(vec![topic("orders", 1), topic("payments", 2)]);
    check_response(19, &created, 7, &[(1, Some("orders")), (2, Some("payments"))]);
    let topic =
        DeletableTopicResult::default().with_name(None).with_topic_id(given(1)).with_error_message(Some(text("no")));
    let named = topic.clone().with_name(Some(TopicName(text("orders"))));
    let deleted = DeleteTopicsResponse::default().with_responses(vec![topic, named]);
    check_response(20, &deleted, 6, &[(1, None), (1, Some("orders"))]);
    let partition = DescribeTopicPartitionsResponsePartition::default()
        .with_replica_nodes(vec![BrokerId(1)])
        .with_eligible_leader_replicas(Some(vec![BrokerId(2), BrokerId(3)]));
    let topic = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(text("orders"))))
        .with_topic_id(given(1))
        .with_partitions(vec![partition; 3]);
    let described = DescribeTopicPartitionsResponse::default().with_topics(vec![topic.clone(), topic]);
    check_response(75, &described, 0, &[(1, Some("orders")), (1, Some("orders"))]);
}

/// Names of as many bytes as an id has.
const FIRST: &str = "id-of-topic-0001";
const SECOND: &str = "id-of-topic-0002";

/// A message of OffsetCommit or OffsetFetch in version 10, which the other codec does not know, made from one in version 9: the
/// only difference is an id in place of a name, and these names have no length before them then.
fn by_id(frame: Bytes, is_request: bool) -> Bytes {
    let mut out = frame.to_vec();
    if is_request {
        out[2..4].copy_from_slice(&10i16.to_be_bytes());
    }
    let is_name = |window: &[u8]| [FIRST, SECOND].iter().any(|name| window[1..] == *name.as_bytes());
    // A compact string begins with its length and one more.
    while let Some(at) = out.windows(17).position(|window| window[0] == 17 && is_name(window)) {
        out.remove(at);
    }
    Bytes::from(out)
}

fn ids_of(frame: &[u8], places: Vec<IdSpan>) -> Vec<String> {
    places.iter().map(|place| String::from_utf8(place.id.of(frame).unwrap().to_vec()).unwrap()).collect()
}

#[test]
fn offsets_by_id() {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    use offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
    let name = |name: &str| TopicName(text(name));
    let partition = OffsetCommitRequestPartition::default().with_committed_metadata(Some(text("where")));
    let topic =
        |topic| OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition.clone(); 2]);
    let commit =
        OffsetCommitRequest::default().with_group_id(GroupId(text("g"))).with_topics(vec![topic(FIRST), topic(SECOND)]);
    let topic = |topic| OffsetFetchRequestTopics::default().with_name(name(topic)).with_partition_indexes(vec![0, 1]);
    let group = OffsetFetchRequestGroup::default().with_topics(Some(vec![topic(FIRST), topic(SECOND)]));
    let fetch = OffsetFetchRequest::default().with_groups(vec![group; 2]);
    for frame in [request_frame(&commit, 9), request_frame(&fetch, 9)] {
        assert!(ids::of_request(&frame, &request_header(&frame)).unwrap().is_empty());
        let frame = by_id(frame, true);
        let found = ids_of(&frame, ids::of_request(&frame, &request_header(&frame)).unwrap());
        assert_eq!(found[..2], [FIRST, SECOND]);
        assert!(found.len() == 2 || found[2..] == [FIRST, SECOND]);
    }
    let topic = |topic| {
        let partitions = vec![OffsetCommitResponsePartition::default(); 2];
        OffsetCommitResponseTopic::default().with_name(name(topic)).with_partitions(partitions)
    };
    let committed = OffsetCommitResponse::default().with_topics(vec![topic(FIRST), topic(SECOND)]);
    let partition = OffsetFetchResponsePartitions::default().with_metadata(Some(text("where")));
    let topic =
        |topic| OffsetFetchResponseTopics::default().with_name(name(topic)).with_partitions(vec![partition.clone(); 2]);
    let group = OffsetFetchResponseGroup::default().with_topics(vec![topic(FIRST), topic(SECOND)]);
    let fetched = OffsetFetchResponse::default().with_groups(vec![group; 2]);
    for (key, frame) in [(8, response_frame(8, &committed, 9)), (9, response_frame(9, &fetched, 9))] {
        let frame = by_id(frame, false);
        let found = ids_of(&frame, ids::of_response(&frame, &response_header(&frame, key, 10)).unwrap());
        assert_eq!(found[..2], [FIRST, SECOND]);
        assert!(found.len() == 2 || found[2..] == [FIRST, SECOND]);
    }
}

#[test]
fn answers_to_members_of_groups() {
    for version in 0..=1 {
        use consumer_group_heartbeat_response::{Assignment, TopicPartitions};
        let topic = |number| TopicPartitions::default().with_topic_id(given(number)).with_partitions(vec![0, 1]);
        let assignment = Assignment::default().with_topic_partitions(vec![topic(1), topic(2)]);
        let beat = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(text("member")))
            .with_assignment(Some(assignment));
        check_response(68, &beat, version, &[(1, None), (2, None)]);
        let idle = response_frame(68, &ConsumerGroupHeartbeatResponse::default(), version);
        assert!(ids::of_response(&idle, &response_header(&idle, 68, version)).unwrap().is_empty());
    }
    use share_group_heartbeat_response::{Assignment, TopicPartitions};
    let topic = TopicPartitions::default().with_topic_id(given(1)).with_partitions(vec![0, 1]);
    let assignment = Assignment::default().with_topic_partitions(vec![topic]);
    check_response(76, &ShareGroupHeartbeatResponse::default().with_assignment(Some(assignment)), 1, &[(1, None)]);
}

#[test]
fn descriptions_of_groups() {
    for version in 0..=1 {
        use consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
        let topic = TopicPartitions::default()
            .with_topic_id(given(1))
            .with_topic_name(TopicName(text("orders")))
            .with_partitions(vec![0, 1]);
        let assignment = Assignment::default().with_topic_partitions(vec![topic]);
        let member = Member::default()
            .with_rack_id(Some(text("rack")))
            .with_subscribed_topic_names(vec![TopicName(text("orders"))])
            .with_assignment(assignment.clone())
            .with_target_assignment(assignment);
        let group = DescribedGroup::default().with_members(vec![member; 2]);
        let described = ConsumerGroupDescribeResponse::default().with_groups(vec![group]);
        check_response(69, &described, version, &[(1, Some("orders")); 4]);
    }
    use share_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
    let topic = TopicPartitions::default()
        .with_topic_id(given(1))
        .with_topic_name(TopicName(text("orders")))
        .with_partitions(vec![0, 1]);
    let assignment = Assignment::default().with_topic_partitions(vec![topic]);
    let member = Member::default().with_rack_id(Some(text("rack"))).with_assignment(assignment);
    let group = DescribedGroup::default().with_members(vec![member; 2]);
    let described = ShareGroupDescribeResponse::default().with_groups(vec![group]);
    check_response(77, &described, 1, &[(1, Some("orders")); 2]);
}

#[test]
fn answers_to_share_groups() {
    for version in versions::<ShareFetchRequest>(78) {
        let mut fetched = super::share::response_sample();
        let mut topics: Vec<Named> = Vec::new();
        for topic in &mut fetched.responses {
            topic.topic_id = given(topics.len() as u128);
            topics.push((topics.len() as u128, None));
        }
        check_response(78, &fetched, version, &topics);
        use share_acknowledge_response::{PartitionData, ShareAcknowledgeTopicResponse};
        let partition = PartitionData::default().with_error_message(Some(text("no")));
        let topic =
            ShareAcknowledgeTopicResponse::default().with_topic_id(given(1)).with_partitions(vec![partition; 2]);
        check_response(79, &ShareAcknowledgeResponse::default().with_responses(vec![topic]), version, &[(1, None)]);
    }
}

#[test]
fn offsets_of_share_groups() {
    let name = || TopicName(text("orders"));
    for version in versions::<DescribeShareGroupOffsetsResponse>(90) {
        use describe_share_group_offsets_response::*;
        let partition = DescribeShareGroupOffsetsResponsePartition::default().with_error_message(Some(text("no")));
        let topic = DescribeShareGroupOffsetsResponseTopic::default()
            .with_topic_id(given(1))
            .with_topic_name(name())
            .with_partitions(vec![partition; 2]);
        let group = DescribeShareGroupOffsetsResponseGroup::default().with_topics(vec![topic; 2]);
        let described = DescribeShareGroupOffsetsResponse::default().with_groups(vec![group]);
        check_response(90, &described, version, &[(1, Some("orders")); 2]);
    }
    use alter_share_group_offsets_response::*;
    let partition = AlterShareGroupOffsetsResponsePartition::default().with_error_message(Some(text("no")));
    let topic = AlterShareGroupOffsetsResponseTopic::default()
        .with_topic_id(given(1))
        .with_topic_name(name())
        .with_partitions(vec![partition; 2]);
    check_response(
        91,
        &AlterShareGroupOffsetsResponse::default().with_responses(vec![topic]),
        0,
        &[(1, Some("orders"))],
    );
    use delete_share_group_offsets_response::DeleteShareGroupOffsetsResponseTopic;
    let topic = DeleteShareGroupOffsetsResponseTopic::default().with_topic_id(given(1)).with_topic_name(name());
    let deleted = DeleteShareGroupOffsetsResponse::default().with_responses(vec![topic; 2]);
    check_response(92, &deleted, 0, &[(1, Some("orders")); 2]);
}
