//! `barnabas audit verify`: is a log whole? A folder and what is known of it arrive, exit code 0 or 1 and the first bad
//! entry leave.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde::Serialize;

use super::trusted::TrustedState;
use super::{LogArgs, against, failed, read_key, signer};
use crate::audit::log::note::KeyKind;
use crate::audit::log::verify::{Report, Verification, verify};
use crate::cli::{Exit, Failure, Format, OutputArg, load_sound};

/// Check that no entry was changed, removed, inserted or moved; exit code 0 when the log is whole, 1 when not
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct VerifyArgs {
    #[command(flatten)]
    log: LogArgs,
    /// A checkpoint of this log that was kept elsewhere; may be given several times
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The folder of another log, whose entries may hold checkpoints of this one; may be given several times
    #[arg(long, value_name = "FOLDER")]
    against: Vec<PathBuf>,
    /// Remember the log's key and checkpoint in this file, and hold the log against it the next time
    #[arg(long, value_name = "FILE")]
    trusted_state: Option<PathBuf>,
    /// The public key of a witness, or a file that holds it; may be given several times
    #[arg(long, value_name = "VKEY")]
    witness: Vec<String>,
    /// How many of these witnesses must have cosigned
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    witnesses: usize,
    /// A gateway's configuration, whose keystore has the secret for the entries after the last checkpoint
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: VerifyArgs) -> Result<(), Failure> {
    let mut asked = Verification {
        directory: args.log.folder.clone(),
        key: args.log.key()?,
        quorum: args.witnesses,
        ..Verification::default()
    };
    for path in &args.checkpoint {
        asked.known.push(read(path)?);
    }
    for text in &args.witness {
        asked.witnesses.push(read_key(text, KeyKind::Witness)?);
    }
    if let Some(path) = &args.config {
        let config = load_sound(path).map_err(Failure::mistakes)?;
        asked.ratchet_root = Some(signer(&config)?.ratchet_root().map_err(failed)?);
    }
    let trusted = args.trusted_state.as_deref().map(TrustedState::read).transpose()?;
    let trusted = trusted.map(|state| state.apply(&mut asked)).transpose()?;
    let is_key_given = asked.key.is_some();
    for folder in &args.against {
        let key = asked.key.clone().map_or_else(|| read_key(&own_key(&args.log.folder), KeyKind::Log), Ok)?;
        asked.known.extend(against::checkpoints(folder, &key)?);
    }
    let report = verify(&asked, &progress()).map_err(failed)?;
    if args.output.output == Format::Json {
        serde_json::to_writer_pretty(std::io::stdout(), &Shown::of(&report)).map_err(std::io::Error::from)?;
        println!();
    }
    if !report.is_whole() {
        return Err(Failure { exit: Exit::Failed, lines: lines_of(&report) });
    }
    if let Some(trusted) = trusted {
        trusted.write(&report)?;
    }
    if args.output.output == Format::Table {
        tell(&report, is_key_given);
    }
    Ok(())
}

/// Where a log's folder has its key.
fn own_key(folder: &std::path::Path) -> String {
    folder.join("vkey").display().to_string()
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}

fn lines_of(report: &Report) -> Vec<String> {
    let named = report.faults.iter().take(SHOWN_FAULTS).map(|fault| match fault.entry {
        Some(entry) => format!("entry {entry}: {}: {}", fault.kind.name(), fault.what),
        None => format!("{}: {}", fault.kind.name(), fault.what),
    });
    let more = report.fault_count.saturating_sub(SHOWN_FAULTS);
    let more = (more > 0).then(|| format!("and {more} more"));
    let verdict = format!("the log `{}` is not whole: {} faults", report.origin, report.fault_count);
    named.chain(more).chain([verdict]).collect()
}

fn tell(report: &Report, is_key_given: bool) {
    let Report { origin, size, expired_end, unreadable, tail, witnesses, known, .. } = report;
    println!("{origin}: {size} entries under a checkpoint by `{}`", report.key);
    println!("nothing was changed, removed, inserted or moved");
    if *expired_end > 0 {
        println!(
            "the first {expired_end} were dropped because of their age, as a signed statement says; their hashes are there"
        );
    }
    for (first, end) in unreadable {
        println!("entries {first} to {} were lost by a disk, as a signed statement says", end - 1);
    }
    if *tail > 0 {
        let checked = if report.is_tail_checked { "their MACs are right" } else { "only their form was checked" };
        println!("{tail} entries come after the checkpoint; {checked}");
    }
    if *known > 0 {
        println!("it agrees with {known} checkpoints that were kept elsewhere");
    }
    if !witnesses.is_empty() {
        println!("witnessed by {}", witnesses.join(", "));
    }
    if !is_key_given {
        println!("its key was taken from the folder itself: give --key to know whose log it is");
    }
}

/// The report for programs.
#[derive(Serialize)]
struct Shown<'a> {
    whole: bool,
    origin: &'a str,
    key: &'a str,
    entries: u64,
    root: String,
    expired_before: u64,
    unreadable: &'a [(u64, u64)],
    after_checkpoint: u64,
    known_checkpoints: usize,
    witnesses: &'a [String],
    fault_count: usize,
    faults: Vec<ShownFault<'a>>,
}

#[derive(Serialize)]
struct ShownFault<'a> {
    entry: Option<u64>,
    kind: &'static str,
    what: &'a str,
}

impl<'a> Shown<'a> {
    fn of(report: &'a Report) -> Self {
        let faults = report.faults.iter();
        let faults = faults.map(|f| ShownFault { entry: f.entry, kind: f.kind.name(), what: &f.what }).collect();
        Self {
            whole: report.is_whole(),
            origin: &report.origin,
            key: &report.key,
            entries: report.size,
            root: BASE64_STANDARD.encode(report.root),
            expired_before: report.expired_end,
            unreadable: &report.unreadable,
            after_checkpoint: report.tail,
            known_checkpoints: report.known,
            witnesses: &report.witnesses,
            fault_count: report.fault_count,
            faults,
        }
    }
}

/// How far a long verification is, on a terminal.
fn progress() -> impl Fn(u64, u64) + Sync {
    let last = Mutex::new(None::<Instant>);
    let is_watched = std::io::stderr().is_terminal();
    move |done, total| {
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= PROGRESS_INTERVAL);
        if is_watched && (is_due || done == total) {
            *last = Some(Instant::now());
            let end = if done == total { "\r\u{1b}[K" } else { "" };
            // Nobody is harmed by a line that a terminal does not take.
            write!(std::io::stderr(), "\r{done} of {total} entries{end}").ok();
        }
    }
}

const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// The first faults tell what happened; all of them are in the JSON form.
const SHOWN_FAULTS: usize = 10;

const HELP: &str = "\
Examples:
  barnabas audit verify /var/lib/barnabas/audit --key audit.vkey
  barnabas audit verify audit --trusted-state auditor.state      (remembers; notices a log that is older than last time)
  barnabas audit verify audit --checkpoint january.checkpoint    (a checkpoint that was kept elsewhere)
  barnabas audit verify audit --against other-gateway/audit
  barnabas audit verify audit --witness w1.vkey --witness w2.vkey --witnesses 2

A folder alone cannot show that it is the latest one. --trusted-state, --checkpoint, --against or
witnesses do.";
