//! Bounded waits on conditions. No test sleeps for a time somebody guessed; it asks again until the answer is there, and
//! fails with the name of what it waited for when the bound has passed.

use std::thread;
use std::time::{Duration, Instant};

/// The bound of a wait whose end is expected soon: generous, since it is only ever reached by a failure.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks `condition` until it gives a value.
///
/// # Panics
/// When `bound` has passed; the text names `what`.
#[track_caller]
pub fn until<T>(what: &str, bound: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + bound;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited {} s in vain: {what}", bound.as_secs());
        thread::sleep(PAUSE);
    }
}

/// [`until`] for a plain truth, within [`PATIENCE`].
#[track_caller]
pub fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, PATIENCE, || condition().then_some(()));
}

/// Between two askings: short against any wait, long against the cost of asking.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);
