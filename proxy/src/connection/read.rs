//! Frames out of a byte stream.
//!
//! Arrives: a stream from a peer. Leaves: one whole frame at a time, without its length. Memory follows
//! the bytes that have really arrived, never the length that a peer has announced; an idle stream holds
//! no buffer at all. A frame longer than the limit ends the connection before its body is read.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream failed, or ended inside a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer announced a frame that is not acceptable.
    #[error(
        "frame of {announced} bytes is announced, the limit is {limit} (limits.max_frame_bytes)"
    )]
    Length {
        /// What the length field said.
        announced: i32,
        /// The configured limit.
        limit: usize,
    },
}

/// Cuts a stream into frames.
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limit: usize,
    /// How much the next read of a new frame asks for: grows while reads fill what they were given.
    ask: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of at most `limit` bytes from `stream`.
    pub fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), limit, ask: LEAST_READ_BYTES }
    }

    /// The next frame without its four length bytes; `None` when the stream ended between two frames.
    /// Cancel-safe: a dropped call loses no byte.
    pub async fn next(&mut self) -> Result<Option<BytesMut>, ReadError> {
        loop {
            if let Some(frame) = self.buffered_frame()? {
                return Ok(Some(frame));
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
                };
            }
        }
    }

    /// Waits until at least one more byte has arrived, 0 at the end of the stream. Cancel-safe.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// True when nothing of a next frame has arrived.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    fn buffered_frame(&mut self) -> Result<Option<BytesMut>, ReadError> {
        let Some(length) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*length);
        let length = usize::try_from(announced)
            .ok()
            .filter(|length| *length <= self.limit)
            .ok_or(ReadError::Length {
                announced,
                limit: self.limit,
            })?;
        if self.buffer.len() < 4 + length {
            self.make_room(4 + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length)))
    }

    /// Room for what is missing of a frame, so that it lies in one piece. A frame that is far from
    /// complete gets its memory by doubling, as its bytes come: a length alone takes nothing.
    fn make_room(&mut self, missing: usize) {
        let trusted = TRUSTED_FRAME_BYTES.max(self.buffer.len());
        self.buffer.reserve(missing.min(trusted));
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() == self.buffer.len() {
            self.buffer.reserve(self.ask);
        }
        let given = self.buffer.capacity() - self.buffer.len();
        // `read_buf` keeps no state of its own between two polls, so it can be made anew for each.
        let outcome = pin!(self.stream.read_buf(&mut self.buffer)).poll(context);
        match &outcome {
            Poll::Pending if self.buffer.is_empty() => self.buffer = BytesMut::new(),
            Poll::Ready(Ok(read)) if *read == given => self.ask = (self.ask * 2).min(MOST_READ_BYTES),
            Poll::Ready(Ok(read)) if *read < self.ask / 4 => self.ask = (self.ask / 2).max(LEAST_READ_BYTES),
            _ => {}
        }
        outcome
    }
}

/// The first read of a connection asks for this much: below 16 KiB the system calls cost more than the copying.
const LEAST_READ_BYTES: usize = 16 * 1024;

/// A busy connection asks for this much at once.
const MOST_READ_BYTES: usize = 512 * 1024;

/// Up to here an announced length is given its memory at once; above it memory follows the bytes.
const TRUSTED_FRAME_BYTES: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[tokio::test]
    async fn frames_come_whole_however_they_are_cut() {
        let bodies: Vec<Vec<u8>> = [0usize, 1, 100, 70_000, 3_000_000]
            .map(|n| vec![7; n])
            .to_vec();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        for chunk in [3usize, 1000, 65_536, 10_000_000] {
            if chunk == 3 && stream.len() > 1_000_000 {
                continue;
            }
            let (mut near, far) = tokio::io::duplex(chunk.min(1 << 20));
            let bytes = stream.clone();
            let writer = tokio::spawn(async move {
                for part in bytes.chunks(chunk) {
                    near.write_all(part).await.unwrap();
                }
            });
            let mut reader = FrameReader::new(far, 4_000_000);
            for body in &bodies {
                assert_eq!(reader.next().await.unwrap().unwrap()[..], body[..]);
            }
            assert!(reader.next().await.unwrap().is_none());
            writer.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_announced_length_alone_takes_little_memory() {
        let (mut near, far) = tokio::io::duplex(1024);
        near.write_all(&100_000_000i32.to_be_bytes()).await.unwrap();
        near.write_all(&[0; 100]).await.unwrap();
        drop(near);
        let mut reader = FrameReader::new(far, 104_857_600);
        assert!(matches!(reader.next().await, Err(ReadError::Io(_))));
        assert!(reader.buffer.capacity() <= 2 * TRUSTED_FRAME_BYTES + MOST_READ_BYTES);
    }

    #[tokio::test]
    async fn lengths_beyond_the_limit_and_below_zero_are_refused() {
        for announced in [-1, i32::MIN, 1001, i32::MAX] {
            let (mut near, far) = tokio::io::duplex(1024);
            near.write_all(&announced.to_be_bytes()).await.unwrap();
            let mut reader = FrameReader::new(far, 1000);
            match reader.next().await {
                Err(ReadError::Length {
                    announced: seen,
                    limit: 1000,
                }) => assert_eq!(seen, announced),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_idle_stream_holds_no_buffer() {
        let (mut near, far) = tokio::io::duplex(1024);
        let mut reader = FrameReader::new(far, 1000);
        near.write_all(&frame(b"one")).await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap()[..], *b"one");
        let next = tokio::time::timeout(std::time::Duration::from_millis(1), reader.next()).await;
        assert!(next.is_err());
        assert_eq!(reader.buffer.capacity(), 0);
    }
}
