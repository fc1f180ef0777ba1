//! Fetch: the records of sealed streams are opened for the client that may read them.
//!
//! Arrives: what the client asked for (positions), then the broker's response. Leaves: the response with plain
//! records, or an error for the partition that cannot be given. What must never happen here: bytes of a sealed
//! stream that were not opened, or that were sent in the clear by the broker, reaching the client; one bad
//! partition taking another with it. Each connection has one [`FetchChain`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::{KeyId, OrderCheck, SessionReader};
use bytes::BytesMut;
use tokio::time::{Instant, timeout_at};

use super::heavy::{self, Turn};
use super::open::{Access, Content, Opened, Opener, Opening, Scratch, Sessions, Source, Step};
use super::refusal::{Reason, Refusal, TOPIC_AUTHORIZATION_FAILED};
use super::rewrite::fetch::{FetchEdit, FetchRequest, FetchResponse};
use super::rewrite::share_fetch::{RefusedShare, ShareFetchResponse};
use super::rewrite::{AddressBook, RewriteError, TopicRef};
use super::topic_ids::TopicIds;
use crate::audit::event::{Api, Counts, Operation, Status, Trail, Usage, Use, Verdict};
use crate::config::IDEMPOTENCY_TOPIC;
use crate::frame::batch::{BatchError, InflateError};
use crate::frame::{ResponseHeader, Segments};
use crate::identity::Principal;
use crate::keyring::{Keys, ReadAccess};
use crate::metrics::Metrics;

/// What a connection keeps between its Fetch responses.
pub struct FetchChain {
    principal: Principal,
    keys: Arc<Keys>,
    topic_ids: Arc<TopicIds>,
    metrics: Arc<Metrics>,
    topics: HashMap<Arc<str>, ReadTopic>,
    generation: u64,
    max_inflated: usize,
    scratch: Scratch,
    /// Until when decisions about the response at hand are waited for.
    patience: Instant,
    /// What the audit log hears of decisions and refusals,
    trail: Trail,
    /// and of use.
    pub usage: Usage,
    /// Whether the connection is the bridge's own.
    own: bool,
}

/// A topic that this connection has read from.
struct ReadTopic {
    access: Result<ReadAccess, Reason>,
    sessions: KnownSessions,
    partitions: HashMap<i32, ReadPartition>,
}

/// A partition of a sealed stream.
struct ReadPartition {
    order: OrderCheck,
    /// Where the client last said it stands. A partition in a fetch session is named only when that changes.
    fetch_offset: i64,
    /// Since when nothing can be given for want of keys. Consumers retry that without a word, so it must end.
    unavailable: Option<Instant>,
    /// The last refusal that was logged: a client that asks again and again must not fill the log.
    logged: Option<Refusal>,
}

/// How a client is given records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// As offsets rise.
    InOrder,
    /// By a share group.
    Shared,
}

/// The sessions that were looked up for this client and stream.
#[derive(Default)]
struct KnownSessions(HashMap<KeyId, Result<Arc<SessionReader>, Reason>>);

impl Sessions for KnownSessions {
    fn access(&self, key_id: &KeyId) -> Access<'_> {
        match self.0.get(key_id) {
            Some(Ok(reader)) => Access::Granted(reader),
            Some(Err(reason)) => Access::Denied(*reason),
            None => Access::Unknown,
        }
    }
}

/// The positions of one request, kept while it is in flight.
#[derive(Debug, Default)]
pub struct FetchNote(Vec<(Arc<str>, i32, i64)>);

