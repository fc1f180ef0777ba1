//! `GET /v1/topics/{topic}/events`: records as they come, as Server-Sent Events or as lines of JSON.
//!
//! Arrives: a caller that wants to read on and on. Leaves: records with the positions behind them, so that whoever comes back goes on
//! there (`Last-Event-ID`). The stream ends when the caller is not accepted any more, when Kafka refuses it, and when the gateway
//! drains. What must never happen here: more held for a reader than one piece while it does not read.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::batches;
use super::query::Wanted;
use super::reader::{Reader, Step};
use crate::rest::accept::Wishes;
use crate::rest::bridge::Bridge;
use crate::rest::formats::push_string;
use crate::rest::inner::drained;
use crate::rest::view::View;
use crate::rest::{Caller, Code, Error, refusal};

/// Begins a stream.
///
/// # Errors
/// Whatever can be known before its first record.
pub async fn open(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(topic): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let content_type = Wishes::of(&headers).content_type(&[EVENTS, LINES])?;
    let wanted = Wanted::of(query.as_deref(), &headers)?;
    let full = || Code::TooManyRequests.with("too many readers at once (limits.max_readers)");
    let permit = bridge.readers.clone().try_acquire_owned().map_err(|_| full())?;
    let entry = bridge.pool.entry(&caller.principal)?;
    let feed = bridge.feeds.join(&entry, &topic).await?;
    let positions = wanted.positions(&feed).await?;
    let reader = Reader::new(feed, positions);
    if let Some(Step::Refused(partition, code)) = reader.at_once().await? {
        return Err(refused(partition, code, &reader));
    }
    let form = if content_type == EVENTS { Form::Events } else { Form::Lines };
    let (pieces, body) = mpsc::channel(1);
    let stream = Stream { bridge: bridge.clone(), caller, reader, form, view: wanted.view, pieces };
    tokio::spawn(stream.run(permit));
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, [("x-accel-buffering", "no")], Body::new(Pieces(body))).into_response())
}

/// An answer that goes on.
struct Stream {
    bridge: Arc<Bridge>,
    caller: Caller,
    reader: Reader,
    form: Form,
    view: View,
    pieces: mpsc::Sender<Bytes>,
}

impl Stream {
    async fn run(mut self, _permit: OwnedSemaphorePermit) {
        let (bridge, caller) = (self.bridge.clone(), self.caller.clone());
        let mut gone = std::pin::pin!(bridge.callers.gone(&caller));
        let mut draining = bridge.draining.clone();
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.reset();
        let mut piece = self.form.opening(&self.reader);
        loop {
            if !piece.is_empty() {
                beat.reset();
                // A reader that does not read must not outlive its certificate either.
                tokio::select! {
                    sent = self.pieces.send(piece) => if sent.is_err() { return },
                    () = gone.as_mut() => return,
                }
            }
            let next = tokio::select! {
                biased;
                () = self.pieces.closed() => return,
                () = gone.as_mut() => Err(Code::Unauthenticated.with("the credential is not accepted any more")),
                () = drained(&mut draining) => return,
                step = self.reader.next() => self.render(step),
                _ = beat.tick() => Ok(Bytes::from_static(self.form.heartbeat())),
            };
            piece = match next {
                Ok(piece) => piece,
                Err(error) => {
                    self.pieces.send(self.form.error(&error)).await.ok();
                    return;
                }
            };
        }
    }

    /// Makes a piece of the next step and moves the reader on.
    fn render(&mut self, step: Step) -> Result<Bytes, Error> {
        match step {
            Step::Refused(partition, code) => Err(refused(partition, code, &self.reader)),
            Step::Gap(partition, from, to) => {
                self.reader.moved(partition, to);
                Ok(self.form.gap(&self.reader, (partition, from, to)))
            }
            Step::Records(partition, records) => self.records(partition, &records),
        }
    }

