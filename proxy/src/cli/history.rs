//! The keyring topic read once, record by record, with a verdict on each: for those who check it or copy it.
//!
//! Arrives: a configuration. Leaves: the keyring that follows from the topic, and every record that was refused, with its
//! offset and reason. A gateway raises alarms for the same refusals; here they are the answer.

use std::collections::BTreeSet;

use barnabas_crypto::{Body, Keyring, Slot, VerifyingKey};
use rdkafka::Message;
use rdkafka::error::KafkaError;
use serde::Serialize;

use super::desk::{self, Progress};
use super::{Exit, Failure, serve};
use crate::config::Config;
use crate::gateway::Error;
use crate::keyring::{KeyringTopic, REQUEST_PREFIX, now};

/// What was read.
pub(super) struct History {
    /// What counts.
    pub(super) keyring: Keyring,
    /// Records of any kind.
    pub(super) records: u64,
    /// What does not count, and why.
    pub(super) refused: Vec<Refused>,
}

/// A record, or an object that waited for another, that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Refused {
    /// Where; null for an object of a file.
    pub(super) offset: Option<i64>,
    /// The record key.
    pub(super) key: String,
    /// Out of a closed list.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) text: String,
}

impl Refused {
    /// A refusal of the keyring.
    pub(super) fn new(offset: Option<i64>, key: String, refusal: &barnabas_crypto::Refusal) -> Self {
        Self { offset, key, reason: refusal.reason(), text: refusal.to_string() }
    }
}

impl History {
    /// Reads the topic of a configuration to its end.
    pub(super) fn read(config: &Config) -> Result<Self, Failure> {
        let runtime = desk::runtime()?;
        let read = runtime.block_on(read(config));
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        read
    }

    fn empty(root: VerifyingKey) -> Self {
        Self { keyring: Keyring::new(root), records: 0, refused: Vec::new() }
    }

    fn take(&mut self, key: &[u8], value: Option<&[u8]>, offset: i64) {
        self.records += 1;
        // Questions of gateways, not objects.
        if key.starts_with(REQUEST_PREFIX.as_bytes()) {
            return;
        }
        match self.keyring.apply(key, value, now()) {
            Ok(change) => {
                let failed =
                    change.follow_ups.iter().filter_map(|(slot, outcome)| Some((slot, outcome.as_ref().err()?)));
                self.refused.extend(failed.map(|(slot, why)| Refused::new(Some(offset), slot.to_string(), why)));
            }
            Err(refusal) => {
                self.refused.push(Refused::new(Some(offset), String::from_utf8_lossy(key).into_owned(), &refusal));
            }
        }
    }
}

/// Objects that nobody vouches for: what they wait for is not there. Those of an identity that was taken out on purpose
/// are not among them.
pub(super) fn unresolved(keyring: &Keyring) -> Vec<(Slot, Slot)> {
    let removals = keyring.objects().filter(|object| matches!(object.body(), Body::Removal(_)));
    let removed: BTreeSet<Slot> = removals.map(|object| object.body().slot()).collect();
    keyring.unresolved().filter(|(_, need)| !removed.contains(need)).collect()
}

async fn read(config: &Config) -> Result<History, Failure> {
    let root = config.steward.root_public_key.ok_or(Error::NoRootKey).map_err(serve::failure)?;
    let cluster = config.keyring_cluster().ok_or(Error::NoRootKey).map_err(serve::failure)?;
    let opened = KeyringTopic::new(cluster, &config.keyring.topic, config.keyring.replication_factor);
    let topic = std::sync::Arc::new(opened.map_err(|error| serve::failure(error.into()))?);
    let checked = topic.clone();
    let checked = tokio::task::spawn_blocking(move || checked.check_exists()).await;
    checked.map_err(|_| serve::failure(Error::Stopped))?.map_err(|error| serve::failure(error.into()))?;
    let consumer = topic.follow().map_err(|error| serve::failure(error.into()))?;
    let mut progress = Progress::new("reading the keyring, records so far");
    let mut history = History::empty(VerifyingKey::from_bytes(root));
    loop {
        match tokio::time::timeout(desk::READ_LIMIT, consumer.recv()).await {
            Ok(Ok(message)) => {
                history.take(message.key().unwrap_or_default(), message.payload(), message.offset());
                if history.records.is_multiple_of(PROGRESS_EVERY) {
                    progress.at(history.records);
                }
            }
            Ok(Err(KafkaError::PartitionEOF(_))) => return Ok(history),
            // The library reconnects by itself; the limit ends a wait in vain.
            Ok(Err(KafkaError::MessageConsumption(_))) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
            Ok(Err(error)) => return Err(Failure::new(Exit::Unavailable, topic.kafka(error).to_string())),
            Err(_) => return Err(serve::failure(Error::KeyringUnread(desk::READ_LIMIT))),
        }
    }
}

const PROGRESS_EVERY: u64 = 1_000;

const PAUSE_AFTER_ERROR: std::time::Duration = std::time::Duration::from_millis(200);
