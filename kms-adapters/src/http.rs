//! The HTTPS client that all vendors' adapters share: HTTP/1.1, one host, a few idle connections.
//!
//! Arrives: a request with a bounded body. Leaves: the status, the headers and the bounded body of the answer, or an
//! [`HttpError`] that knows its cause. It follows no redirect, speaks plaintext only where the settings say so and the
//! address really is on this machine or link, never waits without a bound, and wipes bodies (what HTTP and TLS keep
//! in their own buffers is out of its reach). It does not judge a status and does not retry, save for one case: a kept
//! connection that the server had closed in the meantime.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use barnabas_crypto::custody::CustodyCause;
use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::uri::Scheme;
use hyper::{HeaderMap, Method, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::tls::{Tls, TlsSettings};
use crate::{Error, VendorError};

/// Where a service is and how to speak to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpSettings {
    /// `https://host[:port][/prefix]`; requests name their path below it.
    pub endpoint: String,
    /// Whom to trust and who we are.
    pub tls: TlsSettings,
    /// Whether `http://` is allowed, and to where.
    pub plaintext: Plaintext,
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For the whole call, connecting included.
    pub request_timeout: Duration,
}

impl HttpSettings {
    /// Default timeouts (5 s, 10 s), the operating system's authorities, no plaintext.
    #[must_use]
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            tls: TlsSettings::default(),
            plaintext: Plaintext::Refused,
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
        }
    }
}

/// Where `http://` is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Plaintext {
    /// To 169.254.0.0/16, fd00:ec2::/32 and this machine: where clouds keep their instance metadata.
    LinkLocal,
    /// To this machine: a side car, a test.
    Loopback,
    /// Nowhere.
    #[default]
    Refused,
}

/// A client of one service. Cheap to keep, to be shared by reference.
pub(crate) struct Client {
    endpoint: Endpoint,
    tls: Tls,
    settings: HttpSettings,
    idle: Mutex<Vec<Idle>>,
}

