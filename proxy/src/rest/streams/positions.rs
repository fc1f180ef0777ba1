//! Where a reader stands: the next offset of each partition. As text it is what `Last-Event-ID` carries: `0:15,1:3`.
//!
//! Arrives: such a text, of a client. Leaves: [`Positions`], each partition once. What must never happen here: a text longer than
//! partitions can be.

use std::fmt;

/// The next offset of each partition, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<(i32, i64)>);

impl Positions {
    /// Of partitions with their next offsets.
    pub fn new(mut positions: Vec<(i32, i64)>) -> Self {
        positions.sort_unstable();
        positions.dedup_by_key(|(partition, _)| *partition);
        Self(positions)
    }

    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut positions = Vec::new();
        for pair in text.trim().split(',') {
            let (partition, offset) = pair.split_once(':')?;
            let number =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok())?;
            let partition = i32::try_from(number(partition)?).ok()?;
            if positions.last().is_some_and(|(last, _)| *last >= partition) {
                return None;
            }
            positions.push((partition, number(offset)?));
        }
        Some(Self(positions))
    }

    /// All of them.
    pub fn all(&self) -> &[(i32, i64)] {
        &self.0
    }

    /// The next offset of a partition.
    pub fn of(&self, partition: i32) -> Option<i64> {
        self.0.iter().find(|(known, _)| *known == partition).map(|(_, next)| *next)
    }

    /// Moves on in one partition.
    pub fn set(&mut self, partition: i32, next: i64) {
        if let Some((_, position)) = self.0.iter_mut().find(|(known, _)| *known == partition) {
            *position = next;
        }
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, next)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{partition}:{next}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let positions = Positions::new(vec![(3, 7), (0, 15), (3, 7)]);
        assert_eq!(positions.to_string(), "0:15,3:7");
        assert_eq!((positions.of(3), positions.of(1)), (Some(7), None));
        for wrong in ["", "0", "0:", ":1", "0:-1", "-1:0", "1:0,0:0", "0:0,0:0", "0:0,", "99999999999:0", "0:+1"] {
            assert_eq!(Positions::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::vec((0..i32::MAX, 0..i64::MAX), 1..20)) {
            let positions = Positions::new(pairs);
            prop_assert_eq!(Positions::parse(&positions.to_string()), Some(positions));
        }

        #[test]
        fn nothing_panics(text in ".*") {
            let _ = Positions::parse(&text);
        }
    }
}
