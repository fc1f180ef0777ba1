//! What a broker's error code means for a batch that was sent.
//!
//! Arrives: an error code of a Produce answer. Leaves: whether the batch is written, is not, may be, or will be when it is sent again.
//! What must never happen here: a batch called unwritten that may be in the log, since sending it anew would write it twice.
//!
//! Source: `Errors` and `Sender.completeBatch` of Kafka 4.2; KIP-98, KIP-360.

use rdkafka::types::RDKafkaRespErr;

use super::delivery::Refusal;

/// Where a batch was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Of its first record; `None` when the broker has it from an earlier attempt and does not say where.
    pub(super) offset: Option<i64>,
    /// The broker's own time, where the topic keeps that.
    pub(super) appended: Option<i64>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All in-sync replicas have it.
    Written(Written),
    /// It is not written now; the same may succeed later, perhaps elsewhere.
    Again(Refusal),
    /// It may be written: the same bytes may be sent again, and nothing else of this series before them.
    Unsure,
    /// The broker does not know the series any more.
    LostSeries(Refusal),
    /// It is not written and will not be. Numbers of the records to blame, where the broker names them.
    Refused(Refusal, Vec<i32>),
    /// It has failed, in a way that does not say whether it is written.
    Failed(Refusal),
}

impl Verdict {
    /// Of a partition in an answer.
    pub(super) fn of(error_code: i16, written: Written, wrong: Vec<i32>) -> Self {
        match error_code {
            0 => Self::Written(written),
            // DUPLICATE_SEQUENCE_NUMBER: an earlier attempt has succeeded, and others since.
            46 => Self::Written(Written { offset: None, ..written }),
            // REQUEST_TIMED_OUT, NETWORK_EXCEPTION, NOT_ENOUGH_REPLICAS_AFTER_APPEND.
            7 | 13 | 20 => Self::Unsure,
            // CORRUPT_MESSAGE, UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, BROKER_NOT_AVAILABLE,
            // REPLICA_NOT_AVAILABLE, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH,
            // THROTTLING_QUOTA_EXCEEDED.
            2 | 3 | 5 | 6 | 8 | 9 | 19 | 56 | 74 | 75 | 89 => Self::Again(refusal(error_code)),
            // OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING, UNKNOWN_PRODUCER_ID.
            45 | 47 | 49 | 59 => Self::LostSeries(refusal(error_code)),
            // MESSAGE_TOO_LARGE, INVALID_TOPIC_EXCEPTION, RECORD_LIST_TOO_LARGE, INVALID_REQUIRED_ACKS, TOPIC_AUTHORIZATION_FAILED,
            // CLUSTER_AUTHORIZATION_FAILED, INVALID_TIMESTAMP, UNSUPPORTED_FOR_MESSAGE_FORMAT, POLICY_VIOLATION,
            // UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD.
            10 | 17 | 18 | 21 | 29 | 31 | 32 | 43 | 44 | 76 | 87 => Self::Refused(refusal(error_code), wrong),
            _ => Self::Failed(refusal(error_code)),
        }
    }
}

/// An error code in the words that the rest of the bridge knows.
pub(crate) fn refusal(error_code: i16) -> Refusal {
    RDKafkaRespErr::try_from(i32::from(error_code)).map_or(Refusal::Unknown, Refusal::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_they_mean_to_kafkas_own_producer() {
        let none = Written { offset: Some(5), appended: None };
        let of = |code| Verdict::of(code, none, Vec::new());
        assert_eq!(of(0), Verdict::Written(none));
        assert_eq!(of(46), Verdict::Written(Written { offset: None, appended: None }));
        assert_eq!(of(20), Verdict::Unsure);
        assert_eq!(of(6), Verdict::Again(Refusal::NotLeaderForPartition));
        assert_eq!(of(19), Verdict::Again(Refusal::NotEnoughReplicas));
        assert_eq!(of(45), Verdict::LostSeries(Refusal::OutOfOrderSequenceNumber));
        assert_eq!(of(44), Verdict::Refused(Refusal::PolicyViolation, Vec::new()));
        assert_eq!(of(10), Verdict::Refused(Refusal::MessageSizeTooLarge, Vec::new()));
        assert_eq!(of(-1), Verdict::Failed(Refusal::Unknown));
        assert_eq!(of(32_000), Verdict::Failed(Refusal::Unknown));
    }
}
