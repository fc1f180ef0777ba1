//! ShareFetch on its way to the broker (KIP-932): a topic of which the client can be given nothing is not asked for.
//!
//! Arrives: ShareFetch requests of one client. Leaves: the request without such topics, and what the client hears about
//! them in its answer. A broker counts each delivery, and gives a record up after some; a member without a grant would wear
//! them out for the others. What must never happen here: a share session at the broker that holds a topic which was refused.
//! Each connection has one [`ShareChain`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::Cleared;
use super::refusal::Reason;
use super::rewrite::RewriteError;
use super::rewrite::share_fetch::{RefusedShare, ShareFetchRequest, error_response};
use super::topic_ids::{TopicId, TopicIds};
use crate::frame::Call;
use crate::identity::Principal;
use crate::keyring::Keys;
use crate::metrics::Metrics;

/// What a connection keeps between its ShareFetch requests.
pub struct ShareChain {
    principal: Principal,
    keys: Arc<Keys>,
    topic_ids: Arc<TopicIds>,
    metrics: Arc<Metrics>,
    session: Session,
    verdicts: HashMap<TopicId, Verdict>,
    /// Until when decisions about the request at hand are waited for.
    patience: Instant,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Shared {
    /// To the broker; the refused partitions are added to its answer.
    Forward(Cleared, Vec<RefusedShare>),
    /// This is the answer.
    Answer(Bytes),
}

/// The share session that was opened on this connection: the client names a partition once.
#[derive(Default)]
struct Session {
    /// Group and member, as they stand on the wire; empty when there is none.
    member: Vec<u8>,
    /// What the client has in it.
    partitions: BTreeMap<TopicId, BTreeSet<i32>>,
    /// What the broker has in it.
    asked: BTreeSet<TopicId>,
}

/// Whether a topic may be read, as of a generation.
struct Verdict {
    generation: u64,
    outcome: Result<(), Reason>,
}

impl ShareChain {
    /// A chain for one connection of `principal`.
    pub fn new(principal: Principal, keys: Arc<Keys>, topic_ids: Arc<TopicIds>, metrics: Arc<Metrics>) -> Self {
        let (session, verdicts, patience) = (Session::default(), HashMap::new(), Instant::now());
        Self { principal, keys, topic_ids, metrics, session, verdicts, patience }
    }

    /// The topic ids of a request and of its session whose names are not known yet: to be asked for before
    /// [`Self::clear`].
    pub fn unknown_ids(&self, request: &ShareFetchRequest) -> Vec<TopicId> {
        let named = request.topics.iter().map(|topic| &topic.id).chain(self.session.partitions.keys());
        let unknown: BTreeSet<TopicId> = named.filter(|id| self.topic_ids.name(id).is_none()).copied().collect();
        unknown.into_iter().collect()
    }

    /// Decides about every topic of the session.
    pub async fn clear(
        &mut self,
        request: &ShareFetchRequest,
        call: Call,
        frame: Bytes,
    ) -> Result<Shared, RewriteError> {
        let member = request.member.of(&frame)?;
        if request.session_epoch == CLOSING {
            // It acknowledges, and takes no record.
            self.session = Session::default();
            return Ok(Shared::Forward(Cleared::pass(call, frame)?, Vec::new()));
        }
        if request.session_epoch == OPENING {
            self.session = Session { member: member.to_vec(), ..Session::default() };
        }
        if self.session.member != member || !self.session.take(request) {
            return self.anew(call);
        }
        self.patience = Instant::now() + super::DECISION_WAIT;
        self.verdicts.retain(|id, _| self.session.partitions.contains_key(id));
        let topics: Vec<TopicId> = self.session.partitions.keys().copied().collect();
        let mut refused = Vec::new();
        for id in &topics {
            let outcome = self.verdict(id).await;
            let named = || request.topics.iter().any(|topic| topic.id == *id);
            match outcome {
                // The broker's session has it, or lacks it, and only the client can change that: by another one.
                Err(_) if self.session.asked.contains(id) => return self.anew(call),
                Ok(()) if !self.session.asked.contains(id) && !named() => return self.anew(call),
                Ok(()) => {
                    self.session.asked.insert(*id);
                }
                Err(reason) => refused.extend(self.session.refused(id, reason.error_code())),
            }
        }
        let segments = request.rebuild(frame, |id| !self.session.asked.contains(id))?;
        // Only now: what is taken out may be acknowledged in the same request.
        self.session.asked.retain(|id| self.session.partitions.contains_key(id));
        Ok(Shared::Forward(Cleared(segments), refused))
    }

    /// The client opens its session anew, and names all its partitions again.
    fn anew(&mut self, call: Call) -> Result<Shared, RewriteError> {
        self.session = Session::default();
        let message = "barnabas: what may be read has changed";
        Ok(Shared::Answer(error_response(call, SHARE_SESSION_NOT_FOUND, Some(message))?))
    }

    async fn verdict(&mut self, id: &TopicId) -> Result<(), Reason> {
        let generation = self.keys.generation();
        let before = self.verdicts.get(id);
        if let Some(known) = before.filter(|known| known.generation == generation)
            && !matches!(&known.outcome, Err(reason) if reason.is_retriable() || *reason == Reason::UnknownTopicId)
        {
            return known.outcome;
        }
        let before = before.map(|known| known.outcome);
        let outcome = self.decide(id).await;
        if let Err(reason) = &outcome
            && before != Some(outcome)
        {
            self.report(id, reason);
        }
        self.verdicts.insert(*id, Verdict { generation, outcome });
        outcome
    }

    async fn decide(&self, id: &TopicId) -> Result<(), Reason> {
        let name = self.topic_ids.name(id).ok_or(Reason::UnknownTopicId)?;
        // It passes for those who follow it with keys of their own; no group shares it.
        if self.keys.is_keyring(&name) {
            return Err(Reason::NoGrant);
        }
        let access = timeout_at(self.patience, self.keys.reader(&self.principal, &name)).await;
        access.unwrap_or(Err(super::NOT_IN_TIME)).map(|_| ())
    }

    fn report(&self, id: &TopicId, reason: &Reason) {
        self.metrics.refused_record(reason.label());
        let name = self.topic_ids.name(id);
        let topic = name.as_deref().unwrap_or("?");
        tracing::warn!(event = "share_fetch_refused", principal = %self.principal, topic, reason = %reason);
    }
}

impl Session {
    /// Takes partitions in and out; false when there are too many.
    fn take(&mut self, request: &ShareFetchRequest) -> bool {
        for partition in &request.partitions {
            self.partitions.entry(partition.topic).or_default().insert(partition.index);
        }
        for (topic, index) in &request.forgotten {
            if let Some(indexes) = self.partitions.get_mut(topic) {
                indexes.remove(index);
                if indexes.is_empty() {
                    self.partitions.remove(topic);
                }
            }
        }
        self.partitions.values().map(BTreeSet::len).sum::<usize>() <= super::rewrite::MAX_ENTRIES
    }

    fn refused(&self, topic: &TopicId, error_code: i16) -> Vec<RefusedShare> {
        let indexes = self.partitions.get(topic).into_iter().flatten();
        indexes.map(|index| RefusedShare { topic: *topic, index: *index, error_code }).collect()
    }
}

/// The epoch that opens a share session.
const OPENING: i32 = 0;
/// The epoch that closes one.
const CLOSING: i32 = -1;
/// Kafka's `Errors` enum: the client opens a new session with all its partitions.
const SHARE_SESSION_NOT_FOUND: i16 = 122;
