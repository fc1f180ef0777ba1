//! Produce: policy decides for each partition, records are sealed, refused partitions are taken out.
//!
//! Arrives: a Produce request of one client. Leaves: a cleared request, what to tell the client about the
//! refused partitions, or a whole answer when nothing is left to send. What must never happen here: a
//! partition going on without a decision. Each connection has one [`ProduceChain`]; its lanes are its own,
//! so sealing needs no lock.

use std::collections::HashMap;
use std::sync::Arc;

use barnabas_crypto::{Error as CryptoError, KeyId, Lane, Session};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::Cleared;
use super::heavy::{self, Turn};
use super::partitions::Partitions;
use super::refusal::{Reason, UNKNOWN_TOPIC_OR_PARTITION};
use super::rewrite::produce::{ProduceEdit, ProducePartition, ProduceRequest, Refused, error_response};
use super::rewrite::{RewriteError, TopicKey, TopicRef};
use super::seal::{Scratch, SealError, SealTerms, Sealed, check_sealed, seal_records};
use super::topic_ids::TopicIds;
use crate::audit::event::{Api, Operation, Trail, Verdict};
use crate::config::IDEMPOTENCY_TOPIC;
use crate::frame::{Call, Segments};
use crate::identity::Principal;
use crate::keyring::{Keys, WriteAccess};
use crate::metrics::Metrics;

/// What a connection keeps between its Produce requests.
pub struct ProduceChain {
    principal: Principal,
    keys: Arc<Keys>,
    counts: Arc<Partitions>,
    topic_ids: Arc<TopicIds>,
    metrics: Arc<Metrics>,
    topics: HashMap<Arc<str>, WriteTopic>,
    /// What the broker has said of topics of the request at hand that it does not name.
    absent: HashMap<Arc<str>, i16>,
    generation: u64,
    max_inflated: usize,
    scratch: Scratch,
    /// Until when decisions about the request at hand are waited for.
    patience: Instant,
    /// Refusals of the request at hand that the log has.
    logged: usize,
    /// What the audit log hears.
    trail: Trail,
    /// What was sealed of the request at hand, and at which of its entries.
    sealed: Vec<(usize, SealedPartition)>,
    /// Whether the connection is the bridge's own.
    own: bool,
}

/// A topic that this connection has written to.
struct WriteTopic {
    access: Result<WriteAccess, Reason>,
    lanes: HashMap<i32, Lane>,
    /// Partitions below this number exist.
    partitions: i32,
    /// The generation in which access was decided.
    generation: u64,
}

/// A partition that is not sent on, and what the client hears.
#[derive(Debug)]
pub struct RefusedPartition {
    topic: TopicKey,
    index: i32,
    error_code: i16,
    message: String,
}

/// A partition whose records are sealed, to be told when the broker has acknowledged it.
#[derive(Debug)]
pub struct SealedPartition {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub index: i32,
    /// The session, unless the client has used several of its own.
    pub key_id: Option<KeyId>,
    /// Records and bytes.
    pub sealed: Sealed,
}

/// What must be known of a request when its answer comes.
#[derive(Debug, Default)]
pub struct ProduceNote {
    /// Put into the answer.
    pub refused: Vec<RefusedPartition>,
    /// Told to the audit log; empty when there is none.
    pub sealed: Vec<SealedPartition>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Produced {
    /// To the broker; the refused partitions are added to its answer.
    Forward(Cleared, ProduceNote),
    /// Nothing is left to send: this is the answer.
    Answer(Bytes),
    /// Nothing is left to send and no answer is expected (acks=0): as a broker does, close the connection, so
    /// that the client learns of it.
    Close,
}

impl RefusedPartition {
    fn new(topic: TopicRef<'_>, index: i32, reason: &Reason) -> Self {
        let (error_code, message) = (reason.produce_error_code(), format!("barnabas: {reason}"));
        Self { topic: topic.to_key(), index, error_code, message }
    }

    fn be_told(&mut self, reason: &Reason) {
        (self.error_code, self.message) = (reason.produce_error_code(), format!("barnabas: {reason}"));
    }

