//! What gateways without a steward ask of one elsewhere: unsigned records of the keyring topic under `request/...`.
//!
//! Arrives: such records, from anyone who can write to the topic. Leaves: the ones that stand now. They are questions, never
//! objects: what must never happen here is one of them changing the keyring, or taking memory without a bound.

use std::collections::BTreeMap;

/// The requests that stand now.
#[derive(Default)]
pub(super) struct Requests(BTreeMap<String, Vec<u8>>);

impl Requests {
    /// The record's key, if it is that of a request.
    pub(super) fn key(key: &[u8]) -> Option<&str> {
        std::str::from_utf8(key).ok().filter(|key| key.starts_with(REQUEST_PREFIX))
    }

    /// Takes a record; a tombstone clears what stood there.
    pub(super) fn take(&mut self, key: &str, value: Option<&[u8]>) {
        match value {
            None => {
                self.0.remove(key);
            }
            Some(value) if value.len() <= LONGEST && key.len() <= LONGEST => {
                // Whoever is not taken in asks again: a gateway does as long as its client does.
                if self.0.len() < MOST || self.0.contains_key(key) {
                    self.0.insert(key.to_owned(), value.to_vec());
                }
            }
            Some(_) => {
                tracing::warn!(event = "steward_request_refused", bytes = value.map_or(0, <[u8]>::len), "too long")
            }
        }
    }

    /// Whether there is one under this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// Record keys of the keyring topic that are no object's.
pub const REQUEST_PREFIX: &str = "request/";

/// A principal of a kilobyte, twice, with room.
const LONGEST: usize = 4096;

/// Forty megabytes at the most.
const MOST: usize = 5_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_stand_until_they_are_cleared_and_never_without_a_bound() {
        let mut requests = Requests::default();
        requests.take("request/a", Some(b"1"));
        requests.take("request/a", Some(b"2"));
        requests.take("request/b", Some(&[0; LONGEST + 1]));
        assert_eq!(requests.all(), [("request/a".to_owned(), b"2".to_vec())]);
        requests.take("request/a", None);
        assert!(requests.all().is_empty());
        (0..MOST + 10).for_each(|n| requests.take(&format!("request/{n}"), Some(b"")));
        assert_eq!(requests.all().len(), MOST);
    }

    #[test]
    fn only_keys_with_the_prefix_are_requests() {
        assert_eq!(Requests::key(b"request/x"), Some("request/x"));
        assert_eq!(Requests::key(b"identity/00"), None);
        assert_eq!(Requests::key(b"\xff"), None);
    }
}
