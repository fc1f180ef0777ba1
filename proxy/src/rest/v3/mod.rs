//! The v3 API: clusters, topics, settings, groups, access rules, and records as a stream. Also below `/kafka`, where some clients look.
//!
//! Every operation begins with [`ask::Ask`], which knows the caller; what it asks Kafka, it asks as that caller, through the gateway.

pub mod ask;
pub mod envelope;
pub mod clusters;
pub mod brokers;
pub mod topics;
pub mod partitions;
pub mod configs;
pub mod groups;
pub mod lags;
pub mod acls;
pub mod records;
mod lines;
mod stream;
mod refusal;

use axum::http::Method;
use serde_json::{Value, json};

use super::operation::{Operation, text};

/// All operations of the v3 API.
pub fn operations() -> Vec<Operation> {
    let parts = [
        cluster_operations(),
        topic_operations(),
        config_operations(),
        group_operations(),
        acl_operations(),
        records::operations(),
    ];
    parts.into_iter().flatten().collect()
}

fn cluster_operations() -> Vec<Operation> {
    use Operation as Op;
    vec![
        Op::get("/v3/clusters", clusters::list)
            .about(CLUSTERS, "The cluster behind the bridge, in a list")
            .gives::<envelope::List<clusters::Cluster>>(200, "The list"),
        Op::get("/v3/clusters/{cluster_id}", clusters::show)
            .about(CLUSTERS, "The cluster behind the bridge")
            .gives::<clusters::Cluster>(200, "The cluster"),
        Op::get("/v3/clusters/{cluster_id}/brokers", brokers::list)
            .about(CLUSTERS, "All brokers that are up")
            .gives::<envelope::List<brokers::Broker>>(200, "The brokers"),
        Op::get("/v3/clusters/{cluster_id}/brokers/{broker_id}", brokers::show)
            .about(CLUSTERS, "One broker")
            .gives::<brokers::Broker>(200, "The broker"),
        Op::get("/v3/clusters/{cluster_id}/brokers/{broker_id}/partition-replicas", brokers::replicas)
            .about(CLUSTERS, "Replicas that a broker has")
            .gives::<envelope::List<partitions::Replica>>(200, "The replicas"),
    ]
}

fn topic_operations() -> Vec<Operation> {
    use Operation as Op;
    vec![
        Op::get("/v3/clusters/{cluster_id}/topics", topics::list)
            .about(TOPICS, "All topics that the caller may see")
            .word(OPERATIONS, json!({ "type": "boolean" }), "Tell what may be done with each, by the brokers' rules")
            .gives::<envelope::List<topics::Topic>>(200, "The topics"),
        Op::post("/v3/clusters/{cluster_id}/topics", topics::create)
            .about(TOPICS, "Make a topic, or only look whether it could be made")
            .takes::<topics::NewTopic>()
            .gives::<topics::Topic>(201, "It was made")
            .gives::<topics::Topic>(200, "It could be made (validate_only)"),
        Op::get("/v3/clusters/{cluster_id}/topics/{topic_name}", topics::show)
            .about(TOPICS, "One topic")
            .word(OPERATIONS, json!({ "type": "boolean" }), "Tell what may be done with it, by the brokers' rules")
            .gives::<topics::Topic>(200, "The topic"),
        Op::patch("/v3/clusters/{cluster_id}/topics/{topic_name}", topics::grow)
            .about(TOPICS, "Give a topic more partitions")
            .takes::<topics::GrownTopic>()
            .gives::<topics::Topic>(200, "The topic as it is now"),
        Op::delete("/v3/clusters/{cluster_id}/topics/{topic_name}", topics::delete)
            .about(TOPICS, "Delete a topic with all its records")
            .gives_nothing(204, "It was deleted"),
        Op::get("/v3/clusters/{cluster_id}/topics/{topic_name}/partitions", partitions::list)
            .about(TOPICS, "All partitions of a topic")
            .gives::<envelope::List<partitions::Partition>>(200, "The partitions"),
        Op::get("/v3/clusters/{cluster_id}/topics/{topic_name}/partitions/{partition_id}", partitions::show)
            .about(TOPICS, "One partition")
            .gives::<partitions::Partition>(200, "The partition"),
        Op::get("/v3/clusters/{cluster_id}/topics/{topic_name}/partitions/{partition_id}/offset", partitions::offsets)
            .about(TOPICS, "Where a partition begins and ends")
            .word("offset_type", one_of(&["earliest_and_latest"]), "Which offsets")
            .gives::<partitions::Offsets>(200, "The partition with its offsets"),
        Op::get(
            "/v3/clusters/{cluster_id}/topics/{topic_name}/partitions/{partition_id}/replicas",
            partitions::replicas,
        )
        .about(TOPICS, "The replicas of a partition")
        .gives::<envelope::List<partitions::Replica>>(200, "The replicas"),
        Op::get(
            "/v3/clusters/{cluster_id}/topics/{topic_name}/partitions/{partition_id}/replicas/{broker_id}",
            partitions::replica,
        )
        .about(TOPICS, "One replica of a partition")
        .gives::<partitions::Replica>(200, "The replica"),
        Op::get("/v3/clusters/{cluster_id}/topics/-/partitions/-/reassignment", partitions::all_reassignments)
            .about(TOPICS, "All partitions that are moving")
            .gives::<envelope::List<partitions::Reassignment>>(200, "The partitions"),
        Op::get("/v3/clusters/{cluster_id}/topics/{topic_name}/partitions/-/reassignment", partitions::reassignments)
            .about(TOPICS, "Partitions of a topic that are moving")
            .gives::<envelope::List<partitions::Reassignment>>(200, "The partitions"),
        Op::get(
            "/v3/clusters/{cluster_id}/topics/{topic_name}/partitions/{partition_id}/reassignment",
            partitions::reassignment,
        )
        .about(TOPICS, "How a partition is moving")
        .gives::<partitions::Reassignment>(200, "The partition"),
    ]
}

