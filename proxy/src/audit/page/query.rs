//! Entries by a filter: a question arrives, exact bytes of entries leave, newest first, a page at a time.
//! An answer says which range of the log it has looked through, so that the asker can look through it as well: nothing needs
//! to be believed. What one question may cost is bounded: entries looked at, entries given, bytes.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Page, Trouble, What};
use crate::audit::event::Peer;
use crate::audit::log::stored::Stored;
use crate::audit::log::tile::{Content, Tile};
use crate::audit::log::tree::TILE_WIDTH;
use crate::audit::report::Occurrence;

/// What is looked for. A text with `*` at its end is the beginning of what is looked for. What is not said is not asked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// Only entries before this index: how the next page is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
}

/// The answer.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    /// Entries of the log when it was asked.
    size: u64,
    /// What was found, newest first.
    entries: Vec<Found>,
    /// The first index that was looked at, and the one after the last.
    scanned: (u64, u64),
    /// What to ask for as `before` to go on; none at the end.
    next: Option<u64>,
    /// Ranges whose entries are not there: expired ones, or worse.
    missing: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize)]
struct Found {
    index: u64,
    /// The exact text of the entry, from which its hash is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Its bytes in base64, when it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

/// Answers `/audit/query`.
pub(super) async fn answer(
    State(page): State<Arc<Page>>,
    Extension(peer): Extension<Arc<Peer>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Answer>, Trouble> {
    let Query(asked) = asked.map_err(|refused| Trouble::Asked(refused.body_text()))?;
    let filter = told(&asked);
    // Held by the reading itself: who hangs up does not make room for another one.
    let turn = page.scans.clone().acquire_owned().await.map_err(|_| Trouble::Stopped)?;
    let reading = page.clone();
    let scan = move || {
        let _turn = turn;
        Scan::new(&reading.stored, reading.size()?, &asked)?.run()
    };
    let answer = tokio::task::spawn_blocking(scan).await.map_err(|_| Trouble::Stopped)??;
    let (first, end) = answer.scanned;
    page.reads.audited_read(&peer, What::Query, (first, end.saturating_sub(1).max(first)), &filter);
    Ok(Json(answer))
}

/// The question as the log tells it.
fn told(asked: &Asked) -> String {
    let fields = serde_json::to_value(asked).ok();
    let fields = fields.as_ref().and_then(|value| value.as_object()).into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
}

impl Asked {
    fn wants(&self, event: &Occurrence) -> bool {
        let who = event.data.authentication_info.as_ref().and_then(|who| who.principal.as_deref());
        let concerned = event.data.crypto.client.as_deref();
        let timely = self.from.is_none_or(|from| event.time >= from) && self.to.is_none_or(|to| event.time < to);
        timely
            && (fits(self.kind.as_deref(), [Some(event.kind())]) || self.is_group_of(event.kind()))
            && fits(self.outcome.as_deref(), [Some(event.outcome()), event.data.result.reason.as_deref()])
            && fits(self.principal.as_deref(), [who, concerned])
            && fits(self.topic.as_deref(), [event.topic()])
            && fits(self.key_id.as_deref(), [event.data.crypto.key_id.as_deref()])
    }

    /// `grant` is `grant.given` and `grant.revoked`, as for `barnabas audit query`.
    fn is_group_of(&self, kind: &str) -> bool {
        let rest = self.kind.as_deref().and_then(|wanted| kind.strip_prefix(wanted));
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// Whether anything is asked that only an event can answer.
    fn is_choosy(&self) -> bool {
        let texts = [&self.principal, &self.topic, &self.kind, &self.outcome, &self.key_id];
        self.from.is_some() || self.to.is_some() || texts.iter().any(|text| text.is_some())
    }
}

fn fits<'a>(wanted: Option<&str>, found: impl IntoIterator<Item = Option<&'a str>>) -> bool {
    let Some(wanted) = wanted else { return true };
    found.into_iter().flatten().any(|text| match wanted.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => text == wanted,
    })
}

struct Scan<'a> {
    stored: &'a Stored,
    size: u64,
    asked: &'a Asked,
    limit: usize,
    bytes: usize,
    answer: Answer,
}