    /// In the form that the response takes.
    pub fn as_refused(&self) -> Refused<'_> {
        Refused {
            topic: self.topic.as_topic_ref(),
            index: self.index,
            error_code: self.error_code,
            message: Some(&self.message),
        }
    }
}

impl ProduceChain {
    /// A chain for one connection.
    pub fn new(
        trail: Trail,
        keys: Arc<Keys>,
        (counts, topic_ids): (Arc<Partitions>, Arc<TopicIds>),
        metrics: Arc<Metrics>,
        max_inflated: usize,
    ) -> Self {
        let generation = keys.generation();
        Self {
            principal: trail.principal().clone(),
            keys,
            counts,
            topic_ids,
            metrics,
            topics: HashMap::new(),
            absent: HashMap::new(),
            generation,
            max_inflated,
            scratch: Scratch::default(),
            patience: Instant::now(),
            logged: 0,
            trail,
            sealed: Vec::new(),
            own: false,
        }
    }

    /// The same for a connection that is the bridge's own, which alone may write the topic of the answers that it keeps.
    pub fn for_bridge(self, own: bool) -> Self {
        Self { own, ..self }
    }

    /// The topics that nobody changes through the gateway.
    pub fn own_topics(&self) -> Vec<String> {
        self.keys.own_topics()
    }

    /// The names of sealed topics of a request of which no broker has named a partition yet: to be asked about before
    /// [`Self::clear`], since no key is made for what does not exist.
    pub fn unknown_topics(&mut self, request: &ProduceRequest, frame: &[u8]) -> Result<Vec<Arc<str>>, RewriteError> {
        self.absent.clear();
        let mut unknown: Vec<Arc<str>> = Vec::new();
        for partition in &request.partitions {
            let Ok(name) = self.name(request.topic(frame, partition)?) else { continue };
            if !self.exists(&name, partition.index) && !unknown.contains(&name) && unknown.len() < MOST_ASKED {
                unknown.push(name);
            }
        }
        Ok(unknown)
    }

    /// What the broker says of a topic that it does not name.
    pub fn is_absent(&mut self, topic: &str, error_code: i16) {
        self.absent.insert(topic.into(), error_code);
    }

    /// Decides about every partition of a request.
    pub async fn clear(
        &mut self,
        request: &ProduceRequest,
        header_call: Call,
        frame: Bytes,
    ) -> Result<Produced, RewriteError> {
        self.forget_outdated();
        self.scratch.begin();
        self.patience = Instant::now() + super::DECISION_WAIT;
        self.logged = 0;
        self.sealed.clear();
        self.trail.begin(Api::Produce, header_call.correlation_id.0);
        let mut edits = Vec::new();
        let mut refused = Vec::new();
        let mut turn = Turn::default();
        for (entry, partition) in request.partitions.iter().enumerate() {
            turn.after(partition.records.content.map_or(0, |content| content.len())).await;
            let topic = request.topic(&frame, partition)?;
            match self.partition(topic, (entry, partition), &frame, request.transactional_id.is_some()).await {
                Ok(None) => {}
                Ok(Some(records)) => edits.push((entry, ProduceEdit::Replace(records))),
                Err(reason) => {
                    self.report(topic, partition.index, &reason);
                    refused.push(RefusedPartition::new(topic, partition.index, &reason));
                    edits.push((entry, ProduceEdit::Drop));
                }
            }
        }
        if let Err(unwritten) = self.trail.settle().await {
            // What this request has caused is not in the audit log: nothing of it that needs a key goes on.
            let reason = unwritten.into();
            // Nor is a refusal given that nobody could prove; the client asks again.
            refused.iter_mut().for_each(|partition: &mut RefusedPartition| partition.be_told(&reason));
            for (entry, sealed) in std::mem::take(&mut self.sealed) {
                let Some(partition) = request.partitions.get(entry) else { continue };
                let topic = request.topic(&frame, partition)?;
                self.report(topic, sealed.index, &reason);
                refused.push(RefusedPartition::new(topic, sealed.index, &reason));
                edits.retain(|(edited, _)| *edited != entry);
                edits.push((entry, ProduceEdit::Drop));
            }
        }
        if !refused.is_empty() && (refused.len() == request.partitions.len() || request.acks == 0) {
            if request.acks == 0 {
                return Ok(Produced::Close);
            }
            let all: Vec<Refused<'_>> = refused.iter().map(RefusedPartition::as_refused).collect();
            return Ok(Produced::Answer(error_response(header_call, &all)?));
        }
        let segments = if edits.is_empty() { Segments::whole(frame) } else { request.rebuild(frame, edits)? };
        let sealed = match self.trail.is_on() {
            true => self.sealed.drain(..).map(|(_, sealed)| sealed).collect(),
            false => Vec::new(),
        };
        Ok(Produced::Forward(Cleared(segments), ProduceNote { refused, sealed }))
    }

