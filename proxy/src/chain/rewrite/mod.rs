//! One file per Kafka API whose messages are walked.
