//! What the bridge asks Kafka itself, for one principal: topics, partitions, offsets, settings.
//!
//! Arrives: a [`Question`]. Leaves: the broker's answer, as the gateway gives it to this principal. Each question is one Kafka API, in
//! a file of its own; connections are pipes into the gateway, kept while they are used. What must never happen here: a count
//! believed that a broker wrote, or an answer taken for another question's.

pub mod metadata;
pub mod describe_configs;
pub mod list_offsets;
pub mod describe_cluster;
pub mod create_topics;
pub mod delete_topics;
pub mod create_partitions;
pub mod alter_configs;
pub mod reassignments;
pub mod groups;
pub mod group_offsets;
pub mod acls;
pub mod verdict;
pub mod fetch;
pub mod init_producer_id;
pub mod add_partitions_to_txn;
pub mod produce;
pub mod end_txn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

use self::list_offsets::ListOffsets;
use self::metadata::{Metadata, Topic};
use super::inner::Inner;
use super::{Code, Error, refusal};
use crate::chain::rewrite::api_versions::{self, OfferedApi};
use crate::connection::read::{FrameReader, ReadError};
use crate::frame::{
    ApiKey, ApiVersion, Call, CorrelationId, Cursor, Encoding, ResponseHeader, Segments, WireError, api,
};
use crate::identity::Principal;
use crate::router::Target;

/// A request of one Kafka API, and how its answer is read.
pub trait Question {
    /// What is asked for.
    type Answer;

    /// The API.
    const API: ApiKey;

    /// The versions that are written and read here.
    const VERSIONS: std::ops::RangeInclusive<i16>;

    /// Writes the body.
    ///
    /// # Errors
    /// When something does not fit its field.
    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError>;

    /// Reads the body of the answer.
    ///
    /// # Errors
    /// When it is none.
    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Self::Answer, WireError>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The connection ended: no broker, or none that answers.
    #[error("no broker answers")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The broker took too long.
    #[error("no broker has answered within {0:?}")]
    Late(Duration),
    /// A frame that is none.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The broker is too old, or too new.
    #[error("brokers do not offer {0} in a version that is known here")]
    Unsupported(&'static str),
    /// A message that is none.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unsupported(_) => Code::Kafka.with(error.to_string()),
            AskError::Wire(_) | AskError::Read(ReadError::Length { .. }) => {
                Code::Kafka.with("a broker's answer is malformed")
            }
            AskError::Late(_) => Code::KafkaRetriable.with(error.to_string()),
            AskError::Closed | AskError::Io(_) | AskError::Read(_) => Code::KafkaRetriable.with("no broker answers"),
        }
    }
}

/// The questions of one principal.
pub struct Kafka {
    inner: Arc<Inner>,
    principal: Principal,
    limit: Duration,
    /// Whether what it asks is the bridge's own, of which the gateway keeps clients away.
    own: bool,
    idle: Mutex<HashMap<i32, Vec<Link>>>,
}

impl Kafka {
    /// Asks as `principal`, and waits `limit` at most.
    pub fn new(inner: Arc<Inner>, principal: Principal, limit: Duration) -> Self {
        Self { inner, principal, limit, own: false, idle: Mutex::default() }
    }

    /// The same for what the bridge asks on its own account: the topic of the answers that it keeps.
    pub fn own(inner: Arc<Inner>, principal: Principal, limit: Duration) -> Self {
        Self { own: true, ..Self::new(inner, principal, limit) }
    }

    /// A topic as the brokers describe it to this principal.
    ///
    /// # Errors
    /// `TopicNotFound`, `Forbidden`, or that Kafka does not answer.
    pub async fn topic(&self, name: &str) -> Result<Topic, Error> {
        let cluster = self.ask(&Metadata { topics: Some(&[name]) }).await?;
        match cluster.topics.into_iter().find(|found| found.name == name) {
            Some(found) if found.error_code == 0 => Ok(found),
            Some(found) => Err(refusal::of_topic(found.error_code, name)),
            None => Err(refusal::topic_not_found(name)),
        }
    }

    /// An offset of one partition, by [`ListOffsets::timestamp`], asked of its leader.
    ///
    /// # Errors
    /// Kafka's, or that it does not answer.
    pub async fn offset(&self, topic: &str, (leader, partition): (i32, i32), timestamp: i64) -> Result<i64, Error> {
        match self.ask_node(leader, &ListOffsets { topic, partition, timestamp }).await? {
            (0, offset) => Ok(offset),
            (error_code, _) => Err(refusal::of_answer(error_code, &format!("partition {partition}"))),
        }
    }

    /// Asks any broker.
    ///
    /// # Errors
    /// [`AskError`], for each reason why there is no answer.
    pub async fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, AskError> {
        self.ask_node(ANY, question).await
    }

    /// Asks the broker with this node id; a negative one is any broker.
    ///
    /// # Errors
    /// [`AskError`], for each reason why there is no answer.
    pub async fn ask_node<Q: Question>(&self, node_id: i32, question: &Q) -> Result<Q::Answer, AskError> {
        let answered = tokio::time::timeout(self.limit, self.attempt(node_id, question)).await;
        answered.unwrap_or(Err(AskError::Late(self.limit)))
    }