impl FetchNote {
    /// Takes the positions out of a request.
    pub fn of(request: &FetchRequest, frame: &[u8], ids: &TopicIds) -> Result<Self, RewriteError> {
        let mut positions = Vec::with_capacity(request.partitions.len());
        let mut last: Option<(usize, Arc<str>)> = None;
        for partition in &request.partitions {
            let name = match &last {
                Some((topic, name)) if *topic == partition.topic => name.clone(),
                _ => match request.topic(frame, partition)? {
                    TopicRef::Name(name) => Arc::from(name),
                    TopicRef::Id(id) => match ids.name(&id) {
                        Some(name) => name,
                        // The broker does not know it either.
                        None => continue,
                    },
                },
            };
            last = Some((partition.topic, name.clone()));
            positions.push((name, partition.index, partition.fetch_offset));
        }
        Ok(Self(positions))
    }
}

impl FetchChain {
    /// A chain for one connection.
    pub fn new(
        (trail, usage): (Trail, Usage),
        keys: Arc<Keys>,
        topic_ids: Arc<TopicIds>,
        metrics: Arc<Metrics>,
        max_inflated: usize,
    ) -> Self {
        let generation = keys.generation();
        Self {
            principal: trail.principal().clone(),
            keys,
            topic_ids,
            metrics,
            topics: HashMap::new(),
            generation,
            max_inflated,
            scratch: Scratch::default(),
            patience: Instant::now(),
            trail,
            usage,
            own: false,
        }
    }

    /// The same for a connection that is the bridge's own, which alone may read the topic of the answers that it keeps.
    pub fn for_bridge(self, own: bool) -> Self {
        Self { own, ..self }
    }

    /// Opens a response. `note` holds the positions of its request.
    pub async fn open(
        &mut self,
        mut frame: BytesMut,
        header: &ResponseHeader,
        note: FetchNote,
        book: &dyn AddressBook,
    ) -> Result<Segments, RewriteError> {
        self.forget_outdated();
        self.scratch.begin();
        self.trail.begin(Api::Fetch, header.call.correlation_id.0);
        for (name, index, fetch_offset) in note.0 {
            self.take_position(name, index, fetch_offset);
        }
        let response = FetchResponse::walk(&frame, header)?;
        let mut edits = Vec::new();
        let mut turn = Turn::default();
        for (entry, partition) in response.partitions.iter().enumerate() {
            let Some(content) = partition.records.content.filter(|content| !content.is_empty()) else {
                continue;
            };
            let name = self.name(response.topic(&frame, partition)?);
            turn.after(content.len()).await;
            let records = content.of_mut(&mut frame)?;
            match self.partition(name.as_ref(), partition.index, records, Delivery::InOrder).await {
                Ok(None) => {}
                Ok(Some(plain)) => edits.push((entry, plain.into())),
                Err(reason) => {
                    let code = self.final_code(name.as_ref(), partition.index, reason);
                    edits.push((entry, FetchEdit::Refuse(code)));
                }
            }
        }
        self.settle(&mut edits).await;
        response.rebuild(frame.freeze(), edits, book)
    }

    /// What the client hears. Consumers retry a lack of keys silently; when it lasts, that would be an empty topic to
    /// them, so after [`SILENCE_LIMIT`] they are told.
    fn final_code(&mut self, name: Option<&Arc<str>>, index: i32, reason: Reason) -> i16 {
        let topic = name.and_then(|name| self.topics.get_mut(name));
        let Some(partition) = topic.map(|topic| topic.partitions.entry(index).or_insert_with(ReadPartition::new))
        else {
            return reason.error_code();
        };
        if !reason.is_retriable() {
            partition.unavailable = None;
            return reason.error_code();
        }
        let since = *partition.unavailable.get_or_insert_with(Instant::now);
        if since.elapsed() < SILENCE_LIMIT { reason.error_code() } else { TOPIC_AUTHORIZATION_FAILED }
    }

