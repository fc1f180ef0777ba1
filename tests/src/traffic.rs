//! Clients that go on and on while a test does harm elsewhere: writers, one for each partition of a topic, and readers of all of it.
//!
//! Every record must be acknowledged, and every reader must get every record once, in order, at its offset, with its content. The first
//! thing that goes otherwise is kept with the name of the client and fails the test at its next question.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::clients::Endpoint;
use crate::clients::rd::{self, Producer};
use crate::clients::record::numbered;
use crate::wait;

/// Running clients. They end with the value, in whatever way.
pub struct Traffic {
    writers: Vec<Client>,
    readers: Vec<Client>,
    stop_writing: Arc<AtomicBool>,
    stop_reading: Arc<AtomicBool>,
}

impl Traffic {
    /// Starts them on a topic with a partition for each writer, in the order of the writers. All values hold `secret`. Every client
    /// has written or read before this returns.
    pub fn start(topic: &str, secret: &str, writers: &[Endpoint], readers: &[Endpoint]) -> Self {
        let (stop_writing, stop_reading) = (Arc::default(), Arc::default());
        let texts: Arc<[String]> = (0..writers.len()).map(|n| format!("{secret} of writer {n}")).collect();
        let write = |(n, endpoint): (usize, &Endpoint)| {
            let (endpoint, topic, text) = (endpoint.clone(), topic.to_owned(), texts[n].clone());
            let stop: Arc<AtomicBool> = Arc::clone(&stop_writing);
            Client::start(format!("writer {n}"), move |state| write(&endpoint, &topic, (&text, n as i32), &stop, state))
        };
        let read = |(n, endpoint): (usize, &Endpoint)| {
            let (endpoint, topic, texts) = (endpoint.clone(), topic.to_owned(), Arc::clone(&texts));
            let stop: Arc<AtomicBool> = Arc::clone(&stop_reading);
            Client::start(format!("reader {n}"), move |state| read(&endpoint, &topic, &texts, &stop, state))
        };
        let writers = writers.iter().enumerate().map(write).collect();
        let readers = readers.iter().enumerate().map(read).collect();
        let traffic = Self { writers, readers, stop_writing, stop_reading };
        traffic.goes_on();
        traffic
    }

    /// Waits until every client has got on by some records from now.
    #[track_caller]
    pub fn goes_on(&self) {
        let all = || self.writers.iter().chain(&self.readers);
        let before: Vec<usize> = all().map(Client::done).collect();
        wait::until_true("every client goes on", || {
            all().zip(&before).all(|(client, before)| client.done() >= before + SOME)
        });
    }

    /// Ends the writers, waits until the readers have read all, and says how many records that were.
    #[track_caller]
    pub fn end(mut self) -> usize {
        self.stop_writing.store(true, Ordering::SeqCst);
        self.writers.iter_mut().for_each(Client::join);
        let written: usize = self.writers.iter().map(Client::done).sum();
        wait::until_true("the readers have read everything", || self.readers.iter().all(|one| one.done() >= written));
        self.stop_reading.store(true, Ordering::SeqCst);
        self.readers.iter_mut().for_each(Client::join);
        let read: Vec<usize> = self.readers.iter().map(Client::done).collect();
        assert!(read.iter().all(|count| *count == written), "{written} written, {read:?} read");
        written
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop_writing.store(true, Ordering::SeqCst);
        self.stop_reading.store(true, Ordering::SeqCst);
    }
}

struct Client {
    name: String,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// How far a client has come, and what went wrong first.
#[derive(Default)]
struct State {
    done: AtomicUsize,
    fault: Mutex<Option<String>>,
}

impl Client {
    fn start(name: String, work: impl FnOnce(&State) -> Result<(), String> + Send + 'static) -> Self {
        let state = Arc::<State>::default();
        let seen = Arc::clone(&state);
        let thread = thread::spawn(move || {
            if let Err(fault) = work(&seen) {
                *seen.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            }
        });
        Self { name, state, thread: Some(thread) }
    }

    /// Records that were acknowledged or read.
    #[track_caller]
    fn done(&self) -> usize {
        let fault = self.state.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(fault.is_none(), "{}: {}", self.name, fault.unwrap_or_default());
        self.state.done.load(Ordering::SeqCst)
    }

    #[track_caller]
    fn join(&mut self) {
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()), "{} panicked", self.name);
        self.done();
    }
}

fn write(
    endpoint: &Endpoint,
    topic: &str,
    (text, partition): (&str, i32),
    stop: &AtomicBool,
    state: &State,
) -> Result<(), String> {
    let mut producer = Producer::new(endpoint, &[("enable.idempotence", "true"), ("linger.ms", "1")]);
    let mut sent = 0;
    let mut judged = 0;
    while !stop.load(Ordering::SeqCst) {
        producer.send(topic, &numbered(text, sent, partition));
        sent += 1;
        thread::sleep(PACE);
        for outcome in producer.so_far().into_iter().skip(judged).map_while(|outcome| outcome) {
            outcome.map_err(|code| format!("record {judged} was not taken: {code}"))?;
            judged += 1;
        }
        state.done.store(judged, Ordering::SeqCst);
    }
    for (n, outcome) in producer.outcomes().into_iter().enumerate() {
        outcome.map_err(|code| format!("record {n} was not taken: {code}"))?;
    }
    state.done.store(sent, Ordering::SeqCst);
    Ok(())
}

fn read(endpoint: &Endpoint, topic: &str, texts: &[String], stop: &AtomicBool, state: &State) -> Result<(), String> {
    let consumer = rd::consumer(endpoint, "none", &[("enable.auto.commit", "false")]);
    let mut list = TopicPartitionList::new();
    for partition in 0..texts.len() as i32 {
        list.add_partition_offset(topic, partition, Offset::Beginning).map_err(|e| e.to_string())?;
    }
    consumer.assign(&list).map_err(|e| e.to_string())?;
    let mut next = vec![0_usize; texts.len()];
    while !stop.load(Ordering::SeqCst) {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let got = rd::owned(&message);
                let (partition, n) = (got.record.partition, next[got.record.partition as usize]);
                let wanted = numbered(&texts[partition as usize], n, partition);
                if got.record != wanted || got.offset != n as i64 {
                    return Err(format!("instead of record {n} came {got:?}"));
                }
                next[partition as usize] += 1;
                state.done.fetch_add(1, Ordering::SeqCst);
            }
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(format!("an error instead of a record: {error}")),
        }
    }
    Ok(())
}

/// Enough to have gone through the gateway after the question was asked: more than what a client has under way.
const SOME: usize = 20;

/// Between two records of a writer: this is about going on, not about load.
const PACE: Duration = Duration::from_millis(40);

const POLL: Duration = Duration::from_millis(200);
