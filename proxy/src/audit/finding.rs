//! Finding entries of a log by what they say: a filter and an index arrive, matching entries leave.
//!
//! For each full bundle of 256 entries the index has the span of time and which kinds, principals, topics, session keys and
//! outcomes stand in it, so that a question about one client does not read years. It is a file beside the log's folder, made and
//! added to by whoever asks, and worth nothing as evidence: it is read by the one who wrote it, and a lost one is made anew.
//! What must never happen here: an entry that is passed over since its bundle has more names than the index keeps.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::TYPE_PREFIX;
use super::log::Error;
use super::log::reader::Reader;

/// What is looked for. Everything that is given must fit.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Who did it, or whom it concerns.
    pub principal: Option<String>,
    /// Which topic.
    pub topic: Option<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Which session key, hexadecimal.
    pub key_id: Option<String>,
    /// `SUCCESS`, `DENIED` ..., or a reason such as `no_grant`.
    pub outcome: Option<String>,
    /// A kind, or what its name begins with: `grant` is `grant.given` and `grant.revoked`.
    pub kind: Option<String>,
}

/// What is looked at of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Without `io.barnabas.`.
    pub kind: String,
    /// When.
    pub time: Option<Timestamp>,
    /// Who did it, and whom it concerns.
    pub principals: Vec<String>,
    /// The topic.
    pub topic: Option<String>,
    /// The session key.
    pub key_id: Option<String>,
    /// Status and reason.
    pub outcomes: Vec<String>,
}

impl Facts {
    /// Of an event.
    pub fn of(event: &Value) -> Self {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let topic = text("/data/crypto/topic").or_else(|| text("/data/authorizationInfo/resourceName"));
        let subject = || text("/subject").and_then(|subject| Some(subject.strip_prefix("topic=")?.to_owned()));
        let principals = [text("/data/authenticationInfo/principal"), text("/data/crypto/client")];
        let outcomes = [text("/data/result/status"), text("/data/result/reason")];
        let kind = text("/type").unwrap_or_default();
        Self {
            kind: kind.strip_prefix(TYPE_PREFIX).unwrap_or(&kind).to_owned(),
            time: text("/time").and_then(|time| time.parse().ok()),
            principals: principals.into_iter().flatten().collect(),
            topic: topic.or_else(subject),
            key_id: text("/data/crypto/keyId"),
            outcomes: outcomes.into_iter().flatten().collect(),
        }
    }
}

impl Filter {
    /// Whether an entry fits.
    pub fn fits(&self, facts: &Facts) -> bool {
        let exact = |wanted: &Option<String>, found: &[String]| {
            wanted.as_ref().is_none_or(|wanted| found.iter().any(|found| found == wanted))
        };
        let in_any_case = |wanted: &Option<String>, found: &[String]| {
            wanted.as_ref().is_none_or(|wanted| found.iter().any(|found| found.eq_ignore_ascii_case(wanted)))
        };
        exact(&self.principal, &facts.principals)
            && exact(&self.topic, facts.topic.as_slice())
            && in_any_case(&self.key_id, facts.key_id.as_slice())
            && in_any_case(&self.outcome, &facts.outcomes)
            && self.kind.as_ref().is_none_or(|wanted| is_of_kind(&facts.kind, wanted))
            && self.since.is_none_or(|since| facts.time.is_none_or(|time| time >= since))
            && self.until.is_none_or(|until| facts.time.is_none_or(|time| time < until))
    }

    /// Whether some entry of a bundle may fit.
    fn may_fit(&self, summary: &Summary) -> bool {
        let has = |wanted: &Option<String>, names: &Names| match (wanted, &names.0) {
            (Some(wanted), Some(names)) => names.iter().any(|name| name.eq_ignore_ascii_case(wanted)),
            _ => true,
        };
        let kinds = match (&self.kind, &summary.kinds.0) {
            (Some(wanted), Some(kinds)) => kinds.iter().any(|kind| is_of_kind(kind, wanted)),
            _ => true,
        };
        // An entry without a time fits every time, so its bundle does.
        let after = self.since.is_none_or(|since| summary.last.is_none_or(|last| last >= since.as_millisecond()));
        let before = self.until.is_none_or(|until| summary.first.is_none_or(|first| first < until.as_millisecond()));
        kinds
            && has(&self.principal, &summary.principals)
            && has(&self.topic, &summary.topics)
            && has(&self.key_id, &summary.keys)
            && has(&self.outcome, &summary.outcomes)
            && after
            && before
    }
}

