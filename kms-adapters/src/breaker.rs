//! The circuit breaker: a KMS that does not answer is left alone for a while, then asked once.
//!
//! Closed: calls pass. After so many silences in a row it opens: calls fail at once, which costs neither the caller's
//! time nor the KMS's recovery. After a pause one call may pass; an answer closes it, silence opens it anew. Any answer
//! counts as life, also a refusal. A probe that is given up half way never leaves it stuck.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When it opens, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// Silences in a row.
    pub failures: u32,
    /// How long nobody asks then. Short: it is also how long a KMS that is back may go unnoticed.
    pub pause: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(5) }
    }
}

pub(crate) struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

enum State {
    /// Silences in a row.
    Closed(u32),
    Open {
        until: Instant,
    },
    Probing,
}

/// The right to ask once. Say how it went; dropped without, it counts as not asked.
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    is_told: bool,
}

impl Breaker {
    pub(crate) const fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: Mutex::new(State::Closed(0)) }
    }

    /// The right to ask; or, while it is open, how long it will be so.
    pub(crate) fn pass(&self) -> Result<Pass<'_>, Duration> {
        let mut state = self.state();
        let now = Instant::now();
        let is_probe = match *state {
            State::Closed(_) => false,
            State::Open { until } if until <= now => true,
            State::Open { until } => return Err(until - now),
            State::Probing => return Err(self.settings.pause),
        };
        if is_probe {
            *state = State::Probing;
        }
        Ok(Pass { breaker: self, is_probe, is_told: false })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// There was an answer, of whatever kind.
    pub(crate) fn answered(mut self) {
        self.is_told = true;
        *self.breaker.state() = State::Closed(0);
    }

    /// There was none.
    pub(crate) fn silent(mut self) {
        self.is_told = true;
        let settings = self.breaker.settings;
        let mut state = self.breaker.state();
        let failures = match *state {
            State::Closed(failures) => failures + 1,
            // A call from before it opened tells nothing new.
            State::Open { .. } => return,
            State::Probing if !self.is_probe => return,
            State::Probing => settings.failures,
        };
        *state = if failures >= settings.failures {
            State::Open { until: Instant::now() + settings.pause }
        } else {
            State::Closed(failures)
        };
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.is_told {
            *self.breaker.state() = State::Open { until: Instant::now() };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::time::advance;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn opened() -> Breaker {
        let breaker = Breaker::new(BreakerSettings { failures: 3, pause: PAUSE });
        (0..3).for_each(|_| breaker.pass().unwrap().silent());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_silences_in_a_row_and_lets_one_probe_through() {
        let breaker = opened();
        assert_eq!(breaker.pass().err(), Some(PAUSE));
        advance(PAUSE).await;
        let probe = breaker.pass().unwrap();
        assert!(breaker.pass().is_err(), "one probe at a time");
        probe.silent();
        assert_eq!(breaker.pass().err(), Some(PAUSE));
        advance(PAUSE).await;
        breaker.pass().unwrap().answered();
        assert!(breaker.pass().is_ok() && breaker.pass().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_between_starts_the_count_anew() {
        let breaker = Breaker::new(BreakerSettings { failures: 2, pause: PAUSE });
        for _ in 0..10 {
            breaker.pass().unwrap().silent();
            breaker.pass().unwrap().answered();
        }
        assert!(breaker.pass().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_leaves_room_for_another() {
        let breaker = opened();
        advance(PAUSE).await;
        drop(breaker.pass().unwrap());
        breaker.pass().unwrap().answered();
        assert!(breaker.pass().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_silence_does_not_hold_it_open_for_longer() {
        let breaker = Breaker::new(BreakerSettings { failures: 1, pause: PAUSE });
        let late = breaker.pass().unwrap();
        breaker.pass().unwrap().silent();
        advance(PAUSE - Duration::from_secs(1)).await;
        late.silent();
        advance(Duration::from_secs(1)).await;
        assert!(breaker.pass().is_ok());
    }
}
