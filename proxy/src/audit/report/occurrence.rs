//! An entry as its readers take it: bytes of the log arrive, what is asked of them by reports and filters leaves.
//! Entries were written by gateways of other versions, too, and a verified log can still hold anything: every field may be
//! missing, unknown ones are passed over, and what is no event at all is none. It is counted, never left out in silence.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

/// Where an entry stands: its index, and in a report of several logs the number of its log, from 1 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of the log; 0 where there is one.
    pub log: usize,
    /// The index.
    pub index: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log {
            0 => write!(f, "{}", self.index),
            log => write!(f, "{log}:{}", self.index),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.log == 0 { serializer.serialize_u64(self.index) } else { serializer.collect_str(self) }
    }
}

/// One event. Field names and meanings are those of the table of events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Occurrence {
    /// Where it stands.
    #[serde(skip)]
    pub place: Place,
    #[serde(rename = "type")]
    type_name: String,
    /// When, as the gateway says.
    pub time: Timestamp,
    /// The log's origin as the entry says.
    #[serde(default)]
    pub source: String,
    /// The rest.
    #[serde(default)]
    pub data: Data,
}

impl Occurrence {
    /// Reads an entry; none if it is no event.
    #[must_use]
    pub fn parse(index: u64, entry: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(entry).ok()?;
        Some(Self { place: Place { log: 0, index }, ..read })
    }

    /// As one of the log with this number.
    #[must_use]
    pub fn of_log(self, log: usize) -> Self {
        Self { place: Place { log, ..self.place }, ..self }
    }

    /// The kind, `grant.given`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.type_name.strip_prefix(TYPE_PREFIX).unwrap_or(&self.type_name)
    }

    /// Who did it, or whom it concerns when nobody did.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        let who = self.data.authentication_info.as_ref().and_then(|who| who.principal.as_deref());
        who.or(self.data.crypto.client.as_deref())
    }

    /// The topic that it is about.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        let decided = || self.data.authorization_info.as_ref().and_then(|decided| decided.resource_name.as_deref());
        let named = || self.data.resource_name.strip_prefix("topic=");
        self.data.crypto.topic.as_deref().or_else(decided).or_else(named)
    }

    /// `SUCCESS`, `DENIED`, ...
    #[must_use]
    pub fn outcome(&self) -> &str {
        &self.data.result.status
    }

    /// Whether it went as asked.
    #[must_use]
    pub fn went_well(&self) -> bool {
        self.data.result.status == "SUCCESS"
    }

    /// How many events it stands for.
    #[must_use]
    pub fn times(&self) -> u64 {
        self.data.result.repeated.unwrap_or(1).max(1)
    }
}

/// `data` of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "documented in the table of events")]
pub struct Data {
    pub method_name: String,
    pub resource_name: String,
    pub result: Outcome,
    pub authentication_info: Option<Who>,
    pub authorization_info: Option<Decision>,
    pub request_metadata: Origin,
    pub crypto: Crypto,
    pub keyring: KeyringObject,
    pub grant: Terms,
    pub kms: Kms,
    pub change: Change,
    pub gateway: Gateway,
    pub clock: Clock,
    pub window: Window,
    pub log: Log,
}

macro_rules! parts {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $(pub $field: Option<$kind>),* }
    )*};
}

parts! {
    /// `authenticationInfo`.
    Who { principal: String, mechanism: String, subject: String }
    /// `authorizationInfo`.
    Decision { granted: bool, operation: String, resource_name: String }
    /// `requestMetadata`.
    Origin { client_address: String, listener: String }
    /// `crypto`.
    Crypto {
        client: String, identity: String, custody: String, topic: String, stream: String, suite: String, sealed: bool,
        epoch: u32, key_id: String, records: u64, bytes: u64, first_offset: i64, last_offset: i64,
    }
    /// `keyring`.
    KeyringObject { object: String, signer: String, signed_by: String, issued_at: Timestamp, found: String }
    /// `grant`.
    Terms {
        right: String, first_epoch: u32, last_epoch: u32, valid_from: Timestamp, valid_to: Timestamp,
        revoked_at: Timestamp, by: String,
    }
    /// `kms`.
    Kms { system: String, key: String, operation: String, purpose: String, millis: u64 }
    /// `change`.
    Change { what: String, before: String, after: String, in_force: Vec<String>, needs_restart: Vec<String> }
    /// `gateway`.
    Gateway { version: String, host: String, unclean: bool, on_failure: String, policy: String }
    /// `clock`.
    Clock { reference: String, offset_millis: i64 }
    /// `window`.
    Window { from: Timestamp, to: Timestamp, folded: u64 }
    /// `log`.
    Log { gap: String, entries: u64, first_index: u64, last_index: u64, filter: String, sink: String }
}

/// `result`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Outcome {
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub repeated: Option<u64>,
}

impl Default for Outcome {
    /// An event that does not say how it ended is not taken for a success.
    fn default() -> Self {
        Self { status: "UNKNOWN".to_owned(), reason: None, message: None, repeated: None }
    }
}

/// Before a kind's name in `type`.
const TYPE_PREFIX: &str = "io.barnabas.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_event_is_read_and_what_is_missing_is_missing() {
        let text = br#"{"specversion":"1.0","id":"1-2","source":"log.example","type":"io.barnabas.authorization","time":"2026-03-01T10:00:00.000Z",
            "data":{"resourceName":"topic=orders","result":{"status":"DENIED","reason":"no_grant"},"news":7,
            "authenticationInfo":{"principal":"User:bob"},"authorizationInfo":{"granted":false,"operation":"Read","resourceName":"orders"}}}"#;
        let read = Occurrence::parse(7, text).unwrap();
        assert_eq!((read.place.index, read.kind(), read.outcome()), (7, "authorization", "DENIED"));
        assert_eq!((read.principal(), read.topic()), (Some("User:bob"), Some("orders")));
        assert!(!read.went_well() && read.times() == 1 && read.data.crypto == Crypto::default());
    }

    #[test]
    fn what_is_no_event_is_none_and_silence_is_no_success() {
        assert!(Occurrence::parse(0, b"{}").is_none());
        assert!(Occurrence::parse(0, b"\xff").is_none());
        let bare = Occurrence::parse(0, br#"{"type":"x","time":"2026-03-01T10:00:00Z"}"#).unwrap();
        assert!(!bare.went_well());
        assert_eq!((bare.kind(), bare.principal(), bare.topic()), ("x", None, None));
    }
}
