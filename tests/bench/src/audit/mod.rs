//! What the audit log costs: the same gateway with it and without, under load in the same seconds; latency without it, under `alarm`
//! and under `block`, in turns; how fast the log takes events, beside the disk alone; memory while a sink is dead. All on the disk of
//! the stage.

mod journal;

use std::time::{Duration, Instant};

use crate::args::LoadArguments;
use crate::batch::{self, Codec};
use crate::comparison::{Speed, one_speed, with_topic};
use crate::error::Error;
use crate::histogram::Histogram;
use crate::load::http::{self, Bridge, Style};
use crate::load::latency::{self, Latencies};
use crate::load::{Shape, Target, Watch};
use crate::payload::Payload;
use crate::process::{self, Memory};
use crate::stage::{Console, Gateway, Member, Party, Stage};
use crate::wire;

pub use journal::Journal;

/// What was found. A part that failed has its reason.
pub struct Audited {
    /// Latency of each way of keeping a log, by its name.
    pub ways: Vec<Way<Round>>,
    /// Full speed of each way beside the one without a log; that one beside another without: what chance does.
    pub pairs: Vec<Way<Pair>>,
    /// The log alone.
    pub journal: Result<Journal, String>,
    /// A sink that is dead.
    pub sinks: Result<[Growth; 2], String>,
}

/// The name of a way, and its rounds.
pub type Way<T> = (&'static str, Result<Vec<T>, String>);

/// Two gateways under the same load in the same seconds: whatever else the machine does, it does to both.
pub struct Pair {
    /// The one of this way.
    pub with: Speed,
    /// The one without a log.
    pub without: Speed,
}

/// One round of one way.
pub struct Round {
    /// A modest rate.
    pub calm: Latencies,
    /// The first request of a connection, whose decision is told in the log.
    pub first: Histogram,
}

/// Memory while events are made that a sink does not get.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// Requests that were told.
    pub events: u64,
    /// Resident before them.
    pub before: u64,
    /// The most while they came.
    pub peak: u64,
}

impl Audited {
    /// What failed, and why.
    pub fn failures(&self) -> Vec<String> {
        let ways = self.ways.iter().filter_map(|(name, rounds)| Some((*name, rounds.as_ref().err()?)));
        let ways = ways.chain(self.pairs.iter().filter_map(|(name, pairs)| Some((*name, pairs.as_ref().err()?))));
        let parts = [("the log alone", self.journal.as_ref().err()), ("a dead sink", self.sinks.as_ref().err())];
        let parts = parts.into_iter().filter_map(|(name, error)| Some((name, error?)));
        ways.chain(parts).map(|(name, error)| format!("{name} failed: {error}")).collect()
    }

    /// The rounds of a way.
    pub fn rounds(&self, wanted: &str) -> &[Round] {
        of_way(&self.ways, wanted)
    }

    /// The pairs of a way.
    pub fn pairs(&self, wanted: &str) -> &[Pair] {
        of_way(&self.pairs, wanted)
    }
}

fn of_way<'w, T>(ways: &'w [Way<T>], wanted: &str) -> &'w [T] {
    let way = ways.iter().find(|(name, _)| *name == wanted);
    way.and_then(|(_, rounds)| rounds.as_deref().ok()).unwrap_or_default()
}

/// All of it, from the gateway that seals; nothing where there is none.
pub fn measure(
    stage: &Stage,
    load: &LoadArguments,
    (rounds, rate): (usize, f64),
    entries: u64,
) -> Result<Audited, Error> {
    let console = stage.members().iter().filter(|member| member.party == Party::Sealed);
    let console = console.filter_map(|member| member.console.as_ref()).next();
    let console =
        console.ok_or_else(|| Error::Setup("the audit log is measured before a gateway that seals".into()))?;
    let members = WAYS.iter().map(|&name| start(console, name, "")).collect::<Result<Vec<_>, _>>()?;
    let ways = ways(stage, &members, load, rounds.max(LEAST_ROUNDS), rate);
    let control = start(console, "off-again", "")?;
    let pairs = pairs(stage, &members, &control, load, rounds.max(LEAST_PAIRS));
    drop((members, control));
    let journal = journal::measure(&stage.directory().join("journal"), load.seconds, console, entries);
    let sinks = dead_sink(stage, console, load);
    Ok(Audited {
        ways,
        pairs,
        journal: journal.map_err(|error| error.to_string()),
        sinks: sinks.map_err(|error| error.to_string()),
    })
}

/// Each round begins with another way, so that whatever else the machine does meets all of them.
fn ways(stage: &Stage, members: &[Member], load: &LoadArguments, rounds: usize, rate: f64) -> Vec<Way<Round>> {
    let mut found: Vec<_> = WAYS.iter().map(|&name| (name, Ok(Vec::new()))).collect();
    for round in 0..rounds {
        for step in 0..WAYS.len() {
            let index = (round + step) % WAYS.len();
            let (Some(member), Some((name, rounds))) = (members.get(index), found.get_mut(index)) else { continue };
            let topic = format!("bench-audit-{name}-{}", stage.next_number());
            add(rounds, || one(stage, member, load, rate, &topic));
        }
    }
    found
}

fn add<T>(rounds: &mut Result<Vec<T>, String>, measure: impl FnOnce() -> Result<T, Error>) {
    if let Ok(known) = rounds {
        match measure() {
            Ok(figures) => known.push(figures),
            Err(error) => *rounds = Err(error.to_string()),
        }
    }
}

