//! The longest silence of a run: how long a partition waited between one arrival and the next, looked for around what somebody
//! did and, for comparison, where nobody did anything. The worst partition counts: a stall of one is not hidden by the others.

use std::time::Duration;

use crate::load::flow::{Arrival, Lane};

/// A stretch of the run, from its beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// Its start.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
}

/// The longest waits within one window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Silences {
    /// Between two acknowledgements of one partition; none when the window holds nothing.
    pub acknowledged: Option<Duration>,
    /// Between two deliveries of one partition.
    pub delivered: Option<Duration>,
}

impl Silences {
    /// Looks at all partitions. A wait that also meets one of `apart` belongs to that one and does not count here.
    pub fn find(lanes: &[Lane], window: Window, apart: &[Window]) -> Self {
        Self {
            acknowledged: lanes.iter().filter_map(|lane| longest(&lane.acknowledged, window, apart)).max(),
            delivered: lanes.iter().filter_map(|lane| longest(&lane.delivered, window, apart)).max(),
        }
    }

    /// The longer of both.
    pub fn longest(&self) -> Option<Duration> {
        self.acknowledged.max(self.delivered)
    }
}

impl Window {
    fn meets(&self, from: Duration, to: Duration) -> bool {
        from <= self.to && self.from <= to
    }
}

fn longest(arrivals: &[Arrival], window: Window, apart: &[Window]) -> Option<Duration> {
    let pairs = arrivals.iter().zip(arrivals.iter().skip(1));
    pairs
        // A reader that lags comes to the records of a window later than the window: time and records both tell.
        .filter(|(one, next)| {
            let meets = |window: &Window| window.meets(one.at, next.at) || window.meets(one.sent, next.sent);
            meets(&window) && !apart.iter().any(meets)
        })
        .map(|(one, next)| next.at.saturating_sub(one.at))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(at: u64, sent: u64) -> Arrival {
        Arrival { at: Duration::from_millis(at), sent: Duration::from_millis(sent), records: 1 }
    }

    fn window(from: u64, to: u64) -> Window {
        Window { from: Duration::from_millis(from), to: Duration::from_millis(to) }
    }

    #[test]
    fn a_wait_belongs_to_the_window_that_it_began_or_ended_in() {
        let arrivals = [10, 12, 50, 51, 53].map(|at| arrival(at, at - 1));
        let wait = |window, apart: &[Window]| longest(&arrivals, window, apart).map(|wait| wait.as_millis());
        assert_eq!(wait(window(13, 20), &[]), Some(38));
        assert_eq!(wait(window(51, 60), &[]), Some(2));
        assert_eq!(wait(window(45, 60), &[]), Some(38));
        assert_eq!(wait(window(45, 60), &[window(13, 20)]), Some(2));
        assert_eq!(wait(window(70, 80), &[]), None);
    }

    #[test]
    fn a_reader_that_lags_is_held_to_the_records_of_the_window() {
        let arrivals = [arrival(100, 10), arrival(101, 11), arrival(140, 30), arrival(141, 31)];
        assert_eq!(longest(&arrivals, window(20, 25), &[]), Some(Duration::from_millis(39)));
    }

    #[test]
    fn the_worst_partition_counts() {
        let lane = |gap: u64| Lane {
            acknowledged: vec![arrival(0, 0), arrival(gap, gap)],
            delivered: Vec::new(),
            sequence: crate::load::numbered::Sequence::default(),
        };
        let found = Silences::find(&[lane(3), lane(9)], window(0, 100), &[]);
        assert_eq!(found, Silences { acknowledged: Some(Duration::from_millis(9)), delivered: None });
        assert_eq!(found.longest(), Some(Duration::from_millis(9)));
    }
}