    /// Whether a name holds that of the gateway's own topic, which nobody changes through it.
    pub fn names_own_topic(&self, name: &str) -> bool {
        self.inner.names_own_topic(name)
    }

    /// A connection that was kept may have ended meanwhile: then a new one is tried.
    async fn attempt<Q: Question>(&self, node_id: i32, question: &Q) -> Result<Q::Answer, AskError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&node_id).and_then(Vec::pop);
        if let Some(mut link) = kept
            && let Ok(answer) = link.ask(question).await
        {
            self.keep(node_id, link);
            return Ok(answer);
        }
        let target = if node_id < 0 { Target::Bootstrap } else { Target::Node(node_id) };
        let mut link = Link::open(self.inner.pipe(self.principal.clone(), target, self.own)).await?;
        let answer = link.ask(question).await?;
        self.keep(node_id, link);
        Ok(answer)
    }

    fn keep(&self, node_id: i32, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let most = if self.own { MOST_IDLE } else { 1 };
        if idle.len() < MOST_IDLE || idle.contains_key(&node_id) {
            let links = idle.entry(node_id).or_default();
            if links.len() < most {
                links.push(link);
            }
        }
    }
}

/// One connection, one question at a time.
pub(super) struct Link {
    frames: FrameReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    offered: Vec<OfferedApi>,
    correlation: i32,
}

/// The newest version of an API that a broker offers and that is known here.
///
/// # Errors
/// `Unsupported`, where there is none.
pub(super) fn version_of(
    offered: &[OfferedApi],
    api: ApiKey,
    versions: std::ops::RangeInclusive<i16>,
) -> Result<i16, AskError> {
    let unsupported = || AskError::Unsupported(api::find(api).map_or("an unknown API", |api| api.name));
    let offered = offered.iter().find(|offered| offered.key == api).ok_or_else(unsupported)?;
    let version = offered.newest.min(*versions.end());
    Some(version).filter(|version| *version >= offered.oldest.max(*versions.start())).ok_or_else(unsupported)
}

impl Link {
    /// Asks what the broker at the other end offers.
    pub(super) async fn open(pipe: DuplexStream) -> Result<Self, AskError> {
        let (read, write) = tokio::io::split(pipe);
        let mut link =
            Self { frames: FrameReader::new(read, MOST_ANSWER_BYTES), write, offered: Vec::new(), correlation: 0 };
        let call = link.call(api::API_VERSIONS, 0);
        let request = api_versions::request(call, CLIENT_ID).map_err(malformed)?;
        let frame = link.exchange(request).await?;
        let header = ResponseHeader::parse(&frame, call)?;
        let (_, offered) = api_versions::decode(&frame, &header).map_err(malformed)?;
        link.offered = offered;
        Ok(link)
    }

    /// Asks one question.
    pub(super) async fn ask<Q: Question>(&mut self, question: &Q) -> Result<Q::Answer, AskError> {
        let version = version_of(&self.offered, Q::API, Q::VERSIONS)?;
        let call = self.call(Q::API, version);
        let mut request = BytesMut::new();
        call.put_request_header(&mut request, CLIENT_ID)?;
        question.put(&mut request, version, call.encoding()?)?;
        let frame = self.exchange(request.freeze()).await?;
        let header = ResponseHeader::parse(&frame, call)?;
        if header.call.correlation_id != call.correlation_id {
            return Err(AskError::Closed);
        }
        Q::read(&mut header.cursor(&frame), version).map_err(AskError::from)
    }

    fn call(&mut self, api_key: ApiKey, version: i16) -> Call {
        self.correlation = self.correlation.wrapping_add(1);
        Call { api_key, version: ApiVersion(version), correlation_id: CorrelationId(self.correlation) }
    }

    async fn exchange(&mut self, request: Bytes) -> Result<Bytes, AskError> {
        let mut framed = Segments::whole(request).framed()?;
        self.write.write_all_buf(&mut framed).await?;
        self.write.flush().await?;
        Ok(self.frames.next().await?.ok_or(AskError::Closed)?.freeze())
    }
}

pub(super) fn malformed(error: crate::chain::rewrite::RewriteError) -> AskError {
    match error {
        crate::chain::rewrite::RewriteError::Wire(error) => AskError::Wire(error),
        _ => AskError::Closed,
    }
}

/// Reads an array whose elements take at least `smallest` bytes each; null counts as empty.
fn read_array<T>(
    cursor: &mut Cursor<'_>,
    (field, smallest): (&'static str, usize),
    mut element: impl FnMut(&mut Cursor<'_>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = cursor.nullable_count(field, smallest)?.unwrap_or(0);
    let mut elements = Vec::new();
    for _ in 0..count {
        elements.push(element(cursor)?);
    }
    Ok(elements)
}

/// Writes BOOLEAN.
fn put_bool(out: &mut BytesMut, value: bool) {
    out.put_u8(u8::from(value));
}

/// Any broker.
pub const ANY: i32 = -1;

/// What brokers see in their request logs.
const CLIENT_ID: &str = "barnabas-rest";

/// Connections that one principal keeps for its next question.
const MOST_IDLE: usize = 8;

/// A hundred thousand partitions with their replicas.
const MOST_ANSWER_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests;
