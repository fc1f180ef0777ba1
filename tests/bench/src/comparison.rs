//! Side by side: the same load on every party of one stage, round after round, in an order that turns with each round, so that
//! whatever else the machine does meets all of them. A party that fails a load has no figure there and its reason is printed.

use std::time::Duration;

use crate::args::{Aspect, Compare, LoadArguments, StageArguments};
use crate::audit;
use crate::batch::Codec;
use crate::bridge;
use crate::error::Error;
use crate::load::idle::Idle;
use crate::load::latency::Paired;
use crate::load::stock::Stock;
use crate::load::{self, Figures, Shape};
use crate::payload::Payload;
use crate::report;
use crate::revocation::{self, Revocation};
use crate::rotation::{self, Rotations};
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
    let stage = Stage::start(&needed(compare))?;
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
        Aspect::Stock => {
            warm_up(&stage, load)?;
            let columns = stock(&stage, load, compare.rounds);
            println!("{}", report::stock(&columns));
            failures(&columns)
        }
        Aspect::Rotate => {
            warm_up(&stage, load)?;
            let columns = rotate(&stage, load, compare.times);
            println!("{}", report::rotations(&columns));
            failures(&columns)
        }
        Aspect::Revoke => {
            warm_up(&stage, load)?;
            let columns = revoke(&stage, load, compare.times);
            println!("{}", report::revocations(&columns));
            failures(&columns)
        }
        Aspect::Http => {
            warm_up(&stage, load)?;
            let columns = bridge::posts(&stage, load, bridge::MODEST);
            println!("{}\n{}", report::posts(&columns), report::callers(&columns));
            failures(&columns)
        }
        Aspect::Audit => {
            warm_up(&stage, load)?;
            let audited = audit::measure(&stage, load, (compare.rounds, compare.rate), compare.entries)?;
            println!("{}", report::audited(&audited));
            audited.failures()
        }
        Aspect::Idle => {
            let columns = idle(&stage, compare.count);
            println!("{}", report::idle(&columns));
            failures(&columns)
        }
    };
    if failed.is_empty() { Ok(()) } else { Err(Error::Mismatch(failed.join("; "))) }
}

/// Where nobody is named, only those are started who can show the aspect.
fn needed(compare: &Compare) -> StageArguments {
    let can: &[Party] = match compare.aspect {
        Aspect::Http | Aspect::Rotate => &[Party::Sealed, Party::SealedMtls],
        Aspect::Audit => &[Party::Sealed],
        Aspect::Revoke => &[Party::SealedMtls],
        _ => &[],
    };
    let mut stage = compare.stage.clone();
    if stage.parties.is_empty() {
        stage.parties = can.to_vec();
    }
    stage
}

/// The broker's just-in-time compiler must have seen both paths before anyone is measured.
pub fn warm_up(stage: &Stage, load: &LoadArguments) -> Result<(), Error> {
    let longer = LoadArguments { warm: 0.0, seconds: BROKER_WARM, ..load.clone() };
    let direct = Member { party: Party::Direct, target: stage.direct(), child: None, console: None, bridge: None };
    one_speed(stage, &direct, &longer, "warm-up")?;
    let calm = LoadArguments { connections: 1, seconds: 3.0, ..longer };
    one_latency(stage, &direct, &calm, RATE, "warm-up-calm").map(drop)
}

/// Produce, then consume, of every party.
pub fn speed(stage: &Stage, load: &LoadArguments, rounds: usize) -> Vec<Column<Speed>> {
    turns(stage, rounds, |member, topic| one_speed(stage, member, load, topic))
}

/// Latency of every party.
pub fn latency(stage: &Stage, load: &LoadArguments, rounds: usize, rate: f64) -> Vec<Column<Paired>> {
    turns(stage, rounds, |member, topic| one_latency(stage, member, load, rate, topic))
}

/// Idle connections to every party that is a process of its own.
pub fn idle(stage: &Stage, count: usize) -> Vec<Column<Idle>> {
    stage
        .members()
        .iter()
        .filter_map(|member| {
            let pid = member.child.as_ref()?.pid();
            let outcome = load::idle::run(&member.target, count, pid);
            let failure = outcome.as_ref().err().map(ToString::to_string);
            Some(Column { party: member.party, rounds: outcome.into_iter().collect(), failure })
        })
        .collect()
}

/// Kafka's own consumer on every party that answers with addresses of its own.
pub fn stock(stage: &Stage, load: &LoadArguments, rounds: usize) -> Vec<Column<Stock>> {
    let mut columns = turns(stage, rounds, |member, topic| {
        if member.party.is_relay() {
            return Ok(None);
        }
        let shape = load.shape(topic);
        with_topic(stage, load, topic, || {
            let produced = load::produce::run(&member.target, &shape, stage.watch(member))?;
            load::stock::run(stage, member, &shape, produced.records_in_all).map(Some)
        })
    });
    columns.retain(|column| !column.party.is_relay());
    columns
        .into_iter()
        .map(|column| Column {
            party: column.party,
            rounds: column.rounds.into_iter().flatten().collect(),
            failure: column.failure,
        })
        .collect()
}

