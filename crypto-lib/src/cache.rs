//! A cache with a bound on size and on age, for what is dear to open and must not be kept for ever: session readers, epoch
//! seeds, unwrapped identities. Time is passed in. What leaves the cache is dropped, and secrets wipe themselves when
//! dropped. It must never give an entry that is over age, even if no one has swept.

use std::collections::HashMap;
use std::hash::Hash;

use crate::UnixMillis;

/// A bounded, expiring cache. Not shared: the caller decides how.
pub struct ExpiringCache<K, V> {
    entries: HashMap<K, Cached<V>>,
    capacity: usize,
    max_age_millis: u64,
    clock: u64,
}

impl<K: Eq + Hash, V> ExpiringCache<K, V> {
    /// Keeps at most `capacity` entries (at least one), each at most `max_age_millis`.
    #[must_use]
    pub fn new(capacity: usize, max_age_millis: u64) -> Self {
        Self { entries: HashMap::new(), capacity: capacity.max(1), max_age_millis, clock: 0 }
    }

    /// An entry that is not over age. A time before the entry's own counts as over age: the clock was set back.
    pub fn get(&mut self, key: &K, now: UnixMillis) -> Option<&V> {
        self.clock += 1;
        let clock = self.clock;
        let max_age = self.max_age_millis;
        if self.entries.get(key)?.is_over(now, max_age) {
            self.entries.remove(key);
            return None;
        }
        let cached = self.entries.get_mut(key)?;
        cached.used = clock;
        Some(&cached.value)
    }

    /// Puts an entry in. When full, those over age leave, and then the less recently used half.
    pub fn put(&mut self, key: K, value: V, now: UnixMillis) {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.sweep(now);
            self.make_room();
        }
        self.clock += 1;
        self.entries.insert(key, Cached { value, since: now, used: self.clock });
    }

    /// Drops what is over age; call it from time to time, so that secrets do not outlive their time in an idle cache.
    pub fn sweep(&mut self, now: UnixMillis) {
        let max_age = self.max_age_millis;
        self.entries.retain(|_, cached| !cached.is_over(now, max_age));
    }

    /// Drops the entries for which `keep` says no: after a revocation, a disabled key, a removed client.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|key, cached| keep(key, &cached.value));
    }

    /// Entries, those over age included until they are swept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn make_room(&mut self) {
        if self.entries.len() < self.capacity {
            return;
        }
        let mut ages: Vec<u64> = self.entries.values().map(|cached| cached.used).collect();
        let middle = ages.len() / 2;
        let (_, &mut median, _) = ages.select_nth_unstable(middle);
        self.entries.retain(|_, cached| cached.used > median);
    }
}

struct Cached<V> {
    value: V,
    since: UnixMillis,
    /// When it was last used, counted in calls.
    used: u64,
}

impl<V> Cached<V> {
    fn is_over(&self, now: UnixMillis, max_age_millis: u64) -> bool {
        now < self.since || now >= self.since.plus_millis(max_age_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> UnixMillis {
        UnixMillis::new(millis)
    }

    #[test]
    fn an_entry_over_age_is_not_given_and_is_dropped() {
        let value = std::rc::Rc::new(());
        let mut cache = ExpiringCache::new(4, 100);
        cache.put(1, std::rc::Rc::clone(&value), at(10));
        assert!(cache.get(&1, at(109)).is_some());
        assert!(cache.get(&1, at(110)).is_none());
        assert_eq!(std::rc::Rc::strong_count(&value), 1);
    }

    #[test]
    fn a_clock_set_back_does_not_lengthen_a_life() {
        let mut cache = ExpiringCache::new(4, 100);
        cache.put(1, (), at(1_000));
        assert!(cache.get(&1, at(999)).is_none());
    }

    #[test]
    fn the_bound_holds_and_the_recently_used_stay() {
        let mut cache = ExpiringCache::new(8, u64::MAX);
        for key in 0..100 {
            cache.put(key, (), at(1));
            assert!(cache.get(&0, at(1)).is_some());
            assert!(cache.len() <= 8);
        }
    }

    #[test]
    fn sweep_and_retain_drop_what_they_should() {
        let mut cache = ExpiringCache::new(8, 100);
        cache.put(1, (), at(0));
        cache.put(2, (), at(50));
        cache.sweep(at(120));
        assert_eq!(cache.len(), 1);
        cache.retain(|key, ()| *key != 2);
        assert!(cache.is_empty());
    }
}
