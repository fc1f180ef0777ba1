//! When epochs follow each other: what the policy says of a stream, else what the delegate's settings say.
//!
//! Arrives: the keyring, the policy, the time. Leaves: the streams that need their next epoch now. The next one is made
//! while the present one still counts, so that every gateway has heard of it in time: no writer waits for it.

use std::time::Duration;

use barnabas_crypto::{Epoch, Keyring, Stream, StreamId, UnixMillis};

use super::plan::CLOCK_SKEW_MILLIS;
use crate::config::{Policy, StreamRule};

/// Sealed streams whose newest epoch ends soon, and those that have none.
pub(super) fn due(keyring: &Keyring, policy: &Policy, usual: Duration, at: UnixMillis) -> Vec<StreamId> {
    let is_due = |stream: &&Stream| {
        let lifetime = lifetime_millis(policy, &stream.topic, usual);
        stream.sealed && keyring.epochs(stream.id).next_back().is_none_or(|epoch| ends_soon(epoch, lifetime, at))
    };
    keyring.streams().filter(is_due).map(|stream| stream.id).collect()
}

/// How long an epoch of a topic's stream lasts.
pub(super) fn lifetime_millis(policy: &Policy, topic: &str, usual: Duration) -> u64 {
    let own = match policy.stream(topic) {
        StreamRule::Seal(rule) => rule.epoch_lifetime,
        _ => None,
    };
    u64::try_from(own.unwrap_or(usual).as_millis()).unwrap_or(u64::MAX)
}

/// Whether a tenth of the lifetime is left, or less. A lifetime that was made shorter holds for the epoch that there is.
fn ends_soon(epoch: &Epoch, lifetime_millis: u64, at: UnixMillis) -> bool {
    let margin = (lifetime_millis / 10).max(SHORTEST_MARGIN_MILLIS);
    let begun = epoch.not_before.millis().saturating_add(CLOCK_SKEW_MILLIS);
    let end = epoch.not_after.millis().min(begun.saturating_add(lifetime_millis));
    end.saturating_sub(margin) <= at.millis()
}

/// An epoch of a minute gets its successor in time, too.
const SHORTEST_MARGIN_MILLIS: u64 = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use barnabas_crypto::{EpochNumber, EpochSecret, KemSuite};

    use super::*;

    const BEGUN: u64 = 1_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn epoch(lifetime_millis: u64) -> Epoch {
        Epoch {
            stream: StreamId::from_bytes([1; 16]),
            number: EpochNumber::FIRST,
            public: EpochSecret::draw(KemSuite::X25519).unwrap().public().unwrap(),
            not_before: UnixMillis::new(BEGUN - CLOCK_SKEW_MILLIS),
            not_after: UnixMillis::new(BEGUN + lifetime_millis),
            custody: None,
        }
    }

    /// When the next one is made, after the beginning.
    fn next_after(epoch: &Epoch, lifetime_millis: u64) -> u64 {
        let due = |after: &u64| ends_soon(epoch, lifetime_millis, UnixMillis::new(BEGUN + after));
        (0..24 * HOUR).step_by(1000).find(due).unwrap()
    }

    #[test]
    fn the_next_epoch_is_made_when_a_tenth_is_left() {
        assert_eq!(next_after(&epoch(10 * HOUR), 10 * HOUR), 9 * HOUR);
        assert_eq!(next_after(&epoch(60_000), 60_000), 50_000);
    }

    #[test]
    fn a_shorter_lifetime_holds_at_once_and_a_longer_one_from_the_next_epoch_on() {
        assert_eq!(next_after(&epoch(10 * HOUR), HOUR), HOUR - HOUR / 10);
        assert_eq!(next_after(&epoch(10 * HOUR), 20 * HOUR), 8 * HOUR);
    }
}
