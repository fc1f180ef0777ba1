//! The audit log of a running gateway: opened, kept up, closed.
//!
//! Arrives: the configuration and the keystore, which has the log's key. Leaves: the handle that all parts write by, readiness
//! and metrics that are true. Beside the log's folder a small file says whether the gateway ended by itself and how far the
//! keyring was told. What must never happen here: a gateway that says it keeps a log and does not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use barnabas_crypto::Secret;
use barnabas_kms::LocalKeystore;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Error;
use super::witnesses::{Rounds, open_witness};
use crate::admin::Condition;
use crate::audit::event::{Audit, ClockReference, Event, Keeping, LogStatements, OnFailure, Run};
use crate::audit::log::witness::Witness;
use crate::audit::log::{self, AUDIT_SECRET, Log, Signer, State};
use crate::audit::sink::{Followed, Follower, KafkaSink, Sink, StdoutSink, SyslogSink};
use crate::config::{self, Config, SinkTarget};
use crate::keyring::{LiveKeyring, Told};
use crate::metrics::AuditMetrics;

/// The log of this gateway, or none.
pub struct OpenAudit {
    audit: Audit,
    kept: Option<Kept>,
}

struct Kept {
    log: Log,
    memo: MemoFile,
    run: Run,
    size_at_start: u64,
    metrics: AuditMetrics,
    sinks: JoinSet<()>,
    closed: watch::Sender<bool>,
    witness: Option<Arc<Witness>>,
}

impl OpenAudit {
    /// None.
    pub fn off() -> Self {
        Self { audit: Audit::off(), kept: None }
    }

    /// Opens the log that the configuration names, if it does. Blocks.
    pub fn open(config: &Config, keystore: &LocalKeystore, metrics: AuditMetrics) -> Result<Self, Error> {
        let Some(settings) = &config.audit else { return Ok(Self::off()) };
        let seed = seed(keystore)?;
        let signer = Signer::from_seed(&seed)?;
        let origin: Arc<str> = Arc::from(settings.origin.as_str());
        let log = Log::open(of(settings), signer, Arc::new(LogStatements::new(origin.clone())))?;
        let mut memo = MemoFile::read(&settings.directory);
        let run = Run { unclean: memo.memo.running, on_failure: settings.on_failure };
        memo.memo.running = true;
        memo.write();
        let keeping = Keeping { origin, on_failure: settings.on_failure, window: settings.window };
        let size_at_start = log.state().size;
        let audit = Audit::new(log.clone(), keeping, metrics.clone());
        let witness = open_witness(settings, &Signer::from_seed(&seed)?, audit.clone(), metrics.clone())?;
        let (sinks, closed) = (JoinSet::new(), watch::Sender::new(false));
        Ok(Self { audit, kept: Some(Kept { log, memo, run, size_at_start, metrics, sinks, closed, witness }) })
    }

    /// By which all parts write.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// What the log is to hear of the keyring in this topic.
    pub fn told(&self, topic: &str) -> Told {
        let memo = self.kept.as_ref().map(|kept| &kept.memo.memo);
        let since = memo.and_then(|memo| memo.keyring.as_ref()).filter(|keyring| keyring.topic == topic);
        Told::new(self.audit.clone(), since.map(|keyring| keyring.next))
    }

    /// Tells that the gateway begins.
    pub fn started(&self, config: &Config) {
        if let Some(kept) = &self.kept {
            self.audit.record(Event::started(&kept.run, config));
        }
    }

    /// Begins to follow the log for its sinks.
    pub fn follow(&mut self, config: &Config) -> Result<(), Error> {
        let (Some(kept), Some(settings)) = (&mut self.kept, &config.audit) else { return Ok(()) };
        let origin: Arc<str> = Arc::from(settings.origin.as_str());
        for sink in &settings.sinks {
            let followed = Followed {
                name: sink.name.clone(),
                directory: settings.directory.clone(),
                origin: origin.clone(),
                size_at_start: kept.size_at_start,
                lag: kept.metrics.sink_lag(&sink.name),
                audit: self.audit.clone(),
                ending: kept.closed.subscribe(),
            };
            let to: Box<dyn Sink> = match &sink.to {
                SinkTarget::Stdout => Box::new(StdoutSink { format: sink.format }),
                SinkTarget::Syslog { address, tls } => {
                    Box::new(SyslogSink::new(address.clone(), tls.clone(), sink.format)?)
                }
                SinkTarget::Kafka { cluster, topic } => {
                    let named = cluster.as_ref().map_or_else(|| config.keyring_cluster(), |name| config.cluster(name));
                    let cluster = named.ok_or(Error::NoRootKey)?.clone();
                    Box::new(KafkaSink::new(cluster, topic.clone(), origin.clone(), self.audit.clone()))
                }
            };
            kept.sinks.spawn(Follower::new(followed, to).run());
        }
        Ok(())
    }

