//! The receipt of an append: a future arrives with the entry, an index leaves when the entry is durable.

use tokio::sync::oneshot;

use super::MAX_ENTRY;

/// Stands for an entry that was taken and is not durable yet. Dropping it changes nothing for the entry.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<u64, AppendError>>);

impl Ticket {
    /// A ticket and the end by which it is answered.
    pub(super) fn new() -> (oneshot::Sender<Result<u64, AppendError>>, Self) {
        let (answer, receiver) = oneshot::channel();
        (answer, Self(receiver))
    }

    /// The answer, if it has come; never waits.
    pub(super) fn answered(&mut self) -> Option<Result<u64, AppendError>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(AppendError::Closed)),
        }
    }

    /// Waits until the entry is synced to disk, and gives its index.
    ///
    /// # Errors
    /// `Failed` when the disk refused it: the entry is not in the log.
    pub async fn durable(self) -> Result<u64, AppendError> {
        self.0.await.unwrap_or(Err(AppendError::Closed))
    }
}

/// Why an entry was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The queue is full: the disk is slower than what is to be written.
    #[error("the audit log's queue is full")]
    Full,
    /// The disk refuses.
    #[error("the audit log cannot be written: {0}")]
    Failed(String),
    /// The entry is empty or too long.
    #[error("an audit entry of {0} bytes; it must have 1 to {max}", max = MAX_ENTRY)]
    Length(usize),
    /// The log is closed.
    #[error("the audit log is closed")]
    Closed,
}
