//! Promise: consumer instances of the HTTP bridge read what Kafka clients read, opened for who made them, and hide nothing that they
//! cannot show.

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{blob, numbered, sample};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::rest::{Answer, Http};
use barnabas_tests::scratch::unique;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const V2: &str = "application/vnd.kafka.v2+json";

fn site(keys: &[&str]) -> Site {
    Site::with(Broker::shared(), |settings| settings.with_rest(keys))
}

fn caller(site: &mut Site, name: &str) -> Http {
    let files = site.authority.client(name);
    Http::tls(&site.gateway.rest(), &files)
}

/// One instance, spoken to as the documents of the API do.
struct Consumer {
    http: Http,
    path: String,
    accept: String,
}

impl Consumer {
    #[track_caller]
    fn new(mut http: Http, group: &str, settings: Value) -> Self {
        let format = settings["format"].as_str().unwrap_or("binary").to_owned();
        let made = http.post(&format!("/consumers/{group}"), V2, settings.to_string()).is(200).json();
        let base = made["base_uri"].as_str().expect("an address");
        let path = base.split_once("://").expect("a scheme").1;
        let path = path[path.find('/').expect("a path")..].to_owned();
        assert!(path.ends_with(made["instance_id"].as_str().expect("an id")));
        Self { http, path, accept: format!("application/vnd.kafka.{format}.v2+json") }
    }

    #[track_caller]
    fn post(&mut self, what: &str, body: Value) -> Answer {
        self.http.post(&format!("{}/{what}", self.path), V2, body.to_string())
    }

    #[track_caller]
    fn get(&mut self, what: &str) -> Answer {
        let accept = if what.starts_with("records") { self.accept.clone() } else { V2.to_owned() };
        self.http.ask("GET", &format!("{}/{what}", self.path), &[("accept", &accept)], b"")
    }

    /// Reads until so many records have come.
    #[track_caller]
    fn read(&mut self, count: usize) -> Vec<Value> {
        let mut records = Vec::new();
        wait::until_true("records come", || {
            records.extend(self.get("records?timeout=3000").is(200).json().as_array().expect("a list").clone());
            records.len() >= count
        });
        assert_eq!(records.len(), count);
        records
    }
}

#[test]
fn a_subscribed_instance_reads_sealed_records_and_goes_on_where_the_group_has_committed() {
    let mut site = site(&[]);
    let (topic, secret, group) = (site.sealed_topic(2), secret(), unique("group"));
    let sent = sample(&secret, 12, 2);
    rd::produce(&site.client("alice"), &topic, &sent, &[]);
    let settings = json!({ "format": "binary", "auto.offset.reset": "earliest", "auto.commit.enable": "false" });
    let mut consumer = Consumer::new(caller(&mut site, "reader"), &group, settings.clone());
    assert_eq!(consumer.get("subscription").is(200).json(), json!({ "topics": [] }));
    consumer.get("records").is_error(409, 40903);
    consumer.post("subscription", json!({ "topics": [topic] })).is(204);
    assert_eq!(consumer.get("subscription").is(200).json(), json!({ "topics": [topic] }));
    let records = consumer.read(12);
    for record in &records {
        let (partition, offset) = (record["partition"].as_i64().unwrap(), record["offset"].as_u64().unwrap());
        let wanted = sent.iter().filter(|one| i64::from(one.partition) == partition).nth(offset as usize).unwrap();
        let value = record["value"].as_str().map(|text| blob(STANDARD.decode(text).unwrap()));
        assert_eq!(value, wanted.value, "null stays null, and bytes stay what they are");
        assert_eq!(record["timestamp"], wanted.timestamp);
        assert_eq!(record.get("headers").is_some(), !wanted.headers.is_empty());
    }
    consumer.post("offsets", json!({})).is(200);
    let partitions = json!({ "partitions": [{ "topic": topic, "partition": 0 }, { "topic": topic, "partition": 1 }] });
    let path = format!("{}/offsets", consumer.path);
    let committed = consumer.http.ask("GET", &path, &[("content-length", "0")], b"");
    assert_eq!(committed.status, 422, "a question about no partition");
    let committed = consumer.http.ask("GET", &path, &[("content-type", V2)], partitions.to_string().as_bytes()).is(200);
    let committed = committed.json()["offsets"].as_array().unwrap().clone();
    assert_eq!(committed.iter().map(|one| one["offset"].as_i64().unwrap()).collect::<Vec<_>>(), [6, 6]);
    consumer.http.ask("DELETE", &consumer.path, &[], b"").is(204);
    consumer.get("records").is_error(404, 40403);

    rd::produce(&site.client("alice"), &topic, &[numbered(&secret, 99, 1)], &[]);
    let mut next = Consumer::new(caller(&mut site, "reader"), &group, settings);
    next.post("subscription", json!({ "topics": [topic] })).is(204);
    let more = next.read(1);
    assert_eq!((more[0]["partition"].as_i64(), more[0]["offset"].as_i64()), (Some(1), Some(6)));
}

