//! Keys, grants and the sealed record of Barnabas, the encryption gateway for Apache Kafka.
//!
//! This crate knows bytes and keys. It has no socket, no clock, no file and no runtime: time, entropy limits
//! and storage are handed in by the caller, so that the gateway, the HTTP bridge and an application's own client
//! use the same code. The format is written down in `ENVELOPE.md`.
//!
//! A record's way: a [`Session`] is a writer's data key on one stream and epoch. Each order of records takes a
//! [`Lane`] of it, and [`Lane::seal`] turns a value into `header | ciphertext | tag`, 44 bytes longer. On the way
//! back [`Header::parse`] names the key, a [`SessionReader`] opens, and an [`OrderCheck`] notices replay.

mod aad;
pub mod envelope;
mod error;
mod id;
mod memory;
mod open;
mod order;
pub mod parcel;
mod schedule;
mod seal;
mod session;
mod suite;

pub use aad::{AadBuffer, Place};
pub use envelope::{Flags, HEADER_LEN, Header, RECORD_OVERHEAD, RecordType, Suite, TAG_LEN};
pub use error::{Error, RotateReason};
pub use id::{EpochNumber, KeyId, LaneNumber, StreamId, SubjectKeyId, UnixMillis};
pub use memory::Secret;
pub use open::SessionReader;
pub use order::OrderCheck;
pub use schedule::Commitment;
pub use seal::Lane;
pub use session::{DrawnSession, Session, SessionLimits, SessionTerms};
