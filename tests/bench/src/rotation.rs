//! The epoch is rotated by command while clients produce and consume at full speed. What they notice is the longest silence
//! around each rotation, beside that of an equal stretch without one. The keys on the broker prove that each rotation took place:
//! every partition must have gone on under a new one.

use std::time::Duration;

use crate::args::LoadArguments;
use crate::batch::{self, Codec, wall_millis};
use crate::error::Error;
use crate::load::flow::{self, Arrival, Course, Lane};
use crate::silence::{Silences, Window};
use crate::stage::{Console, Member, Stage};
use crate::wire::fetch;

/// What one run with several rotations showed.
pub struct Rotations {
    /// Each rotation.
    pub each: Vec<Rotation>,
    /// Records acknowledged in a second.
    pub produced_per_second: f64,
    /// Records delivered in a second.
    pub delivered_per_second: f64,
    /// Records that were delivered more than once.
    pub duplicates: u64,
    /// Records that were acknowledged and not delivered.
    pub gaps: u64,
}

/// One rotation.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// From the command's start to its end.
    pub command: Duration,
    /// From the command's start until the last partition went on under the new key.
    pub in_force: Duration,
    /// The longest silences from the command's start until it is over for good.
    pub rotating: Silences,
    /// The same over an equal stretch without a rotation.
    pub quiet: Silences,
}

/// Rotates the epoch of `topic` so many times under load. The topic is there and has as many partitions as connections.
pub fn run(
    stage: &Stage,
    member: &Member,
    load: &LoadArguments,
    times: usize,
    topic: &str,
) -> Result<Rotations, Error> {
    let console = member.console.as_ref().filter(|_| member.party.seals());
    let console = console.ok_or_else(|| Error::Setup(format!("{} seals nothing: no epoch", member.party.name())))?;
    let mut shape = load.shape(topic);
    shape.codec = Codec::None;
    let (turns, lanes) = flow::run(&member.target, &shape, |course| {
        course.wait(shape.warm)?;
        (0..times.max(1)).map(|_| Turn::take(course, console, topic)).collect::<Result<Vec<_>, _>>()
    })?;
    let keys = Keys::read(stage, topic)?;
    let mut in_force = Vec::new();
    for (index, turn) in turns.iter().enumerate() {
        let next = turns.get(index + 1).map_or(i64::MAX, |next| next.wall);
        in_force.push(keys.changed_between(turn.wall, next)?);
    }
    // A rotation that takes its time is not over before it is in force.
    let rotating = |turn: &Turn, in_force: Duration| {
        let to = turn.rotating.to.max(turn.rotating.from + in_force + SETTLE);
        Window { to, ..turn.rotating }
    };
    let both = || turns.iter().zip(in_force.iter().copied());
    let apart: Vec<_> = both().map(|(turn, in_force)| rotating(turn, in_force)).collect();
    let each = both()
        .map(|(turn, in_force)| Rotation {
            command: turn.command,
            in_force,
            rotating: Silences::find(&lanes, rotating(turn, in_force), &[]),
            quiet: Silences::find(&lanes, turn.quiet, &apart),
        })
        .collect();
    let seconds = span(&turns).as_secs_f64();
    let rate = |side: fn(&Lane) -> &[Arrival]| {
        let within = lanes.iter().flat_map(side).filter(|arrival| inside(&turns, arrival.at));
        within.map(|arrival| arrival.records).sum::<u64>() as f64 / seconds
    };
    Ok(Rotations {
        each,
        produced_per_second: rate(|lane| &lane.acknowledged),
        delivered_per_second: rate(|lane| &lane.delivered),
        duplicates: lanes.iter().map(|lane| lane.sequence.duplicates).sum(),
        gaps: lanes.iter().map(|lane| lane.sequence.gaps).sum(),
    })
}

/// One rotation and the quiet time behind it.
struct Turn {
    /// The wall clock at the command's start: the time of Kafka's batches is of it.
    wall: i64,
    command: Duration,
    rotating: Window,
    quiet: Window,
}

