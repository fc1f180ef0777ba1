//! Promise: when the audit log, or somebody who is to get it, cannot be written, clients fare as `audit.on_failure` says, memory is bounded,
//! and nothing is lost in silence: what was not written is counted in the log, and what a sink did not get it gets later or is told as lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::{Duration, SystemTime};

use serde_json::json;

use barnabas_tests::audit::{AuditLog, WIDTH, flood};
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::disk::SmallDisk;
use barnabas_tests::gateway::{Gateway, Settings};
use barnabas_tests::rest::Http;
use barnabas_tests::scratch::Scratch;
use barnabas_tests::site::Site;
use barnabas_tests::syslog::SyslogServer;
use barnabas_tests::wait;

fn flood_as(site: &mut Site, name: &str, count: usize) {
    let client = site.authority.client(name);
    flood(&mut Http::tls(&site.gateway.rest(), &client), count);
}

/// So many events stand in the log as not written.
fn told_as_missing(log: &AuditLog) -> u64 {
    let gaps = log.of("log.gap");
    assert!(gaps.iter().all(|gap| gap["data"]["log"]["gap"] == "refused"), "{gaps:?}");
    gaps.iter().filter_map(|gap| gap["data"]["log"]["entries"].as_u64()).sum()
}

/// Events of a run are numbered before anything can go wrong: a number that is not there is an event that is not there.
fn numbers_that_are_missing(log: &AuditLog) -> u64 {
    let mut runs: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for event in log.events() {
        let (run, number) = event["id"].as_str().and_then(|id| id.split_once('-')).expect("a run and a number");
        runs.entry(run.to_owned()).or_default().insert(number.parse().expect("a number"));
    }
    runs.values().map(|numbers| numbers.last().map_or(0, |last| last + 1) - numbers.len() as u64).sum()
}

fn assert_whole(site: &Site, log: &AuditLog) -> String {
    site.home.barnabas(&["audit", "verify", &log.folder().display().to_string()], None).ok().stdout
}

#[test]
fn on_a_full_disk_block_refuses_what_is_sealed_and_the_log_says_how_much_is_missing() {
    let (mut site, log, disk) = site_on_a_full_disk("block");
    goes_on_when_there_is_room(&mut site, &log, &disk);
}

#[test]
fn on_a_full_disk_alarm_refuses_nothing_and_the_log_says_how_much_is_missing() {
    let (mut site, log, disk) = site_on_a_full_disk("alarm");
    goes_on_when_there_is_room(&mut site, &log, &disk);
}

#[test]
fn killed_while_the_disk_is_full_a_gateway_goes_on_with_a_whole_log_that_says_so() {
    let (mut site, log, disk) = site_on_a_full_disk("alarm");
    let before = log.events();
    site.gateway.kill();
    disk.empty();
    site.gateway.restart();
    log.wait_for("gateway.started", |event| event["data"]["gateway"]["unclean"] == true);
    site.gateway.terminate();
    assert_eq!(log.events()[..before.len()], before);
    assert_whole(&site, &log);
}

/// A gateway that has noticed that its disk is full, and whose clients fare as it says.
fn site_on_a_full_disk(on_failure: &str) -> (Site, AuditLog, SmallDisk) {
    let disk = SmallDisk::new(4);
    let log = AuditLog::at(disk.path().join("log"));
    let keys = [format!("on_failure: {on_failure}"), "window: 1s".to_owned()];
    let mut site = Site::with(Broker::shared(), |settings| {
        settings.with_audit(log.folder(), &keys.each_ref().map(String::as_str)).with_rest(&[])
    });
    for expected in ["audit_", "produce_refused", "audit log"] {
        site.gateway.expect_in_log(expected);
    }
    let (sealed, open, alice) = (site.sealed_topic(1), site.open_topic(1), site.client("alice"));
    rd::produce(&alice, &sealed, &[numbered("before", 0, 0)], &[]);
    disk.fill();
    wait::until_true("the gateway has noticed", || {
        flood_as(&mut site, "alice", 50);
        site.gateway.metric("barnabas_audit_failing") == 1.0
    });
    rd::produce(&alice, &open, &[numbered("open", 0, 0)], &[]);
    let mut producer = rd::Producer::new(&alice, &[("message.timeout.ms", "5000")]);
    producer.send(&sealed, &numbered("meanwhile", 1, 0));
    assert_eq!(producer.outcomes().iter().all(Result::is_ok), on_failure == "alarm");
    let (status, said) = site.gateway.admin("/readyz");
    assert_eq!(status, if on_failure == "alarm" { 200 } else { 503 }, "{said}");
    assert!(said.contains("the audit log is not written since"), "{said}");
    flood_as(&mut site, "alice", 200);
    (site, log, disk)
}

