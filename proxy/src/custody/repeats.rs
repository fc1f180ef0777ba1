//! How often the same trouble is told in the log.
//!
//! Arrives: each request that wanted a client's secret and did not get it for want of an answer. Leaves: whether that is
//! worth a line now, and how many were kept back since the last one. A client asks again several times a second, for as
//! long as an outage lasts; the metric counts all of it. What must never happen here: the first failure of a client not
//! told because others fail as well.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use barnabas_crypto::IdentityId;

/// Who was told about, and when.
#[derive(Default)]
pub struct Repeats(Mutex<HashMap<IdentityId, Told>>);

struct Told {
    /// The key management system that it was about.
    system: String,
    at: Instant,
    kept_back: u64,
}

impl Repeats {
    /// A request of `id` failed at `system` at the time `now`: `Some` when that is to be told, with the number of those
    /// since the last time that were not.
    pub fn tell(&self, id: IdentityId, system: &str, now: Instant) -> Option<u64> {
        let mut all = self.lock();
        let before = all.get_mut(&id);
        if let Some(told) = before
            && told.system == system
            && now.saturating_duration_since(told.at) < INTERVAL
        {
            told.kept_back += 1;
            return None;
        }
        if all.len() >= MOST_TOLD && !all.contains_key(&id) {
            all.retain(|_, told| now.saturating_duration_since(told.at) < INTERVAL);
            if all.len() >= MOST_TOLD {
                return None;
            }
        }
        let told = Told { system: system.to_owned(), at: now, kept_back: 0 };
        Some(all.insert(id, told).map_or(0, |before| before.kept_back))
    }

    /// `id` has its secret: `Some` when trouble with it was told, with the number of failures since that were not.
    pub fn over(&self, id: IdentityId) -> Option<u64> {
        self.lock().remove(&id).map(|told| told.kept_back)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IdentityId, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between two lines about the same client and system.
const INTERVAL: Duration = Duration::from_secs(60);

/// As many as there are identities in custody at the most; about 100 bytes each.
const MOST_TOLD: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: IdentityId = IdentityId::from_bytes([1; 16]);
    const BOB: IdentityId = IdentityId::from_bytes([2; 16]);

    #[test]
    fn a_client_is_told_about_once_a_minute_with_the_number_of_the_others() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let told = |id, system, seconds| repeats.tell(id, system, start + Duration::from_secs(seconds));
        assert_eq!(told(ALICE, "bao", 0), Some(0));
        assert!((0..100).all(|n| told(ALICE, "bao", n / 2).is_none()));
        assert_eq!(told(BOB, "bao", 10), Some(0), "another client");
        assert_eq!(told(ALICE, "bao", 60), Some(100));
        assert_eq!(told(ALICE, "bao", 61), None);
        assert_eq!(told(ALICE, "aws", 62), Some(1), "another system");
        assert_eq!(told(ALICE, "aws", 122), Some(0));
    }

    #[test]
    fn what_is_over_is_told_with_the_number_and_begins_anew() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.over(ALICE), None, "there was no trouble");
        for _ in 0..4 {
            repeats.tell(ALICE, "bao", start);
        }
        assert_eq!(repeats.over(ALICE), Some(3));
        assert_eq!(repeats.tell(ALICE, "bao", start), Some(0), "the next trouble is another one");
    }

    #[test]
    fn who_is_told_about_is_bounded_and_the_old_make_room() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let id = |n: usize| IdentityId::from_bytes((n as u128).to_be_bytes());
        assert!((0..MOST_TOLD).all(|n| repeats.tell(id(n), "bao", start).is_some()));
        assert_eq!(repeats.tell(id(MOST_TOLD), "bao", start), None);
        assert_eq!(repeats.tell(id(MOST_TOLD), "bao", start + INTERVAL), Some(0));
        assert_eq!(repeats.lock().len(), 1);
    }
}
