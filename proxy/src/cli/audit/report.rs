//! `barnabas audit report`: who could, who did, keys, revocations, gaps of a period. A log's folder arrives and is verified first;
//! one HTML file and CSV leave. A log that is not whole has no report.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::{LogArgs, failed};
use crate::audit::log::reader::Reader;
use crate::audit::log::verify::{Report, Verification, verify};
use crate::audit::report::{Facts, Period, Source, csv_files, html_page, sections};
use crate::cli::{Exit, Failure};

/// Write a report of a period: who could, who did, what was refused, keys, revocations, gaps; the log is verified first
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ReportArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The first moment (RFC 3339); without it, 30 days before the end
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// The moment after the last (RFC 3339); without it, now
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// The report, one HTML file with everything in it; must not be there
    #[arg(long, value_name = "FILE", default_value = "audit-report.html")]
    html: PathBuf,
    /// Also a CSV file for each section, in this folder
    #[arg(long, value_name = "FOLDER")]
    csv: Option<PathBuf>,
}

pub(super) fn run(args: ReportArgs) -> Result<(), Failure> {
    let period = period(args.from, args.to)?;
    let key = args.log.key()?;
    let is_key_given = key.is_some();
    let asked = Verification { directory: args.log.folder.clone(), key: key.clone(), ..Verification::default() };
    let verified = verify(&asked, &|_, _| {}).map_err(failed)?;
    if !verified.is_whole() {
        return Err(not_whole(&verified));
    }
    let reader = Reader::open(&args.log.folder, key.as_ref()).map_err(failed)?;
    let mut facts = Facts::new(period);
    for entry in reader.entries(0..verified.size) {
        let (index, entry) = entry.map_err(failed)?;
        facts.take_entry(index, &entry);
    }
    let source = source(&verified, is_key_given);
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

fn period(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Period, Failure> {
    let to = to.unwrap_or_else(Timestamp::now);
    let from = from.or_else(|| to.checked_sub(SignedDuration::from_hours(30 * 24)).ok()).unwrap_or(Timestamp::MIN);
    if from >= to {
        return Err(Failure::new(Exit::Usage, format!("--from {from} is not before --to {to}")));
    }
    Ok(Period { from, to })
}

fn source(verified: &Report, is_key_given: bool) -> Source {
    Source {
        origin: verified.origin.clone(),
        key: verified.key.clone(),
        size: verified.size,
        checkpoint: verified.checkpoint.clone(),
        expired: verified.expired_end,
        unreadable: verified.unreadable.iter().map(|(first, end)| end - first).sum(),
        is_key_given,
        made: Timestamp::now(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn not_whole(verified: &Report) -> Failure {
    let first = verified.faults.first().map(|fault| match fault.entry {
        Some(entry) => format!("entry {entry}: {}: {}", fault.kind.name(), fault.what),
        None => format!("{}: {}", fault.kind.name(), fault.what),
    });
    let verdict = "the log is not whole, so there is no report; `barnabas audit verify` names all that is wrong";
    Failure { exit: Exit::Failed, lines: first.into_iter().chain([verdict.to_owned()]).collect() }
}

/// A report is evidence: an older one is never written over.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = std::fs::File::create_new(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| cannot_create(path, &error))
}

fn cannot_create(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::CannotCreate, format!("{}: {error}; name a new file", path.display()))
}

const HELP: &str = "\
Examples:
  barnabas audit report /var/lib/barnabas/audit --from 2026-01-01T00:00:00Z --to 2026-04-01T00:00:00Z --key audit.vkey
  barnabas audit report audit --html march.html --csv march      (also CSV, for spreadsheets)
  barnabas audit report audit                                    (the last 30 days)";