    /// The witness that this gateway is for other logs, if it is one.
    pub fn witness(&self) -> Option<Arc<Witness>> {
        self.kept.as_ref()?.witness.clone()
    }

    /// Shows the log to its witnesses; `None` when it has none.
    pub fn rounds(&self, config: &Config) -> Result<Option<Rounds>, Error> {
        let (Some(kept), Some(settings)) = (&self.kept, &config.audit) else { return Ok(None) };
        Rounds::new(settings, kept.log.clone(), self.audit.clone(), kept.metrics.clone())
    }

    /// What is due while the gateway runs; ends never. `None` when there is no log.
    pub fn upkeep(&self, live: Arc<LiveKeyring>, topic: Option<String>, standing: Condition) -> Option<Upkeep> {
        let kept = self.kept.as_ref()?;
        let memo = kept.memo.clone();
        Some(Upkeep {
            audit: self.audit.clone(),
            live,
            topic,
            standing,
            memo,
            mark: None,
            failing: false,
            on_failure: kept.run.on_failure,
            clock: SetClock::new(),
        })
    }

    /// Tells that the gateway ends, and waits until all is written.
    pub async fn close(self, drained: bool, config: &Config) {
        // Files that are broken by now: then the last round does not take place.
        let last = self.rounds(config).ok().flatten();
        let Some(mut kept) = self.kept else { return };
        self.audit.tick(true);
        self.audit.record(Event::stopped(drained));
        kept.log.close().await;
        if let Some(last) = last {
            tokio::time::timeout(LAST_DELIVERIES, last.last()).await.ok();
        }
        // What the sinks do not get now they get after the next start.
        kept.closed.send_replace(true);
        let all = async { while kept.sinks.join_next().await.is_some() {} };
        tokio::time::timeout(LAST_DELIVERIES, all).await.ok();
        // Read anew: the keyring's place has moved since the start.
        let mut memo = MemoFile::read(&kept.memo.directory);
        memo.memo.running = false;
        memo.write();
    }
}

/// See [`OpenAudit::upkeep`].
pub struct Upkeep {
    audit: Audit,
    live: Arc<LiveKeyring>,
    topic: Option<String>,
    standing: Condition,
    memo: MemoFile,
    /// How far the keyring was told when the log had this size.
    mark: Option<(i64, u64)>,
    failing: bool,
    on_failure: OnFailure,
    clock: SetClock,
}

impl Upkeep {
    /// Runs for ever.
    pub async fn run(mut self) {
        let mut ticks = interval(SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            ticks.tick().await;
            if let Some(offset) = self.clock.was_set() {
                tracing::warn!(event = "clock_set", offset_millis = offset, "the clock was set while the gateway runs");
                self.audit.record(Event::clock_offset(ClockReference::Monotonic, offset));
            }
            // The keyring's history at the start, a thousand objects a second while the disk keeps up.
            told = told || self.live.is_caught_up() && self.live.tell_history();
            let Some(state) = self.audit.tick(false) else { return };
            self.report(&state);
            if told {
                self.remember(&state);
            }
        }
    }

    fn report(&mut self, state: &State) {
        match &state.failing {
            None => {
                if self.failing {
                    tracing::info!(event = "audit_written_again", entries = state.durable);
                }
                self.standing.met();
            }
            Some(failing) => {
                if !self.failing {
                    tracing::error!(event = "audit_failing", reason = failing.why, on_failure = ?self.on_failure);
                }
                // What an operator reads without authentication: no path, no name.
                let since = moment(failing.since);
                match self.on_failure {
                    OnFailure::Alarm => self.standing.met_with(format!("the audit log is not written since {since}")),
                    OnFailure::Block => self.standing.failed(format!("the audit log is not written since {since}")),
                }
            }
        }
        self.failing = state.failing.is_some();
    }

