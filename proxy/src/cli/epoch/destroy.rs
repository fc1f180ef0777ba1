//! `barnabas epoch destroy`: an epoch's seed leaves the keyring, for ever. What would go is shown first; an epoch whose
//! records may still be there is not destroyed by mistake.

use barnabas_crypto::{EpochNumber, UnixMillis};
use clap::Args;
use serde::Serialize;

use super::retained;
use crate::cli::desk::{self, Desk};
use crate::cli::{ConfigArg, Exit, Failure, OutputArg, Row, moment};
use crate::keyring::now;
use crate::logging;
use crate::steward::{Change, Destruction};

/// Destroy the seed of an epoch: whatever was sealed in it is noise from then on, for everybody
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct DestroyArgs {
    #[command(flatten)]
    pub(in crate::cli) config: ConfigArg,
    /// The stream's topic
    #[arg(long)]
    pub(in crate::cli) topic: String,
    /// The number of the epoch, as `epoch list` shows it
    #[arg(long, value_name = "NUMBER")]
    pub(in crate::cli) epoch: u32,
    /// Show what would go, change nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Do it; it cannot be undone
    #[arg(long, conflicts_with = "dry_run")]
    pub(in crate::cli) yes: bool,
    /// Also when records of the epoch may still be in the topic: they become unreadable
    #[arg(long)]
    pub(in crate::cli) force: bool,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArg,
}

pub(super) fn run(args: DestroyArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let log = config.log;
    let desk = if args.yes { Desk::to_change(config)? } else { Desk::to_read(config)? };
    let stream = desk.stream(&args.topic)?.id;
    let epoch = EpochNumber::new(args.epoch);
    let found = desk.read(|keyring| Destruction::of(keyring, stream, epoch, now()))?;
    let found = found.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let gone = Gone::new(&args.topic, &found);
    args.output.printer().one(&gone)?;
    if !args.force {
        check_retained(&desk, &args.topic, found.sealed_until)?;
    }
    if args.dry_run {
        return Ok(());
    }
    if !args.yes {
        let line = "nothing was changed; it cannot be undone: say --yes to do it, or --dry-run to look only";
        return Err(Failure::new(Exit::Usage, line));
    }
    desk::check_certificate(&desk)?;
    desk.make(&Change::Destroy { stream, epoch })?;
    // The line that an auditor looks for, in the form and place that the configuration gives the log.
    if logging::install(log).is_ok() {
        tracing::info!(
            event = "epoch_destroyed",
            topic = args.topic,
            %stream,
            %epoch,
            grants = found.grants.len(),
            sessions = found.sessions.len(),
            forced = args.force,
        );
    }
    desk::warn(
        "old versions of its seed are still in the keyring's log until Kafka compacts it, in exports and in copies of \
         disks, wrapped by the keystore or to readers: see `Destroying an epoch` in proxy/src/keyring/README.md",
    );
    Ok(())
}

/// Refuses while a partition has a record from before the last one of the epoch.
fn check_retained(desk: &Desk, topic: &str, sealed_until: Option<UnixMillis>) -> Result<(), Failure> {
    let Some(until) = sealed_until else { return Ok(()) };
    let records = retained::oldest(desk.config(), topic)?;
    let Some(oldest) = retained::older_than(&records, until.millis()) else { return Ok(()) };
    let written = u64::try_from(oldest.timestamp).ok().and_then(|at| moment::written(UnixMillis::new(at)));
    let line = format!(
        "records of the epoch may still be there: it was sealed in until {}, and partition {} of `{topic}` on cluster `{}` \
         begins at offset {} with a record of {}; wait for retention, or say --force to lose what is left",
        moment::written(until).unwrap_or_else(|| "now".to_owned()),
        oldest.partition,
        oldest.cluster,
        oldest.offset,
        written.unwrap_or_else(|| "no known time".to_owned()),
    );
    Err(Failure::new(Exit::Failed, line))
}

/// What goes with an epoch.
#[derive(Debug, Serialize)]
struct Gone {
    topic: String,
    epoch: u32,
    since: Option<String>,
    /// When its last session ends or has ended.
    sealed_until: Option<String>,
    /// Sessions whose records become noise.
    sessions: usize,
    /// Grants that lose the seed; they go on for other epochs.
    grants: usize,
    stream: String,
}

impl Gone {
    fn new(topic: &str, found: &Destruction) -> Self {
        Self {
            topic: topic.to_owned(),
            epoch: found.epoch.number.number(),
            since: moment::written(found.epoch.not_before),
            sealed_until: found.sealed_until.and_then(moment::written),
            sessions: found.sessions.len(),
            grants: found.grants.len(),
            stream: found.epoch.stream.to_string(),
        }
    }
}

impl Row for Gone {
    const COLUMNS: &'static [&'static str] = &["topic", "epoch", "since", "sealed until", "sessions", "grants"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.epoch.to_string(),
            self.since.clone().unwrap_or_default(),
            self.sealed_until.clone().unwrap_or_else(|| "never".to_owned()),
            self.sessions.to_string(),
            self.grants.to_string(),
        ]
    }
}

const HELP: &str = "\
Examples:
  barnabas epoch destroy --topic orders --epoch 12 --dry-run
  barnabas epoch destroy --topic orders --epoch 12 --yes

Refused for the epoch that is sealed in now, always, and without --force for one whose records may still be in the
topic: the brokers are asked for the oldest record of each partition.
Not undone by anything but an older keyring: exports from before, and the keyring's log until it is compacted, still
hold the seed in wrapped form.";
