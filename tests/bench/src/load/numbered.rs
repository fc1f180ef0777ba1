//! Records that carry their number and the moment at which they were sent, so that whoever receives them can tell a gap, a
//! duplicate and a wait from what should be. A batch is built once and written anew in place: the generator stays cheap.

use std::cmp::Ordering;
use std::time::Duration;

use super::Shape;
use crate::batch::{self, Codec};
use crate::error::Error;
use crate::payload::Payload;

/// What a record carries at the start of its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Counts the records of one partition from zero.
    pub number: u64,
    /// When it was sent, from the beginning of the load.
    pub sent: Duration,
}

impl Mark {
    /// Reads the mark of a value.
    pub fn read(value: &[u8]) -> Result<Self, Error> {
        let marked = value.first_chunk::<LENGTH>().and_then(|bytes| bytes.split_first_chunk::<8>());
        let Some((number, sent)) = marked.and_then(|(number, sent)| Some((*number, *sent.first_chunk::<8>()?))) else {
            return Err(Error::Mismatch(format!("a value has {} bytes, too few for its number", value.len())));
        };
        Ok(Self { number: u64::from_be_bytes(number), sent: Duration::from_nanos(u64::from_be_bytes(sent)) })
    }

    fn write(self) -> [u8; LENGTH] {
        let nanos = u64::try_from(self.sent.as_nanos()).unwrap_or(u64::MAX);
        let mut bytes = [0; LENGTH];
        for (place, byte) in bytes.iter_mut().zip(self.number.to_be_bytes().into_iter().chain(nanos.to_be_bytes())) {
            *place = byte;
        }
        bytes
    }
}

/// One batch, used again and again with other marks.
pub struct NumberedBatch {
    bytes: Vec<u8>,
    places: Vec<usize>,
    next: u64,
}

impl NumberedBatch {
    /// Builds it without a codec: a compressed batch cannot be written anew in place.
    pub fn new(shape: &Shape) -> Result<Self, Error> {
        let values = Payload::new(shape.kind).values(shape.records, shape.value_bytes.max(LENGTH));
        let bytes = batch::build(&values, Codec::None)?;
        Ok(Self { places: batch::places(&bytes)?, bytes, next: 0 })
    }

    /// The batch with the next numbers, sent now.
    pub fn next(&mut self, sent: Duration) -> &[u8] {
        for &place in &self.places {
            let mark = Mark { number: self.next, sent }.write();
            if let Some(value) = self.bytes.get_mut(place..place + LENGTH) {
                value.copy_from_slice(&mark);
            }
            self.next += 1;
        }
        batch::renew(&mut self.bytes);
        &self.bytes
    }
}

/// Holds what is delivered against what should be: each number once, in order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sequence {
    /// The number that should be next.
    pub next: u64,
    /// Numbers that were delivered again.
    pub duplicates: u64,
    /// Numbers that were left out.
    pub gaps: u64,
}

impl Sequence {
    /// Enters a delivered number.
    pub fn enter(&mut self, number: u64) {
        match number.cmp(&self.next) {
            Ordering::Less => self.duplicates += 1,
            Ordering::Equal => self.next += 1,
            Ordering::Greater => {
                self.gaps += number - self.next;
                self.next = number + 1;
            }
        }
    }

    /// Enters the end: nothing came of what was sent up to here.
    pub fn end(&mut self, sent: u64) {
        self.gaps += sent.saturating_sub(self.next);
        self.next = self.next.max(sent);
    }
}

/// Number and moment, eight bytes each.
const LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::payload::Kind;

    #[test]
    fn a_batch_carries_the_next_numbers_each_time() {
        let shape = Shape {
            topic: String::new(),
            connections: 1,
            in_flight: 1,
            value_bytes: 100,
            records: 3,
            codec: Codec::None,
            kind: Kind::Random,
            acks: -1,
            fetch_bytes: 1,
            warm: Duration::ZERO,
            length: Duration::ZERO,
        };
        let mut numbered = NumberedBatch::new(&shape).unwrap();
        let mut seen = Vec::new();
        for sent in [5, 6] {
            batch::each_value(numbered.next(Duration::from_nanos(sent)), |value| {
                let mark = Mark::read(value)?;
                seen.push((mark.number, mark.sent.as_nanos(), value.len()));
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(seen, [(0, 5, 100), (1, 5, 100), (2, 5, 100), (3, 6, 100), (4, 6, 100), (5, 6, 100)]);
        assert!(Mark::read(&[0; 15]).is_err());
    }

    #[test]
    fn gaps_and_duplicates_are_told_apart() {
        let run = |numbers: &[u64], sent| {
            let mut sequence = Sequence::default();
            numbers.iter().for_each(|&number| sequence.enter(number));
            sequence.end(sent);
            (sequence.duplicates, sequence.gaps)
        };
        assert_eq!(run(&[0, 1, 2], 3), (0, 0));
        assert_eq!(run(&[0, 1, 1, 2], 3), (1, 0));
        assert_eq!(run(&[0, 3, 4], 5), (0, 2));
        assert_eq!(run(&[0, 1], 5), (0, 3));
    }
}
