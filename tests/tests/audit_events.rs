//! Promise: each use of a key, each grant, each refusal is in the audit log; with the gateway's own starts and changes, and with nothing of what
//! clients write.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use barnabas_kms::{LocalKeystore, Unlock};
use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;

use barnabas_tests::audit::AuditLog;
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{Blob, Sent, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::Rule;
use barnabas_tests::rest::Http;
use barnabas_tests::scratch::{Scratch, root};
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;
use barnabas_tests::wire::Connection;

struct Audited {
    site: Site,
    log: AuditLog,
    _folder: Scratch,
}

fn audited(more: &[&str]) -> Audited {
    let folder = Scratch::new("audit");
    let directory = folder.join("log");
    let site = Site::with(Broker::shared(), |settings| {
        let mut settings = settings.with_audit(&directory, more).with_rest(&[]);
        // A key that is switched off is noticed at once.
        settings.kms.push("custody: { max_age: 2s, outage_grace: 2s }".to_owned());
        settings
    });
    Audited { site, log: AuditLog::at(directory), _folder: folder }
}

fn is(event: &Value, path: &str, wanted: impl Into<Value>) -> bool {
    event.pointer(path) == Some(&wanted.into())
}

#[test]
fn every_kind_of_event_is_told_by_a_running_gateway() {
    let Audited { mut site, log, _folder } = audited(&["window: 1s"]);
    for expected in EXPECTED {
        site.gateway.expect_in_log(expected);
    }
    let (topic, secret) = (site.sealed_topic(1), secret());
    clients_write_read_and_are_refused(&mut site, &log, &topic, &secret);
    a_caller_posts(&mut site, &log, &topic, &secret);
    commands_change_the_keyring(&site, &log, &topic);
    requests_and_objects_are_refused(&mut site, &log);
    the_configuration_changes(&mut site, &log);
    a_key_is_switched_off(&mut site, &log, &topic, &secret);
    site.gateway.terminate();
    let events = log.events();
    let last = events.last().expect("events");
    assert!(is(last, "/type", "io.barnabas.gateway.stopped") && is(last, "/data/result/status", "SUCCESS"), "{last}");
    let told: BTreeSet<String> = events.iter().filter_map(|event| Some(event["type"].as_str()?.to_owned())).collect();
    for event in &events {
        assert!(!event.to_string().contains(&secret), "a record's value: {event}");
    }
    let known = |kind: &String| NOT_HERE.iter().any(|(name, _)| name == kind);
    let missing: Vec<String> = documented()
        .into_iter()
        .filter(|kind| !told.contains(&format!("io.barnabas.{kind}")) && !known(kind))
        .collect();
    assert!(missing.is_empty(), "never told: {missing:?}");
}

/// Posts over HTTP: who, how it was proved, and where each record was written; a refused one with the reason.
fn a_caller_posts(site: &mut Site, log: &AuditLog, topic: &str, secret: &str) {
    let [alice, mallory] = ["alice", "mallory"].map(|name| site.authority.client(name));
    let path = format!("/v1/topics/{topic}/records");
    Http::tls(&site.gateway.rest(), &alice).post(&path, "text/plain", secret).is(200);
    let told = log.wait_for("http.request", |event| is(event, "/data/authenticationInfo/principal", "User:alice"));
    assert!(is(&told, "/data/authenticationInfo/mechanism", "mTLS"), "{told}");
    assert!(is(&told, "/data/http/status", 200) && is(&told, "/data/http/records/0/firstOffset", 25), "{told}");
    Http::tls(&site.gateway.rest(), &mallory).post(&path, "text/plain", secret).is(403);
    let told = log.wait_for("http.request", |event| is(event, "/data/authenticationInfo/principal", "User:mallory"));
    assert!(is(&told, "/data/http/records/0/status", "DENIED"), "{told}");
}

/// Use of the key, counted whole; who may not, refused with the reason and told so once and by count.
fn clients_write_read_and_are_refused(site: &mut Site, log: &AuditLog, topic: &str, secret: &str) {
    let (alice, reader, mallory) = (site.client("alice"), site.client("reader-one"), site.client("mallory"));
    let records: Vec<Sent> = (0..25).map(|n| numbered(secret, n, 0)).collect();
    rd::produce(&alice, topic, &records, &[]);
    assert_eq!(rd::read_all(&reader, topic).len(), 25);
    assert!(rd::try_produce(&mallory, topic, &records[0]).is_err());
    assert_eq!(rd::read(&mallory, topic, &[]).error, Some(RDKafkaErrorCode::TopicAuthorizationFailed));

    let begun = log.wait_for("session.begun", |event| is(event, "/data/crypto/topic", topic));
    let key_id = begun["data"]["crypto"]["keyId"].as_str().expect("a key id").to_owned();
    let opened =
        log.wait_for("session.opened", |event| is(event, "/data/authenticationInfo/principal", "User:reader-one"));
    assert!(is(&opened, "/data/crypto/keyId", key_id.as_str()), "{opened}");
    for (principal, method, reason) in
        [("User:alice", "kafka.Produce", "acknowledged"), ("User:reader-one", "kafka.Fetch", "opened")]
    {
        let count = |path: &str, event: &Value| event.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let told = |event: &&Value| {
            is(event, "/data/authenticationInfo/principal", principal)
                && is(event, "/data/methodName", method)
                && is(event, "/data/crypto/keyId", key_id.as_str())
                && is(event, "/data/result/reason", reason)
        };
        let sum = |path: &str| -> u64 { log.of("records").iter().filter(told).map(|event| count(path, event)).sum() };
        // A reader may ask for some of them twice.
        wait::until_true("all records are counted", || sum("/data/crypto/records") >= 25);
        let events = log.of("records");
        let offsets = |path: &str| {
            events.iter().filter(told).filter_map(|event| event.pointer(path)?.as_u64()).collect::<Vec<_>>()
        };
        assert_eq!(offsets("/data/crypto/firstOffset").into_iter().min(), Some(0), "{method}");
        assert_eq!(offsets("/data/crypto/lastOffset").into_iter().max(), Some(24), "{method}");
    }
    for (kind, operation) in [
        ("authorization", "Write"),
        ("authorization", "Read"),
        ("records.refused", "Write"),
        ("records.refused", "Read"),
    ] {
        let refused = log.wait_for(kind, |event| {
            is(event, "/data/authenticationInfo/principal", "User:mallory")
                && is(event, "/data/authorizationInfo/operation", operation)
        });
        assert!(is(&refused, "/data/authorizationInfo/granted", false), "{refused}");
        assert!(is(&refused, "/data/requestMetadata/clientAddress", "127.0.0.1"), "{refused}");
    }
    let who = log.wait_for("authentication", |event| is(event, "/data/authenticationInfo/principal", "User:alice"));
    assert!(
        is(&who, "/data/authenticationInfo/mechanism", "mTLS")
            && is(&who, "/data/authenticationInfo/subject", "CN=alice"),
        "{who}"
    );
}

#[test]
fn a_question_finds_all_that_fits_with_and_without_an_index() {
    let Audited { mut site, log, _folder } = audited(&["window: 1s", "on_failure: alarm"]);
    let topics: Vec<String> = (0..40).map(|_| site.sealed_topic(1)).collect();
    let alice = site.client("alice");
    for topic in &topics {
        rd::produce(&alice, topic, &[numbered(&secret(), 0, 0)], &[]);
    }
    site.gateway.terminate();
    let folder = log.folder().display().to_string();
    let events = log.events();
    assert!(events.len() > 256, "a full bundle: {}", events.len());
    let ask = |words: &[&str]| site.home.barnabas(&[&["audit", "query", &folder], words].concat(), None).ok().stdout;
    let about = |topic: &String| events.iter().filter(|event| is(event, "/data/crypto/topic", topic.as_str())).count();
    // The first time it reads everything, the second time what the index says.
    for _ in 0..2 {
        for topic in [&topics[0], &topics[39]] {
            let found: Value = serde_json::from_str(&ask(&["--topic", topic, "--output", "json"])).expect("JSON");
            let found = found.as_array().expect("a list");
            assert!(found.len() >= about(topic) && about(topic) > 3, "{} {}", found.len(), about(topic));
            for one in found {
                let index = one["index"].as_u64().and_then(|index| usize::try_from(index).ok()).expect("an index");
                assert_eq!(Some(&one["event"]), events.get(index));
            }
        }
        assert!(log.folder().with_file_name("log.index").is_file());
    }
    let csv = ask(&["--kind", "records", "--principal", "User:alice", "--output", "csv"]);
    assert!(csv.starts_with("index,time,kind,principal,") && csv.lines().count() > 40, "{csv}");
    assert_eq!(ask(&["--principal", "User:nobody"]).lines().count(), 1, "the titles alone");
    assert_eq!(ask(&["--limit", "3"]).lines().count(), 4);
    let last = events[events.len() - 1]["time"].as_str().expect("a time");
    let since: Value = serde_json::from_str(&ask(&["--since", last, "--output", "json"])).expect("JSON");
    assert!(since.as_array().is_some_and(|found| !found.is_empty() && found.len() < events.len()), "{since}");
}

/// What commands do stands in the keyring, signed, and is told from there.
fn commands_change_the_keyring(site: &Site, log: &AuditLog, topic: &str) {
    let run = |words: &[&str]| site.gateway.command(words).ok();
    run(&["grant", "add", "--topic", topic, "--principal", "User:mallory"]);
    let of_mallory =
        |event: &Value| is(event, "/data/crypto/client", "User:mallory") && is(event, "/data/grant/by", "name");
    let given = log.wait_for("grant.given", of_mallory);
    assert!(is(&given, "/data/keyring/signedBy", "delegate") && is(&given, "/data/crypto/topic", topic), "{given}");
    run(&["grant", "revoke", "--topic", topic, "--principal", "User:mallory"]);
    let revoked = log.wait_for("grant.revoked", of_mallory);
    assert!(is(&revoked, "/data/grant/right", "read"), "{revoked}");
    run(&["epoch", "rotate", "--topic", topic]);
    ceremony(site);
    run(&["kms", "rotate", "--all"]);
    run(&["epoch", "destroy", "--topic", topic, "--epoch", "0", "--force", "--yes"]);
    let destroyed = log.wait_for("epoch.destroyed", |event| is(event, "/data/crypto/topic", topic));
    assert!(is(&destroyed, "/data/crypto/epoch", 0), "{destroyed}");
    log.wait_for("escrow.retired", |_| true);
}

fn ceremony(site: &Site) {
    let root = site.gateway.config().with_file_name("root").display().to_string();
    site.home.barnabas(&["escrow", "custodian", "--dir", "anna"], None).ok();
    let public = "anna/custodian.pub";
    let create = ["escrow", "create", "--root", &root, "--threshold", "1", "--dir", "escrow", "--custodian", public];
    let created = site.home.barnabas(&create, None).ok().stdout;
    site.gateway.command(&["escrow", "install", "escrow/escrow.object"]).ok();
    let id = created.strip_prefix("escrow ").and_then(|rest| rest.split(':').next()).expect("an id");
    site.home.barnabas(&["escrow", "retire", "--root", &root, "--escrow", id, "--out", "retired.object"], None).ok();
    site.gateway.command(&["escrow", "install", "retired.object"]).ok();
}

fn requests_and_objects_are_refused(site: &mut Site, log: &AuditLog) {
    let alice = site.authority.client("alice");
    let mut connection = Connection::open_tls(&site.gateway.bootstrap(), &alice).expect("a connection");
    assert!(connection.delete_topic(site.home.keyring_topic()).is_err());
    let refused = log.wait_for("request.refused", |event| is(event, "/data/result/reason", "keyring"));
    assert!(is(&refused, "/data/methodName", "kafka.DeleteTopics"), "{refused}");
    assert!(Connection::open(&site.gateway.bootstrap()).and_then(|mut c| c.metadata(Some(&[]))).is_err());
    let failed = log.wait_for("authentication", |event| is(event, "/data/result/status", "UNAUTHENTICATED"));
    assert!(
        is(&failed, "/data/result/reason", "handshake") && failed["data"]["authenticationInfo"]["principal"].is_null()
    );
    let forged = Sent { key: Some(Blob(b"grant/00".to_vec())), ..numbered("forged", 0, 0) };
    rd::produce(&Endpoint::direct(site.broker()), site.home.keyring_topic(), &[forged], &[]);
    log.wait_for("keyring.refused", |event| is(event, "/data/keyring/object", "grant/00"));
}

fn the_configuration_changes(site: &mut Site, log: &AuditLog) {
    let bob = site.authority.client("bob");
    let mut open = Connection::open_tls(&site.gateway.bootstrap(), &bob).expect("a connection");
    open.metadata(Some(&[])).expect("an answer");
    let list = site.authority.revoke(&[&bob]);
    site.gateway.reload(|settings| {
        if let Some(tls) = &mut settings.tls {
            tls.crls = vec![list];
        }
        settings.rules = vec![Rule::sealed_pattern("sealed.*", "User:(alice|writer.*)", "User:alice")];
    });
    log.wait_for("authentication.disowned", |event| is(event, "/data/authenticationInfo/principal", "User:bob"));
    let changed = log.wait_for("policy.changed", |_| true);
    assert_ne!(changed["data"]["change"]["before"], changed["data"]["change"]["after"]);
    site.gateway.reload(|settings| settings.default = "perhaps".to_owned());
    log.wait_for("configuration.refused", |event| is(event, "/data/result/status", "FAILURE"));
    site.gateway.reload(|settings| settings.default = "pass".to_owned());
}

fn a_key_is_switched_off(site: &mut Site, log: &AuditLog, topic: &str, secret: &str) {
    let alice = site.client("alice");
    rd::produce(&alice, topic, &[numbered(secret, 100, 0)], &[]);
    let place = |name: &str| -> PathBuf { site.gateway.config().with_file_name(name) };
    let keystore = LocalKeystore::open(place("keystore"), &Unlock::KeyFile(place("keystore.key"))).expect("a keystore");
    for (name, ..) in keystore.entries().iter().filter(|(name, ..)| name.starts_with("client-")) {
        keystore.set_enabled(name, false).expect("the key can be switched off");
    }
    let ended = log.wait_for("custody.ended", |event| is(event, "/data/crypto/client", "User:alice"));
    assert!(is(&ended, "/data/kms/system", "local"), "{ended}");
    log.wait_for("custody.unwrap", |event| is(event, "/data/result/reason", "disabled"));
}

#[test]
fn after_a_kill_the_log_says_so_and_what_came_meanwhile_is_told_late() {
    let Audited { mut site, log, _folder } = audited(&["on_failure: alarm"]);
    let topic = site.sealed_topic(1);
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&secret(), 0, 0)], &[]);
    log.wait_for("session.begun", |_| true);
    assert!(is(&log.of("gateway.started")[0], "/data/gateway/unclean", false));
    site.gateway.kill();
    site.gateway.command(&["grant", "add", "--topic", &topic, "--principal", "User:alice"]).ok();
    site.gateway.restart();
    let late = log.wait_for("grant.given", |event| is(event, "/data/grant/by", "name"));
    assert!(is(&late, "/data/keyring/found", "late"), "{late}");
    let started = log.of("gateway.started");
    assert!(started.len() == 2 && is(&started[1], "/data/gateway/unclean", true), "{started:?}");
    site.gateway.terminate();
}

