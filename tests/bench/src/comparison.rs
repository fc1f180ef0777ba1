//! Side by side: the same load on every party of one stage, round after round, in an order that turns with each round, so that
//! whatever else the machine does meets all of them. A party that fails a load has no figure there and its reason is printed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::args::{Acks, Aspect, Compare, LoadArguments, StageArguments};
use crate::batch::Codec;
use crate::error::{Attempt, Error};
use crate::load::idle::Idle;
use crate::load::latency::Latencies;
use crate::load::{self, Figures, Shape};
use crate::machine;
use crate::parts::Parts;
use crate::payload::{Kind, Payload};
use crate::report;
use crate::stage::{Member, Party, Stage};

/// What the rounds of one party showed.
pub struct Column<T> {
    /// Who.
    pub party: Party,
    /// One entry for each round that succeeded.
    pub rounds: Vec<T>,
    /// Why a round failed, if one did.
    pub failure: Option<String>,
}

/// One produce window, one consume window on the same topic, and what the broker stored.
pub struct Speed {
    /// Produce.
    pub produce: Figures,
    /// Consume.
    pub consume: Figures,
    /// Bytes of segment files for each record.
    pub stored: f64,
}

/// `compare`: one aspect under one load.
pub fn compare(compare: &Compare) -> Result<(), Error> {
    let stage = Stage::start(&compare.stage)?;
    let load = &compare.load;
    let failed = match compare.aspect {
        Aspect::Speed => {
            warm_up(&stage, load)?;
            let columns = speed(&stage, load, compare.rounds);
            println!("{}", report::speed(&columns));
            println!("{}", report::requests(&columns));
            failures(&columns)
        }
        Aspect::Latency => {
            warm_up(&stage, load)?;
            let columns = latency(&stage, load, compare.rounds, compare.rate);
            println!("{}", report::latency(&columns));
            failures(&columns)
        }
        Aspect::Idle => {
            let columns = idle(&stage, compare.count);
            println!("{}", report::idle(&columns));
            failures(&columns)
        }
    };
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Mismatch(failed.join("; ")))
    }
}

/// `all`: the tables of RESULTS.md, printed as they are finished.
pub fn all(
    arguments: &StageArguments,
    rounds: usize,
    seconds: f64,
    out: Option<&Path>,
) -> Result<(), Error> {
    let stage = Stage::start(arguments)?;
    let mut paper = Paper::default();
    paper.add(report::opening(&machine::describe(), rounds, seconds));
    for (party, reason) in &stage.missing {
        paper.add(format!(
            "Not measured: {}, because {reason}\n",
            party.name()
        ));
    }

    let main = LoadArguments {
        seconds,
        ..standard()
    };
    paper.heading(&format!("Idle connections, {IDLE} of them"));
    let idle = idle(&stage, IDLE);
    paper.table(report::idle(&idle), failures(&idle));

    warm_up(&stage, &main)?;
    paper.heading("1 KiB values, random bytes, no codec, 4 connections");
    let speeds = speed(&stage, &main, rounds);
    paper.table(report::speed(&speeds), failures(&speeds));

    paper.heading(
        "One 1 KiB record in each request, one request in flight on each of 4 connections",
    );
    let one = LoadArguments {
        batch: 0,
        in_flight: 1,
        ..main.clone()
    };
    let singles = speed(&stage, &one, rounds);
    paper.table(report::requests(&singles), failures(&singles));

    paper.heading(&format!(
        "Latency at {RATE} records a second, 1 KiB, one connection"
    ));
    let calm = LoadArguments {
        connections: 1,
        ..main.clone()
    };
    let latencies = latency(&stage, &calm, rounds, RATE);
    paper.table(report::latency(&latencies), failures(&latencies));

    for (title, load) in variations(&main) {
        paper.heading(title);
        let columns = speed(&stage, &load, 1);
        paper.table(report::speed(&columns), failures(&columns));
    }

    let parts = Parts::measure(main.value, &stage.certificates)?;
    paper.heading("The parts alone, and how far from their sum");
    paper.add(report::parts(&parts, main.value));
    paper.add(report::limits(&parts, &speeds));
    paper.heading("What it must reach");
    paper.add(report::verdicts(&speeds, &singles, &latencies, &idle));
    match out {
        Some(path) => fs::write(path, paper.text).attempt(|| format!("write {}", path.display())),
        None => Ok(()),
    }
}