    /// Keeps how far the keyring was told, once the log has it on disk.
    fn remember(&mut self, state: &State) {
        let Some(topic) = &self.topic else { return };
        match self.mark {
            Some((next, size)) if state.durable >= size => {
                let keyring = Some(KeyringPlace { topic: topic.clone(), next });
                if self.memo.memo.keyring != keyring {
                    self.memo.memo.keyring = keyring;
                    self.memo.write();
                }
                self.mark = None;
            }
            Some(_) => {}
            None => self.mark = Some((self.live.applied_to(), state.size)),
        }
    }
}

/// Notices that the clock was set: it and one that is never set go apart.
struct SetClock {
    wall: SystemTime,
    steady: Instant,
}

impl SetClock {
    fn new() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// By how many milliseconds the clock was set since the last time, when that is worth telling.
    fn was_set(&mut self) -> Option<i64> {
        let (wall, steady) = (SystemTime::now(), Instant::now());
        let expected = self.wall + steady.duration_since(self.steady);
        let offset = match wall.duration_since(expected) {
            Ok(ahead) => i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX),
            Err(behind) => -i64::try_from(behind.duration().as_millis()).unwrap_or(i64::MAX),
        };
        (self.wall, self.steady) = (wall, steady);
        (offset.unsigned_abs() >= WORTH_TELLING_MILLIS).then_some(offset)
    }
}

/// What the next run must know; lost, it is as if the log were new, and the keyring is told once more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memo {
    running: bool,
    keyring: Option<KeyringPlace>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeyringPlace {
    topic: String,
    next: i64,
}

#[derive(Clone)]
struct MemoFile {
    directory: PathBuf,
    memo: Memo,
}

impl MemoFile {
    fn read(directory: &Path) -> Self {
        let bytes = std::fs::read(beside(directory)).unwrap_or_default();
        let memo = serde_json::from_slice(&bytes).unwrap_or_default();
        Self { directory: directory.to_owned(), memo }
    }

    /// As a new file in the old one's place: a crash leaves one of them.
    fn write(&self) {
        let path = beside(&self.directory);
        let fresh = path.with_extension("state.new");
        let bytes = serde_json::to_vec(&self.memo).unwrap_or_default();
        let written = std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, &path));
        if let Err(error) = written {
            tracing::error!(event = "audit_state_unwritten", path = %path.display(), %error);
        }
    }
}

/// `audit` has `audit.state` beside it: nothing but the log writes into its folder.
fn beside(directory: &Path) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(".state");
    directory.with_file_name(name)
}

/// The log's key: `barnabas init` makes it; a keystore from before gets one now.
fn seed(keystore: &LocalKeystore) -> Result<Secret<32>, Error> {
    match keystore.secret(AUDIT_SECRET) {
        Err(barnabas_kms::Error::NotFound(_)) => {
            keystore.put_secret(AUDIT_SECRET, &Secret::draw()?)?;
            // Another gateway of this keystore may have been faster, and then it counts.
            keystore.reload()?;
            Ok(keystore.secret(AUDIT_SECRET)?)
        }
        other => Ok(other?),
    }
}

fn of(settings: &config::Audit) -> log::Settings {
    log::Settings {
        checkpoint_interval: settings.checkpoint.interval,
        checkpoint_entries: settings.checkpoint.entries,
        queue_entries: settings.queue.entries,
        queue_bytes: settings.queue.bytes,
        retention: settings.retention,
        compress_after: settings.compress_after,
        ..log::Settings::new(settings.directory.clone(), settings.origin.clone())
    }
}

fn moment(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A gateway that ends does not wait longer for a sink that is slow.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

const SECOND: Duration = Duration::from_secs(1);

/// What a time server corrects in an ordinary day is less.
const WORTH_TELLING_MILLIS: u64 = 1_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_next_run_must_know_is_kept_beside_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("audit");
        let mut memo = MemoFile::read(&directory);
        assert_eq!(memo.memo, Memo::default());
        memo.memo = Memo { running: true, keyring: Some(KeyringPlace { topic: "k".to_owned(), next: 7 }) };
        memo.write();
        assert_eq!(MemoFile::read(&directory).memo, memo.memo);
        assert!(folder.path().join("audit.state").is_file());
    }

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let mut clock = SetClock::new();
        assert_eq!(clock.was_set(), None);
        clock.wall -= Duration::from_secs(5);
        let offset = clock.was_set().unwrap();
        assert!((4_900..5_500).contains(&offset), "{offset}");
        clock.wall += Duration::from_secs(5);
        assert!(clock.was_set().unwrap() < -4_500);
    }
}
