//! The audit log alone: how many events a second it takes, encodes, writes and syncs in groups, and puts under checkpoints; beside
//! what the same disk does with the same bytes when there is nothing else to do. Then an auditor's check of a log of many entries.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use barnabas::audit::event::{
    Audit, Event, HttpRequest, Keeping, LogStatements, Mechanism, OnFailure, Peer, RecordOutcome, Status,
};
use barnabas::audit::log::{Log, Settings, Signer, State};
use barnabas::identity::Principal;
use barnabas::metrics::AuditMetrics;
use barnabas_crypto::Secret;

use crate::error::{Attempt, Error};
use crate::histogram::Histogram;
use crate::process::CpuClock;
use crate::stage::Console;

/// What it showed.
pub struct Journal {
    /// Events made durable in a second.
    pub events: f64,
    /// Events put under a checkpoint in a second.
    pub checkpoints: f64,
    /// CPU for one event, all of it.
    pub cpu: Duration,
    /// Bytes of an event.
    pub bytes: f64,
    /// Events of this size that the disk alone takes in a second, in the largest groups that the log writes.
    pub disk: f64,
    /// One event written and synced alone: what a request waits for at least under `block`.
    pub alone: Histogram,
    /// Entries that `barnabas audit verify` has looked through.
    pub verified: u64,
    /// How long it took for them.
    pub verifying: Duration,
}

/// Measures all of it in a folder. The log gets `entries` at least.
pub fn measure(folder: &Path, seconds: f64, console: &Console, entries: u64) -> Result<Journal, Error> {
    fs::create_dir_all(folder).attempt(|| format!("create {}", folder.display()))?;
    let length = Duration::from_secs_f64(seconds.max(0.1));
    let directory = folder.join("log");
    let filled = Filled::open(&directory)?;
    let (events, checkpoints, cpu) = filled.speed(length)?;
    let bytes = entry_bytes(&directory.join("tile/entries/000"))?;
    let entry = vec![b'x'; bytes as usize];
    let group = entry.repeat((LARGEST_GROUP as f64 / bytes) as usize);
    let (groups, _) = disk_alone(&folder.join("disk"), &group, length)?;
    let (_, alone) = disk_alone(&folder.join("disk"), &entry, length)?;
    let disk = groups * group.len() as f64 / bytes;
    let verified = filled.up_to(entries)?;
    let begun = Instant::now();
    console.run_without_configuration(&["audit", "verify", &directory.display().to_string()])?;
    let verifying = begun.elapsed();
    drop(filled);
    fs::remove_dir_all(&directory).attempt(|| format!("remove {}", directory.display()))?;
    Ok(Journal { events, checkpoints, cpu, bytes, disk, alone, verified, verifying })
}

/// A log that one thread fills as fast as it takes entries.
struct Filled {
    log: Log,
    audit: Audit,
    peer: Peer,
}

impl Filled {
    fn open(folder: &Path) -> Result<Self, Error> {
        let origin: Arc<str> = Arc::from("audit.bench/journal");
        let refused = |error: barnabas::audit::log::Error| Error::Setup(error.to_string());
        let seed = Secret::draw().map_err(|error| Error::Setup(error.to_string()))?;
        let signer = Signer::from_seed(&seed).map_err(refused)?;
        let settings = Settings::new(folder.to_owned(), origin.to_string());
        let log = Log::open(settings, signer, Arc::new(LogStatements::new(origin.clone()))).map_err(refused)?;
        let keeping = Keeping { origin, on_failure: OnFailure::Alarm, window: Duration::from_secs(10) };
        let audit = Audit::new(log.clone(), keeping, AuditMetrics::default());
        Ok(Self { log, audit, peer: Peer::new(Principal::user("alice"), None, Arc::from("main"), 1) })
    }

    /// Adds some, unless too many wait already.
    fn add(&self) {
        match self.log.state().queued_entries < HALF_A_QUEUE {
            true => (0..AT_ONCE).for_each(|_| self.audit.record(event(&self.peer))),
            false => thread::sleep(Duration::from_millis(1)),
        }
    }

    /// Durable and published in a second, and CPU for each.
    fn speed(&self, length: Duration) -> Result<(f64, f64, Duration), Error> {
        let add_for = |length| {
            let begun = Instant::now();
            while begun.elapsed() < length {
                self.add();
            }
        };
        add_for(WARM);
        let (opened, before, clock) = (Instant::now(), self.log.state(), CpuClock::read(std::process::id())?);
        add_for(length);
        let (end, used) = (self.whole()?, CpuClock::read(std::process::id())?.since(&clock).total);
        let seconds = opened.elapsed().as_secs_f64();
        let durable = end.durable - before.durable;
        let cpu = used / u32::try_from(durable.max(1)).unwrap_or(u32::MAX);
        Ok((durable as f64 / seconds, (end.checkpoint - before.checkpoint) as f64 / seconds, cpu))
    }

    /// Until the log has so many, all under a checkpoint. How many there are.
    fn up_to(&self, entries: u64) -> Result<u64, Error> {
        while self.whole()?.size < entries {
            self.add();
        }
        loop {
            let state = self.whole()?;
            if state.checkpoint == state.size {
                return Ok(state.size);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn whole(&self) -> Result<State, Error> {
        let state = self.log.state();
        if state.refused > 0 || state.failing.is_some() {
            return Err(Error::Mismatch(format!("the log has refused {} events", state.refused)));
        }
        Ok(state)
    }
}

/// A request to the HTTP bridge: as long as events usually are.
fn event(peer: &Peer) -> Event {
    let record = RecordOutcome {
        first: 0,
        count: 1,
        status: Status::Success,
        reason: None,
        partition: Some(3),
        first_offset: Some(1_234_567),
    };
    Event::http_request(
        peer,
        &HttpRequest {
            mechanism: Mechanism::Certificate,
            method: "POST",
            path: "/v1/topics/{topic}/records",
            topic: Some("payments"),
            status: 200,
            records: &[record],
            outcome: (Status::Success, None),
        },
    )
}

/// Writes and syncs one piece again and again, as the log does. Pieces in a second, and how long each took.
fn disk_alone(path: &Path, piece: &[u8], length: Duration) -> Result<(f64, Histogram), Error> {
    let failed = || format!("write {}", path.display());
    let mut histogram = Histogram::default();
    let start = Instant::now();
    let mut file = File::create(path).attempt(failed)?;
    let mut written = 0;
    while start.elapsed() < length {
        let begun = Instant::now();
        file.write_all(piece).and_then(|()| file.sync_data()).attempt(failed)?;
        histogram.record(begun.elapsed());
        written += piece.len();
        if written >= LARGEST_FILE {
            (file, written) = (File::create(path).attempt(failed)?, 0);
        }
    }
    Ok((histogram.len() as f64 / start.elapsed().as_secs_f64(), histogram))
}

/// Of a full bundle: 256 entries, each behind two bytes of length.
fn entry_bytes(bundle: &Path) -> Result<f64, Error> {
    let length = fs::metadata(bundle).attempt(|| format!("read {}", bundle.display()))?.len();
    Ok((length as f64 / 256.0 - 2.0).round())
}

/// Before the window opens.
const WARM: Duration = Duration::from_secs(1);
/// Room for what comes until it is looked at again.
const HALF_A_QUEUE: usize = 32_768;
const AT_ONCE: usize = 256;
/// What the log writes at once, at most, and how large its files become.
const LARGEST_GROUP: usize = 4 << 20;
const LARGEST_FILE: usize = 16 << 20;
