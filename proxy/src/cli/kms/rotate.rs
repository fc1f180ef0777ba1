//! `barnabas kms rotate`: what is hidden under an old version of its key, or in another system, is hidden anew.
//! Done in small transactions, each complete: a run that was cut off goes on with the next one. Each new wrap has been
//! opened again before it counts. Running gateways follow the keyring and notice nothing. The old key must stay until the
//! run has said that nothing is left under it.

use std::collections::HashMap;
use std::sync::Arc;

use barnabas_crypto::{Custody, WrappedSeed};
use clap::Args;

use super::check::unknown;
use super::{Hidden, hidden, version};
use crate::cli::desk::{self, Desk, Progress};
use crate::cli::{ConfigArg, Exit, Failure};
use crate::custody::KeySystems;
use crate::steward::{Change, Rewrapped, Seed};

/// Hide every seed anew: under the newest version of its key, or in another system
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct RotateArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The system that hides everything from now on; default: the one of `custody.kms`
    #[arg(long, value_name = "KMS")]
    to: Option<String>,
    /// Also what is under the newest version already
    #[arg(long)]
    all: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: RotateArgs) -> Result<(), Failure> {
    let desk = Desk::to_change(args.config.load()?)?;
    let systems = desk.custody()?.systems().clone();
    let to = args.to.as_deref().unwrap_or(systems.chosen()).to_owned();
    if systems.system(&to).is_none() {
        return Err(unknown(&systems, &to));
    }
    if args.to.as_deref().is_some_and(|to| to != systems.chosen()) {
        let chosen = systems.chosen();
        desk::warn(&format!("new secrets still go to `{chosen}`: write `custody: {{ kms: {to} }}`"));
    }
    if args.dry_run {
        let all = desk.read(hidden)?;
        let due = desk.wait(due(&all, &systems, &to, args.all))??;
        for hidden in &due {
            println!("{} {} is under {}", hidden.kind, hidden.of, hidden.wrapped.key);
        }
        println!("{} to be hidden anew in `{to}`", due.len());
        return Ok(());
    }
    desk::check_certificate(&desk)?;
    let mut done = 0;
    for round in 0..MOST_ROUNDS {
        let all = desk.read(hidden)?;
        let due = desk.wait(due(&all, &systems, &to, args.all && round == 0))??;
        if due.is_empty() {
            println!("{done} hidden anew in `{to}`; nothing is left under another system or an older version");
            return Ok(());
        }
        done += hide_all(&desk, &systems, &due, &to, done)?;
    }
    // Clients and epochs that came while it ran, faster than it did.
    println!("{done} hidden anew in `{to}`; new ones came meanwhile: run it once more");
    Ok(())
}

/// Hides what is due, some at a time, and says how many that were.
fn hide_all(
    desk: &Desk,
    systems: &Arc<KeySystems>,
    due: &[&Hidden],
    to: &str,
    before: usize,
) -> Result<usize, Failure> {
    let mut progress = Progress::new("hidden anew");
    let mut done = 0;
    for some in due.chunks(AT_ONCE) {
        progress.at(format!("{done} of {}", due.len()));
        let seeds: Vec<(Seed, WrappedSeed)> = some.iter().map(|one| (one.seed, one.wrapped.clone())).collect();
        let wrapped = desk.wait(Rewrapped::hide(systems, &seeds, to))?.map_err(|error| failed(&error));
        let published = wrapped.and_then(|anew| desk.make(&Change::Rewrap { anew }));
        published.map_err(|failure| resumable(failure, before + done))?;
        done += some.len();
    }
    Ok(done)
}

/// What is in another system or under an older version of its key. Each key's version is asked for once.
async fn due<'h>(
    all: &'h [Hidden],
    systems: &KeySystems,
    to: &str,
    everything: bool,
) -> Result<Vec<&'h Hidden>, Failure> {
    let mut newest: HashMap<&str, Option<String>> = HashMap::new();
    let mut due = Vec::new();
    for hidden in all {
        let (system, key) = systems.parts(&hidden.wrapped.key);
        if everything || system != to {
            due.push(hidden);
            continue;
        }
        if !newest.contains_key(key) {
            let current = systems.current_version(&hidden.wrapped.key).await;
            newest.insert(key, current.map_err(|error| failed(&error))?);
        }
        if newest.get(key).is_some_and(|newest| *newest != version(systems, &hidden.wrapped)) {
            due.push(hidden);
        }
    }
    Ok(due)
}

fn failed(error: &barnabas_crypto::CustodyError) -> Failure {
    let exit = if error.is_retryable() { Exit::Unavailable } else { Exit::Denied };
    Failure::new(exit, error.to_string())
}

fn resumable(mut failure: Failure, done: usize) -> Failure {
    failure.lines.push(format!("{done} are hidden anew and stay so; the same command goes on with the others"));
    failure
}

/// In one transaction of the keyring: a KMS answers some hundred calls a second.
const AT_ONCE: usize = 20;

/// What came while one round ran is for the next.
const MOST_ROUNDS: usize = 4;

const HELP: &str = "\
Nothing is lost when it is cut off: the same command goes on where it stopped. Clients notice nothing.
The old key, and its system under `kms`, must stay until nothing is left under it.

Examples:
  barnabas kms rotate --dry-run
  barnabas kms rotate
  barnabas kms rotate --to cloud";
