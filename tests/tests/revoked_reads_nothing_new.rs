//! Promise: a revoked client reads nothing that is sealed after the revocation, by policy or by command, with its connections open.

use std::time::Duration;

use jiff::Timestamp;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{assert_same, numbered, shows};
use barnabas_tests::gateway::Rule;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;

#[test]
fn after_the_policy_drops_a_reader_new_records_are_closed_to_it_and_open_to_the_others() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    site.gateway.expect_in_log("may not read");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader-one"));
    let before: Vec<_> = (0..10).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &topic, &before, &[]);
    assert_same(&before, &rd::read_all(&reader, &topic));
    site.gateway.reload(|settings| {
        settings.rules = vec![Rule::sealed_pattern("sealed.*", "User:alice", "User:(alice|reader-two)")];
    });
    // What was sealed before the revocation the reader could have kept; what counts is the first record after it.
    let mut before = before;
    wait::until_true("the reload is in force", || {
        let one = numbered(&secret, before.len(), 0);
        rd::produce(&alice, &topic, std::slice::from_ref(&one), &[]);
        before.push(one);
        rd::read(&reader, &topic, &[]).error == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
    });
    let after: Vec<_> = (10..20).map(|n| numbered(&format!("new {secret}"), n, 0)).collect();
    rd::produce(&alice, &topic, &after, &[]);
    let reading = rd::read(&reader, &topic, &[]);
    assert_eq!(reading.error, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    assert!(!reading.records.iter().any(|got| shows(&got.record, "new ")));
    let all = [before, after].concat();
    assert_same(&all, &rd::read_all(&alice, &topic));
    assert_same(&all, &rd::read_all(&site.client("reader-two"), &topic));
    site.assert_sealed(&topic, all.len(), &secret);
}

#[test]
fn a_grant_revoked_by_command_closes_what_comes_after_it() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader-one"));
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    assert_eq!(rd::read_all(&reader, &topic).len(), 1);
    site.gateway.command(&["grant", "revoke", "--topic", &topic, "--principal", "User:reader-one"]).ok();
    wait::until_true("new records are closed to the revoked reader", || {
        rd::produce(&alice, &topic, &[numbered(&secret, 1, 0)], &[]);
        rd::read(&reader, &topic, &[]).error == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
    });
    assert!(rd::read_all(&alice, &topic).len() >= 2);
    assert!(!site.broker().disk_holds(secret.as_bytes()));
}

#[test]
fn a_grant_begins_and_ends_by_the_clock_also_for_epochs_that_come_before_it_and_for_a_connected_reader() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    site.gateway.expect_in_log("may not write");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, auditor) = (site.client("alice"), site.client("mallory"));
    let mut sent = vec![numbered(&secret, 0, 0)];
    rd::produce(&alice, &topic, &sent, &[]);
    assert!(rd::try_produce(&auditor, &topic, &numbered(&secret, 1, 0)).is_err(), "enrolled, and nothing else");
    let (begins, ends) = (Timestamp::now() + BEFORE, Timestamp::now() + BEFORE + DURING);
    let times = [begins, ends].map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let add = ["grant", "add", "--topic", &topic, "--principal", "User:mallory", "--from-epoch", "0"];
    site.gateway.command(&[&add[..], &["--starts", &times[0], "--until", &times[1]]].concat()).ok();
    site.gateway.command(&["epoch", "rotate", "--topic", &topic]).ok();
    sent.push(numbered(&secret, 1, 0));
    rd::produce(&alice, &topic, &sent[1..], &[]);

    let refused = |reading: &rd::Reading| reading.error == Some(RDKafkaErrorCode::TopicAuthorizationFailed);
    let mut reading = rd::read(&auditor, &topic, &[]);
    while refused(&reading) {
        assert!(reading.records.is_empty());
        assert!(Timestamp::now() < begins + LATE, "the grant has not begun");
        reading = rd::read(&auditor, &topic, &[]);
    }
    assert!(Timestamp::now() >= begins - Duration::from_secs(1), "the grant began too early");
    assert_same(&sent, &reading.records);

    let connected = rd::consumer(&auditor, "none", &[("enable.auto.commit", "false")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Beginning).expect("an offset that exists");
    connected.assign(&list).expect("librdkafka takes the assignment");
    assert_same(&sent, &rd::take(&connected, sent.len()));
    wait::until_true("the connected reader is refused", || {
        sent.push(numbered(&secret, sent.len(), 0));
        rd::produce(&alice, &topic, &sent[sent.len() - 1..], &[]);
        match connected.poll(Duration::from_millis(500)) {
            Some(Err(error)) => error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed),
            Some(Ok(_)) => {
                assert!(Timestamp::now() < ends + LATE, "a record after the grant's end");
                false
            }
            None => false,
        }
    });
    assert!(Timestamp::now() >= ends - Duration::from_secs(1), "the grant ended too early");
    assert!(refused(&rd::read(&auditor, &topic, &[])));
    site.assert_sealed(&topic, sent.len(), &secret);
}

/// Until the grant begins: enough for two commands on a busy machine.
const BEFORE: Duration = Duration::from_secs(20);

/// While it holds.
const DURING: Duration = Duration::from_secs(20);

/// The gateway looks every second; the rest is a busy machine's.
const LATE: Duration = Duration::from_secs(10);
