//! Which topics there are, and how many partitions each has.
//!
//! Arrives: what brokers say in Metadata responses. Leaves: whether a partition exists. Keys are made only for topics that
//! do, so that a client with a wide rule cannot fill the keyring by inventing names. A count once heard stands until the
//! broker says another: what is gone meanwhile the broker itself refuses.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Partition counts of one cluster's topics; shared by its connections, which keep what they use.
#[derive(Default)]
pub struct Partitions {
    counts: RwLock<HashMap<Arc<str>, i32>>,
}

impl Partitions {
    /// How many partitions a topic has; 0 when no broker has named it.
    pub fn count(&self, topic: &str) -> i32 {
        self.counts.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied().unwrap_or(0)
    }

    /// Takes note of a topic that a broker has described without an error.
    pub fn learn(&self, topic: &str, count: usize) {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        if self.count(topic) == count {
            return;
        }
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST_COUNTS && !counts.contains_key(topic) {
            // Forgetting costs a Metadata request each.
            counts.clear();
        }
        counts.insert(topic.into(), count);
    }
}

/// Kafka's own advice is at most some hundred thousand topics in a cluster.
const MOST_COUNTS: usize = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_the_broker_counts() {
        let partitions = Partitions::default();
        assert_eq!(partitions.count("orders"), 0);
        partitions.learn("orders", 3);
        partitions.learn("orders", 6);
        partitions.learn("payments", 1);
        assert_eq!((partitions.count("orders"), partitions.count("payments")), (6, 1));
    }
}
