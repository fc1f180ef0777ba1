//! Promise: every client has its own key; there is no key shared by all. Who has no grant reads nothing.

use std::collections::BTreeSet;

use rdkafka::error::RDKafkaErrorCode;

use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::site::{Site, key_id, secret};

#[test]
fn two_writers_never_seal_with_the_same_key() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let mut sent = Vec::new();
    let mut keys = Vec::new();
    for writer in ["writer-one", "writer-two"] {
        let records: Vec<_> = (0..20).map(|n| numbered(&format!("{secret} {writer}"), n, 0)).collect();
        rd::produce(&site.client(writer), &topic, &records, &[]);
        let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
        keys.push(stored[sent.len()..].iter().filter_map(|got| key_id(&got.record)).collect::<BTreeSet<_>>());
        sent.extend(records);
    }
    assert!(keys.iter().all(|keys| !keys.is_empty()));
    assert!(keys[0].is_disjoint(&keys[1]));
    assert_same(&sent, &rd::read_all(&site.client("reader"), &topic));
    site.assert_sealed(&topic, sent.len(), &secret);
}

#[test]
fn a_client_without_a_grant_is_refused_and_reads_nothing() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    site.gateway.expect_in_log("may not read");
    let (topic, secret) = (site.sealed_topic(1), secret());
    rd::produce(&site.client("alice"), &topic, &[numbered(&secret, 1, 0)], &[]);
    for name in ["mallory", "writer-only"] {
        let reading = rd::read(&site.client(name), &topic, &[]);
        assert_eq!(reading.error, Some(RDKafkaErrorCode::TopicAuthorizationFailed), "{name}");
        assert!(reading.records.is_empty(), "{name} was given {:?}", reading.records);
    }
    site.assert_sealed(&topic, 1, &secret);
}

#[test]
fn a_client_that_may_not_write_is_refused_and_nothing_is_stored() {
    let mut site = Site::new();
    site.gateway.expect_in_log("may not write");
    let (topic, secret) = (site.sealed_topic(1), secret());
    for name in ["mallory", "reader-only"] {
        let outcome = rd::try_produce(&site.client(name), &topic, &numbered(&secret, 1, 0));
        let refusals = [RDKafkaErrorCode::PolicyViolation, RDKafkaErrorCode::TopicAuthorizationFailed];
        assert!(outcome.is_err_and(|code| refusals.contains(&code)), "{name}: {outcome:?}");
    }
    site.assert_sealed(&topic, 0, &secret);
}

#[test]
fn one_refused_partition_does_not_hold_up_the_others() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    site.gateway.expect_in_log("may not read");
    let (closed, open, secret) = (site.sealed_topic(1), site.open_topic(1), secret());
    rd::produce(&site.client("alice"), &closed, &[numbered(&secret, 1, 0)], &[]);
    let mallory = site.client("mallory");
    let records: Vec<_> = (0..10).map(|n| numbered("open", n, 0)).collect();
    rd::produce(&mallory, &open, &records, &[]);
    let consumer = rd::consumer(&mallory, &closed, &[]);
    use rdkafka::consumer::Consumer as _;
    consumer.subscribe(&[&closed, &open]).expect("a subscription");
    let (mut seen, mut refused) = (Vec::new(), false);
    barnabas_tests::wait::until_true("the open topic's records and the closed one's refusal", || {
        match consumer.poll(std::time::Duration::from_millis(200)) {
            Some(Ok(message)) => seen.push(rd::owned(&message)),
            Some(Err(e)) => refused |= e.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed),
            None => {}
        }
        refused && seen.len() == records.len()
    });
    assert_same(&records, &seen);
}

#[test]
fn two_gateways_of_one_installation_read_each_others_records_at_once() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let second = site.second_gateway();
    let alice = site.authority.client("alice");
    let records: Vec<_> = (0..50).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&site.endpoint(&alice), &topic, &records[..25], &[]);
    let by_second = Endpoint::tls(&second.bootstrap(), &alice);
    rd::produce(&by_second, &topic, &records[25..], &[]);
    assert_same(&records, &rd::read_all(&by_second, &topic));
    assert_same(&records, &rd::read_all(&site.endpoint(&alice), &topic));
    site.assert_sealed(&topic, 50, &secret);
}
