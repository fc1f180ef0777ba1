//! What a verification says, for people and for programs.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::crossing::Missing;
use crate::audit::log::export::Checked;
use crate::audit::log::verify::Report;

/// Everything that was found.
pub(super) struct Findings {
    /// Bundles by their paths.
    pub(super) bundles: Vec<(String, Checked)>,
    /// What is wrong with topics, by the logs in them.
    pub(super) topics: Vec<String>,
    /// The logs, and whether the key of each was given.
    pub(super) logs: Vec<(Report, bool)>,
    /// Logs that the others speak of.
    pub(super) missing: BTreeMap<String, Missing>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub(super) fn are_good(&self) -> bool {
        self.bundles.iter().all(|(_, checked)| checked.faults.is_empty())
            && self.topics.is_empty()
            && self.logs.iter().all(|(report, _)| report.is_whole())
            && self.missing.is_empty()
    }

    /// What is wrong, the verdicts last.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, checked) in &self.bundles {
            lines.extend(checked.faults.iter().map(|fault| format!("{path}: {fault}")));
        }
        lines.extend(self.topics.iter().cloned());
        let several = self.logs.len() > 1;
        for (report, _) in self.logs.iter().filter(|(report, _)| !report.is_whole()) {
            let of = if several { format!("{}: ", report.origin) } else { String::new() };
            lines.extend(faults(report).into_iter().map(|line| format!("{of}{line}")));
            lines.push(format!("the log `{}` is not whole: {} faults", report.origin, report.fault_count));
        }
        for (name, missing) in &self.missing {
            let Missing { size, told_by, entry } = missing;
            lines.push(format!(
                "the log `{name}` is missing: entry {entry} of `{told_by}` says that it had {size} entries; give it too, or --without {name}"
            ));
        }
        lines
    }

    /// The good news.
    pub(super) fn tell(&self) {
        for (path, checked) in &self.bundles {
            match checked.signed_by.as_slice() {
                [] => println!("{path}: every member is what its manifest says; nobody has signed the manifest"),
                names => println!("{path}: every member is what was exported, signed by {}", names.join(", ")),
            }
        }
        self.logs.iter().for_each(|(report, is_key_given)| tell(report, *is_key_given));
        if self.logs.len() > 1 {
            println!("no log that they speak of is missing");
        }
    }

    /// All of it, for programs.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        if let ([], [], [(report, _)]) = (self.bundles.as_slice(), self.topics.as_slice(), self.logs.as_slice()) {
            return serde_json::to_string_pretty(&Shown::of(report));
        }
        let bundles = self.bundles.iter().map(|(path, checked)| ShownBundle {
            bundle: path,
            signed_by: &checked.signed_by,
            faults: &checked.faults,
        });
        let missing = self.missing.iter().map(|(origin, missing)| ShownMissing {
            origin,
            entries: missing.size,
            told_by: &missing.told_by,
            entry: missing.entry,
        });
        serde_json::to_string_pretty(&ShownFindings {
            whole: self.are_good(),
            topic_faults: &self.topics,
            bundles: bundles.collect(),
            logs: self.logs.iter().map(|(report, _)| Shown::of(report)).collect(),
            missing: missing.collect(),
        })
    }
}

/// The first faults of a log, one a line.
pub(super) fn faults(report: &Report) -> Vec<String> {
    let named = report.faults.iter().take(SHOWN_FAULTS).map(|fault| match fault.entry {
        Some(entry) => format!("entry {entry}: {}: {}", fault.kind.name(), fault.what),
        None => format!("{}: {}", fault.kind.name(), fault.what),
    });
    let more = report.fault_count.saturating_sub(SHOWN_FAULTS);
    named.chain((more > 0).then(|| format!("and {more} more"))).collect()
}

fn tell(report: &Report, is_key_given: bool) {
    let Report { origin, size, expired_end, unreadable, left_out, tail, witnesses, witnessed, known, .. } = report;
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
    if !left_out.is_empty() {
        let entries: u64 = left_out.iter().map(|(first, end)| end - first).sum();
        println!("{entries} were left out of the bundle, as its manifest says; their hashes are there");
    }
    if *tail > 0 {
        let checked = if report.is_tail_checked { "their MACs are right" } else { "only their form was checked" };
        println!("{tail} entries come after the checkpoint; {checked}");
    }
    if *known > 0 {
        println!("it agrees with {known} checkpoints that were kept elsewhere");
    }
    if !witnesses.is_empty() {
        println!("the first {witnessed} entries are witnessed by {}", witnesses.join(", "));
    }
    if !is_key_given {
        println!("its key was taken from the log itself: give --key to know whose log it is");
    }
}

#[derive(Serialize)]
struct ShownFindings<'a> {
    whole: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    topic_faults: &'a [String],
    bundles: Vec<ShownBundle<'a>>,
    logs: Vec<Shown<'a>>,
    missing: Vec<ShownMissing<'a>>,
}

#[derive(Serialize)]
struct ShownBundle<'a> {
    bundle: &'a str,
    signed_by: &'a [String],
    faults: &'a [String],
}

#[derive(Serialize)]
struct ShownMissing<'a> {
    origin: &'a str,
    entries: u64,
    told_by: &'a str,
    entry: u64,
}

/// One log.
#[derive(Serialize)]
struct Shown<'a> {
    whole: bool,
    origin: &'a str,
    key: &'a str,
    entries: u64,
    root: String,
    expired_before: u64,
    unreadable: &'a [(u64, u64)],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    left_out: &'a [(u64, u64)],
    after_checkpoint: u64,
    known_checkpoints: usize,
    witnesses: &'a [String],
    witnessed_entries: u64,
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
            left_out: &report.left_out,
            after_checkpoint: report.tail,
            known_checkpoints: report.known,
            witnesses: &report.witnesses,
            witnessed_entries: report.witnessed,
            fault_count: report.fault_count,
            faults,
        }
    }
}

/// The first faults tell what happened; all of them are in the JSON form.
const SHOWN_FAULTS: usize = 10;
