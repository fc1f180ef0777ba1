//! The keyring topic is deleted and comes back from an export with all that it said; and a steward whose root key lies in a safe
//! can do everything that a day needs.

use std::fs;

use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;

use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::gateway::Gateway;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;

#[test]
fn a_deleted_keyring_topic_comes_back_from_an_export_and_everything_it_said_holds_again() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, reader, mallory) = (site.client("alice"), site.client("reader"), site.client("mallory"));
    let mut records: Vec<_> = (0..3).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    let of_mallory = ["--topic", &topic, "--principal", "User:mallory"];
    site.gateway.command(&["client", "add", "--principal", "User:mallory"]).ok();
    site.gateway.command(&[&["grant", "add", "--from-epoch", "0"][..], &of_mallory].concat()).ok();
    wait::until_true("the grant holds", || rd::read(&mallory, &topic, &[]).records.len() == 3);
    site.gateway.command(&[&["grant", "revoke"][..], &of_mallory].concat()).ok();
    records.push(numbered(&secret, 3, 0));
    rd::produce(&alice, &topic, &records[3..], &[]);
    assert_same(&records, &rd::read_all(&reader, &topic));
    let (export, before) = (site.home.folder().join("keyring.export").display().to_string(), objects(&site.gateway));
    site.gateway.command(&["keyring", "export", &export]).ok();
    site.gateway.command(&["keyring", "verify", "--file", &export]).ok();

    site.gateway.terminate();
    let keyring = site.home.keyring_topic().to_owned();
    site.broker().wire().delete_topic(&keyring).expect("the broker deletes the topic");
    let lost = site.gateway.command(&["keyring", "verify"]);
    assert_eq!(lost.status.code(), Some(69), "{}", lost.text());
    for expected in [" 0 were there already", "0 objects published"] {
        let imported = site.gateway.command(&["keyring", "import", &export]).ok();
        assert!(imported.stdout.contains(expected), "{}", imported.text());
    }
    assert_eq!(objects(&site.gateway), before, "every object is there again, and no other");
    site.gateway.restart();
    assert_same(&records, &rd::read_all(&reader, &topic));
    assert_eq!(rd::read(&mallory, &topic, &[]).error, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    records.push(numbered(&secret, 4, 0));
    rd::produce(&alice, &topic, &records[4..], &[]);
    assert_eq!(rd::read_all(&reader, &topic).len(), 5);
    site.gateway.command(&["keyring", "verify"]).ok();
    site.assert_sealed(&topic, 5, &secret);
}

#[test]
fn a_steward_whose_root_key_is_offline_does_everything_that_a_day_needs() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    site.gateway.expect_in_log("was destroyed");
    // Taken away before anything was made; the gateway starts without it as well.
    fs::remove_dir_all(site.home.folder().join("made/root")).expect("init has made the root's folder");
    site.gateway.terminate();
    site.gateway.restart();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, carol) = (site.client("alice"), site.client("carol"));
    let run = |words: &[&str]| site.gateway.command(words).ok();
    run(&["client", "add", "--principal", "User:carol"]);
    run(&["stream", "seal", "--topic", &topic]);
    run(&["grant", "add", "--topic", &topic, "--principal", "User:carol"]);
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    wait::until_true("the grant holds", || rd::read(&carol, &topic, &[]).records.len() == 1);
    run(&["epoch", "rotate", "--topic", &topic]);
    rd::produce(&alice, &topic, &[numbered(&secret, 1, 0)], &[]);
    assert_eq!(rd::read_all(&carol, &topic).len(), 2);
    run(&["grant", "revoke", "--topic", &topic, "--principal", "User:carol"]);
    wait::until_true("the grant has ended", || rd::read(&carol, &topic, &[]).error.is_some());
    run(&["epoch", "destroy", "--topic", &topic, "--epoch", "0", "--force", "--yes"]);
    run(&["client", "remove", "--principal", "User:carol"]);
    let export = site.home.folder().join("keyring.export").display().to_string();
    run(&["keyring", "export", &export]);
    run(&["keyring", "import", &export]);
    run(&["keyring", "verify"]);
    rd::produce(&alice, &topic, &[numbered(&secret, 2, 0)], &[]);
    // What stays the root's.
    site.home.barnabas(&["escrow", "custodian", "--dir", "anna"], None).ok();
    let create = ["--custodian", "anna/custodian.pub", "--threshold", "1", "--dir", "escrow"];
    let refused = site.home.barnabas(&[&["escrow", "create", "--root", "made/root"][..], &create].concat(), None);
    assert_eq!(refused.status.code(), Some(77), "{}", refused.text());
    site.assert_sealed(&topic, 3, &secret);
}

/// How many objects of each kind count; heads come and go.
fn objects(gateway: &Gateway) -> Value {
    let said = gateway.command(&["keyring", "verify", "--output", "json"]).ok();
    let mut report: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.text()));
    assert_eq!(report["refused"], Value::Array(vec![]), "{report}");
    assert_eq!(report["unresolved"], Value::Array(vec![]), "{report}");
    report["objects"].as_object_mut().expect("objects by kind").remove("head");
    report["objects"].take()
}