    /// Opens a ShareFetch response (KIP-932). Records of a share group come back to whoever is free, in any order and
    /// more than once, so nothing is said about their order across answers; a partition is given whole or refused,
    /// and what is refused here stays with the broker until its lock expires. What was `refused` at the request was
    /// never taken from the group.
    pub async fn open_shared(
        &mut self,
        mut frame: BytesMut,
        header: &ResponseHeader,
        refused: &[RefusedShare],
        book: &dyn AddressBook,
    ) -> Result<Segments, RewriteError> {
        self.forget_outdated();
        self.scratch.begin();
        self.trail.begin(Api::ShareFetch, header.call.correlation_id.0);
        let response = ShareFetchResponse::walk(&frame, header)?;
        let mut edits = Vec::new();
        let mut turn = Turn::default();
        for (entry, partition) in response.partitions.iter().enumerate() {
            let Some(content) = partition.records.content.filter(|content| !content.is_empty()) else {
                continue;
            };
            turn.after(content.len()).await;
            let records = content.of_mut(&mut frame)?;
            let name = self.name(TopicRef::Id(partition.topic));
            match self.partition(name.as_ref(), partition.index, records, Delivery::Shared).await {
                Ok(None) => {}
                Ok(Some(plain)) => edits.push((entry, plain.into())),
                Err(reason) => edits.push((entry, FetchEdit::Refuse(reason.error_code()))),
            }
        }
        self.settle(&mut edits).await;
        response.rebuild(frame.freeze(), edits, refused, book)
    }

    /// What this answer has caused must be in the audit log, or nothing of it that needed a key is given.
    async fn settle(&mut self, edits: &mut [(usize, FetchEdit)]) {
        if let Err(unwritten) = self.trail.settle().await {
            let code = Reason::from(unwritten).error_code();
            edits.iter_mut().for_each(|(_, edit)| *edit = FetchEdit::Refuse(code));
        }
    }

    /// Takes note of where the client stands. Nothing is decided about a topic before there are records of it: a client
    /// may name topics that do not exist, and no keys are to be made for those.
    fn take_position(&mut self, name: Arc<str>, index: i32, fetch_offset: i64) {
        if self.topics.len() >= super::MOST_TOPICS && !self.topics.contains_key(&name) {
            self.topics.clear();
        }
        let topic = self.topics.entry(name).or_insert_with(ReadTopic::new);
        if matches!(topic.access, Ok(ReadAccess::Pass)) {
            return;
        }
        topic.partitions.entry(index).or_insert_with(ReadPartition::new).fetch_offset = fetch_offset;
    }

    /// A topic's name; `None` for an id that nobody has named.
    fn name(&self, topic: TopicRef<'_>) -> Option<Arc<str>> {
        match topic {
            TopicRef::Name(name) => Some(Arc::from(name)),
            TopicRef::Id(id) => self.topic_ids.name(&id),
        }
    }

    /// The opened records of a partition; `None` when they go as they came.
    async fn partition(
        &mut self,
        name: Option<&Arc<str>>,
        index: i32,
        records: &mut [u8],
        delivery: Delivery,
    ) -> Result<Option<Content>, Reason> {
        let name = name.ok_or(Reason::UnknownTopicId)?;
        if self.own && &**name == IDEMPOTENCY_TOPIC {
            return Ok(None);
        }
        let access = match &self.topic(name).await.access {
            Ok(ReadAccess::Pass) => return Ok(None),
            Ok(access) => Ok(access.clone()),
            Err(reason) => Err(*reason),
        };
        let shared_budget = self.scratch.has_begun();
        let (opened, content) = match access {
            Err(reason) => refused_before_start(reason),
            Ok(access) => match self.trail.check() {
                Ok(()) => self.open_partition(name, index, records, delivery, &access).await,
                Err(unwritten) => refused_before_start(unwritten.into()),
            },
        };
        self.metrics.opened(opened.records, opened.bytes, opened.holes);
        self.note(name, index, delivery, &opened);
        if let Some(partition) = self.topics.get_mut(name).and_then(|topic| topic.partitions.get_mut(&index))
            && !content.is_empty()
        {
            partition.unavailable = None;
        }
        let Some(refusal) = opened.refusal else {
            return Ok(Some(content));
        };
        let too_large = Reason::Batch(BatchError::Inflate(InflateError::TooLarge));
        if refusal.reason == too_large && shared_budget && delivery == Delivery::InOrder {
            // Other partitions have used up what one response may inflate: nothing is wrong with the record, and the
            // client asks for it again. What is too large alone is refused when it comes first.
            return Ok(Some(content));
        }
        self.report(name, index, refusal);
        if content.is_empty() || (delivery == Delivery::Shared && opened.stopped) {
            return Err(refusal.reason);
        }
        Ok(Some(content))
    }

