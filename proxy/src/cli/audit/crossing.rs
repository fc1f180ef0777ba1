//! Several logs against each other: gateways write each other's checkpoints into their own logs. Logs that were verified arrive;
//! what their entries say of each other is held against them, and the names of logs that were not given leave.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::failed;
use super::logs::Source;
use super::progress::progress;
use crate::audit::log::verify::{Report, hold};
use crate::cli::Failure;

/// A log that the entries of others speak of, and that was not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The most entries that it is said to have had.
    pub(super) size: u64,
    /// The log that says so last.
    pub(super) told_by: String,
    /// The entry of that log.
    pub(super) entry: u64,
}

/// Goes through the entries of all logs. What is wrong is added to the reports; who is missing is given back by name.
pub(super) fn hold_against_each_other(
    logs: &mut [(&Source, Report)],
    without: &[String],
) -> Result<BTreeMap<String, Missing>, Failure> {
    let mut missing: BTreeMap<String, Missing> = BTreeMap::new();
    let total = logs.iter().map(|(_, report)| report.size).sum();
    let (progress, mut done) = (progress("entries held against the other logs"), 0);
    for place in 0..logs.len() {
        let Some((source, report)) = logs.get(place) else { break };
        if report.checkpoint.is_empty() {
            // It has no readable checkpoint, which is told already.
            continue;
        }
        let (source, teller) = (*source, report.origin.clone());
        let reader = source.reader()?;
        for entry in reader.entries(0..reader.size()) {
            // What cannot be read is a fault of that log, and told.
            let Ok((index, entry)) = entry else { continue };
            if index % STEP == 0 {
                progress(done + index, total);
            }
            let Some(told) = Told::parse(&entry) else { continue };
            let known = logs.iter_mut().find(|(_, report)| report.origin == told.origin);
            match known {
                Some((source, report)) => {
                    let note = told.checkpoint.unwrap_or_default();
                    hold(&source.stored, report, note.as_bytes()).map_err(failed)?;
                }
                None if without.contains(&told.origin) || missing.len() >= MOST_MISSING => {}
                None => {
                    let new = Missing { size: told.size, told_by: teller.clone(), entry: index };
                    let known = missing.entry(told.origin).or_insert_with(|| new.clone());
                    if new.size >= known.size {
                        *known = new;
                    }
                }
            }
        }
        done += reader.size();
    }
    progress(total, total);
    Ok(missing)
}

/// What an entry says of another log.
#[derive(Deserialize)]
struct Told {
    origin: String,
    #[serde(default)]
    size: u64,
    checkpoint: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    r#type: String,
    data: EntryData,
}

#[derive(Deserialize)]
struct EntryData {
    log: Told,
}

impl Told {
    fn parse(entry: &[u8]) -> Option<Self> {
        // Most entries speak of something else, and need not be parsed.
        memchr::memmem::find(entry, KIND.as_bytes())?;
        let entry: Entry = serde_json::from_slice(entry).ok()?;
        (entry.r#type == KIND).then_some(entry.data.log)
    }
}

const KIND: &str = "io.barnabas.log.cross_checkpoint";

/// After so many entries, how far it is.
const STEP: u64 = 4_096;

/// Whoever can write into the topic can invent names; these are enough to see that.
const MOST_MISSING: usize = 1_000;
