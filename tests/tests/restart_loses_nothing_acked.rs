//! Promise: restart, reload, drain and kill -9, of the gateway or of the broker, lose nothing that was acknowledged.

use std::sync::OnceLock;

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::Endpoint;
use barnabas_tests::clients::rd::{self, Producer};
use barnabas_tests::clients::record::{Sent, numbered, shows};
use barnabas_tests::process::Signal;
use barnabas_tests::site::{Site, assert_sealed, secret};
use barnabas_tests::wait;

/// Idempotent, so that a retry after the fault makes no second copy and no other order.
const IDEMPOTENT: [(&str, &str); 3] =
    [("enable.idempotence", "true"), ("message.timeout.ms", "90000"), ("linger.ms", "1")];

/// Sends records while `fault` happens in the middle; then every record was acknowledged, and stands in the topic exactly once, in order.
fn survives(site: &mut Site, broker: &Broker, fault: impl FnOnce(&mut Site)) {
    let topic = broker.topic("sealed", 1);
    let secret = secret();
    let alice = site.client("alice");
    let records: Vec<Sent> = (0..3000).map(|n| numbered(&secret, n, 0)).collect();
    let mut producer = Producer::new(&alice, &IDEMPOTENT);
    records[..1000].iter().for_each(|record| producer.send(&topic, record));
    wait::until_true("some records are acknowledged, others are in flight", || {
        producer.so_far().iter().flatten().count() > 100
    });
    records[1000..2000].iter().for_each(|record| producer.send(&topic, record));
    fault(site);
    records[2000..].iter().for_each(|record| producer.send(&topic, record));
    let outcomes = producer.outcomes();
    let stored = rd::read_all(&Endpoint::direct(broker), &topic);
    for (sent, outcome) in records.iter().zip(&outcomes) {
        let placed = outcome.unwrap_or_else(|code| panic!("{:?} was not acknowledged: {code}", sent.key));
        let got = stored.iter().find(|got| got.offset == placed.offset);
        assert_eq!(got.and_then(|got| got.record.key.clone()), sent.key, "acknowledged at {}", placed.offset);
    }
    let keys: Vec<_> = stored.iter().map(|got| got.record.key.clone()).collect();
    let wanted: Vec<_> = records.iter().map(|sent| sent.key.clone()).collect();
    assert!(keys == wanted, "{} records stand in the topic, {} were sent", keys.len(), wanted.len());
    let read = rd::read_all(&site.client("reader"), &topic);
    assert!(read.iter().map(|got| &got.record).eq(records.iter()), "the reader sees all of them in order");
    assert!(read.iter().all(|got| shows(&got.record, &secret)));
    assert_sealed(broker, &topic, records.len(), &secret);
}

#[test]
fn the_gateway_is_killed_in_the_middle() {
    let mut site = Site::new();
    survives(&mut site, Broker::shared(), |site| {
        site.gateway.kill();
        site.gateway.restart();
    });
}

#[test]
fn the_gateway_drains_on_sigterm_and_comes_back() {
    let mut site = Site::new();
    survives(&mut site, Broker::shared(), |site| {
        let status = site.gateway.terminate();
        assert!(status.success(), "a drained end is a good end: {status}");
        site.gateway.restart();
    });
}

#[test]
fn the_gateway_reloads_in_the_middle() {
    let mut site = Site::new();
    survives(&mut site, Broker::shared(), |site| site.gateway.signal(Signal::HUP));
}

#[test]
fn the_broker_is_killed_in_the_middle() {
    static PRIVATE: OnceLock<Broker> = OnceLock::new();
    let broker = PRIVATE.get_or_init(|| Broker::start(&[("log.flush.interval.messages", "1")]));
    let mut site = Site::with(broker, |settings| settings);
    site.gateway.expect_in_log("broker");
    site.gateway.expect_in_log("upstream");
    site.gateway.expect_in_log("keyring");
    survives(&mut site, broker, |_| {
        broker.kill();
        broker.restart();
    });
}

#[test]
fn what_was_sealed_before_a_restart_is_read_after_it() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let records: Vec<Sent> = (0..20).map(|n| numbered(&secret, n, 0)).collect();
    let alice = site.client("alice");
    for part in records.chunks(5) {
        rd::produce(&alice, &topic, part, &[]);
        site.gateway.kill();
        site.gateway.restart();
    }
    barnabas_tests::clients::record::assert_same(&records, &rd::read_all(&alice, &topic));
    site.assert_sealed(&topic, records.len(), &secret);
}
