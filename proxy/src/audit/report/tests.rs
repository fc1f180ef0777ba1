//! Events as gateways write them, for tests of what reads them. Times are of March 2026, `01T10:00`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};

use super::*;

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

fn source() -> Source {
    let log = LogSource {
        origin: "log.example/1".to_owned(),
        key: "log.example/1+abcd+KEY".to_owned(),
        size: 100,
        checkpoint: "log.example/1\n100\nROOT\n".to_owned(),
        expired: 0,
        unreadable: 0,
        left_out: 0,
        is_key_given: true,
    };
    Source { logs: vec![log], without: Vec::new(), made: "2026-04-01T00:00:00Z".parse().unwrap(), version: "0.0.0" }
}

fn period() -> Period {
    Period { from: "2026-03-01T00:00:00Z".parse().unwrap(), to: "2026-04-01T00:00:00Z".parse().unwrap() }
}

/// Use of a key of `orders` in the ten seconds before a time.
fn used(index: u64, client: &str, method: &str, at: &str, records: u64) -> Occurrence {
    event(
        index,
        "records",
        at,
        json!({
            "methodName": format!("kafka.{method}"), "resourceName": "topic=orders", "authenticationInfo": {"principal": format!("User:{client}")},
            "crypto": {"topic": "orders", "partition": 0, "keyId": "aa", "records": records, "bytes": records * 10},
            "window": {"from": time(at), "to": time(at)},
        }),
    )
}

fn denied(index: u64, client: &str, at: &str) -> Occurrence {
    event(
        index,
        "authorization",
        at,
        json!({
            "methodName": "kafka.Fetch", "resourceName": "topic=orders", "authenticationInfo": {"principal": format!("User:{client}")},
            "authorizationInfo": {"granted": false, "operation": "Read", "resourceName": "orders"},
            "result": {"status": "DENIED", "reason": "no_grant", "repeated": 4},
        }),
    )
}

fn epoch(index: u64, kind: &str, number: u32, at: &str) -> Occurrence {
    event(
        index,
        kind,
        at,
        json!({
            "resourceName": "topic=orders", "crypto": {"topic": "orders", "stream": "orders-stream", "epoch": number},
            "keyring": {"object": format!("epoch/orders-{number}"), "issuedAt": time(at), "signedBy": "delegate"},
        }),
    )
}

/// Granted, written, read, revoked, refused, rotated.
fn story() -> Facts {
    let mut facts = Facts::new(period());
    let revoked = {
        let mut data = grant_data("bob", "orders", "read", "10T09:00", Some("10T09:00"));
        data["keyring"]["issuedAt"] = json!("2026-03-10T09:00:00.000Z");
        event(8, "grant.revoked", "10T09:01", data)
    };
    for event in [
        epoch(0, "epoch.begun", 1, "01T08:00"),
        grant(1, "alice", "orders", "write", "01T10:00", None),
        grant(2, "bob", "orders", "read", "01T11:00", None),
        used(3, "alice", "Produce", "02T10:00", 30),
        used(4, "bob", "Fetch", "02T10:05", 20),
        used(5, "bob", "Fetch", "03T10:05", 10),
        event(6, "gateway.started", "04T00:00", json!({"gateway": {"version": "9", "unclean": true}})),
        event(7, "clock.offset", "04T00:01", json!({"clock": {"reference": "head", "offsetMillis": -40}})),
        revoked,
        epoch(9, "epoch.begun", 2, "10T09:05"),
        denied(10, "bob", "10T09:30"),
        epoch(11, "epoch.destroyed", 1, "20T00:00"),
        event(
            12,
            "log.read",
            "21T00:00",
            json!({"authenticationInfo": {"principal": "User:auditor"}, "log": {"firstIndex": 0, "lastIndex": 9}}),
        ),
    ] {
        facts.take(&event);
    }
    facts.take_entry(None);
    facts
}

fn rows<'a>(sections: &'a [section::Section], id: &str) -> &'a [Vec<String>] {
    &sections.iter().find(|section| section.id == id).unwrap().rows
}

