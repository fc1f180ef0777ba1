//! Frames out of a byte stream.
//!
//! Arrives: a stream from a peer. Leaves: one whole frame at a time, without its length. Memory follows
//! the bytes that have really arrived, never the length that a peer has announced; an idle stream holds
//! no buffer at all. A large frame waits until the process has room for it; one longer than the limit ends
//! the connection before its body is read.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::memory::{Hold, Memory, UNCOUNTED_BYTES, Watch, Way};

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream failed, or ended inside a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer announced a frame that is not acceptable.
    #[error("frame of {announced} bytes is announced, the limit is {limit} ({setting})")]
    Length {
        /// What the length field said.
        announced: i32,
        /// The configured limit.
        limit: usize,
        /// Its name in the configuration.
        setting: &'static str,
    },
    /// The peer sends next to nothing of a large frame for which others have to wait.
    #[error("peer stands still within a large frame while others wait for memory (limits.max_memory_bytes)")]
    StandsStill,
}

/// Cuts a stream into frames.
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limit: usize,
    /// The limit until the peer is known.
    first: Option<FirstFrames>,
    /// Where large frames get their room.
    memory: Option<(Arc<Memory>, Way)>,
    /// The room of the frame at hand.
    hold: Hold,
    /// How much the next read of a new frame asks for: grows while reads fill what they were given.
    ask: usize,
    /// The length of the frame before, length bytes included: the next one is likely to be as long, and room for all
    /// of it at once saves moving its beginning.
    before: usize,
}

/// What a peer that is not known yet may send.
pub struct FirstFrames {
    /// The longest frame.
    pub limit: usize,
    /// True once the peer is known.
    pub known: Arc<AtomicBool>,
}

/// What the buffer holds of the next frame.
enum Cut {
    Whole(BytesMut),
    /// A frame of so many bytes, for which there is no room yet.
    Large(usize),
    /// Part of a frame of so many bytes.
    Part(usize),
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of at most `limit` bytes from `stream`.
    pub fn new(stream: R, limit: usize) -> Self {
        let hold = Hold::default();
        Self {
            stream,
            buffer: BytesMut::new(),
            limit,
            first: None,
            memory: None,
            hold,
            ask: LEAST_READ_BYTES,
            before: 0,
        }
    }

    /// The same for a peer that may not be known yet.
    pub fn until_known(mut self, first: FirstFrames) -> Self {
        self.first = Some(first);
        self
    }

    /// The same within the memory of the process.
    pub fn within(mut self, memory: Arc<Memory>, way: Way) -> Self {
        self.memory = Some((memory, way));
        self
    }