    fn note(&mut self, name: &Arc<str>, index: i32, delivery: Delivery, opened: &Opened) {
        let api = match delivery {
            Delivery::InOrder => Api::Fetch,
            Delivery::Shared => Api::ShareFetch,
        };
        for used in &opened.uses {
            let outcome = Use { status: Status::Success, reason: "opened" };
            let (records, bytes, offsets) = (used.records, used.bytes, Some(used.offsets));
            let counts = Counts { records, bytes, batches: 1, offsets };
            self.usage.note((name, index), used.key_id, (api, outcome), counts);
        }
        if opened.skipped > 0 {
            let outcome = Use { status: Status::Failure, reason: "skipped" };
            let counts = Counts { records: opened.skipped, batches: 1, ..Counts::default() };
            self.usage.note((name, index), None, (api, outcome), counts);
        }
    }

    async fn open_partition(
        &mut self,
        name: &Arc<str>,
        index: i32,
        records: &mut [u8],
        delivery: Delivery,
        access: &ReadAccess,
    ) -> (Opened, Content) {
        let Self { topics, scratch, keys, principal, max_inflated, patience, .. } = self;
        let Some(topic) = topics.get_mut(name) else {
            return refused_before_start(Reason::Unavailable("topic was forgotten"));
        };
        let partition = topic.partitions.entry(index).or_insert_with(ReadPartition::new);
        let mut unordered = OrderCheck::default();
        let (fetch_offset, order) = match delivery {
            Delivery::InOrder => (partition.fetch_offset, &mut partition.order),
            Delivery::Shared => (i64::MIN, &mut unordered),
        };
        let is_heavy = heavy::is_heavy(records);
        let mut opening = Opening::new(records, order, scratch);
        // Each round looks up one session; a response cannot name more of them than it has records.
        loop {
            let (opener, on_unreadable, stream) = match access {
                ReadAccess::Open { stream, on_unreadable } => {
                    (Opener::Gateway(&topic.sessions), *on_unreadable, *stream)
                }
                ReadAccess::SealedForClient { stream, on_unreadable } => (Opener::Client, *on_unreadable, *stream),
                ReadAccess::Pass => return refused_before_start(Reason::Unavailable("stream changed")),
            };
            let source = Source { partition: index, fetch_offset, on_unreadable, max_inflated: *max_inflated, opener };
            match heavy::work_on(is_heavy, || opening.run(&source)) {
                Step::Done => return opening.finish(),
                Step::NeedSession(key_id) => {
                    let found = timeout_at(*patience, keys.session(principal, stream, key_id)).await;
                    let found = found.unwrap_or(Err(super::NOT_IN_TIME));
                    topic.sessions.remember(key_id, found);
                }
            }
        }
    }

    /// What is known of a topic, asked for if need be.
    async fn topic(&mut self, name: &Arc<str>) -> &mut ReadTopic {
        let (keys, principal) = (&self.keys, &self.principal);
        if self.topics.len() >= super::MOST_TOPICS && !self.topics.contains_key(name) {
            self.topics.clear();
        }
        let stale = match self.topics.get(name) {
            None => true,
            Some(topic) => matches!(&topic.access, Err(reason) if *reason == Reason::Unasked(NO_KEY)),
        };
        if stale {
            let access = timeout_at(self.patience, keys.reader(principal, name)).await;
            let access = access.unwrap_or(Err(super::NOT_IN_TIME));
            self.trail.decided(name, Operation::Read, verdict(&access));
            let topic = self.topics.entry(name.clone()).or_insert_with(ReadTopic::new);
            topic.access = access;
            return topic;
        }
        self.topics.entry(name.clone()).or_insert_with(ReadTopic::new)
    }

