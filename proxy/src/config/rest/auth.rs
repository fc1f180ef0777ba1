//! `rest[]`, who may call: client certificates always count; the rest is written here.
//! The keys of a bridge arrive, a [`BridgeAuth`] leaves. Without a word of the operator nobody is anonymous.

use super::super::key::{Key, Kind, key};
use super::super::reader::Reader;
use super::super::values;

/// Which proofs a bridge takes beside client certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeAuth {
    /// Whether a caller without any proof is `User:ANONYMOUS` instead of refused.
    pub anonymous: bool,
}

impl BridgeAuth {
    /// Reads the keys of the bridge that belong here.
    pub(super) fn parse(bridge: &Reader<'_>) -> Option<Self> {
        let anonymous = bridge.or_default("anonymous", values::choice(ANONYMOUS), false);
        Some(Self { anonymous: anonymous? })
    }
}

const ANONYMOUS: &[(&str, bool)] = &[("refuse", false), ("accept", true)];

pub(in super::super) const KEYS: &[Key] = &[key(
    "rest[].anonymous",
    Kind::Choice,
    "`refuse`",
    "`accept`: a caller who proves nothing is `User:ANONYMOUS`. `refuse`: 401.",
)];
