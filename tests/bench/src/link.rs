//! One connection to a broker, relay or gateway, plain or TLS. Frames go out whole, answers come in through one large buffer, so
//! that the generator spends few system calls. Answers are taken strictly in the order of their requests.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use crate::error::{Attempt, Error};
use crate::wire::{CORRELATION_AT, admin};

/// A connection with its buffer and its count of requests.
pub struct Link {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    sent: i32,
    answered: i32,
}

impl Link {
    /// Connects; with `tls` the handshake is finished when this returns.
    pub fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Error> {
        Ok(Self { stream: Stream::open(address, tls)?, buffer: Vec::new(), start: 0, end: 0, sent: 0, answered: 0 })
    }

    /// Resolves `host:port` and takes the first address.
    pub fn resolve(target: &str) -> Result<SocketAddr, Error> {
        target
            .to_socket_addrs()
            .attempt(|| format!("resolve {target}"))?
            .next()
            .ok_or_else(|| Error::Setup(format!("{target} has no address")))
    }

    /// Waits until something at `address` answers ApiVersions.
    pub fn await_life(address: SocketAddr, tls: Option<&Arc<ClientConfig>>, limit: Duration) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            let life = Self::connect(address, tls)
                .and_then(|mut link| link.call(&mut admin::api_versions()).and_then(admin::api_versions_ok));
            match life {
                Ok(()) => return Ok(()),
                Err(error) if started.elapsed() > limit => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// The cipher suite that was agreed, for the record.
    pub fn suite(&self) -> Option<String> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.conn.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
        }
    }

    /// How many requests have no answer yet.
    pub fn in_flight(&self) -> i32 {
        self.sent - self.answered
    }

    /// Sends a frame under the next correlation id, which is written into it.
    pub fn send(&mut self, frame: &mut [u8]) -> Result<(), Error> {
        if let Some(place) = frame.get_mut(CORRELATION_AT) {
            place.copy_from_slice(&self.sent.to_be_bytes());
        }
        self.sent = self.sent.wrapping_add(1);
        self.stream.write_all(frame).attempt(|| "send a request".into())
    }

    /// The next answer, without its correlation id.
    pub fn receive(&mut self) -> Result<&[u8], Error> {
        let length = u32::from_be_bytes(self.fill(4)?) as usize;
        if !(4..=FRAME_LIMIT).contains(&length) {
            return Err(Error::FrameTooLong { bytes: length, limit: FRAME_LIMIT });
        }
        self.fill_to(4 + length)?;
        let body = self.start + 8;
        let id = i32::from_be_bytes(self.peek(self.start + 4)?);
        if id != self.answered {
            return Err(Error::Correlation { awaited: self.answered, got: id });
        }
        self.answered = self.answered.wrapping_add(1);
        let frame_end = self.start + 4 + length;
        self.start = frame_end;
        Ok(self.buffer.get(body..frame_end).unwrap_or_default())
    }

    /// Sends a frame and waits for its answer.
    pub fn call(&mut self, frame: &mut [u8]) -> Result<&[u8], Error> {
        self.send(frame)?;
        self.receive()
    }

    fn fill<const N: usize>(&mut self, count: usize) -> Result<[u8; N], Error> {
        self.fill_to(count)?;
        self.peek(self.start)
    }

    fn peek<const N: usize>(&self, at: usize) -> Result<[u8; N], Error> {
        let short = Error::Short { needed: N, left: self.end.saturating_sub(at) };
        self.buffer.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or(short)
    }

    /// Reads until `count` bytes stand in the buffer; as much more as comes along is kept for the next answer.
    fn fill_to(&mut self, count: usize) -> Result<(), Error> {
        while self.end - self.start < count {
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
            }
            if self.start + count > self.buffer.len() {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
                let wanted = count.max(BUFFER);
                if wanted > self.buffer.len() {
                    self.buffer.resize(wanted, 0);
                }
            }
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.stream.read(space).attempt(|| "read an answer".into())? {
                0 => {
                    return Err(Error::Short { needed: count, left: self.end - self.start });
                }
                read => self.end += read,
            }
        }
        Ok(())
    }
}

/// A connected socket, plain or TLS.
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// After the handshake.
    Tls(Box<StreamOwned<ClientConnection, Buffered>>),
}

impl Stream {
    /// Connects; with `tls` the handshake is finished when this returns.
    pub fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Error> {
        let tcp = TcpStream::connect_timeout(&address, PATIENCE).attempt(|| format!("connect to {address}"))?;
        tcp.set_nodelay(true)
            .and_then(|()| tcp.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| tcp.set_write_timeout(Some(PATIENCE)))
            .attempt(|| "set socket options".into())?;
        let Some(config) = tls else { return Ok(Self::Plain(tcp)) };
        let name = ServerName::try_from("localhost").map_err(|_| Error::Setup("bad server name".into()))?;
        let mut connection = ClientConnection::new(Arc::clone(config), name)?;
        let mut tcp = Buffered(BufReader::with_capacity(BUFFER, tcp));
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).attempt(|| format!("shake hands with {address}"))?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, tcp))))
    }
}

impl Read for Stream {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(space),
            Self::Tls(tls) => tls.read(space),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// rustls reads its socket in pieces of 4 KiB; a buffer under it saves the generator most of those calls.
pub struct Buffered(BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.0.read(space)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A silence longer than this is a failure, never a slow figure.
const PATIENCE: Duration = Duration::from_secs(30);
/// Read size; grows only when one answer is longer.
const BUFFER: usize = 64 << 10;
/// Longest answer read.
const FRAME_LIMIT: usize = 128 << 20;