fn is_of_kind(kind: &str, wanted: &str) -> bool {
    kind.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What stands in one bundle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Summary {
    bundle: u64,
    first: Option<i64>,
    last: Option<i64>,
    kinds: Names,
    principals: Names,
    topics: Names,
    keys: Names,
    outcomes: Names,
}

/// Some names, or `None` for too many to keep: then the bundle is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Names(Option<BTreeSet<String>>);

impl Default for Names {
    fn default() -> Self {
        Self(Some(BTreeSet::new()))
    }
}

impl Names {
    fn add<'n>(&mut self, names: impl IntoIterator<Item = &'n String>) {
        if let Some(known) = &mut self.0 {
            known.extend(names.into_iter().cloned());
            if known.len() > MOST_NAMES {
                self.0 = None;
            }
        }
    }
}

impl Summary {
    fn of(bundle: u64, entries: &[Facts]) -> Self {
        let mut summary = Self { bundle, ..Self::default() };
        let times = || entries.iter().map(|facts| facts.time.map(Timestamp::as_millisecond));
        if times().all(|time| time.is_some()) {
            (summary.first, summary.last) = (times().flatten().min(), times().flatten().max());
        }
        for facts in entries {
            summary.kinds.add([&facts.kind]);
            summary.principals.add(&facts.principals);
            summary.topics.add(&facts.topic);
            summary.keys.add(&facts.key_id);
            summary.outcomes.add(&facts.outcomes);
        }
        summary
    }
}

/// The index of one log.
pub struct Index {
    path: PathBuf,
    summaries: Vec<Option<Summary>>,
    fresh: Vec<Summary>,
}

impl Index {
    /// The one beside a log's folder; one that is not there, or not of this log, is empty.
    pub fn beside(folder: &Path, origin: &str) -> Self {
        let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".index");
        let path = folder.with_file_name(name);
        let summaries = read(&path, origin).unwrap_or_default();
        Self { path, summaries, fresh: Vec::new() }
    }

    /// Looks through a log for entries that fit: their indices, the events, what was looked at.
    pub fn search<'a>(&'a mut self, reader: &'a Reader, filter: &'a Filter) -> Search<'a> {
        let bundles = reader.first() / BUNDLE..reader.size().div_ceil(BUNDLE);
        Search { index: self, reader, filter, bundles, found: VecDeque::new() }
    }

    /// Keeps what was learned. A folder that cannot be written to is searched whole the next time.
    pub fn keep(self, origin: &str) -> io::Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let beside = self.path.with_added_extension("new");
        let mut file = BufWriter::new(File::create(&beside)?);
        writeln!(file, "{}", serde_json::to_string(&Head { log: origin.to_owned(), version: VERSION })?)?;
        for summary in self.summaries.iter().flatten().chain(&self.fresh) {
            writeln!(file, "{}", serde_json::to_string(summary)?)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&beside, &self.path)
    }
}

/// Entries that fit, one after another.
pub struct Search<'a> {
    index: &'a mut Index,
    reader: &'a Reader,
    filter: &'a Filter,
    bundles: Range<u64>,
    found: VecDeque<Found>,
}

/// An entry's index, the event, what was looked at.
pub type Found = (u64, Value, Facts);

impl Search<'_> {
    fn look_into(&mut self, bundle: u64) -> Result<(), Error> {
        let known = usize::try_from(bundle).ok().and_then(|at| self.index.summaries.get(at)?.as_ref());
        if known.is_some_and(|summary| !self.filter.may_fit(summary)) {
            return Ok(());
        }
        let is_new = known.is_none();
        let mut all = Vec::new();
        for entry in self.reader.entries(bundle * BUNDLE..(bundle + 1) * BUNDLE) {
            let (index, bytes) = entry?;
            let event: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let facts = Facts::of(&event);
            all.push(facts.clone());
            if self.filter.fits(&facts) {
                self.found.push_back((index, event, facts));
            }
        }
        // Others grow still.
        if is_new && all.len() as u64 == BUNDLE {
            self.index.fresh.push(Summary::of(bundle, &all));
        }
        Ok(())
    }
}

