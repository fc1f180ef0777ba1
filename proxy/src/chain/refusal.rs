//! Why a partition or a record was refused, and what the client hears about it.
//!
//! Arrives: a failure in the chain. Leaves: a Kafka error code that the client can act on, a label for the
//! metric, and a text for the log. The text never holds record bytes or key material.

use barnabas_crypto::KeyId;

use super::seal::SealError;
use crate::audit::event::{Status, Text, Unwritten, Verdict};
use crate::frame::batch::BatchError;

/// A record that cannot be given to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Where in the partition.
    pub offset: i64,
    /// Why.
    pub reason: Reason,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The policy refuses this topic altogether.
    #[error("topic is not listed in streams.rules and streams.default is refuse")]
    Unlisted,
    /// Plain bytes where the policy says sealed ones.
    #[error("record is not sealed on a sealed stream")]
    NotSealed,
    /// The broker does not say which topic an id stands for.
    #[error("topic id has no name; the topic may have been deleted")]
    UnknownTopicId,
    /// The broker does not name the partition to this client: Kafka's error code.
    #[error("broker knows no such partition, or not for this client (error code {0})")]
    Absent(i16),
    /// The principal may not write the stream.
    #[error("principal may not write this stream; a writers entry of its rule would allow it")]
    NotWriter,
    /// The client holds no grant that covers the epoch.
    #[error("client has no grant for the epoch of this record")]
    NoGrant,
    /// No identity is registered for the principal.
    #[error("principal has no identity; register it with barnabas client add, or by a clients.enroll rule")]
    NoIdentity,
    /// The keyring has no announcement of the session.
    #[error("session of this record was never announced in the keyring")]
    UnknownSession,
    /// The epoch of the record was destroyed, on purpose.
    #[error("epoch of this record was destroyed; nobody opens it again")]
    Destroyed,
    /// The session was announced for another stream.
    #[error("record belongs to another stream")]
    WrongStream,
    /// The record fails authentication: changed, moved, or cut.
    #[error("record fails authentication: changed, moved from its place, or cut")]
    Forged,
    /// A record that was already delivered stands at a later offset again.
    #[error("record is a replay of an earlier one")]
    Replayed,
    /// Records of one writer stand in another order than they were written.
    #[error("record stands out of the order in which it was written")]
    Reordered,
    /// The epoch of a record that a client sealed itself is over.
    #[error("record is sealed under an epoch that is over")]
    StaleEpoch,
    /// Keyring, custody or steward do not answer; the same request may succeed later.
    #[error("keys are not available now: {0}")]
    Unavailable(&'static str),
    /// Not a sound record batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Not a refusal: the session was not looked up yet. Never leaves the chain.
    #[error("session {0} is not looked up yet")]
    Unasked(KeyId),
}

impl Reason {
    /// The Kafka error code of the partition of a Fetch response. What will not change is never given a code that some
    /// client library retries in silence: CORRUPT_MESSAGE is one that franz-go strips before the application sees it.
    pub fn error_code(&self) -> i16 {
        match self {
            Self::Unlisted | Self::NotWriter | Self::NoGrant | Self::NoIdentity => TOPIC_AUTHORIZATION_FAILED,
            Self::UnknownTopicId => UNKNOWN_TOPIC_ID,
            Self::Absent(code) => *code,
            Self::StaleEpoch => POLICY_VIOLATION,
            Self::NotSealed | Self::UnknownSession | Self::Destroyed | Self::WrongStream => INVALID_RECORD,
            Self::Forged | Self::Replayed | Self::Reordered | Self::Batch(_) => INVALID_RECORD,
            Self::Unavailable(_) | Self::Unasked(_) => KAFKA_STORAGE_ERROR,
        }
    }

    /// The Kafka error code of the partition of a Produce request. A producer must not retry for ever what
    /// can never be accepted.
    pub fn produce_error_code(&self) -> i16 {
        match self {
            Self::NotWriter => POLICY_VIOLATION,
            Self::Unavailable(_) | Self::Unasked(_) => NOT_ENOUGH_REPLICAS,
            other => other.error_code(),
        }
    }

