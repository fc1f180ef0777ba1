//! Objects that cannot be judged yet, because compaction left the certificate, identity or stream that they refer to
//! behind them. Bounded: what is beyond the bound is refused, and the history has to be read again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::object::{SignedObject, Slot};

/// Objects by what they wait for.
#[derive(Clone, Default)]
pub(super) struct Waiting {
    by_need: HashMap<Slot, Vec<Arc<SignedObject>>>,
    bytes: usize,
}

impl Waiting {
    /// Keeps an object until `need` appears. False when there is no room.
    pub(super) fn keep(&mut self, need: Slot, object: Arc<SignedObject>) -> bool {
        let list = self.by_need.entry(need).or_default();
        if list.iter().any(|kept| kept.wire() == object.wire()) {
            return true;
        }
        let bytes = object.wire().len() + COST_OF_ENTRY;
        if self.bytes + bytes > LIMIT_BYTES {
            return false;
        }
        self.bytes += bytes;
        list.push(object);
        true
    }

    /// Gives the objects that waited for this.
    pub(super) fn release(&mut self, need: Slot) -> Vec<Arc<SignedObject>> {
        let released = self.by_need.remove(&need).unwrap_or_default();
        let bytes: usize = released.iter().map(|object| object.wire().len() + COST_OF_ENTRY).sum();
        self.bytes -= bytes;
        released
    }

    /// Every waiting object's place, and what it waits for.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, Slot)> + '_ {
        self.by_need.iter().flat_map(|(need, list)| list.iter().map(|object| (object.body().slot(), *need)))
    }
}

/// All waiting objects together take at most this many bytes.
const LIMIT_BYTES: usize = 256 * 1024 * 1024;
/// What an entry costs besides its bytes, roughly.
const COST_OF_ENTRY: usize = 256;
