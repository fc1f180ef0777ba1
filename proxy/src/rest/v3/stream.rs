//! An open exchange of v3 records: JSON comes in, one record after the other, lines go out, in the same order, both at once.
//!
//! Arrives: the body of a request, as long as the caller keeps it open. Leaves: the body of the answer. One future does both: what a
//! piece of the body has brought is sent as one batch, and the batch's lines leave when its last record has its outcome. What must
//! never happen here: memory beyond the window; a line before its record's outcome; a record after the caller's proof has ended.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame};
use tokio::time::Instant;

use super::lines::{Batch, Draft, LINE_END, Writer, refused, refused_format};
use crate::rest::bridge::Bridge;
use crate::rest::formats::{Scratch, Splitter, parse_v3_into, push_error};
use crate::rest::inner::drained;
use crate::rest::{Caller, Code, Error};

/// An exchange that is open.
pub struct Exchange {
    writer: Writer,
    body: Body,
    splitter: Splitter,
    /// Sent, in their order.
    under_way: VecDeque<Batch>,
    /// Read, and waiting for room.
    draft: Option<Draft>,
    /// Records in `under_way`.
    records: usize,
    /// What ends it from outside.
    ending: Pin<Box<dyn Future<Output = Error> + Send>>,
    /// When the body must have gone on.
    deadline: Instant,
    /// The body has a length: it must arrive within a time as a whole.
    is_bounded: bool,
    /// The splitter may have whole records.
    has_text: bool,
    /// The body has ended.
    is_at_end: bool,
    /// Nothing more is read.
    is_read: bool,
    /// The last line, which is no record's.
    last: Option<Error>,
    /// The first code among the lines that have left that tells of a failure.
    failed: Option<i32>,
}

impl Exchange {
    /// Of a request's body.
    pub fn new(writer: Writer, body: Body) -> Self {
        let bridge = &writer.cluster.ask.bridge;
        let splitter = Splitter::new(bridge.formats);
        let ending = Box::pin(ends(bridge.clone(), writer.cluster.ask.caller.clone()));
        let deadline = Instant::now() + bridge.settings.limits.body_timeout;
        let is_bounded = body.size_hint().exact().is_some();
        Self {
            writer,
            body,
            splitter,
            under_way: VecDeque::new(),
            draft: None,
            records: 0,
            ending,
            deadline,
            is_bounded,
            has_text: false,
            is_at_end: false,
            is_read: false,
            last: None,
            failed: None,
        }
    }

    /// Whether all is read and told.
    pub fn is_over(&self) -> bool {
        self.is_read && self.under_way.is_empty() && self.draft.is_none() && self.last.is_none()
    }

    /// The first code among the lines that have left that tells of a failure.
    pub fn failed(&self) -> Option<i32> {
        self.failed
    }

    /// Waits for the first piece of the body, or its end.
    pub async fn begin(&mut self) {
        self.go_on().await;
    }

