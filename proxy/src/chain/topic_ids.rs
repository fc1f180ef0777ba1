//! Topic ids: those of the brokers, and those that clients see (KIP-516).
//!
//! Arrives: pairs of a broker's topic id and a name, from its answers. Leaves: the id that clients are shown for the pair, and the
//! way back. What a client is shown is a digest of name and id together. So whoever comes back with it has said the name, to
//! whichever gateway, after whichever restart; a broker that calls an id by another name than before makes another digest, and
//! nobody is led from one topic to the other. What must never happen here: a record on its way to the broker decided by the
//! broker's word for the name of an id. Two pairs with the same digest would take 2^64 attempts to find.
//!
//! A topic that was deleted and made again has another id at the broker, and so another one here, as KIP-516 wants it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::rewrite::ids::IdSpan;
use crate::frame::WireError;

/// A Kafka topic id as clients see it.
pub type TopicId = [u8; 16];

/// A Kafka topic id as a broker gave it; it never reaches a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerTopicId(pub [u8; 16]);

/// A broker gave an id a second name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broker calls topic id {id} {second}, it was {first}")]
pub struct TopicIdConflict {
    /// The broker's id, hexadecimal.
    pub id: String,
    /// The name that it has.
    pub first: Arc<str>,
    /// The name that was claimed.
    pub second: String,
}

/// What is known of one cluster's topic ids; shared by its connections.
#[derive(Default)]
pub struct TopicIds {
    known: RwLock<Known>,
    /// One connection at a time asks its broker for all topics; the others find what it has learned.
    asking: Mutex<()>,
}

#[derive(Default)]
struct Known {
    shown: HashMap<TopicId, (BrokerTopicId, Arc<str>)>,
    given: HashMap<BrokerTopicId, (TopicId, Arc<str>)>,
}

impl TopicIds {
    /// The name of an id that a client has sent.
    pub fn name(&self, id: &TopicId) -> Option<Arc<str>> {
        self.read(|known| known.shown.get(id).map(|(_, name)| name.clone()))
    }

    /// The broker's ids of a name, for rare questions: it looks through all of them.
    pub fn given(&self, name: &str) -> Vec<BrokerTopicId> {
        self.read(|known| {
            known.given.iter().filter(|(_, (_, other))| **other == *name).map(|(given, _)| *given).collect()
        })
    }

    /// Takes note of a pair from a broker's answer: what clients see for it. The zero id means "no id", and stays.
    pub fn learn(&self, given: BrokerTopicId, name: &str) -> Result<TopicId, TopicIdConflict> {
        if given == NO_ID {
            return Ok(NO_ID.0);
        }
        if let Some((shown, known)) = self.read(|known| known.given.get(&given).cloned()) {
            return same(given, &known, name).map(|()| shown);
        }
        let shown = digest(given, name);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Another connection may have learned it meanwhile, under another name.
        if let Some((shown, first)) = known.given.get(&given) {
            return same(given, first, name).map(|()| *shown);
        }
        // Nothing is forgotten to make room: a broker that invents topics could then give an id another name. What is not
        // learned has no name, and is refused.
        if known.given.len() < MOST_IDS {
            let name: Arc<str> = name.into();
            known.given.insert(given, (shown, name.clone()));
            known.shown.insert(shown, (given, name));
        }
        Ok(shown)
    }

    /// Replaces the ids of a client's request by those of the broker, in place. What has no name is left as it is, and its
    /// place returned: no broker knows it.
    pub fn to_broker(&self, frame: &mut [u8], ids: &[IdSpan]) -> Result<Vec<IdSpan>, WireError> {
        self.replace(frame, ids, |known, id| known.shown.get(id).map(|(given, _)| given.0))
    }

    /// Replaces the ids of a broker's answer by those that clients see, in place. What no answer has named is left as it is,
    /// and its place returned.
    pub fn to_client(&self, frame: &mut [u8], ids: &[IdSpan]) -> Result<Vec<IdSpan>, WireError> {
        self.replace(frame, ids, |known, id| known.given.get(&BrokerTopicId(*id)).map(|(shown, _)| *shown))
    }

    fn replace(
        &self,
        frame: &mut [u8],
        ids: &[IdSpan],
        other: impl Fn(&Known, &TopicId) -> Option<TopicId>,
    ) -> Result<Vec<IdSpan>, WireError> {
        let mut unknown = Vec::new();
        self.read(|known| {
            for place in ids {
                let bytes = place.id.of_mut(frame)?;
                let id = TopicId::try_from(&*bytes).unwrap_or(NO_ID.0);
                match other(known, &id) {
                    Some(other) => bytes.copy_from_slice(&other),
                    None if id != NO_ID.0 => unknown.push(*place),
                    None => {}
                }
            }
            Ok(unknown)
        })
    }

