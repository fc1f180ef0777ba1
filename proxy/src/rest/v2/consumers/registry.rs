//! The instances of one bridge, by principal, group and name.
//!
//! Arrives: instances when they are made. Leaves: the one that a call names, for the principal who made it. What nobody has used for a
//! while is closed, so that its partitions go to others. What must never happen here: more instances than the bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::instance::Instance;
use crate::identity::Principal;
use crate::rest::{Code, Error};

/// All instances of a bridge.
pub struct Consumers {
    most: usize,
    idle: Duration,
    began: Instant,
    instances: Mutex<HashMap<Key, Arc<Instance>>>,
}

type Key = (Principal, String, String);

impl Consumers {
    /// None yet; `most` at once, and each for `idle` without a call.
    pub fn new(most: usize, idle: Duration) -> Arc<Self> {
        let consumers = Arc::new(Self { most, idle, began: Instant::now(), instances: Mutex::default() });
        tokio::spawn(close_idle(Arc::downgrade(&consumers), idle));
        consumers
    }

    /// Whether there is room for one of this name.
    ///
    /// # Errors
    /// `ConsumerExists`, `TooManyRequests`.
    pub fn check(&self, principal: &Principal, group: &str, name: &str) -> Result<(), Error> {
        self.room(&self.lock(), &(principal.clone(), group.to_owned(), name.to_owned()))
    }

    /// Takes an instance in.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn add(&self, principal: &Principal, instance: Arc<Instance>) -> Result<(), Error> {
        let key = (principal.clone(), instance.group.clone(), instance.name.clone());
        let mut instances = self.lock();
        self.room(&instances, &key)?;
        instance.touch(self.now());
        instances.insert(key, instance);
        Ok(())
    }

    /// The instance of a name.
    ///
    /// # Errors
    /// `ConsumerNotFound`, also for one that another principal has made.
    pub fn find(&self, principal: &Principal, group: &str, name: &str) -> Result<Arc<Instance>, Error> {
        let key = (principal.clone(), group.to_owned(), name.to_owned());
        let instance = self.lock().get(&key).cloned().ok_or_else(not_found)?;
        instance.touch(self.now());
        Ok(instance)
    }

    /// Takes an instance out; it is closed when the last call on it has ended.
    ///
    /// # Errors
    /// `ConsumerNotFound`.
    pub fn remove(&self, principal: &Principal, group: &str, name: &str) -> Result<Arc<Instance>, Error> {
        let key = (principal.clone(), group.to_owned(), name.to_owned());
        self.lock().remove(&key).ok_or_else(not_found)
    }

    fn room(&self, instances: &HashMap<Key, Arc<Instance>>, key: &Key) -> Result<(), Error> {
        if instances.contains_key(key) {
            return Err(Code::ConsumerExists
                .with("Consumer with specified consumer ID already exists in the specified consumer group."));
        }
        if instances.len() >= self.most {
            return Err(Code::TooManyRequests.with("too many consumers at once (limits.max_consumers)"));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn close_idle(consumers: std::sync::Weak<Consumers>, idle: Duration) {
    let mut ticks = tokio::time::interval((idle / 4).clamp(LEAST_LOOK, MOST_LOOK));
    loop {
        ticks.tick().await;
        let Some(consumers) = consumers.upgrade() else { return };
        let oldest = consumers.now().saturating_sub(u64::try_from(consumers.idle.as_millis()).unwrap_or(u64::MAX));
        // One that is being read is in use, however long that takes.
        let stays = |instance: &Arc<Instance>| Arc::strong_count(instance) > 1 || instance.used() >= oldest;
        consumers.lock().retain(|_, instance| stays(instance));
    }
}

fn not_found() -> Error {
    Code::ConsumerNotFound.with("Consumer instance not found.")
}

const LEAST_LOOK: Duration = Duration::from_millis(250);
const MOST_LOOK: Duration = Duration::from_secs(15);
