//! Events as gateways write them, for tests of what reads them. Times are of March 2026, `01T10:00`.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::Occurrence;

/// A time.
pub fn time(text: &str) -> String {
    format!("2026-03-{text}:00.000Z")
}

/// An entry of the log.
pub fn entry(kind: &str, at: &str, data: Value) -> Vec<u8> {
    let mut event = json!({"specversion": "1.0", "id": "1-1", "source": "log.example/1", "type": format!("io.barnabas.{kind}"), "time": time(at),
        "datacontenttype": "application/json", "data": {"serviceName": "log.example/1", "result": {"status": "SUCCESS"}}});
    let Value::Object(more) = data else { panic!("data is an object") };
    event["data"].as_object_mut().unwrap().extend(more);
    serde_json::to_vec(&event).unwrap()
}

/// An event as it is read back.
pub fn event(index: u64, kind: &str, at: &str, data: Value) -> Occurrence {
    Occurrence::parse(index, &entry(kind, at, data)).unwrap()
}

/// The data of a grant, or of its revocation.
pub fn grant_data(client: &str, topic: &str, right: &str, at: &str, revoked: Option<&str>) -> Value {
    json!({
        "resourceName": format!("topic={topic}"),
        "crypto": {"client": format!("User:{client}"), "identity": format!("{client}-id"), "topic": topic, "stream": format!("{topic}-stream")},
        "keyring": {"object": format!("grant/{client}-{topic}-{right}"), "signedBy": "delegate", "signer": "aa", "issuedAt": time(at), "found": "live"},
        "grant": {"right": right, "firstEpoch": 1, "validFrom": time(at), "by": "policy", "revokedAt": revoked.map(time)},
    })
}

/// A grant, or its revocation, signed at a time.
pub fn grant(index: u64, client: &str, topic: &str, right: &str, at: &str, revoked: Option<&str>) -> Occurrence {
    let kind = if revoked.is_some() { "grant.revoked" } else { "grant.given" };
    event(index, kind, at, grant_data(client, topic, right, at, revoked))
}

/// A removal of an object.
pub fn removed(object: &str, at: &str) -> Occurrence {
    event(9, "keyring.removed", at, json!({"keyring": {"object": object, "issuedAt": time(at)}}))
}
