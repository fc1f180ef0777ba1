//! A report as sections: facts arrive, tables with a title and a sentence leave, the same for paper and for programs.

use jiff::Timestamp;

use super::chart::Chart;
use super::facts::Facts;

pub use super::sections::sections;

/// Which logs the facts are of.
#[derive(Clone, Debug)]
pub struct Source {
    /// The logs, in the order of their numbers.
    pub logs: Vec<LogSource>,
    /// Logs that these speak of, and that whoever made the report knew to be missing.
    pub without: Vec<String>,
    /// When the report was made.
    pub made: Timestamp,
    /// By which version.
    pub version: &'static str,
}

/// A log, and how it was verified.
#[derive(Clone, Debug)]
pub struct LogSource {
    /// The log's name.
    pub origin: String,
    /// Its key.
    pub key: String,
    /// Entries under the checkpoint.
    pub size: u64,
    /// The checkpoint.
    pub checkpoint: String,
    /// Entries that expired.
    pub expired: u64,
    /// Entries whose bytes were lost, as signed statements say.
    pub unreadable: u64,
    /// Entries that were left out of a bundle.
    pub left_out: u64,
    /// Whether the key was given by whoever made the report; otherwise it is the log's own.
    pub is_key_given: bool,
}

impl Source {
    /// The names of the logs.
    pub(super) fn origins(&self) -> String {
        self.logs.iter().map(|log| log.origin.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// A part of a report.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its anchor, and the name of its CSV file.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What it says, in a sentence or two.
    pub lead: String,
    /// Whether it says something that needs a look.
    pub needs_a_look: bool,
    /// A picture of it.
    pub chart: Option<Chart>,
    /// Column titles.
    pub columns: &'static [&'static str],
    /// Rows with as many cells.
    pub rows: Vec<Vec<String>>,
}

/// Makes a section; `None` for a picture that shows nothing.
pub(super) fn section(
    (id, title): (&'static str, &'static str),
    lead: impl Into<String>,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
) -> Section {
    Section { id, title, lead: lead.into(), needs_a_look: false, chart: None, columns, rows }
}

impl Section {
    pub(super) fn with(self, chart: Option<Chart>) -> Self {
        Self { chart, ..self }
    }

    pub(super) fn looked_at_if(self, needs_a_look: bool) -> Self {
        Self { needs_a_look, ..self }
    }
}

/// A moment as reports write it, UTC.
pub(super) fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The same of one that may not be.
pub(super) fn maybe(time: Option<Timestamp>) -> String {
    time.map_or_else(String::new, moment)
}

/// A span as people read it, from its seconds.
pub(super) fn span(from: Timestamp, to: Timestamp) -> String {
    let millis = to.as_millisecond() - from.as_millisecond();
    let seconds = millis / 1000;
    match seconds {
        _ if millis < 0 => format!("-{} s", millis.unsigned_abs() / 1000),
        0..60 => format!("{}.{} s", seconds, millis % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `1 entry`, `2 entries`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The sum of how often something was counted.
pub(super) fn refused(facts: &Facts) -> u64 {
    facts.refusals.values().map(|count| count.times).sum()
}
