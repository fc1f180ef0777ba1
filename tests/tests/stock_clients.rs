//! Promise: a client that works on Kafka works on us, or is on a written list with the reason (`tests/compat/*/allow.txt`). Each client
//! writes and reads a sealed topic over mutual TLS, in every codec it has; librdkafka reads what it wrote, and it reads what
//! librdkafka wrote.

use barnabas_tests::clients::foreign::{ALL, Foreign};
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{assert_same, sample};
use barnabas_tests::scratch::unique;
use barnabas_tests::site::{Site, secret};

fn works(name: &str) {
    let client = Foreign::new(name);
    let mut site = Site::new();
    let alice = site.client("alice");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        if !client.can(&format!("codec.{codec}")) {
            continue;
        }
        let (topic, secret) = (site.sealed_topic(2), secret());
        let records = client.sayable(&sample(&secret, 40, 2));
        let placed = client.produce(&alice, &topic, codec, &records);
        assert_eq!(placed.len(), records.len(), "{name} {codec}");
        assert_same(&records, &rd::read_all(&alice, &topic));
        site.assert_sealed(&topic, records.len(), &secret);
        if codec == "none" {
            assert_same(&records, &client.consume(&alice, &topic, &unique("group"), records.len()));
        }
    }
    let (topic, secret) = (site.sealed_topic(2), secret());
    let records = client.sayable(&sample(&secret, 40, 2));
    rd::produce(&alice, &topic, &records, &[("compression.type", "lz4")]);
    let reader = site.client("reader");
    assert_same(&records, &client.consume(&reader, &topic, &unique("group"), records.len()));
    site.assert_sealed(&topic, records.len(), &secret);
}

#[test]
fn confluent_kafka_for_python_works() {
    works("confluent-kafka");
}

#[test]
fn kafka_python_works() {
    works("kafka-python");
}

#[test]
fn aiokafka_works() {
    works("aiokafka");
}

#[test]
fn kafkajs_works() {
    works("kafkajs");
}

#[test]
fn franz_go_works() {
    works("franz-go");
}

#[test]
fn every_client_of_the_matrix_has_a_test() {
    let text = include_str!("stock_clients.rs");
    for name in ALL {
        assert!(text.contains(&format!("works(\"{name}\")")), "{name} is not tested");
    }
}
