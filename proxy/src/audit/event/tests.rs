//! Every kind once, with all that it can carry: the table, the documentation and the code know the same fields.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::encode::Stamp;
use super::kind::TABLE;
use super::recorder::Journal;
use super::*;
use crate::audit::log::{AppendError, State};
use crate::identity::Principal;
use crate::metrics::Metrics;

mod ring;
mod samples;

fn stamp() -> Stamp {
    let time = Timestamp::from_millisecond(1_800_000_000_123).unwrap();
    Stamp { origin: Arc::from("audit.example/gateway-1"), run: 7, number: 3, time }
}

fn json(event: &Event) -> Value {
    serde_json::from_slice(&event.encode(&stamp())).unwrap()
}

/// Paths of all leaves below `data`; entries of a list are one path.
fn paths(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                paths(value, &path, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().for_each(|item| paths(item, at, into));
        }
        _ => {
            into.insert(at.to_owned());
        }
    }
}

#[test]
fn an_event_is_a_cloud_event_in_the_shape_that_dashboards_read() {
    let event = json(samples::all().iter().find(|event| event.kind() == Kind::Authorization).unwrap());
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["id"], "0000000000000007-3");
    assert_eq!(event["source"], "audit.example/gateway-1");
    assert_eq!(event["type"], "io.barnabas.authorization");
    assert_eq!(event["time"], "2027-01-15T08:00:00.123Z");
    assert_eq!(event["subject"], "topic=orders");
    assert_eq!(event["data"]["methodName"], "kafka.Fetch");
    assert_eq!(event["data"]["authenticationInfo"]["principal"], "User:alice");
    assert_eq!(event["data"]["authorizationInfo"]["granted"], false);
    assert_eq!(event["data"]["authorizationInfo"]["resourceType"], "Topic");
    assert_eq!(event["data"]["request"]["clientId"], "billing");
    assert_eq!(event["data"]["requestMetadata"]["clientAddress"], "192.0.2.7");
    assert_eq!(event["data"]["result"]["status"], "DENIED");
}

#[test]
fn the_table_knows_every_field_of_every_kind_and_no_other() {
    let mut seen: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
    for event in samples::all() {
        paths(&json(&event)["data"], "", seen.entry(event.kind()).or_default());
    }
    let documented: BTreeSet<&str> = FIELDS.iter().map(|(path, _)| *path).collect();
    for row in TABLE {
        let found = seen.remove(&row.kind).unwrap_or_else(|| panic!("no sample of {}", row.name));
        let named = |path: &str| {
            COMMON.contains(&path)
                || row.fields.iter().any(|field| path == *field || path.starts_with(&format!("{field}.")))
        };
        for path in &found {
            assert!(named(path), "{} carries {path}, which its row does not name", row.name);
            assert!(documented.contains(path.as_str()), "{path} is not in FIELDS");
        }
        for field in row.fields {
            let carried = found.iter().any(|path| path == field || path.starts_with(&format!("{field}.")));
            assert!(carried, "{} never carries {field}, which its row names", row.name);
        }
    }
    let mut all = BTreeSet::new();
    samples::all().iter().for_each(|event| paths(&json(event)["data"], "", &mut all));
    let unused: Vec<&&str> = documented.iter().filter(|path| !all.contains(**path) && !COMMON.contains(path)).collect();
    assert!(unused.is_empty(), "FIELDS has {unused:?}, which no event carries");
}

#[test]
fn the_documentation_holds_the_tables() {
    let kinds = TABLE.iter().map(|row| {
        let fields: Vec<String> = row.fields.iter().map(|field| format!("`{field}`")).collect();
        format!("| `{}` | `{}` | {} | {} |\n", row.name, row.method, row.when, fields.join(", "))
    });
    let fields = FIELDS.iter().map(|(path, meaning)| format!("| `{path}` | {meaning} |\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit/event/README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(KINDS_HEAD).unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let (between, _) = after.split_once(FIELDS_HEAD).unwrap();
    let (kinds, fields): (String, String) = (kinds.collect(), fields.collect());
    let wanted = format!("{before}{KINDS_HEAD}{kinds}\n{between}{FIELDS_HEAD}{fields}");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == wanted, "run this test with UPDATE_README=1");
}

#[test]
fn no_entry_is_longer_than_the_log_takes() {
    let hostile = "\u{1}".repeat(100_000);
    let peer = Peer::new(Principal::user(&hostile), None, Arc::from(hostile.as_str()), 1);
    peer.call_itself(hostile.as_bytes());
    let verdict = Verdict::Refused(Status::Denied, "no_grant", Text::from(&hostile));
    let event = Event::record_refused(&peer, Api::Fetch, 1, (&hostile, Operation::Read), (0, 1), &verdict);
    let entry = event.encode(&stamp());
    assert!(entry.len() <= crate::audit::log::MAX_ENTRY, "{}", entry.len());
    assert!(entry.len() > 10_000, "told whole");
}

/// Keeps entries in memory.
#[derive(Clone, Default)]
struct Memory {
    entries: Arc<Mutex<Vec<Value>>>,
    full: Arc<std::sync::atomic::AtomicBool>,
}

impl Journal for Memory {
    fn append(&self, entry: Vec<u8>) -> Result<Receipt, AppendError> {
        if self.full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(AppendError::Full);
        }
        let mut entries = self.entries.lock().unwrap();
        entries.push(serde_json::from_slice(&entry).unwrap());
        let index = entries.len() as u64 - 1;
        Ok(Box::pin(std::future::ready(Ok(index))))
    }

    fn state(&self) -> State {
        State::default()
    }
}

