//! What was looked up at a registry, kept.
//!
//! A key and a look-up arrive, what was found leaves. The same key is looked up once at a time, whoever asks; what was
//! not found is remembered for a moment, so that a topic full of foreign bytes is no flood of look-ups. What must never
//! happen here: more entries than the limit.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::rest::formats::FormatError;

/// Found things by their keys, oldest out first.
pub(super) struct Cache<K, V> {
    entries: Mutex<Entries<K, V>>,
    limit: usize,
    /// How long what was found is true.
    lifetime: Option<Duration>,
    error_lifetime: Duration,
}

type Found<V> = (Result<V, FormatError>, Instant);
type Cell<V> = Arc<OnceCell<Found<V>>>;

struct Entries<K, V> {
    cells: HashMap<K, Cell<V>>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    /// For `limit` entries, at least one. Without a lifetime they are true for ever.
    pub(super) fn new(limit: usize, lifetime: Option<Duration>) -> Self {
        let entries = Entries { cells: HashMap::new(), order: VecDeque::new() };
        Self { entries: Mutex::new(entries), limit: limit.max(1), lifetime, error_lifetime: ERROR_LIFETIME }
    }

    /// What is known of the key, or what `look_up` finds.
    ///
    /// # Errors
    /// Those of the look-up, for a few seconds without another one.
    pub(super) async fn find<F>(&self, key: &K, look_up: impl FnOnce() -> F) -> Result<V, FormatError>
    where
        F: Future<Output = Result<V, FormatError>>,
    {
        let cell = self.cell(key);
        let (found, _) = cell.get_or_init(|| async { (look_up().await, Instant::now()) }).await;
        found.clone()
    }

    fn cell(&self, key: &K) -> Cell<V> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = entries.cells.get_mut(key) {
            let is_over = cell.get().is_some_and(|(found, since)| {
                let lifetime = if found.is_err() { Some(self.error_lifetime) } else { self.lifetime };
                lifetime.is_some_and(|lifetime| since.elapsed() >= lifetime)
            });
            if is_over {
                *cell = Cell::default();
            }
            return Arc::clone(cell);
        }
        while entries.order.len() >= self.limit {
            if let Some(oldest) = entries.order.pop_front() {
                entries.cells.remove(&oldest);
            }
        }
        let cell = Cell::default();
        entries.cells.insert(key.clone(), Arc::clone(&cell));
        entries.order.push_back(key.clone());
        cell
    }
}

/// Long enough to spare the registry, short enough for someone who has just registered a schema.
const ERROR_LIFETIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::rest::Code;

    #[tokio::test]
    async fn a_key_is_looked_up_once_and_errors_are_soon_forgotten() {
        let mut cache = Cache::new(2, None);
        let asked = AtomicUsize::new(0);
        let good = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(7)
        };
        let (first, second) = tokio::join!(cache.find(&1, good), cache.find(&1, good));
        assert_eq!((first.unwrap(), second.unwrap(), asked.load(Ordering::Relaxed)), (7, 7, 1));
        cache.lifetime = Some(Duration::ZERO);
        cache.find(&1, good).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        cache.lifetime = None;

        let bad = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            Err(FormatError::new(Code::InvalidSchema, "no"))
        };
        cache.error_lifetime = Duration::from_secs(3600);
        assert!(cache.find(&2, bad).await.is_err() && cache.find(&2, bad).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        cache.error_lifetime = Duration::ZERO;
        assert!(cache.find(&2, bad).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 4);

        // The third key drives the first one out.
        cache.find(&3, good).await.unwrap();
        cache.find(&1, good).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 6);
        assert_eq!(cache.entries.lock().unwrap().cells.len(), 2);
    }
}
