//! A broker that lies: it sits on a detour of the real broker (see [`crate::node`]), passes everything on, and changes, on the way
//! back, what the test tells it to change. It also keeps all bytes that went to the broker, for a last look for plaintext.
//!
//! Batches are changed with a fresh checksum: nothing but the sealing can notice. It speaks as the broker would, so it must
//! itself never be the reason of a failure: what it cannot take apart it passes on as it came.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};
use uuid::Uuid;

use crate::batch::{self, Batch};
use crate::broker::Borrowed;
use crate::wire;

/// The liar, as long as the value lives.
pub struct Evil<'a> {
    state: Arc<State>,
    detour: Borrowed<'a>,
}

/// One partition of a Fetch answer on its way to the gateway.
pub struct Fetched<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Its batches; changes are what the gateway sees.
    pub batches: &'a mut Vec<Batch>,
    /// The rest of the partition's answer: high watermark, aborted transactions, error code.
    pub rest: &'a mut PartitionData,
}

impl<'a> Evil<'a> {
    /// Sits on this detour and lies about nothing yet.
    pub fn start(detour: Borrowed<'a>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, detour.advertised)).expect("the detour's port is free");
        let state = Arc::new(State { broker: detour.broker, ..State::default() });
        let accepting = Arc::clone(&state);
        thread::spawn(move || accepting.accept(&listener));
        Self { state, detour }
    }

    /// What the gateway is told to bootstrap from.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.detour.advertised)
    }

    /// From now on every partition of every Fetch answer is shown to `lie` first.
    pub fn on_fetch(&self, lie: impl FnMut(Fetched<'_>) + Send + 'static) {
        *lock(&self.state.fetch) = Some(Box::new(lie));
    }

    /// From now on every answer to the API `key` is replaced by what `lie` makes of it: the whole frame, its length included.
    pub fn on_answer(&self, key: i16, lie: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static) {
        *lock(&self.state.answer) = Some((key, Box::new(lie)));
    }

    /// Speaks the truth again.
    pub fn be_honest(&self) {
        *lock(&self.state.fetch) = None;
        *lock(&self.state.answer) = None;
    }

    /// How many Fetch partitions or answers the lies have been asked about: zero means that the test has shown nothing.
    pub fn told(&self) -> usize {
        self.state.told.load(Ordering::SeqCst)
    }

    /// Cuts all connections and takes no more until [`Evil::mend`].
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        self.state.close_all();
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }

    /// True when any byte sequence that went to the broker by this way holds `needle`.
    pub fn has_passed(&self, needle: &[u8]) -> bool {
        lock(&self.state.passed).values().any(|bytes| crate::broker::holds(bytes, needle))
    }
}

impl Drop for Evil<'_> {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.state.close_all();
        // Wakes the accepting thread, so that the port is free for the next test that borrows the detour.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.detour.advertised));
        crate::wait::until_true("the liar gives its port back", || {
            TcpListener::bind((Ipv4Addr::LOCALHOST, self.detour.advertised)).is_ok()
        });
    }
}