impl<'a> Scan<'a> {
    fn new(stored: &'a Stored, size: u64, asked: &'a Asked) -> Result<Self, Trouble> {
        let limit = asked.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Trouble::Asked(format!("limit is 1 to {MAX_LIMIT}")));
        }
        Ok(Self { stored, size, asked, limit, bytes: 0, answer: Answer { size, ..Answer::default() } })
    }

    fn run(mut self) -> Result<Answer, Trouble> {
        let end = self.asked.before.unwrap_or(self.size).min(self.size);
        let end = self.skip_later(end)?;
        let (mut at, lowest) = (end, end.saturating_sub(MAX_SCANNED));
        while at > lowest {
            let index = (at - 1) / TILE_WIDTH as u64;
            let first = index * TILE_WIDTH as u64;
            let entries = self.entries(index)?;
            if entries.is_empty() {
                self.answer.missing.push((first, at));
                at = first;
                continue;
            }
            let mut all_early = true;
            let below = usize::try_from(at - first).unwrap_or(TILE_WIDTH);
            for (place, entry) in entries.iter().enumerate().take(below).rev() {
                if self.is_full() {
                    break;
                }
                let place = first + place as u64;
                at = place;
                all_early &= self.look_at(place, entry);
            }
            if self.is_full() {
                break;
            }
            // A bundle that ended inside of itself has been looked through as far as it goes.
            at = first;
            if all_early {
                self.answer.scanned = (at, end);
                return Ok(self.answer);
            }
        }
        self.answer.scanned = (at, end);
        self.answer.next = Some(at).filter(|at| *at > 0);
        Ok(self.answer)
    }

    /// Takes an entry if it is asked for. True when it lies so long before what is asked for that those before it do, too.
    fn look_at(&mut self, index: u64, entry: &[u8]) -> bool {
        let event = Occurrence::parse(index, entry);
        let wanted = event.as_ref().map_or(!self.asked.is_choosy(), |event| self.asked.wants(event));
        if wanted {
            self.bytes += entry.len();
            let text = std::str::from_utf8(entry).ok().map(str::to_owned);
            let bytes = text.is_none().then(|| BASE64.encode(entry));
            self.answer.entries.push(Found { index, text, bytes });
        }
        let early = |event: &Occurrence| self.asked.from.is_some_and(|from| event.time < before(from));
        event.as_ref().is_some_and(early)
    }

    fn is_full(&self) -> bool {
        self.answer.entries.len() >= self.limit || self.bytes >= MAX_BYTES
    }

    /// The end of the first bundle that begins long after what is asked for: halves what is left at each step.
    fn skip_later(&self, end: u64) -> Result<u64, Trouble> {
        let Some(to) = self.asked.to else { return Ok(end) };
        let (mut low, mut high) = (0, end.div_ceil(TILE_WIDTH as u64));
        while low < high {
            let middle = low.midpoint(high);
            let entries = self.entries(middle)?;
            let times = entries.iter().filter_map(|entry| Occurrence::parse(0, entry)).map(|event| event.time);
            match times.min() {
                Some(time) if time > after(to) => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(end.min(high.saturating_mul(TILE_WIDTH as u64)))
    }

    fn entries(&self, index: u64) -> Result<Vec<Vec<u8>>, Trouble> {
        let Some(tile) = Tile::of(Content::Entries, index, self.size) else { return Ok(Vec::new()) };
        match self.stored.entries(tile) {
            Ok(entries) => Ok(entries.unwrap_or_default()),
            // A bundle that does not decompress is as good as missing; others can still be read.
            Err(error) => {
                tracing::error!(event = "audit_page_cannot_read", %error);
                Ok(Vec::new())
            }
        }
    }
}

/// Times rise along a log, but for a clock that was set: a day of slack.
fn before(time: Timestamp) -> Timestamp {
    time.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN)
}

fn after(time: Timestamp) -> Timestamp {
    time.checked_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX)
}

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 500;

/// A fraction of a second of reading.
const MAX_SCANNED: u64 = 256 * TILE_WIDTH as u64;

/// Entries have a few hundred bytes; their bound is 64 KiB.
const MAX_BYTES: usize = 4 << 20;