impl Memory {
    fn audit(&self, on_failure: OnFailure) -> Audit {
        let keeping = Keeping { origin: Arc::from("o"), on_failure, window: Duration::from_secs(10) };
        Audit::with_journal(Box::new(self.clone()), keeping, Metrics::default().audit.clone())
    }

    fn kinds(&self) -> Vec<String> {
        let entries = self.entries.lock().unwrap();
        entries.iter().map(|entry| entry["type"].as_str().unwrap().to_owned()).collect()
    }
}

fn refused(reason: &'static str) -> Verdict {
    Verdict::Refused(Status::Denied, reason, Text::default())
}

#[tokio::test]
async fn a_decision_is_told_once_until_it_changes() {
    let memory = Memory::default();
    let peer = Arc::new(Peer::from(Principal::user("alice")));
    let mut trail = Trail::new(memory.audit(OnFailure::Alarm), peer, Api::Produce);
    let topic: Arc<str> = Arc::from("orders");
    for verdict in [
        Verdict::Passed,
        Verdict::Granted("sealed"),
        Verdict::Granted("sealed"),
        refused("not_writer"),
        refused("not_writer"),
        Verdict::Passed,
    ] {
        trail.decided(&topic, Operation::Write, verdict);
    }
    let granted: Vec<bool> =
        memory.entries.lock().unwrap().iter().map(|e| e["data"]["authorizationInfo"]["granted"] == true).collect();
    assert_eq!(granted, [true, false, true]);
}

#[tokio::test]
async fn a_flood_of_refusals_is_told_by_its_count() {
    let memory = Memory::default();
    let audit = memory.audit(OnFailure::Block);
    let peer = Arc::new(Peer::from(Principal::user("mallory")));
    let mut trail = Trail::new(audit.clone(), peer, Api::Fetch);
    for offset in 0..1000 {
        trail.refused("orders", Operation::Read, (0, offset), &refused("no_grant"));
        trail.refused("orders", Operation::Read, (1, offset), &refused("no_grant"));
    }
    assert_eq!(trail.settle().await, Ok(()));
    assert_eq!(memory.entries.lock().unwrap().len(), 2);
    audit.tick(true);
    let entries = memory.entries.lock().unwrap();
    assert_eq!(entries.len(), 4);
    for entry in entries.iter().skip(2) {
        assert_eq!(entry["data"]["result"]["repeated"], 999);
        assert_eq!(entry["data"]["crypto"]["offset"], 999);
    }
}

#[tokio::test]
async fn what_cannot_be_written_stops_who_waits_for_it_and_nobody_else() {
    let memory = Memory::default();
    memory.full.store(true, std::sync::atomic::Ordering::Relaxed);
    for (on_failure, outcome) in [(OnFailure::Alarm, Ok(())), (OnFailure::Block, Err(Unwritten))] {
        let audit = memory.audit(on_failure);
        assert_eq!(audit.check(), Ok(()));
        assert_eq!(audit.commit(Event::stopped(true)).await, outcome);
        assert_eq!(audit.check(), outcome, "the next one is told at once");
    }
    memory.full.store(false, std::sync::atomic::Ordering::Relaxed);
    let audit = memory.audit(OnFailure::Block);
    assert_eq!(audit.commit(Event::stopped(true)).await, Ok(()));
    assert_eq!(memory.kinds(), ["io.barnabas.gateway.stopped"]);
}

#[tokio::test]
async fn use_is_told_at_the_connections_end_in_bounded_cells() {
    let memory = Memory::default();
    let peer = Arc::new(Peer::from(Principal::user("alice")));
    let mut usage = Usage::new(memory.audit(OnFailure::Alarm), peer);
    let topic: Arc<str> = Arc::from("orders");
    let outcome = Use { status: Status::Success, reason: "opened" };
    for partition in 0..2000 {
        for first in [5, 8] {
            let counts = Counts { records: 3, bytes: 30, batches: 1, offsets: Some((first, first + 2)) };
            usage.note((&topic, partition), None, (Api::Fetch, outcome), counts);
        }
    }
    assert!(usage.is_open() && memory.entries.lock().unwrap().is_empty());
    drop(usage);
    let entries = memory.entries.lock().unwrap();
    assert_eq!(entries.len(), 1025);
    let records: u64 = entries.iter().map(|entry| entry["data"]["crypto"]["records"].as_u64().unwrap()).sum();
    assert_eq!(records, 2000 * 6);
    assert_eq!(entries.last().unwrap()["data"]["window"]["folded"], 2 * (2000 - 1024));
    assert_eq!(entries[0]["data"]["crypto"]["firstOffset"], 5);
    assert_eq!(entries[0]["data"]["crypto"]["lastOffset"], 10);
}

/// What every event has, or may have.
const COMMON: [&str; 9] = [
    "serviceName",
    "methodName",
    "resourceName",
    "result.status",
    "result.reason",
    "result.message",
    "result.repeated",
    "window.from",
    "window.to",
];

const KINDS_HEAD: &str = "| kind | method | when | carries |\n|---|---|---|---|\n";
const FIELDS_HEAD: &str = "| field | meaning |\n|---|---|\n";
