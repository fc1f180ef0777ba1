//! The whole programme of `all`: which loads, in which order, and the paper that they are written to. Idle connections come
//! first, while every process is fresh; the main loads get several rounds, the variations one.

use std::fs;
use std::path::Path;

use crate::args::{Acks, LoadArguments, StageArguments};
use crate::audit;
use crate::batch::Codec;
use crate::bridge::{self, MODEST};
use crate::comparison::{RATE, failures, idle, latency, revoke, rotate, speed, stock, warm_up};
use crate::error::{Attempt, Error};
use crate::machine;
use crate::parts::Parts;
use crate::payload::Kind;
use crate::report;
use crate::stage::Stage;

/// `all`: the tables of RESULTS.md, printed as they are finished.
pub fn run(arguments: &StageArguments, rounds: usize, seconds: f64, out: Option<&Path>) -> Result<(), Error> {
    let stage = Stage::start(arguments)?;
    let mut paper = Paper::default();
    paper.add(report::opening(&machine::describe(), rounds, seconds));
    for (party, reason) in &stage.missing {
        paper.add(format!("Not measured: {}, because {reason}\n", party.name()));
    }

    let main = LoadArguments { seconds, ..standard() };
    paper.heading(&format!("Idle connections, {IDLE} of them"));
    let idle = idle(&stage, IDLE);
    paper.table(report::idle(&idle), failures(&idle));

    warm_up(&stage, &main)?;
    paper.heading("1 KiB values, random bytes, no codec, 4 connections");
    let speeds = speed(&stage, &main, rounds);
    paper.table(report::speed(&speeds), failures(&speeds));

    paper.heading("One 1 KiB record in each request, one request in flight on each of 4 connections");
    let one = LoadArguments { batch: 0, in_flight: 1, ..main.clone() };
    let singles = speed(&stage, &one, rounds);
    paper.table(report::requests(&singles), failures(&singles));

    paper.heading(&format!("Latency at {RATE} records a second, 1 KiB, one connection"));
    let calm = LoadArguments { connections: 1, ..main.clone() };
    let latencies = latency(&stage, &calm, rounds, RATE);
    paper.table(report::latency(&latencies), failures(&latencies));

    paper.heading("Kafka's own consumer (ConsumerPerformance), 1 KiB values");
    let stocks = stock(&stage, &main, rounds);
    paper.table(report::stock(&stocks), failures(&stocks));

    paper.heading(&format!("The epoch rotated {ROTATIONS} times at full load of produce and consume, 1 KiB, no codec"));
    let rotations = rotate(&stage, &main, ROTATIONS);
    paper.table(report::rotations(&rotations), failures(&rotations));

    paper.heading(&format!("A reader's grant revoked {REVOCATIONS} times while it reads, on two gateways"));
    let revocations = revoke(&stage, &main, REVOCATIONS);
    paper.table(report::revocations(&revocations), failures(&revocations));

    paper.heading(&format!(
        "Posts over HTTP beside a native client of the same gateway, 1 KiB values, {MODEST} a second for latency"
    ));
    let posts = bridge::posts(&stage, &main, MODEST);
    paper.table(report::posts(&posts), failures(&posts));
    paper.add(report::callers(&posts));

    paper.heading(&format!("The audit log: off, `alarm` and `block` in turns, the log alone, a dead sink; {RATE} records a second for latency"));
    let audited = audit::measure(&stage, &main, (rounds, RATE), AUDITED);
    match &audited {
        Ok(audited) => paper.table(report::audited(audited), audited.failures()),
        Err(error) => paper.add(format!("Not measured: {error}\n")),
    }

    let mut crowds = Vec::new();
    for (title, load) in variations(&main) {
        paper.heading(title);
        let columns = speed(&stage, &load, 1);
        paper.table(report::speed(&columns), failures(&columns));
        if load.connections != main.connections {
            crowds.push((load.connections, columns));
        }
    }
    paper.heading("By the number of connections");
    let counts: Vec<_> = crowds.iter().map(|(count, columns)| (*count, columns.as_slice())).collect();
    paper.add(report::connections(&counts));

    let parts = Parts::measure(main.value, &stage.certificates)?;
    paper.heading("The parts alone, and how far from their sum");
    paper.add(report::parts(&parts, main.value));
    paper.add(report::limits(&parts, &speeds));
    paper.heading("What it must reach");
    paper.add(report::verdicts(&report::Measured {
        speeds,
        singles,
        latencies,
        stocks,
        idle,
        rotations,
        revocations,
        posts,
        audited: audited.ok(),
    }));
    match out {
        Some(path) => fs::write(path, paper.text).attempt(|| format!("write {}", path.display())),
        None => Ok(()),
    }
}

/// Values, codecs and connections other than those of the main load. They have one round, and windows a third shorter: there are
/// many of them.
fn variations(main: &LoadArguments) -> Vec<(&'static str, LoadArguments)> {
    let main = LoadArguments { seconds: main.seconds * 2.0 / 3.0, warm: main.warm / 2.0, ..main.clone() };
    let json = |codec| LoadArguments { codec, values: Kind::Json, ..main.clone() };
    // Many connections share what the broker can take: smaller batches and answers, so that memory is that of connections.
    let crowd = |connections| LoadArguments {
        connections,
        in_flight: 1,
        batch: 16 << 10,
        fetch_bytes: 64 << 10,
        ..main.clone()
    };
    vec![
        ("100 B values, random bytes, no codec, 4 connections", LoadArguments { value: 100, ..main.clone() }),
        ("10 KiB values, random bytes, no codec, 4 connections", LoadArguments { value: 10 << 10, ..main.clone() }),
        ("1 KiB values, JSON-like, no codec, 4 connections", json(Codec::None)),
        ("1 KiB values, JSON-like, lz4, 4 connections", json(Codec::Lz4)),
        ("1 KiB values, JSON-like, zstd, 4 connections", json(Codec::Zstd)),
        ("1 KiB values, random bytes, no codec, 1 connection", LoadArguments { connections: 1, ..main.clone() }),
        ("1 KiB values, 16 KiB batches, 100 connections", crowd(100)),
        ("1 KiB values, 16 KiB batches, 1,000 connections", crowd(1000)),
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

/// Rotations for each party; each takes some seconds, and all their records stay on the disk until the last.
const ROTATIONS: usize = 4;
/// Entries that an auditor's check takes on: seven GB.
const AUDITED: u64 = 10_000_000;
/// Revocations, each of a topic of its own.
const REVOCATIONS: usize = 8;
/// Idle connections opened.
const IDLE: usize = 1000;
