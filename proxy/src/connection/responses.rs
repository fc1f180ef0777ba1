//! The way back: answers of the broker, and the gateway's own, in the order of the requests.
//!
//! Arrives: what is due, and frames of the broker. Leaves: answers to the client, with addresses rewritten and
//! records opened. What must never happen here: an answer given to another request than its own, an address of a
//! broker in the clear, bytes of a sealed stream that were not opened.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant as TimerInstant, Sleep, sleep};

use super::Ended;
use super::in_flight::{Due, Entry, Note};
use super::memory::{Hold, Memory, Way};
use super::read::FrameReader;
use crate::audit::event::{Api, Counts, Status, Use};
use crate::chain::fetch::FetchChain;
use crate::chain::partitions::Partitions;
use crate::chain::produce::{ProduceNote, RefusedPartition, SealedPartition};
use crate::chain::rewrite::ids::{self, IdSpan};
use crate::chain::rewrite::produce::{ProduceResponse, Refused};
use crate::chain::rewrite::{
    AddressBook, RewriteError, TopicRef, api_versions, describe_cluster, find_coordinator, metadata, share_acknowledge,
    topology,
};
use crate::chain::topic_ids::{BrokerTopicId, TopicIds};
use crate::frame::{ApiKey, Call, ResponseHeader, Segments, api};
use crate::metrics::Metrics;

/// The response side of one connection.
pub struct Responses<R, W> {
    /// Frames of the broker.
    pub broker: FrameReader<R>,
    /// Towards the client.
    pub client: W,
    /// What is due.
    pub in_flight: mpsc::Receiver<Entry>,
    /// Policy and opening.
    pub fetch: FetchChain,
    /// Where brokers are reached through the gateway.
    pub book: Arc<dyn AddressBook>,
    /// Ids and names of the cluster's topics.
    pub topic_ids: Arc<TopicIds>,
    /// Which topics the cluster has.
    pub partitions: Arc<Partitions>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Room for answers that grow.
    pub memory: Arc<Memory>,
    /// What one answer may hold with what is made of it.
    pub most_bytes: usize,
    /// How long the broker is waited for.
    pub patience: Patience,
    /// Set when the broker has answered this client: it is known from then on.
    pub known: Arc<AtomicBool>,
}

