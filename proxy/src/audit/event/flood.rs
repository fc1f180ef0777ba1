//! The bound on events that a client can cause at will.
//!
//! Arrives: each such event. Leaves: the first ones of a kind, client, resource and reason in a window at once; the others are
//! counted, and at the window's end the last of them is told once with their number. What must never happen here: an event
//! that is neither told nor counted; memory or entries that grow with what a hostile client does.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::content::Window;
use super::encode::moment;
use super::{Event, Kind};

/// What was told in the windows that are open. The lock is taken for such events only, never for a record.
#[derive(Default)]
pub(super) struct Flood {
    slots: Mutex<HashMap<(Kind, u64), Slot>>,
    /// Drawn for each process, so that nobody can choose names that share a slot.
    hashes: RandomState,
}

struct Slot {
    since: Timestamp,
    told: u32,
    more: u64,
    last: Option<Event>,
}

impl Flood {
    /// The event, when it is to be told now.
    pub(super) fn admit(&self, event: Event, now: Timestamp) -> Option<Event> {
        let Some(limit) = limit(&event) else { return Some(event) };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (event.kind, self.hashes.hash_one(event.likeness()));
        if slots.len() >= MOST_SLOTS && !slots.contains_key(&key) {
            // All further ones of a kind together.
            key.1 = 0;
        }
        let slot = slots.entry(key).or_insert_with(|| Slot { since: now, told: 0, more: 0, last: None });
        if slot.told < limit {
            slot.told += 1;
            return Some(event);
        }
        slot.more += 1;
        slot.last = Some(event);
        None
    }

    /// What windows that are over have left untold. `all`: those that are not over, too.
    pub(super) fn drain(&self, now: Timestamp, all: bool) -> Vec<Event> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        slots.retain(|_, slot| {
            let over = now.duration_since(slot.since).unsigned_abs() >= WINDOW;
            if (over || all)
                && let Some(mut event) = slot.last.take()
            {
                event.content.result.repeated = Some(slot.more);
                let window = Window { from: Some(moment(slot.since)), to: Some(moment(now)), folded: None };
                event.content.window = Some(window);
                told.push(event);
            }
            !(over || all)
        });
        told
    }
}

impl Event {
    /// What makes two events alike.
    fn likeness(&self) -> impl std::hash::Hash + '_ {
        let content = &self.content;
        let who = content.authentication_info.as_ref().and_then(|who| who.principal.as_ref());
        // Of clients without a name, the address tells one from the other.
        let address = content.request_metadata.as_ref().and_then(|from| from.client_address.as_ref());
        let address = address.filter(|_| matches!(self.kind, Kind::Authentication | Kind::RequestRefused));
        let partition = content.crypto.as_ref().and_then(|crypto| crypto.partition);
        let result = (content.result.status, content.result.reason);
        (who, address, &content.resource_name, partition, result, &self.method)
    }
}

/// How many of an event's likes are told whole in a window; `None` for those that no client can cause at will.
fn limit(event: &Event) -> Option<u32> {
    match event.kind {
        Kind::RecordRefused | Kind::RequestRefused => Some(1),
        Kind::Authentication | Kind::Disowned | Kind::Authorization | Kind::ObjectRefused => Some(5),
        // Keys are opened once for each reader; a reader that may not asks again and again.
        Kind::SessionOpened if event.content.result.status != super::Status::Success => Some(1),
        Kind::CustodyUnwrap | Kind::KmsCall if event.content.result.status != super::Status::Success => Some(5),
        _ => None,
    }
}

/// As the data path's.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// About 2 KiB each. A window can so bring forth ten thousand entries at most, whatever clients do.
const MOST_SLOTS: usize = 2048;
