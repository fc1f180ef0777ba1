//! Questions and answers against another implementation of the protocol, in every version that is written and read here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::acls::{self, CreateAcls, DeleteAcls, DescribeAcls, Filter};
use super::add_partitions_to_txn::AddPartitionsToTxn;
use super::alter_configs::AlterConfigs;
use super::create_partitions::CreatePartitions;
use super::create_topics::CreateTopic;
use super::delete_topics::DeleteTopic;
use super::describe_cluster::DescribeCluster;
use super::describe_configs::Resource;
use super::end_txn::EndTxn;
use super::group_offsets::{At, CommittedOffsets, EndOffsets};
use super::groups::{Coordinated, DescribeConsumerGroup, DescribeGroup, FindCoordinator, ListGroups};
use super::init_producer_id::{InitProducerId, ProducerId};
use super::produce::{Produce, Produced};
use super::reassignments::{ListReassignments, Reassignment};
use super::verdict::Verdict;
use super::{Question, api};
use crate::frame::{ApiVersion, Cursor, Encoding};

fn encoding<Q: Question>(version: i16) -> Encoding {
    match api::find(Q::API).unwrap().is_flexible(ApiVersion(version)) {
        true => Encoding::Compact,
        false => Encoding::Classic,
    }
}

/// What the other implementation reads of a question.
fn asked<Q: Question, R: Decodable>(question: &Q, version: i16) -> R {
    let mut out = BytesMut::new();
    question.put(&mut out, version, encoding::<Q>(version)).unwrap();
    let mut bytes = out.freeze();
    let read = R::decode(&mut bytes, version).unwrap();
    assert!(bytes.is_empty(), "version {version}: {} bytes are left", bytes.len());
    read
}

