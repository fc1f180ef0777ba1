//! The addresses that one listener advertises: a port for each broker, or a host name for each.
//!
//! Arrives: node id, host and port as a broker advertises them. Leaves: host and port of this listener, and
//! the real address in the cluster's memory, so that whoever connects there is brought to that broker.

use std::sync::Arc;

use super::Cluster;
use crate::chain::rewrite::{AddressBook, RewriteError};
use crate::config::{Brokers, Listener};

/// The address book of one listener.
pub struct ListenerBook {
    listener: Listener,
    cluster: Arc<Cluster>,
}

impl ListenerBook {
    /// The book of `listener`, which serves `cluster`.
    pub fn new(listener: Listener, cluster: Arc<Cluster>) -> Self {
        Self { listener, cluster }
    }
}

impl AddressBook for ListenerBook {
    fn advertised(&self, node_id: i32, host: &str, port: i32) -> Result<(String, u16), RewriteError> {
        let unmapped = || RewriteError::NoAddress { node_id, host: host.to_owned(), port };
        let advertised = match &self.listener.brokers {
            Brokers::Port(range) => (self.listener.advertised_host.clone(), range.port(node_id).ok_or_else(unmapped)?),
            Brokers::Sni(names) => (names.host(node_id), names.advertised_port().unwrap_or(self.listener.bind.port())),
        };
        let port = u16::try_from(port).map_err(|_| unmapped())?;
        self.cluster.learn(node_id, host, port);
        Ok(advertised)
    }
}