impl Iterator for Search<'_> {
    type Item = Result<Found, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.found.pop_front() {
                return Some(Ok(found));
            }
            let bundle = self.bundles.next()?;
            if let Err(error) = self.look_into(bundle) {
                self.bundles.start = self.bundles.end;
                return Some(Err(error));
            }
        }
    }
}

fn read(path: &Path, origin: &str) -> Option<Vec<Option<Summary>>> {
    let mut lines = BufReader::new(File::open(path).ok()?).lines();
    let head: Head = serde_json::from_str(&lines.next()?.ok()?).ok()?;
    if head.log != origin || head.version != VERSION {
        return None;
    }
    let mut summaries = Vec::new();
    for line in lines {
        let summary: Summary = serde_json::from_str(&line.ok()?).ok()?;
        let at = usize::try_from(summary.bundle).ok().filter(|at| *at <= summaries.len() + MOST_MISSING)?;
        if at >= summaries.len() {
            summaries.resize(at + 1, None);
        }
        *summaries.get_mut(at)? = Some(summary);
    }
    Some(summaries)
}

#[derive(Serialize, Deserialize)]
struct Head {
    log: String,
    version: u32,
}

/// Another one is made anew.
const VERSION: u32 = 1;

/// Entries of a bundle (C2SP tlog-tiles).
const BUNDLE: u64 = 256;

/// Above what most bundles have of a kind; a bundle with more is read.
const MOST_NAMES: usize = 64;

/// Bundles between two that the index knows: what was dropped because of its age.
const MOST_MISSING: usize = 10_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn facts(kind: &str, principal: &str, topic: &str, minute: u8) -> Facts {
        let time = format!("2026-03-01T10:{minute:02}:00.000Z");
        Facts::of(&json!({
            "type": format!("io.barnabas.{kind}"), "time": time, "subject": format!("topic={topic}"),
            "data": { "authenticationInfo": { "principal": principal }, "result": { "status": "DENIED", "reason": "no_grant" } }
        }))
    }

    #[test]
    fn a_bundle_that_has_what_is_looked_for_is_never_passed_over() {
        let entries = [facts("grant.given", "User:a", "x", 1), facts("records", "User:b", "y", 5)];
        let summary = Summary::of(0, &entries);
        let text = |text: &str| Some(text.to_owned());
        let filters = [
            Filter { principal: text("User:a"), ..Filter::default() },
            Filter { principal: text("User:c"), ..Filter::default() },
            Filter { topic: text("y"), ..Filter::default() },
            Filter { topic: text("z"), ..Filter::default() },
            Filter { kind: text("grant"), ..Filter::default() },
            Filter { kind: text("gran"), ..Filter::default() },
            Filter { outcome: text("denied"), ..Filter::default() },
            Filter { outcome: text("forged"), ..Filter::default() },
            Filter { since: Some("2026-03-01T10:05:00Z".parse().unwrap()), ..Filter::default() },
            Filter { since: Some("2026-03-01T10:06:00Z".parse().unwrap()), ..Filter::default() },
            Filter { until: Some("2026-03-01T10:01:00Z".parse().unwrap()), ..Filter::default() },
            Filter { until: Some("2026-03-01T10:02:00Z".parse().unwrap()), ..Filter::default() },
        ];
        let expected = [true, false, true, false, true, false, true, false, true, false, false, true];
        for (filter, expected) in filters.iter().zip(expected) {
            assert_eq!(entries.iter().any(|facts| filter.fits(facts)), expected, "{filter:?}");
            assert_eq!(filter.may_fit(&summary), expected, "{filter:?}");
        }
    }

    #[test]
    fn a_bundle_with_too_many_names_is_read() {
        let entries: Vec<Facts> = (0..256).map(|n| facts("records", &format!("User:{n}"), "x", 1)).collect();
        let summary = Summary::of(0, &entries);
        let filter = Filter { principal: Some("User:nobody".to_owned()), ..Filter::default() };
        assert!(filter.may_fit(&summary));
        let filter = Filter { topic: Some("other".to_owned()), ..Filter::default() };
        assert!(!filter.may_fit(&summary));
    }
}
