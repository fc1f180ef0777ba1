//! The addresses that the inner listener advertises: a loopback port for each broker, bound when the broker is first named.
//!
//! Arrives: node id, host and port as a broker advertises them. Leaves: 127.0.0.1 and a port of ours. What must never happen here: a
//! port that stands for two brokers.

use std::collections::HashMap;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::net::TcpListener;

use super::loopback;
use crate::chain::rewrite::{AddressBook, RewriteError};
use crate::router::Cluster;

/// Begins to accept on a new port.
type Serve = Box<dyn Fn(TcpListener, i32) + Send + Sync>;

/// The address book of the inner listener.
pub struct InnerBook {
    cluster: Arc<Cluster>,
    ports: Mutex<HashMap<i32, u16>>,
    serve: OnceLock<Serve>,
}

impl InnerBook {
    /// A book without a port.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, ports: Mutex::default(), serve: OnceLock::new() }
    }

    /// Says who accepts on ports; once.
    pub fn serve_with(&self, serve: Serve) {
        self.serve.set(serve).ok();
    }

    /// The port of a broker; binds one when there is none yet. Must be called within a runtime.
    fn port(&self, node_id: i32) -> Option<u16> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = ports.get(&node_id) {
            return Some(*port);
        }
        if ports.len() >= MOST_PORTS {
            return None;
        }
        let socket = StdListener::bind(loopback()).ok()?;
        socket.set_nonblocking(true).ok()?;
        let port = socket.local_addr().ok()?.port();
        let socket = TcpListener::from_std(socket).ok()?;
        self.serve.get()?(socket, node_id);
        ports.insert(node_id, port);
        Some(port)
    }
}

impl AddressBook for InnerBook {
    fn advertised(&self, node_id: i32, host: &str, port: i32) -> Result<(String, u16), RewriteError> {
        let unmapped = || RewriteError::NoAddress { node_id, host: host.to_owned(), port };
        let theirs = u16::try_from(port).map_err(|_| unmapped())?;
        let ours = self.port(node_id).ok_or_else(unmapped)?;
        self.cluster.learn(node_id, host, theirs);
        Ok((loopback().ip().to_string(), ours))
    }
}

/// More brokers than clusters have; what a broker says must not take all ports.
const MOST_PORTS: usize = 1_000;