#[test]
fn an_assigned_instance_reads_where_it_is_told_and_at_once() {
    let mut site = site(&[]);
    let topic = site.open_topic(2);
    for (partition, values) in [(0, ["a0", "a1", "a2"]), (1, ["b0", "b1", "b2"])] {
        let records = values.map(|value| json!({ "value": { "is": value }, "partition": partition }));
        let body = json!({ "records": records }).to_string();
        let path = format!("/topics/{topic}");
        caller(&mut site, "alice").post(&path, "application/vnd.kafka.json.v2+json", body).is(200);
    }
    let mut consumer = Consumer::new(
        caller(&mut site, "bob"),
        &unique("group"),
        json!({ "name": "mine", "format": "json", "auto.offset.reset": "earliest", "consumer.request.timeout.ms": 30_000 }),
    );
    let one = |partition: i32| json!({ "topic": topic, "partition": partition });
    consumer.post("assignments", json!({ "partitions": [one(0), one(7)] })).is_error(404, 40402);
    consumer.post("assignments", json!({ "partitions": [one(0), one(1)] })).is(204);
    let assigned = consumer.get("assignments").is(200).json()["partitions"].as_array().unwrap().len();
    assert_eq!(assigned, 2);
    let began = std::time::Instant::now();
    assert_eq!(consumer.read(6).len(), 6);
    assert!(began.elapsed().as_secs() < 10, "a read returns when records are there, not when its time is over");

    consumer.post("positions", json!({ "offsets": [{ "topic": topic, "partition": 0, "offset": 2 }] })).is(204);
    assert_eq!(consumer.read(1)[0]["value"], json!({ "is": "a2" }));
    consumer.post("positions/beginning", json!({ "partitions": [one(1)] })).is(204);
    let again: Vec<Value> = consumer.read(3).iter().map(|record| record["value"]["is"].clone()).collect();
    assert_eq!(again, ["b0", "b1", "b2"]);
    consumer.post("positions/end", json!({ "partitions": [one(0), one(1)] })).is(204);
    assert_eq!(consumer.get("records?timeout=300").is(200).json(), json!([]));

    // An offset in a commit is that of the last record that is done.
    consumer.post("offsets", json!({ "offsets": [{ "topic": topic, "partition": 0, "offset": 0 }] })).is(200);
    let (path, asked) = (format!("{}/offsets/", consumer.path), json!({ "partitions": [one(0)] }).to_string());
    let committed = consumer.http.ask("GET", &path, &[("content-type", V2)], asked.as_bytes()).is(200).json();
    assert_eq!(committed, json!({ "offsets": [{ "topic": topic, "partition": 0, "offset": 1, "metadata": "" }] }));
}

#[test]
fn what_cannot_be_shown_is_named_and_can_be_stepped_over() {
    let mut site = site(&[]);
    let topic = site.open_topic(1);
    let mut alice = caller(&mut site, "alice");
    let path = format!("/v1/topics/{topic}/records");
    for body in ["1", &format!("\"{}\"", "9".repeat(5000)), "not json", "4"] {
        alice.post(&path, "text/plain", body).is(200);
    }
    let settings = json!({ "format": "json", "auto.offset.reset": "earliest" });
    let mut consumer = Consumer::new(caller(&mut site, "bob"), &unique("group"), settings);
    consumer.post("assignments", json!({ "partitions": [{ "topic": topic, "partition": 0 }] })).is(204);
    let small = "records?timeout=5000&max_bytes=1000";
    assert_eq!(consumer.get(small).is(200).json().as_array().unwrap().len(), 1);
    for _ in 0..2 {
        let refused = consumer.get(small);
        assert!(refused.text().contains("offset 1 of partition 0"), "{}", refused.text());
        refused.is_error(413, 413);
    }
    assert_eq!(consumer.get("records?timeout=5000").is(200).json()[0]["offset"], 1);
    let refused = consumer.get("records?timeout=5000");
    assert!(refused.text().contains("offset 2"), "{}", refused.text());
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    consumer.post("positions", json!({ "offsets": [{ "topic": topic, "partition": 0, "offset": 3 }] })).is(204);
    assert_eq!(consumer.read(1)[0]["value"], 4);
}

