//! Which broker a client connection belongs to, and under which address of ours each broker is reached.
//!
//! Arrives: the port or the host name by which a client came, and the addresses that brokers call their own.
//! Leaves: real addresses to connect to, advertised addresses to put into responses. What must never happen
//! here: an address of a broker handed out unmapped.

mod address;
pub mod discovery;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

pub use address::ListenerBook;

use crate::chain::partitions::Partitions;
use crate::chain::topic_ids::TopicIds;
use crate::config::{self, HostPort};

/// Which broker a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Any broker of the cluster.
    Bootstrap,
    /// The broker with this node id.
    Node(i32),
}

/// One upstream cluster: what is configured, and what its brokers have said.
pub struct Cluster {
    /// As configured.
    pub config: config::Cluster,
    /// Names of topic ids.
    pub topic_ids: Arc<TopicIds>,
    /// Which topics there are.
    pub partitions: Arc<Partitions>,
    nodes: RwLock<HashMap<i32, HostPort>>,
}

impl Cluster {
    /// A cluster of which nothing is known yet but its bootstrap servers.
    pub fn new(config: config::Cluster) -> Self {
        Self { config, topic_ids: Arc::default(), partitions: Arc::default(), nodes: RwLock::new(HashMap::new()) }
    }

    /// Takes note of where a broker says it is. Brokers move: the last word counts.
    pub fn learn(&self, node_id: i32, host: &str, port: u16) {
        let known = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(&node_id).is_some_and(|at| at.host == host && at.port == port) {
            return;
        }
        drop(known);
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() < MOST_NODES || nodes.contains_key(&node_id) {
            nodes.insert(node_id, HostPort { host: host.to_owned(), port });
        }
    }

    /// The addresses to try, in order.
    pub fn addresses(&self, target: Target) -> Vec<HostPort> {
        match target {
            Target::Bootstrap => self.config.bootstrap_servers.clone(),
            Target::Node(node_id) => {
                let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
                nodes.get(&node_id).cloned().into_iter().collect()
            }
        }
    }
}

/// Far more brokers than any cluster has.
const MOST_NODES: usize = 10_000;
