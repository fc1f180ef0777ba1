//! A syslog server: RFC 5424 messages over TLS with octet counting (RFC 5425). There are no acknowledgements in syslog: what may
//! have been in flight when a connection broke is sent again, so messages may come twice; their index tells. What must never
//! happen here: a piece written behind one that was cut short, in one connection.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::{Delivery, Entry, Piece, Settlement, Sink};
use crate::config::{self, HostPort, SinkFormat};
use crate::stream::{Reading, Writing};
use crate::tls::UpstreamTlsSource;
use crate::upstream;

/// Sends to one server.
pub struct SyslogSink {
    address: HostPort,
    tls: Arc<UpstreamTlsSource>,
    format: SinkFormat,
    host: String,
    open: Option<(Reading, Writing)>,
}

impl SyslogSink {
    /// Connects when there is something to send.
    pub fn new(address: HostPort, tls: config::UpstreamTls, format: SinkFormat) -> Result<Self, crate::tls::TlsError> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim().chars().filter(char::is_ascii_graphic).take(MOST_HOST).collect();
        Ok(Self { address, tls: Arc::new(UpstreamTlsSource::new(tls)?), format, host, open: None })
    }

    async fn send(&mut self, piece: &Piece) -> io::Result<()> {
        let mut out = Vec::new();
        for entry in &piece.entries {
            let message = self.message(entry, &piece.origin);
            out.extend(message.len().to_string().bytes());
            out.push(b' ');
            out.extend(message);
        }
        // Put back when all of it is written: whoever gives up in between leaves a connection that is closed.
        let (mut read, mut write) = match self.open.take() {
            Some(open) => open,
            None => upstream::open(&self.address, Some(&self.tls.current())).await?,
        };
        // What is written behind the server's end is lost without a word.
        if has_ended(&mut read)? {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        write.write_all(&out).await?;
        write.flush().await?;
        self.open = Some((read, write));
        Ok(())
    }

    /// Says that no more comes, and waits for the server to end its side, too: it has read everything then. Nothing is certain when
    /// it has ended before, or without TLS's own goodbye, which somebody on the way could have done for it.
    async fn end(&mut self) -> io::Result<bool> {
        let Some((mut read, mut write)) = self.open.take() else { return Ok(false) };
        if has_ended(&mut read)? {
            return Ok(false);
        }
        write.shutdown().await?;
        let mut rest = [0; 1024];
        loop {
            match read.read(&mut rest).await {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// One message: facility 13 (log audit), severity by outcome, the kind as MSGID, origin and index as structured data.
    fn message(&self, entry: &Entry, origin: &str) -> Vec<u8> {
        let event: Value = serde_json::from_slice(&entry.bytes).unwrap_or_default();
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let severity = if text("/data/result/status") == "SUCCESS" { INFORMATIONAL } else { WARNING };
        let kind = text("/type").strip_prefix("io.barnabas.").unwrap_or_default();
        let kind: String = kind.chars().filter(char::is_ascii_graphic).take(MOST_MSGID).collect();
        let host = if self.host.is_empty() { "-" } else { &self.host };
        let (kind, time) = (if kind.is_empty() { "-" } else { &kind }, text("/time"));
        let time = if time.is_empty() { "-" } else { time };
        let (priority, process, index) = (FACILITY * 8 + severity, std::process::id(), entry.index);
        let origin = origin.replace(['"', '\\', ']'], "_");
        let mut out = format!(
            "<{priority}>1 {time} {host} barnabas {process} {kind} [entry@32473 log=\"{origin}\" index=\"{index}\"] "
        )
        .into_bytes();
        out.extend(entry.as_format(self.format, &origin));
        out
    }
}

impl Sink for SyslogSink {
    fn deliver<'a>(&'a mut self, piece: &'a Piece) -> Delivery<'a> {
        Box::pin(async move { self.send(piece).await.map_err(|error| format!("{}: {error}", self.address)) })
    }

    fn settle(&mut self) -> Settlement<'_> {
        Box::pin(async move { self.end().await.map_err(|error| format!("{}: {error}", self.address)) })
    }

    fn is_acknowledged(&self) -> bool {
        false
    }
}

/// Whether the other side has ended a connection, as far as that is here by now. A server of syslog says nothing else.
fn has_ended(read: &mut Reading) -> io::Result<bool> {
    let mut rest = [0; 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut rest);
        match Pin::new(&mut *read).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Ok(true),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(true),
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
}

/// RFC 5424, table 1: log audit.
const FACILITY: u32 = 13;
/// RFC 5424, table 2.
const WARNING: u32 = 4;
const INFORMATIONAL: u32 = 6;
/// RFC 5424, section 6.
const MOST_HOST: usize = 255;
const MOST_MSGID: usize = 32;
