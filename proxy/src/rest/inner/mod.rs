//! The listener that only this process can use: the bridge's own way into the gateway.
//!
//! Arrives: connections on loopback ports that the process has bound for itself. Leaves: a principal, and a connection that is served
//! as any client's. Before anything else a connection must show, by SASL/PLAIN, a password that was made in this process for one
//! principal. What must never happen here: a connection served that showed none; two principals under one password; an address
//! of a broker, or of another listener, told to the bridge's own clients.

mod book;
mod lane;
mod sasl;
mod tokens;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

pub use book::InnerBook;
pub use lane::{Lane, Requests};
pub use tokens::Admission;

use self::tokens::Tokens;
use crate::connection::{self, Shared};
use crate::identity::Principal;
use crate::router::{Cluster, Target, discovery};
use crate::stream::{self, Reading, Writing};
use crate::tls::UpstreamTlsSource;
use crate::upstream;

/// The inner listener of one cluster.
pub struct Inner {
    cluster: Arc<Cluster>,
    upstream_tls: Option<Arc<UpstreamTlsSource>>,
    shared: Shared,
    tokens: Arc<Tokens>,
    permits: Semaphore,
    bootstrap: SocketAddr,
}

impl Inner {
    /// Binds the bootstrap port and begins to accept, until `shared.draining`. `book` is the one in `shared`.
    pub async fn open(
        cluster: Arc<Cluster>,
        upstream_tls: Option<Arc<UpstreamTlsSource>>,
        book: &Arc<InnerBook>,
        shared: Shared,
    ) -> io::Result<Arc<Self>> {
        let socket = TcpListener::bind(loopback()).await?;
        let bootstrap = socket.local_addr()?;
        let permits = Semaphore::new(shared.limits.max_connections);
        let inner = Arc::new(Self { cluster, upstream_tls, shared, tokens: Arc::default(), permits, bootstrap });
        let weak = Arc::downgrade(&inner);
        // The book makes a port when a broker is first named, and whoever connects there is served here.
        book.serve_with(Box::new(move |socket, node_id| {
            if let Some(inner) = weak.upgrade() {
                tokio::spawn(inner.accept(socket, Target::Node(node_id)));
            }
        }));
        tokio::spawn(inner.clone().accept(socket, Target::Bootstrap));
        Ok(inner)
    }

    /// Where the bridge's own clients begin.
    pub fn bootstrap(&self) -> SocketAddr {
        self.bootstrap
    }

    /// A user name and a password by which connections are this principal's, until the admission is dropped.
    pub fn admit(&self, principal: &Principal) -> Result<Admission, ring::error::Unspecified> {
        Tokens::admit(&self.tokens, principal.clone())
    }

    /// Whether a name holds that of one of the gateway's own topics: requests that change what it names are refused by closing the connection.
    pub fn names_own_topic(&self, name: &str) -> bool {
        self.shared.keys.own_topics().iter().any(|topic| name.contains(topic.as_str()))
    }

    /// A connection of a principal to a broker, without a socket: for the bridge's own questions. It ends when either side
    /// is dropped, or the broker closes it.
    /// `own`: what is asked is the bridge's own, of which clients are kept away.
    pub fn pipe(self: &Arc<Self>, principal: Principal, target: Target, own: bool) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let inner = self.clone();
        tokio::spawn(async move {
            if let Err(error) = inner.serve_pipe(principal, theirs, target, own).await {
                tracing::debug!(event = "inner_connection_ended", %error);
            }
        });
        ours
    }

    /// Tells this installation from others on the same cluster.
    pub fn installation(&self) -> String {
        self.shared.keys.installation()
    }

    async fn serve_pipe(
        &self,
        principal: Principal,
        pipe: DuplexStream,
        target: Target,
        own: bool,
    ) -> Result<(), InnerError> {
        let broker = self.broker(target).await?;
        let shared = Shared { own, ..self.shared.clone() };
        connection::serve(principal, tokio::io::split(pipe), broker, &shared).await?;
        Ok(())
    }

    async fn broker(&self, target: Target) -> Result<(Reading, Writing), InnerError> {
        if self.cluster.addresses(target).is_empty() {
            discovery::discover(&self.cluster, self.upstream_tls.as_deref()).await.ok();
        }
        let tls = self.upstream_tls.as_ref().map(|tls| tls.current());
        let timeout = self.shared.limits.connect_timeout;
        Ok(upstream::connect(&self.cluster, target, tls.as_ref(), timeout).await?)
    }

    async fn accept(self: Arc<Self>, socket: TcpListener, target: Target) {
        let mut draining = self.shared.draining.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = drained(&mut draining) => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(self.clone().connection(stream, target));
                }
                Err(error) => {
                    tracing::error!(event = "accept_failed", listener = "inner", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, socket: TcpStream, target: Target) {
        let Ok(_permit) = self.permits.try_acquire() else { return };
        match self.serve(socket, target).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(event = "inner_connection_ended", %error),
        }
    }

    async fn serve(&self, socket: TcpStream, target: Target) -> Result<(), InnerError> {
        stream::prepare(&socket)?;
        let mut broker = self.broker(target).await?;
        let (mut read, mut write) = socket.into_split();
        let known = sasl::authenticate((&mut read, &mut write), &mut broker, &self.tokens);
        let principal = tokio::time::timeout(SASL_TIMEOUT, known).await.map_err(|_| sasl::SaslError::Late)??;
        connection::serve(principal, (read, write), broker, &self.shared).await?;
        Ok(())
    }
}

/// Ends when `draining` says so.
pub async fn drained(draining: &mut watch::Receiver<bool>) {
    // A sender that is gone counts as the end.
    draining.wait_for(|draining| *draining).await.ok();
}

/// Why an inner connection ended. Whoever sends through it hears of it from the client library.
#[derive(Debug, thiserror::Error)]
enum InnerError {
    #[error(transparent)]
    Connection(#[from] connection::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Sasl(#[from] sasl::SaslError),
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
}

/// A port of the system's choice that nobody outside of this machine reaches.
fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

/// What a pipe holds in each direction.
const PIPE_BYTES: usize = 64 * 1024;

/// The bridge's own clients are on the same machine.
const SASL_TIMEOUT: Duration = Duration::from_secs(10);

/// Long enough to stop a loop from burning the processor, short enough that nobody waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
