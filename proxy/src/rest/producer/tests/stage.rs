//! Brokers that are played: they keep logs, know producers again as Kafka does, and have the faults they are told to have.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ApiVersionsResponse, BrokerId, InitProducerIdResponse, ProducerId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use super::super::Brokers;
use crate::frame::RequestHeader;
use crate::frame::batch::{BATCH_OVERHEAD, BatchHeader, Records};
use crate::rest::inner::Lane;

/// What a broker does with one Produce request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// What it should.
    None,
    /// Refuses every partition.
    Code(i16),
    /// Writes, and says this.
    AppendAndCode(i16),
    /// Ends the connection.
    Close,
    /// Writes, and ends the connection.
    AppendAndClose,
    /// Writes, and knows the producer no more, as after its state has expired between two batches.
    Forget,
    /// Refuses as no longer the leader, and another one is.
    Move,
    /// Writes, and answers for no partition.
    LeaveOut,
}

/// The cluster. Clones are the same.
#[derive(Clone)]
pub struct Stage {
    state: Arc<Mutex<State>>,
}

struct State {
    partitions: i32,
    brokers: i32,
    /// Added to a partition's number for its leader.
    moved: i32,
    logs: HashMap<(String, i32), Log>,
    plan: VecDeque<Fault>,
    requests: usize,
    connections: usize,
    is_held: bool,
    is_down: bool,
    producers: i64,
    identity_error: i16,
}

#[derive(Default)]
struct Log {
    values: Vec<u32>,
    batches: Vec<usize>,
    /// By producer: the first number and the offset of each batch, and the next number.
    known: HashMap<i64, (Vec<(i32, i64)>, i32)>,
}

