//! Topics that are known to have been sealed, whatever the keyring says now.
//!
//! Arrives: every record of the keyring topic that speaks of a stream, with what became of it, and what the keystore has
//! kept. Leaves: the word that a topic was sealed once. A stream that only a command has sealed stands in the keyring alone;
//! when its object is withheld, or its signer removed, its topic looks like any other. What must never happen here: such a
//! topic forgotten while the process lives.

use std::collections::{BTreeMap, HashSet};

use barnabas_crypto::{Body, Change, Kind, Refusal, SignedObject, Slot};

/// Topics that were sealed.
#[derive(Default)]
pub(super) struct SealedTopics {
    topics: HashSet<String>,
    /// The topics of objects whose signer has not been seen yet.
    waiting: BTreeMap<Slot, String>,
}

impl SealedTopics {
    /// Whether a topic was sealed once.
    pub(super) fn contains(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    /// Takes note of a topic; false when it was known.
    pub(super) fn insert(&mut self, topic: String) -> bool {
        self.topics.insert(topic)
    }

    /// Takes note of a record and of what became of it and of those that waited for it. True when a topic is new here.
    ///
    /// A delegate that was removed has vouched once: what it sealed is not let pass for that. Nobody can check its signature
    /// any more, so whoever may write to the keyring topic can stop a topic from passing that way; not more.
    pub(super) fn take(&mut self, value: Option<&[u8]>, outcome: Result<&Change, &Refusal>) -> bool {
        let mut news = false;
        if let Some((slot, topic)) = value.and_then(sealed_by) {
            match outcome {
                Ok(change) if matches!(change.effect, barnabas_crypto::Effect::Waiting(_)) => {
                    if self.waiting.len() < MOST_WAITING {
                        self.waiting.insert(slot, topic);
                    }
                }
                Ok(_) => news |= self.insert(topic),
                Err(Refusal::RemovedDelegate) if self.topics.len() < MOST_CLAIMED => news |= self.insert(topic),
                Err(_) => {}
            }
        }
        let Ok(change) = outcome else { return news };
        for (slot, outcome) in change.follow_ups.iter().filter(|(slot, _)| slot.kind == Kind::Stream) {
            let Some(topic) = self.waiting.remove(slot) else { continue };
            match outcome {
                Ok(barnabas_crypto::Effect::Waiting(_)) => {
                    self.waiting.insert(*slot, topic);
                }
                Ok(_) | Err(Refusal::RemovedDelegate) => news |= self.insert(topic),
                Err(_) => {}
            }
        }
        news
    }
}

/// The place and topic of a stream object that seals; any other record has none.
fn sealed_by(value: &[u8]) -> Option<(Slot, String)> {
    if value.get(KIND_AT) != Some(&Kind::Stream.number()) {
        return None;
    }
    let object = SignedObject::parse(value).ok()?;
    match object.body() {
        Body::Stream(stream) if stream.sealed => Some((object.body().slot(), stream.topic.clone())),
        _ => None,
    }
}

/// Where an object names its kind: what is no stream need not be parsed twice.
const KIND_AT: usize = 5;

/// As many objects as the keyring itself lets wait.
const MOST_WAITING: usize = 10_000;

/// Beyond it nothing is believed that cannot be verified.
const MOST_CLAIMED: usize = 500_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use barnabas_crypto::{
        Delegate, Keyring, Object, OnUnreadable, Powers, Removal, Secret, SigningKey, Stream, StreamId, Suite,
        UnixMillis,
    };

    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_000);

    fn key() -> SigningKey {
        SigningKey::from_seed(&Secret::draw().unwrap()).unwrap()
    }

    fn stream(id: u8, topic: &str, sealed: bool) -> Body {
        Body::Stream(Stream {
            id: StreamId::from_bytes([id; 16]),
            topic: topic.to_owned(),
            sealed,
            suite: Suite::Aes256Gcm,
            on_unreadable: OnUnreadable::Fail,
            created: NOW,
        })
    }

    fn certificate(key: &SigningKey) -> Body {
        let (not_before, not_after) = (UnixMillis::new(0), UnixMillis::NEVER);
        Body::Delegate(Delegate { key: *key.public(), powers: Powers::ALL, not_before, not_after, scope: None })
    }

    fn apply(keyring: &mut Keyring, known: &mut SealedTopics, body: Body, version: u64, by: &SigningKey) {
        let object = Object::new(body, version, NOW).sign(by).unwrap();
        let outcome = keyring.apply(object.record_key().as_bytes(), Some(object.wire()), NOW);
        known.take(Some(object.wire()), outcome.as_ref());
    }

    #[test]
    fn a_topic_stays_known_when_the_delegate_that_sealed_it_is_removed() {
        let (root, delegate, stranger) = (key(), key(), key());
        let removal = || {
            let target = certificate(&delegate).slot();
            Body::Removal(Removal { target, reason: String::new() })
        };
        let (mut keyring, mut known) = (Keyring::new(*root.public()), SealedTopics::default());
        apply(&mut keyring, &mut known, certificate(&delegate), 1, &root);
        apply(&mut keyring, &mut known, stream(1, "orders", true), 1, &delegate);
        apply(&mut keyring, &mut known, stream(2, "open", false), 1, &delegate);
        apply(&mut keyring, &mut known, stream(3, "forged", true), 1, &stranger);
        apply(&mut keyring, &mut known, removal(), 2, &root);
        assert!(keyring.stream_of_topic("orders").is_none());
        assert!(known.contains("orders") && !known.contains("open") && !known.contains("forged"));

        // The same read after compaction: the certificate is gone, its removal may stand on either side of the stream.
        for removed_first in [true, false] {
            let (mut keyring, mut known) = (Keyring::new(*root.public()), SealedTopics::default());
            if removed_first {
                apply(&mut keyring, &mut known, removal(), 2, &root);
            }
            apply(&mut keyring, &mut known, stream(1, "orders", true), 1, &delegate);
            apply(&mut keyring, &mut known, removal(), 2, &root);
            assert!(known.contains("orders"), "removed first: {removed_first}");
        }
    }
}
