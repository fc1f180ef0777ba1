//! The topic that answers are kept in: made when it is first needed, and checked.
//!
//! Arrives: questions of the bridge's own. Leaves: who leads the topic's partitions. What must never happen here: a topic used that forgets
//! keys before the longest window is over, or that gives records the time that their writer says.

use std::time::Duration;

use super::key::PARTITIONS;
use super::{MOST_LOOKS, UNKNOWN_TOPIC_OR_PARTITION, pause};
use crate::config::{IDEMPOTENCY_TOPIC, MOST_WINDOW};
use crate::rest::kafka::Kafka;
use crate::rest::kafka::create_topics::CreateTopic;
use crate::rest::kafka::describe_configs::{DescribeConfigs, Resource};
use crate::rest::kafka::metadata::Metadata;
use crate::rest::{Code, Error, refusal};

/// Makes the topic unless it is there; refuses one that cannot be used.
///
/// # Errors
/// That Kafka does not answer, or refuses; `Kafka` for an unfit topic.
pub async fn ensure(kafka: &Kafka, timeout: Duration) -> Result<(), Error> {
    let cluster = kafka.ask(&Metadata { topics: Some(&[IDEMPOTENCY_TOPIC]) }).await?;
    let found = cluster.topics.iter().find(|topic| topic.name == IDEMPOTENCY_TOPIC && topic.error_code == 0);
    if found.is_none() {
        let configs: Vec<_> =
            SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        let configs: Vec<_> =
            configs.into_iter().chain([("retention.ms".to_owned(), Some(retention_ms().to_string()))]).collect();
        let wanted = CreateTopic {
            name: IDEMPOTENCY_TOPIC,
            partitions: i32::from(PARTITIONS),
            replication_factor: -1,
            assignments: &[],
            configs: &configs,
            validate_only: false,
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        };
        let made = kafka.ask_node(cluster.controller_id, &wanted).await?.verdict;
        // Another replica may have been faster.
        if made.error_code != 0 && made.error_code != TOPIC_ALREADY_EXISTS {
            return Err(refusal::of_answer(made.error_code, &format!("topic {IDEMPOTENCY_TOPIC}")));
        }
        tracing::info!(event = "idempotency_topic_made", topic = IDEMPOTENCY_TOPIC);
    } else if let Some(topic) = found
        && topic.partitions.len() != usize::from(PARTITIONS)
    {
        return Err(unfit(format!("has {} partitions, it needs {PARTITIONS}", topic.partitions.len())));
    }
    check_settings(kafka).await
}

/// Who leads each partition, in their order.
///
/// # Errors
/// That Kafka does not answer, or that a partition has no leader.
pub async fn leaders(kafka: &Kafka, topic: &str) -> Result<Vec<i32>, Error> {
    let mut partitions = kafka.topic(topic).await?.partitions;
    partitions.sort_unstable_by_key(|partition| partition.index);
    let leaders: Vec<i32> = partitions.iter().map(|partition| partition.leader).collect();
    if leaders.is_empty() || leaders.iter().any(|leader| *leader < 0) {
        return Err(Code::KafkaRetriable.with(format!("topic {topic} has partitions without a leader")));
    }
    Ok(leaders)
}

async fn check_settings(kafka: &Kafka) -> Result<(), Error> {
    let question = DescribeConfigs { kind: Resource::Topic, name: IDEMPOTENCY_TOPIC };
    let mut pause = pause();
    let answer = loop {
        let answer = kafka.ask(&question).await?;
        match answer.error_code {
            0 => break answer,
            // One that was just made is not known to all brokers yet.
            UNKNOWN_TOPIC_OR_PARTITION if pause.count() < MOST_LOOKS => pause.wait().await,
            other => return Err(refusal::of_answer(other, &format!("topic {IDEMPOTENCY_TOPIC}"))),
        }
    };
    let setting = |name: &str| {
        let found = answer.settings.iter().find(|setting| setting.name == name);
        found.and_then(|setting| setting.value.as_deref()).unwrap_or_default()
    };
    for (name, wanted) in SETTINGS.iter().filter(|(name, _)| *name != "segment.ms") {
        if setting(name) != *wanted {
            return Err(unfit(format!("has {name}={}, it needs {wanted}", setting(name))));
        }
    }
    let retention: i64 = setting("retention.ms").parse().unwrap_or(0);
    if (0..retention_ms()).contains(&retention) {
        return Err(unfit(format!("has retention.ms={retention}, it needs {} at least", retention_ms())));
    }
    Ok(())
}

fn unfit(what: String) -> Error {
    tracing::warn!(event = "idempotency_topic_unfit", topic = IDEMPOTENCY_TOPIC, what);
    Code::Kafka.with(format!("topic {IDEMPOTENCY_TOPIC} {what}: an Idempotency-Key cannot be kept"))
}

/// A day longer than the longest window.
fn retention_ms() -> i64 {
    i64::try_from((MOST_WINDOW + Duration::from_secs(24 * 60 * 60)).as_millis()).unwrap_or(i64::MAX)
}

/// A key's youngest answer stays, until it is past its time. The time is the brokers': it is the same for all replicas.
const SETTINGS: &[(&str, &str)] = &[
    ("cleanup.policy", "compact,delete"),
    ("message.timestamp.type", "LogAppendTime"),
    ("compression.type", "producer"),
    // What is past its time goes a day later.
    ("segment.ms", "86400000"),
];

/// Kafka's error code.
const TOPIC_ALREADY_EXISTS: i16 = 36;