fn goes_on_when_there_is_room(site: &mut Site, log: &AuditLog, disk: &SmallDisk) {
    disk.empty();
    wait::until_true("it is written again", || site.gateway.metric("barnabas_audit_failing") == 0.0);
    let (sealed, alice) = (site.sealed_topic(1), site.client("alice"));
    rd::produce(&alice, &sealed, &[numbered("after", 2, 0)], &[]);
    let lost = site.gateway.metric("barnabas_audit_lost_total");
    site.gateway.terminate();
    assert!(lost >= 200.0, "{lost}");
    assert_eq!(told_as_missing(log) as f64, lost);
    assert_eq!(numbers_that_are_missing(log), told_as_missing(log));
    log.wait_for("session.begun", |event| event["data"]["crypto"]["topic"] == sealed.as_str());
    assert_whole(site, log);
}

#[test]
fn a_sink_that_is_dead_for_fifty_thousand_events_costs_no_memory_and_gets_all_of_them_in_the_end() {
    let folder = Scratch::new("dead-sink");
    let (log, server) = (AuditLog::at(folder.join("log")), SyslogServer::new(&folder));
    let sinks = format!("sinks: [{}]", server.sink("siem", ""));
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(log.folder(), &[&sinks]).with_rest(&[]));
    site.gateway.expect_in_log("audit_sink_failing");
    let (topic, alice) = (site.sealed_topic(1), site.client("alice"));
    many_events(&mut site, 5_000);
    let before = site.gateway.resident_bytes();
    (0..9).for_each(|_| many_events(&mut site, 5_000));
    let grown = site.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "{} MiB for 45,000 events that a dead sink has not got", grown >> 20);
    wait::until_true("it is told how much the sink lacks", || {
        site.gateway.metric("barnabas_audit_sink_lag_entries") > 50_000.0
    });
    rd::produce(&alice, &topic, &[numbered("while it is dead", 0, 0)], &[]);

    // It comes to life, but hardly reads. What waits in buffers when it breaks down again is not lost.
    server.start(true);
    wait::until_true("it was tried", || !server.received().is_empty());
    rd::produce(&alice, &topic, &[numbered("while it is slow", 1, 0)], &[]);
    server.drop_connections();
    let tried = server.connections();
    wait::until_true("it is tried again", || server.connections() > tried);
    server.stall(false);
    let lacks = |site: &Site| site.gateway.metric("barnabas_audit_sink_lag_entries");
    wait::until("everything has come", MANY_MESSAGES, || (lacks(&site) == 0.0).then_some(()));

    // What is written is not read: this end comes while the server reads nothing, and loses what waits in the connection.
    server.stall(true);
    many_events(&mut site, 200);
    wait::until_true("it is written", || lacks(&site) == 0.0);
    site.gateway.terminate();
    let unread = log.events().len();
    assert!(server.received().len() < unread, "the server reads although it stalls");
    server.drop_connections();
    server.stall(false);
    site.gateway.restart();
    wait::until("what was unread comes again", MANY_MESSAGES, || (server.received().len() >= unread).then_some(()));
    site.gateway.terminate();
    let events = log.events();
    wait::until_true("the last ones are read", || server.received().len() == events.len());
    assert!(server.received().values().eq(events.iter()), "not the same entries");
    assert_eq!(told_as_missing(&log), 0);
}