fn config_operations() -> Vec<Operation> {
    use Operation as Op;
    let list = |operation: Operation| {
        operation.about(CONFIGS, "All settings").gives::<envelope::List<configs::Config>>(200, "The settings")
    };
    let show =
        |operation: Operation| operation.about(CONFIGS, "One setting").gives::<configs::Config>(200, "The setting");
    let set = |operation: Operation| {
        operation.about(CONFIGS, "Set a setting").takes::<configs::NewValue>().gives_nothing(204, "It was set")
    };
    let reset = |operation: Operation| {
        operation.about(CONFIGS, "Take a setting away").gives_nothing(204, "The default applies")
    };
    let alter = |operation: Operation| {
        let operation = operation.about(CONFIGS, "Change several settings, all or none");
        operation.takes::<configs::Changes>().gives_nothing(204, "They were changed, or could be (validate_only)")
    };
    const TOPIC: &str = "/v3/clusters/{cluster_id}/topics/{topic_name}/configs";
    const TOPIC_ONE: &str = "/v3/clusters/{cluster_id}/topics/{topic_name}/configs/{name}";
    const BROKER: &str = "/v3/clusters/{cluster_id}/brokers/{broker_id}/configs";
    const BROKER_ONE: &str = "/v3/clusters/{cluster_id}/brokers/{broker_id}/configs/{name}";
    const ALL: &str = "/v3/clusters/{cluster_id}/broker-configs";
    const ALL_ONE: &str = "/v3/clusters/{cluster_id}/broker-configs/{name}";
    const EACH_TOPIC: &str = "/v3/clusters/{cluster_id}/topics/-/configs";
    const EACH_BROKER: &str = "/v3/clusters/{cluster_id}/brokers/-/configs";
    vec![
        list(Op::get(TOPIC, configs::of_topic)),
        show(Op::get(TOPIC_ONE, configs::one_of_topic)),
        set(Op::put(TOPIC_ONE, configs::set_of_topic)),
        reset(Op::delete(TOPIC_ONE, configs::reset_of_topic)),
        alter(Op::post("/v3/clusters/{cluster_id}/topics/{topic_name}/configs:alter", configs::alter_topic)),
        list(Op::get(EACH_TOPIC, configs::of_each_topic)),
        Op::post("/v3/clusters/{cluster_id}/topics/-/configs:alter", configs::alter_topics)
            .about(CONFIGS, "Change settings of several topics, of each all or none")
            .takes::<configs::ChangesOfTopics>()
            .gives_nothing(204, "They were changed, or could be (validate_only)")
            .gives::<configs::Failures>(207, "Some were not changed, and why"),
        list(Op::get(BROKER, configs::of_broker)),
        show(Op::get(BROKER_ONE, configs::one_of_broker)),
        set(Op::put(BROKER_ONE, configs::set_of_broker)),
        reset(Op::delete(BROKER_ONE, configs::reset_of_broker)),
        alter(Op::post("/v3/clusters/{cluster_id}/brokers/{broker_id}/configs:alter", configs::alter_broker)),
        list(Op::get(EACH_BROKER, configs::of_each_broker)),
        list(Op::get(ALL, configs::of_all_brokers)),
        show(Op::get(ALL_ONE, configs::one_of_all_brokers)),
        set(Op::put(ALL_ONE, configs::set_of_all_brokers)),
        reset(Op::delete(ALL_ONE, configs::reset_of_all_brokers)),
        alter(Op::post("/v3/clusters/{cluster_id}/broker-configs:alter", configs::alter_all_brokers)),
    ]
}

