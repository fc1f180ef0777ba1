//! A histogram of durations without a lock: each request observes one, so two atomic additions are all it may cost.
//! Durations arrive, OpenMetrics buckets leave. A scrape that runs beside an observation may see it in the bucket before
//! it is in the sum; never the other way round for long, and nothing is lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Buckets from ten microseconds, which is what a request may cost us, to ten seconds, which a long poll may take.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency(Arc<Cells>);

impl Latency {
    /// Counts one duration.
    pub(super) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(cell) = self.0.counts.get(index) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.counts.each_ref().map(|cell| cell.load(Ordering::Relaxed));
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let sum = self.0.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<prometheus_client::encoding::NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

#[derive(Debug, Default)]
struct Cells {
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

/// Upper bounds, inclusive, ascending.
const BOUNDS_MICROS: [u64; 17] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    10_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(latency: &Latency) -> Vec<u64> {
        latency.0.counts.iter().map(|cell| cell.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let latency = Latency::default();
        for micros in [0, 10, 11, 10_000_000, 10_000_001, u64::MAX / 2_000] {
            latency.observe(Duration::from_micros(micros));
        }
        let counts = counts(&latency);
        assert_eq!(counts.first(), Some(&2));
        assert_eq!(counts.get(1), Some(&1));
        assert_eq!(counts.get(16), Some(&1));
        assert_eq!(counts.get(17), Some(&2));
        assert_eq!(counts.iter().sum::<u64>(), 6);
    }
}