/// One request. Headers with a credential are marked sensitive by [`Request::secret_header`].
pub(crate) struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What a service answered.
pub(crate) struct Response {
    /// The status, 200 to 599 without 3xx.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, at most 1 MiB; wiped when dropped, since it may hold a secret.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Client {
    /// Checks the settings; connects to nobody and reads no file.
    ///
    /// # Errors
    /// `Setting`, when the endpoint is not an address that may be spoken to.
    pub(crate) fn new(settings: HttpSettings) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(&settings)?;
        Ok(Self { endpoint, tls: Tls::new(settings.tls.clone()), settings, idle: Mutex::default() })
    }

    /// `host:port`, as `Host` headers and signatures want it: without the port where it is the scheme's own.
    pub(crate) fn authority(&self) -> &str {
        &self.endpoint.authority
    }

    /// The endpoint's own path, without a slash at its end.
    pub(crate) fn prefix(&self) -> &str {
        &self.endpoint.prefix
    }

    /// The endpoint as the settings name it.
    pub(crate) fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// What [`HttpError`] lists; an answer of any status but 3xx is none.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let limit = self.settings.request_timeout;
        match timeout(limit, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(self.failed(Failure::Slow(limit))),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Response, HttpError> {
        if let Some(mut kept) = self.take_idle()
            && kept.ready().await.is_ok()
            && let Ok(answer) = kept.send_request(self.message(request)?).await
        {
            return self.receive(answer, kept).await;
        }
        let mut fresh = self.connect().await?;
        let answer = fresh.send_request(self.message(request)?).await;
        let answer = answer.map_err(|e| self.failed(Failure::Broken(e.to_string())))?;
        self.receive(answer, fresh).await
    }

    async fn receive(&self, answer: hyper::Response<Incoming>, connection: Sender) -> Result<Response, HttpError> {
        let (head, mut incoming) = answer.into_parts();
        if head.status.is_redirection() {
            return Err(self.failed(Failure::Redirect(head.status.as_u16())));
        }
        let mut body = Zeroizing::new(Vec::with_capacity(USUAL_RESPONSE));
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|e| self.failed(Failure::Broken(e.to_string())))?;
            let Ok(mut part) = frame.into_data() else { continue };
            if body.len() + part.remaining() > MAX_RESPONSE {
                return Err(self.failed(Failure::TooLong));
            }
            while part.has_remaining() {
                body = grown(body, part.chunk());
                part.advance(part.chunk().len());
            }
        }
        self.put_idle(connection);
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    }

    fn message(&self, request: &Request) -> Result<hyper::Request<Full<Bytes>>, HttpError> {
        let path = format!("{}{}", self.endpoint.prefix, request.path);
        let uri: Uri = path.parse().map_err(|_| self.failed(Failure::Unsendable))?;
        let mut message = hyper::Request::new(Full::new(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = uri;
        *message.headers_mut() = request.headers.clone();
        let host = HeaderValue::from_str(&self.endpoint.authority).map_err(|_| self.failed(Failure::Unsendable))?;
        message.headers_mut().insert(HOST, host);
        Ok(message)
    }

    async fn connect(&self) -> Result<Sender, HttpError> {
        let limit = self.settings.connect_timeout;
        match timeout(limit, self.open()).await {
            Ok(result) => result,
            Err(_) => Err(self.failed(Failure::Slow(limit))),
        }
    }

    async fn open(&self) -> Result<Sender, HttpError> {
        let unreachable = |e: io::Error| self.failed(Failure::of_connecting(&e));
        let found = lookup_host((self.endpoint.host.as_str(), self.endpoint.port)).await.map_err(unreachable)?;
        let (addresses, barred): (Vec<_>, Vec<_>) =
            found.take(MOST_ADDRESSES).partition(|address| self.may_speak_to(*address));
        let none = Failure::Connect("the name has no address".into());
        let mut last = if barred.is_empty() { none } else { Failure::Plaintext };
        // An address that swallows packets must leave time for the others.
        let share = self.settings.connect_timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        for address in addresses {
            last = match timeout(share, self.open_to(address)).await {
                Ok(Ok(sender)) => return Ok(sender),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Slow(share),
            };
        }
        Err(self.failed(last))
    }

    async fn open_to(&self, address: SocketAddr) -> Result<Sender, Failure> {
        let tcp = TcpStream::connect(address).await.map_err(|e| Failure::of_connecting(&e))?;
        // One small request, one small answer: waiting for more to send would only cost time.
        let _ = tcp.set_nodelay(true);
        let Some(name) = self.endpoint.tls_name.clone() else {
            return shake_hands(tcp).await;
        };
        let config = self.tls.config().map_err(|e| Failure::Certificate(e.to_string()))?;
        let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|e| Failure::of_connecting(&e))?;
        shake_hands(tls).await
    }

    /// Plaintext goes only to addresses that the settings allow, whatever a name resolves to.
    fn may_speak_to(&self, address: SocketAddr) -> bool {
        self.endpoint.tls_name.is_some() || self.settings.plaintext.reaches(address.ip())
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.since.elapsed() < MAX_IDLE && !kept.sender.is_closed());
        idle.pop().map(|kept| kept.sender)
    }

    fn put_idle(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE && !sender.is_closed() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    fn failed(&self, failure: Failure) -> HttpError {
        HttpError { address: self.endpoint.authority.clone(), failure }
    }
}

impl Request {
    /// A request to `path` (with its query, percent-encoded), below the endpoint's own path.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// With a header; one whose value cannot stand in a header is left away and the service will miss it.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With a header that holds a credential: its `Debug` shows nothing.
    pub(crate) fn secret_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        self
    }

    /// With a body; it is wiped when the request is dropped.
    pub(crate) fn body(mut self, body: Zeroizing<Vec<u8>>) -> Self {
        self.body = Bytes::from_owner(body);
        self
    }
}

impl Response {
    /// The pause that a `Retry-After` header asks for, in seconds; at most an hour. The form with a date is not read.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds.min(3600)))
    }

    /// What a status means where a vendor says no more.
    pub(crate) const fn usual_cause(&self) -> CustodyCause {
        match self.status {
            401 => CustodyCause::Unauthenticated,
            403 => CustodyCause::Denied,
            404 | 410 => CustodyCause::NotFound,
            408 | 425 | 500..=599 => CustodyCause::Unreachable,
            429 => CustodyCause::Throttled,
            _ => CustodyCause::Invalid,
        }
    }

    /// A vendor's error with this status, its usual cause, and the pause that was asked for.
    pub(crate) fn refusal(&self, vendor: &'static str) -> VendorError {
        let error = VendorError::new(vendor, self.usual_cause()).coded(format!("HTTP {}", self.status));
        error.after(self.retry_after())
    }
}

impl Plaintext {
    fn reaches(self, address: IpAddr) -> bool {
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.segments().starts_with(&[0xfd00, 0x0ec2]),
        };
        match self {
            Self::LinkLocal => link_local || address.is_loopback(),
            Self::Loopback => address.is_loopback(),
            Self::Refused => false,
        }
    }
}

