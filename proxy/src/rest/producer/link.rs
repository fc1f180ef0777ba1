//! The way to one broker, as long as there is something to send to it.
//!
//! Arrives: batches of the queue. Leaves: Produce requests on one connection, and verdicts about the batches of each. Requests go out and
//! answers come in at the same time, answers in the order of the requests. What must never happen here: a verdict for another request
//! than the one that was answered; a batch that is forgotten when the connection ends.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::partition::Sent;
use super::queue::Work;
use super::request::{self, Entry};
use super::verdict::Verdict;
use super::{CLIENT_ID, CONNECT_TIME, IdentifyError, Shared};
use crate::chain::rewrite::api_versions;
use crate::connection::read::FrameReader;
use crate::frame::{ApiVersion, Call, CorrelationId, ResponseHeader, Segments, api};
use crate::rest::inner::Lane;
use crate::rest::kafka::{self, AskError};

/// A request that is not answered.
struct Flight {
    call: Call,
    batches: Vec<Flying>,
}

struct Flying {
    number: usize,
    entry: Entry,
    sent: Sent,
}

/// What became of each batch, by its partition's number.
pub(super) type Verdicts = Vec<(usize, Sent, Verdict)>;

/// Sends what the queue has for a broker until the connection ends, and gives back what had no answer.
pub(super) async fn run(shared: Arc<Shared>, node_id: i32, wake: Arc<Notify>) {
    let mut flights = VecDeque::new();
    let ended = serve(&shared, node_id, &wake, &mut flights).await;
    if let Err(error) = &ended {
        tracing::debug!(event = "rest_producer_link_ended", node_id, %error);
    }
    let lost = flights.into_iter().flat_map(|flight| flight.batches);
    let lost: Vec<_> = lost.map(|flying| (flying.number, flying.sent, Verdict::Unsure)).collect();
    let in_peace = lost.is_empty() && matches!(ended, Ok(()) | Err(AskError::Closed));
    shared.close(node_id, lost, in_peace);
}

async fn serve(
    shared: &Arc<Shared>,
    node_id: i32,
    wake: &Notify,
    flights: &mut VecDeque<Flight>,
) -> Result<(), AskError> {
    let Lane { requests, answers, gateway } = shared.brokers.connect(node_id);
    let mut gateway = gateway;
    let mut has_ended = false;
    let mut sending = std::pin::pin!(send(shared, (node_id, wake), (requests, answers), flights));
    loop {
        tokio::select! {
            biased;
            ended = &mut sending => return ended,
            // What it has written until then is still read.
            () = &mut gateway, if !has_ended => has_ended = true,
        }
    }
}

async fn send(
    shared: &Arc<Shared>,
    (node_id, wake): (i32, &Notify),
    (requests, answers): (mpsc::Sender<Segments>, DuplexStream),
    flights: &mut VecDeque<Flight>,
) -> Result<(), AskError> {
    let mut frames = FrameReader::new(answers, MOST_ANSWER_BYTES);
    let limit = CONNECT_TIME.min(shared.patience.delivery);
    let version = timeout(limit, agree(&requests, &mut frames)).await.map_err(|_| AskError::Late(limit))?;
    // A broker that is not there is no peaceful end.
    let version =
        version.map_err(|error| if matches!(error, AskError::Closed) { AskError::Late(limit) } else { error })?;
    let mut calls = Calls { version, next: 0 };
    let mut writing: Option<Segments> = None;
    while !shared.has_ended() {
        let mut until = None;
        if writing.is_none() {
            match shared.work(node_id) {
                Work::Sleep(earliest) => until = earliest,
                Work::Identify => {
                    identify(shared, node_id).await?;
                    continue;
                }
                Work::Send(batches) => {
                    let flight = Flight { call: calls.next(), batches: name(shared, batches) };
                    if flight.batches.is_empty() {
                        shared.judge(node_id, Vec::new());
                        continue;
                    }
                    writing = Some(flight.request(shared)?);
                    flights.push_back(flight);
                }
            }
        }
        let lost = flights.iter().flat_map(|flight| &flight.batches).map(|flying| flying.sent.deadline()).min();
        let alarm = until.into_iter().chain(lost).min();
        tokio::select! {
            biased;
            frame = frames.next() => {
                let frame = frame?.ok_or(AskError::Closed)?.freeze();
                let flight = flights.pop_front().ok_or(AskError::Closed)?;
                match flight.verdicts(&frame) {
                    Ok(verdicts) => shared.judge(node_id, verdicts),
                    Err((error, flight)) => {
                        flights.push_front(flight);
                        return Err(error);
                    }
                }
            }
            permit = requests.reserve(), if writing.is_some() => {
                permit.map_err(|_| AskError::Closed)?.send(writing.take().unwrap_or_default());
            }
            () = wake.notified(), if writing.is_none() => {}
            () = sleep(alarm), if alarm.is_some() => {
                if lost.is_some_and(|lost| lost <= Instant::now()) {
                    return Err(AskError::Late(shared.patience.delivery));
                }
            }
        }
    }
    Ok(())
}

