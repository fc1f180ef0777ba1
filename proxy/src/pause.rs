//! Waiting before another attempt: longer each time, and by chance, so that two who stand in each other's way part.
//!
//! Arrives: an attempt that has failed for now. Leaves: a moment later. What must never happen here: a secret made of this chance.

use std::time::Duration;

/// The moments between attempts of one thing.
#[derive(Debug)]
pub struct Pause {
    shortest: Duration,
    most_doublings: u32,
    count: u32,
}

impl Pause {
    /// The first is `shortest` at most, and the longest that doubled `most_doublings` times.
    pub const fn new(shortest: Duration, most_doublings: u32) -> Self {
        Self { shortest, most_doublings, count: 0 }
    }

    /// How often was waited.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Waits half of the time that is due, and of the other half as much as chance says.
    pub async fn wait(&mut self) {
        let most = self.shortest.saturating_mul(1 << self.count.min(self.most_doublings));
        self.count += 1;
        tokio::time::sleep(most / 2 + most.mul_f64(f64::from(random() % 1000) / 2000.0)).await;
    }
}

/// Good for spreading, and for nothing else.
pub fn random() -> u32 {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    (high ^ low).to_be_bytes().last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
