//! `rest[].idempotency`: how long the answers to requests with an `Idempotency-Key` are kept, and how many of them.
//! A mapping arrives, an [`Idempotency`] leaves. How keys are spread is no setting: replicas that differ in it would write twice.

use std::time::Duration;

use super::super::key::{Key, Kind, key};
use super::super::reader::Reader;
use super::super::values;

/// What is kept of requests with an `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// How long a retry gets the first answer.
    pub window: Duration,
    /// Keys within the window, those of all principals together.
    pub max_keys: usize,
}

impl Idempotency {
    pub(super) fn parse(reader: Reader<'_>) -> Option<Self> {
        let window = reader.or_default("window", values::duration(LEAST_WINDOW, MOST_WINDOW), DEFAULT_WINDOW);
        let count = |text: &str| {
            let value = values::number(4, 100_000_000)(text)?;
            Ok(usize::try_from(value).unwrap_or(DEFAULT_MAX_KEYS))
        };
        let max_keys = reader.or_default("max_keys", count, DEFAULT_MAX_KEYS);
        reader.finish();
        Some(Self { window: window?, max_keys: max_keys? })
    }
}

/// The topic that the answers are kept in. No setting: every gateway keeps clients away from it, also one without a bridge.
pub const IDEMPOTENCY_TOPIC: &str = "_barnabas_idempotency";

/// As long as a client that has lost its connection is likely to try.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

const LEAST_WINDOW: Duration = Duration::from_secs(60);

/// The topic keeps them a day longer, whatever the setting is.
pub const MOST_WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Some 100 MiB when they are all there.
pub const DEFAULT_MAX_KEYS: usize = 1_000_000;

pub(in super::super) const KEYS: &[Key] = &[
    key("rest[].idempotency", Kind::Section, "its defaults", "What is kept of posts with an `Idempotency-Key`."),
    key(
        "rest[].idempotency.window",
        Kind::Duration,
        "`1d`",
        "How long a retry gets the first answer; `1m` to `7d`, the same for all replicas.",
    ),
    key(
        "rest[].idempotency.max_keys",
        Kind::Number,
        "`1000000`",
        "Keys within the window; a quarter of them for one principal at most. Then 429.",
    ),
];
