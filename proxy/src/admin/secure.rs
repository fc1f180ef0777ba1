//! The secure operations listener: a TLS connection arrives, and leaves with the name of who it is on every request.
//! Who shows no valid certificate gets no further than the handshake; who has no role gets 403 and nothing else. After a
//! reload of authorities or revocation lists a connection that would not be accepted any more is cut, in the middle of an
//! answer if need be. Roles are looked up for each request, so that one taken away counts for the next.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::WITNESS;
use crate::audit::event::Peer;
use crate::audit::page::{Door, LISTENER, Page};
use crate::config::{Role, Roles, SecureAdmin};
use crate::tls::{ServerTls, TlsError};

/// The secure listener. Its certificates, revocation lists and roles can be replaced while it runs.
pub struct Secure {
    tls: ServerTls,
    roles: ArcSwap<Roles>,
    page: Option<Arc<Page>>,
    witness: Option<Router>,
    door: Door,
}

impl Secure {
    /// Reads all files; a broken one is an error. Without an audit log there is no page.
    ///
    /// # Errors
    /// Those of certificates and keys.
    pub fn new(settings: &SecureAdmin, page: Option<Arc<Page>>, door: Door) -> Result<Self, TlsError> {
        let tls = ServerTls::new(settings.tls.clone(), settings.principal.clone())?;
        let roles = ArcSwap::from_pointee(settings.roles.clone());
        Ok(Self { tls, roles, page, witness: None, door })
    }

    /// With the routes of a witness, under `/witness`.
    #[must_use]
    pub fn with_witness(self, routes: Option<Router>) -> Self {
        Self { witness: routes, ..self }
    }

    /// Puts new settings in force. Broken files leave the old ones in use, with an error in the log; roles count at once.
    pub fn reload(&self, settings: &SecureAdmin) {
        self.roles.store(Arc::new(settings.roles.clone()));
        self.tls.reload(settings.tls.clone(), settings.principal.clone()).ok();
    }

