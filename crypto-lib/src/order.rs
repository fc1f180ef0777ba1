//! Notices replay and reorder by the broker.
//!
//! Arrives: the header and offset of each record that was opened, as offsets rise in one partition. Leaves: the number
//! of holes before the record, or a refusal. Within a lane the sequence must rise. The state is bounded: the least
//! recently seen lanes are forgotten, so a replay that waits until `capacity` other lanes have spoken goes unnoticed.
//! A hole is no error here: compaction, retention and aborted batches make holes.

use std::collections::HashMap;

use crate::envelope::Header;
use crate::{Error, KeyId};

/// The order of one partition as one consumer connection sees it. Observe a record only after it has authenticated.
pub struct OrderCheck {
    /// The lane of the last record: batches hold records of one lane, so most look-ups end here.
    current: Option<((KeyId, u16), Seen)>,
    /// The other lanes.
    lanes: HashMap<(KeyId, u16), Seen>,
    capacity: usize,
    last_offset: Option<i64>,
    clock: u64,
}

impl OrderCheck {
    /// Remembers at most `capacity` lanes (at least two); about 64 bytes each, taken as lanes appear.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { current: None, lanes: HashMap::new(), capacity: capacity.max(2), last_offset: None, clock: 0 }
    }

    /// Takes note of a record. Gives the number of sequence numbers skipped since the lane's last record. An offset at or
    /// below the last one is a seek backwards and starts the check anew.
    ///
    /// # Errors
    /// `Replay` when the number came before, `Reorder` when it fell. The record is then to be refused, and nothing of it is
    /// remembered.
    pub fn observe(&mut self, header: &Header, offset: i64) -> Result<u64, Error> {
        if self.last_offset.is_some_and(|last| offset <= last) {
            self.current = None;
            self.lanes.clear();
            self.last_offset = None;
        }
        let (key, sequence) = ((header.key_id(), header.lane()), header.sequence());
        self.clock += 1;
        let holes = match self.seen(key) {
            Some(seen) => {
                let last = seen.sequence;
                if sequence == last {
                    return Err(Error::Replay { lane: header.lane(), sequence });
                }
                if sequence < last {
                    return Err(Error::Reorder { lane: header.lane(), last, sequence });
                }
                sequence - last - 1
            }
            None => 0,
        };
        self.current = Some((key, Seen { sequence, at: self.clock }));
        self.last_offset = Some(offset);
        Ok(holes)
    }

    /// Lanes remembered now.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len() + usize::from(self.current.is_some())
    }

    /// What was last seen of a lane. It becomes the current one, and the one before goes to the others.
    fn seen(&mut self, key: (KeyId, u16)) -> Option<&Seen> {
        if self.current.as_ref().is_none_or(|(current, _)| *current != key) {
            let found = self.lanes.remove(&key);
            if let Some((before, seen)) = self.current.take() {
                self.make_room();
                self.lanes.insert(before, seen);
            }
            self.current = found.map(|seen| (key, seen));
        }
        self.current.as_ref().map(|(_, seen)| seen)
    }

    /// Forgets the older half when full, so that the search is paid once per `capacity / 2` new lanes.
    fn make_room(&mut self) {
        // One more is the current one.
        if self.lanes.len() + 1 < self.capacity {
            return;
        }
        let mut ages: Vec<u64> = self.lanes.values().map(|seen| seen.at).collect();
        let middle = ages.len() / 2;
        let (_, &mut median, _) = ages.select_nth_unstable(middle);
        self.lanes.retain(|_, seen| seen.at > median);
    }
}

impl Default for OrderCheck {
    fn default() -> Self {
        Self::new(DEFAULT_LANES)
    }
}

/// The last record of a lane.
struct Seen {
    sequence: u64,
    /// When, counted in observed records.
    at: u64,
}

/// Lanes remembered per partition by default: a thousand producer connections.
const DEFAULT_LANES: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::envelope::{Flags, HeaderFields, RecordType, Suite};

    fn header(lane: u16, sequence: u64) -> Header {
        let key_id = KeyId::from_bytes([1; 16]);
        let fields = HeaderFields {
            record_type: RecordType::Record,
            suite: Suite::Aes256Gcm,
            flags: Flags::BOUND,
            key_id,
            lane,
            sequence,
        };
        Header::build(&fields, &[0; 12])
    }

    #[test]
    fn rising_sequences_pass_and_holes_are_counted() {
        let mut order = OrderCheck::default();
        assert_eq!(order.observe(&header(0, 5), 10), Ok(0));
        assert_eq!(order.observe(&header(1, 0), 11), Ok(0));
        assert_eq!(order.observe(&header(0, 6), 12), Ok(0));
        assert_eq!(order.observe(&header(0, 9), 13), Ok(2));
    }

    #[test]
    fn replay_and_reorder_are_refused_and_change_nothing() {
        let mut order = OrderCheck::default();
        order.observe(&header(0, 5), 10).unwrap();
        assert_eq!(order.observe(&header(0, 5), 11), Err(Error::Replay { lane: 0, sequence: 5 }));
        assert_eq!(order.observe(&header(0, 4), 11), Err(Error::Reorder { lane: 0, last: 5, sequence: 4 }));
        assert_eq!(order.observe(&header(0, 6), 11), Ok(0));
    }

    #[test]
    fn a_seek_backwards_starts_anew() {
        let mut order = OrderCheck::default();
        order.observe(&header(0, 5), 10).unwrap();
        assert_eq!(order.observe(&header(0, 5), 10), Ok(0));
        assert_eq!(order.observe(&header(0, 2), 3), Ok(0));
        assert!(order.observe(&header(0, 2), 4).is_err());
    }

    #[test]
    fn state_is_bounded_and_keeps_the_recent_lanes() {
        let mut order = OrderCheck::new(8);
        for lane in 0..1_000u16 {
            order.observe(&header(lane, 7), i64::from(lane)).unwrap();
            assert!(order.lanes() <= 8);
        }
        assert!(order.observe(&header(999, 7), 2_000).is_err());
        let mut order = OrderCheck::new(0);
        for offset in 0..10 {
            assert_eq!(order.observe(&header(offset as u16 % 2, offset), offset as i64), Ok(u64::from(offset > 1)));
        }
        assert_eq!(order.observe(&header(7, 1), 10), Ok(0));
    }
}
