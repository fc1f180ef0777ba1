//! `custody`: under which KMS the gateway's own keys are wrapped, and how long it gets on without asking it.
//! A mapping arrives, a [`CustodySettings`] leaves. Whether the named KMS is there is judged with the whole tree.

use std::time::Duration;

use super::key::{Key, Kind, key};
use super::reader::Reader;
use super::values;

/// Who wraps what is in the gateway's custody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustodySettings {
    /// One of [`super::Config::kms`]; without, the local keystore.
    pub kms: Option<String>,
    /// A custody key is unwrapped anew after this time, so that a disabled key stops its client.
    pub max_age: Duration,
    /// How long beyond `max_age` a KMS that does not answer is survived.
    pub outage_grace: Duration,
}

impl CustodySettings {
    pub(super) fn parse(reader: Reader<'_>) -> Option<Self> {
        let kms = reader.optional("kms", values::text);
        let day = Duration::from_secs(86_400);
        let max_age = reader.or_default("max_age", values::duration(Duration::from_secs(1), day), DEFAULT_MAX_AGE);
        let grace = values::duration(Duration::ZERO, 7 * day);
        let outage_grace = reader.or_default("outage_grace", grace, DEFAULT_OUTAGE_GRACE);
        reader.finish();
        Some(Self { kms: kms?, max_age: max_age?, outage_grace: outage_grace? })
    }
}

/// How long a key that was disabled in the KMS can still be used; also how often a KMS is asked for each key.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(3600);

/// Most outages of a KMS are shorter; whoever stole a gateway gains no more than this by cutting it off.
const DEFAULT_OUTAGE_GRACE: Duration = Duration::from_secs(3600);

pub(super) const KEYS: &[Key] = &[
    key("custody", Kind::Section, "the defaults", "Who wraps the keys in the gateway's custody."),
    key("custody.kms", Kind::Text, "the local keystore", "A name under `kms`."),
    key(
        "custody.max_age",
        Kind::Duration,
        "`1h`",
        "An unwrapped custody key is dropped and asked for again after this time, so a key that was disabled stops its client by then.",
    ),
    key(
        "custody.outage_grace",
        Kind::Duration,
        "`1h`",
        "How long beyond `max_age` a KMS that does not answer is survived; then clients hear retriable errors.",
    ),
];
