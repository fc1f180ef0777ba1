//! Record batches, format version 2 (KIP-98, `DefaultRecordBatch` in Kafka's documentation).
//!
//! Arrives: the `records` bytes of a Produce request or a Fetch response, chosen by a peer. Leaves: views
//! that name where each part lies, and new batches with the same place in the log. Every offset, count and
//! length is checked against the bytes at hand; nothing is allocated by a number that a peer wrote.
//! A batch's place (base offset, leader epoch, producer id, epoch, sequence, timestamps, record count)
//! must never change here: idempotence, transactions and compaction stand on it.

mod codec;
pub(crate) mod header;
mod record;

pub use codec::{Codec, InflateError, inflate};
pub use header::{
    Attributes, BATCH_OVERHEAD, BatchError, BatchHeader, Entry, cut_batch, entries, finish_batch, start_batch,
};
pub use record::{RecordView, Records, encode_varint, put_varint, varint_len};
