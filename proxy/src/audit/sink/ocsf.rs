//! An event as OCSF 1.3 has it (Open Cybersecurity Schema Framework), for those who collect that.
//!
//! Arrives: an entry. Leaves: JSON of the class that fits; what OCSF has no field for stands under `unmapped`, whole. What must
//! never happen here: an entry that is left out since it is of a kind that is not known.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The entry in OCSF.
pub fn translated(entry: &[u8], index: u64, origin: &str) -> Vec<u8> {
    let event: Value = serde_json::from_slice(entry).unwrap_or_default();
    let text = |path: &str| event.pointer(path).and_then(Value::as_str);
    let kind = text("/type").and_then(|kind| kind.strip_prefix("io.barnabas.")).unwrap_or_default();
    let (class, activity) = class_of(kind, text("/data/methodName").unwrap_or_default());
    let good = text("/data/result/status") == Some("SUCCESS");
    let time = text("/time").and_then(|time| time.parse::<Timestamp>().ok()).map_or(0, Timestamp::as_millisecond);
    let mut out = Map::new();
    out.insert("class_uid".to_owned(), class.into());
    out.insert("category_uid".to_owned(), (class / 1000).into());
    out.insert("activity_id".to_owned(), activity.into());
    out.insert("type_uid".to_owned(), (class * 100 + activity).into());
    out.insert("time".to_owned(), time.into());
    // Informational; medium for what was refused or failed; high where the log itself has lost something.
    let severity = if kind == "log.gap" {
        4
    } else if good {
        1
    } else {
        3
    };
    out.insert("severity_id".to_owned(), severity.into());
    out.insert("status_id".to_owned(), if good { 1 } else { 2 }.into());
    for (name, path) in [("status_code", "/data/result/reason"), ("status_detail", "/data/result/message")] {
        if let Some(value) = text(path) {
            out.insert(name.to_owned(), value.into());
        }
    }
    let product = json!({ "name": "Barnabas", "vendor_name": "Barnabas", "version": env!("CARGO_PKG_VERSION") });
    out.insert(
        "metadata".to_owned(),
        json!({
            "version": "1.3.0", "product": product, "uid": text("/id"), "event_code": kind, "log_name": origin,
            "sequence": index,
        }),
    );
    if let Some(principal) = text("/data/authenticationInfo/principal") {
        let user = json!({ "name": principal, "type_id": 1 });
        out.insert("actor".to_owned(), json!({ "user": user }));
        if class / 1000 == 3 {
            out.insert("user".to_owned(), user);
        }
    }
    if let Some(client) = text("/data/crypto/client") {
        out.insert("user".to_owned(), json!({ "name": client, "type_id": 1 }));
    }
    if let Some(address) = text("/data/requestMetadata/clientAddress") {
        let port = event.pointer("/data/requestMetadata/clientPort").cloned().unwrap_or_default();
        out.insert("src_endpoint".to_owned(), json!({ "ip": address, "port": port }));
    }
    if class / 1000 == 6 {
        let operation = text("/data/methodName").unwrap_or_default();
        out.insert("api".to_owned(), json!({ "operation": operation, "service": { "name": "barnabas" } }));
    }
    if let Some(resource) = text("/subject") {
        out.insert("resources".to_owned(), json!([{ "name": resource, "type": "kafka" }]));
    }
    out.insert("unmapped".to_owned(), event.get("data").cloned().unwrap_or_default());
    serde_json::to_vec(&Value::Object(out)).unwrap_or_default()
}

/// Class and activity of a kind.
fn class_of(kind: &str, method: &str) -> (u64, u64) {
    let reads = method.ends_with("Fetch");
    match kind {
        "gateway.started" => (APPLICATION_LIFECYCLE, 3),
        "gateway.stopped" => (APPLICATION_LIFECYCLE, 4),
        "authentication" => (AUTHENTICATION, 1),
        "authentication.disowned" => (AUTHENTICATION, 2),
        "records" | "records.refused" if reads => (DATASTORE_ACTIVITY, 1),
        "records" | "records.refused" => (DATASTORE_ACTIVITY, 5),
        "client.enrolled" => (ACCOUNT_CHANGE, 1),
        "grant.given" => (USER_ACCESS, 1),
        "grant.revoked" => (USER_ACCESS, 2),
        "epoch.begun" | "escrow.installed" | "session.announced" | "delegate.certified" => (ENTITY_MANAGEMENT, 1),
        "epoch.destroyed" | "escrow.retired" | "keyring.removed" => (ENTITY_MANAGEMENT, 4),
        "stream.changed" | "seed.rewrapped" | "epoch.floor" | "policy.changed" | "configuration.changed" => {
            (ENTITY_MANAGEMENT, 3)
        }
        "authorization" if reads => (API_ACTIVITY, 2),
        "authorization" => (API_ACTIVITY, 1),
        _ => (API_ACTIVITY, OTHER),
    }
}

const ACCOUNT_CHANGE: u64 = 3001;
const AUTHENTICATION: u64 = 3002;
const ENTITY_MANAGEMENT: u64 = 3004;
const USER_ACCESS: u64 = 3005;
const APPLICATION_LIFECYCLE: u64 = 6002;
const API_ACTIVITY: u64 = 6003;
const DATASTORE_ACTIVITY: u64 = 6005;
const OTHER: u64 = 99;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_refusal_says_who_from_where_and_what() {
        let entry = json!({
            "id": "1-2", "type": "io.barnabas.records.refused", "time": "2027-01-15T08:00:00.123Z", "subject": "topic=orders",
            "data": {
                "methodName": "kafka.Fetch", "authenticationInfo": { "principal": "User:mallory" },
                "requestMetadata": { "clientAddress": "192.0.2.7", "clientPort": 40000 },
                "result": { "status": "DENIED", "reason": "no_grant" }
            }
        });
        let event: Value = serde_json::from_slice(&translated(entry.to_string().as_bytes(), 7, "o")).unwrap();
        assert_eq!((&event["class_uid"], &event["type_uid"]), (&json!(6005), &json!(600_501)));
        assert_eq!((&event["time"], &event["status_id"]), (&json!(1_800_000_000_123_i64), &json!(2)));
        assert_eq!(event["actor"]["user"]["name"], "User:mallory");
        assert_eq!(event["src_endpoint"]["ip"], "192.0.2.7");
        assert_eq!(event["metadata"]["sequence"], 7);
        assert_eq!(event["unmapped"]["result"]["reason"], "no_grant");
    }

    #[test]
    fn what_is_not_known_is_told_all_the_same() {
        for entry in [&b"no json"[..], b"{}", br#"{"type":"io.barnabas.new.kind"}"#] {
            let event: Value = serde_json::from_slice(&translated(entry, 1, "o")).unwrap();
            assert_eq!(event["class_uid"], 6003);
        }
    }
}
