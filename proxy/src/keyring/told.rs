//! What the audit log has heard of the keyring.
//!
//! Arrives: each accepted or refused record. Leaves: an event for each change; at the start, one for each object that came
//! while this gateway was away, or for all of them when the log is new. What must never happen here: history told twice; a
//! start that waits for the log's disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use barnabas_crypto::{Change, Effect, Keyring, Kind, Refusal, Slot, UnixMillis};

use super::live::now;
use crate::audit::event::{Audit, ClockReference, Event, Found};

/// Tells the audit log. Costs nothing when there is none.
pub struct Told {
    audit: Audit,
    /// The offset from which on records are new to the log; `None` for a log that is new itself.
    since: Option<i64>,
    /// Objects of the history, with the offsets of their records, until they are told or known to be told already.
    history: Mutex<BTreeMap<Slot, i64>>,
    /// When the clock was last compared, in hours since 1970.
    compared: AtomicU64,
}

impl Told {
    /// For a log that has heard of what is before `since`.
    pub fn new(audit: Audit, since: Option<i64>) -> Self {
        Self { audit, since, history: Mutex::default(), compared: AtomicU64::new(0) }
    }

    /// Nobody hears of it.
    pub fn nobody() -> Self {
        Self::new(Audit::off(), None)
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// A record was accepted. `live`: the history has been read.
    pub fn accepted(&self, keyring: &Keyring, change: &Change, offset: i64, live: bool) {
        if !self.audit.is_on() {
            return;
        }
        if change.slot.kind == Kind::Head {
            if live && let Some(head) = keyring.head() {
                self.compare_clock(head.time);
            }
            return;
        }
        let others = change.follow_ups.iter().filter_map(|(slot, outcome)| Some((*slot, *outcome.as_ref().ok()?)));
        for (slot, effect) in std::iter::once((change.slot, change.effect)).chain(others) {
            if live {
                self.tell(Event::of_keyring(keyring, slot, effect, Some(offset), Found::Live));
            } else if matches!(effect, Effect::Added | Effect::Replaced | Effect::Removed) {
                self.history().insert(slot, offset);
            }
        }
    }

    /// A record was refused.
    pub fn refused(&self, key: &str, offset: i64, refusal: &Refusal, reason: &'static str) {
        if self.audit.is_on() {
            self.tell(Some(Event::keyring_refused(key, offset, refusal, reason)));
        }
    }

    /// Tells of the history what the log has not heard of, as much as it has room for. `end` is the offset behind the last
    /// record. True when nothing is left.
    pub fn catch_up(&self, keyring: &Keyring, end: i64) -> bool {
        // A position beyond the end is one of another topic.
        let since = self.since.filter(|since| *since <= end);
        let found = if since.is_some() { Found::Late } else { Found::Baseline };
        for _ in 0..AT_ONCE {
            if !self.audit.has_room() {
                return false;
            }
            let Some((slot, offset)) = self.history().pop_first() else { return true };
            let told = since.map_or(slot.kind == Kind::Announcement, |since| offset < since);
            if !told {
                let effect = match keyring.accepted(slot.to_string().as_bytes()) {
                    Some(object) if object.body().kind() == Kind::Removal => Effect::Removed,
                    _ => Effect::Added,
                };
                self.tell(Event::of_keyring(keyring, slot, effect, Some(offset), found));
            }
        }
        false
    }

    /// How far this clock is from that of whoever signed a head, once an hour.
    fn compare_clock(&self, signed: UnixMillis) {
        let here = now().millis();
        let hour = here / 3_600_000;
        if self.compared.swap(hour, Ordering::Relaxed) != hour {
            let offset = i64::try_from(here).unwrap_or(0) - i64::try_from(signed.millis()).unwrap_or(0);
            self.tell(Some(Event::clock_offset(ClockReference::Head, offset)));
        }
    }

    fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            self.audit.record(event);
        }
    }

    fn history(&self) -> MutexGuard<'_, BTreeMap<Slot, i64>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Objects in one go; the keyring cannot change meanwhile.
const AT_ONCE: usize = 1_000;
