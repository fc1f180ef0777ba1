//! Connections to brokers.
//!
//! Arrives: a cluster and which broker is wanted. Leaves: a connected stream in two halves, plain or TLS, or an
//! error that names what was tried. What must never happen here: TLS that was configured being left out, or a
//! broker's certificate not being verified.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::HostPort;
use crate::router::{Cluster, Target};
use crate::stream::{self, ReadAhead, Reading, Writing};

/// How a cluster's brokers are reached by TLS.
#[derive(Clone)]
pub struct UpstreamTls {
    /// Trust anchors, and what the gateway shows.
    pub config: Arc<rustls::ClientConfig>,
    /// The name to verify instead of the broker's host.
    pub server_name: Option<String>,
}

/// Why there is no connection to a broker.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker has not been named by any broker yet.
    #[error("cluster {cluster} has no broker with node id {node_id}")]
    UnknownNode {
        /// The cluster.
        cluster: String,
        /// The node id that the client's port or host name stands for.
        node_id: i32,
    },
    /// Nobody answered at any address.
    #[error("cluster {cluster}: no connection to {address}: {error}")]
    Unreachable {
        /// The cluster.
        cluster: String,
        /// The last address that was tried.
        address: String,
        /// What happened there.
        error: io::Error,
    },
}

/// Connects to the broker that `target` means; of several bootstrap servers the first that answers.
pub async fn connect(
    cluster: &Cluster,
    target: Target,
    tls: Option<&UpstreamTls>,
    timeout: Duration,
) -> Result<(Reading, Writing), Error> {
    let mut last = None;
    for address in cluster.addresses(target) {
        let attempt = tokio::time::timeout(timeout, open(&address, tls)).await;
        match attempt.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))) {
            Ok(halves) => return Ok(halves),
            Err(error) => last = Some((address, error)),
        }
    }
    let name = cluster.config.name.clone();
    Err(match (last, target) {
        (Some((address, error)), _) => Error::Unreachable { cluster: name, address: address.to_string(), error },
        (None, Target::Node(node_id)) => Error::UnknownNode { cluster: name, node_id },
        (None, Target::Bootstrap) => Error::UnknownNode { cluster: name, node_id: -1 },
    })
}

/// Connects to one address, with TLS when it is given.
pub async fn open(address: &HostPort, tls: Option<&UpstreamTls>) -> io::Result<(Reading, Writing)> {
    let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream::prepare(&socket)?;
    let Some(tls) = tls else {
        return Ok(stream::plain(socket));
    };
    let name = tls.server_name.clone().unwrap_or_else(|| address.host.clone());
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let connector = TlsConnector::from(tls.config.clone());
    let mut stream = connector.connect(name, ReadAhead::new(socket)).await?;
    stream.get_mut().1.set_buffer_limit(Some(TLS_WRITE_BYTES));
    Ok(stream::secured(stream))
}

/// What rustls may hold of a request that is being written: each piece is one system call.
const TLS_WRITE_BYTES: usize = 256 * 1024;