/// Asks which version of Produce the broker and the gateway take.
async fn agree(requests: &mpsc::Sender<Segments>, frames: &mut FrameReader<DuplexStream>) -> Result<i16, AskError> {
    let call = Call { api_key: api::API_VERSIONS, version: ApiVersion(0), correlation_id: CorrelationId(0) };
    let request = api_versions::request(call, CLIENT_ID).map_err(kafka::malformed)?;
    requests.send(Segments::whole(request).framed()?).await.map_err(|_| AskError::Closed)?;
    let frame = frames.next().await?.ok_or(AskError::Closed)?.freeze();
    let header = ResponseHeader::parse(&frame, call)?;
    let (_, offered) = api_versions::decode(&frame, &header).map_err(kafka::malformed)?;
    kafka::version_of(&offered, api::PRODUCE, request::VERSIONS)
}

async fn sleep(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Asks for the producer's identity. Where it is refused, so is everything that waits.
async fn identify(shared: &Arc<Shared>, node_id: i32) -> Result<(), AskError> {
    match shared.identify().await {
        Ok(()) => Ok(()),
        Err(IdentifyError::Refused(refusal)) => {
            shared.refuse(node_id, refusal);
            Ok(())
        }
        Err(IdentifyError::Ask(AskError::Closed)) => Err(AskError::Late(CONNECT_TIME)),
        Err(IdentifyError::Ask(error)) => Err(error),
    }
}

fn name(shared: &Shared, batches: Vec<(usize, Sent)>) -> Vec<Flying> {
    let queue = shared.queue();
    let named = batches.into_iter().filter_map(|(number, sent)| {
        let (topic, partition) = queue.name(number)?;
        Some(Flying { number, entry: Entry { topic, partition, batch: sent.bytes.clone() }, sent })
    });
    let mut named: Vec<Flying> = named.collect();
    // A topic stands in a request once.
    named.sort_by(|one, other| one.entry.topic.cmp(&other.entry.topic));
    named
}

/// Numbers requests.
struct Calls {
    version: i16,
    next: i32,
}

impl Calls {
    fn next(&mut self) -> Call {
        self.next = self.next.wrapping_add(1);
        Call { api_key: api::PRODUCE, version: ApiVersion(self.version), correlation_id: CorrelationId(self.next) }
    }
}

impl Flight {
    fn request(&self, shared: &Shared) -> Result<Segments, AskError> {
        let entries: Vec<&Entry> = self.batches.iter().map(|flying| &flying.entry).collect();
        Ok(request::put(self.call, CLIENT_ID, shared.patience.delivery, &entries)?)
    }

    /// What the broker says of each batch. One that it says nothing of may be written.
    fn verdicts(self, frame: &[u8]) -> Result<Verdicts, (AskError, Self)> {
        let read = || {
            let header = ResponseHeader::parse(frame, self.call)?;
            if header.call.correlation_id != self.call.correlation_id {
                return Err(AskError::Closed);
            }
            Ok(request::read(&mut header.cursor(frame), self.call.version.0)?)
        };
        let mut told = match read() {
            Ok(told) => told,
            Err(error) => return Err((error, self)),
        };
        let judged = self.batches.into_iter().map(|Flying { number, entry, sent }| {
            let is_it = |told: &request::Told| told.partition == entry.partition && *told.topic == *entry.topic;
            let at = told.iter().position(is_it);
            let verdict = at.map_or(Verdict::Unsure, |at| told.swap_remove(at).verdict);
            (number, sent, verdict)
        });
        Ok(judged.collect())
    }
}

/// Some words for each partition of a request.
const MOST_ANSWER_BYTES: usize = 4 << 20;
