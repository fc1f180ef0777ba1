//! The body of a request, whole, within the bounds of size, time and memory.
//!
//! Arrives: a stream of pieces. Leaves: the bytes with the room that they were given, which is held until what was made of them is
//! done. What must never happen here: memory taken because of an announced length, or for a caller who sends no more.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Code, Error};
use crate::config::BridgeLimits;

/// What the bodies of all requests of a bridge may hold together.
#[derive(Clone)]
pub struct Room {
    kibibytes: Arc<Semaphore>,
    most_bytes: usize,
    timeout: Duration,
}

impl Room {
    /// As the limits say.
    pub fn new(limits: &BridgeLimits) -> Self {
        let kibibytes = limits.max_memory_bytes / KIB;
        Self {
            kibibytes: Arc::new(Semaphore::new(kibibytes.min(Semaphore::MAX_PERMITS))),
            most_bytes: limits.max_body_bytes,
            timeout: limits.body_timeout,
        }
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// `TooLarge`, `RequestTimeout` for one that comes too slowly, `TooManyRequests` when others hold all the room, `BadRequest` for
    /// one that breaks off, `UnsupportedMediaType` for one that is compressed.
    pub async fn read<B>(&self, headers: &HeaderMap, mut body: B) -> Result<(Bytes, OwnedSemaphorePermit), Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(
                Code::UnsupportedMediaType.with("compressed bodies are not taken; send it without Content-Encoding")
            );
        }
        let announced = body.size_hint().lower();
        if announced > u64::try_from(self.most_bytes).unwrap_or(u64::MAX) {
            self.pass_over(&mut body).await;
            return Err(self.too_large());
        }
        let late = || Code::RequestTimeout.with("the body did not arrive in time");
        let read = tokio::time::timeout(self.timeout, self.collect(&mut body)).await.map_err(|_| late())?;
        if read.as_ref().is_err_and(|error| error.code == Code::TooLarge) {
            self.pass_over(&mut body).await;
        }
        read
    }

    /// Reads on without keeping anything, for a moment: a caller that still writes when its connection is closed may never see the
    /// answer that says why.
    async fn pass_over<B>(&self, body: &mut B)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut passed = 0_usize;
        while passed <= self.most_bytes.saturating_mul(2) {
            match tokio::time::timeout(PAUSE, body.frame()).await {
                Ok(Some(Ok(frame))) => passed = passed.saturating_add(frame.data_ref().map_or(1, Bytes::len)),
                _ => return,
            }
        }
    }

    /// Room follows the bytes that have come.
    async fn collect<B>(&self, body: &mut B) -> Result<(Bytes, OwnedSemaphorePermit), Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let broken = |_| Code::BadRequest.with("the body broke off");
        let first = loop {
            match body.frame().await.transpose().map_err(broken)? {
                None => break Bytes::new(),
                Some(frame) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => break data,
                    _ => {}
                },
            }
        };
        let mut held = first.len();
        let mut hold = self.hold(kibibytes(held))?;
        if self.most_bytes < held {
            return Err(self.too_large());
        }
        let mut whole: Option<BytesMut> = None;
        while let Some(frame) = body.frame().await.transpose().map_err(broken)? {
            let Ok(data) = frame.into_data() else { continue };
            held = held.saturating_add(data.len());
            if held > self.most_bytes {
                return Err(self.too_large());
            }
            let more = kibibytes(held).saturating_sub(hold.num_permits());
            if more > 0 {
                hold.merge(self.hold(more)?);
            }
            let whole = whole.get_or_insert_with(|| {
                // The announced length is believed as far as its beginning has come.
                let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
                let mut whole = BytesMut::with_capacity(held.saturating_add(announced.min(held.saturating_mul(8))));
                whole.extend_from_slice(&first);
                whole
            });
            whole.extend_from_slice(&data);
        }
        Ok((whole.map_or(first, BytesMut::freeze), hold))
    }

    /// Room for bytes that arrive otherwise than as a whole body.
    ///
    /// # Errors
    /// `TooManyRequests` when there is none now.
    pub fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        self.hold(kibibytes(bytes))
    }

    fn hold(&self, kibibytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let wanted = u32::try_from(kibibytes).map_err(|_| self.too_large())?;
        let full = |_| Code::TooManyRequests.with("requests hold as much memory as they may (limits.max_memory_bytes)");
        self.kibibytes.clone().try_acquire_many_owned(wanted).map_err(full)
    }

    fn too_large(&self) -> Error {
        Code::TooLarge.with(format!("the body is larger than {} bytes (limits.max_body_bytes)", self.most_bytes))
    }
}

fn kibibytes(bytes: usize) -> usize {
    bytes.div_ceil(KIB)
}

const KIB: usize = 1024;

/// A caller that is writing has written more by then.
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// Pieces, then an end, or silence.
    struct Pieces(Vec<Bytes>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.0.is_empty() {
                return if self.1 { Poll::Ready(None) } else { Poll::Pending };
            }
            Poll::Ready(Some(Ok(Frame::data(self.0.remove(0)))))
        }
    }

    fn room(memory: usize) -> Room {
        Room { kibibytes: Arc::new(Semaphore::new(memory)), most_bytes: 5000, timeout: Duration::from_millis(5) }
    }

    async fn read(room: &Room, pieces: &[usize], ends: bool) -> Result<(Bytes, OwnedSemaphorePermit), Error> {
        let pieces = pieces.iter().map(|length| Bytes::from(vec![b'x'; *length])).collect();
        room.read(&HeaderMap::new(), Pieces(pieces, ends)).await
    }

    #[tokio::test]
    async fn room_is_held_as_long_as_the_bytes() {
        let room = room(6);
        let (bytes, hold) = read(&room, &[100, 1000, 3000], true).await.unwrap();
        assert_eq!((bytes.len(), hold.num_permits()), (4100, 5));
        assert_eq!(read(&room, &[1025], true).await.unwrap_err().code, Code::TooManyRequests);
        drop(hold);
        assert_eq!(read(&room, &[1025], true).await.unwrap().0.len(), 1025);
        assert_eq!(read(&room, &[], true).await.unwrap().0.len(), 0);
        assert_eq!(room.kibibytes.available_permits(), 6);
    }

    #[tokio::test]
    async fn what_is_too_large_or_too_slow_is_refused() {
        let room = room(100);
        assert_eq!(read(&room, &[5001], true).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(&room, &[3000, 2001], true).await.unwrap_err().code, Code::TooLarge);
        assert_eq!(read(&room, &[10], false).await.unwrap_err().code, Code::RequestTimeout);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        let refused = room.read(&headers, Pieces(vec![], true)).await.unwrap_err();
        assert_eq!(refused.code, Code::UnsupportedMediaType);
        assert_eq!(room.kibibytes.available_permits(), 100);
    }
}
