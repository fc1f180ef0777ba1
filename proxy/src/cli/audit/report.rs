//! `barnabas audit report`: who could, who did, keys, revocations, gaps of a period. One log or several arrive and are verified
//! first; one HTML file and CSV leave. Logs that are not whole, or not all, have no report.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::crossing::hold_against_each_other;
use super::failed;
use super::logs::{Logs, LogsArgs, Source as Read};
use super::progress::progress;
use super::told::Findings;
use super::verify::check_bundles;
use crate::audit::log::Error;
use crate::audit::log::verify::{Report, Verification, verify};
use crate::audit::report::{Facts, LogSource, Occurrence, Period, Source, csv_files, html_page, sections};
use crate::audit::timeline::Timeline;
use crate::cli::{Exit, Failure};

/// Write a report of a period: who could, who did, what was refused, keys, revocations, gaps; the log is verified first
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ReportArgs {
    #[command(flatten)]
    logs: LogsArgs,
    /// The first moment (RFC 3339); without it, 30 days before the end
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// The moment after the last (RFC 3339); without it, now
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Of several logs: one that the others speak of and that is not there any more; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    without: Vec<String>,
    /// Take a bundle whose manifest nobody has signed
    #[arg(long)]
    allow_unsigned: bool,
    /// The report, one HTML file with everything in it; must not be there
    #[arg(long, value_name = "FILE", default_value = "audit-report.html")]
    html: PathBuf,
    /// Also a CSV file for each section, in this folder
    #[arg(long, value_name = "FOLDER")]
    csv: Option<PathBuf>,
}

pub(super) fn run(args: ReportArgs) -> Result<(), Failure> {
    let period = period(args.from, args.to)?;
    let logs = args.logs.open()?;
    let verified = verified(&logs, &args.without, args.allow_unsigned)?;
    let mut facts = Facts::new(period);
    let readers = verified.iter().map(|(source, _)| source.reader()).collect::<Result<Vec<_>, _>>()?;
    let entries = readers.iter().zip(&verified).map(|(reader, (_, report))| {
        let parsed =
            |entry: Result<(u64, Vec<u8>), Error>| entry.map(|(index, entry)| Occurrence::parse(index, &entry));
        reader.entries(0..report.size).map(parsed)
    });
    let several = readers.len() > 1;
    let (progress, mut done) = (progress("entries read"), 0);
    let total = verified.iter().map(|(_, report)| report.size).sum();
    for entry in Timeline::new(entries, |event: &Option<Occurrence>| event.as_ref().map(|event| event.time)) {
        let (log, event) = entry.map_err(failed)?;
        let number = if several { log + 1 } else { 0 };
        facts.take_entry(event.map(|event| event.of_log(number)).as_ref());
        done += 1;
        if done % STEP == 0 {
            progress(done, total);
        }
    }
    progress(total, total);
    let logs = verified.iter().map(|(source, report)| log_source(report, source.key.is_some())).collect();
    let source = Source { logs, without: args.without, made: Timestamp::now(), version: env!("CARGO_PKG_VERSION") };
    let sections = sections(&facts, &source);
    write_new(&args.html, html_page(&facts, &source, &sections).as_bytes())?;
    println!("{}", args.html.display());
    if let Some(folder) = &args.csv {
        std::fs::create_dir_all(folder).map_err(|error| cannot_create(folder, &error))?;
        for (name, text) in csv_files(&sections) {
            let path = folder.join(name);
            write_new(&path, text.as_bytes())?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// Logs that are whole, and none of which is missing; a failure names what is wrong.
pub(super) fn verified<'a>(
    logs: &'a Logs,
    without: &[String],
    allow_unsigned: bool,
) -> Result<Vec<(&'a Read, Report)>, Failure> {
    let bundles = check_bundles(logs, allow_unsigned)?;
    let mut held = Vec::new();
    for source in &logs.sources {
        let asked = Verification {
            log: source.stored.clone(),
            key: source.key.clone(),
            known: source.known.clone(),
            ..Verification::default()
        };
        held.push((source, verify(&asked, &progress("entries")).map_err(failed)?));
    }
    let missing = if held.len() > 1 { hold_against_each_other(&mut held, without)? } else { BTreeMap::new() };
    let topics = logs.topic_faults();
    let logs = held.iter().map(|(source, report)| (report.clone(), source.key.is_some())).collect();
    let findings = Findings { bundles, topics, logs, missing };
    if findings.are_good() {
        return Ok(held);
    }
    let mut lines = findings.wrong();
    lines.push("nothing was made; `barnabas audit verify` names all that is wrong".to_owned());
    Err(Failure { exit: Exit::Failed, lines })
}

fn period(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Period, Failure> {
    let to = to.unwrap_or_else(Timestamp::now);
    let from = from.or_else(|| to.checked_sub(SignedDuration::from_hours(30 * 24)).ok()).unwrap_or(Timestamp::MIN);
    if from >= to {
        return Err(Failure::new(Exit::Usage, format!("--from {from} is not before --to {to}")));
    }
    Ok(Period { from, to })
}

fn log_source(verified: &Report, is_key_given: bool) -> LogSource {
    let entries = |ranges: &[(u64, u64)]| ranges.iter().map(|(first, end)| end - first).sum();
    LogSource {
        origin: verified.origin.clone(),
        key: verified.key.clone(),
        size: verified.size,
        checkpoint: verified.checkpoint.clone(),
        expired: verified.expired_end,
        unreadable: entries(&verified.unreadable),
        left_out: entries(&verified.left_out),
        is_key_given,
    }
}

/// A report is evidence: an older one is never written over.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = std::fs::File::create_new(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| cannot_create(path, &error))
}

fn cannot_create(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::CannotCreate, format!("{}: {error}; name a new file", path.display()))
}

/// After so many entries, how far it is.
const STEP: u64 = 4_096;

const HELP: &str = "\
Examples:
  barnabas audit report /var/lib/barnabas/audit --from 2026-01-01T00:00:00Z --to 2026-04-01T00:00:00Z --key audit.vkey
  barnabas audit report audit --html march.html --csv march      (also CSV, for spreadsheets)
  barnabas audit report gateway-1/audit gateway-2/audit          (one report of several gateways)
  barnabas audit report march.bundle                             (the last 30 days)";
