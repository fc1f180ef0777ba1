//! The load and its window. Threads with blocking sockets, one for each connection: the simplest generator that keeps hundreds
//! of connections busy, and no runtime of its own to be measured along. Clocks and counters are read together at both ends of
//! the window, while the load goes on before and after it, so neither connecting nor draining is in the figures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::batch::Codec;
use crate::error::{Attempt, Error};
use crate::link::Link;
use crate::payload::Kind;
use crate::process::{self, CpuClock, CpuUse, Memory};
use crate::wire::{admin, fetch};

pub mod consume;
pub mod flow;
pub mod http;
pub mod idle;
pub mod latency;
pub mod numbered;
pub mod produce;
pub mod readers;
pub mod stock;

/// What the load is sent to.
#[derive(Clone)]
pub struct Target {
    /// Bootstrap address.
    pub address: SocketAddr,
    /// Client configuration, for TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// Connect to the leaders that Metadata names. Off for a relay that does not rewrite addresses: there Metadata leads past it.
    pub follow: bool,
}

/// Which processes are watched.
#[derive(Clone, Copy, Default)]
pub struct Watch {
    /// The gateway or relay.
    pub measured: Option<u32>,
    /// The broker, for context.
    pub broker: Option<u32>,
}

/// What is sent or fetched.
#[derive(Clone)]
pub struct Shape {
    /// Topic name.
    pub topic: String,
    /// Parallel connections.
    pub connections: usize,
    /// Requests without an answer on each connection (produce).
    pub in_flight: i32,
    /// Bytes of each record value.
    pub value_bytes: usize,
    /// Records in each request (produce).
    pub records: usize,
    /// Compression by the producer.
    pub codec: Codec,
    /// What values look like.
    pub kind: Kind,
    /// 1, or -1 for all (produce).
    pub acks: i16,
    /// Limit of one answer (consume).
    pub fetch_bytes: i32,
    /// Load before the window opens.
    pub warm: Duration,
    /// Length of the window.
    pub length: Duration,
}

/// What one window showed.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Length of the window.
    pub elapsed: Duration,
    /// Requests answered in it.
    pub requests: u64,
    /// Records acknowledged or received in it.
    pub records: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Records from the first request to the last, outside the window too.
    pub records_in_all: u64,
    /// CPU of the measured process.
    pub cpu: Option<CpuUse>,
    /// Its memory at the end of the window.
    pub memory: Option<Memory>,
    /// CPU of the broker.
    pub broker_cpu: Option<CpuUse>,
    /// CPU of the generator.
    pub own_cpu: CpuUse,
}

/// What threads share while the load runs.
pub struct Gauge {
    arrived: AtomicU64,
    requests: AtomicU64,
    records: AtomicU64,
    stop: AtomicBool,
}

impl Target {
    /// Connects to one partition's leader, or to the target itself when it is not to be left.
    pub fn connect(&self, leader: &admin::Leader) -> Result<Link, Error> {
        let address = match self.follow {
            true => Link::resolve(&format!("{}:{}", leader.host, leader.port))?,
            false => self.address,
        };
        Link::connect(address, self.tls.as_ref())
    }

    /// The topic's leaders, by partition. A topic that was just made may need a moment.
    pub fn leaders(&self, topic: &str) -> Result<Vec<admin::Leader>, Error> {
        let mut link = Link::connect(self.address, self.tls.as_ref())?;
        for _ in 0..LEADER_ATTEMPTS {
            if let Some(leaders) = admin::leaders(link.call(&mut admin::metadata(topic))?)? {
                return Ok(leaders);
            }
            thread::sleep(LEADER_PAUSE);
        }
        Err(Error::Setup(format!("topic {topic} is not there: run `produce` first, or name it with --topic")))
    }

