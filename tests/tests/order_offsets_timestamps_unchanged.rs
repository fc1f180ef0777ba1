//! Promise: order, offsets, counts and timestamps are what they would be without us, batch by batch.

use barnabas_tests::clients::record::{assert_same, numbered, sample};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::site::{Site, secret};

#[test]
fn the_broker_and_the_reader_see_the_producers_timestamps_and_order() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(2), secret());
    let records = sample(&secret, 200, 2);
    rd::produce(&site.client("alice"), &topic, &records, &[("enable.idempotence", "true")]);
    assert_same(&records, &rd::read_all(&site.client("reader"), &topic));
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    for partition in 0..2 {
        let wanted = records.iter().filter(|record| record.partition == partition).map(|record| record.timestamp);
        let got = stored.iter().filter(|got| got.record.partition == partition).map(|got| got.record.timestamp);
        assert!(wanted.eq(got), "timestamps of partition {partition} at the broker");
    }
    for batch in site.broker().batches(&topic, 0) {
        assert!(batch.producer_id >= 0, "the idempotent producer's id is kept");
        assert_eq!(
            batch.base_sequence as i64, batch.base_offset,
            "one producer from the start: sequence and offset agree"
        );
    }
    site.assert_sealed(&topic, 200, &secret);
}

#[test]
fn a_topic_with_log_append_time_keeps_the_brokers_time() {
    let mut site = Site::new();
    let secret = secret();
    let topic = site.broker().topic_with("sealed", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let records: Vec<_> = (0..20).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&site.client("alice"), &topic, &records, &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    let read = rd::read_all(&site.client("reader"), &topic);
    assert!(stored.iter().map(|got| got.record.timestamp).eq(read.iter().map(|got| got.record.timestamp)));
    assert!(read.iter().zip(&records).all(|(got, sent)| got.record.value == sent.value));
    assert_ne!(read[0].record.timestamp, records[0].timestamp);
}

#[test]
fn a_topic_that_is_not_sealed_is_stored_exactly_as_without_a_gateway() {
    let mut site = Site::new();
    let (through, past) = (site.open_topic(1), site.open_topic(1));
    let records = sample("in the open", 50, 1);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let settings = [("compression.type", codec), ("linger.ms", "500"), ("batch.num.messages", "50")];
        rd::produce(&site.client("anybody"), &through, &records, &settings);
        rd::produce(&Endpoint::direct(site.broker()), &past, &records, &settings);
    }
    let (through, past) = (site.broker().batches(&through, 0), site.broker().batches(&past, 0));
    assert_eq!(through, past);
}

#[test]
fn compaction_leaves_holes_that_a_reader_does_not_mind() {
    let mut site = Site::new();
    let secret = secret();
    let settings = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "100"),
        ("max.compaction.lag.ms", "100"),
        ("delete.retention.ms", "100000"),
    ];
    let topic = site.broker().topic_with("sealed", 1, &settings);
    let alice = site.client("alice");
    // A segment is closed by a record that is later by its own timestamp; only closed segments are cleaned.
    let later = |n: usize, round: usize| {
        let mut record = numbered(&format!("{secret} {round}"), n, 0);
        record.timestamp += 10_000 * round as i64;
        record
    };
    for round in 0..5 {
        let records: Vec<_> = (0..20).map(|n| later(n, round)).collect();
        rd::produce(&alice, &topic, &records, &[]);
    }
    let direct = Endpoint::direct(site.broker());
    let mut round = 5;
    barnabas_tests::wait::until_true("the cleaner has been here", || {
        rd::produce(&alice, &topic, &[later(99, round)], &[]);
        round += 1;
        rd::read_all(&direct, &topic).len() < 80
    });
    let stored = rd::read_all(&direct, &topic);
    let read = rd::read_all(&site.client("reader"), &topic);
    let offsets =
        |all: &[barnabas_tests::clients::record::Received]| all.iter().map(|got| got.offset).collect::<Vec<_>>();
    let seen = offsets(&stored).into_iter().filter(|offset| offsets(&read).contains(offset)).count();
    assert!(seen > 0 && read.iter().all(|got| got.record.value.is_some()));
    assert!(!site.broker().disk_holds(secret.as_bytes()));
}
