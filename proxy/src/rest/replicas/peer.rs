//! Connections to one other replica: TLS with our certificate, kept for the next call.
//!
//! Arrives: a request. Leaves: its answer, whose body flows through. What must never happen here: a request sent a second time after the
//! other may have seen it; more calls at once than the bound; a wait without an end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsConnector;

use super::super::{Code, Error};
use crate::config;
use crate::stream;
use crate::tls::UpstreamTlsSource;

/// One other replica.
pub(super) struct Peer {
    id: String,
    host: String,
    port: u16,
    authority: HeaderValue,
    tls: Arc<UpstreamTlsSource>,
    idle: Mutex<Vec<(Instant, Sender)>>,
    turns: Arc<Semaphore>,
}

type Sender = SendRequest<Full<Bytes>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// No connection.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It broke off.
    #[error("it broke off: {0}")]
    Broken(String),
    /// No answer in time.
    #[error("it did not answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// As many calls as may be are under way.
    #[error("too many calls at once")]
    Busy,
}

impl Trouble {
    /// What the caller is told.
    pub(super) fn told(&self, owner: &str) -> Error {
        if matches!(self, Self::Busy) {
            return Code::TooManyRequests
                .with("too many calls for consumers of another replica (limits.max_consumers)");
        }
        Code::KafkaRetriable.with(format!(
            "replica `{owner}`, which has this consumer, does not answer; try again, or make another consumer"
        ))
    }
}

impl Peer {
    /// Connects when it is asked for the first time.
    pub(super) fn new(member: &config::Replica, tls: Arc<UpstreamTlsSource>, most: usize) -> Self {
        let authority = HeaderValue::from_str(&member.address.to_string());
        Self {
            id: member.id.clone(),
            host: member.address.host.clone(),
            port: member.address.port,
            authority: authority.unwrap_or(HeaderValue::from_static("replica")),
            tls,
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Its name.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The answer to a request, within `patience`; its body too.
    pub(super) async fn ask(
        self: &Arc<Self>,
        mut request: Request<Bytes>,
        patience: Duration,
    ) -> Result<Response<Flowing>, Trouble> {
        let turn = self.turns.clone().try_acquire_owned().map_err(|_| Trouble::Busy)?;
        let until = tokio::time::Instant::now() + patience;
        request.headers_mut().insert(header::HOST, self.authority.clone());
        let mut request = request.map(Full::new);
        let late = |_| Trouble::Slow(patience);
        let (response, sender) = loop {
            let known = self.waiting().await;
            let was_known = known.is_some();
            let mut sender = match known {
                Some(sender) => sender,
                None => timeout(CONNECTING.min(patience), self.connect()).await.map_err(late)??,
            };
            match tokio::time::timeout_at(until, sender.try_send_request(request)).await.map_err(late)? {
                Ok(response) => break (response, sender),
                Err(mut error) => match error.take_message() {
                    // The other had closed the connection before it began; on a new one it is not tried again.
                    Some(unsent) if was_known => request = unsent,
                    _ => return Err(Trouble::Broken(error.into_error().to_string())),
                },
            }
        };
        let deadline = Box::pin(tokio::time::sleep_until(until));
        let peer = self.clone();
        Ok(response.map(|body| Flowing { body, deadline, sender: Some(sender), peer, _turn: turn }))
    }

    async fn connect(&self) -> Result<Sender, Trouble> {
        let unreachable = |error: &dyn std::fmt::Display| Trouble::Unreachable(error.to_string());
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| unreachable(&error))?;
        stream::prepare(&socket).map_err(|error| unreachable(&error))?;
        let tls = self.tls.current();
        let name = tls.server_name.unwrap_or_else(|| self.host.clone());
        let name = ServerName::try_from(name).map_err(|error| unreachable(&error))?;
        let secured =
            TlsConnector::from(tls.config).connect(name, socket).await.map_err(|error| unreachable(&error))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(secured)).await.map_err(|error| unreachable(&error))?;
        // How the connection ends is seen by whoever waits for the answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// A connection that waits for its next call.
    async fn waiting(&self) -> Option<Sender> {
        loop {
            let (since, mut sender) = self.lock().pop()?;
            if since.elapsed() < MOST_IDLE && timeout(READY, sender.ready()).await.is_ok_and(|ready| ready.is_ok()) {
                return Some(sender);
            }
        }
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.lock();
        if idle.len() < MOST_KEPT && !sender.is_closed() {
            idle.push((Instant::now(), sender));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Sender)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer. At its end the connection waits for the next call; before it, dropping it ends the connection and so the call.
pub(super) struct Flowing {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
    sender: Option<Sender>,
    peer: Arc<Peer>,
    _turn: OwnedSemaphorePermit,
}

impl Body for Flowing {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if this.body.is_end_stream() {
                    this.done();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.done();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Pending => {
                std::task::ready!(this.deadline.as_mut().poll(context));
                Poll::Ready(Some(Err("the replica did not finish in time".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Flowing {
    fn done(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.peer.keep(sender);
        }
    }
}

impl Drop for Flowing {
    fn drop(&mut self) {
        // An answer without a body is never asked for one.
        if self.body.is_end_stream() {
            self.done();
        }
    }
}

/// A replica is near.
const CONNECTING: Duration = Duration::from_secs(5);

/// The other closes a connection after five minutes.
const MOST_IDLE: Duration = Duration::from_secs(60);

/// Its task has yet to see that the last answer was read.
const READY: Duration = Duration::from_millis(100);

/// Connections that wait.
const MOST_KEPT: usize = 32;
