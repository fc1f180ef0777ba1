//! How far the follower of the keyring is behind the topic, asked past the follower.
//!
//! Arrives: the topic, and where the follower stands. Leaves: a gauge. A follower that hears nothing any more looks like
//! one that has nothing to hear; only a second look at the topic tells them apart. What must never happen here: a wait
//! that has no end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::live::LiveKeyring;
use super::topic::{ANSWER_TIMEOUT, KeyringTopic, QuietContext, TopicError};
use crate::metrics::Metrics;

/// Measures for ever.
pub async fn measure_lag(topic: Arc<KeyringTopic>, live: Arc<LiveKeyring>, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(MEASURE_EVERY);
    let mut consumer = None;
    loop {
        ticks.tick().await;
        if !live.is_caught_up() {
            continue;
        }
        let (from, topic, taken) = (live.applied_to(), topic.clone(), consumer.take());
        let looked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer<QuietContext> = match taken {
                Some(consumer) => consumer,
                None => topic.consumer()?,
            };
            Ok::<_, TopicError>((end_after(&consumer, &topic, from)?, consumer))
        });
        match looked.await {
            Ok(Ok((end, kept))) => {
                consumer = Some(kept);
                metrics.keyring.lag.set(end.saturating_sub(live.applied_to()).max(0));
            }
            // The follower says so when Kafka cannot be reached.
            Ok(Err(error)) => tracing::debug!(event = "keyring_lag_unknown", %error),
            Err(_) => return,
        }
    }
}

/// The offset behind the last record that a follower is shown, from `from` on: the end of the log may be a transaction
/// marker, which nobody is shown. What cannot be read to its end in time counts as far as it was.
fn end_after(consumer: &BaseConsumer<QuietContext>, topic: &KeyringTopic, from: i64) -> Result<i64, TopicError> {
    let mut partitions = TopicPartitionList::new();
    let start = if from > 0 { Offset::Offset(from) } else { Offset::Beginning };
    partitions.add_partition_offset(topic.name(), 0, start).map_err(|error| topic.kafka(error))?;
    consumer.assign(&partitions).map_err(|error| topic.kafka(error))?;
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut end = from;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => end = message.offset() + 1,
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => return Err(topic.kafka(error)),
            None => {}
        }
    }
    // Nothing is fetched between two looks.
    consumer.unassign().map_err(|error| topic.kafka(error))?;
    Ok(end)
}

/// A lag that matters lasts minutes.
const MEASURE_EVERY: Duration = Duration::from_secs(30);
