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
use crate::audit::event::{self, Api, Operation, Trail};
use crate::frame::Call;
use crate::identity::Principal;
use crate::keyring::{Keys, ReadAccess};
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
    /// What the audit log hears.
    trail: Trail,
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
    /// A chain for one connection.
    pub fn new(trail: Trail, keys: Arc<Keys>, topic_ids: Arc<TopicIds>, metrics: Arc<Metrics>) -> Self {
        let (session, verdicts, patience) = (Session::default(), HashMap::new(), Instant::now());
        let principal = trail.principal().clone();
        Self { principal, keys, topic_ids, metrics, session, verdicts, patience, trail }
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
        self.trail.begin(Api::ShareFetch, call.correlation_id.0);
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
        if self.trail.settle().await.is_err() {
            return self.anew(call);
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
        let access = self.decide(id).await;
        if let Some(name) = self.topic_ids.name(id) {
            self.trail.decided(&name, Operation::Read, told(&access));
        }
        let outcome = access.map(|_| ());
        if let Err(reason) = &outcome
            && before != Some(outcome)
        {
            self.report(id, reason);
        }
        self.verdicts.insert(*id, Verdict { generation, outcome });
        outcome
    }

    async fn decide(&self, id: &TopicId) -> Result<ReadAccess, Reason> {
        let name = self.topic_ids.name(id).ok_or(Reason::UnknownTopicId)?;
        // It passes for those who follow it with keys of their own; no group shares it.
        if self.keys.is_keyring(&name) {
            return Err(Reason::NoGrant);
        }
        let access = timeout_at(self.patience, self.keys.reader(&self.principal, &name)).await;
        access.unwrap_or(Err(super::NOT_IN_TIME))
    }

    fn report(&mut self, id: &TopicId, reason: &Reason) {
        self.metrics.refused_record(reason.label());
        let name = self.topic_ids.name(id);
        let topic = name.as_deref().unwrap_or("?");
        self.trail.refused(topic, Operation::Read, (-1, -1), &reason.verdict());
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

fn told(access: &Result<ReadAccess, Reason>) -> event::Verdict {
    match access {
        Ok(ReadAccess::Pass) => event::Verdict::Passed,
        Ok(_) => event::Verdict::Granted("shared"),
        Err(reason) => reason.verdict(),
    }
}

/// The epoch that opens a share session.
const OPENING: i32 = 0;
/// The epoch that closes one.
const CLOSING: i32 = -1;
/// Kafka's `Errors` enum: the client opens a new session with all its partitions.
const SHARE_SESSION_NOT_FOUND: i16 = 122;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use barnabas_crypto::VerifyingKey;
    use bytes::BytesMut;
    use kafka_protocol::messages::share_fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
    use kafka_protocol::messages::{GroupId, RequestHeader as OracleHeader, ShareFetchRequest as Oracle};
    use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
    use uuid::Uuid;

    use std::sync::LazyLock;

    use super::*;
    use crate::audit::event::Audit;
    use crate::chain::topic_ids::BrokerTopicId;
    use crate::config::{Config, Policy};
    use crate::frame::RequestHeader;
    use crate::keyring::LiveKeyring;

    static OPEN: LazyLock<u128> = LazyLock::new(|| shown(1, "open"));
    static CLOSED: LazyLock<u128> = LazyLock::new(|| shown(2, "closed"));

    /// An id that nobody has named; the greatest, so that it comes last.
    const STRANGE: u128 = u128::MAX;

    /// The id under which clients know a topic.
    fn shown(given: u128, name: &str) -> u128 {
        u128::from_be_bytes(TopicIds::default().learn(BrokerTopicId(given.to_be_bytes()), name).unwrap())
    }

    /// A policy under which only `topic` passes.
    fn policy(topic: &str) -> Policy {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listeners:\n  - {{ name: a, bind: '127.0.0.1:9192', cluster: p, tls: off, advertised_host: localhost, \
             brokers: {{ by: port, first_port: 9193, first_node_id: 0, count: 2 }} }}\nclusters:\n  - {{ name: p, \
             bootstrap_servers: ['127.0.0.1:9092'], tls: off }}\nstreams: {{ default: refuse, rules: [{{ topic: {topic}, seal: \
             false }}] }}\n"
        );
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, &[]).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).policy
    }

    fn chain() -> ShareChain {
        let metrics = Arc::new(Metrics::default());
        let live = Arc::new(LiveKeyring::new(VerifyingKey::from_bytes([0; 32]), metrics.clone()));
        let keys = Arc::new(Keys::new(policy("open"), live, None, metrics.clone()));
        let ids = Arc::new(TopicIds::default());
        ids.learn(BrokerTopicId(1u128.to_be_bytes()), "open").unwrap();
        ids.learn(BrokerTopicId(2u128.to_be_bytes()), "closed").unwrap();
        let trail = Trail::new(Audit::off(), Principal::user("alice").into(), Api::ShareFetch);
        ShareChain::new(trail, keys, ids, metrics)
    }

    fn message(member: &str, epoch: i32, topics: &[u128]) -> Oracle {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let topic = |id: &u128| {
            let partitions = vec![FetchPartition::default().with_partition_index(4)];
            FetchTopic::default().with_topic_id(Uuid::from_u128(*id)).with_partitions(partitions)
        };
        Oracle::default()
            .with_group_id(Some(GroupId(text("share"))))
            .with_member_id(Some(text(member)))
            .with_share_session_epoch(epoch)
            .with_topics(topics.iter().map(topic).collect())
    }

    /// The topics that go to the broker and those that are refused; `None` when the client is to begin anew.
    async fn clear(chain: &mut ShareChain, message: &Oracle) -> Option<(Vec<u128>, Vec<u128>)> {
        let mut frame = BytesMut::new();
        let header = OracleHeader::default().with_request_api_key(78).with_request_api_version(1);
        header.encode(&mut frame, Oracle::header_version(1)).unwrap();
        message.encode(&mut frame, 1).unwrap();
        let frame = frame.freeze();
        let header = RequestHeader::parse(&frame).unwrap();
        let (call, request) = (header.call, ShareFetchRequest::walk(&frame, &header).unwrap());
        match chain.clear(&request, call, frame.clone()).await.unwrap() {
            Shared::Answer(answer) => {
                assert!(answer.windows(2).any(|code| code == SHARE_SESSION_NOT_FOUND.to_be_bytes()));
                None
            }
            Shared::Forward(cleared, refused) => {
                let mut sent = cleared.into_segments().into_bytes();
                OracleHeader::decode(&mut sent, Oracle::header_version(1)).unwrap();
                let asked = Oracle::decode(&mut sent, 1).unwrap().topics;
                let refused = refused.iter().map(|share| u128::from_be_bytes(share.topic)).collect();
                Some((asked.iter().map(|topic| topic.topic_id.as_u128()).collect(), refused))
            }
        }
    }

    #[tokio::test]
    async fn a_refused_topic_is_never_in_the_brokers_session_and_always_in_the_answer() {
        let mut chain = chain();
        let first = clear(&mut chain, &message("m", 0, &[*OPEN, *CLOSED])).await;
        assert_eq!(first, Some((vec![*OPEN], vec![*CLOSED])));
        assert_eq!(clear(&mut chain, &message("m", 1, &[])).await, Some((vec![], vec![*CLOSED])));
        // An unknown id has no name that could be allowed.
        assert_eq!(clear(&mut chain, &message("m", 2, &[STRANGE])).await, Some((vec![], vec![*CLOSED, STRANGE])));
        let forget = ForgottenTopic::default().with_topic_id(Uuid::from_u128(*CLOSED)).with_partitions(vec![4]);
        let forgetful = message("m", 3, &[]).with_forgotten_topics_data(vec![forget]);
        assert_eq!(clear(&mut chain, &forgetful).await, Some((vec![], vec![STRANGE])));
        assert_eq!(clear(&mut chain, &message("m", CLOSING, &[])).await, Some((vec![], vec![])));
    }

    #[tokio::test]
    async fn another_right_or_another_member_needs_another_session() {
        let mut chain = chain();
        assert_eq!(clear(&mut chain, &message("m", 1, &[])).await, None, "it was not opened here");
        clear(&mut chain, &message("m", 0, &[*OPEN, *CLOSED])).await.unwrap();
        assert_eq!(clear(&mut chain, &message("other", 1, &[])).await, None);
        clear(&mut chain, &message("m", 0, &[*OPEN])).await.unwrap();
        chain.keys.replace_policy(policy("closed"));
        assert_eq!(clear(&mut chain, &message("m", 1, &[])).await, None, "the broker's session has what is refused");
        let again = clear(&mut chain, &message("m", 0, &[*OPEN, *CLOSED])).await;
        assert_eq!(again, Some((vec![*CLOSED], vec![*OPEN])));
        chain.keys.replace_policy(policy("open"));
        assert_eq!(clear(&mut chain, &message("m", 1, &[])).await, None);
    }
}
