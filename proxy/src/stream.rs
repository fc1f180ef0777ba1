//! Byte streams to clients and brokers, plain or TLS, in two halves.
//!
//! Arrives: a connected socket. Leaves: a reading and a writing half that the connection code uses without
//! knowing which kind they are. TLS records are at most 16 KiB and rustls asks for them in small pieces, so a
//! [`ReadAhead`] between socket and TLS reads 64 KiB at a time: the system calls are the larger cost.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The reading half.
pub type Reading = Box<dyn AsyncRead + Send + Unpin>;
/// The writing half.
pub type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// What every socket is set to: no waiting for more to send, and an end for a peer that is gone without a word (its
/// connection would hold its place for ever).
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// The halves of a plain connection.
pub fn plain(socket: TcpStream) -> (Reading, Writing) {
    let (read, write) = socket.into_split();
    (Box::new(read), Box::new(write))
}

/// The halves of a TLS connection.
pub fn secured<S>(stream: S) -> (Reading, Writing)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (read, write) = tokio::io::split(stream);
    (Box::new(read), Box::new(write))
}

/// A socket that is read in large pieces. While nothing is waiting it holds no buffer.
pub struct ReadAhead {
    socket: TcpStream,
    ahead: BytesMut,
}

impl ReadAhead {
    /// Wraps a connected socket.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, ahead: BytesMut::new() }
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        use std::future::Future;
        use std::pin::pin;
        use tokio::io::AsyncReadExt;

        self.ahead.reserve(READ_AHEAD_BYTES);
        let filled = pin!(self.socket.read_buf(&mut self.ahead)).poll(context);
        if filled.is_pending() {
            self.ahead = BytesMut::new();
        }
        filled.map_ok(|_| ())
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            ready!(self.poll_fill(context))?;
        }
        let length = self.ahead.len().min(target.remaining());
        if let Some(bytes) = self.ahead.get(..length) {
            target.put_slice(bytes);
        }
        self.ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// A silent connection is asked after this time,
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// and then this often, until the system gives it up.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// Four TLS records of full size.
const READ_AHEAD_BYTES: usize = 64 * 1024;