    /// The sealed records of a partition; `None` when they go as they are.
    async fn partition(
        &mut self,
        topic: TopicRef<'_>,
        (entry, partition): (usize, &ProducePartition),
        frame: &Bytes,
        transactional: bool,
    ) -> Result<Option<Bytes>, Reason> {
        let name = self.name(topic)?;
        if self.own && &*name == IDEMPOTENCY_TOPIC {
            return Ok(None);
        }
        // An open transaction on the keyring would hide what is written behind it from everyone until it ends.
        if transactional && self.keys.keyring_topic() == Some(&*name) {
            return Err(Reason::NotWriter);
        }
        if !self.exists(&name, partition.index) {
            return Err(Reason::Absent(self.absent.get(&name).copied().unwrap_or(UNKNOWN_TOPIC_OR_PARTITION)));
        }
        if self.topics.get(&name).is_none_or(|topic| topic.generation != self.generation) {
            let access = timeout_at(self.patience, self.keys.writer(&self.principal, &name)).await;
            let access = access.unwrap_or(Err(super::NOT_IN_TIME));
            self.trail.decided(&name, Operation::Write, verdict(&access));
            self.remember(name.clone(), access);
        }
        let Some(content) = partition.records.content else {
            return Ok(None);
        };
        let records = content.of(frame).map_err(|_| Reason::Unavailable("request changed"))?;
        for attempt in 0..2 {
            let Some(written) = self.topics.get_mut(&name) else {
                return Err(Reason::Unavailable("topic was forgotten"));
            };
            let (session, compress) = match &written.access {
                Err(reason) => return Err(*reason),
                Ok(WriteAccess::Pass) => return Ok(None),
                Ok(WriteAccess::SealedByClient(rules)) => {
                    let scratch = &mut self.scratch;
                    self.trail.check()?;
                    let check = || check_sealed(records, &**rules, self.max_inflated, scratch);
                    let counts = heavy::work_on(heavy::is_heavy(records), check)?;
                    let (index, key_id, sealed) = (partition.index, counts.key_id, counts.sealed);
                    self.sealed.push((entry, SealedPartition { topic: name, index, key_id, sealed }));
                    return Ok(None);
                }
                Ok(WriteAccess::Seal(session, compress)) => (session.clone(), *compress),
            };
            self.trail.check()?;
            let lanes = &mut written.lanes;
            let terms = SealTerms { partition: partition.index, compress, max_inflated: self.max_inflated };
            let scratch = &mut self.scratch;
            let seal = || seal_with(&session, lanes, records, &terms, scratch);
            let sealed = heavy::work_on(heavy::is_heavy(records), seal);
            match sealed {
                Ok((out, sealed)) => {
                    self.metrics.sealed(sealed.records, sealed.bytes);
                    let (index, key_id) = (partition.index, Some(session.key_id()));
                    self.sealed.push((entry, SealedPartition { topic: name, index, key_id, sealed }));
                    return Ok(Some(out));
                }
                Err(SealError::Session(CryptoError::Rotate(_))) if attempt == 0 => {
                    let rotated = self.keys.rotated(&self.principal, &name, session.key_id());
                    let access = timeout_at(self.patience, rotated).await;
                    self.remember(name.clone(), access.unwrap_or(Err(super::NOT_IN_TIME)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Reason::Unavailable("session is used up"))
    }

    /// Whether a broker has named the partition. Of topics that pass as they are nothing is asked: nothing is made for
    /// them.
    fn exists(&mut self, name: &Arc<str>, index: i32) -> bool {
        if let Some(written) = self.topics.get_mut(name) {
            let passes = matches!(written.access, Ok(WriteAccess::Pass)) && written.generation == self.generation;
            if passes || (0..written.partitions).contains(&index) {
                return true;
            }
            written.partitions = self.counts.count(name);
            if (0..written.partitions).contains(&index) {
                return true;
            }
        }
        !self.keys.may_seal(name) || (0..self.counts.count(name)).contains(&index)
    }

    fn name(&self, topic: TopicRef<'_>) -> Result<Arc<str>, Reason> {
        match topic {
            TopicRef::Name(name) => {
                Ok(self.topics.get_key_value(name).map_or_else(|| Arc::from(name), |(known, _)| known.clone()))
            }
            TopicRef::Id(id) => self.topic_ids.name(&id).ok_or(Reason::UnknownTopicId),
        }
    }

    /// Lanes of a session that is still the right one are kept: a lane is never taken twice, and there are 65,536.
    fn remember(&mut self, name: Arc<str>, access: Result<WriteAccess, Reason>) {
        if self.topics.len() >= super::MOST_TOPICS {
            self.topics.clear();
        }
        let generation = self.generation;
        let fresh = || WriteTopic { access: Ok(WriteAccess::Pass), lanes: HashMap::new(), partitions: 0, generation };
        let topic = self.topics.entry(name).or_insert_with(fresh);
        let same = match (&topic.access, &access) {
            (Ok(WriteAccess::Seal(old, _)), Ok(WriteAccess::Seal(new, _))) => Arc::ptr_eq(old, new),
            _ => false,
        };
        if !same {
            topic.lanes.clear();
        }
        topic.access = access;
        topic.generation = generation;
    }

    /// After a change in keyring or policy every decision is taken anew; one that may be different the next time,
    /// the next time.
    fn forget_outdated(&mut self) {
        self.generation = self.keys.generation();
        self.topics.retain(|_, topic| !matches!(&topic.access, Err(reason) if reason.is_retriable()));
    }

    fn report(&mut self, topic: TopicRef<'_>, partition: i32, reason: &Reason) {
        self.metrics.refused_record(reason.label());
        self.logged += 1;
        // Topics that are still being made are ordinary, and so are ids of those that are gone.
        if matches!(reason, Reason::Absent(_) | Reason::UnknownTopicId) {
            return;
        }
        let name = self.name(topic).map_or_else(|_| String::from("?"), |name| name.to_string());
        self.trail.refused(&name, Operation::Write, (partition, -1), &reason.verdict());
        if self.logged > MOST_LOGGED {
            return;
        }
        tracing::warn!(
            event = "produce_refused",
            principal = %self.principal,
            topic = name,
            partition,
            reason = %reason,
        );
    }
}

fn verdict(access: &Result<WriteAccess, Reason>) -> Verdict {
    match access {
        Ok(WriteAccess::Pass) => Verdict::Passed,
        Ok(WriteAccess::Seal(..)) => Verdict::Granted("sealed"),
        Ok(WriteAccess::SealedByClient(_)) => Verdict::Granted("sealed_by_client"),
        Err(reason) => reason.verdict(),
    }
}

fn seal_with(
    session: &Arc<Session>,
    lanes: &mut HashMap<i32, Lane>,
    records: &[u8],
    terms: &SealTerms,
    scratch: &mut Scratch,
) -> Result<(Bytes, Sealed), SealError> {
    let lane = match lanes.entry(terms.partition) {
        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::hash_map::Entry::Vacant(entry) => entry.insert(session.lane()?),
    };
    // A little more than came: the envelopes of records of a kilobyte. Smaller records make it grow once.
    let mut out = Vec::with_capacity(records.len() + records.len() / 16);
    let sealed = seal_records(records, lane, terms, scratch, &mut out)?;
    Ok((Bytes::from(out), sealed))
}

/// Topics that one request asks the broker about; of others it hears that they are unknown, and asks again.
const MOST_ASKED: usize = 1000;

/// Lines that one request may write to the log: it can name more partitions than a log can bear.
const MOST_LOGGED: usize = 8;