/// Bounds the wait for a broker with one timer for the whole connection: an answer in time costs nothing.
pub struct Patience {
    limit: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Patience {
    /// Waits `limit` for each answer.
    pub fn new(limit: Duration) -> Self {
        Self { limit, alarm: Box::pin(sleep(limit)) }
    }

    /// What `wait` gives, or `None` when it takes longer than the limit. Clients that join a group are answered when
    /// the others have come, for which Kafka's clients allow minutes.
    async fn bound<T>(&mut self, call: Call, wait: impl Future<Output = T>) -> Result<T, super::Error> {
        let waited = self.limit * if WAITING.contains(&call.api_key) { WAITING_FACTOR } else { 1 };
        let mut wait = std::pin::pin!(wait);
        let due = TimerInstant::now() + waited;
        if self.alarm.deadline() > due {
            self.alarm.as_mut().reset(due);
        }
        loop {
            tokio::select! {
                biased;
                done = &mut wait => return Ok(done),
                () = &mut self.alarm => {}
            }
            // It may have rung for an earlier answer, which came.
            if TimerInstant::now() >= due {
                return Err(super::Error::Silent { call, waited });
            }
            self.alarm.as_mut().reset(due);
        }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Responses<R, W> {
    /// Delivers answers until none is due any more and the request side has ended, or something fails.
    pub async fn run(&mut self) -> Result<Ended, super::Error> {
        loop {
            self.fetch.usage.tell_if_over();
            let entry = tokio::select! {
                biased;
                entry = self.in_flight.recv() => entry,
                () = self.fetch.usage.over() => {
                    self.fetch.usage.tell();
                    continue;
                }
                // Nothing is due: the broker may close, but has nothing to say.
                read = self.broker.fill() => match read {
                    Ok(0) => return Ok(Ended::ByBroker),
                    Ok(_) => self.in_flight.recv().await,
                    Err(error) => return Err(super::Error::Upstream(error)),
                },
            };
            let Some(entry) = entry else {
                self.client.shutdown().await.ok();
                return Ok(Ended::Drained);
            };
            match entry.due {
                Due::Own(answer) => self.send(Segments::whole(answer), &Hold::default()).await?,
                Due::Asked(call, tell) => {
                    let frame = self.broker_answer(call).await?.0.freeze();
                    self.learn(&frame, call)?;
                    tell.send(frame).ok();
                }
                Due::Broker(call, note) => {
                    let (frame, read, hold) = self.broker_answer(call).await?;
                    let length = frame.len();
                    let answer = self.answer(frame, call, note).await?;
                    let _grown = self.room_for(length, answer.len())?;
                    self.known.store(true, Ordering::Release);
                    self.send(answer, &hold).await?;
                    self.metrics.response_added(call, read.elapsed(), entry.since.elapsed());
                }
            }
        }
    }

    /// The broker's next frame, which must be the answer to `call`, when it had been read, and its room.
    async fn broker_answer(&mut self, call: Call) -> Result<(BytesMut, Instant, Hold), super::Error> {
        let answered = {
            let mut answered = std::pin::pin!(self.patience.bound(call, self.broker.next()));
            loop {
                tokio::select! {
                    biased;
                    answered = &mut answered => break answered?,
                    () = self.fetch.usage.over() => self.fetch.usage.tell(),
                }
            }
        };
        let frame: BytesMut = answered.map_err(super::Error::from_broker)?.ok_or(super::Error::Closed)?;
        let hold = self.broker.take_hold();
        let read = Instant::now();
        let correlation_id = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        if correlation_id != Some(call.correlation_id.0) {
            return Err(super::Error::Unpaired { call, answered: correlation_id });
        }
        Ok((frame, read, hold))
    }

    /// Room for what an answer has become longer by.
    fn room_for(&self, before: usize, after: usize) -> Result<Hold, super::Error> {
        if after > self.most_bytes {
            return Err(super::Error::Grown { length: after, limit: self.most_bytes });
        }
        self.memory.grow(Way::Answer, before, after).ok_or(super::Error::NoMemory { length: after })
    }

    async fn answer(&mut self, mut frame: BytesMut, call: Call, note: Note) -> Result<Segments, super::Error> {
        let book = self.book.clone();
        let book: &dyn AddressBook = &*book;
        let header = ResponseHeader::parse(&frame, call).map_err(RewriteError::from)?;
        self.name_as_client(&mut frame, &header)?;
        match (call.api_key, note) {
            (api::FETCH, Note::Fetch(note)) => Ok(self.fetch.open(frame, &header, note, book).await?),
            (api::SHARE_FETCH, Note::Share(refused)) => {
                Ok(self.fetch.open_shared(frame, &header, &refused, book).await?)
            }
            (_, note) => self.rewritten(frame.freeze(), &header, note, book),
        }
    }

    /// Puts the ids that clients see where the broker has written its own. From here on the answer is in the client's terms.
    fn name_as_client(&self, frame: &mut BytesMut, header: &ResponseHeader) -> Result<(), super::Error> {
        if !ids::has_ids(header.call) {
            return Ok(());
        }
        let (named, alone): (Vec<IdSpan>, Vec<IdSpan>) =
            ids::of_response(frame, header)?.into_iter().partition(|place| place.name.is_some());
        for (id, name) in named.iter().filter_map(|place| Some((place.id, place.name?))) {
            let name = std::str::from_utf8(name.of(frame).map_err(RewriteError::from)?).unwrap_or_default();
            let given = id.of(frame).map_err(RewriteError::from)?;
            let given = BrokerTopicId(given.try_into().unwrap_or_default());
            let shown = self.topic_ids.learn(given, name)?;
            id.of_mut(frame).map_err(RewriteError::from)?.copy_from_slice(&shown);
        }
        let unnamed = self.topic_ids.to_client(frame, &alone).map_err(RewriteError::from)?;
        // What the client has sent itself comes back as it is. An assignment that it could not understand it would wait for in
        // vain; after a new connection it names its subscription again, and that is asked about.
        match unnamed.is_empty() || !ASSIGNING.contains(&header.call.api_key) {
            true => Ok(()),
            false => Err(super::Error::Unnamed(header.call)),
        }
    }

    /// An answer without records that could be opened.
    fn rewritten(
        &mut self,
        frame: Bytes,
        header: &ResponseHeader,
        note: Note,
        book: &dyn AddressBook,
    ) -> Result<Segments, super::Error> {
        let call = header.call;
        let segments = match (call.api_key, note) {
            // Records and the answers about them never pass unlooked at, whatever went wrong before.
            (api::FETCH | api::SHARE_FETCH, _) | (api::PRODUCE, Note::Plain | Note::Fetch(_) | Note::Share(_)) => {
                return Err(super::Error::Refused(call));
            }
            (api::PRODUCE, Note::Produce(note)) => self.produced(frame, header, &note, book)?,
            (api::API_VERSIONS, _) => api_versions::rewrite(frame, header)?,
            (api::METADATA, _) => {
                metadata::rewrite(frame, header, book, |name, count| self.partitions.learn(name, count))?
            }
            (api::FIND_COORDINATOR, _) => find_coordinator::rewrite(frame, header, book)?,
            (api::DESCRIBE_CLUSTER, _) => describe_cluster::rewrite(frame, header, book)?,
            (api::SHARE_ACKNOWLEDGE, _) => share_acknowledge::rewrite(frame, header, book)?,
            _ => Segments::whole(frame),
        };
        Ok(segments)
    }

    fn produced(
        &mut self,
        frame: Bytes,
        header: &ResponseHeader,
        note: &ProduceNote,
        book: &dyn AddressBook,
    ) -> Result<Segments, RewriteError> {
        let refused: Vec<Refused<'_>> = note.refused.iter().map(RefusedPartition::as_refused).collect();
        let response = ProduceResponse::walk(&frame, header)?;
        if !note.sealed.is_empty() {
            self.note_acknowledged(&frame, &response, &note.sealed)?;
        }
        response.rebuild(frame, &refused, book)
    }

    /// Counts what the broker says of sealed records. Brokers answer in the order of the request, or nearly.
    fn note_acknowledged(
        &mut self,
        frame: &[u8],
        response: &ProduceResponse,
        sealed: &[SealedPartition],
    ) -> Result<(), RewriteError> {
        let mut at = 0;
        for partition in &response.partitions {
            let topic = response.topic(frame, partition)?;
            let by_id = match topic {
                TopicRef::Id(id) => self.topic_ids.name(&id),
                TopicRef::Name(_) => None,
            };
            let is_meant = |one: &SealedPartition| {
                let name = match topic {
                    TopicRef::Name(name) => Some(name),
                    TopicRef::Id(_) => by_id.as_deref(),
                };
                one.index == partition.index && name == Some(&*one.topic)
            };
            let (before, from) = sealed.split_at_checked(at).unwrap_or_default();
            let found = from.iter().chain(before).position(is_meant).map(|steps| (at + steps) % sealed.len());
            let Some((place, one)) = found.and_then(|place| Some((place, sealed.get(place)?))) else { continue };
            at = place + 1;
            let (records, bytes) = (one.sealed.records, one.sealed.bytes);
            let last = i64::try_from(records).unwrap_or(i64::MAX).saturating_sub(1);
            let stored = partition.error_code == 0;
            let offsets = (stored && partition.base_offset >= 0)
                .then(|| (partition.base_offset, partition.base_offset.saturating_add(last)));
            let outcome = match stored {
                true => Use { status: Status::Success, reason: "acknowledged" },
                false => Use { status: Status::Failure, reason: "broker_refused" },
            };
            let counts = Counts { records, bytes, batches: 1, offsets };
            self.fetch.usage.note((&one.topic, one.index), one.key_id, (Api::Produce, outcome), counts);
        }
        Ok(())
    }

    /// Takes topics out of the answer to a Metadata request of the gateway's own.
    fn learn(&self, frame: &Bytes, call: Call) -> Result<(), super::Error> {
        let header = ResponseHeader::parse(frame, call).map_err(RewriteError::from)?;
        for topic in topology::decode(frame, &header)?.topics {
            if let (Some(name), 0) = (topic.name, topic.error_code) {
                self.partitions.learn(&name, topic.partitions);
                self.topic_ids.learn(BrokerTopicId(topic.id), &name)?;
            }
        }
        Ok(())
    }

    /// Writes an answer. A client that takes nothing of what others wait for has to go; it asks again when it is back.
    async fn send(&mut self, segments: Segments, hold: &Hold) -> Result<(), super::Error> {
        let mut framed = segments.framed().map_err(RewriteError::from)?;
        if hold.is_empty() {
            self.client.write_all_buf(&mut framed).await.map_err(super::Error::Downstream)?;
            return self.client.flush().await.map_err(super::Error::Downstream);
        }
        let mut watch = self.memory.watch(Way::Answer, framed.len());
        loop {
            let written = async {
                if framed.is_empty() {
                    return self.client.flush().await.map(|()| 0);
                }
                self.client.write_buf(&mut framed).await
            };
            match tokio::time::timeout_at(watch.until(), written).await {
                Ok(written) => match written.map_err(super::Error::Downstream)? {
                    0 if framed.is_empty() => return Ok(()),
                    0 => return Err(super::Error::Downstream(io::ErrorKind::WriteZero.into())),
                    moved => watch.moved(moved),
                },
                Err(_) if watch.stands_in_the_way() => return Err(super::Error::StandsStill),
                Err(_) => {}
            }
        }
    }
}

/// Answers with assignments by topic id.
const ASSIGNING: [ApiKey; 2] = [api::CONSUMER_GROUP_HEARTBEAT, api::SHARE_GROUP_HEARTBEAT];

/// JoinGroup and SyncGroup: answered when all members have come.
const WAITING: [ApiKey; 2] = [ApiKey(11), ApiKey(14)];

/// An hour by default: longer than any `max.poll.interval.ms` that is not a mistake.
const WAITING_FACTOR: u32 = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::{ApiVersion, CorrelationId};

    fn call(key: i16) -> Call {
        Call { api_key: ApiKey(key), version: ApiVersion(0), correlation_id: CorrelationId(1) }
    }

    #[tokio::test]
    async fn a_broker_that_says_nothing_is_given_up() {
        let mut patience = Patience::new(Duration::from_millis(2));
        assert_eq!(patience.bound(call(0), async { 7 }).await.unwrap(), 7);
        // The alarm of an earlier answer rings first; it is not taken for this one's.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let started = Instant::now();
        let silent = patience.bound(call(0), std::future::pending::<()>()).await.unwrap_err();
        assert!(started.elapsed() >= Duration::from_millis(2));
        assert!(matches!(silent, super::super::Error::Silent { .. }));
        assert!(silent.to_string().contains("limits.answer_timeout"), "{silent}");
    }

    #[tokio::test]
    async fn who_joins_a_group_is_given_more_time() {
        let mut patience = Patience::new(Duration::from_millis(1));
        let started = Instant::now();
        assert!(patience.bound(call(11), std::future::pending::<()>()).await.is_err());
        assert!(started.elapsed() >= Duration::from_millis(12));
    }
}
