//! Where HTTP clients connect.
//!
//! Arrives: connections on the bridge's address. Leaves: HTTP/1.1 or HTTP/2 requests, each with what is known of its connection, handed
//! to [`Front`]. What must never happen here: a client without the certificate that the bridge requires getting further than its
//! handshake; a connection that lives on after its certificate was revoked.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::audit::Teller;
use super::auth;
use super::bridge::Bridge;
use super::caller::Connection;
use super::front::Front;
use super::inner::drained;
use crate::config;
use crate::metrics::{ConnectionRefusal, Metrics};
use crate::stream::{self, ReadAhead};
use crate::tls::{Protocols, ServerTls};

/// One bridge's listener.
pub struct Server {
    bridge: Arc<Bridge>,
    tls: Option<Arc<ServerTls>>,
    routes: axum::Router,
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Server {
    /// A listener for `bridge`; `permits` bounds the connections of all listeners together.
    pub fn new(
        bridge: Arc<Bridge>,
        tls: Option<Arc<ServerTls>>,
        permits: Arc<Semaphore>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let routes = super::routes::all(bridge.clone());
        Arc::new(Self { bridge, tls, routes, permits, metrics })
    }

    /// The bridge's name in the configuration.
    pub fn name(&self) -> &str {
        &self.bridge.settings.name
    }

    /// Takes the settings that can change while it runs.
    pub fn reload(&self, settings: &config::Bridge) {
        if let (Some(tls), Some(settings_of_tls)) = (&self.tls, settings.tls.clone()) {
            // A refusal is logged there, and leaves in use what was.
            tls.reload(settings_of_tls, settings.principal.clone()).ok();
        }
        if let (Some(replicas), Some(settings)) = (&self.bridge.replicas, &settings.replicas) {
            replicas.reload(settings.tls.clone());
        }
    }

    /// Accepts until the gateway drains, then waits until every request that was taken is answered.
    pub async fn accept_all(self: Arc<Self>, socket: TcpListener) {
        let mut draining = self.bridge.draining.clone();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = draining.wait_for(|draining| *draining) => break,
                Some(_) = connections.join_next() => continue,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match self.permits.clone().try_acquire_owned() {
                    Ok(permit) => {
                        connections.spawn(self.clone().connection(stream, peer, permit));
                    }
                    Err(_) => {
                        self.metrics.connection_refused(ConnectionRefusal::Limit);
                        tracing::warn!(event = "connection_limit", %peer, remedy = "raise limits.max_connections");
                    }
                },
                Err(error) => {
                    tracing::error!(event = "accept_failed", listener = self.name(), %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(socket);
        while connections.join_next().await.is_some() {}
    }

    async fn connection(self: Arc<Self>, socket: TcpStream, peer: SocketAddr, _permit: OwnedSemaphorePermit) {
        let _open = self.metrics.connection_opened();
        let Some(tls) = self.tls.clone() else {
            if stream::prepare(&socket).is_ok() {
                self.speak(socket, Connection { peer, certificate: None, thumbprint: None, encrypted: false }).await;
            }
            return;
        };
        let reloaded = tls.subscribe();
        let handshake = async {
            stream::prepare(&socket)?;
            let mut stream = TlsAcceptor::from(tls.current()).accept(ReadAhead::new(socket)).await?;
            stream.get_mut().1.set_buffer_limit(Some(TLS_WRITE_BYTES));
            Ok::<_, io::Error>(stream)
        };
        let shaken = tokio::time::timeout(tls.handshake_timeout(), handshake).await;
        let stream = match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => stream,
            Err(error) => return self.refuse(peer, &error),
        };
        let shown = stream.get_ref().1.peer_certificates();
        let chain: Vec<CertificateDer<'static>> =
            shown.unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();
        let certificate = match tls.principal(shown) {
            Ok(principal) => Some(principal).filter(|_| !chain.is_empty()),
            Err(error) => return self.refuse(peer, &error),
        };
        let thumbprint = chain.first().map(|own| auth::thumbprint(own));
        tokio::select! {
            () = self.speak(stream, Connection { peer, certificate, thumbprint, encrypted: true }) => {}
            reason = tls.disowned(&chain, reloaded) => {
                self.metrics.connection_refused(ConnectionRefusal::Handshake);
                tracing::info!(event = "certificate_no_longer_accepted", %peer, reason);
            }
        }
    }

    fn refuse(&self, peer: SocketAddr, error: &dyn std::error::Error) {
        self.metrics.connection_refused(ConnectionRefusal::Handshake);
        tracing::info!(event = "handshake_failed", listener = self.name(), %peer, %error);
        let connection = Connection { peer, certificate: None, thumbprint: None, encrypted: true };
        Teller::new(self.bridge.audit.clone(), self.bridge.name.clone(), connection).refused(&error.to_string());
    }

    async fn speak<S>(&self, stream: S, connection: Connection)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = connection.peer;
        let front = Arc::new(Front::new(self.bridge.clone(), self.routes.clone(), connection));
        let service = service_fn(move |request: Request<Incoming>| {
            let front = front.clone();
            async move { Ok::<_, Infallible>(front.answer(request).await) }
        });
        let http = self.http();
        let speaking = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut speaking = std::pin::pin!(speaking);
        let mut draining = self.bridge.draining.clone();
        let ended = tokio::select! {
            ended = speaking.as_mut() => ended,
            () = drained(&mut draining) => {
                speaking.as_mut().graceful_shutdown();
                speaking.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(event = "connection_ended", %peer, error);
        }
    }

    fn http(&self) -> auto::Builder<TokioExecutor> {
        let limits = &self.bridge.settings.limits;
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(limits.max_header_bytes)
            .half_close(false);
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(MOST_STREAMS)
            .keep_alive_interval(Some(IDLE / 2));
        http
    }
}

/// What the handshake offers: a client that names neither speaks HTTP/1.1.
pub const PROTOCOLS: Protocols = &[b"h2", b"http/1.1"];

/// A connection on which no next request begins is closed; a device that reports every few minutes keeps it.
const IDLE: Duration = Duration::from_secs(300);

/// Requests at once on one HTTP/2 connection.
const MOST_STREAMS: u32 = 200;

/// What rustls may hold of an answer that is being written.
const TLS_WRITE_BYTES: usize = 256 * 1024;

/// Long enough to stop a loop from burning the processor, short enough that nobody waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