#[test]
fn the_report_tells_the_story() {
    let facts = story();
    let sections = sections(&facts, &source());
    let row = |id: &str, at: usize| rows(&sections, id)[at].join(" | ");
    assert_eq!(
        row("access", 0),
        "User:alice | orders | write | 2026-03-01 10:00:00 |  | 1 to the last | policy | delegate | 1"
    );
    assert_eq!(
        row("access", 1),
        "User:bob | orders | read | 2026-03-01 11:00:00 | 2026-03-10 09:00:00 | 1 to the last | policy | delegate | 2"
    );
    assert_eq!(row("use", 0), "User:alice | orders | write | 30 | 300 | 1 | 2026-03-02 10:00:00 | 2026-03-02 10:00:00");
    assert_eq!(row("use", 1), "User:bob | orders | read | 30 | 300 | 1 | 2026-03-02 10:05:00 | 2026-03-03 10:05:00");
    assert_eq!(
        row("refusals", 0),
        "User:bob | topic=orders | no_grant | authorization | 4 | 2026-03-10 09:30:00 | 2026-03-10 09:30:00 | 10"
    );
    assert_eq!(
        row("revocations", 0),
        "User:bob | orders | read | 2026-03-10 09:00:00 | 1 min 0 s | 5 min 0 s | 30 min 0 s | 0 | 8"
    );
    assert_eq!(
        row("keys", 0),
        "orders | 1 | destroyed | 2026-03-01 08:00:00 | 9 d 1 h |  | 2026-03-20 00:00:00 | delegate | 0"
    );
    assert!(row("keys", 1).starts_with("orders | 2 | in use | 2026-03-10 09:05:00"), "{}", row("keys", 1));
    assert!(row("gaps", 0).contains("did not end by itself"));
    assert_eq!(row("readers", 0), "User:auditor | 1 | 2026-03-21 00:00:00 | 2026-03-21 00:00:00 | 12");
    let changes = rows(&sections, "changes");
    assert!(changes.iter().any(|change| change[3] == "User:bob may not read topic=orders any more"), "{changes:#?}");
    let look: Vec<&str> = sections.iter().filter(|section| section.needs_a_look).map(|section| section.id).collect();
    assert_eq!(look, ["integrity", "gaps"]);
    for section in &sections {
        assert!(section.rows.iter().all(|row| row.len() == section.columns.len()), "{}", section.id);
    }
    assert!(rows(&sections, "controls").iter().all(|row| row.iter().all(|cell| !cell.is_empty())));
}

#[test]
fn use_after_a_revocation_needs_a_look() {
    let mut facts = story();
    facts.take(&used(20, "bob", "Fetch", "10T09:20", 3));
    let sections = sections(&facts, &source());
    assert_eq!(rows(&sections, "revocations")[0][7], "3");
    assert!(sections.iter().any(|section| section.id == "revocations" && section.needs_a_look));
    // Granted again, it is no use after a revocation.
    let mut facts = story();
    facts.take(&grant(20, "bob", "orders", "read", "11T09:00", None));
    facts.take(&used(21, "bob", "Fetch", "11T09:20", 3));
    assert_eq!(rows(&super::sections(&facts, &source()), "revocations")[0][7], "0");
}

#[test]
fn the_page_is_one_file_without_scripts_and_the_csv_says_the_same() {
    let mut facts = story();
    facts.take(&used(20, "<script>alert(1)</script>", "Fetch", "12T09:20", 3));
    let sections = sections(&facts, &source());
    let page = html_page(&facts, &source(), &sections);
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("src="));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("<svg"));
    for section in &sections {
        assert!(page.contains(&format!("id=\"{}\"", section.id)));
    }
    let files = csv_files(&sections);
    let (_, use_csv) = files.iter().find(|(name, _)| name == "use.csv").unwrap();
    assert!(use_csv.starts_with("principal,topic,what,records,bytes,keys,first,last\r\n"));
    assert!(use_csv.contains("User:bob,orders,read,30,300,1,"), "{use_csv}");
}

#[test]
fn what_came_before_the_period_counts_only_for_how_things_stood() {
    let mut facts = Facts::new(Period { from: "2026-03-05T00:00:00Z".parse().unwrap(), ..period() });
    facts.take(&grant(1, "alice", "orders", "write", "01T10:00", None));
    facts.take(&used(3, "alice", "Produce", "02T10:00", 30));
    facts.take(&epoch(4, "epoch.begun", 1, "01T08:00"));
    let sections = sections(&facts, &source());
    assert_eq!((rows(&sections, "access").len(), rows(&sections, "use").len()), (1, 0));
    assert_eq!((rows(&sections, "keys").len(), facts.events), (1, 0));
}
