//! Topic ids and the names behind them (KIP-516).
//!
//! Arrives: pairs from Metadata responses. Leaves: the name by which policy knows a topic of a share group: there alone
//! topics are named by id. Kafka never gives an id a second name, so a pair once learned stays, and a broker that says
//! otherwise is refused. Still, who hears an id for the first time has nothing but the broker's word for its name. What must
//! never happen here: a record on its way to the broker decided by that word. So Produce and Fetch are offered only in the
//! versions in which a client names the topic itself (`frame/api.rs`).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A Kafka topic id.
pub type TopicId = [u8; 16];

/// A broker gave an id a second name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broker calls topic id {id} {second}, it was {first}")]
pub struct TopicIdConflict {
    /// The id, hexadecimal.
    pub id: String,
    /// The name that it has.
    pub first: Arc<str>,
    /// The name that was claimed.
    pub second: String,
}

/// What is known of one cluster's topic ids; shared by its connections, which keep what they use.
#[derive(Default)]
pub struct TopicIds {
    names: RwLock<HashMap<TopicId, Arc<str>>>,
}

impl TopicIds {
    /// The name of an id.
    pub fn name(&self, id: &TopicId) -> Option<Arc<str>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The id of a name, for rare questions: it looks through all of them.
    pub fn id(&self, name: &str) -> Option<TopicId> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.iter().find(|(_, known)| &***known == name).map(|(id, _)| *id)
    }

    /// Takes note of a pair from a Metadata response. The zero id means "no id".
    pub fn learn(&self, id: TopicId, name: &str) -> Result<(), TopicIdConflict> {
        if id == [0; 16] {
            return Ok(());
        }
        if let Some(known) = self.name(&id) {
            return same(id, &known, name);
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MOST_IDS && !names.contains_key(&id) {
            // Nothing is forgotten to make room: a broker that invents topics could then give an id another name. What is
            // not learned has no name, and is refused.
            return Ok(());
        }
        // Another connection may have learned it meanwhile, under another name.
        let known = names.entry(id).or_insert_with(|| name.into());
        same(id, known, name)
    }
}

fn same(id: TopicId, known: &Arc<str>, name: &str) -> Result<(), TopicIdConflict> {
    if **known == *name {
        return Ok(());
    }
    Err(TopicIdConflict { id: hex::encode(id), first: known.clone(), second: name.to_owned() })
}

/// Kafka's own advice is at most some hundred thousand topics in a cluster.
const MOST_IDS: usize = 500_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pair_once_learned_stays() {
        let ids = TopicIds::default();
        ids.learn([1; 16], "orders").unwrap();
        ids.learn([1; 16], "orders").unwrap();
        let conflict = ids.learn([1; 16], "public").unwrap_err();
        assert_eq!(&*conflict.first, "orders");
        assert_eq!(ids.name(&[1; 16]).as_deref(), Some("orders"));
    }

    #[test]
    fn the_zero_id_is_no_id() {
        let ids = TopicIds::default();
        ids.learn([0; 16], "a").unwrap();
        ids.learn([0; 16], "b").unwrap();
        assert_eq!(ids.name(&[0; 16]), None);
    }
}