    fn records(&mut self, partition: i32, records: &[u8]) -> Result<Bytes, Error> {
        let from = self.reader.positions().of(partition).unwrap_or(0);
        let mut out = BytesMut::new();
        let mut positions = self.reader.positions().clone();
        let (form, view) = (self.form, self.view);
        let next = batches::each(records, (self.reader.topic(), partition), from, |record| {
            positions.set(partition, record.offset.saturating_add(1));
            form.begin(&mut out);
            match view.push_line(&mut out, record) {
                Ok(()) => form.end(&mut out, &positions),
                Err(error) => {
                    form.unreadable(&mut out, &positions, record.partition, record.offset, &error.to_string())
                }
            }
            if out.len() >= PIECE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match next {
            Ok(Some(next)) => {
                self.reader.moved(partition, next);
                Ok(out.freeze())
            }
            Ok(None) => Err(refused(partition, CORRUPT_MESSAGE, &self.reader)),
            Err(error) => Err(Code::Kafka.with(format!("partition {partition}: {error}"))),
        }
    }
}

/// What a refusal of Kafka, or of the gateway, is told as.
fn refused(partition: i32, code: i16, reader: &Reader) -> Error {
    let offset = reader.positions().of(partition).unwrap_or(0);
    let subject = format!("partition {partition}, offset {offset}");
    match code {
        CORRUPT_MESSAGE | INVALID_RECORD => {
            Code::Kafka.with(format!("{subject}: the record was changed, moved or not sealed, and is not delivered"))
        }
        other => refusal::of_answer(other, &subject),
    }
}

/// How records stand in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// WHATWG HTML, 9.2: Server-Sent Events.
    Events,
    /// A JSON value in each line.
    Lines,
}

impl Form {
    /// What is known before the first record: a browser that breaks off at once comes back to the same place.
    fn opening(self, reader: &Reader) -> Bytes {
        match self {
            Self::Events => format!("retry: 1000\nid: {}\n\n", reader.positions()).into(),
            Self::Lines => Bytes::new(),
        }
    }

    fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::Events => b":\n\n",
            Self::Lines => b"\n",
        }
    }

    fn begin(self, out: &mut BytesMut) {
        if self == Self::Events {
            out.put_slice(b"data: ");
        }
    }

    fn end(self, out: &mut BytesMut, positions: &super::positions::Positions) {
        match self {
            Self::Events => out.put_slice(format!("\nid: {positions}\n\n").as_bytes()),
            Self::Lines => out.put_u8(b'\n'),
        }
    }

    /// A record that is not of the format that was asked for. The stream goes on behind it.
    fn unreadable(
        self,
        out: &mut BytesMut,
        positions: &super::positions::Positions,
        partition: i32,
        offset: i64,
        why: &str,
    ) {
        let mut told = BytesMut::new();
        told.put_slice(
            format!("{{\"unreadable\":{{\"partition\":{partition},\"offset\":{offset},\"message\":").as_bytes(),
        );
        push_string(&mut told, why);
        told.put_slice(b"}}");
        if self == Self::Events {
            // What `begin` wrote stands there already.
            out.truncate(out.len().saturating_sub(b"data: ".len()));
            out.put_slice(b"event: unreadable\ndata: ");
        }
        out.put_slice(&told);
        self.end(out, positions);
    }

    fn gap(self, reader: &Reader, (partition, from, to): (i32, i64, i64)) -> Bytes {
        let mut out = BytesMut::new();
        if self == Self::Events {
            out.put_slice(b"event: gap\ndata: ");
        }
        let told = format!("{{\"gap\":{{\"partition\":{partition},\"from\":{from},\"to\":{to}}}}}");
        out.put_slice(told.as_bytes());
        self.end(&mut out, reader.positions());
        out.freeze()
    }

    fn error(self, error: &Error) -> Bytes {
        let mut out = BytesMut::new();
        if self == Self::Events {
            out.put_slice(b"event: error\ndata: ");
        }
        crate::rest::formats::push_error(&mut out, i32::try_from(error.code.number()).unwrap_or(0), &error.message);
        out.put_slice(if self == Self::Events { b"\n\n" } else { b"\n" });
        out.freeze()
    }
}

/// A body that is made while it is read.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

/// Proxies end connections that say nothing for half a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A piece is sent when it has so many bytes; what one record makes comes whole.
const PIECE: usize = 32 << 10;

/// Kafka's error codes.
const CORRUPT_MESSAGE: i16 = 2;
const INVALID_RECORD: i16 = 87;
