//! When a failed call is tried again, and after which pause.
//!
//! Arrives: a failure and how many there were. Leaves: a pause, or that this was it. The pause is drawn evenly from zero to
//! a bound that doubles (full jitter), so that gateways which failed together do not come back together. What says
//! something about a key is never tried again, nor is a refused credential: that would lock accounts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use barnabas_crypto::CustodyError;
use barnabas_crypto::custody::CustodyCause;
use ring::rand::{SecureRandom, SystemRandom};

/// How often and how fast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetrySettings {
    /// Calls in all, the first included.
    pub attempts: u32,
    /// Bound of the first pause; it doubles from try to try.
    pub first_pause: Duration,
    /// Bound of every pause that we choose; one that the KMS asks for may be longer.
    pub longest_pause: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { attempts: 4, first_pause: Duration::from_millis(100), longest_pause: Duration::from_secs(5) }
    }
}

/// Draws pauses.
pub(crate) struct Retry {
    settings: RetrySettings,
    state: AtomicU64,
}

impl Retry {
    pub(crate) fn new(settings: RetrySettings) -> Self {
        let mut seed = [0; 8];
        // Without random bytes the pauses are only less spread.
        let _ = SystemRandom::new().fill(&mut seed);
        Self { settings, state: AtomicU64::new(u64::from_le_bytes(seed)) }
    }

    /// The pause before the next try; none when this failure is final. `failures` counts this one in.
    pub(crate) fn pause(&self, failures: u32, error: &CustodyError) -> Option<Duration> {
        let is_worth_it = matches!(error.cause, CustodyCause::Throttled | CustodyCause::Unreachable);
        if !is_worth_it || failures >= self.settings.attempts {
            return None;
        }
        let doubled = self.settings.first_pause.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let bound = doubled.min(self.settings.longest_pause);
        let drawn = bound.mul_f64(self.fraction());
        Some(error.retry_after.map_or(drawn, |asked| asked.saturating_add(drawn)))
    }

    /// From 0 to 1. Spread is all that is asked of it: this is no secret (a Weyl sequence, mixed).
    fn fraction(&self) -> f64 {
        let mut mixed = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from((mixed >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn retry() -> Retry {
        Retry::new(RetrySettings { attempts: 40, ..RetrySettings::default() })
    }

    #[test]
    fn pauses_are_spread_below_a_bound_that_doubles_and_ends() {
        let retry = retry();
        let error = CustodyError::new(CustodyCause::Unreachable, "");
        for (failures, bound) in [(1, 100), (2, 200), (3, 400), (6, 3200), (7, 5000), (39, 5000)] {
            let bound = Duration::from_millis(bound);
            let pauses: Vec<_> = (0..200).map(|_| retry.pause(failures, &error).unwrap()).collect();
            assert!(pauses.iter().all(|pause| *pause <= bound));
            assert!(pauses.iter().any(|pause| *pause < bound / 4) && pauses.iter().any(|pause| *pause > bound / 4 * 3));
        }
        assert_eq!(retry.pause(40, &error), None);
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept() {
        let error = CustodyError::new(CustodyCause::Throttled, "").with_retry_after(Some(Duration::from_secs(30)));
        assert!(retry().pause(1, &error).unwrap() >= Duration::from_secs(30));
    }

    #[test]
    fn answers_about_a_key_and_refused_credentials_are_final() {
        for cause in [
            CustodyCause::Corrupt,
            CustodyCause::Denied,
            CustodyCause::Disabled,
            CustodyCause::Invalid,
            CustodyCause::NotFound,
            CustodyCause::Unauthenticated,
        ] {
            assert_eq!(retry().pause(1, &CustodyError::new(cause, "")), None, "{cause}");
        }
    }
}
