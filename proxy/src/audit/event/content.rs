//! What an event carries: `data` of the CloudEvent, in the shape of Confluent's audit records, so that dashboards and parsers
//! made for those read ours.
//!
//! Arrives: what happened, as typed parts. Leaves: JSON by serde. What must never happen here: a field for record bytes, a
//! record key or a secret; a text of a peer that is taken at any length.

use std::fmt;

use serde::{Serialize, Serializer};

/// `data` of an event. `serviceName` and `methodName` are added when it is written.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// What it is about: `topic=orders`, `client=User:alice`, `gateway`.
    pub resource_name: Text,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_info: Option<AuthenticationInfo>,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_info: Option<AuthorizationInfo>,
    /// The Kafka request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_metadata: Option<RequestMetadata>,
    /// How it ended.
    pub result: Outcome,
    /// Topic, stream, keys, counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crypto: Option<Crypto>,
    /// The object of the keyring that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyring: Option<KeyringObject>,
    /// A right and its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantTerms>,
    /// A delegate's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate: Option<DelegateTerms>,
    /// An escrow key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escrow: Option<EscrowTerms>,
    /// A call to a key management system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms: Option<KmsCall>,
    /// A changed configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// This gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayRun>,
    /// The clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// A request of the HTTP bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// The time that counts stand for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The log itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogStatement>,
}

/// Who.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationInfo {
    /// As Kafka writes it; of a client that failed, what it is not known to be is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Text>,
    /// `mTLS`, `none`; of the bridge also `basic`, `bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<&'static str>,
    /// Subject of the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text>,
    /// Issuer of the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Text>,
    /// Serial number of the client's certificate, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<Text>,
    /// SHA-256 of the client's certificate, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// What was decided.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationInfo {
    /// Allowed or not.
    pub granted: bool,
    /// `Write` or `Read`.
    pub operation: &'static str,
    /// `Topic`.
    pub resource_type: &'static str,
    /// The topic.
    pub resource_name: Text,
    /// `LITERAL`.
    pub pattern_type: &'static str,
}

/// The Kafka request.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Kafka's name of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Text>,
    /// By which the client pairs the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<i32>,
    /// What the client calls itself; proves nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Text>,
}

/// From where.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestMetadata {
    /// The client's IP address as the gateway sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_address: Option<Text>,
    /// Its TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_port: Option<u16>,
    /// The listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Text>,
    /// The number of the connection in this run of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
}

/// How it ended.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// One of [`Status`].
    pub status: Status,
    /// A word of a closed list; for refusals that of the metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Text>,
    /// So many events like this one came after one that was told whole, in `window`, and are told here together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
}

/// How it ended, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// As asked.
    #[default]
    Success,
    /// By policy, grant or key.
    Denied,
    /// Somebody whose answer was needed did not give it; asked again, it may succeed.
    Unavailable,
    /// Wrong: forged, damaged, not sound.
    Failure,
    /// The client is nobody that is known here.
    Unauthenticated,
}

/// Topic, stream, keys, counts.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Crypto {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custody: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolled_by: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escrows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_offset: Option<i64>,
}

/// The object of the keyring that says so.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyringObject {
    pub object: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<&'static str>,
}

/// A right and its time.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantTerms {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
}

/// A delegate's certificate.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegateTerms {
    pub key: String,
    pub powers: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Text>,
    pub not_before: String,
    pub not_after: String,
}

/// An escrow key.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EscrowTerms {
    pub threshold: u8,
    pub shares: u8,
    pub custodians: Text,
}

/// A call to a key management system.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KmsCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
}

/// A changed configuration.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_force: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<Text>,
}

/// This gateway.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRun {
    pub version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Text>,
    pub process: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unclean: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<&'static str>,
}

/// The clock.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    pub reference: &'static str,
    pub offset_millis: i64,
}

/// A request of the HTTP bridge.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    pub method: Text,
    pub path: Text,
    pub status: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untold: Option<u64>,
}

/// What became of one record of a request, or of several in a row that ended alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "documented in FIELDS")]
pub struct RecordOutcome {
    pub first: u64,
    pub count: u64,
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_offset: Option<i64>,
}

/// The time that counts stand for.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folded: Option<u64>,
}

/// The log itself.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogStatement {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<Text>,
    /// Whole: cut, its signature would say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Text>,
}

/// A text of bounded length. One that is longer is cut, and the digest of the whole stands in its place's end, so that two
/// long names are never the same.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(String);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for Text {
    fn from(text: T) -> Self {
        let text = text.as_ref();
        if text.len() <= MOST_TEXT {
            return Self(text.to_owned());
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let kept: String = text.char_indices().take_while(|(at, _)| *at < KEPT_TEXT).map(|(_, c)| c).collect();
        Self(format!("{kept}~{}", hex::encode(digest.as_ref())))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Holds every distinguished name that authorities give out. JSON makes six bytes of a control character, and an event has
/// at most eight texts of a peer: with it the largest stays below what an entry may have.
pub const MOST_TEXT: usize = 1024;

/// What is kept of a longer one: with the digest it is no longer than [`MOST_TEXT`].
const KEPT_TEXT: usize = 900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_stays_itself() {
        let long = |last: char| Text::from("é".repeat(4000) + &last.to_string());
        assert!(long('a').as_str().len() <= MOST_TEXT);
        assert_ne!(long('a'), long('b'));
        assert_eq!(Text::from("x".repeat(MOST_TEXT)).as_str().len(), MOST_TEXT);
    }
}