/// Values, codecs and connections other than those of the main load.
fn variations(main: &LoadArguments) -> Vec<(&'static str, LoadArguments)> {
    let json = |codec| LoadArguments {
        codec,
        values: Kind::Json,
        ..main.clone()
    };
    // Many connections share what the broker can take: smaller batches and answers, so that memory is that of connections.
    let crowd = |connections| LoadArguments {
        connections,
        in_flight: 1,
        batch: 16 << 10,
        fetch_bytes: 64 << 10,
        ..main.clone()
    };
    vec![
        (
            "100 B values, random bytes, no codec, 4 connections",
            LoadArguments {
                value: 100,
                ..main.clone()
            },
        ),
        (
            "10 KiB values, random bytes, no codec, 4 connections",
            LoadArguments {
                value: 10 << 10,
                ..main.clone()
            },
        ),
        (
            "1 KiB values, JSON-like, no codec, 4 connections",
            json(Codec::None),
        ),
        (
            "1 KiB values, JSON-like, lz4, 4 connections",
            json(Codec::Lz4),
        ),
        (
            "1 KiB values, JSON-like, zstd, 4 connections",
            json(Codec::Zstd),
        ),
        (
            "1 KiB values, random bytes, no codec, 1 connection",
            LoadArguments {
                connections: 1,
                ..main.clone()
            },
        ),
        ("1 KiB values, 16 KiB batches, 100 connections", crowd(100)),
        (
            "1 KiB values, 16 KiB batches, 1,000 connections",
            crowd(1000),
        ),
    ]
}

fn standard() -> LoadArguments {
    LoadArguments {
        seconds: 3.0,
        warm: 1.0,
        connections: 4,
        partitions: 4,
        in_flight: 5,
        value: 1024,
        batch: 64 << 10,
        codec: Codec::None,
        values: Kind::Random,
        acks: Acks::All,
        fetch_bytes: 1 << 20,
    }
}

/// The broker's just-in-time compiler must have seen both paths before anyone is measured.
fn warm_up(stage: &Stage, load: &LoadArguments) -> Result<(), Error> {
    let longer = LoadArguments {
        warm: 0.0,
        seconds: BROKER_WARM,
        ..load.clone()
    };
    let direct = Member {
        party: Party::Direct,
        target: stage.direct(),
        child: None,
    };
    one_speed(stage, &direct, &longer, "warm-up")?;
    let calm = LoadArguments {
        connections: 1,
        seconds: 1.0,
        ..longer
    };
    one_latency(stage, &direct, &calm, RATE, "warm-up-calm").map(drop)
}

fn speed(stage: &Stage, load: &LoadArguments, rounds: usize) -> Vec<Column<Speed>> {
    turns(stage, rounds, |member, topic| {
        one_speed(stage, member, load, topic)
    })
}

fn latency(
    stage: &Stage,
    load: &LoadArguments,
    rounds: usize,
    rate: f64,
) -> Vec<Column<Latencies>> {
    turns(stage, rounds, |member, topic| {
        one_latency(stage, member, load, rate, topic)
    })
}

fn idle(stage: &Stage, count: usize) -> Vec<Column<Idle>> {
    stage
        .members()
        .iter()
        .filter_map(|member| {
            let pid = member.child.as_ref()?.pid();
            let outcome = load::idle::run(&member.target, count, pid);
            let failure = outcome.as_ref().err().map(ToString::to_string);
            Some(Column {
                party: member.party,
                rounds: outcome.into_iter().collect(),
                failure,
            })
        })
        .collect()
}