/// What is read here of an answer that the other implementation wrote; and no cut of it is read.
fn told<Q: Question>(answer: &impl Encodable, version: i16) -> Q::Answer
where
    Q::Answer: Debug,
{
    let mut out = BytesMut::new();
    answer.encode(&mut out, version).unwrap();
    let mut cursor = Cursor::new(&out, 0, encoding::<Q>(version));
    let read = Q::read(&mut cursor, version).unwrap();
    // The tagged fields of the whole answer are nobody's here.
    let end = cursor.position();
    cursor.skip_tags().unwrap();
    assert_eq!(cursor.remaining(), 0, "version {version}");
    for length in 0..end {
        let mut cursor = Cursor::new(&out[..length], 0, encoding::<Q>(version));
        assert!(Q::read(&mut cursor, version).is_err(), "version {version}: {length} of {} bytes", out.len());
    }
    read
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic(name: &'static str) -> TopicName {
    TopicName(text(name))
}

fn refused() -> Verdict {
    Verdict { error_code: 42, message: Some("no".to_owned()) }
}

#[test]
fn topics_are_made_grown_and_deleted() {
    use theirs::create_topics_response::CreatableTopicResult;
    let configs = [("a".to_owned(), Some("b".to_owned())), ("c".to_owned(), None)];
    let assignments = [(0, vec![1, 2])];
    let question = CreateTopic {
        name: "t",
        partitions: -1,
        replication_factor: -1,
        assignments: &assignments,
        configs: &configs,
        validate_only: true,
        timeout_ms: 7,
    };
    for version in CreateTopic::VERSIONS {
        let read: theirs::CreateTopicsRequest = asked(&question, version);
        let made = &read.topics[0];
        assert_eq!((made.name.as_str(), made.num_partitions, made.replication_factor), ("t", -1, -1));
        assert_eq!((made.assignments[0].broker_ids[1].0, made.configs[1].value.clone()), (2, None));
        assert!(read.validate_only && read.timeout_ms == 7);
        let result = CreatableTopicResult::default().with_name(topic("t")).with_error_code(42);
        let mut result = result.with_error_message(Some(text("no")));
        if version >= 5 {
            result = result.with_num_partitions(3).with_replication_factor(2);
        }
        let told = told::<CreateTopic<'_>>(&theirs::CreateTopicsResponse::default().with_topics(vec![result]), version);
        assert_eq!(told.verdict, refused());
        assert_eq!(told.partitions, (version >= 5).then_some(3));
    }
    for version in CreatePartitions::VERSIONS {
        use theirs::create_partitions_response::CreatePartitionsTopicResult as Result;
        let read: theirs::CreatePartitionsRequest =
            asked(&CreatePartitions { topic: "t", count: 9, timeout_ms: 7 }, version);
        assert_eq!((read.topics[0].count, read.topics[0].assignments.clone()), (9, None));
        let result = Result::default().with_error_code(42).with_error_message(Some(text("no")));
        let answer = theirs::CreatePartitionsResponse::default().with_results(vec![result]);
        assert_eq!(told::<CreatePartitions<'_>>(&answer, version), refused());
    }
    for version in DeleteTopic::VERSIONS {
        use theirs::delete_topics_response::DeletableTopicResult as Result;
        let read: theirs::DeleteTopicsRequest = asked(&DeleteTopic { name: "t", timeout_ms: 7 }, version);
        assert_eq!(read.topic_names, [topic("t")]);
        let mut result = Result::default().with_name(Some(topic("t"))).with_error_code(42);
        if version >= 5 {
            result = result.with_error_message(Some(text("no")));
        }
        let answer = theirs::DeleteTopicsResponse::default().with_responses(vec![result]);
        let wanted = if version >= 5 { refused() } else { Verdict::bare(42) };
        assert_eq!(told::<DeleteTopic<'_>>(&answer, version), wanted);
    }
}

#[test]
fn settings_are_changed_and_the_cluster_is_described() {
    for version in AlterConfigs::VERSIONS {
        use theirs::incremental_alter_configs_response::AlterConfigsResourceResponse as Result;
        let changes = [("a".to_owned(), Some("b".to_owned())), ("c".to_owned(), None)];
        let question = AlterConfigs { kind: Resource::Broker, name: "", changes: &changes, validate_only: false };
        let read: theirs::IncrementalAlterConfigsRequest = asked(&question, version);
        let resource = &read.resources[0];
        let operations: Vec<i8> = resource.configs.iter().map(|config| config.config_operation).collect();
        assert_eq!((resource.resource_type, operations), (4, vec![0, 1]));
        let result = Result::default().with_error_code(42).with_error_message(Some(text("no")));
        let answer = theirs::IncrementalAlterConfigsResponse::default().with_responses(vec![result]);
        assert_eq!(told::<AlterConfigs<'_>>(&answer, version), refused());
    }
    for version in DescribeCluster::VERSIONS {
        use theirs::describe_cluster_response::DescribeClusterBroker as Broker;
        let _: theirs::DescribeClusterRequest = asked(&DescribeCluster, version);
        let broker = |id: i32| Broker::default().with_broker_id(id.into()).with_host(text("h")).with_port(1);
        let brokers = vec![broker(2).with_rack(Some(text("r"))), broker(1)];
        let answer = theirs::DescribeClusterResponse::default().with_cluster_id(text("c")).with_brokers(brokers);
        let told = told::<DescribeCluster>(&answer, version);
        assert_eq!(
            (told.cluster_id.as_str(), told.brokers[0].id, told.brokers[1].rack.as_deref()),
            ("c", 1, Some("r"))
        );
    }
    for version in ListReassignments::VERSIONS {
        use theirs::list_partition_reassignments_response::{OngoingPartitionReassignment, OngoingTopicReassignment};
        let question = ListReassignments { topic: Some(("t", &[3])), timeout_ms: 7 };
        let read: theirs::ListPartitionReassignmentsRequest = asked(&question, version);
        assert_eq!(read.topics.unwrap()[0].partition_indexes, [3]);
        let _: theirs::ListPartitionReassignmentsRequest =
            asked(&ListReassignments { topic: None, timeout_ms: 7 }, version);
        let partition = OngoingPartitionReassignment::default().with_partition_index(3);
        let partition = partition.with_adding_replicas(vec![1.into()]).with_removing_replicas(vec![2.into()]);
        let moving = OngoingTopicReassignment::default().with_name(topic("t")).with_partitions(vec![partition]);
        let answer = theirs::ListPartitionReassignmentsResponse::default().with_topics(vec![moving]);
        let wanted = Reassignment { topic: "t".to_owned(), partition: 3, adding: vec![1], removing: vec![2] };
        assert_eq!(told::<ListReassignments<'_>>(&answer, version).1, [wanted]);
    }
}

#[test]
fn groups_are_listed_found_and_described() {
    for version in ListGroups::VERSIONS {
        use theirs::list_groups_response::ListedGroup;
        let _: theirs::ListGroupsRequest = asked(&ListGroups, version);
        let mut group = ListedGroup::default().with_group_id(GroupId(text("g"))).with_protocol_type(text("consumer"));
        if version >= 4 {
            group = group.with_group_state(text("Stable"));
        }
        if version >= 5 {
            group = group.with_group_type(text("classic"));
        }
        let told = told::<ListGroups>(&theirs::ListGroupsResponse::default().with_groups(vec![group]), version);
        assert_eq!((told.1[0].group_id.as_str(), told.1[0].protocol_type.as_str()), ("g", "consumer"));
        assert_eq!(told.1[0].kind, if version >= 5 { "classic" } else { "" });
    }
    for version in FindCoordinator::VERSIONS {
        let read: theirs::FindCoordinatorRequest =
            asked(&FindCoordinator { key: "g", kind: Coordinated::Group }, version);
        assert_eq!((read.key.as_str(), read.key_type), ("g", 0));
        let answer = theirs::FindCoordinatorResponse::default().with_node_id(5.into()).with_host(text("h"));
        assert_eq!(told::<FindCoordinator<'_>>(&answer, version).1, 5);
    }
    for version in DescribeGroup::VERSIONS {
        use theirs::describe_groups_response::{DescribedGroup, DescribedGroupMember as Member};
        let read: theirs::DescribeGroupsRequest = asked(&DescribeGroup { group_id: "g" }, version);
        assert_eq!(read.groups.len(), 1);
        let assignment = [&[0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 4][..], &[0xff; 4]].concat();
        let mut member = Member::default().with_member_id(text("m")).with_member_assignment(Bytes::from(assignment));
        if version >= 4 {
            member = member.with_group_instance_id(Some(text("i")));
        }
        let group = DescribedGroup::default().with_group_state(text("Stable")).with_members(vec![member]);
        let told =
            told::<DescribeGroup<'_>>(&theirs::DescribeGroupsResponse::default().with_groups(vec![group]), version);
        assert_eq!((told.state.as_str(), &told.members[0].assigned), ("Stable", &vec![("t".to_owned(), vec![4])]));
        assert_eq!(told.members[0].instance_id.as_deref(), (version >= 4).then_some("i"));
    }
    for version in DescribeConsumerGroup::VERSIONS {
        use theirs::consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
        let _: theirs::ConsumerGroupDescribeRequest = asked(&DescribeConsumerGroup { group_id: "g" }, version);
        let of = |partition| {
            let partitions = TopicPartitions::default().with_topic_name(topic("t")).with_partitions(vec![partition]);
            Assignment::default().with_topic_partitions(vec![partitions])
        };
        let member = Member::default().with_member_id(text("m")).with_subscribed_topic_names(vec![topic("t")]);
        let member = member.with_assignment(of(4)).with_target_assignment(of(5));
        let group = DescribedGroup::default().with_assignor_name(text("uniform")).with_members(vec![member]);
        let answer = theirs::ConsumerGroupDescribeResponse::default().with_groups(vec![group]);
        let told = told::<DescribeConsumerGroup<'_>>(&answer, version);
        assert_eq!((told.assignor.as_str(), &told.members[0].assigned), ("uniform", &vec![("t".to_owned(), vec![4])]));
    }
}

#[test]
fn offsets_of_groups_and_ends_are_read() {
    let at = |offset| At { topic: "t".to_owned(), partition: 4, error_code: 0, offset };
    for version in CommittedOffsets::VERSIONS {
        use theirs::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
        let read: theirs::OffsetFetchRequest = asked(&CommittedOffsets { group_id: "g" }, version);
        assert_eq!((read.group_id.as_str(), read.topics), ("g", None));
        let partition = OffsetFetchResponsePartition::default().with_partition_index(4).with_committed_offset(9);
        let of = OffsetFetchResponseTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        let answer = theirs::OffsetFetchResponse::default().with_topics(vec![of]);
        assert_eq!(told::<CommittedOffsets<'_>>(&answer, version), (0, vec![at(9)]));
    }
    for version in EndOffsets::VERSIONS {
        use theirs::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
        let read: theirs::ListOffsetsRequest = asked(&EndOffsets { partitions: &[("t", vec![4])] }, version);
        assert_eq!(read.topics[0].partitions[0].timestamp, -1);
        let partition = ListOffsetsPartitionResponse::default().with_partition_index(4).with_offset(9);
        let of = ListOffsetsTopicResponse::default().with_name(topic("t")).with_partitions(vec![partition]);
        let answer = theirs::ListOffsetsResponse::default().with_topics(vec![of]);
        assert_eq!(told::<EndOffsets<'_>>(&answer, version), [at(9)]);
    }
}

#[test]
fn access_rules_are_made_found_and_deleted() {
    use theirs::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
    use theirs::describe_acls_response::{AclDescription, DescribeAclsResource};
    let acl = acls::Acl {
        resource_type: 2,
        resource_name: "r".to_owned(),
        pattern_type: 3,
        principal: "User:p".to_owned(),
        host: "*".to_owned(),
        operation: 4,
        permission: 3,
    };
    let filter = Filter {
        resource_type: 2,
        resource_name: Some("r".to_owned()),
        pattern_type: 3,
        principal: None,
        host: None,
        operation: 4,
        permission: 3,
    };
    for version in DescribeAcls::VERSIONS {
        let read: theirs::DescribeAclsRequest = asked(&DescribeAcls(&filter), version);
        assert_eq!((read.resource_name_filter, read.principal_filter), (Some(text("r")), None));
        let description = AclDescription::default().with_principal(text("User:p")).with_host(text("*"));
        let description = description.with_operation(4).with_permission_type(3);
        let resource = DescribeAclsResource::default().with_resource_type(2).with_resource_name(text("r"));
        let resource = resource.with_pattern_type(3).with_acls(vec![description]);
        let answer = theirs::DescribeAclsResponse::default().with_resources(vec![resource]);
        assert_eq!(told::<DescribeAcls<'_>>(&answer, version).1, std::slice::from_ref(&acl));

        let read: theirs::CreateAclsRequest = asked(&CreateAcls(std::slice::from_ref(&acl)), version);
        assert_eq!((read.creations[0].resource_pattern_type, read.creations[0].operation), (3, 4));
        let result = theirs::create_acls_response::AclCreationResult::default().with_error_code(42);
        let result = result.with_error_message(Some(text("no")));
        let answer = theirs::CreateAclsResponse::default().with_results(vec![result]);
        assert_eq!(told::<CreateAcls<'_>>(&answer, version), [refused()]);

        let _: theirs::DeleteAclsRequest = asked(&DeleteAcls(&filter), version);
        let matching = DeleteAclsMatchingAcl::default().with_resource_type(2).with_resource_name(text("r"));
        let matching = matching.with_pattern_type(3).with_principal(text("User:p")).with_host(text("*"));
        let matching = matching.with_operation(4).with_permission_type(3);
        let kept = matching.clone().with_error_code(42).with_error_message(Some(text("no")));
        let result = DeleteAclsFilterResult::default().with_matching_acls(vec![kept, matching]);
        let answer = theirs::DeleteAclsResponse::default().with_filter_results(vec![result]);
        assert_eq!(told::<DeleteAcls<'_>>(&answer, version), (refused(), vec![acl.clone()]));
    }
}

#[test]
fn a_transaction_is_begun_written_and_ended() {
    use theirs::add_partitions_to_txn_response as added;
    use theirs::produce_response::{PartitionProduceResponse, TopicProduceResponse};
    let producer = ProducerId { id: 5, epoch: 3 };
    for version in InitProducerId::VERSIONS {
        let read: theirs::InitProducerIdRequest =
            asked(&InitProducerId { transactional_id: Some("x"), timeout_ms: 7 }, version);
        assert_eq!((read.transactional_id.unwrap().as_str(), read.transaction_timeout_ms), ("x", 7));
        assert_eq!((read.producer_id.0, read.producer_epoch), (-1, -1));
        let answer = theirs::InitProducerIdResponse::default().with_error_code(51);
        let answer = answer.with_producer_id(5.into()).with_producer_epoch(3);
        assert_eq!(told::<InitProducerId<'_>>(&answer, version), (51, producer));
    }
    for version in AddPartitionsToTxn::VERSIONS {
        let topics = [("t", vec![1, 2]), ("u", vec![0])];
        let question = AddPartitionsToTxn { transactional_id: "x", producer, topics: &topics };
        let read: theirs::AddPartitionsToTxnRequest = asked(&question, version);
        assert_eq!((read.v3_and_below_producer_id.0, read.v3_and_below_producer_epoch), (5, 3));
        assert_eq!((read.v3_and_below_topics[0].partitions.clone(), read.v3_and_below_topics.len()), (vec![1, 2], 2));
        let result = |code| added::AddPartitionsToTxnPartitionResult::default().with_partition_error_code(code);
        let topic = added::AddPartitionsToTxnTopicResult::default();
        let topic = topic.with_results_by_partition(vec![result(0), result(55), result(29)]);
        let answer = theirs::AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(vec![topic]);
        assert_eq!(told::<AddPartitionsToTxn<'_>>(&answer, version), 29);
    }
    for version in Produce::VERSIONS {
        let batches = [(1, Bytes::from_static(b"ab")), (2, Bytes::from_static(b"c"))];
        let read: theirs::ProduceRequest =
            asked(&Produce { transactional_id: "x", timeout_ms: 7, topic: "t", batches: &batches }, version);
        assert_eq!((read.transactional_id.unwrap().as_str(), read.acks, read.timeout_ms), ("x", -1, 7));
        let parts = &read.topic_data[0].partition_data;
        assert_eq!((parts[0].index, parts[1].records.clone().unwrap()), (1, Bytes::from_static(b"c")));
        let part = |index, code, time| {
            PartitionProduceResponse::default()
                .with_index(index)
                .with_error_code(code)
                .with_base_offset(9)
                .with_log_append_time_ms(time)
        };
        let topic = TopicProduceResponse::default().with_name(topic("t"));
        let topic = topic.with_partition_responses(vec![part(1, 0, -1), part(2, 6, 8)]);
        // What follows the partitions is nobody's here.
        let mut out = BytesMut::new();
        theirs::ProduceResponse::default().with_responses(vec![topic]).encode(&mut out, version).unwrap();
        let told = Produce::read(&mut Cursor::new(&out, 0, encoding::<Produce<'_>>(version)), version).unwrap();
        let produced =
            |partition, error_code, append_time| Produced { partition, error_code, base_offset: 9, append_time };
        assert_eq!(told, [produced(1, 0, None), produced(2, 6, Some(8))]);
    }
    for version in EndTxn::VERSIONS {
        let read: theirs::EndTxnRequest = asked(&EndTxn { transactional_id: "x", producer, commit: true }, version);
        assert_eq!(
            (read.transactional_id.as_str(), read.producer_id.0, read.producer_epoch, read.committed),
            ("x", 5, 3, true)
        );
        assert_eq!(told::<EndTxn<'_>>(&theirs::EndTxnResponse::default().with_error_code(47), version), 47);
    }
}