#[test]
fn a_topic_that_takes_nothing_stops_no_client_and_gets_what_it_missed() {
    let topic = Broker::shared().topic_with("audit", 1, &[("max.message.bytes", "100")]);
    let (folder, sinks) = (Scratch::new("topic"), format!("sinks: [{{ name: topic, type: kafka, topic: {topic} }}]"));
    let logs = ["block", "alarm"].map(|name| AuditLog::at(folder.join(name)));
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(logs[0].folder(), &[&sinks]));
    // Two stewards would write over each other now and then, and say so.
    let settings = Settings { steward_embedded: false, ..site.gateway.settings().clone().on_other_ports() };
    let mut second = Gateway::start(&site.home, settings.with_audit(logs[1].folder(), &["on_failure: alarm", &sinks]));
    let (sealed, alice) = (site.sealed_topic(1), site.authority.client("alice"));
    for gateway in [&mut site.gateway, &mut second] {
        gateway.expect_in_log("audit_sink_failing");
        gateway.wait_for_log("audit_sink_failing");
        rd::produce(&Endpoint::tls(&gateway.bootstrap(), &alice), &sealed, &[numbered("meanwhile", 0, 0)], &[]);
        assert!(gateway.metric("barnabas_audit_sink_lag_entries") > 0.0);
        assert_eq!(gateway.admin("/readyz").0, 200);
    }
    site.broker().wire().configure_topic(&topic, "max.message.bytes", "1048588").expect("the topic is mended");
    for gateway in [&mut site.gateway, &mut second] {
        gateway.wait_for_log("audit_sink_works_again");
        wait::until_true("the topic has everything", || gateway.metric("barnabas_audit_sink_lag_entries") == 0.0);
        gateway.terminate();
    }
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    let keys: BTreeSet<Vec<u8>> = stored.into_iter().filter_map(|got| Some(got.record.key?.0)).collect();
    for log in &logs {
        let events = log.events();
        let origin = events[0]["source"].as_str().expect("a source");
        let missing = (0..events.len()).find(|index| !keys.contains(format!("{origin}/{index}").as_bytes()));
        assert_eq!((missing, told_as_missing(log)), (None, 0));
    }
}

#[test]
fn what_grew_too_old_before_a_sink_got_it_is_told_as_lost() {
    let folder = Scratch::new("expiry");
    let (log, server) = (AuditLog::at(folder.join("log")), SyslogServer::new(&folder));
    let keys = [format!("sinks: [{}]", server.sink("siem", "")), "retention: 1d".to_owned()];
    let mut site = Site::with(Broker::shared(), |settings| {
        settings.with_audit(log.folder(), &keys.each_ref().map(String::as_str)).with_rest(&[])
    });
    site.gateway.expect_in_log("audit_sink_failing");
    flood_as(&mut site, "alice", 300);
    site.gateway.terminate();
    // How old a bundle is, its tile tells.
    let tile = File::open(log.folder().join("tile/0/000")).expect("a full tile");
    tile.set_modified(SystemTime::now() - Duration::from_secs(2 * 86_400)).expect("it is ours");
    site.gateway.restart();
    let expired = log.wait_for("log.expired", |_| true);
    assert_eq!((&expired["data"]["log"]["firstIndex"], &expired["data"]["log"]["lastIndex"]), (&json!(0), &json!(255)));
    let lost = log.wait_for("sink.lost", |_| true);
    assert_eq!((&lost["data"]["log"]["sink"], &lost["data"]["log"]["entries"]), (&json!("siem"), &json!(WIDTH)));
    assert_eq!(lost["data"]["result"]["status"], "FAILURE");
    server.start(false);
    wait::until_true("the rest comes", || server.received().values().any(|event| *event == lost));
    site.gateway.terminate();
    assert!(!log.folder().join("tile/entries/000").exists(), "the bundle is gone");
    assert!(server.received().keys().all(|index| *index >= WIDTH));
    let verdict = assert_whole(&site, &log);
    assert!(verdict.contains("the first 256 were dropped because of their age"), "{verdict}");
    assert_eq!(log.of("log.expired").len(), 1);
}

/// So many events, of which none waits any more.
fn many_events(site: &mut Site, count: usize) {
    flood_as(site, "alice", count);
    wait::until_true("all are under a checkpoint", || {
        let all = site.gateway.metric("barnabas_audit_entries_total");
        site.gateway.metric("barnabas_audit_queued_entries") == 0.0
            && site.gateway.metric("barnabas_audit_checkpoint_entries") >= all
    });
}

/// Fifty thousand messages by TLS, in builds that are not optimised.
const MANY_MESSAGES: Duration = Duration::from_secs(300);
