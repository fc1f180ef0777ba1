//! `barnabas audit tail`: the last entries of a log, one a line, and those that come.

use std::io;
use std::time::Duration;

use clap::Args;

use super::failed;
use super::logs::LogArgs;
use crate::audit::log::reader::Reader;
use crate::cli::{Failure, Format, Printer};

/// Print the last entries, one a line; only what is under a checkpoint, which is a second later at most
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct TailArgs {
    #[command(flatten)]
    log: LogArgs,
    /// How many entries
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    lines: u64,
    /// Go on with what comes, until interrupted
    #[arg(long, short = 'f')]
    follow: bool,
}

pub(super) fn run(args: TailArgs) -> Result<(), Failure> {
    let mut reader = args.log.open()?.reader()?;
    let mut next = print(&reader, reader.size().saturating_sub(args.lines))?;
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(INTERVAL);
        if reader.refresh().map_err(failed)? {
            next = print(&reader, next)?;
        }
    }
}

/// Prints from an index on, and gives the index after the last.
fn print(reader: &Reader, from: u64) -> Result<u64, Failure> {
    let mut printer = Printer::new(io::stdout().lock(), Format::Table, false);
    for entry in reader.entries(from..reader.size()) {
        let (_, entry) = entry.map_err(failed)?;
        printer.line(&String::from_utf8_lossy(&entry))?;
    }
    Ok(reader.size())
}

/// A log makes a checkpoint each second.
const INTERVAL: Duration = Duration::from_millis(500);

const HELP: &str = "\
Examples:
  barnabas audit tail /var/lib/barnabas/audit
  barnabas audit tail audit --lines 100
  barnabas audit tail audit --follow";
