//! What the keystore knows of the keyring: which topics were sealed.
//!
//! Arrives: objects that were published, the keyring as it is. Leaves: topics that were sealed and that the keyring does not
//! name. The keyring is in the broker's hands; the keystore is not. What must never happen here: a topic remembered that was
//! never sealed, since remembering is for ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use barnabas_crypto::{Body, Custody, SignedObject, VerifyingKey};

use crate::keyring::LiveKeyring;

/// The keystore as the delegate's memory.
pub struct Reminder {
    kms: Arc<dyn Custody>,
}

impl Reminder {
    /// Keeps in `kms`, where that keystore can keep anything.
    pub fn new(kms: Arc<dyn Custody>) -> Self {
        Self { kms }
    }

    /// The topics that were sealed.
    pub fn topics(&self) -> BTreeSet<String> {
        self.kms.remembered().iter().filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_owned())).collect()
    }

    /// Keeps the topics that these objects seal.
    pub(super) async fn keep(&self, published: &[SignedObject]) {
        let topics = published.iter().filter_map(|object| match object.body() {
            Body::Stream(stream) if stream.sealed => Some(stream.topic.as_str()),
            _ => None,
        });
        self.keep_topics(topics).await;
    }

    /// Keeps the topics that the keyring calls sealed: it may be older than this memory.
    pub(super) async fn keep_all(&self, live: &LiveKeyring) {
        let known = self.topics();
        let sealed: BTreeSet<String> = live.read(|keyring| {
            keyring.streams().filter(|stream| stream.sealed).map(|stream| stream.topic.clone()).collect()
        });
        self.keep_topics(sealed.difference(&known).map(String::as_str)).await;
    }

    /// The topics that were sealed, of which the keyring has no stream, sealed or not, within the reach of the delegate `key`.
    pub(super) fn missing(&self, live: &LiveKeyring, key: &VerifyingKey) -> Vec<String> {
        let known = self.topics();
        live.read(|keyring| {
            let own = keyring.delegates().find(|delegate| delegate.key == *key);
            let lost = |topic: &String| {
                keyring.stream_of_topic(topic).is_none() && own.is_some_and(|delegate| delegate.reaches(topic))
            };
            known.into_iter().filter(lost).collect()
        })
    }

    async fn keep_topics<'a>(&self, topics: impl Iterator<Item = &'a str>) {
        let names: Vec<String> = topics.map(|topic| format!("{PREFIX}{topic}")).collect();
        if names.is_empty() {
            return;
        }
        // The streams are in the keyring all the same; this is tried again when the delegate starts.
        if let Err(error) = self.kms.remember(&names).await {
            tracing::warn!(event = "steward_reminder_failed", topics = names.len(), %error);
        }
    }
}

/// Names of the keystore that stand for topics.
const PREFIX: &str = "sealed-topic-";
