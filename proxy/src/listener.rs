//! Where clients connect.
//!
//! Arrives: connections on the bootstrap port and on a port for each broker (or on one port, by host name).
//! Leaves: a stream with a principal and the broker that is meant, handed to [`connection::serve`]. What must never
//! happen here: a client without the certificate that the listener requires getting further than its handshake; a
//! connection beyond `limits.max_connections` taking memory.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::audit::event::{ClientCertificate, Event, Peer};
use crate::config::{Brokers, Listener};
use crate::connection::{self, Shared};
use crate::identity::Principal;
use crate::metrics::ConnectionRefusal;
use crate::router::{Cluster, Target, discovery};
use crate::stream::{self, ReadAhead, Reading, Writing};
use crate::tls::{PrincipalError, ServerSnapshot, ServerTls, UpstreamTlsSource};
use crate::upstream;

/// What the connections of one listener need.
pub struct Serving {
    /// As configured.
    pub listener: Listener,
    /// The cluster behind it.
    pub cluster: Arc<Cluster>,
    /// TLS towards clients; `None` is plaintext, which the configuration must have said.
    pub tls: Option<Arc<ServerTls>>,
    /// TLS towards brokers.
    pub upstream_tls: Option<Arc<UpstreamTlsSource>>,
    /// What connections share.
    pub shared: Shared,
    /// Connections at once, all listeners together.
    pub permits: Arc<Semaphore>,
}

/// A socket that is bound, and the broker that its port stands for.
pub type Bound = (TcpListener, Target);

/// Binds the bootstrap address and, when brokers have a port each, all of those: a broker that appears later is then
/// reachable without a restart, and so it is on every gateway of the same configuration.
pub async fn bind(listener: &Listener) -> Result<Vec<Bound>, (SocketAddr, io::Error)> {
    let mut wanted = vec![(listener.bind, Target::Bootstrap)];
    if let Brokers::Port(range) = &listener.brokers {
        let ports = range.ports();
        wanted.extend(ports.filter_map(|port| {
            let node_id = range.node_id(port)?;
            Some((SocketAddr::new(listener.bind.ip(), port), Target::Node(node_id)))
        }));
    }
    let mut sockets = Vec::with_capacity(wanted.len());
    for (address, target) in wanted {
        let socket = TcpListener::bind(address).await.map_err(|error| (address, error))?;
        sockets.push((socket, target));
    }
    Ok(sockets)
}

/// Accepts on all sockets until the gateway drains, then waits for the connections that are open.
pub async fn accept_all(serving: Arc<Serving>, sockets: Vec<Bound>) {
    let mut accepting = JoinSet::new();
    for (socket, target) in sockets {
        accepting.spawn(accept(serving.clone(), socket, target));
    }
    while accepting.join_next().await.is_some() {}
}