impl Turn {
    fn take(course: &Course<'_>, console: &Console, topic: &str) -> Result<Self, Error> {
        let (wall, from) = (wall_millis(), course.elapsed());
        console.run(&["epoch", "rotate", "--topic", topic])?;
        let command = course.elapsed() - from;
        course.wait(SETTLE)?;
        let rotating = Window { from, to: course.elapsed() };
        course.wait(rotating.to - from)?;
        Ok(Self { wall, command, rotating, quiet: Window { from: rotating.to, to: course.elapsed() } })
    }
}

fn span(turns: &[Turn]) -> Duration {
    let ends = turns.first().zip(turns.last());
    ends.map_or(Duration::ZERO, |(first, last)| last.quiet.to - first.rotating.from)
}

fn inside(turns: &[Turn], at: Duration) -> bool {
    turns.iter().any(|turn| (turn.rotating.from..turn.quiet.to).contains(&at))
}

/// For each partition, the times at which batches under another key began, as their producer wrote them.
struct Keys(Vec<Vec<i64>>);

impl Keys {
    /// Reads the topic from the broker, past every gateway.
    fn read(stage: &Stage, topic: &str) -> Result<Self, Error> {
        let direct = stage.direct();
        let mut partitions = Vec::new();
        for leader in direct.leaders(topic)? {
            let mut link = direct.connect(&leader)?;
            let (mut offset, mut seen, mut changes) = (0, Vec::new(), Vec::new());
            loop {
                let wish =
                    fetch::Wish { topic, partition: leader.partition, offset, max_wait_ms: 0, max_bytes: READ_AT_ONCE };
                let fetched = fetch::answer(link.call(&mut fetch::request(&wish))?)?;
                batch::each_first(fetched.records, |time, value| {
                    let key = key_of(value)?;
                    if !seen.contains(&key) {
                        seen.push(key);
                        changes.push(time);
                    }
                    Ok(())
                })?;
                match batch::walk(fetched.records)?.next_offset {
                    Some(next) => offset = next,
                    None => break,
                }
            }
            partitions.push(changes);
        }
        Ok(Self(partitions))
    }

    /// How long after `wall` the last partition had a new key; each must have one before `next`.
    fn changed_between(&self, wall: i64, next: i64) -> Result<Duration, Error> {
        let mut latest = 0;
        for (partition, changes) in self.0.iter().enumerate() {
            let change = changes.iter().find(|&&time| (wall..next).contains(&time));
            let change = change.ok_or_else(|| {
                Error::Mismatch(format!("partition {partition} was not sealed under a new key after a rotation"))
            })?;
            latest = latest.max(change - wall);
        }
        Ok(Duration::from_millis(u64::try_from(latest).unwrap_or(0)))
    }
}

/// The key id in the header of a sealed value (ENVELOPE.md, section 2).
fn key_of(value: &[u8]) -> Result<[u8; 16], Error> {
    let sealed = value.first().is_some_and(|&magic| magic == MAGIC);
    let key = value.get(KEY_AT).and_then(|key| key.try_into().ok()).filter(|_| sealed);
    key.ok_or_else(|| Error::Mismatch("a value of a sealed topic is not sealed on the broker".into()))
}

/// What a rotation brings with it is over this long after the command's end and after the new key's first use.
const SETTLE: Duration = Duration::from_millis(500);
/// First byte of a sealed value.
const MAGIC: u8 = 0xfb;
/// Where its key id stands.
const KEY_AT: std::ops::Range<usize> = 4..20;
const READ_AT_ONCE: i32 = 8 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_partition_must_have_a_new_key_in_time() {
        let keys = Keys(vec![vec![5, 120, 260], vec![5, 150, 220]]);
        assert_eq!(keys.changed_between(100, 200).unwrap().as_millis(), 50);
        assert_eq!(keys.changed_between(200, i64::MAX).unwrap().as_millis(), 60);
        assert!(keys.changed_between(100, 140).is_err());
        assert!(keys.changed_between(300, i64::MAX).is_err());
    }

    #[test]
    fn a_plain_value_has_no_key() {
        let mut value = [7; 44];
        assert!(key_of(&value).is_err());
        value[0] = MAGIC;
        assert_eq!(key_of(&value).unwrap(), [7; 16]);
        assert!(key_of(&[MAGIC; 19]).is_err());
    }
}
