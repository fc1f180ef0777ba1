//! Promise: an acknowledgement from us is an acknowledgement from the broker.

use std::collections::BTreeSet;

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{Placed, Received, assert_same, numbered, sample};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::evil::Evil;
use barnabas_tests::site::{Site, secret};

#[test]
fn every_acknowledged_record_stands_at_the_broker_at_the_offset_that_was_said() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(3), secret());
    let records = sample(&secret, 300, 3);
    let placed = rd::produce(&site.client("alice"), &topic, &records, &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    assert_eq!(places(&stored), placed.iter().copied().collect::<BTreeSet<_>>());
    assert_same(&records, &rd::read_all(&site.client("reader"), &topic));
    site.assert_sealed(&topic, 300, &secret);
}

#[test]
fn what_the_broker_did_not_take_is_not_acknowledged() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let mut site = Site::behind(&evil);
    site.gateway.expect_in_log("");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    let before = rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    assert_eq!(before, [Placed { partition: 0, offset: 0 }]);
    evil.cut();
    let mut producer = rd::Producer::new(&alice, &[("message.timeout.ms", "5000")]);
    producer.send(&topic, &numbered(&secret, 1, 0));
    assert!(producer.outcomes()[0].is_err(), "nobody was there to take the record");
    evil.mend();
    site.assert_sealed(&topic, 1, &secret);
}

#[test]
fn without_acknowledgements_the_connection_still_answers_everything_else() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let records: Vec<_> = (0..200).map(|n| numbered(&secret, n, 0)).collect();
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &records, &[("acks", "0")]);
    let received = rd::consume(&alice, &topic, &topic, records.len());
    assert_same(&records, &received);
    site.assert_sealed(&topic, records.len(), &secret);
}

fn places(stored: &[Received]) -> BTreeSet<Placed> {
    stored.iter().map(|got| Placed { partition: got.record.partition, offset: got.offset }).collect()
}