    /// The next frame without its four length bytes; `None` when the stream ended between two frames.
    /// Cancel-safe: a dropped call loses no byte. The room of a large frame is taken by [`Self::take_hold`].
    pub async fn next(&mut self) -> Result<Option<BytesMut>, ReadError> {
        loop {
            let length = match self.cut()? {
                Cut::Whole(frame) => return Ok(Some(frame)),
                Cut::Part(length) => length,
                Cut::Large(length) => {
                    if let Some((memory, way)) = &self.memory {
                        self.hold = memory.hold(*way, length).await;
                    }
                    continue;
                }
            };
            if self.fill_frame(length).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
                };
            }
        }
    }

    /// The room of the frame that [`Self::next`] gave: to be dropped when the frame is.
    pub fn take_hold(&mut self) -> Hold {
        std::mem::take(&mut self.hold)
    }

    /// Waits for more of a frame of `length` bytes. Who holds room that others wait for must send.
    async fn fill_frame(&mut self, length: usize) -> Result<usize, ReadError> {
        let Some((memory, way)) = self.memory.clone().filter(|_| !self.hold.is_empty()) else {
            return Ok(self.fill().await?);
        };
        let mut watch: Watch<'_> = memory.watch(way, length);
        let mut read = 0;
        while self.buffer.len() < 4 + length {
            match tokio::time::timeout_at(watch.until(), self.fill()).await {
                Ok(Ok(0)) => return Ok(0),
                Ok(filled) => {
                    let filled = filled?;
                    watch.moved(filled);
                    read += filled;
                    // Memory follows the bytes.
                    self.make_room((4 + length).saturating_sub(self.buffer.len()));
                }
                Err(_) if watch.stands_in_the_way() => return Err(ReadError::StandsStill),
                Err(_) => {}
            }
        }
        Ok(read)
    }

    /// Waits until at least one more byte has arrived, 0 at the end of the stream. Cancel-safe.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// True when nothing of a next frame has arrived.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    fn cut(&mut self) -> Result<Cut, ReadError> {
        let Some(length) = self.buffer.first_chunk::<4>() else {
            return Ok(Cut::Part(0));
        };
        let announced = i32::from_be_bytes(*length);
        let (limit, setting) = self.limit();
        let length = usize::try_from(announced).ok().filter(|length| *length <= limit).ok_or(ReadError::Length {
            announced,
            limit,
            setting,
        })?;
        if length > UNCOUNTED_BYTES && self.hold.is_empty() && self.memory.is_some() {
            return Ok(Cut::Large(length));
        }
        if self.buffer.len() < 4 + length {
            self.make_room(4 + length - self.buffer.len());
            return Ok(Cut::Part(length));
        }
        self.buffer.advance(4);
        self.before = (4 + length).min(TRUSTED_FRAME_BYTES);
        Ok(Cut::Whole(self.buffer.split_to(length)))
    }

    fn limit(&mut self) -> (usize, &'static str) {
        match &self.first {
            Some(first) if !first.known.load(Ordering::Acquire) => {
                (first.limit.min(self.limit), "limits.max_first_frame_bytes, until the client is known")
            }
            _ => {
                self.first = None;
                (self.limit, "limits.max_frame_bytes")
            }
        }
    }

    /// Room for what is missing of a frame, so that it lies in one piece. A frame that is far from
    /// complete gets its memory by doubling, as its bytes come: a length alone takes nothing.
    fn make_room(&mut self, missing: usize) {
        let trusted = TRUSTED_FRAME_BYTES.max(self.buffer.len());
        self.buffer.reserve(missing.min(trusted));
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() == self.buffer.len() {
            self.buffer.reserve(self.ask.max(self.before));
        }
        let room = self.buffer.capacity() - self.buffer.len();
        // What is reserved is not used yet: before the length is known no more is read than was asked for.
        let given = if self.buffer.is_empty() { room.min(self.ask) } else { room };
        // `read_buf` keeps no state of its own between two polls, so it can be made anew for each.
        let outcome = pin!(self.stream.read_buf(&mut (&mut self.buffer).limit(given))).poll(context);
        match &outcome {
            Poll::Pending if self.buffer.is_empty() => self.buffer = BytesMut::new(),
            Poll::Ready(Ok(read)) if *read == given && self.first.is_none() => {
                self.ask = (self.ask * 2).min(MOST_READ_BYTES)
            }
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
        let bodies: Vec<Vec<u8>> = [0usize, 1, 100, 70_000, 3_000_000].map(|n| vec![7; n]).to_vec();
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
                Err(ReadError::Length { announced: seen, limit: 1000, .. }) => assert_eq!(seen, announced),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_stranger_may_send_less_until_it_is_known() {
        let (mut near, far) = tokio::io::duplex(4096);
        let known = Arc::new(AtomicBool::new(false));
        let mut reader = FrameReader::new(far, 1000).until_known(FirstFrames { limit: 100, known: known.clone() });
        near.write_all(&frame(&[1; 100])).await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().len(), 100);
        known.store(true, Ordering::Release);
        near.write_all(&frame(&[1; 1000])).await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().len(), 1000);
        let (mut near, far) = tokio::io::duplex(4096);
        let first = FirstFrames { limit: 100, known: Arc::default() };
        let mut reader = FrameReader::new(far, 1000).until_known(first);
        near.write_all(&frame(&[1; 101])).await.unwrap();
        let refused = reader.next().await.unwrap_err().to_string();
        assert!(refused.contains("limits.max_first_frame_bytes"), "{refused}");
    }

    #[tokio::test]
    async fn a_large_frame_is_not_read_before_there_is_room() {
        let metrics = Arc::new(crate::metrics::Metrics::default());
        let memory = Arc::new(Memory::new(8 << 20, metrics.clone()));
        let reader = |far| FrameReader::new(far, 10 << 20).within(memory.clone(), Way::Request);
        let large = frame(&vec![5; 600_000]);
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let mut first = reader(far);
        let sent = large.clone();
        let writing = tokio::spawn(async move { near.write_all(&sent).await });
        assert_eq!(first.next().await.unwrap().unwrap().len(), 600_000);
        writing.await.unwrap().unwrap();
        let hold = first.take_hold();
        assert_eq!(metrics.memory.held.get(), 1 << 20, "the whole share of ordinary requests");

        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let mut second = reader(far);
        let writing = tokio::spawn(async move { near.write_all(&large).await });
        let mut next = Box::pin(second.next());
        // Twenty turns: more than it takes to fill the pipe.
        for _ in 0..20 {
            assert!(poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await);
            tokio::task::yield_now().await;
        }
        assert!(!writing.is_finished());
        drop(hold);
        assert_eq!(next.as_mut().await.unwrap().unwrap().len(), 600_000);
        writing.await.unwrap().unwrap();
        drop(next);
        drop(second);
        assert_eq!(metrics.memory.held.get(), 0);
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
