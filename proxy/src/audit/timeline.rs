//! Several logs as one timeline: what happened arrives from each log in its order, and leaves in the order of time.
//! A log keeps its own order, whatever its clock did: only heads are compared. Nothing is held but one item of each log.

use std::iter::Peekable;

use jiff::Timestamp;

/// Items of several logs in the order of their times, each with the number of its log.
pub struct Timeline<T, E, I: Iterator<Item = Result<T, E>>> {
    logs: Vec<Peekable<I>>,
    time: fn(&T) -> Option<Timestamp>,
}

impl<T, E, I: Iterator<Item = Result<T, E>>> Timeline<T, E, I> {
    /// Of some logs. `time` is that of an item; one without a time comes at once.
    pub fn new(logs: impl IntoIterator<Item = I>, time: fn(&T) -> Option<Timestamp>) -> Self {
        Self { logs: logs.into_iter().map(Iterator::peekable).collect(), time }
    }
}

impl<T, E, I: Iterator<Item = Result<T, E>>> Iterator for Timeline<T, E, I> {
    type Item = Result<(usize, T), E>;

    fn next(&mut self) -> Option<Self::Item> {
        let time = self.time;
        let heads = self.logs.iter_mut().enumerate().filter_map(|(log, items)| {
            let at = match items.peek()? {
                Ok(item) => time(item).unwrap_or(Timestamp::MIN),
                // What cannot be read is told before anything else.
                Err(_) => Timestamp::MIN,
            };
            Some((at, log))
        });
        let (_, log) = heads.min()?;
        Some(self.logs.get_mut(log)?.next()?.map(|item| (log, item)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_merged_by_time_and_each_keeps_its_order() {
        let at = |second: &i64| Timestamp::from_second(*second).ok().filter(|_| *second > 0);
        let logs = [vec![1, 5, 3, 9], vec![2, -1, 4], vec![]].map(|log| log.into_iter().map(Ok::<_, ()>));
        let merged: Vec<_> = Timeline::new(logs, at).flatten().collect();
        assert_eq!(merged, [(0, 1), (1, 2), (1, -1), (1, 4), (0, 5), (0, 3), (0, 9)]);
        let mut broken = Timeline::new([vec![Ok(7)], vec![Err("x"), Ok(1)]].map(Vec::into_iter), at);
        assert_eq!(broken.next(), Some(Err("x")));
        assert_eq!(broken.next(), Some(Ok((1, 1))));
    }
}
