//! Promise: no plaintext of a sealed topic ever reaches a broker, in whatever way it is written.

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{assert_same, blob, sample};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::evil::Evil;
use barnabas_tests::site::{OVERHEAD, Site, key_id, secret};

#[test]
fn no_codec_carries_plaintext_to_the_broker() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let mut site = Site::behind(&evil);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let (topic, secret) = (site.sealed_topic(2), secret());
        let records = sample(&secret, 60, 2);
        rd::produce(&site.client("alice"), &topic, &records, &[("compression.type", codec)]);
        site.assert_sealed(&topic, records.len(), &secret);
        assert!(!evil.has_passed(secret.as_bytes()), "plaintext on the way to the broker, codec {codec}");
        assert_same(&records, &rd::read_all(&site.client("reader"), &topic));
    }
}

#[test]
fn headers_and_keys_stay_readable_for_the_broker_as_the_manual_says() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let mut record = sample(&secret, 1, 1).remove(0);
    record.headers = vec![("trace".to_owned(), Some(blob("1f2e")))];
    rd::produce(&site.client("alice"), &topic, &[record.clone()], &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    assert_eq!(stored[0].record.key, record.key);
    assert!(stored[0].record.headers.starts_with(&record.headers));
    site.assert_sealed(&topic, 1, &secret);
}

#[test]
fn a_sealed_record_is_forty_four_bytes_longer() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let records = sample(&secret, 40, 1);
    rd::produce(&site.client("alice"), &topic, &records, &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    for (sent, got) in records.iter().zip(&stored) {
        let long = |value: &Option<barnabas_tests::clients::record::Blob>| value.as_ref().map(|value| value.0.len());
        assert_eq!(long(&got.record.value), long(&sent.value).map(|n| n + OVERHEAD));
    }
}

#[test]
fn a_null_value_stays_null_for_the_cleaner_and_an_empty_one_is_not_null() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let records = sample(&secret, 10, 1);
    assert!(records[2].value.is_none() && records[3].value == Some(blob("")));
    rd::produce(&site.client("alice"), &topic, &records, &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    assert!(stored[2].record.value.is_none());
    assert!(key_id(&stored[3].record).is_some());
    let back = rd::read_all(&site.client("reader"), &topic);
    assert_same(&records, &back);
    assert!(back[2].record.headers.is_empty(), "what proves a tombstone is taken away again");
    site.assert_sealed(&topic, 10, &secret);
}

#[test]
fn the_same_plaintext_twice_is_two_different_ciphertexts() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let record = barnabas_tests::clients::record::numbered(&secret, 1, 0);
    rd::produce(&site.client("alice"), &topic, &[record.clone(), record.clone()], &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    assert_ne!(stored[0].record.value, stored[1].record.value);
    site.assert_sealed(&topic, 2, &secret);
}