async fn accept(serving: Arc<Serving>, socket: TcpListener, target: Target) {
    let mut draining = serving.shared.draining.clone();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => break,
            Some(_) = connections.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match serving.permits.clone().try_acquire_owned() {
                Ok(permit) => {
                    connections.spawn(connection(serving.clone(), stream, peer, target, permit));
                }
                Err(_) => {
                    let unknown = peer_of(&serving, Principal::anonymous(), peer);
                    let event = || Event::not_authenticated(&unknown, None, "limit", "limits.max_connections");
                    serving.shared.audit.record(event());
                    serving.shared.metrics.connection_refused(ConnectionRefusal::Limit);
                    tracing::warn!(event = "connection_limit", %peer, remedy = "raise limits.max_connections");
                }
            },
            // Out of file descriptors, most likely: accepting at full speed would only burn the processor.
            Err(error) => {
                tracing::error!(event = "accept_failed", listener = serving.listener.name, %error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    serving: Arc<Serving>,
    socket: TcpStream,
    peer: SocketAddr,
    target: Target,
    _permit: OwnedSemaphorePermit,
) {
    let metrics = serving.shared.metrics.clone();
    let _open = metrics.connection_opened();
    let secured = match secure(&serving, socket, target).await {
        Ok(secured) => secured,
        Err(error) => {
            tell_failed(&serving, peer, &error);
            metrics.connection_refused(ConnectionRefusal::Handshake);
            tracing::info!(event = "handshake_failed", listener = serving.listener.name, %peer, %error);
            return;
        }
    };
    let Secured { client, principal, target, chain, reloaded } = secured;
    let known = Arc::new(peer_of(&serving, principal.clone(), peer));
    let audit = &serving.shared.audit;
    if audit.is_on() {
        audit.record(Event::authenticated(&known, certificate(&chain)));
    }
    if serving.cluster.addresses(target).is_empty()
        && let Err(error) = discovery::discover(&serving.cluster, serving.upstream_tls.as_deref()).await
    {
        tracing::debug!(event = "brokers_unknown", %error);
    }
    let tls = serving.upstream_tls.as_ref().map(|tls| tls.current());
    let timeout = serving.shared.limits.connect_timeout;
    let broker = match upstream::connect(&serving.cluster, target, tls.as_ref(), timeout).await {
        Ok(broker) => broker,
        Err(error) => {
            metrics.connection_refused(ConnectionRefusal::Upstream);
            tracing::warn!(event = "upstream_unreachable", %peer, %principal, %error);
            return;
        }
    };
    let served = tokio::select! {
        served = connection::serve(known.clone(), client, broker, &serving.shared) => served,
        reason = disowned(&serving, &chain, reloaded) => {
            if audit.is_on() {
                audit.record(Event::disowned(&known, certificate(&chain), &reason));
            }
            metrics.connection_refused(ConnectionRefusal::Handshake);
            tracing::info!(event = "certificate_no_longer_accepted", %peer, %principal, reason);
            return;
        }
    };
    match served {
        Ok(ended) => tracing::debug!(event = "connection_ended", %peer, %principal, ?ended),
        Err(error) if error.is_ordinary() => {
            tracing::debug!(event = "connection_ended", %peer, %principal, %error);
        }
        Err(error) => {
            if audit.is_on() {
                let api = error.call().and_then(|call| call.api()).map_or("Unknown", |api| api.name);
                audit.record(Event::request_refused(&known, api, error.refusal().label(), &error.to_string()));
            }
            metrics.connection_refused(error.refusal());
            tracing::warn!(event = "connection_refused", %peer, %principal, %error);
        }
    }
}

fn peer_of(serving: &Serving, principal: Principal, address: SocketAddr) -> Peer {
    let audit = &serving.shared.audit;
    Peer::new(principal, Some(address), serving.listener.name.as_str().into(), audit.connection())
}

fn certificate<'c>(chain: &'c [CertificateDer<'_>]) -> Option<ClientCertificate<'c>> {
    chain.first().map(|certificate| ClientCertificate(certificate))
}

fn tell_failed(serving: &Serving, address: SocketAddr, error: &SecureError) {
    if serving.shared.audit.is_on() {
        let unknown = peer_of(serving, Principal::anonymous(), address);
        let shown = match error {
            SecureError::Principal(_, certificate) => certificate.as_deref().map(ClientCertificate),
            _ => None,
        };
        let event = Event::not_authenticated(&unknown, shown, error.label(), &error.to_string());
        serving.shared.audit.record(event);
    }
}

/// A client that may go on.
struct Secured {
    client: (Reading, Writing),
    principal: Principal,
    target: Target,
    /// What it showed; empty for none.
    chain: Vec<CertificateDer<'static>>,
    /// What has been reloaded since the handshake began.
    reloaded: Option<Reloaded>,
}

type Reloaded = watch::Receiver<Arc<ServerSnapshot>>;

/// The handshake, when the listener has TLS: who the client is, and by the name it asked for, which broker it means.
async fn secure(serving: &Serving, socket: TcpStream, target: Target) -> Result<Secured, SecureError> {
    stream::prepare(&socket)?;
    let Some(tls) = &serving.tls else {
        let principal = Principal::anonymous();
        return Ok(Secured { client: stream::plain(socket), principal, target, chain: Vec::new(), reloaded: None });
    };
    // Before the handshake: a reload in the middle of it, or while the broker is being reached, counts.
    let reloaded = Some(tls.subscribe());
    let acceptor = TlsAcceptor::from(tls.current());
    let handshake = acceptor.accept(ReadAhead::new(socket));
    let accepted = tokio::time::timeout(tls.handshake_timeout(), handshake).await;
    let mut stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.get_mut().1.set_buffer_limit(Some(TLS_WRITE_BYTES));
    let (_, session) = stream.get_ref();
    let chain: Vec<CertificateDer<'static>> =
        session.peer_certificates().unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();
    let principal = tls.principal(session.peer_certificates());
    let shown = || chain.first().map(|certificate| certificate.to_vec());
    let principal = principal.map_err(|error| SecureError::Principal(error, shown()))?;
    let target = match &serving.listener.brokers {
        Brokers::Port(_) => target,
        Brokers::Sni(names) => match session.server_name() {
            Some(host) if names.is_bootstrap(host) => Target::Bootstrap,
            Some(host) => Target::Node(names.node_id(host).ok_or_else(|| SecureError::Host(host.to_owned()))?),
            None => return Err(SecureError::NoHost),
        },
    };
    Ok(Secured { client: stream::secured(stream), principal, target, chain, reloaded })
}

/// Ends when the client's certificate is not accepted any more: after a reload of trust anchors or revocation lists.
async fn disowned(serving: &Serving, chain: &[CertificateDer<'_>], reloaded: Option<Reloaded>) -> String {
    match (&serving.tls, reloaded) {
        (Some(tls), Some(reloaded)) => tls.disowned(chain, reloaded).await,
        _ => std::future::pending().await,
    }
}

/// Why a connection got no further than its handshake.
#[derive(Debug, thiserror::Error)]
enum SecureError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// With the certificate.
    #[error("client certificate gives no principal: {0}")]
    Principal(PrincipalError, Option<Vec<u8>>),
    #[error("host name {0} is none of this listener's")]
    Host(String),
    #[error("client sent no host name (SNI), by which this listener tells brokers apart")]
    NoHost,
}

impl SecureError {
    /// In a word, for the audit log.
    fn label(&self) -> &'static str {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::TimedOut => "timeout",
            Self::Io(_) => "handshake",
            Self::Principal(..) => "principal",
            Self::Host(_) | Self::NoHost => "host_name",
        }
    }
}

/// What rustls may hold of an answer that is being written: each piece is one system call. Taken as it is filled.
const TLS_WRITE_BYTES: usize = 256 * 1024;

/// Long enough to stop a loop from burning the processor, short enough that nobody waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, E, F>(_: fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// Every connection has one, also those that do nothing: what only some requests need belongs into a box.
    #[test]
    fn the_task_of_a_connection_is_small() {
        let size = size_of_future(connection);
        assert!(size < 10 * 1024, "{size} bytes");
    }
}