    /// True when the same request may succeed later without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unasked(_))
    }

    /// True when another answer may come later without a change of generation: an announcement that is still on
    /// its way, or keys that are not at hand.
    pub fn may_change(&self) -> bool {
        self.is_retriable() || matches!(self, Self::UnknownSession)
    }

    /// As the audit log has it.
    pub fn verdict(&self) -> Verdict {
        let status = match self {
            Self::Unavailable(_) | Self::Unasked(_) => Status::Unavailable,
            Self::Unlisted | Self::NotWriter | Self::NoGrant | Self::NoIdentity | Self::Absent(_) => Status::Denied,
            Self::StaleEpoch | Self::Destroyed => Status::Denied,
            _ => Status::Failure,
        };
        Verdict::Refused(status, self.label(), Text::from(self.to_string()))
    }

    /// The metric label: a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unlisted => "unlisted",
            Self::NotSealed => "not_sealed",
            Self::UnknownTopicId => "unknown_topic_id",
            Self::Absent(_) => "absent",
            Self::NotWriter => "not_writer",
            Self::NoGrant => "no_grant",
            Self::NoIdentity => "no_identity",
            Self::UnknownSession => "unknown_session",
            Self::Destroyed => "destroyed",
            Self::WrongStream => "wrong_stream",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Reordered => "reordered",
            Self::StaleEpoch => "stale_epoch",
            Self::Unavailable(_) | Self::Unasked(_) => "unavailable",
            Self::Batch(_) => "malformed",
        }
    }
}

impl From<barnabas_crypto::Error> for Reason {
    /// Everything that a sealed record can be wrong with, as the reader sees it.
    fn from(error: barnabas_crypto::Error) -> Self {
        use barnabas_crypto::Error;
        match error {
            Error::Replay { .. } => Self::Replayed,
            Error::Reorder { .. } => Self::Reordered,
            _ => Self::Forged,
        }
    }
}

impl From<Unwritten> for Reason {
    fn from(_: Unwritten) -> Self {
        Self::Unavailable("the audit log cannot be written (audit.on_failure is block)")
    }
}

impl From<SealError> for Reason {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Batch(error) => Self::Batch(error),
            SealError::Control => Self::Batch(BatchError::Malformed("control batch from a client")),
            SealError::Session(_) => Self::Unavailable("session cannot seal"),
        }
    }
}

/// Kafka's `Errors` enum, the codes that the chain gives.
/// Retried by producers after a metadata refresh, until they give up.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// Producers split the batch where it has several records, and give up where it has one.
pub const MESSAGE_TOO_LARGE: i16 = 10;
/// Retried by every producer, and says that nothing was written.
pub const NOT_ENOUGH_REPLICAS: i16 = 19;
/// For that topic only; clients show it at once.
pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// The broker's policy refuses the request; not retried.
pub const POLICY_VIOLATION: i16 = 44;
/// Retried by consumers after a metadata refresh.
pub const KAFKA_STORAGE_ERROR: i16 = 56;
/// Retried after a metadata refresh.
pub const UNKNOWN_TOPIC_ID: i16 = 100;
/// Not retried.
pub const INVALID_RECORD: i16 = 87;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_not_change_is_not_retried_and_what_may_is() {
        let retried = [NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR, UNKNOWN_TOPIC_ID];
        let lasting = [
            Reason::Unlisted,
            Reason::NotSealed,
            Reason::NotWriter,
            Reason::NoGrant,
            Reason::NoIdentity,
            Reason::UnknownSession,
            Reason::Destroyed,
            Reason::WrongStream,
            Reason::Forged,
            Reason::Replayed,
            Reason::Reordered,
            Reason::StaleEpoch,
            Reason::Batch(BatchError::Checksum),
        ];
        for reason in lasting {
            assert!(!retried.contains(&reason.error_code()), "{reason}");
            assert!(!retried.contains(&reason.produce_error_code()), "{reason}");
        }
        let passing = Reason::Unavailable("test");
        assert_eq!((passing.error_code(), passing.produce_error_code()), (KAFKA_STORAGE_ERROR, NOT_ENOUGH_REPLICAS));
    }
}