/// Why there is no answer to judge.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {failure}")]
pub(crate) struct HttpError {
    address: String,
    failure: Failure,
}

impl HttpError {
    /// The vendor's error with the remedy. Every one of them is an outage: it says nothing about a key.
    pub(crate) fn into_vendor(self, vendor: &'static str) -> VendorError {
        let remedy = match &self.failure {
            Failure::Broken(_) | Failure::TooLong => {
                "see whether a proxy stands between, and what the service's log says"
            }
            Failure::Certificate(_) => {
                "set tls.ca to the authority of the service, and use a name that its certificate has"
            }
            Failure::Connect(_) | Failure::Slow(_) => {
                "see that the service runs, its name resolves and the port is open"
            }
            Failure::Plaintext => "use https, or an address that plaintext is allowed to",
            Failure::Redirect(_) => "redirects are not followed: set the endpoint to where the service really is",
            Failure::Unsendable => "mend the key name or the settings",
        };
        let cause = match self.failure {
            Failure::Unsendable => CustodyCause::Invalid,
            _ => CustodyCause::Unreachable,
        };
        VendorError::new(vendor, cause).saying(&self.to_string()).advising(remedy)
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the answer broke off or is not HTTP: {0}")]
    Broken(String),
    #[error("the TLS connection is not to be trusted: {0}")]
    Certificate(String),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("plaintext is not allowed to the address that the name has")]
    Plaintext,
    #[error("answered with a redirect ({0})")]
    Redirect(u16),
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("the answer has more than 1 MiB")]
    TooLong,
    #[error("the path cannot stand in a request")]
    Unsendable,
}

impl Failure {
    /// rustls hides its errors in those of the operating system.
    fn of_connecting(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Certificate(tls.to_string()),
            None => Self::Connect(error.to_string()),
        }
    }
}

struct Endpoint {
    host: String,
    port: u16,
    authority: String,
    prefix: String,
    /// None for plaintext.
    tls_name: Option<ServerName<'static>>,
}

impl Endpoint {
    fn parse(settings: &HttpSettings) -> Result<Self, Error> {
        let text = settings.endpoint.as_str();
        let unfit = |why: &str| Error::Setting { setting: "endpoint", why: format!("{text:?} {why}") };
        let uri: Uri = text.parse().map_err(|_| unfit("is not https://host[:port][/prefix]"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(unfit("is not https://host[:port][/prefix]"));
        };
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(unfit("has a user, a query or a fragment: leave them away"));
        }
        let is_secure = *scheme == Scheme::HTTPS;
        if !is_secure && *scheme != Scheme::HTTP {
            return Err(unfit("has a scheme that is not spoken: write https"));
        }
        if !is_secure && settings.plaintext == Plaintext::Refused {
            return Err(unfit("is not encrypted: write https"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let own = if is_secure { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(own);
        let tls_name = if is_secure {
            Some(
                ServerName::try_from(host.clone())
                    .map_err(|_| unfit("has a host name that no certificate can have"))?,
            )
        } else {
            None
        };
        let shown = if port == own { authority.host().to_owned() } else { format!("{}:{port}", authority.host()) };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { host, port, authority: shown, prefix, tls_name })
    }
}

struct Idle {
    sender: Sender,
    since: Instant,
}

type Sender = SendRequest<Full<Bytes>>;

/// Starts HTTP on a stream; a task reads and writes it until the sender is dropped or the peer closes.
async fn shake_hands<S>(stream: S) -> Result<Sender, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let shaken = http1::Builder::new().max_headers(MOST_HEADERS).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|e| Failure::Broken(e.to_string()))?;
    // How the connection ends is seen by whoever uses the sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Appends without leaving copies behind: when it must grow, the old buffer is wiped.
fn grown(mut body: Zeroizing<Vec<u8>>, part: &[u8]) -> Zeroizing<Vec<u8>> {
    if body.capacity() - body.len() < part.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((body.len() + part.len()) * 2));
        larger.extend_from_slice(&body);
        body = larger;
    }
    body.extend_from_slice(part);
    body
}

/// Long enough for another continent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Key management systems answer in milliseconds, or are in trouble.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// No answer that we ask for comes near it.
const MAX_RESPONSE: usize = 1024 * 1024;
const USUAL_RESPONSE: usize = 4096;
const MOST_HEADERS: usize = 100;
/// Of those that a name has.
const MOST_ADDRESSES: usize = 4;
/// Calls are few and short.
const MOST_IDLE: usize = 8;
/// Below what services and load balancers close at (60 s and more).
const MAX_IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