    /// The next lines; nothing when all are told.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(lines) = self.settled().await {
                return Some(lines);
            }
            if self.under_way.is_empty() {
                if let Some(draft) = self.draft.take() {
                    // Nothing of our own will make room.
                    self.send(draft, true);
                    continue;
                }
                if self.is_read {
                    let last = refused(&self.last.take()?);
                    self.failed.get_or_insert(last.error_code);
                    return Some(line(&last));
                }
            }
            self.go_on().await;
        }
    }

    /// Waits until something has happened: an outcome, a piece of the body, an end.
    async fn go_on(&mut self) {
        let has_room = !self.is_read && self.draft.is_none() && self.records < WINDOW_RECORDS;
        if has_room && self.has_text {
            return self.parse().await;
        }
        if has_room && self.is_at_end {
            return self.end_of_body();
        }
        let must_go_on = has_room && (self.is_bounded || self.splitter.is_inside());
        let first = self.under_way.front();
        let settled = async {
            match first {
                Some(batch) => batch.whole().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = settled => {
                if let Some(draft) = self.draft.take() {
                    self.send(draft, false);
                }
            }
            frame = self.body.frame(), if has_room => self.take(frame),
            error = &mut self.ending, if !self.is_read => self.end(Some(error)),
            () = tokio::time::sleep_until(self.deadline), if must_go_on => {
                self.end(Some(Code::RequestTimeout.with("the record did not arrive in time")));
            }
        }
    }

    /// A piece of the body.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, axum::Error>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    if !self.is_bounded {
                        let patience = self.writer.cluster.ask.bridge.settings.limits.body_timeout;
                        self.deadline = Instant::now() + patience;
                    }
                    self.splitter.push(data);
                    self.has_text = true;
                }
                self.is_at_end = self.body.is_end_stream();
            }
            // Nobody is there to be told.
            Some(Err(_)) => self.end(None),
            None => self.is_at_end = true,
        }
    }

    /// Sends what pieces of the body have brought, some of it at a time.
    async fn parse(&mut self) {
        let bridge = self.writer.cluster.ask.bridge.clone();
        let most = (bridge.settings.limits.max_queued_records / 2).clamp(1, MOST_AT_ONCE);
        let mut draft = Draft::default();
        let mut scratch = Scratch::new(self.splitter.length());
        let partitions = self.writer.cluster.ask.entry.partitions(&self.writer.topic).await;
        while draft.len() < most && self.has_text {
            match self.splitter.take() {
                Ok(Some(piece)) => {
                    let record = parse_v3_into(&mut scratch, &piece.text, piece.position, &bridge.formats);
                    // What follows text that is no JSON cannot be told apart.
                    let is_broken = record.as_ref().is_err_and(|error| error.code() == Code::BadRequest);
                    draft.add(&self.writer, record, *partitions.as_ref().unwrap_or(&i32::MAX)).await;
                    if is_broken {
                        self.end(None);
                    }
                }
                Ok(None) => self.has_text = false,
                Err(error) => {
                    draft.add(&self.writer, Err(error), 0).await;
                    self.end(None);
                }
            }
        }
        match partitions {
            _ if draft.is_empty() => {}
            Ok(_) => self.send(draft, false),
            Err(error) => self.push(draft.refuse(&error)),
        }
    }

    /// Sends a draft; where there is no room now it waits, or is refused when it must not.
    fn send(&mut self, draft: Draft, now_or_never: bool) {
        let ask = &self.writer.cluster.ask;
        let sent = match ask.bridge.room.take(draft.size()) {
            Ok(hold) => self.writer.send(draft, &ask.entry, Some(hold)),
            Err(error) => Err(Box::new((draft, error))),
        };
        let (draft, error) = match sent {
            Ok(batch) => return self.push(batch),
            Err(refused) => *refused,
        };
        let may_wait = !now_or_never && !self.under_way.is_empty() && error.code == Code::TooManyRequests;
        if may_wait {
            self.draft = Some(draft);
        } else {
            self.push(draft.refuse(&error));
        }
    }

    fn push(&mut self, batch: Batch) {
        self.records += batch.len();
        self.under_way.push_back(batch);
    }

    /// The lines of what has its outcome, up to the first that has none.
    async fn settled(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while let Some(batch) = self.under_way.pop_front_if(|batch| batch.is_whole()) {
            self.records -= batch.len();
            let batch = self.writer.note(batch).await;
            let failed = self.writer.tell(&batch, &mut out);
            self.failed = self.failed.or(failed);
        }
        Some(out.freeze()).filter(|lines| !lines.is_empty())
    }

    fn end_of_body(&mut self) {
        if let Err(error) = self.splitter.finish() {
            self.push(Batch::of_mistake(refused_format(&error)));
        }
        self.end(None);
    }

    fn end(&mut self, last: Option<Error>) {
        self.is_read = true;
        self.has_text = false;
        self.last = last;
        // What was not read is not wanted: the connection need not be kept for it.
        self.body = Body::empty();
    }
}

/// The body of the answer.
pub struct Lines {
    next: Option<Next>,
}

type Next = Pin<Box<dyn Future<Output = (Exchange, Option<Bytes>)> + Send>>;

impl Lines {
    /// What an exchange tells, after what it has told already.
    pub fn of(exchange: Exchange, before: Option<Bytes>) -> Self {
        match before {
            Some(before) => Self { next: Some(Box::pin(std::future::ready((exchange, Some(before))))) },
            None => Self { next: Some(step(exchange)) },
        }
    }
}

fn step(mut exchange: Exchange) -> Next {
    Box::pin(async move {
        let lines = exchange.next().await;
        (exchange, lines)
    })
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let Poll::Ready((exchange, lines)) = next.as_mut().poll(context) else { return Poll::Pending };
        self.next = lines.is_some().then(|| step(exchange));
        Poll::Ready(lines.map(|lines| Ok(Frame::data(lines))))
    }
}

/// What ends an exchange that its caller keeps open.
async fn ends(bridge: std::sync::Arc<Bridge>, caller: Caller) -> Error {
    let mut draining = bridge.draining.clone();
    tokio::select! {
        () = bridge.callers.gone(&caller) => Code::Unauthenticated.with("the proof of who is calling has ended"),
        () = drained(&mut draining) => {
            Code::KafkaRetriable.with("the gateway is going down; connect again")
        }
        () = tokio::time::sleep(LONGEST) => Code::RequestTimeout.with("the stream is a day old; open another one"),
    }
}

fn line(refused: &crate::rest::formats::Refused) -> Bytes {
    let mut out = BytesMut::new();
    push_error(&mut out, refused.error_code, &refused.message);
    out.extend_from_slice(LINE_END);
    out.freeze()
}

/// Records of one exchange that wait for their outcome; nothing more is read meanwhile.
const WINDOW_RECORDS: usize = 10_000;

/// Records that are sent together: what is refused for want of room is refused together.
const MOST_AT_ONCE: usize = 1_000;

/// As clients of the API know it.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
