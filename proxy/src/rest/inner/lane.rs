//! A connection to a broker whose requests are handed over as they are, without a pipe that copies them.
//!
//! Arrives: framed requests, in slices. Leaves: the same bytes as a stream for the gateway, and its answers. The gateway's side is a
//! future that whoever sends runs beside its own work: no other task has to be woken for a request. What must never happen here: two
//! requests mixed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

use super::Inner;
use crate::connection;
use crate::frame::Segments;
use crate::identity::Principal;
use crate::router::Target;

/// One connection. It ends when the broker closes it; then the answers do.
pub struct Lane {
    /// Takes framed requests.
    pub requests: mpsc::Sender<Segments>,
    /// Gives framed answers.
    pub answers: DuplexStream,
    /// Must be run for anything to happen.
    pub gateway: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Lane {
    /// A lane that `serve` serves: it is given the requests, and where answers go.
    pub fn new<F>(serve: impl FnOnce(Requests, DuplexStream) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (requests, receiver) = mpsc::channel(1);
        let (answers, told) = tokio::io::duplex(ANSWER_BYTES);
        let gateway = Box::pin(serve(Requests { receiver, current: Segments::default() }, told));
        Self { requests, answers, gateway }
    }
}

impl Inner {
    /// A lane of a principal to a broker.
    pub fn lane(self: &Arc<Self>, principal: Principal, target: Target) -> Lane {
        let inner = self.clone();
        Lane::new(|requests, answers| async move {
            let served = async {
                let broker = inner.broker(target).await?;
                connection::serve(principal, (requests, answers), broker, &inner.shared).await?;
                Ok::<_, super::InnerError>(())
            };
            if let Err(error) = served.await {
                tracing::debug!(event = "inner_connection_ended", %error);
            }
        })
    }
}

/// The requests of a lane as a stream.
pub struct Requests {
    receiver: mpsc::Receiver<Segments>,
    current: Segments,
}

impl AsyncRead for Requests {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { receiver, current } = &mut *self;
        if current.is_empty() {
            match ready!(receiver.poll_recv(context)) {
                Some(next) => *current = next,
                // Whoever sends has gone.
                None => return Poll::Ready(Ok(())),
            }
        }
        while out.remaining() > 0 && !current.is_empty() {
            let chunk = current.chunk();
            let count = chunk.len().min(out.remaining());
            out.put_slice(chunk.get(..count).unwrap_or_default());
            current.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

/// Answers are small.
const ANSWER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn requests_arrive_whole_and_in_order() {
        let lane = Lane::new(|mut requests, mut answers| async move {
            let mut all = Vec::new();
            requests.read_to_end(&mut all).await.unwrap();
            answers.write_all(&all).await.unwrap();
        });
        let Lane { requests, mut answers, gateway } = lane;
        let mut told = Vec::new();
        let send = async {
            for text in ["one", "", "two"] {
                let mut segments = Segments::whole(Bytes::from_static(text.as_bytes()));
                segments.push(Bytes::from_static(b"+"));
                requests.send(segments).await.unwrap();
            }
            drop(requests);
        };
        tokio::join!(send, gateway, async { answers.read_to_end(&mut told).await.unwrap() });
        assert_eq!(told, b"one++two+");
    }
}