    /// After a change in keyring or policy access is asked for anew. The order of what was read stays: a
    /// revocation must not open a way for replays.
    fn forget_outdated(&mut self) {
        self.patience = Instant::now() + super::DECISION_WAIT;
        // The client names them, so their number is bounded for all topics together.
        if self.topics.values().map(|topic| topic.partitions.len()).sum::<usize>() > MOST_PARTITIONS {
            self.topics.values_mut().for_each(|topic| topic.partitions.clear());
        }
        let generation = self.keys.generation();
        let changed = generation != self.generation;
        self.generation = generation;
        for topic in self.topics.values_mut() {
            if changed || matches!(&topic.access, Err(reason) if reason.is_retriable()) {
                topic.access = Err(Reason::Unasked(NO_KEY));
                topic.sessions.0.clear();
            }
            // What may succeed the next time is asked again the next time.
            topic.sessions.0.retain(|_, found| !matches!(found, Err(reason) if reason.may_change()));
        }
    }

    fn report(&mut self, name: &Arc<str>, partition: i32, refusal: Refusal) {
        self.metrics.refused_record(refusal.reason.label());
        self.trail.refused(name, Operation::Read, (partition, refusal.offset), &refusal.reason.verdict());
        let state =
            self.topics.get_mut(name).map(|topic| topic.partitions.entry(partition).or_insert_with(ReadPartition::new));
        if let Some(state) = state {
            if state.logged == Some(refusal) {
                return;
            }
            state.logged = Some(refusal);
        }
        tracing::warn!(
            event = "fetch_refused",
            principal = %self.principal,
            topic = %name,
            partition,
            offset = refusal.offset,
            reason = %refusal.reason,
        );
    }
}

impl ReadTopic {
    fn new() -> Self {
        Self { access: Err(Reason::Unasked(NO_KEY)), sessions: KnownSessions::default(), partitions: HashMap::new() }
    }
}

impl ReadPartition {
    fn new() -> Self {
        Self { order: OrderCheck::default(), fetch_offset: i64::MIN, unavailable: None, logged: None }
    }
}

impl KnownSessions {
    fn remember(&mut self, key_id: KeyId, found: Result<Arc<SessionReader>, Reason>) {
        if self.0.len() >= MOST_SESSIONS {
            self.0.clear();
        }
        self.0.insert(key_id, found);
    }
}

fn verdict(access: &Result<ReadAccess, Reason>) -> Verdict {
    match access {
        Ok(ReadAccess::Pass) => Verdict::Passed,
        Ok(ReadAccess::Open { .. }) => Verdict::Granted("opened"),
        Ok(ReadAccess::SealedForClient { .. }) => Verdict::Granted("opened_by_client"),
        Err(reason) => reason.verdict(),
    }
}

fn refused_before_start(reason: Reason) -> (Opened, Content) {
    (Opened { refusal: Some(Refusal { offset: -1, reason }), ..Opened::default() }, Content::Front(0))
}

impl From<Content> for FetchEdit {
    fn from(content: Content) -> Self {
        match content {
            Content::Front(length) => Self::Shrink(length),
            Content::Apart(bytes) => Self::Replace(bytes),
        }
    }
}

/// As long as Kafka's own default request timeout: what has not come back by then is an outage, not a hiccup.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// Stands for "not asked yet" where a reason is needed.
const NO_KEY: KeyId = KeyId::from_bytes([0; 16]);

/// Sessions kept per connection and stream; a writer makes one per epoch, a day or an hour.
const MOST_SESSIONS: usize = 4096;

/// Partitions kept per connection: brokers lead some thousands at most.
const MOST_PARTITIONS: usize = 65_536;
