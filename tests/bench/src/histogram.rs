//! Latencies in nanoseconds, kept in buckets whose width is under 1/64 of their value: small, mergeable, exact enough for a
//! p99.9, and of constant cost per entry.

use std::time::Duration;

/// Counts by bucket.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Enters one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// Takes over the entries of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// The latency under which the share `quantile` (0 to 1) of the entries lies; zero without entries.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let wanted = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(middle(index));
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < FINE {
        return nanos as usize;
    }
    let power = nanos.ilog2() - FINE.ilog2();
    (u64::from(power) * FINE + (nanos >> power)) as usize
}

fn middle(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * FINE {
        return index;
    }
    let power = index / FINE - 1;
    ((index % FINE + FINE) << power) + (1 << power) / 2
}

/// Buckets in each power of two.
const FINE: u64 = 64;
/// Enough for every u64.
const BUCKETS: usize = 64 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_for_its_values_within_one_part_in_64() {
        for nanos in [0, 5, 63, 64, 127, 128, 129, 1_000, 123_456, 9_876_543_210] {
            let stood_for = middle(bucket(nanos));
            assert!(stood_for.abs_diff(nanos) * 64 <= nanos.max(64), "{nanos} became {stood_for}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_entries() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        assert!(histogram.quantile(0.5).as_micros().abs_diff(500) < 10);
        assert!(histogram.quantile(0.99).as_micros().abs_diff(990) < 20);
        assert_eq!(histogram.len(), 1000);
    }
}
