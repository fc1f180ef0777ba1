//! The way back: answers of the broker, and the gateway's own, in the order of the requests.
//!
//! Arrives: what is due, and frames of the broker. Leaves: answers to the client, with addresses rewritten and
//! records opened. What must never happen here: an answer given to another request than its own, an address of a
//! broker in the clear, bytes of a sealed stream that were not opened.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Ended;
use super::in_flight::{Due, Entry, Note};
use super::read::FrameReader;
use crate::chain::fetch::FetchChain;
use crate::chain::produce::RefusedPartition;
use crate::chain::rewrite::produce::{ProduceResponse, Refused};
use crate::chain::rewrite::{
    AddressBook, RewriteError, api_versions, describe_cluster, describe_topic_partitions, find_coordinator, metadata,
    share_acknowledge, topology,
};
use crate::chain::topic_ids::{TopicId, TopicIdConflict, TopicIds};
use crate::frame::{Call, ResponseHeader, Segments, api};
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
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Responses<R, W> {
    /// Delivers answers until none is due any more and the request side has ended, or something fails.
    pub async fn run(&mut self) -> Result<Ended, super::Error> {
        loop {
            let entry = tokio::select! {
                biased;
                entry = self.in_flight.recv() => entry,
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
                Due::Own(answer) => self.send(Segments::whole(answer)).await?,
                Due::Asked(call, tell) => {
                    let frame = self.broker_answer(call).await?.0.freeze();
                    self.learn(&frame, call)?;
                    tell.send(frame).ok();
                }
                Due::Broker(call, note) => {
                    let (frame, read) = self.broker_answer(call).await?;
                    let answer = self.answer(frame, call, note).await?;
                    self.send(answer).await?;
                    self.metrics.response_added(call, read.elapsed(), entry.since.elapsed());
                }
            }
        }
    }

    /// The broker's next frame, which must be the answer to `call`, and when it had been read.
    async fn broker_answer(&mut self, call: Call) -> Result<(BytesMut, Instant), super::Error> {
        let frame: BytesMut =
            self.broker.next().await.map_err(super::Error::from_broker)?.ok_or(super::Error::Closed)?;
        let read = Instant::now();
        let correlation_id = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        if correlation_id != Some(call.correlation_id.0) {
            return Err(super::Error::Unpaired { call, answered: correlation_id });
        }
        Ok((frame, read))
    }

    async fn answer(&mut self, frame: BytesMut, call: Call, note: Note) -> Result<Segments, super::Error> {
        let book = self.book.clone();
        let book: &dyn AddressBook = &*book;
        let header = ResponseHeader::parse(&frame, call).map_err(RewriteError::from)?;
        match (call.api_key, note) {
            (api::FETCH, Note::Fetch(note)) => Ok(self.fetch.open(frame, &header, note, book).await?),
            (api::SHARE_FETCH, Note::Share(refused)) => {
                Ok(self.fetch.open_shared(frame, &header, &refused, book).await?)
            }
            (_, note) => self.rewritten(frame.freeze(), &header, note, book),
        }
    }

    /// An answer without records that could be opened.
    fn rewritten(
        &self,
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
            (api::PRODUCE, Note::Produce(refused)) => produced(frame, header, &refused, book)?,
            (api::API_VERSIONS, _) => api_versions::rewrite(frame, header)?,
            (api::METADATA, _) => {
                let mut learned = Learned::default();
                let answer = metadata::rewrite(frame, header, book, |name, id| {
                    learned.take(&self.topic_ids, name, id);
                })?;
                learned.done()?;
                answer
            }
            (api::FIND_COORDINATOR, _) => find_coordinator::rewrite(frame, header, book)?,
            (api::DESCRIBE_CLUSTER, _) => describe_cluster::rewrite(frame, header, book)?,
            (api::DESCRIBE_TOPIC_PARTITIONS, _) => {
                let mut learned = Learned::default();
                describe_topic_partitions::walk(&frame, header, |name, id| {
                    learned.take(&self.topic_ids, name, id);
                })?;
                learned.done()?;
                Segments::whole(frame)
            }
            (api::SHARE_ACKNOWLEDGE, _) => share_acknowledge::rewrite(frame, header, book)?,
            _ => Segments::whole(frame),
        };
        Ok(segments)
    }

    /// Takes topic ids out of the answer to a Metadata request of the gateway's own.
    fn learn(&self, frame: &Bytes, call: Call) -> Result<(), super::Error> {
        let header = ResponseHeader::parse(frame, call).map_err(RewriteError::from)?;
        let mut learned = Learned::default();
        for topic in topology::decode(frame, &header)?.topics {
            if let Some(name) = topic.name {
                learned.take(&self.topic_ids, &name, topic.id);
            }
        }
        learned.done()
    }

    async fn send(&mut self, segments: Segments) -> Result<(), super::Error> {
        let mut framed = segments.framed().map_err(RewriteError::from)?;
        self.client.write_all_buf(&mut framed).await.map_err(super::Error::Downstream)?;
        self.client.flush().await.map_err(super::Error::Downstream)
    }
}

/// The first conflict among the pairs of one response.
#[derive(Default)]
struct Learned(Option<TopicIdConflict>);

impl Learned {
    fn take(&mut self, ids: &TopicIds, name: &str, id: TopicId) {
        if let Err(conflict) = ids.learn(id, name) {
            self.0.get_or_insert(conflict);
        }
    }

    fn done(self) -> Result<(), super::Error> {
        self.0.map_or(Ok(()), |conflict| Err(conflict.into()))
    }
}

fn produced(
    frame: Bytes,
    header: &ResponseHeader,
    refused: &[RefusedPartition],
    book: &dyn AddressBook,
) -> Result<Segments, RewriteError> {
    let refused: Vec<Refused<'_>> = refused.iter().map(RefusedPartition::as_refused).collect();
    ProduceResponse::walk(&frame, header)?.rebuild(frame, &refused, book)
}