impl Stage {
    pub fn new(partitions: i32, brokers: i32) -> Self {
        let state = State {
            partitions,
            brokers,
            moved: 0,
            logs: HashMap::new(),
            plan: VecDeque::new(),
            requests: 0,
            connections: 0,
            is_held: false,
            is_down: false,
            producers: 100,
            identity_error: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What happens to the next requests.
    pub fn plan(&self, faults: &[Fault]) {
        self.lock().plan.extend(faults.iter().cloned());
    }

    /// Whether answers are kept back.
    pub fn hold(&self, is_held: bool) {
        self.lock().is_held = is_held;
    }

    pub fn down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    pub fn refuse_identities(&self, error_code: i16) {
        self.lock().identity_error = error_code;
    }

    /// Values of topic `t`.
    pub fn values(&self, partition: i32) -> Vec<u32> {
        self.lock().logs.get(&("t".to_owned(), partition)).map(|log| log.values.clone()).unwrap_or_default()
    }

    /// Numbers of records of the batches of topic `t`.
    pub fn batches(&self, partition: i32) -> Vec<usize> {
        self.lock().logs.get(&("t".to_owned(), partition)).map(|log| log.batches.clone()).unwrap_or_default()
    }

    /// Produce requests that have come.
    pub fn count(&self) -> usize {
        self.lock().requests
    }

    pub async fn requests(&self, count: usize) {
        self.until(|state| state.requests >= count).await;
    }

    pub async fn nobody_is_connected(&self) {
        self.until(|state| state.connections == 0).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        let seen = async {
            while !is_so(&self.lock()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.expect("it becomes so");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve<R, W>(self, node_id: i32, mut requests: R, mut answers: W)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.lock().is_down {
            return;
        }
        let _connected = Connected::new(&self);
        while let Some(frame) = read(&mut requests).await {
            let header = RequestHeader::parse(&frame).unwrap();
            let (key, version) = (header.call.api_key.0, header.call.version.0);
            let mut body = frame.slice(header.body..);
            let mut out = BytesMut::new();
            out.put_i32(header.call.correlation_id.0);
            let has_tags = [(0, 9), (3, 9), (22, 2)].iter().any(|(api, since)| key == *api && version >= *since);
            if has_tags {
                out.put_u8(0);
            }
            let goes_on = match key {
                18 => versions().encode(&mut out, version).is_ok(),
                3 => {
                    let asked = theirs::MetadataRequest::decode(&mut body, version).unwrap();
                    self.lock().metadata(&asked).encode(&mut out, version).is_ok()
                }
                22 => self.lock().identity().encode(&mut out, version).is_ok(),
                _ => {
                    let asked = theirs::ProduceRequest::decode(&mut body, version).unwrap();
                    let answer = self.lock().produce(node_id, asked);
                    while self.lock().is_held {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    answer.is_some_and(|answer| answer.encode(&mut out, version).is_ok())
                }
            };
            let framed = [&u32::try_from(out.len()).unwrap().to_be_bytes()[..], &out].concat();
            if !goes_on || answers.write_all(&framed).await.is_err() {
                break;
            }
        }
    }
}

impl Brokers for Stage {
    fn ask_any(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(4096);
        let (read, write) = tokio::io::split(theirs);
        tokio::spawn(self.clone().serve(-1, read, write));
        ours
    }

    fn connect(&self, node_id: i32) -> Lane {
        Lane::new(|requests, answers| self.clone().serve(node_id, requests, answers))
    }
}

/// Counts a connection as long as it is served.
struct Connected(Stage);

impl Connected {
    fn new(stage: &Stage) -> Self {
        stage.lock().connections += 1;
        Self(stage.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.lock().connections -= 1;
    }
}

impl State {
    fn leader(&self, partition: i32) -> i32 {
        (partition + self.moved) % self.brokers
    }

    fn metadata(&self, asked: &theirs::MetadataRequest) -> theirs::MetadataResponse {
        let broker = |node_id| MetadataResponseBroker::default().with_node_id(BrokerId(node_id));
        let partition = |index| {
            let leader = BrokerId(self.leader(index));
            MetadataResponsePartition::default().with_partition_index(index).with_leader_id(leader)
        };
        let topic = |name: &TopicName| {
            let partitions = (0..self.partitions).map(partition).collect();
            MetadataResponseTopic::default().with_name(Some(name.clone())).with_partitions(partitions)
        };
        let names = asked.topics.iter().flatten().filter_map(|topic| topic.name.as_ref());
        theirs::MetadataResponse::default()
            .with_brokers((0..self.brokers).map(broker).collect())
            .with_topics(names.map(topic).collect())
    }

    fn identity(&mut self) -> InitProducerIdResponse {
        self.producers += 1;
        InitProducerIdResponse::default()
            .with_error_code(self.identity_error)
            .with_producer_id(ProducerId(self.producers))
            .with_producer_epoch(0)
    }

    fn produce(&mut self, node_id: i32, asked: theirs::ProduceRequest) -> Option<theirs::ProduceResponse> {
        self.requests += 1;
        let fault = self.plan.pop_front().unwrap_or(Fault::None);
        if matches!(fault, Fault::Close) {
            return None;
        }
        let mut answer = theirs::ProduceResponse::default();
        let before = self.moved;
        for topic in asked.topic_data {
            let mut told = TopicProduceResponse::default().with_name(topic.name.clone());
            for partition in topic.partition_data {
                let at = (partition.index + before) % self.brokers;
                let (error_code, offset) = match fault {
                    _ if at != node_id => (6, -1),
                    Fault::Code(code) => (code, -1),
                    Fault::Move => (6, -1),
                    _ => {
                        let place = (topic.name.to_string(), partition.index);
                        let log = self.logs.entry(place).or_default();
                        let outcome = log.append(&partition.records.unwrap());
                        if matches!(fault, Fault::Forget) {
                            log.known.clear();
                        }
                        match fault {
                            Fault::AppendAndCode(code) => (code, -1),
                            _ => outcome,
                        }
                    }
                };
                let one = PartitionProduceResponse::default().with_index(partition.index);
                told.partition_responses.push(one.with_error_code(error_code).with_base_offset(offset));
            }
            if !matches!(fault, Fault::LeaveOut) {
                answer.responses.push(told);
            }
        }
        if matches!(fault, Fault::Move) {
            self.moved += 1;
        }
        (!matches!(fault, Fault::AppendAndClose)).then_some(answer)
    }
}

impl Log {
    /// As `ProducerStateManager`: a batch that came before is told its place again, and a gap is refused.
    fn append(&mut self, batch: &Bytes) -> (i16, i64) {
        BatchHeader::check_crc(batch).unwrap();
        let header = BatchHeader::parse(batch).unwrap();
        let mut fields = batch.slice(43..57);
        let (producer_id, _, sequence) = (fields.get_i64(), fields.get_i16(), fields.get_i32());
        let offset = i64::try_from(self.values.len()).unwrap();
        let is_new = !self.known.contains_key(&producer_id);
        let (batches, next) = self.known.entry(producer_id).or_insert((Vec::new(), 0));
        if let Some((_, written)) = batches.iter().find(|(first, _)| *first == sequence) {
            return (0, *written);
        }
        // A producer that is not known may begin anywhere.
        if sequence != *next && !is_new {
            return (45, -1);
        }
        batches.push((sequence, offset));
        *next = sequence + header.record_count;
        self.batches.push(usize::try_from(header.record_count).unwrap());
        let body = &batch[BATCH_OVERHEAD..];
        let mut walk = Records::new(0, header.record_count);
        while let Some(record) = walk.next(body).unwrap() {
            let value = &body[record.value.unwrap()];
            self.values.push(u32::from_be_bytes(value.try_into().unwrap()));
        }
        (0, offset)
    }
}

fn versions() -> ApiVersionsResponse {
    let api = |(key, newest)| ApiVersion::default().with_api_key(key).with_min_version(0).with_max_version(newest);
    ApiVersionsResponse::default().with_api_keys([(0, 9), (3, 9), (18, 3), (22, 4)].map(api).into())
}

async fn read<R: AsyncRead + Unpin>(pipe: &mut R) -> Option<Bytes> {
    let length = pipe.read_u32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    pipe.read_exact(&mut frame).await.ok()?;
    Some(frame.into())
}
