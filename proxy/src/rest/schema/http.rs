//! HTTP to a schema registry: one request, one bounded answer.
//!
//! Look-ups are rare, as what was found is kept: each takes a connection of its own. What must never happen here: a
//! credential in plaintext beyond this machine, an answer without a bound, a redirect that is followed.

use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::uri::Scheme;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::config;
use crate::config::SecretRef;
use crate::tls::UpstreamTlsSource;

/// Where a registry is and how it knows us.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// `https://host[:port][/prefix]`, or `http://`.
    pub url: String,
    /// Whom to trust, and our own certificate; required for `https`.
    pub tls: Option<config::UpstreamTls>,
    /// What proves who we are beside a certificate.
    pub credential: Option<RegistryCredential>,
    /// For one look-up, connecting included.
    pub timeout: Duration,
    /// Schemas that are kept.
    pub max_schemas: usize,
}

/// What proves to a registry who we are. The secret is read at each look-up, so that a file may be renewed.
#[derive(Clone, Debug)]
pub enum RegistryCredential {
    /// A name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: SecretRef,
    },
    /// A token.
    Bearer(SecretRef),
}

/// Why a registry gave no answer. Texts go to clients: they name no address.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The settings cannot be used.
    #[error("schema registry: {0}")]
    Setting(&'static str),
    /// The credential cannot be read.
    #[error("the credential for the schema registry cannot be read")]
    Credential(#[source] std::io::Error),
    /// No connection, or one that broke.
    #[error("the schema registry cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the schema registry did not answer within {} ms", .0.as_millis())]
    Slow(Duration),
    /// More than a schema can have.
    #[error("the schema registry's answer has more than 1 MiB")]
    TooLong,
}

/// A client of one registry.
pub(super) struct Client {
    host: String,
    port: u16,
    authority: String,
    prefix: String,
    tls: Option<UpstreamTlsSource>,
    credential: Option<RegistryCredential>,
    timeout: Duration,
}

impl Client {
    /// Checks the settings and reads the certificates; connects to nobody.
    pub(super) fn new(settings: &RegistrySettings) -> Result<Self, HttpError> {
        let uri: Uri =
            settings.url.parse().map_err(|_| HttpError::Setting("url is not https://host[:port][/prefix]"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(HttpError::Setting("url is not https://host[:port][/prefix]"));
        };
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(HttpError::Setting("url has a user or a query: leave them away"));
        }
        let is_secure = *scheme == Scheme::HTTPS;
        if !is_secure && *scheme != Scheme::HTTP {
            return Err(HttpError::Setting("url has a scheme that is not spoken: write https"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if !is_secure && !is_here && settings.credential.is_some() {
            return Err(HttpError::Setting("a credential is not sent in plaintext: write https"));
        }
        let tls = match (is_secure, &settings.tls) {
            (false, None) => None,
            (true, Some(tls)) => {
                let made = UpstreamTlsSource::new(tls.clone());
                Some(made.map_err(|_| HttpError::Setting("the files of tls cannot be read"))?)
            }
            (true, None) => return Err(HttpError::Setting("https needs tls: name the authority to trust in tls.ca")),
            (false, Some(_)) => return Err(HttpError::Setting("tls is set and url is plaintext: write https")),
        };
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls,
            credential: settings.credential.clone(),
            timeout: settings.timeout,
        })
    }

    /// Asks for a path, which is already percent-encoded; with a body, posts it.
    pub(super) async fn ask(&self, path: &str, body: Option<Vec<u8>>) -> Result<(StatusCode, Bytes), HttpError> {
        match timeout(self.timeout, self.exchange(path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Slow(self.timeout)),
        }
    }

    async fn exchange(&self, path: &str, body: Option<Vec<u8>>) -> Result<(StatusCode, Bytes), HttpError> {
        let request = self.request(path, body)?;
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        let Some(tls) = &self.tls else { return send(socket, request).await };
        let tls = tls.current();
        let name = tls.server_name.unwrap_or_else(|| self.host.clone());
        let name = ServerName::try_from(name).map_err(unreachable)?;
        let secured = TlsConnector::from(tls.config).connect(name, socket).await.map_err(unreachable)?;
        send(secured, request).await
    }

    fn request(&self, path: &str, body: Option<Vec<u8>>) -> Result<hyper::Request<Full<Bytes>>, HttpError> {
        let is_post = body.is_some();
        let mut request = hyper::Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
        *request.method_mut() = if is_post { Method::POST } else { Method::GET };
        let unsendable = || HttpError::Setting("url cannot stand in a request");
        *request.uri_mut() = format!("{}{path}", self.prefix).parse().map_err(|_| unsendable())?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&self.authority).map_err(|_| unsendable())?);
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.schemaregistry.v1+json, application/json"));
        if is_post {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.schemaregistry.v1+json"));
        }
        if let Some(credential) = &self.credential {
            headers.insert(AUTHORIZATION, credential.header()?);
        }
        Ok(request)
    }
}

impl RegistryCredential {
    fn header(&self) -> Result<HeaderValue, HttpError> {
        let text = match self {
            Self::Basic { username, password } => {
                let password = password.read().map_err(HttpError::Credential)?;
                let pair = Zeroizing::new(format!("{username}:{}", password.as_str()));
                Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
            }
            Self::Bearer(token) => {
                let token = token.read().map_err(HttpError::Credential)?;
                Zeroizing::new(format!("Bearer {}", token.as_str()))
            }
        };
        let header = HeaderValue::from_str(&text);
        let mut header = header.map_err(|_| HttpError::Setting("the credential has characters that no header has"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

async fn send<S>(stream: S, request: hyper::Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    // How the connection ends is seen by whoever waits for the answer.
    let task = tokio::spawn(async move { drop(connection.await) });
    let answer = async {
        let answer = sender.send_request(request).await.map_err(unreachable)?;
        let status = answer.status();
        match Limited::new(answer.into_body(), MAX_ANSWER).collect().await {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(HttpError::TooLong),
            Err(error) => Err(HttpError::Unreachable(error)),
        }
    };
    let answer = answer.await;
    task.abort();
    answer
}

fn unreachable(error: impl std::error::Error + Send + Sync + 'static) -> HttpError {
    HttpError::Unreachable(Box::new(error))
}

/// Registries refuse schemas of this size themselves.
const MAX_ANSWER: usize = 1024 * 1024;