    /// Creates the topic unless it is there, and waits until every partition answers: Metadata names a leader a moment before
    /// that leader takes requests.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), Error> {
        let mut link = Link::connect(self.address, self.tls.as_ref())?;
        admin::topic_created(link.call(&mut admin::create_topic(topic, partitions))?)?;
        for leader in self.leaders(topic)? {
            let mut link = self.connect(&leader)?;
            let wish = fetch::Wish { topic, partition: leader.partition, offset: 0, max_wait_ms: 0, max_bytes: 1 };
            for attempt in 1.. {
                match fetch::answer(link.call(&mut fetch::request(&wish))?) {
                    Ok(_) => break,
                    Err(Error::Kafka { code: UNKNOWN_TOPIC | NO_LEADER | NOT_LEADER, .. })
                        if attempt < LEADER_ATTEMPTS =>
                    {
                        thread::sleep(LEADER_PAUSE);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Deletes the topic; its absence is no failure.
    pub fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        Link::connect(self.address, self.tls.as_ref())?.call(&mut admin::delete_topic(topic))?;
        Ok(())
    }
}

impl Gauge {
    fn new() -> Self {
        Self {
            arrived: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            records: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// Says that this thread's connection stands.
    pub fn arrive(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one answered request with its records.
    pub fn count(&self, records: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    /// Whether the load is to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Figures {
    /// Mebibytes of record values in the window.
    pub fn mebibytes(&self) -> f64 {
        self.value_bytes as f64 / MEBIBYTE
    }

    /// CPU milliseconds of `used` for each mebibyte of record values.
    pub fn per_mebibyte(&self, used: CpuUse) -> f64 {
        used.total.as_secs_f64() * 1e3 / self.mebibytes()
    }

    /// CPU microseconds of `used` for each request and its answer.
    pub fn per_request(&self, used: CpuUse) -> f64 {
        used.total.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// Records in a second.
    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs `work` on as many threads as the shape has connections, and measures the window. `work` gets its index, arrives, counts,
/// and returns when the gauge says stop.
fn drive<W>(shape: &Shape, watch: Watch, work: W) -> Result<Figures, Error>
where
    W: Fn(usize, &Gauge) -> Result<(), Error> + Sync,
{
    let gauge = Gauge::new();
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(shape.connections);
        for index in 0..shape.connections {
            let (gauge, work) = (&gauge, &work);
            let spawned = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || {
                let outcome = work(index, gauge);
                if outcome.is_err() {
                    gauge.stop.store(true, Ordering::Relaxed);
                }
                outcome
            });
            threads.push(spawned.attempt(|| "start a thread".into())?);
        }
        let measured = measure(&gauge, shape, watch);
        gauge.stop.store(true, Ordering::Relaxed);
        let mut failure = None;
        for thread in threads {
            let outcome = thread.join().unwrap_or_else(|_| Err(Error::Setup("a load thread panicked".into())));
            failure = failure.or(outcome.err());
        }
        match failure {
            Some(error) => Err(error),
            None => {
                measured.map(|figures| Figures { records_in_all: gauge.records.load(Ordering::Relaxed), ..figures })
            }
        }
    })
}

fn measure(gauge: &Gauge, shape: &Shape, watch: Watch) -> Result<Figures, Error> {
    while gauge.arrived.load(Ordering::Relaxed) < shape.connections as u64 && !gauge.stopped() {
        thread::sleep(Duration::from_millis(1));
    }
    pause(gauge, shape.warm);
    if let Some(pid) = watch.measured {
        process::forget_peak(pid);
    }
    let before = Moment::now(gauge, watch)?;
    pause(gauge, shape.length);
    let after = Moment::now(gauge, watch)?;
    let memory = watch.measured.map(Memory::read).transpose()?;
    let used = |after: &Option<CpuClock>, before: &Option<CpuClock>| Some(after.as_ref()?.since(before.as_ref()?));
    let records = after.records - before.records;
    Ok(Figures {
        elapsed: after.at - before.at,
        requests: after.requests - before.requests,
        records,
        value_bytes: records * shape.value_bytes as u64,
        records_in_all: 0,
        cpu: used(&after.measured, &before.measured),
        memory,
        broker_cpu: used(&after.broker, &before.broker),
        own_cpu: after.own.since(&before.own),
    })
}

/// Sleeps, but not on after a thread has failed.
fn pause(gauge: &Gauge, length: Duration) {
    let end = Instant::now() + length;
    while !gauge.stopped() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// All clocks and counters at one end of the window.
struct Moment {
    at: Instant,
    requests: u64,
    records: u64,
    measured: Option<CpuClock>,
    broker: Option<CpuClock>,
    own: CpuClock,
}

impl Moment {
    fn now(gauge: &Gauge, watch: Watch) -> Result<Self, Error> {
        Ok(Self {
            measured: watch.measured.map(CpuClock::read).transpose()?,
            at: Instant::now(),
            requests: gauge.requests.load(Ordering::Relaxed),
            records: gauge.records.load(Ordering::Relaxed),
            broker: watch.broker.map(CpuClock::read).transpose()?,
            own: CpuClock::read(std::process::id())?,
        })
    }
}

/// Kafka's performance tools mean this when they say MB, so figures compare with theirs.
pub const MEBIBYTE: f64 = 1_048_576.0;
/// Load threads hold their buffers on the heap.
const STACK: usize = 256 << 10;
/// Kafka's error codes while a new topic settles.
const UNKNOWN_TOPIC: i16 = 3;
const NO_LEADER: i16 = 5;
const NOT_LEADER: i16 = 6;
const LEADER_ATTEMPTS: usize = 50;
const LEADER_PAUSE: Duration = Duration::from_millis(100);
