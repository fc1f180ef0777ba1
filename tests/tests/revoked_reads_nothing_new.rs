//! Promise: a revoked client reads nothing that is sealed after the revocation, by policy or by command, with its connections open.

use rdkafka::error::RDKafkaErrorCode;

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