type FetchLie = Box<dyn FnMut(Fetched<'_>) + Send>;
type AnswerLie = Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>;

#[derive(Default)]
struct State {
    broker: u16,
    fetch: Mutex<Option<FetchLie>>,
    answer: Mutex<Option<(i16, AnswerLie)>>,
    names: Mutex<HashMap<Uuid, String>>,
    told: AtomicUsize,
    is_cut: AtomicBool,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    passed: Mutex<HashMap<usize, Vec<u8>>>,
}

/// (API key, version) of the requests of one connection that wait for their answers, by correlation id.
type Waiting = Arc<Mutex<HashMap<i32, (i16, i16)>>>;

impl State {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for (number, client) in listener.incoming().enumerate() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            if self.is_cut.load(Ordering::SeqCst) {
                continue;
            }
            let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.broker)) else {
                continue;
            };
            if let Err(e) = Arc::clone(&self).relay(number, client, broker) {
                eprintln!("the liar lost a connection: {e}");
            }
        }
    }

    fn relay(self: Arc<Self>, number: usize, client: TcpStream, broker: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        lock(&self.open).extend([client.try_clone()?, broker.try_clone()?]);
        let waiting = Waiting::default();
        let (mut from_client, mut to_broker) = (client.try_clone()?, broker.try_clone()?);
        let (there, asked) = (Arc::clone(&self), Arc::clone(&waiting));
        thread::spawn(move || {
            let _ = there.requests(number, &asked, &mut from_client, &mut to_broker);
            let _ = to_broker.shutdown(Shutdown::Both);
            let _ = from_client.shutdown(Shutdown::Both);
        });
        let (mut from_broker, mut to_client) = (broker, client);
        thread::spawn(move || {
            let _ = self.answers(&waiting, &mut from_broker, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
            let _ = from_broker.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    fn requests(&self, number: usize, waiting: &Waiting, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        loop {
            let frame = read_frame(from)?;
            if frame.len() >= 12 {
                let mut head = &frame[4..];
                let (key, version, correlation) = (head.get_i16(), head.get_i16(), head.get_i32());
                lock(waiting).insert(correlation, (key, version));
            }
            lock(&self.passed).entry(number).or_default().extend_from_slice(&frame);
            to.write_all(&frame)?;
        }
    }

    fn answers(&self, waiting: &Waiting, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        loop {
            let mut frame = read_frame(from)?;
            let correlation = frame.get(4..8).map_or(-1, |mut id| id.get_i32());
            if let Some((key, version)) = lock(waiting).remove(&correlation) {
                if key == FetchRequest::KEY {
                    frame = self.lie_in_fetch(version, frame);
                }
                if let Some((wanted, lie)) = lock(&self.answer).as_mut()
                    && *wanted == key
                {
                    self.told.fetch_add(1, Ordering::SeqCst);
                    frame = lie(frame);
                }
            }
            to.write_all(&frame)?;
        }
    }

    fn lie_in_fetch(&self, version: i16, frame: Vec<u8>) -> Vec<u8> {
        let mut fetch = lock(&self.fetch);
        let Some(lie) = fetch.as_mut() else {
            return frame;
        };
        let mut body = Bytes::copy_from_slice(&frame[4..]);
        let header_version = FetchResponse::header_version(version);
        let Ok(header) = ResponseHeader::decode(&mut body, header_version) else {
            return frame;
        };
        let Ok(mut response) = FetchResponse::decode(&mut body, version) else {
            return frame;
        };
        for topic in &mut response.responses {
            let name = if version >= 13 { self.name(topic.topic_id) } else { topic.topic.to_string() };
            for partition in &mut topic.partitions {
                let mut batches = batch::read_all(partition.records.clone().unwrap_or_default());
                let index = partition.partition_index;
                let before = batches.clone();
                lie(Fetched { topic: &name, partition: index, batches: &mut batches, rest: partition });
                self.told.fetch_add(1, Ordering::SeqCst);
                if batches != before {
                    let mut records = BytesMut::new();
                    batches.iter().for_each(|batch| batch.write(&mut records));
                    partition.records = Some(records.freeze());
                }
            }
        }
        let mut out = BytesMut::zeroed(4);
        header.encode(&mut out, header_version).expect("it was decoded");
        response.encode(&mut out, version).expect("it was decoded");
        let length = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&length.to_be_bytes());
        out.to_vec()
    }

    /// The name of a topic, asked from the broker when it is new.
    fn name(&self, id: Uuid) -> String {
        if let Some(name) = lock(&self.names).get(&id) {
            return name.clone();
        }
        let asked = wire::Connection::open(&format!("127.0.0.1:{}", self.broker)).and_then(|mut c| c.metadata(None));
        let topics = asked.map(|answer| answer.topics).unwrap_or_default();
        let named = topics.into_iter().filter_map(|topic| topic.name.map(|name| (topic.topic_id, name.to_string())));
        let mut names = lock(&self.names);
        names.extend(named);
        names.get(&id).cloned().unwrap_or_default()
    }

    fn close_all(&self) {
        for stream in lock(&self.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A frame with its length in front.
fn read_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame)?;
    let length = usize::try_from((&frame[..]).get_i32()).map_err(io::Error::other)?;
    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
