//! A grant is revoked by command while its reader reads, on two gateways at once. Measured is how long each gateway goes on
//! delivering to it and when it first refuses. The writer and another reader go on: a refusal, a gap or a duplicate for them ends
//! the measurement, and so does a record that the revoked reader gets after it was refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::args::LoadArguments;
use crate::batch::{self, Codec};
use crate::error::Error;
use crate::load::Target;
use crate::load::flow::{self, Course};
use crate::load::numbered::Mark;
use crate::silence::{Silences, Window};
use crate::stage::{Gateway, Member, Stage};
use crate::wire::fetch;

/// What one revocation showed. All moments count from the start of the command.
pub struct Revocation {
    /// When the command ended.
    pub command: Duration,
    /// What the reader saw, on the first gateway and on the second.
    pub gateways: [Seen; 2],
    /// The longest silence of the writer and of another reader, around the revocation.
    pub others: Silences,
}

/// What the revoked reader saw on one gateway.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When it got its last record.
    pub last: Duration,
    /// When it was first refused.
    pub refused: Duration,
    /// Records that it got after the command had ended.
    pub late: u64,
}

/// Revokes the reader's grant of `topic`, which is new and has one partition, on `member` and `another` gateway beside it.
pub fn run(
    stage: &Stage,
    member: &Member,
    another: &Gateway,
    load: &LoadArguments,
    topic: &str,
) -> Result<Revocation, Error> {
    let console = member.console.as_ref().ok_or_else(|| Error::Setup("only a gateway has grants".into()))?;
    let mut shape = LoadArguments { connections: 1, in_flight: 1, batch: 0, ..load.clone() }.shape(topic);
    shape.codec = Codec::None;
    let tls = Some(stage.certificates.reader_config()?);
    let reader = |address| Target { address, tls: tls.clone(), follow: true };
    let targets = [reader(member.target.address), reader(another.address)];
    let ((window, command, readings), lanes) = flow::run(&member.target, &shape, |course| {
        course.wait(shape.warm)?;
        let watch = [Watch::default(), Watch::default()];
        thread::scope(|scope| {
            let [first, second] = &watch;
            let [one, other] = &targets;
            let one = scope.spawn(|| read(one, topic, course, first));
            let other = scope.spawn(|| read(other, topic, course, second));
            let revoked = until_reading(course, &watch).and_then(|()| {
                let from = course.elapsed();
                console.run(&["grant", "revoke", "--topic", topic, "--principal", READER])?;
                Ok((from, course.elapsed()))
            });
            let deadline = revoked.as_ref().map_or(Duration::ZERO, |(_, to)| *to + LIMIT);
            watch.iter().for_each(|watch| watch.give_up_at(deadline));
            let panicked = || Error::Setup("a reader's thread panicked".into());
            let seen = [one, other].map(|reader| reader.join().unwrap_or_else(|_| Err(panicked())));
            let (from, to) = revoked?;
            let [one, other] = seen;
            let readings = [one?, other?];
            // The others must go on for a while under the new epoch.
            course.wait(AFTER)?;
            Ok((Window { from, to: course.elapsed() }, to - from, readings))
        })
    })?;
    if let Some(lane) = lanes.iter().find(|lane| lane.sequence.gaps + lane.sequence.duplicates > 0) {
        return Err(Error::Mismatch(format!("another reader was not left alone by a revocation: {:?}", lane.sequence)));
    }
    Ok(Revocation {
        command,
        gateways: readings.map(|reading| reading.seen(window.from, command)),
        others: Silences::find(&lanes, window, &[]),
    })
}

/// What the main thread knows of a reader and the reader of the main thread.
struct Watch {
    answers: AtomicU64,
    deadline: AtomicU64,
}

impl Default for Watch {
    fn default() -> Self {
        Self { answers: AtomicU64::new(0), deadline: AtomicU64::new(u64::MAX) }
    }
}

impl Watch {
    fn give_up_at(&self, moment: Duration) {
        self.deadline.store(u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn deadline(&self) -> Duration {
        Duration::from_nanos(self.deadline.load(Ordering::SeqCst))
    }
}

/// What a reader got until it was refused, from the beginning of the load.
struct Reading {
    /// When which number of records came.
    arrivals: Vec<(Duration, u64)>,
    refused: Duration,
}

impl Reading {
    fn seen(&self, from: Duration, command: Duration) -> Seen {
        let last = self.arrivals.last().map_or(Duration::ZERO, |(at, _)| *at);
        let late = self.arrivals.iter().filter(|(at, _)| *at > from + command).map(|(_, records)| records).sum();
        Seen { last: last.saturating_sub(from), refused: self.refused.saturating_sub(from), late }
    }
}

/// Lets both readers come to the end of the topic and read there for a while.
fn until_reading(course: &Course<'_>, watch: &[Watch]) -> Result<(), Error> {
    let limit = course.elapsed() + LIMIT;
    while watch.iter().any(|watch| watch.answers.load(Ordering::Relaxed) < READING) {
        course.wait(Duration::from_millis(5))?;
        if course.elapsed() > limit {
            return Err(Error::Mismatch("a reader that shall be revoked does not read".into()));
        }
    }
    Ok(())
}

/// Reads what comes until it is refused; and proves that it stays so, on this connection and on a new one.
fn read(target: &Target, topic: &str, course: &Course<'_>, watch: &Watch) -> Result<Reading, Error> {
    let leaders = target.leaders(topic)?;
    let leader = leaders.first().ok_or_else(|| Error::Setup("topic without partitions".into()))?;
    let mut link = target.connect(leader)?;
    let mut wish = fetch::Wish { topic, partition: leader.partition, offset: 0, max_wait_ms: 500, max_bytes: 1 << 20 };
    let mut arrivals = Vec::new();
    loop {
        match fetch::answer(link.call(&mut fetch::request(&wish))?) {
            Ok(fetched) => {
                let at = course.elapsed();
                batch::each_value(fetched.records, |value| Mark::read(value).map(drop))?;
                let walked = batch::walk(fetched.records)?;
                if let Some(next) = walked.next_offset {
                    wish.offset = next;
                    arrivals.push((at, walked.records));
                    watch.answers.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(Error::Kafka { code: TOPIC_AUTHORIZATION_FAILED, .. }) => break,
            Err(error) => return Err(error),
        }
        if course.elapsed() > watch.deadline() || !course.goes_on() {
            return Err(Error::Mismatch(format!("{READER} is not refused {LIMIT:?} after its grant was revoked")));
        }
    }
    let refused = course.elapsed();
    thread::sleep(AFTER);
    for mut link in [link, target.connect(leader)?] {
        match fetch::answer(link.call(&mut fetch::request(&wish))?) {
            Err(Error::Kafka { code: TOPIC_AUTHORIZATION_FAILED, .. }) => {}
            Ok(_) => return Err(Error::Mismatch(format!("{READER} was refused and is served again"))),
            Err(error) => return Err(error),
        }
    }
    Ok(Reading { arrivals, refused })
}

/// The principal of the second client certificate.
const READER: &str = "User:CN=reader";
/// What a reader without a grant is told.
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// Answers with records that a reader has had when it is revoked.
const READING: u64 = 50;
/// No reader waits longer for its first record, none reads longer after its revocation.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the state after a revocation is looked at.
const AFTER: Duration = Duration::from_millis(300);