#[test]
fn calls_that_cannot_be_are_refused_with_their_codes() {
    let mut site = site(&["limits: { max_consumers: 3 }"]);
    let (topic, group) = (site.open_topic(1), unique("group"));
    let mut consumer = Consumer::new(caller(&mut site, "bob"), &group, json!({ "name": "b1", "format": "binary" }));
    let create = |http: &mut Http, body: Value| http.post(&format!("/consumers/{group}/"), V2, body.to_string());
    create(&mut consumer.http, json!({ "name": "b1" })).is_error(409, 40902);
    create(&mut consumer.http, json!({ "format": "xml" })).is_error(422, 42204);
    create(&mut consumer.http, json!({ "fetch.min.bytes": -10 })).is_error(422, 42204);
    create(&mut consumer.http, json!({ "format": "avro" })).is_error(422, 42204);
    create(&mut consumer.http, json!({ "bootstrap.servers": "x" })).is_error(422, 42204);
    consumer.post("subscription", json!({ "topics": [topic], "topic_pattern": "x" })).is_error(409, 40903);
    consumer.post("subscription", json!({ "topics": topic })).is_error(422, 422);
    consumer.post("subscription", json!({})).is_error(422, 422);
    consumer.post("subscription", json!({ "topics": [topic] })).is(204);
    consumer.post("assignments", json!({ "partitions": [{ "topic": topic, "partition": 0 }] })).is_error(409, 40903);
    consumer
        .post("positions", json!({ "offsets": [{ "topic": "x", "partition": 0, "offset": 1 }] }))
        .is_error(409, 40903);
    consumer.accept = "application/vnd.kafka.json.v2+json".to_owned();
    consumer.get("records").is_error(406, 40601);
    // Another principal does not find it, whatever it is called.
    let mut mallory = caller(&mut site, "mallory");
    mallory.get(&format!("{}/subscription", consumer.path)).is_error(404, 40403);
    mallory.ask("DELETE", &consumer.path, &[], b"").is_error(404, 40403);
    create(&mut mallory, json!({ "name": "b1" })).is(200);
    create(&mut mallory, json!({})).is(200);
    create(&mut mallory, json!({})).is_error(429, 429);
    consumer.http.ask("DELETE", &format!("{}/subscription", consumer.path), &[], b"").is(204);
    assert_eq!(consumer.get("subscription").is(200).json(), json!({ "topics": [] }));
    consumer.post("subscription", json!({ "topic_pattern": format!("{topic}.*") })).is(204);
}

#[test]
fn an_instance_that_nobody_comes_back_to_gives_its_partitions_to_others() {
    let mut site = site(&["consumer: { idle: 1s }"]);
    let (topic, secret, group) = (site.sealed_topic(1), secret(), unique("group"));
    rd::produce(&site.client("alice"), &topic, &[numbered(&secret, 0, 0)], &[]);
    let settings = json!({ "format": "text", "auto.offset.reset": "earliest" });
    let mut gone = Consumer::new(caller(&mut site, "reader"), &group, settings);
    gone.post("subscription", json!({ "topics": [topic] })).is(204);
    assert!(gone.read(1)[0]["value"].as_str().unwrap().contains(&secret));
    // A native consumer of the same principal and group takes over, and gets what was not committed or comes later.
    rd::produce(&site.client("alice"), &topic, &[numbered(&secret, 1, 0)], &[]);
    let taken = rd::consume(&site.client("reader"), &topic, &group, 1);
    assert!(!taken.is_empty());
    gone.get("records").is_error(404, 40403);
    let direct = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    assert_eq!(direct.len(), 2);
    site.assert_sealed(&topic, 2, &secret);
}

#[test]
fn who_may_not_read_is_told_so() {
    let mut site = site(&[]);
    let (topic, secret) = (site.sealed_topic(1), secret());
    rd::produce(&site.client("alice"), &topic, &[numbered(&secret, 0, 0)], &[]);
    site.gateway.expect_in_log("fetch_refused");
    let settings = json!({ "format": "binary", "auto.offset.reset": "earliest" });
    let mut mallory = Consumer::new(caller(&mut site, "mallory"), &unique("group"), settings);
    mallory.post("assignments", json!({ "partitions": [{ "topic": topic, "partition": 0 }] })).is(204);
    let refused = mallory.get("records?timeout=10000");
    assert!(!refused.text().contains(&secret));
    refused.is_error(403, 40301);
}
