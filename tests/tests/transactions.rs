//! Promise: the same transactions. A committed record is read, an aborted one is not, markers are untouched, and consume-transform-produce
//! keeps its offsets exactly once.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::producer::Producer as _;

use barnabas_tests::clients::rd::{self, Producer};
use barnabas_tests::clients::record::{Sent, numbered, shows};
use barnabas_tests::clients::{Endpoint, foreign::Foreign, java::Java};
use barnabas_tests::scratch::unique;
use barnabas_tests::site::{Site, secret};

const BOUND: Duration = Duration::from_secs(60);

#[test]
fn committed_records_are_read_and_aborted_ones_are_not() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    let mut producer = Producer::new(&alice, &[("transactional.id", &unique("tx"))]);
    producer.transactions().init_transactions(BOUND).expect("a transactional producer");
    let mut committed = Vec::new();
    for round in 0..6 {
        producer.transactions().begin_transaction().expect("a transaction");
        let records: Vec<Sent> = (0..10).map(|n| numbered(&format!("{secret} round {round}"), n, 0)).collect();
        records.iter().for_each(|record| producer.send(&topic, record));
        if round % 2 == 0 {
            producer.transactions().commit_transaction(BOUND).expect("committed");
            committed.extend(records);
        } else {
            producer.placed();
            producer.transactions().abort_transaction(BOUND).expect("aborted");
        }
    }
    let read = rd::read_all(&site.client("reader"), &topic);
    assert!(read.iter().map(|got| &got.record).eq(committed.iter()));
    let direct = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    assert!(
        read.iter().map(|got| got.offset).eq(direct.iter().map(|got| got.offset)),
        "the same offsets as without us"
    );
    let uncommitted = rd::read(&site.client("reader"), &topic, &[("isolation.level", "read_uncommitted")]);
    assert_eq!((uncommitted.records.len(), uncommitted.error), (60, None));
    assert!(uncommitted.records.iter().all(|got| shows(&got.record, &secret)));
    site.assert_sealed(&topic, committed.len(), &secret);
    let control = site.broker().batches(&topic, 0).into_iter().filter(|batch| batch.is_control()).count();
    assert_eq!(control, 6, "a marker for each transaction");
}

#[test]
fn consume_transform_produce_commits_offsets_with_the_records() {
    let mut site = Site::new();
    let (from, to, secret) = (site.sealed_topic(1), site.sealed_topic(1), secret());
    let alice = site.client("alice");
    let records: Vec<Sent> = (0..20).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &from, &records, &[]);
    let consumer = rd::consumer(&alice, &from, &[("enable.auto.commit", "false")]);
    consumer.subscribe(&[&from]).expect("a subscription");
    let taken = rd::take(&consumer, 20);
    let mut producer = Producer::new(&alice, &[("transactional.id", &unique("tx"))]);
    producer.transactions().init_transactions(BOUND).expect("a transactional producer");
    producer.transactions().begin_transaction().expect("a transaction");
    taken.iter().for_each(|got| producer.send(&to, &got.record));
    let metadata = consumer.group_metadata().expect("a member of a group");
    let position = consumer.position().expect("a position");
    producer
        .transactions()
        .send_offsets_to_transaction(&position, &metadata, BOUND)
        .expect("offsets in the transaction");
    producer.transactions().commit_transaction(BOUND).expect("committed");
    let committed = consumer.committed(BOUND).expect("an answer");
    assert_eq!(committed.elements()[0].offset(), rdkafka::Offset::Offset(20));
    assert!(rd::read_all(&alice, &to).iter().map(|got| &got.record).eq(records.iter()));
    site.assert_sealed(&to, 20, &secret);
}

#[test]
fn a_fenced_producer_stays_fenced() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    let id = unique("tx");
    let mut old = Producer::new(&alice, &[("transactional.id", &id)]);
    old.transactions().init_transactions(BOUND).expect("a transactional producer");
    old.transactions().begin_transaction().expect("a transaction");
    let new = Producer::new(&alice, &[("transactional.id", &id)]);
    new.transactions().init_transactions(BOUND).expect("the second one takes over");
    old.send(&topic, &numbered(&secret, 0, 0));
    assert!(old.transactions().commit_transaction(BOUND).is_err(), "the broker has fenced this one");
    assert!(rd::read_all(&alice, &topic).is_empty());
}

#[test]
fn javas_transactional_tool_runs() {
    let mut site = Site::new();
    let topic = site.sealed_topic(1);
    let java = Java::new(&site.client("alice"));
    let produce = [
        "--bootstrap-server",
        "{bootstrap}",
        "--topic",
        &topic,
        "--command-config",
        "{config}",
        "--num-records",
        "400",
        "--record-size",
        "100",
        "--throughput",
        "-1",
        "--transactional-id",
        &topic,
        "--transaction-duration-ms",
        "50",
    ];
    java.run("org.apache.kafka.tools.ProducerPerformance", &produce, b"").ok();
    assert_eq!(rd::read_all(&site.client("reader"), &topic).len(), 400);
}

#[test]
fn what_librdkafka_aborted_franz_go_does_not_see() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    let mut producer = Producer::new(&alice, &[("transactional.id", &unique("tx"))]);
    producer.transactions().init_transactions(BOUND).expect("a transactional producer");
    producer.transactions().begin_transaction().expect("a transaction");
    let records: Vec<Sent> = (0..10).map(|n| numbered(&secret, n, 0)).collect();
    records.iter().for_each(|record| producer.send(&topic, record));
    producer.transactions().commit_transaction(BOUND).expect("committed");
    let read = Foreign::new("franz-go").consume(&site.client("reader"), &topic, &unique("group"), 10);
    assert!(read.iter().map(|got| &got.record).eq(records.iter()));
    site.assert_sealed(&topic, 10, &secret);
}
