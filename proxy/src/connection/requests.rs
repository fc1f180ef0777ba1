//! The way to the broker: requests of one client, one after another.
//!
//! Arrives: frames of the client. Leaves: cleared requests on the upstream connection, and an entry for each
//! answer that is due. What must never happen here: a request sent without its entry, or an entry without its
//! request, since every later answer would then reach the wrong caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

use super::Ended;
use super::in_flight::{Due, Entry, Note};
use super::memory::{Hold, Memory, Way};
use super::read::FrameReader;
use crate::audit::event::{Api, Audit, Counts, Event, Peer, Status, Usage, Use};
use crate::chain::Cleared;
use crate::chain::fetch::FetchNote;
use crate::chain::produce::{ProduceChain, ProduceNote, Produced};
use crate::chain::refusal::{MESSAGE_TOO_LARGE, NOT_ENOUGH_REPLICAS, POLICY_VIOLATION};
use crate::chain::rewrite::fetch::FetchRequest;
use crate::chain::rewrite::ids::{self, Foreseen};
use crate::chain::rewrite::produce::{ProduceRequest, error_response};
use crate::chain::rewrite::refusal::{self, Refusal};
use crate::chain::rewrite::share_fetch::ShareFetchRequest;
use crate::chain::rewrite::{RewriteError, TopicRef, topology};
use crate::chain::share::{ShareChain, Shared};
use crate::chain::topic_ids::{BrokerTopicId, TopicIds};
use crate::config::IDEMPOTENCY_TOPIC;
use crate::frame::{ApiKey, Call, CorrelationId, RequestHeader, ResponseHeader, Segments, Treatment, api};
use crate::metrics::Metrics;

