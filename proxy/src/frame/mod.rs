//! Kafka's framing.
pub mod batch;