    /// Answers until the gateway ends. `operations` is what the plain listener shows, here for operators.
    pub async fn serve(self: Arc<Self>, socket: TcpListener, operations: Router, mut ended: watch::Receiver<bool>) {
        let routes = self.routes(operations);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                // A sender that is gone counts as the end.
                _ = ended.wait_for(|ended| *ended) => break,
                Some(_) = connections.join_next() => continue,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Ok(permit) = permits.clone().try_acquire_owned() else {
                        tracing::warn!(event = "admin_connection_limit", %peer, limit = MAX_CONNECTIONS);
                        continue;
                    };
                    let (secure, routes) = (self.clone(), routes.clone());
                    connections.spawn(async move {
                        secure.connection(stream, peer, routes).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::error!(event = "accept_failed", listener = LISTENER, %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.shutdown().await;
    }

    fn routes(self: &Arc<Self>, operations: Router) -> Router {
        let guard = |role| Guard { secure: self.clone(), role };
        let operations = operations.layer(middleware::from_fn_with_state(guard(Role::Operator), admit));
        let audit = match &self.page {
            Some(page) => page.clone().routes(),
            None => Router::new().fallback(|| async { (StatusCode::NOT_FOUND, "no audit log is configured\n") }),
        };
        let audit = audit.layer(middleware::from_fn_with_state(guard(Role::Auditor), admit));
        let nowhere = Router::new().fallback(|| async { StatusCode::NOT_FOUND });
        let nowhere = nowhere.layer(middleware::from_fn_with_state(guard(Role::Auditor), admit));
        let witness = self.witness.clone().map(|routes| {
            let routes = Router::new().nest(WITNESS, routes);
            routes.layer(middleware::from_fn_with_state(guard(Role::Witnessed), admit))
        });
        let all = Router::new().merge(operations).merge(audit);
        witness.into_iter().fold(all, Router::merge).fallback_service(nowhere)
    }

    async fn connection(&self, socket: TcpStream, peer: SocketAddr, routes: Router) {
        // Before the handshake: a reload in the middle of it counts.
        let reloaded = self.tls.subscribe();
        let (stream, visitor, chain) = match self.secured(socket, peer).await {
            Ok(secured) => secured,
            Err(error) => {
                tracing::info!(event = "handshake_failed", listener = LISTENER, %peer, %error);
                self.door.kept_out(peer, &error.to_string());
                return;
            }
        };
        self.door.came(&visitor, chain.first().map(AsRef::as_ref));
        let service = TowerToHyperService::new(routes.layer(Extension(visitor.clone())));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            served = serving => if let Err(error) = served {
                tracing::debug!(event = "connection_ended", listener = LISTENER, %peer, %error);
            },
            reason = self.disowned(&chain, reloaded) => {
                let principal = &visitor.principal;
                tracing::info!(event = "certificate_no_longer_accepted", listener = LISTENER, %peer, %principal, reason);
                self.door.disowned(&visitor, chain.first().map(AsRef::as_ref), &reason);
            }
        }
    }

    async fn secured(&self, socket: TcpStream, peer: SocketAddr) -> io::Result<Secured> {
        let acceptor = TlsAcceptor::from(self.tls.current());
        let accepted = tokio::time::timeout(self.tls.handshake_timeout(), acceptor.accept(socket)).await;
        let stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (_, session) = stream.get_ref();
        let chain: Vec<CertificateDer<'static>> =
            session.peer_certificates().unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();
        let principal = self.tls.principal(session.peer_certificates()).map_err(io::Error::other)?;
        Ok((stream, Arc::new(self.door.peer(principal, peer)), chain))
    }

    /// Ends when the certificate is not accepted any more: after a reload of trust anchors or revocation lists.
    async fn disowned(&self, chain: &[CertificateDer<'_>], mut reloaded: Reloaded) -> String {
        loop {
            if reloaded.changed().await.is_err() {
                return std::future::pending().await;
            }
            if let Err(error) = self.tls.snapshot().still_accepts(chain, UnixTime::now()) {
                return error.to_string();
            }
        }
    }
}

type Secured = (TlsStream<TcpStream>, Arc<Peer>, Vec<CertificateDer<'static>>);

type Reloaded = watch::Receiver<Arc<crate::tls::ServerSnapshot>>;

/// What stands before a group of routes.
#[derive(Clone)]
struct Guard {
    secure: Arc<Secure>,
    role: Role,
}

/// Lets a request through whose principal has the role, and that no other site has made the browser send.
async fn admit(
    State(guard): State<Guard>,
    Extension(visitor): Extension<Arc<Peer>>,
    request: Request,
    next: Next,
) -> Response {
    let reason = if !guard.secure.roles.load().grant(&visitor.principal, guard.role) {
        Some("no_role")
    } else if is_foreign(&request) {
        Some("foreign_site")
    } else {
        None
    };
    let mut response = match reason {
        None => next.run(request).await,
        Some(reason) => {
            let path: String = request.uri().path().chars().take(SHOWN_PATH).collect();
            let principal = &visitor.principal;
            tracing::warn!(event = "admin_access_refused", %principal, peer = ?visitor.address, path, reason);
            guard.secure.door.refused(&visitor, request.method().as_str(), &path, reason);
            (StatusCode::FORBIDDEN, format!("{} may not see this: {reason}\n", visitor.principal)).into_response()
        }
    };
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(header::HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// A browser sends the auditor's certificate for whatever site asks it to. Only following a link is let through.
fn is_foreign(request: &Request) -> bool {
    let says = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let own = matches!(says("sec-fetch-site"), None | Some("same-origin" | "none"));
    !own && says("sec-fetch-mode") != Some("navigate")
}

/// The page is made of its own files alone, is never framed, and leaves nothing in caches.
const SECURITY_HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("cache-control", "no-store"),
];

/// A browser opens six; ten auditors at once are many.
const MAX_CONNECTIONS: usize = 64;

/// The next request, or the whole of its head, must come in this time.
const IDLE: Duration = Duration::from_secs(60);

/// Requests have no body and short queries.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// What of a refused path stands in the log.
const SHOWN_PATH: usize = 200;

/// Long enough to stop a loop from burning the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