/// The epoch rotated several times in one load, of every party that seals.
pub fn rotate(stage: &Stage, load: &LoadArguments, times: usize) -> Vec<Column<Rotations>> {
    // Each connection writes or reads a partition of its own.
    let load = LoadArguments { partitions: i32::try_from(load.connections).unwrap_or(1).max(1), ..load.clone() };
    stage
        .members()
        .iter()
        .filter(|member| member.party.seals())
        .map(|member| {
            let topic = format!("bench-rotate-{}-{}", member.party.name(), stage.next_number());
            let outcome =
                with_topic(stage, &load, &topic, || rotation::run(stage, member, &load, times.max(1), &topic));
            let failure = outcome.as_ref().err().map(ToString::to_string);
            Column { party: member.party, rounds: outcome.into_iter().collect(), failure }
        })
        .collect()
}

/// A grant revoked several times, each time of a new topic, of every party whose clients have names.
pub fn revoke(stage: &Stage, load: &LoadArguments, times: usize) -> Vec<Column<Revocation>> {
    let load = LoadArguments { partitions: 1, ..load.clone() };
    let of_one = |member: &Member, column: &mut Column<Revocation>| {
        let console = member.console.as_ref().ok_or_else(|| Error::Setup("only a gateway has grants".into()))?;
        let another = console.start_another()?;
        for _ in 0..times.max(1) {
            let topic = format!("bench-revoke-{}-{}", member.party.name(), stage.next_number());
            let revoked = || revocation::run(stage, member, &another, &load, &topic);
            column.rounds.push(with_topic(stage, &load, &topic, revoked)?);
        }
        Ok::<_, Error>(())
    };
    let members = stage.members().iter().filter(|member| member.party.seals() && member.party.tls());
    members
        .map(|member| {
            let mut column = Column { party: member.party, rounds: Vec::new(), failure: None };
            column.failure = of_one(member, &mut column).err().map(|error| error.to_string());
            column
        })
        .collect()
}

/// Runs all rounds; each begins with another party.
fn turns<T>(stage: &Stage, rounds: usize, run: impl Fn(&Member, &str) -> Result<T, Error>) -> Vec<Column<T>> {
    let members = stage.members();
    let mut columns: Vec<Column<T>> =
        members.iter().map(|member| Column { party: member.party, rounds: Vec::new(), failure: None }).collect();
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

/// Produce, then consume, of one party.
pub fn one_speed(stage: &Stage, member: &Member, load: &LoadArguments, topic: &str) -> Result<Speed, Error> {
    let shape = load.shape(topic);
    with_topic(stage, load, topic, || {
        let produce = load::produce::run(&member.target, &shape, stage.watch(member))?;
        look_at_rest(stage, member.party, &shape)?;
        let stored = stage.broker.stored_bytes(topic)? as f64 / produce.records_in_all.max(1) as f64;
        let consume = load::consume::run(&member.target, &shape, stage.watch(member))?;
        Ok(Speed { produce, consume, stored })
    })
}

fn one_latency(stage: &Stage, member: &Member, load: &LoadArguments, rate: f64, topic: &str) -> Result<Paired, Error> {
    let shape = load.shape(topic);
    let (target, watch) = (&member.target, stage.watch(member));
    with_topic(stage, load, topic, || match member.party {
        Party::Direct => {
            let through = load::latency::run(target, &shape, rate, watch)?;
            Ok(Paired { through, beside: None })
        }
        _ => load::latency::beside(target, &stage.direct(), &shape, rate, watch),
    })
}

/// Makes a topic for a run, and deletes it afterwards.
pub fn with_topic<T>(
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
        (true, true) => {
            Err(Error::Mismatch(format!("plaintext of sealed topic {} stands in the broker's files", shape.topic)))
        }
        (false, false) if shape.codec == Codec::None => {
            Err(Error::Mismatch(format!("no value of topic {} is found in the broker's files", shape.topic)))
        }
        _ => Ok(()),
    }
}

/// Who failed, and why.
pub fn failures<T>(columns: &[Column<T>]) -> Vec<String> {
    columns
        .iter()
        .filter_map(|column| Some(format!("{} failed: {}", column.party.name(), column.failure.as_ref()?)))
        .collect()
}

/// Records in a second that leave both cores mostly idle.
pub const RATE: f64 = 500.0;
const BROKER_WARM: f64 = 5.0;
const AFTER_DELETE: Duration = Duration::from_millis(300);