    /// One's turn to ask the broker for all topics. Whoever has it may stand behind a long wait of its own client's, so nobody
    /// waits for it long.
    pub async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        timeout(LONGEST_TURN, self.asking.lock()).await.ok()
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The id that clients see: the first half of SHA-256 over the name, its length and the broker's id.
fn digest(given: BrokerTopicId, name: &str) -> TopicId {
    let mut context = Context::new(&SHA256);
    context.update(b"barnabas topic id v1\0");
    context.update(&given.0);
    context.update(&(name.len() as u64).to_be_bytes());
    context.update(name.as_bytes());
    let digest = context.finish();
    let mut shown = TopicId::default();
    shown.iter_mut().zip(digest.as_ref()).for_each(|(byte, other)| *byte = *other);
    shown
}

fn same(given: BrokerTopicId, known: &Arc<str>, name: &str) -> Result<(), TopicIdConflict> {
    if **known == *name {
        return Ok(());
    }
    Err(TopicIdConflict { id: hex::encode(given.0), first: known.clone(), second: name.to_owned() })
}

/// As long as a broker takes for the longest list of topics, or nearly.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// Kafka's own "no id".
const NO_ID: BrokerTopicId = BrokerTopicId([0; 16]);

/// Kafka's own advice is at most some hundred thousand topics in a cluster.
const MOST_IDS: usize = 500_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::Span;

    const ONE: BrokerTopicId = BrokerTopicId([1; 16]);

    /// Ids one after another.
    fn whole(length: usize) -> Vec<IdSpan> {
        (0..length).step_by(16).map(|at| IdSpan { id: Span::new(at, at + 16).unwrap(), name: None }).collect()
    }

    #[test]
    fn a_pair_once_learned_stays() {
        let ids = TopicIds::default();
        let shown = ids.learn(ONE, "orders").unwrap();
        assert_eq!(ids.learn(ONE, "orders").unwrap(), shown);
        let conflict = ids.learn(ONE, "public").unwrap_err();
        assert_eq!(&*conflict.first, "orders");
        assert_eq!(ids.name(&shown).as_deref(), Some("orders"));
        assert_eq!(ids.given("orders"), [ONE]);
    }

    #[test]
    fn what_clients_see_says_the_name_to_a_gateway_that_knows_nothing() {
        let (honest, deceived) = (TopicIds::default(), TopicIds::default());
        let shown = honest.learn(ONE, "orders").unwrap();
        assert_ne!(shown, ONE.0);
        // A broker calls the same id by another name after a restart.
        let false_one = deceived.learn(ONE, "public").unwrap();
        assert_ne!(false_one, shown);
        assert_eq!(deceived.name(&shown), None);
        let mut sent = shown;
        assert_eq!(deceived.to_broker(&mut sent, &whole(16)).unwrap(), whole(16));
        assert_eq!(sent, shown, "it was replaced");
        assert_eq!(TopicIds::default().learn(ONE, "orders").unwrap(), shown, "gateways differ");
    }

    #[test]
    fn there_and_back() {
        let ids = TopicIds::default();
        let shown = ids.learn(ONE, "orders").unwrap();
        let mut sent = [shown, NO_ID.0].concat();
        assert!(ids.to_broker(&mut sent, &whole(32)).unwrap().is_empty());
        assert_eq!(sent, [ONE.0, NO_ID.0].concat());
        assert!(ids.to_client(&mut sent, &whole(32)).unwrap().is_empty());
        assert_eq!(sent, [shown, NO_ID.0].concat());
        let mut strange = [7; 16];
        assert_eq!(ids.to_client(&mut strange, &whole(16)).unwrap(), whole(16));
        assert_eq!(strange, [7; 16]);
    }

    #[test]
    fn a_topic_that_was_made_again_is_another() {
        let ids = TopicIds::default();
        let first = ids.learn(ONE, "orders").unwrap();
        let second = ids.learn(BrokerTopicId([2; 16]), "orders").unwrap();
        assert_ne!(first, second);
        assert_eq!(ids.given("orders").len(), 2);
    }

    #[test]
    fn the_zero_id_is_no_id() {
        let ids = TopicIds::default();
        assert_eq!(ids.learn(NO_ID, "a").unwrap(), NO_ID.0);
        assert_eq!(ids.learn(NO_ID, "b").unwrap(), NO_ID.0);
        assert_eq!(ids.name(&NO_ID.0), None);
    }
}