/// The request side of one connection.
pub struct Requests<R, W> {
    /// Frames of the client.
    pub client: FrameReader<R>,
    /// Towards the broker.
    pub broker: W,
    /// What is due.
    pub in_flight: Option<mpsc::Sender<Entry>>,
    /// Policy and sealing.
    pub produce: ProduceChain,
    /// What share groups may ask for.
    pub share: ShareChain,
    /// What was sealed and will not be acknowledged (acks=0), for the audit log.
    pub usage: Usage,
    /// The audit log.
    pub audit: Audit,
    /// Whose connection it is.
    pub peer: Arc<Peer>,
    /// Ids and names of the cluster's topics.
    pub topic_ids: Arc<TopicIds>,
    /// When the broker was last asked for all topics and an id of the client's was not among them.
    pub asked_in_vain: Option<Instant>,
    /// True once the gateway is to end.
    pub draining: watch::Receiver<bool>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Room for requests that grow.
    pub memory: Arc<Memory>,
    /// What one request may hold with what is made of it.
    pub most_bytes: usize,
    /// Whether it is the bridge's own.
    pub own: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Requests<R, W> {
    /// Serves requests until the client leaves, the gateway drains, or something fails.
    pub async fn run(&mut self) -> Result<Ended, super::Error> {
        loop {
            let Some(frame) = self.next_frame().await? else {
                // The response side ends once it has delivered what is due. The stream to the broker stays open
                // until then: a broker may drop the answers of a connection that is half closed.
                self.in_flight = None;
                return Ok(if *self.draining.borrow() { Ended::Drained } else { Ended::ByClient });
            };
            let since = Instant::now();
            // Given back when the broker has the request.
            let _hold = self.client.take_hold();
            if let Some(ended) = self.serve(frame, since).await? {
                return Ok(ended);
            }
        }
    }

    /// The next frame; `None` at the end of the stream, or at a frame boundary once the gateway drains.
    async fn next_frame(&mut self) -> Result<Option<BytesMut>, super::Error> {
        if *self.draining.borrow() && self.client.is_empty() {
            return Ok(None);
        }
        self.usage.tell_if_over();
        loop {
            tokio::select! {
                biased;
                frame = self.client.next() => return Ok(frame?),
                _ = self.draining.wait_for(|draining| *draining) => return Ok(None),
                () = self.usage.over() => self.usage.tell(),
            }
        }
    }

    async fn serve(&mut self, mut frame: BytesMut, since: Instant) -> Result<Option<Ended>, super::Error> {
        let call = Call::peek(&frame).map_err(RewriteError::from)?;
        let known = call.api().is_some_and(|api| api.knows(call.version));
        self.metrics.request(call, known);
        if self.audit.is_on() && !self.peer.is_named() {
            self.note_client_id(&frame);
        }
        if !known {
            return self.refuse_unknown(call, since).await;
        }
        match (call.api_key, call.api().map(|api| api.treatment)) {
            (api::PRODUCE, _) => self.produce(frame, call, since).await,
            (api::FETCH, _) => self.fetch(frame, call, since).await,
            (api::SHARE_FETCH, _) => self.share_fetch(frame, call, since).await,
            (key, Some(Treatment::Decode | Treatment::Pass)) => {
                self.name_as_broker(&mut frame, call, since).await?;
                let frame = frame.freeze();
                if MEDDLING.contains(&key) && self.names_own_topic(&frame) {
                    return self.refuse_meddling(&frame, since).await;
                }
                let cleared = Cleared::pass(call, frame).map_err(RewriteError::from)?;
                self.forward(cleared, Some((call, Note::Plain)), since).await?;
                Ok(None)
            }
            _ => Err(super::Error::Refused(call)),
        }
    }

    /// Puts the broker's topic ids where the client has written those that it was shown. What the walkers have read before
    /// is in the client's terms, and so are the answers that are made from it.
    async fn name_as_broker(&mut self, frame: &mut BytesMut, call: Call, since: Instant) -> Result<(), super::Error> {
        if !ids::has_ids(call) {
            return Ok(());
        }
        let (places, names) = {
            let header = RequestHeader::parse(frame).map_err(RewriteError::from)?;
            let names = match ids::foreseen(frame, &header)? {
                Foreseen::Nothing => None,
                Foreseen::Names(names) => Some(Some(names.into_iter().map(Arc::from).collect())),
                Foreseen::Everything => Some(None),
            };
            (ids::of_request(frame, &header)?, names)
        };
        if let Some(names) = names {
            self.ask_for_ids(names, since).await?;
        }
        let topic_ids = self.topic_ids.clone();
        let mut unknown = topic_ids.to_broker(frame, &places).map_err(RewriteError::from)?;
        if unknown.is_empty() || self.asked_in_vain.is_some_and(|when| when.elapsed() < ASKED_AGAIN_AFTER) {
            return Ok(());
        }
        let _turn = topic_ids.turn().await;
        // Whoever had the turn before may have learned them.
        unknown = topic_ids.to_broker(frame, &unknown).map_err(RewriteError::from)?;
        if !unknown.is_empty() {
            self.ask_for_ids(None, since).await?;
            unknown = topic_ids.to_broker(frame, &unknown).map_err(RewriteError::from)?;
        }
        // Each is refused for itself, by us or by the broker, which does not know it.
        self.asked_in_vain = (!unknown.is_empty()).then(Instant::now);
        Ok(())
    }

    /// The client says what it calls itself in each request; the first one that can be read counts.
    fn note_client_id(&self, frame: &[u8]) {
        if let Ok(header) = RequestHeader::parse(frame) {
            self.peer.call_itself(header.client_id.unwrap_or_default());
        }
    }

    fn tell_refused(&self, call: Call, reason: &'static str, message: &str) {
        if self.audit.is_on() {
            let api = call.api().map_or("Unknown", |api| api.name);
            self.audit.record(Event::request_refused(&self.peer, api, reason, message));
        }
    }

    /// Whether a request names a topic that is the gateways' own, by name or id. Its bytes are searched instead of walked: a request
    /// that merely mentions it in another place is refused too, and can be made at a broker.
    fn names_own_topic(&self, frame: &[u8]) -> bool {
        let holds = |part: &[u8]| frame.windows(part.len()).any(|window| window == part);
        let mut own = self.produce.own_topics();
        own.retain(|topic| !(self.own && topic == IDEMPOTENCY_TOPIC));
        own.iter().any(|topic| {
            holds(topic.as_bytes()) || self.topic_ids.given(topic).iter().any(|BrokerTopicId(id)| holds(id))
        })
    }

    /// Whoever may delete or alter topics at the brokers could otherwise end everybody's keys through us.
    async fn refuse_meddling(&mut self, frame: &Bytes, since: Instant) -> Result<Option<Ended>, super::Error> {
        let header = RequestHeader::parse(frame).map_err(RewriteError::from)?;
        tracing::warn!(event = "keyring_request_refused", api = header.call.api().map_or("", |api| api.name));
        let message = "the gateways' own topics are changed at the brokers only, not through the gateway";
        self.tell_refused(header.call, "keyring", message);
        match refusal::refuse(frame, &header, POLICY_VIOLATION, Some(message))? {
            Refusal::Answer(answer) => {
                self.push(Due::Own(answer), since).await?;
                Ok(None)
            }
            Refusal::Silence | Refusal::Close => Err(super::Error::Refused(header.call)),
        }
    }

    async fn produce(
        &mut self,
        mut frame: BytesMut,
        call: Call,
        since: Instant,
    ) -> Result<Option<Ended>, super::Error> {
        let request = walked(&frame, ProduceRequest::walk)?;
        self.name_as_broker(&mut frame, call, since).await?;
        let frame = frame.freeze();
        let unknown = self.produce.unknown_topics(&request, &frame)?;
        self.ask_for_topics(&unknown, since).await?;
        let acks = request.acks;
        match self.produce.clear(&request, call, frame.clone()).await? {
            Produced::Forward(cleared, note) => {
                let _grown = match self.room_for(frame.len(), &cleared) {
                    Ok(grown) => grown,
                    Err(refusal) => return self.refuse_whole(&request, (call, since), &frame, refusal).await,
                };
                // With acks=0 no answer comes, and pairing must not wait for one.
                if acks != 0 {
                    self.forward(cleared, Some((call, Note::Produce(note))), since).await?;
                    return Ok(None);
                }
                self.forward(cleared, None, since).await?;
                self.note_unacknowledged(&note);
                Ok(None)
            }
            Produced::Answer(answer) => {
                self.push(Due::Own(answer), since).await?;
                Ok(None)
            }
            Produced::Close => Ok(Some(Ended::ByPolicy)),
        }
    }

    fn note_unacknowledged(&mut self, note: &ProduceNote) {
        let outcome = Use { status: Status::Success, reason: "unacknowledged" };
        for sealed in &note.sealed {
            let (records, bytes) = (sealed.sealed.records, sealed.sealed.bytes);
            let counts = Counts { records, bytes, batches: 1, offsets: None };
            self.usage.note((&sealed.topic, sealed.index), sealed.key_id, (Api::Produce, outcome), counts);
        }
    }

    /// Room for a cleared request; if there is none, the code and the words for the client. Sealing takes away what
    /// compression had won: what is small on the wire may be large here.
    fn room_for(&self, length: usize, cleared: &Cleared) -> Result<Hold, (i16, &'static str)> {
        let sealed = cleared.len();
        if length.saturating_add(sealed) > self.most_bytes {
            return Err((MESSAGE_TOO_LARGE, TOO_LARGE));
        }
        self.memory.grow(Way::Request, length, sealed).ok_or((NOT_ENOUGH_REPLICAS, NO_ROOM))
    }

    async fn refuse_whole(
        &mut self,
        request: &ProduceRequest,
        (call, since): (Call, Instant),
        frame: &Bytes,
        (error_code, reason): (i16, &'static str),
    ) -> Result<Option<Ended>, super::Error> {
        self.metrics.refused_record("memory");
        self.tell_refused(call, "memory", reason);
        tracing::warn!(event = "produce_refused", bytes = frame.len(), reason);
        if request.acks == 0 {
            return Ok(Some(Ended::ByPolicy));
        }
        let refused = request.refuse_all(frame, error_code, Some(reason))?;
        let answer = error_response(call, &refused)?;
        self.push(Due::Own(answer), since).await?;
        Ok(None)
    }

    async fn fetch(&mut self, mut frame: BytesMut, call: Call, since: Instant) -> Result<Option<Ended>, super::Error> {
        let request = walked(&frame, FetchRequest::walk)?;
        self.name_as_broker(&mut frame, call, since).await?;
        let frame = frame.freeze();
        let note = FetchNote::of(&request, &frame, &self.topic_ids)?;
        let cleared = Cleared::fetch(frame);
        self.forward(cleared, Some((call, Note::Fetch(note))), since).await?;
        Ok(None)
    }

    /// The topics of a share group are named by id in every version, and the answer has records to be opened.
    async fn share_fetch(
        &mut self,
        mut frame: BytesMut,
        call: Call,
        since: Instant,
    ) -> Result<Option<Ended>, super::Error> {
        let request = walked(&frame, ShareFetchRequest::walk)?;
        self.name_as_broker(&mut frame, call, since).await?;
        match self.share.clear(&request, call, frame.freeze()).await? {
            Shared::Forward(cleared, refused) => {
                self.forward(cleared, Some((call, Note::Share(refused))), since).await?;
            }
            Shared::Answer(answer) => self.push(Due::Own(answer), since).await?,
        }
        Ok(None)
    }

    /// Asks the broker, on this same connection and so with this client's rights, for the ids of topics, or of all. The response
    /// side has learned them by the time it tells.
    async fn ask_for_ids(&mut self, names: Option<Vec<Arc<str>>>, since: Instant) -> Result<(), super::Error> {
        let call = topology::call(CorrelationId(OWN_CORRELATION_ID));
        let topics: Option<Vec<TopicRef<'_>>> =
            names.as_ref().map(|names| names.iter().map(|name| TopicRef::Name(name)).collect());
        self.ask(call, topics.as_deref(), since).await?;
        Ok(())
    }

    /// Asks whether topics exist; they are not created by that.
    async fn ask_for_topics(&mut self, names: &[Arc<str>], since: Instant) -> Result<(), super::Error> {
        if names.is_empty() {
            return Ok(());
        }
        let call = topology::call_for_brokers(CorrelationId(OWN_CORRELATION_ID));
        let topics: Vec<TopicRef<'_>> = names.iter().map(|name| TopicRef::Name(name)).collect();
        let answer = self.ask(call, Some(&topics), since).await?;
        let header = ResponseHeader::parse(&answer, call).map_err(RewriteError::from)?;
        for topic in topology::decode(&answer, &header)?.topics {
            if let (Some(name), true) = (topic.name, topic.error_code != 0) {
                self.produce.is_absent(&name, topic.error_code);
            }
        }
        Ok(())
    }

    async fn ask(
        &mut self,
        call: Call,
        topics: Option<&[TopicRef<'_>]>,
        since: Instant,
    ) -> Result<Bytes, super::Error> {
        let request = topology::request(call, OWN_CLIENT_ID, topics)?;
        let (tell, told) = oneshot::channel();
        self.push(Due::Asked(call, tell), since).await?;
        self.send(Segments::whole(request)).await?;
        told.await.map_err(|_| super::Error::Closed)
    }

    /// An API or version that the table does not know never passes. ApiVersions is answered as the protocol asks,
    /// so that a newer client can step down (KIP-511); anything else ends the connection, as a broker does it.
    async fn refuse_unknown(&mut self, call: Call, since: Instant) -> Result<Option<Ended>, super::Error> {
        match refusal::refuse_unknown(call) {
            Refusal::Answer(answer) => {
                self.push(Due::Own(answer), since).await?;
                Ok(None)
            }
            Refusal::Silence | Refusal::Close => Err(super::Error::Refused(call)),
        }
    }

    async fn forward(
        &mut self,
        cleared: Cleared,
        entry: Option<(Call, Note)>,
        since: Instant,
    ) -> Result<(), super::Error> {
        if let Some((call, note)) = entry {
            self.push(Due::Broker(call, note), since).await?;
        }
        self.send(cleared.into_segments()).await?;
        self.metrics.request_added(since.elapsed());
        Ok(())
    }

    async fn push(&mut self, due: Due, since: Instant) -> Result<(), super::Error> {
        let queue = self.in_flight.as_ref().ok_or(super::Error::Closed)?;
        queue.send(Entry { due, since }).await.map_err(|_| super::Error::Closed)
    }

    async fn send(&mut self, segments: Segments) -> Result<(), super::Error> {
        let mut framed = segments.framed().map_err(RewriteError::from)?;
        self.broker.write_all_buf(&mut framed).await.map_err(super::Error::Upstream)?;
        self.broker.flush().await.map_err(super::Error::Upstream)
    }
}

/// A request as `walk` reads it: before its topic ids are replaced, so in the client's terms.
fn walked<T>(
    frame: &[u8],
    walk: impl FnOnce(&[u8], &RequestHeader<'_>) -> Result<T, RewriteError>,
) -> Result<T, RewriteError> {
    walk(frame, &RequestHeader::parse(frame)?)
}

/// A client that goes on with an id of a topic that is gone must not make the broker list all topics each time.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Of no meaning to anybody: answers are paired by their order, and this one never reaches a client.
const OWN_CORRELATION_ID: i32 = 0x6261_726e;

/// Requests that could take the keyring's topic or its records away: DeleteTopics, DeleteRecords, AlterConfigs,
/// CreatePartitions, IncrementalAlterConfigs; and InitProducerId, AddPartitionsToTxn and EndTxn, by which a client could
/// fence the steward, whose transactional id begins with the topic's name.
const MEDDLING: [ApiKey; 8] =
    [ApiKey(20), ApiKey(21), ApiKey(22), ApiKey(24), ApiKey(26), ApiKey(33), ApiKey(37), ApiKey(44)];

/// What a producer hears of a request for which there is no memory; it tries again.
const NO_ROOM: &str = "barnabas: no memory for the sealed request now (limits.max_memory_bytes)";

/// What a producer hears of a request that can never be sealed here.
const TOO_LARGE: &str = "barnabas: request is too large once it is inflated and sealed (limits.max_connection_bytes)";

/// What brokers see in their request logs.
const OWN_CLIENT_ID: &str = "barnabas";
