//! A head: a steward's signed statement of what the keyring contained at a time (object kind 8).
//!
//! It exists because a broker can hide a revocation by serving an old state. Writers stop and readers warn when the
//! newest head is older than `max_head_age`. The root covers every steward-signed object, heads excepted.

use crate::wire::{Put, Take};
use crate::{Error, UnixMillis};

/// A head's entry in the keyring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Steward-signed objects, removals included, heads excepted.
    pub count: u64,
    /// SHA-256 over them, sorted by record key; see `ENVELOPE.md`.
    pub root: [u8; 32],
    /// When this was so.
    pub time: UnixMillis,
    /// The offset of the keyring topic up to which the signer had read; -1 where there is no log.
    pub position: i64,
}

impl Head {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.count);
        out.put_raw(&self.root);
        out.put_time(self.time);
        out.put_i64(self.position);
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self { count: take.u64()?, root: take.array()?, time: take.time()?, position: take.i64()? })
    }
}
