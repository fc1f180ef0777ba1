//! Connections to a KMIP server: TLS with certificates on both sides, one request at a time on each.
//!
//! Arrives: the bytes of a request. Leaves: the bytes of one answer, bounded and wiped when dropped, or the reason why
//! there is none. A connection on which anything went wrong is never used again, so an answer cannot be taken for that of
//! another request. A kept connection that the server had closed in the meantime is replaced once, if repeating is safe.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::KmipSettings;
use super::message::{MAX_RESPONSE, RESPONSE_MESSAGE};
use super::ttlv::HEADER;
use crate::Error;
use crate::tls::Tls;

/// The connections to one server, at most as many as the settings say.
pub(super) struct Connections {
    address: String,
    name: ServerName<'static>,
    tls: Tls,
    connect_timeout: Duration,
    request_timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

impl Connections {
    /// Checks the settings; connects to nobody and reads no file.
    pub(super) fn new(settings: &KmipSettings) -> Result<Self, Error> {
        let unfit = |setting, why: &str| Error::Setting { setting, why: why.to_owned() };
        let (host, port) = settings.address.rsplit_once(':').unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if port.parse::<u16>().is_err() {
            return Err(unfit("address", "write host:port; the port of KMIP is 5696"));
        }
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| unfit("address", "has a host name that no certificate can have"))?;
        if settings.tls.client_certificate.is_none() {
            return Err(unfit("tls", "KMIP knows its clients by their certificate: name one with its key"));
        }
        if !(1..=MOST_CONNECTIONS).contains(&settings.connections) {
            return Err(unfit("connections", "from 1 to 64"));
        }
        Ok(Self {
            address: settings.address.clone(),
            name,
            tls: Tls::new(settings.tls.clone()),
            connect_timeout: settings.connect_timeout,
            request_timeout: settings.request_timeout,
            permits: Semaphore::new(settings.connections),
            idle: Mutex::default(),
        })
    }

    /// Sends a request and reads its answer. What is not repeatable goes over a fresh connection only.
    pub(super) async fn exchange(
        &self,
        request: &[u8],
        is_repeatable: bool,
    ) -> Result<Zeroizing<Vec<u8>>, ConnectionError> {
        let limit = self.request_timeout;
        let within = timeout(limit, async {
            // Never closed: the error cannot be.
            let _permit = self.permits.acquire().await.map_err(|_| ConnectionError::Slow(limit))?;
            if is_repeatable && let Some(mut kept) = self.take_idle() {
                match kept.exchange(request).await {
                    Ok(answer) => return Ok(self.keep(kept, answer)),
                    Err(Broken { had_begun: true, error }) => return Err(error),
                    // Not a byte came back: the server had gone before it saw the request, or went without an answer.
                    Err(Broken { had_begun: false, .. }) => {}
                }
            }
            let mut fresh = self.connect().await?;
            match fresh.exchange(request).await {
                Ok(answer) => Ok(self.keep(fresh, answer)),
                Err(broken) => Err(broken.error),
            }
        });
        within.await.unwrap_or(Err(ConnectionError::Slow(limit)))
    }

    async fn connect(&self) -> Result<Connection, ConnectionError> {
        let limit = self.connect_timeout;
        let open = async {
            let config = self.tls.config().map_err(|e| ConnectionError::Certificate(e.to_string()))?;
            let tcp = TcpStream::connect(&self.address).await.map_err(ConnectionError::of)?;
            // One small request, one small answer: waiting for more to send would only cost time.
            let _ = tcp.set_nodelay(true);
            let stream = TlsConnector::from(config).connect(self.name.clone(), tcp).await;
            Ok(Connection { stream: stream.map_err(ConnectionError::of)?, since: Instant::now() })
        };
        timeout(limit, open).await.unwrap_or(Err(ConnectionError::Slow(limit)))
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.since.elapsed() < MAX_IDLE && kept.connection.since.elapsed() < MAX_AGE);
        idle.pop().map(|kept| kept.connection)
    }

    fn keep(&self, connection: Connection, answer: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle { connection, since: Instant::now() });
        answer
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

struct Connection {
    stream: TlsStream<TcpStream>,
    since: Instant,
}

impl Connection {
    async fn exchange(&mut self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let not_begun = |error| Broken { had_begun: false, error: ConnectionError::of(error) };
        let begun = |error| Broken { had_begun: true, error };
        let sent = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await
        };
        if let Err(error) = sent.await {
            // In TLS 1.3 a client whose certificate is refused learns of it only by reading.
            let told = self.stream.read_u8().await.err();
            return Err(not_begun(told.filter(|told| told.get_ref().is_some()).unwrap_or(error)));
        }
        let first = self.stream.read_u8().await.map_err(not_begun)?;
        let mut head = [0; HEADER];
        let [start, rest @ ..] = &mut head;
        *start = first;
        self.stream.read_exact(rest).await.map_err(|e| begun(ConnectionError::of(e)))?;
        let [t0, t1, t2, kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if u32::from_be_bytes([0, t0, t1, t2]) != RESPONSE_MESSAGE.0 || kind != 1 {
            return Err(begun(ConnectionError::NotKmip));
        }
        if length > MAX_RESPONSE {
            return Err(begun(ConnectionError::TooLong));
        }
        let mut answer = Zeroizing::new(vec![0; HEADER + length]);
        let (place, body) = answer.split_at_mut(HEADER);
        place.copy_from_slice(&head);
        self.stream.read_exact(body).await.map_err(|e| begun(ConnectionError::of(e)))?;
        Ok(answer)
    }
}

struct Broken {
    /// Whether a byte of an answer had come.
    had_begun: bool,
    error: ConnectionError,
}

/// Why there is no answer to judge. None of these says anything about a key.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("the TLS connection is not to be trusted: {0}")]
    Certificate(String),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("what answers there does not speak KMIP")]
    NotKmip,
    #[error("the server does not take our certificate: {0}")]
    Refused(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("the answer has more than 64 KiB")]
    TooLong,
}

impl ConnectionError {
    /// rustls hides its errors in those of the operating system.
    fn of(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) if speaks_of_us(*alert) => Self::Refused(format!("{alert:?}")),
            Some(tls) => Self::Certificate(tls.to_string()),
            None => Self::Connect(error.to_string()),
        }
    }
}

/// Whether a server ended TLS because of our certificate.
const fn speaks_of_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}

const MOST_CONNECTIONS: usize = 64;
/// Below what servers and firewalls close at.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// After this a connection is made anew, so that a renewed certificate is shown and a revoked one stops to work.
const MAX_AGE: Duration = Duration::from_secs(600);