fn group_operations() -> Vec<Operation> {
    use Operation as Op;
    vec![
        Op::get("/v3/clusters/{cluster_id}/consumer-groups", groups::list)
            .about(GROUPS, "All consumer groups")
            .gives::<envelope::List<groups::ConsumerGroup>>(200, "The groups"),
        Op::get("/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}", groups::show)
            .about(GROUPS, "One consumer group")
            .gives::<groups::ConsumerGroup>(200, "The group"),
        Op::get("/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}/consumers", groups::consumers)
            .about(GROUPS, "The members of a group")
            .gives::<envelope::List<groups::Consumer>>(200, "The members"),
        Op::get(
            "/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}/consumers/{consumer_id}",
            groups::consumer,
        )
        .about(GROUPS, "One member of a group")
        .gives::<groups::Consumer>(200, "The member"),
        Op::get(
            "/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}/consumers/{consumer_id}/assignments",
            groups::assignments,
        )
        .about(GROUPS, "What a member reads")
        .gives::<envelope::List<groups::Assignment>>(200, "The partitions"),
        Op::get(
            "/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}/consumers/{consumer_id}/assignments/{topic_name}/partitions/{partition_id}",
            groups::assignment,
        )
        .about(GROUPS, "One partition that a member reads")
        .gives::<groups::Assignment>(200, "The partition"),
        Op::get("/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}/lags", lags::list)
            .about(GROUPS, "How far a group is behind, for each partition")
            .gives::<envelope::List<lags::Lag>>(200, "The lags"),
        Op::get(
            "/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}/lags/{topic_name}/partitions/{partition_id}",
            lags::show,
        )
        .about(GROUPS, "How far a group is behind in one partition")
        .gives::<lags::Lag>(200, "The lag"),
        Op::get("/v3/clusters/{cluster_id}/consumer-groups/{consumer_group_id}/lag-summary", lags::summary)
            .about(GROUPS, "How far a group is behind altogether, and where most")
            .gives::<lags::LagSummary>(200, "The summary"),
    ]
}

fn acl_operations() -> Vec<Operation> {
    use Operation as Op;
    let path = "/v3/clusters/{cluster_id}/acls";
    let names = |operation: Operation| {
        operation
            .word("resource_name", text(), "The resource; any without it")
            .word("principal", text(), "For whom; anybody without it")
            .word("host", text(), "From where; anywhere without it")
    };
    let kinds: [(&'static str, Value, &'static str); 4] = [
        (
            "resource_type",
            one_of(&["ANY", "TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"]),
            "What it is about",
        ),
        ("pattern_type", one_of(&["ANY", "MATCH", "LITERAL", "PREFIXED"]), "How the resource is named"),
        ("operation", text(), "What is done, in Kafka's word; ANY for all"),
        ("permission", one_of(&["ANY", "ALLOW", "DENY"]), "Whether it is allowed"),
    ];
    let mut list = names(Op::get(path, acls::list))
        .about(ACLS, "Access rules of the brokers that a filter finds; all without one")
        .gives::<envelope::List<acls::Acl>>(200, "The rules");
    let mut delete = names(Op::delete(path, acls::delete))
        .about(ACLS, "Take away the access rules that a filter finds")
        .gives::<envelope::List<acls::Acl>>(200, "The rules that were taken away");
    for (name, schema, about) in kinds {
        list = list.word(name, schema.clone(), about);
        delete = delete.required_word(name, schema, about);
    }
    vec![
        list,
        Op::new(Method::POST, path, acls::create)
            .about(ACLS, "Make an access rule of the brokers")
            .takes::<acls::NewAcl>()
            .gives_nothing(201, "It was made; Location finds it"),
        delete,
        Op::post("/v3/clusters/{cluster_id}/acls:batch", acls::create_batch)
            .about(ACLS, "Make several access rules of the brokers")
            .takes::<acls::NewAcls>()
            .gives_nothing(201, "They were made"),
    ]
}

fn one_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

const OPERATIONS: &str = "include_authorized_operations";

const CLUSTERS: &str = "v3: clusters";
const TOPICS: &str = "v3: topics";
const CONFIGS: &str = "v3: settings";
const GROUPS: &str = "v3: consumer groups";
const ACLS: &str = "v3: access rules";
