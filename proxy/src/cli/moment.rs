//! Times and counts of keyring objects as commands print them: milliseconds arrive, RFC 3339 or a word leaves.

use barnabas_crypto::{UnixMillis, WrappedSeed};
use jiff::Timestamp;

use crate::steward::BY_POLICY;

/// RFC 3339 in UTC; `None` for a time without an end.
pub(super) fn written(time: UnixMillis) -> Option<String> {
    if time >= BY_POLICY {
        return None;
    }
    let millis = i64::try_from(time.millis()).ok()?;
    Timestamp::from_millisecond(millis).ok().map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A time of the command line. Before 1970 is 1970.
pub(super) fn read(time: Timestamp) -> UnixMillis {
    UnixMillis::new(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// Whether an epoch's seed is still there for new readers.
pub(super) fn seed(custody: Option<&WrappedSeed>) -> &'static str {
    if custody.is_some() { "kept" } else { "destroyed" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_read_back_and_what_never_ends_has_none() {
        let text = "2026-01-02T03:04:05Z";
        assert_eq!(written(read(text.parse().unwrap())).as_deref(), Some(text));
        assert_eq!(read("1960-01-01T00:00:00Z".parse().unwrap()), UnixMillis::new(0));
        for never in [UnixMillis::NEVER, BY_POLICY] {
            assert_eq!(written(never), None);
        }
    }
}
