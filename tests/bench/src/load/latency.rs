//! Latency at a fixed, modest rate: one record for each request, on warm connections. Every latency counts from the moment at
//! which the schedule wanted the record sent, so a stall is charged to all records that it held up (no coordinated omission).
//! Each value carries that moment, so that the consumer on its own connection can tell how long delivery took.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Shape, Target, Watch};
use crate::batch::{self, Codec};
use crate::error::{Attempt, Error};
use crate::histogram::Histogram;
use crate::payload::Payload;
use crate::process::{CpuClock, CpuUse};
use crate::wire::{self, fetch};

/// What one schedule showed.
#[derive(Clone)]
pub struct Latencies {
    /// From the scheduled moment to the broker's acknowledgement.
    pub acknowledged: Histogram,
    /// From the scheduled moment until a consumer has the record.
    pub delivered: Histogram,
    /// CPU of the measured process for one record in and out.
    pub cpu_per_record: Option<Duration>,
}

/// One party's latencies and those of the broker alone, taken in the same seconds: whatever else the machine did met both.
pub struct Paired {
    /// Through the party.
    pub through: Latencies,
    /// Past it; none when the party is the broker.
    pub beside: Option<Latencies>,
}

/// Runs the schedule through `target` and, half an interval later each time, one on `direct`, to another partition.
pub fn beside(target: &Target, direct: &Target, shape: &Shape, rate: f64, watch: Watch) -> Result<Paired, Error> {
    let half = Duration::from_secs_f64(0.5 / rate);
    thread::scope(|scope| {
        let other = Shape { topic: format!("{}-beside", shape.topic), ..shape.clone() };
        let direct = scope.spawn(move || {
            direct.create_topic(&other.topic, 1)?;
            let latencies = schedule(direct, &other, rate, half, Watch::default());
            latencies.and_then(|latencies| direct.delete_topic(&other.topic).map(|()| latencies))
        });
        let through = schedule(target, shape, rate, Duration::ZERO, watch);
        let direct = direct.join().unwrap_or_else(|_| Err(panicked()));
        Ok(Paired { through: through?, beside: Some(direct?) })
    })
}

/// Sends `rate` records a second in all and receives every one of them.
pub fn run(target: &Target, shape: &Shape, rate: f64, watch: Watch) -> Result<Latencies, Error> {
    schedule(target, shape, rate, Duration::ZERO, watch)
}

fn schedule(target: &Target, shape: &Shape, rate: f64, phase: Duration, watch: Watch) -> Result<Latencies, Error> {
    let leaders = target.leaders(&shape.topic)?;
    let Some(leader) = leaders.first() else {
        return Err(Error::Setup("topic without partitions".into()));
    };
    let epoch = Instant::now();
    let schedule = Schedule {
        shape,
        epoch,
        interval: Duration::from_secs_f64(shape.connections as f64 / rate),
        step: Duration::from_secs_f64(1.0 / rate),
        // Time for all connections to stand before the first record is due.
        begin: Duration::from_millis(200 + 5 * shape.connections as u64) + phase,
    };
    let sent = AtomicI64::new(0);
    let (produced, consumed, used) = thread::scope(|scope| {
        let (ready, consumer_is_ready) = mpsc::channel();
        let consumer = scope.spawn(|| consume(target, leader, &schedule, &sent, ready));
        let _answer_or_its_end = consumer_is_ready.recv();
        let producers: Vec<_> = (0..shape.connections)
            .map(|index| {
                let (schedule, sent) = (&schedule, &sent);
                thread::Builder::new()
                    .stack_size(super::STACK)
                    .spawn_scoped(scope, move || produce(target, leader, schedule, index, sent))
                    .attempt(|| "start a thread".into())
            })
            .collect();
        let used = cpu_in_window(&schedule, watch);
        let mut produced: Result<Histogram, Error> = Ok(Histogram::default());
        for producer in producers {
            let outcome = producer.and_then(|thread| join(thread.join()));
            produced = produced.and_then(|mut all| {
                all.merge(&outcome?);
                Ok(all)
            });
        }
        sent.fetch_or(FINISHED, Ordering::SeqCst);
        (produced, join(consumer.join()), used)
    });
    let (acknowledged, delivered, used) = (produced?, consumed?, used?);
    let records = acknowledged.len().max(1) as u32;
    Ok(Latencies { acknowledged, delivered, cpu_per_record: used.map(|used| used.total / records) })
}

/// When which record is due.
struct Schedule<'a> {
    shape: &'a Shape,
    epoch: Instant,
    interval: Duration,
    step: Duration,
    begin: Duration,
}

impl Schedule<'_> {
    fn open(&self) -> Duration {
        self.begin + self.shape.warm
    }

    fn close(&self) -> Duration {
        self.open() + self.shape.length
    }
}

