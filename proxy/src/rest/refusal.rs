//! What Kafka says no with, in the words of the REST APIs.
//!
//! Arrives: an error code of a broker, of this gateway, or of the client library. Leaves: a [`Code`] and a sentence. What must never
//! happen here: something that may succeed later told as final, or the other way round.

use rdkafka::error::RDKafkaErrorCode as Kafka;

use super::formats::Refused;
use super::{Code, Error};

/// Why a record was not written.
pub fn of_record(error: Kafka) -> (Code, String) {
    let (code, text) = match error {
        Kafka::TopicAuthorizationFailed | Kafka::ClusterAuthorizationFailed | Kafka::GroupAuthorizationFailed => {
            (Code::Forbidden, "not authorized to write to this topic")
        }
        // Of this gateway: neither grant nor rule lets the principal write.
        Kafka::PolicyViolation => (Code::Forbidden, "the policy does not let this principal write to this topic"),
        Kafka::UnknownTopic | Kafka::UnknownTopicOrPartition => (Code::TopicNotFound, "no such topic"),
        Kafka::UnknownPartition => (Code::PartitionNotFound, "no such partition"),
        Kafka::MessageSizeTooLarge | Kafka::MessageBatchTooLarge | Kafka::InvalidMessageSize => {
            (Code::TooLarge, "the record is larger than the brokers take")
        }
        Kafka::InvalidRecord | Kafka::InvalidTimestamp => (Code::InvalidPayload, "the brokers find the record invalid"),
        // Of this bridge: a request with an Idempotency-Key is written as a whole.
        Kafka::Conflict => (Code::Unprocessable, "not written, because another record of the request was refused"),
        Kafka::QueueFull => (Code::TooManyRequests, "too many records wait for their acknowledgement"),
        Kafka::ThrottlingQuotaExceeded => (Code::QuotaExceeded, "a quota of the brokers is exceeded"),
        Kafka::NotEnoughReplicas => {
            (Code::KafkaRetriable, "too few replicas are in sync, or the topic's keys cannot be had now")
        }
        Kafka::MessageTimedOut | Kafka::TimedOutQueue | Kafka::RequestTimedOut | Kafka::OperationTimedOut => {
            (Code::KafkaRetriable, "no broker has acknowledged the record in time; it may have been written")
        }
        Kafka::BrokerTransportFailure
        | Kafka::AllBrokersDown
        | Kafka::BrokerNotAvailable
        | Kafka::NetworkException
        | Kafka::LeaderNotAvailable
        | Kafka::NotLeaderForPartition
        | Kafka::NotEnoughReplicasAfterAppend
        | Kafka::ReplicaNotAvailable
        | Kafka::KafkaStorageError
        | Kafka::UnknownProducerId
        | Kafka::OutOfOrderSequenceNumber
        | Kafka::InvalidProducerEpoch
        | Kafka::PurgeQueue
        | Kafka::PurgeInflight
        | Kafka::Authentication
        | Kafka::Retry => (Code::KafkaRetriable, "Kafka is not ready to take the record; try again"),
        Kafka::SSL => (Code::KafkaTls, "TLS towards the brokers"),
        other => return (Code::Kafka, format!("Kafka refuses the record: {other}")),
    };
    (code, text.to_owned())
}

/// The same as a record's outcome in an answer.
pub fn refused(error: Kafka) -> Refused {
    let (code, message) = of_record(error);
    Refused { error_code: i32::try_from(code.number()).unwrap_or(i32::MAX), message }
}

/// Why a topic cannot be described or written to.
pub fn of_topic(error_code: i16, topic: &str) -> Error {
    match error_code {
        // UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION: no topic has such a name.
        3 | 17 => topic_not_found(topic),
        29 => Code::Forbidden.with(format!("not authorized for topic {topic}")),
        other => of_answer(other, &format!("topic {topic}")),
    }
}

/// There is no such topic.
pub fn topic_not_found(topic: &str) -> Error {
    Code::TopicNotFound.with(format!("Topic {topic} not found."))
}

/// There is no such partition.
pub fn partition_not_found(partition: i32) -> Error {
    Code::PartitionNotFound.with(format!("Partition {partition} not found."))
}

/// What a broker answered to a question about `subject`.
pub fn of_answer(error_code: i16, subject: &str) -> Error {
    let (code, text) = match error_code {
        3 => (Code::TopicNotFound, "no such topic or partition"),
        5 => (Code::LeaderNotAvailable, "no leader now"),
        // Those that Kafka's own clients try again.
        6 | 7 | 8 | 9 | 13 | 19 | 20 | 41 | 56 | 74 | 75 | 78 => {
            (Code::KafkaRetriable, "Kafka is not ready; try again")
        }
        14..=16 => (Code::CoordinatorUnavailable, "no coordinator now; try again"),
        29..=31 | 53 => (Code::Forbidden, "not authorized"),
        36 => (Code::KafkaBadRequest, "already exists"),
        37 => (Code::KafkaBadRequest, "invalid number of partitions"),
        38 => (Code::KafkaBadRequest, "invalid replication factor"),
        39 => (Code::KafkaBadRequest, "invalid assignment of replicas"),
        17 | 40 | 42 | 44 | 54 | 85 => (Code::KafkaBadRequest, "Kafka finds the request invalid"),
        58 => (Code::Unauthenticated, "Kafka does not accept who is asking"),
        69 => (Code::GroupNotFound, "no such group"),
        89 => (Code::QuotaExceeded, "a quota of the brokers is exceeded"),
        _ => return Code::Kafka.with(format!("{subject}: Kafka answers with error {error_code}")),
    };
    code.with(format!("{subject}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_is_told_so() {
        for error in
            [Kafka::MessageTimedOut, Kafka::NotEnoughReplicas, Kafka::AllBrokersDown, Kafka::NotLeaderForPartition]
        {
            assert_eq!(of_record(error).0, Code::KafkaRetriable, "{error:?}");
        }
        for error in [Kafka::TopicAuthorizationFailed, Kafka::PolicyViolation] {
            assert_eq!(of_record(error).0, Code::Forbidden, "{error:?}");
        }
        assert_eq!(refused(Kafka::UnknownTopic).error_code, 40401);
        assert_eq!(of_topic(17, "a b").code, Code::TopicNotFound);
        assert_eq!(of_answer(9999, "x").code, Code::Kafka);
    }
}
