//! Work on large batches, which must not hold up other connections.
//!
//! Arrives: the bytes of one partition and what is to be done with them. Leaves: what that gives. Sealing runs at a gigabyte or
//! two a second: from a mebibyte on it takes what a whole round trip to a broker takes, and all connections of the same
//! worker would wait for it. Smaller batches are worked on where they are, at no cost.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::frame::batch::BatchHeader;

/// Does `work` on `records`; where they are many, other tasks of this worker go on elsewhere meanwhile.
pub fn work_on<T>(is_heavy: bool, work: impl FnOnce() -> T) -> T {
    // A runtime of one thread has nowhere to go on; only tests have that.
    let can_move = || Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if is_heavy && can_move() { tokio::task::block_in_place(work) } else { work() }
}

/// Whether a batch that is not compressed takes long.
pub fn is_long(body: &[u8]) -> bool {
    body.len() >= HEAVY_BYTES
}

/// Whether the records of a partition take long: by their length, or by what a compressed batch of that length becomes.
pub fn is_heavy(records: &[u8]) -> bool {
    if records.len() < HEAVY_COMPRESSED_BYTES {
        return false;
    }
    let compressed =
        || BatchHeader::parse(records).is_ok_and(|header| header.attributes.uncompressed() != header.attributes);
    is_long(records) || compressed()
}

/// Lets other tasks have a turn now and then while one message with many partitions is worked on.
#[derive(Default)]
pub struct Turn {
    worked: usize,
}

impl Turn {
    /// After each piece of work, of so many bytes.
    pub async fn after(&mut self, bytes: usize) {
        self.worked = self.worked.saturating_add(bytes);
        if self.worked >= HEAVY_BYTES {
            self.worked = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// About a millisecond of sealing.
const HEAVY_BYTES: usize = 1024 * 1024;

/// Text compresses to an eighth or less.
const HEAVY_COMPRESSED_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    /// The work ends only when another task of the only worker has run: without moving it would wait for ever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn heavy_work_leaves_the_worker_to_others() {
        let (tell, told) = mpsc::channel();
        let heavy = tokio::spawn(async move {
            tokio::spawn(async move { tell.send(7).unwrap() });
            work_on(true, || told.recv().unwrap())
        });
        assert_eq!(heavy.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_it_in_its_place() {
        assert_eq!(work_on(true, || 7), 7);
    }

    #[test]
    fn long_batches_are_heavy_and_compressed_ones_sooner() {
        let batch = |length: usize, codec: u8| {
            let mut bytes = vec![0; length];
            let body = i32::try_from(length - 12).unwrap();
            bytes.splice(8..12, body.to_be_bytes());
            bytes.splice(16..17, [2]);
            bytes.splice(22..23, [codec]);
            bytes
        };
        assert!(!is_heavy(&[]));
        assert!(!is_heavy(&batch(HEAVY_COMPRESSED_BYTES - 1, 4)));
        assert!(is_heavy(&batch(HEAVY_COMPRESSED_BYTES, 4)));
        assert!(!is_heavy(&batch(HEAVY_COMPRESSED_BYTES, 0)));
        assert!(is_heavy(&batch(HEAVY_BYTES, 0)));
        assert!(is_heavy(&vec![0xff; HEAVY_BYTES]));
    }
}
