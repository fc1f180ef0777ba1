//! The HTTP bridges of a configuration, built and bound.
//!
//! Arrives: each entry of `rest:`, and what listeners share. Leaves: servers with their sockets. Each has an inner listener of its own,
//! through which its callers' records take the same way as those of Kafka clients.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::Error;
use crate::admin::Readiness;
use crate::config;
use crate::connection::Shared;
use crate::metrics::Metrics;
use crate::rest::auth::Callers;
use crate::rest::inner::{Inner, InnerBook};
use crate::rest::{Bridge, PROTOCOLS, Server};
use crate::router::Cluster;
use crate::tls::{ServerTls, UpstreamTlsSource};

/// What a bridge is built of, beside its own settings.
pub(super) struct Parts {
    /// The cluster behind it.
    pub cluster: Arc<Cluster>,
    /// TLS towards brokers.
    pub upstream_tls: Option<Arc<UpstreamTlsSource>>,
    /// The addresses of the inner listener.
    pub book: Arc<InnerBook>,
    /// As connections of Kafka clients have it, with `book`; `draining` is that of the inner listener.
    pub shared: Shared,
    /// Connections at once, all listeners together.
    pub permits: Arc<Semaphore>,
    /// Whether callers should be sent here.
    pub readiness: Arc<Readiness>,
    /// True once no further request is taken.
    pub draining: watch::Receiver<bool>,
}

/// A bridge that is ready to run, its socket, and what reaches its brokers.
pub(super) struct Opened {
    pub server: Arc<Server>,
    pub socket: TcpListener,
    pub cluster: Arc<Cluster>,
    pub upstream_tls: Option<Arc<UpstreamTlsSource>>,
}

/// Builds a bridge and binds its address.
pub(super) async fn open(settings: config::Bridge, parts: Parts) -> Result<Opened, Error> {
    let bind = |source| Error::Bind { listener: settings.name.clone(), address: settings.bind, source };
    let tls = settings.tls.clone();
    let tls = tls.map(|tls| ServerTls::with_protocols(tls, settings.principal.clone(), PROTOCOLS));
    let tls = tls.transpose()?.map(Arc::new);
    let metrics: Arc<Metrics> = parts.shared.metrics.clone();
    let audit = parts.shared.audit.clone();
    let socket = TcpListener::bind(settings.bind).await.map_err(bind)?;
    let inner = Inner::open(parts.cluster.clone(), parts.upstream_tls.clone(), &parts.book, parts.shared)
        .await
        .map_err(bind)?;
    let callers = Callers::new(settings.auth.clone());
    let name = settings.name.clone();
    let told = (metrics.rest.clone(), audit);
    let bridge = Bridge::new(settings, callers, inner, told, parts.readiness, parts.draining);
    let bridge = bridge.map_err(|reason| Error::Bridge { name, reason })?;
    let server = Server::new(bridge, tls, parts.permits, metrics);
    Ok(Opened { server, socket, cluster: parts.cluster, upstream_tls: parts.upstream_tls })
}