/// Runs all rounds; each begins with another party.
fn turns<T>(
    stage: &Stage,
    rounds: usize,
    run: impl Fn(&Member, &str) -> Result<T, Error>,
) -> Vec<Column<T>> {
    let members = stage.members();
    let mut columns: Vec<Column<T>> = members
        .iter()
        .map(|member| Column {
            party: member.party,
            rounds: Vec::new(),
            failure: None,
        })
        .collect();
    for round in 0..rounds.max(1) {
        for step in 0..members.len() {
            let index = (round + step) % members.len();
            let (Some(member), Some(column)) = (members.get(index), columns.get_mut(index)) else {
                continue;
            };
            // Two rounds never share a topic: its deletion may still be under way.
            let topic = format!("bench-{}-{}", member.party.name(), stage.next_number());
            match run(member, &topic) {
                Ok(figures) => column.rounds.push(figures),
                Err(error) => column.failure = Some(error.to_string()),
            }
        }
    }
    columns
}

fn one_speed(
    stage: &Stage,
    member: &Member,
    load: &LoadArguments,
    topic: &str,
) -> Result<Speed, Error> {
    let shape = load.shape(topic);
    with_topic(stage, load, topic, || {
        let produce = load::produce::run(&member.target, &shape, stage.watch(member))?;
        look_at_rest(stage, member.party, &shape)?;
        let stored =
            stage.broker.stored_bytes(topic)? as f64 / produce.records_in_all.max(1) as f64;
        let consume = load::consume::run(&member.target, &shape, stage.watch(member))?;
        Ok(Speed {
            produce,
            consume,
            stored,
        })
    })
}

fn one_latency(
    stage: &Stage,
    member: &Member,
    load: &LoadArguments,
    rate: f64,
    topic: &str,
) -> Result<Latencies, Error> {
    let shape = load.shape(topic);
    with_topic(stage, load, topic, || {
        load::latency::run(&member.target, &shape, rate, stage.watch(member))
    })
}

fn with_topic<T>(
    stage: &Stage,
    load: &LoadArguments,
    topic: &str,
    run: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let direct = stage.direct();
    direct.create_topic(topic, load.partitions)?;
    let outcome = run();
    let deleted = direct.delete_topic(topic);
    // Let the broker drop the files before the next window opens.
    std::thread::sleep(AFTER_DELETE);
    outcome.and_then(|figures| deleted.map(|()| figures))
}

/// Proves that sealed is sealed: no value stands in the broker's files. And that the look itself sees: without sealing it does.
fn look_at_rest(stage: &Stage, party: Party, shape: &Shape) -> Result<(), Error> {
    let value = Payload::new(shape.kind).value(shape.value_bytes);
    let needle = value.get(..value.len().min(32)).unwrap_or_default();
    match (party.seals(), stage.broker.stores(&shape.topic, needle)?) {
        (true, true) => Err(Error::Mismatch(format!(
            "plaintext of sealed topic {} stands in the broker's files",
            shape.topic
        ))),
        (false, false) if shape.codec == Codec::None => Err(Error::Mismatch(format!(
            "no value of topic {} is found in the broker's files",
            shape.topic
        ))),
        _ => Ok(()),
    }
}

fn failures<T>(columns: &[Column<T>]) -> Vec<String> {
    columns
        .iter()
        .filter_map(|column| {
            Some(format!(
                "{} failed: {}",
                column.party.name(),
                column.failure.as_ref()?
            ))
        })
        .collect()
}

/// Collects the tables and prints each at once: a long run shows where it is.
#[derive(Default)]
struct Paper {
    text: String,
}

impl Paper {
    fn add(&mut self, text: String) {
        println!("{text}");
        self.text.push_str(&text);
        self.text.push('\n');
    }

    fn heading(&mut self, title: &str) {
        self.add(format!("## {title}\n"));
    }

    fn table(&mut self, table: String, failed: Vec<String>) {
        self.add(table);
        for reason in failed {
            self.add(format!("{reason}\n"));
        }
    }
}

/// Idle connections opened.
const IDLE: usize = 1000;
/// Records in a second that leave both cores mostly idle.
const RATE: f64 = 500.0;
const BROKER_WARM: f64 = 5.0;
const AFTER_DELETE: Duration = Duration::from_millis(300);
