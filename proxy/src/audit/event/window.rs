//! Use of keys on the data path, counted in windows.
//!
//! Arrives: for each partition of a request or an answer, how many records of which session were sealed or opened. Leaves: one
//! event for each topic, partition, session key, API and outcome when the window is over or the connection ends. What must
//! never happen here: a lock, or an allocation for each record; more cells than the bound, whatever a client names.

use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use barnabas_crypto::KeyId;
use jiff::Timestamp;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Audit, Event, Peer, Status};

/// Which way records went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// Towards the broker.
    Produce,
    /// Towards the client.
    Fetch,
    /// Towards a member of a share group.
    ShareFetch,
}

impl Api {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Produce => "Produce",
            Self::Fetch => "Fetch",
            Self::ShareFetch => "ShareFetch",
        }
    }
}

/// How the use ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Use {
    /// In a word.
    pub status: Status,
    /// In another.
    pub reason: &'static str,
}

/// What one piece of a request or an answer held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Pieces.
    pub batches: u64,
    /// The lowest and the highest offset.
    pub offsets: Option<(i64, i64)>,
}

/// What one side of a connection has used in the window that is open.
pub struct Usage {
    audit: Audit,
    peer: Arc<Peer>,
    cells: HashMap<Cell, (Counts, Timestamp)>,
    /// What found no cell: pieces, and what they held.
    beyond: (u64, Counts),
    since: Timestamp,
    due: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cell {
    topic: Arc<str>,
    partition: i32,
    key_id: Option<KeyId>,
    api: Api,
    outcome: Use,
}

impl Usage {
    /// Nothing yet.
    pub fn new(audit: Audit, peer: Arc<Peer>) -> Self {
        Self { audit, peer, cells: HashMap::new(), beyond: Default::default(), since: Timestamp::UNIX_EPOCH, due: None }
    }

    /// Whether anybody wants to know.
    pub fn is_on(&self) -> bool {
        self.audit.is_on()
    }

    /// Whether something was counted that was not told yet.
    pub fn is_open(&self) -> bool {
        self.due.is_some()
    }

    /// Counts one piece. `key_id` is `None` where none was used: it was refused, or passed for another reason.
    pub fn note(
        &mut self,
        (topic, partition): (&Arc<str>, i32),
        key_id: Option<KeyId>,
        (api, outcome): (Api, Use),
        counts: Counts,
    ) {
        if !self.audit.is_on() {
            return;
        }
        if self.due.is_none() {
            self.since = Timestamp::now();
            self.due = Some(Box::pin(sleep_until(Instant::now() + self.audit.window())));
        }
        let cell = Cell { topic: topic.clone(), partition, key_id, api, outcome };
        if let Some((known, _)) = self.cells.get_mut(&cell) {
            known.add(&counts);
        } else if self.cells.len() < MOST_CELLS {
            self.cells.insert(cell, (counts, Timestamp::now()));
        } else {
            self.beyond.0 += 1;
            self.beyond.1.add(&Counts { offsets: None, ..counts });
        }
    }

    /// Resolves when the window is over; never when there is none.
    pub async fn over(&mut self) {
        match &mut self.due {
            Some(due) => due.as_mut().await,
            None => pending().await,
        }
    }

    /// Tells what was counted, when the window is over.
    pub fn tell_if_over(&mut self) {
        if self.due.as_ref().is_some_and(|due| due.deadline() <= Instant::now()) {
            self.tell();
        }
    }

    /// Tells what was counted. While the log has no room, the window goes on instead.
    pub fn tell(&mut self) {
        if self.audit.has_room() {
            self.close();
        } else if let Some(due) = &mut self.due {
            due.as_mut().reset(Instant::now() + self.audit.window());
        }
    }

    fn close(&mut self) {
        let to = Timestamp::now();
        for (cell, (counts, from)) in self.cells.drain() {
            let Cell { topic, partition, key_id, api, outcome } = cell;
            let place = (&*topic, partition);
            self.audit.record(Event::records(&self.peer, (api, outcome), place, key_id, &counts, (from, to)));
        }
        let (folded, counts) = std::mem::take(&mut self.beyond);
        if folded > 0 {
            self.audit.record(Event::folded(&self.peer, folded, &counts, (self.since, to)));
        }
        self.due = None;
    }
}

impl Drop for Usage {
    /// At the connection's end what was counted is told, or counted as refused by the log.
    fn drop(&mut self) {
        if self.due.is_some() {
            self.close();
        }
    }
}

impl Counts {
    fn add(&mut self, more: &Self) {
        self.records += more.records;
        self.bytes += more.bytes;
        self.batches += more.batches;
        self.offsets = match (self.offsets, more.offsets) {
            (Some((low, high)), Some((first, last))) => Some((low.min(first), high.max(last))),
            (known, new) => known.or(new),
        };
    }
}

/// About 150 bytes each, and an entry of 1 KiB when the window is over. A broker's connection of a client that reads every
/// partition of a large cluster has some hundreds.
const MOST_CELLS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_offsets_span() {
        let mut counts = Counts { records: 1, bytes: 10, batches: 1, offsets: None };
        counts.add(&Counts { records: 2, bytes: 5, batches: 1, offsets: Some((7, 9)) });
        counts.add(&Counts { records: 2, bytes: 5, batches: 1, offsets: Some((3, 4)) });
        assert_eq!(counts, Counts { records: 5, bytes: 20, batches: 3, offsets: Some((3, 9)) });
    }
}
