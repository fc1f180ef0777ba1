//! Promise: what is in the audit log is wherever the operator wants it too, entry by entry; a sink that is away stops nothing, neither clients nor
//! the other sinks, and gets what it missed; several gateways bind each other's logs.

use std::collections::BTreeMap;
use std::fs;

use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;

use barnabas_tests::audit::AuditLog;
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::{Gateway, Settings};
use barnabas_tests::scratch::{Scratch, unique};
use barnabas_tests::site::{Site, secret};
use barnabas_tests::syslog::SyslogServer;
use barnabas_tests::wait;

#[test]
fn the_topic_has_every_entry_as_it_is_hashed_and_gateways_bind_each_others_logs() {
    let (folder, topic) = (Scratch::new("audit"), unique("audit"));
    let sink = format!("sinks: [{{ name: topic, type: kafka, topic: {topic} }}]");
    let directories = [folder.join("one"), folder.join("two")];
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(&directories[0], &[&sink]));
    // Two stewards would write over each other now and then, and say so.
    let settings = Settings { steward_embedded: false, ..site.gateway.settings().clone().on_other_ports() };
    let settings = settings.with_audit(&directories[1], &[&sink]);
    let mut second = Gateway::start(&site.home, settings);
    let [one, two] = directories.map(AuditLog::at);
    rd::produce(&site.client("alice"), &site.sealed_topic(1), &[numbered(&secret(), 0, 0)], &[]);
    for (log, other) in [(&one, &two), (&two, &one)] {
        let source = |log: &AuditLog| log.wait_for("gateway.started", |_| true)["source"].clone();
        let other = source(other);
        let cross = log.wait_for("log.cross_checkpoint", |event| event["data"]["log"]["origin"] == other);
        assert!(cross["data"]["log"]["size"].as_u64() > Some(0), "{cross}");
    }
    // Clients may read the topic, as the policy lets them read any; nobody writes it through a gateway.
    site.gateway.expect_in_log("audit_write_refused");
    site.gateway.expect_in_log("produce_refused");
    let refused = rd::try_produce(&site.client("alice"), &topic, &numbered("no entry", 0, 0));
    assert_eq!(refused, Err(RDKafkaErrorCode::PolicyViolation));
    assert!(!rd::read_all(&site.client("alice"), &topic).is_empty());
    site.gateway.terminate();
    second.terminate();
    for log in [&one, &two] {
        let events = log.events();
        let origin = events[0]["source"].as_str().expect("a source").to_owned();
        let mut found: BTreeMap<u64, Value> = BTreeMap::new();
        for got in rd::read_all(&Endpoint::direct(site.broker()), &topic) {
            let key = String::from_utf8(got.record.key.expect("a key").0).expect("text");
            if let Some(index) = key.strip_prefix(&format!("{origin}/")).and_then(|index| index.parse().ok()) {
                let event = serde_json::from_slice(&got.record.value.expect("a value").0).expect("JSON");
                assert!(found.insert(index, event).is_none(), "entry {index} came twice without need");
            }
        }
        assert!(found.keys().copied().eq(0..events.len() as u64), "{:?} of {}", found.keys(), events.len());
        assert!(found.values().eq(events.iter()), "not the same entries");
    }
}

#[test]
fn a_syslog_server_that_is_away_stops_nothing_and_gets_what_it_missed() {
    let folder = Scratch::new("syslog");
    let (directory, server) = (folder.join("log"), SyslogServer::new(&folder));
    let siem = server.sink("siem", ", format: ocsf");
    let sinks = format!("sinks: [{siem}, {{ name: lines, type: stdout }}]");
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(&directory, &[&sinks]));
    site.gateway.expect_in_log("audit_sink_failing");
    let (topic, alice) = (site.sealed_topic(1), site.client("alice"));
    rd::produce(&alice, &topic, &[numbered(&secret(), 0, 0)], &[]);
    site.gateway.wait_for_log("audit_sink_failing");
    rd::produce(&alice, &topic, &[numbered(&secret(), 1, 0)], &[]);
    wait::until_true("the other sink goes on", || site.gateway.output().contains("\"io.barnabas.session.begun\""));
    assert!(site.gateway.metric("barnabas_audit_sink_lag_entries") > 0.0);

    server.start(false);
    let log = AuditLog::at(directory);
    wait::until_true("all came", || {
        let came = server.received().len();
        came == log.events().len() && came > 0
    });
    for (index, event) in &*server.received() {
        assert_eq!(event["metadata"]["sequence"], *index);
        assert!(event["class_uid"].as_u64() >= Some(3000), "{event}");
    }
    site.gateway.terminate();
    let place = fs::read_to_string(folder.join("log.sink-siem")).expect("its place");
    assert_eq!(place, log.events().len().to_string(), "the server has said that it has everything");
}

#[test]
fn the_place_of_a_sink_is_kept_over_a_restart() {
    let (folder, topic) = (Scratch::new("audit"), unique("audit"));
    let sink = format!("sinks: [{{ name: topic, type: kafka, topic: {topic} }}]");
    let directory = folder.join("log");
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(&directory, &[&sink]));
    site.gateway.terminate();
    let place =
        || fs::read_to_string(folder.join("log.sink-topic")).expect("its place").parse::<usize>().expect("a number");
    let log = AuditLog::at(&directory);
    assert_eq!(place(), log.events().len());
    site.gateway.restart();
    site.gateway.terminate();
    assert_eq!(place(), log.events().len());
    let entries = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    let checkpoints = |got: &&barnabas_tests::clients::record::Received| {
        got.record.key.as_ref().is_some_and(|key| key.0.ends_with(b"/checkpoint"))
    };
    assert_eq!(entries.len() - entries.iter().filter(checkpoints).count(), log.events().len(), "each once");
}
