//! Keys, grants and the sealed record of Barnabas, the encryption gateway for Apache Kafka.
//!
//! This crate knows bytes and keys. It has no socket, no clock, no file and no runtime: time, entropy limits
//! and storage are handed in by the caller, so that the gateway, the HTTP bridge and an application's own client
//! use the same code. The format is written down in `ENVELOPE.md`.
//!
//! A record's way: a [`Session`] is a writer's data key on one stream and epoch. Each order of records takes a [`Lane`] of
//! it, and [`Lane::seal`] turns a value into `header | ciphertext | tag`, 44 bytes longer. On the way back
//! [`Header::parse`] names the key, a [`SessionReader`] opens, and an [`OrderCheck`] notices replay.
//!
//! A key's way: a steward's [`SigningKey`] signs [`Object`]s (streams, epochs, identities, grants), the [`Keyring`] says
//! which of them count, a [`Writer`] begins sessions and announces them, and a [`Reader`] opens what its grants allow.
//! Nothing secret has `Debug`, `Clone` or `Display`, and all of it is wiped when dropped.

// What everything speaks.
mod error;
mod id;

// The sealed record, in the order in which a value passes through.
mod suite;
pub mod envelope;
mod aad;
mod memory;
mod schedule;
pub mod parcel;
mod session;
mod seal;
mod open;
mod order;

// Who holds which key: signed objects and the keys that they carry.
mod wire;
mod signing;
mod kem;
pub mod custody;
mod identity;
mod stream;
mod epoch;
mod grant;
pub mod announcement;
mod escrow;
mod steward;
mod head;
mod object;
pub mod keyring;

// What programs call: a writer's and a reader's steps in the right order.
mod writer;
mod reader;
mod cache;

pub use aad::{AadBuffer, Place};
pub use announcement::{Announcement, AnnouncementTerms};
pub use cache::ExpiringCache;
pub use custody::{Custody, CustodyContext, CustodyError, WrappedSeed};
pub use envelope::{Flags, HEADER_LEN, Header, RECORD_OVERHEAD, RecordType, Suite, TAG_LEN};
pub use epoch::{Epoch, EpochSecret};
pub use error::{Error, RotateReason};
pub use escrow::{Escrow, EscrowSecret, HolderSecret, MAX_SHARES, SealedShare, Share, ShareTerms};
pub use grant::{EpochSeeds, Grant, MAX_EPOCHS, Right};
pub use head::Head;
pub use id::{
    EpochNumber, EscrowId, HolderId, IdentityId, KeyId, LaneNumber, ObjectId, SignerId, StreamId, SubjectKeyId,
    UnixMillis,
};
pub use identity::{Custodian, Identity, IdentityPublic, IdentitySecret};
pub use kem::{KemPublicKey, KemSuite};
pub use keyring::{Change, Effect, HeadState, Keyring, Refusal};
pub use memory::{Secret, Wiped};
pub use object::{Body, Kind, Object, Removal, SignedObject, Slot};
pub use open::SessionReader;
pub use order::OrderCheck;
pub use reader::Reader;
pub use schedule::Commitment;
pub use seal::Lane;
pub use session::{DrawnSession, Session, SessionLimits, SessionTerms};
pub use signing::{SigningKey, VerifyingKey};
pub use steward::{Delegate, Powers};
pub use stream::{OnUnreadable, Stream, StreamFloor};
pub use writer::{PendingSession, SessionDraft, SessionPlan, Writer};

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod vectors;

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
