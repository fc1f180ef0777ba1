//! A witness somewhere else: a checkpoint with a proof is sent, its cosignature comes back, verified.
//! One connection for each request, HTTP/1.1, plain or TLS; nothing waits without a bound and no answer is read without one.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::AddCheckpoint;
use crate::audit::log::checkpoint::parse_number;
use crate::audit::log::note::{KeyKind, Note, NoteKey, NoteSignature};
use crate::upstream::UpstreamTls;

/// A witness that is asked over HTTP.
pub struct WitnessClient {
    prefix: Uri,
    key: NoteKey,
    tls: Option<UpstreamTls>,
    /// The size that it cosigned last, as far as is known.
    pub(super) last: u64,
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Its address or key cannot be used.
    #[error("witness `{0}`: {1}")]
    Setting(String, &'static str),
    /// It was not reached, or did not answer in time.
    #[error("witness `{0}` does not answer: {1}")]
    Unreachable(String, String),
    /// It answered something else than a cosignature.
    #[error("witness `{0}` answered {1}")]
    Refused(String, u16),
    /// It has seen a longer log: this one was rolled back.
    #[error("witness `{0}` has seen {1} entries, and the log has {2}: it was rolled back, or there are two of it")]
    Longer(String, u64, u64),
    /// It says that the log is not a continuation of what it has seen.
    #[error("witness `{0}` says that the log is not a continuation of what it has seen: there are two of it")]
    Forked(String),
    /// Its cosignature is not valid.
    #[error("the answer of witness `{0}` has no valid cosignature of its key")]
    NotCosigned(String),
    /// The proof could not be made.
    #[error(transparent)]
    Log(#[from] crate::audit::log::Error),
}

/// What came back, as far as it is useful.
pub(super) enum Reply {
    /// The lines of cosignatures, not verified.
    Lines(String),
    /// The size that the witness cosigned last.
    OtherSize(u64),
}

impl WitnessClient {
    /// A witness by its submission prefix and its key. `tls` is needed for `https`.
    ///
    /// # Errors
    /// `Setting`.
    pub fn new(prefix: &str, key: NoteKey, tls: Option<UpstreamTls>) -> Result<Self, WitnessError> {
        let wrong = |what| WitnessError::Setting(prefix.to_owned(), what);
        let uri: Uri = prefix.trim_end_matches('/').parse().map_err(|_| wrong("the address is not a URL"))?;
        if key.kind() != KeyKind::Witness {
            return Err(wrong("its key is not the key of a witness"));
        }
        match (uri.scheme_str(), tls.is_some()) {
            (Some("https"), true) | (Some("http"), _) => {}
            (Some("https"), false) => return Err(wrong("https needs trusted authorities")),
            _ => return Err(wrong("the address must begin with https:// or http://")),
        }
        if uri.host().is_none() {
            return Err(wrong("the address names no host"));
        }
        Ok(Self { prefix: uri, key, tls, last: 0 })
    }

    /// Trusts, and shows, something else from now on: certificates are renewed.
    pub fn renew(&mut self, tls: UpstreamTls) {
        self.tls = Some(tls);
    }

    /// The size that it has cosigned last, as far as is known.
    #[must_use]
    pub const fn cosigned(&self) -> u64 {
        self.last
    }

    /// The witness's key.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        &self.key
    }

    /// The line of this witness in an answer, if it is valid for a checkpoint.
    pub(super) fn line(&self, lines: &str, checkpoint: &Note) -> Result<NoteSignature, WitnessError> {
        let parsed = lines.lines().filter_map(NoteSignature::parse);
        let mut own = parsed.filter(|line| line.name == self.key.name() && line.key_id == self.key.id());
        let valid = own.find(|line| {
            let note = Note { text: checkpoint.text.clone(), signatures: vec![line.clone()] };
            note.is_signed_by(&self.key)
        });
        valid.ok_or_else(|| WitnessError::NotCosigned(self.key.name().to_owned()))
    }

    /// Sends a request.
    pub(super) async fn send(&self, asked: &AddCheckpoint) -> Result<Reply, WitnessError> {
        let name = || self.key.name().to_owned();
        let late = |_| WitnessError::Unreachable(name(), format!("nothing within {TIMEOUT:?}"));
        let (status, body) = timeout(TIMEOUT, self.exchange(asked.to_string())).await.map_err(late)??;
        let text = String::from_utf8_lossy(&body);
        match status {
            StatusCode::OK => Ok(Reply::Lines(text.into_owned())),
            StatusCode::CONFLICT => {
                let size = text.strip_suffix('\n').and_then(parse_number);
                size.map(Reply::OtherSize).ok_or_else(|| WitnessError::Refused(name(), status.as_u16()))
            }
            StatusCode::UNPROCESSABLE_ENTITY => Err(WitnessError::Forked(name())),
            other => Err(WitnessError::Refused(name(), other.as_u16())),
        }
    }

    async fn exchange(&self, body: String) -> Result<(StatusCode, Bytes), WitnessError> {
        let host = self.prefix.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.prefix.port_u16().unwrap_or(if self.tls_is_used() { 443 } else { 80 });
        let socket = TcpStream::connect((host.as_str(), port)).await.map_err(|e| self.unreachable(e))?;
        match self.tls.as_ref().filter(|_| self.tls_is_used()) {
            Some(tls) => {
                let server = ServerName::try_from(tls.server_name.clone().unwrap_or(host));
                let server = server.map_err(|e| self.unreachable(e))?;
                let connector = TlsConnector::from(tls.config.clone());
                let stream = connector.connect(server, socket).await.map_err(|e| self.unreachable(e))?;
                self.post(stream, body).await
            }
            None => self.post(socket, body).await,
        }
    }

    async fn post<S>(&self, stream: S, body: String) -> Result<(StatusCode, Bytes), WitnessError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.unreachable(e))?;
        let driving = tokio::spawn(connection);
        let path = format!("{}/add-checkpoint", self.prefix.path().trim_end_matches('/'));
        let authority = self.prefix.authority().map(ToString::to_string).unwrap_or_default();
        let request = Request::builder().method(Method::POST).uri(path).header(HOST, authority);
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| self.unreachable(e))?;
        let answer = sender.send_request(request).await.map_err(|e| self.unreachable(e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| self.unreachable(e))?.to_bytes();
        driving.abort();
        Ok((status, body))
    }

    fn tls_is_used(&self) -> bool {
        self.prefix.scheme_str() == Some("https")
    }

    fn unreachable(&self, error: impl std::fmt::Display) -> WitnessError {
        WitnessError::Unreachable(self.key.name().to_owned(), error.to_string())
    }
}

/// For the whole of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Some cosignatures, also those that resist quantum computers.
const MAX_ANSWER: usize = 64 * 1024;