fn produce(
    target: &Target,
    leader: &wire::admin::Leader,
    schedule: &Schedule<'_>,
    index: usize,
    sent: &AtomicI64,
) -> Result<Histogram, Error> {
    let shape = schedule.shape;
    let mut link = target.connect(leader)?;
    let mut value = Payload::new(shape.kind).value(shape.value_bytes.max(MARKER));
    let mut histogram = Histogram::default();
    let mut due = schedule.begin + schedule.step * index as u32;
    while due < schedule.close() {
        if let Some(place) = value.get_mut(..MARKER) {
            place.copy_from_slice(format!("{:016x}", due.as_nanos()).as_bytes());
        }
        let batch = batch::build(std::slice::from_ref(&value), Codec::None)?;
        let mut frame = wire::produce::request(&shape.topic, leader.partition, shape.acks, &batch);
        sleep_until(schedule.epoch + due);
        sent.fetch_add(1, Ordering::SeqCst);
        wire::produce::base_offset(link.call(&mut frame)?)?;
        if due >= schedule.open() {
            histogram.record((schedule.epoch.elapsed()).saturating_sub(due));
        }
        due += schedule.interval;
    }
    Ok(histogram)
}

fn consume(
    target: &Target,
    leader: &wire::admin::Leader,
    schedule: &Schedule<'_>,
    sent: &AtomicI64,
    ready: mpsc::Sender<()>,
) -> Result<Histogram, Error> {
    let shape = schedule.shape;
    let mut link = target.connect(leader)?;
    // One record ahead of the schedule tells where the topic ends.
    let value = Payload::new(shape.kind).value(shape.value_bytes.max(MARKER));
    let batch = batch::build(&[value], Codec::None)?;
    let mut frame = wire::produce::request(&shape.topic, leader.partition, shape.acks, &batch);
    let mut offset = wire::produce::base_offset(link.call(&mut frame)?)? + 1;
    let _main_thread_gone = ready.send(());

    let (mut histogram, mut received) = (Histogram::default(), 0);
    let mut silence = Instant::now();
    loop {
        let so_far = sent.load(Ordering::SeqCst);
        if so_far & FINISHED != 0 && received >= so_far & !FINISHED {
            return Ok(histogram);
        }
        let wish = fetch::Wish {
            topic: &shape.topic,
            partition: leader.partition,
            offset,
            max_wait_ms: 500,
            max_bytes: 1 << 20,
        };
        let fetched = fetch::answer(link.call(&mut fetch::request(&wish))?)?;
        let now = schedule.epoch.elapsed();
        batch::each_value(fetched.records, |value| {
            let due = marked(value)?;
            received += 1;
            if due >= schedule.open() {
                histogram.record(now.saturating_sub(due));
            }
            Ok(())
        })?;
        match batch::walk(fetched.records)?.next_offset {
            Some(next) => (offset, silence) = (next, Instant::now()),
            None if silence.elapsed() > PATIENCE => {
                return Err(Error::Mismatch(format!("{received} records were delivered of {}", so_far & !FINISHED)));
            }
            None => {}
        }
    }
}

/// The scheduled moment that a value carries.
fn marked(value: &[u8]) -> Result<Duration, Error> {
    value
        .get(..MARKER)
        .and_then(|marker| std::str::from_utf8(marker).ok())
        .and_then(|marker| u64::from_str_radix(marker, 16).ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| Error::Mismatch("a delivered value does not carry its moment: was it not opened".into()))
}

fn cpu_in_window(schedule: &Schedule<'_>, watch: Watch) -> Result<Option<CpuUse>, Error> {
    let Some(pid) = watch.measured else {
        return Ok(None);
    };
    thread::sleep((schedule.epoch + schedule.open()).saturating_duration_since(Instant::now()));
    let before = CpuClock::read(pid)?;
    thread::sleep((schedule.epoch + schedule.close()).saturating_duration_since(Instant::now()));
    Ok(Some(CpuClock::read(pid)?.since(&before)))
}

/// Sleeps, then spins the last stretch: the system wakes a sleeper some 50 microseconds late, which would count as latency.
fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()).saturating_sub(SPIN));
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

fn join(outcome: thread::Result<Result<Histogram, Error>>) -> Result<Histogram, Error> {
    outcome.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Error {
    Error::Setup("a load thread panicked".into())
}

/// Bytes at the start of a value that carry its scheduled moment.
const MARKER: usize = 16;
/// Added to the count of sent records when no more will follow.
const FINISHED: i64 = 1 << 62;
const SPIN: Duration = Duration::from_micros(100);
const PATIENCE: Duration = Duration::from_secs(10);