fn one(stage: &Stage, member: &Member, load: &LoadArguments, rate: f64, topic: &str) -> Result<Round, Error> {
    let calm = LoadArguments { connections: 1, ..load.clone() }.shape(topic);
    with_topic(stage, load, topic, || {
        let first = first_requests(&member.target, &calm)?;
        let calm = latency::run(&member.target, &calm, rate, stage.watch(member))?;
        Ok(Round { calm, first })
    })
}

/// Each gateway beside the one without a log, each of them with half of the connections; beside itself is the control.
fn pairs(stage: &Stage, members: &[Member], control: &Member, load: &LoadArguments, rounds: usize) -> Vec<Way<Pair>> {
    let Some(off) = members.first() else { return Vec::new() };
    let mut found: Vec<_> = WAYS.iter().map(|&name| (name, Ok(Vec::new()))).collect();
    let load = LoadArguments { connections: (load.connections / 2).max(1), ..load.clone() };
    for _ in 0..rounds {
        for (member, (name, pairs)) in members.iter().zip(&mut found) {
            let beside = if *name == OFF { control } else { off };
            let topic = format!("bench-beside-{name}-{}", stage.next_number());
            add(pairs, || pair(stage, (member, beside), &load, &topic));
        }
    }
    found
}

fn pair(stage: &Stage, (on, off): (&Member, &Member), load: &LoadArguments, topic: &str) -> Result<Pair, Error> {
    let of = |member, side| one_speed(stage, member, load, &format!("{topic}-{side}"));
    std::thread::scope(|scope| {
        let with = scope.spawn(|| of(on, "on"));
        let without = of(off, "off");
        let with = with.join().map_err(|_| Error::Setup("a measurement has panicked".into()))?;
        Ok(Pair { with: with?, without: without? })
    })
}

/// One connection after another, each with one record.
fn first_requests(target: &Target, shape: &Shape) -> Result<Histogram, Error> {
    let leaders = target.leaders(&shape.topic)?;
    let leader = leaders.first().ok_or_else(|| Error::Setup("topic without partitions".into()))?;
    let values = Payload::new(shape.kind).values(1, shape.value_bytes);
    let batch = batch::build(&values, Codec::None)?;
    let mut frame = wire::produce::request(&shape.topic, leader.partition, shape.acks, &batch);
    let mut histogram = Histogram::default();
    for number in 0..FIRST_REQUESTS {
        let mut link = target.connect(leader)?;
        // The connection itself is told, too; that shall be over.
        std::thread::sleep(CONNECTED);
        let start = Instant::now();
        wire::produce::base_offset(link.call(&mut frame)?)?;
        // The first of all begins a session.
        if number > 0 {
            histogram.record(start.elapsed());
        }
    }
    Ok(histogram)
}

/// Posts to a gateway whose sink is dead, and to one that has none.
fn dead_sink(stage: &Stage, console: &Console, load: &LoadArguments) -> Result<[Growth; 2], Error> {
    let sinks = "  sinks: [ { name: dead, type: syslog, address: \"127.0.0.1:9\", tls: { ca: \"${CA}\" } } ]\n";
    let growth = |name, sinks| {
        let member = start(console, name, sinks)?;
        let topic = format!("bench-{name}-{}", stage.next_number());
        with_topic(stage, load, &topic, || growth(&member, load, &topic))
    };
    Ok([growth("alarm", "")?, growth("alarm-dead-sink", sinks)?])
}

fn growth(member: &Member, load: &LoadArguments, topic: &str) -> Result<Growth, Error> {
    let (Some(bridge), Some(child)) = (&member.bridge, &member.child) else {
        return Err(Error::Setup("the gateway has no bridge".into()));
    };
    let posts = LoadArguments { connections: CALLERS, batch: 0, ..load.clone() };
    let shape = Shape { warm: Duration::ZERO, ..posts.shape(topic) };
    let watch = Watch { measured: Some(child.pid()), broker: None };
    let post = |length| http::run(bridge, "", &Shape { length, ..shape.clone() }, Style::Raw, watch);
    // Connections, sessions and buffers are there before it counts.
    post(Duration::from_secs(1))?;
    process::forget_peak(child.pid());
    let before = Memory::read(child.pid())?.rss;
    let figures = post(shape.length * 2)?;
    Ok(Growth { events: figures.records_in_all, before, peak: figures.memory.map_or(0, |memory| memory.peak) })
}

/// Another gateway like that of the stage, with a log of its own in the way that its name begins with.
fn start(console: &Console, name: &'static str, more: &str) -> Result<Member, Error> {
    let way = name.split('-').next().unwrap_or(name);
    let audit = format!(
        "audit:\n  directory: ${{DIR}}/audit-{name}-log\n  origin: audit.bench/{name}\n  on_failure: {way}\n{more}"
    );
    let audit = if way == OFF { String::new() } else { audit };
    let Gateway { address, rest, child, console } = console.start_another_with(name, &audit)?;
    let target = Target { address, tls: None, follow: true };
    let bridge = Some(Bridge { address: rest, tls: None });
    Ok(Member { party: Party::Sealed, target, child: Some(child), console: Some(console), bridge })
}

/// The ways of keeping a log.
const WAYS: [&str; 3] = [OFF, "alarm", "block"];
/// The one that the others are held against.
pub const OFF: &str = "off";
/// Of latencies, by turns.
const LEAST_ROUNDS: usize = 5;
/// The bar is 3 %: fewer say nothing about that.
const LEAST_PAIRS: usize = 11;
/// Connections that are opened for their first request.
const FIRST_REQUESTS: usize = 100;
const CONNECTED: Duration = Duration::from_millis(5);
/// Callers at once, each with one post under way.
const CALLERS: usize = 64;
