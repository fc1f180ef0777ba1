//! The publisher's thread: durable entries arrive, checkpoints over them leave, write-ahead files that they made needless go.
//! Between checkpoints it looks after old entries.

use std::sync::Arc;

use super::published::Published;
use super::queue::{Shared, Work};
use super::recover::drop_segments;
use super::upkeep::Upkeep;

/// Puts what is durable under checkpoints.
pub struct Publisher {
    shared: Arc<Shared>,
    published: Published,
    upkeep: Upkeep,
}

impl Publisher {
    /// A publisher of a tree.
    pub const fn new(shared: Arc<Shared>, published: Published, upkeep: Upkeep) -> Self {
        Self { shared, published, upkeep }
    }

    /// Publishes until the log is closed and all of it is under a checkpoint.
    pub fn run(mut self) {
        let patience = self.shared.settings.upkeep_interval;
        loop {
            match self.shared.next_work(patience) {
                Work::Publish(entries) => match self.published.publish(&entries) {
                    Ok(checkpoint) => {
                        let needless = self.shared.published(entries.len(), checkpoint);
                        if let Err(error) = drop_segments(&needless) {
                            tracing::warn!(event = "audit_write_ahead_file_kept", %error);
                        }
                    }
                    Err(error) => {
                        tracing::error!(event = "audit_checkpoint_failed", %error);
                        if !self.shared.wait_to_publish(&error) {
                            return;
                        }
                    }
                },
                Work::Idle => {}
                Work::End => return,
            }
            self.upkeep.run(&self.published);
        }
    }
}