#[test]
fn entries_that_a_disk_has_lost_are_told_as_a_gap() {
    let Audited { mut site, log, _folder } = audited(&["checkpoint: { interval: 1h, entries: 1000000 }"]);
    site.gateway.expect_in_log("audit_entries_missing");
    rd::produce(&site.client("alice"), &site.sealed_topic(1), &[numbered(&secret(), 0, 0)], &[]);
    wait::until_true("entries are on disk", || site.gateway.metric("barnabas_audit_durable_entries") > 20.0);
    site.gateway.kill();
    let files = fs::read_dir(log.folder().join("wal")).expect("write-ahead files").flatten().map(|file| file.path());
    let newest = files.max().expect("a write-ahead file");
    let mut bytes = fs::read(&newest).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4].fill(0xff);
    fs::write(&newest, bytes).expect("writable");
    site.gateway.restart();
    let gap = log.wait_for("log.gap", |_| true);
    assert!(is(&gap, "/data/log/gap", "lost") && gap["data"]["log"]["entries"].as_u64() > Some(0), "{gap}");
    site.gateway.terminate();
}

#[test]
fn while_the_log_cannot_be_written_block_refuses_sealed_topics_alone_and_alarm_refuses_nothing() {
    for (on_failure, written) in [("block", false), ("alarm", true)] {
        let Audited { mut site, log, _folder } = audited(&[&format!("on_failure: {on_failure}")]);
        for expected in ["audit_", "produce_refused", "audit log"] {
            site.gateway.expect_in_log(expected);
        }
        let (sealed, open) = (site.sealed_topic(1), site.open_topic(1));
        let alice = site.client("alice");
        rd::produce(&alice, &sealed, &[numbered("before", 0, 0)], &[]);
        let mut http = Http::tls(&site.gateway.rest(), &site.authority.client("alice"));
        let clusters = http.get("/v3/clusters").is(200).json();
        let cluster = clusters.pointer("/data/0/cluster_id").and_then(Value::as_str).expect("a cluster").to_owned();
        let records = format!("/v3/clusters/{cluster}/topics/{sealed}/records");
        assert_eq!(posted(&mut http, &records), 200);
        // What the log writes anew it writes here first: a file in the folder's place is a disk that refuses.
        let (tmp, aside) = (log.folder().join("tmp"), log.folder().join("aside"));
        fs::rename(&tmp, &aside).expect("the folder goes");
        fs::write(&tmp, "").expect("a file in its place");
        let fresh = site.client("alice");
        wait::until_true("the gateway has noticed", || {
            rd::produce(&fresh, &open, &[numbered("open", 0, 0)], &[]);
            site.gateway.metric("barnabas_audit_failing") == 1.0
        });
        let patience = [("message.timeout.ms", "3000")];
        let mut producer = rd::Producer::new(&fresh, &patience);
        producer.send(&sealed, &numbered("meanwhile", 1, 0));
        assert_eq!(producer.outcomes().iter().all(Result::is_ok), written, "{on_failure}");
        assert_eq!(posted(&mut http, &records), if written { 200 } else { 50003 }, "{on_failure}");
        http.post(&format!("/topics/{sealed}"), "application/vnd.kafka.json.v2+json", r#"{"records":[{"value":1}]}"#)
            .is(if written { 200 } else { 503 });
        assert_eq!(site.gateway.admin("/readyz").0, if written { 200 } else { 503 }, "{on_failure}");
        fs::remove_file(&tmp).and_then(|()| fs::rename(&aside, &tmp)).expect("the folder is back");
        wait::until_true("it is written again", || site.gateway.metric("barnabas_audit_failing") == 0.0);
        rd::produce(&fresh, &sealed, &[numbered("after", 2, 0)], &[]);
        site.gateway.terminate();
        assert!(log.of("records").iter().any(|event| is(event, "/data/crypto/topic", sealed.as_str())), "{on_failure}");
    }
}

/// What the line of a v3 record says.
#[track_caller]
fn posted(http: &mut Http, records: &str) -> i64 {
    let answer = http.post(records, "application/json", r#"{"value":{"type":"STRING","data":"v3"}}"#).is(200).json();
    answer["error_code"].as_i64().expect("a code")
}

/// The kinds in the document, which is written from the code.
fn documented() -> Vec<String> {
    let path = root().join("proxy/src/audit/event/README.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, table) = text.split_once("| kind | method |").expect("the table of kinds");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
    let kinds: Vec<String> = rows.filter_map(|row| Some(row.split('`').nth(1)?.to_owned())).collect();
    assert!(kinds.len() > 30, "{kinds:?}");
    kinds
}

/// Kinds that this test cannot bring about, and where they are proved.
const NOT_HERE: [(&str, &str); 6] = [
    ("log.gap", "another test here"),
    ("log.expired", "audit_failure.rs"),
    ("log.read", "audit_page.rs"),
    ("sink.lost", "audit_failure.rs"),
    ("log.cross_checkpoint", "audit_sinks.rs"),
    ("log.witness_alarm", "audit_witnesses.rs"),
];

const EXPECTED: [&str; 11] = [
    "produce_refused",
    "fetch_refused",
    "certificate",
    "handshake",
    "keyring",
    "connection_refused",
    "custody",
    "configuration",
    "destroyed",
    "audit log",
    "audit_",
];
