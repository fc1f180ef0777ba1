//! Promise: a post with an `Idempotency-Key` that is made again is written once and gets the first answer, on any replica, whatever
//! happened to the gateway in between.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use barnabas_tests::broker::Broker;
use barnabas_tests::certs::ClientFiles;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::Gateway;
use barnabas_tests::rest::{Answer, Http};
use barnabas_tests::scratch::unique;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;
use rdkafka::producer::Producer as _;
use serde_json::{Value, json};

const JSON: &str = "application/json";
const TEXT: &str = "application/vnd.kafka.text.v2+json";
const V2: &str = "application/vnd.kafka.v2+json";
const TOPIC: &str = "_barnabas_idempotency";

/// Two gateways of one installation, each with a bridge.
fn two() -> (Site, Gateway) {
    let site = Site::with(Broker::shared(), |settings| settings.with_rest(&[]));
    let other = site.second_gateway_with(|settings| settings.with_rest(&[]));
    (site, other)
}

fn callers(site: &mut Site, other: &Gateway, name: &str) -> (ClientFiles, Http, Http) {
    let files = site.authority.client(name);
    let here = Http::tls(&site.gateway.rest(), &files);
    let there = Http::tls(&other.rest(), &files);
    (files, here, there)
}

fn post(http: &mut Http, path: &str, key: &str, kind: &str, body: &str) -> Answer {
    http.ask("POST", path, &[("content-type", kind), ("idempotency-key", key)], body.as_bytes())
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// What readers of committed records find, once there are so many: a marker follows its commit by a moment.
fn committed(site: &Site, topic: &str, count: usize) -> Vec<String> {
    let endpoint = Endpoint::direct(site.broker());
    wait::until_true("what was committed can be read", || rd::read_all(&endpoint, topic).len() >= count);
    let stored = rd::read_all(&endpoint, topic);
    assert_eq!(stored.len(), count, "{topic} has another number of records");
    let text = |value: &Option<_>| value.as_ref().map_or(String::new(), text);
    stored.iter().map(|got| text(&got.record.value)).collect()
}

fn text(blob: &barnabas_tests::clients::record::Blob) -> String {
    String::from_utf8_lossy(&blob.0).into_owned()
}

#[test]
fn a_retry_on_any_replica_gets_the_first_answer_and_writes_nothing() {
    let (mut site, other) = two();
    let (topic, secret) = (site.sealed_topic(3), secret());
    let (_, mut here, mut there) = callers(&mut site, &other, "alice");
    let cluster = here.get("/v3/clusters").is(200).json()["data"][0]["cluster_id"].as_str().unwrap().to_owned();
    let v3 = format!("/v3/clusters/{cluster}/topics/{topic}/records");
    let v2 = json!({ "records": [{ "key": "a", "value": secret }, { "value": secret }, { "partition": 2, "value": secret }] });
    let one = json!({ "value": { "type": "STRING", "data": secret }, "headers": [{ "name": "h", "value": "dg==" }] });
    let entries = json!({ "entries": [{ "id": "1", "value": { "type": "STRING", "data": secret } }, { "id": "2", "value": { "type": "STRING", "data": secret } }] });
    let event = json!({ "specversion": "1.0", "id": "1", "type": "t", "source": "/s", "data": secret });
    let calls = [
        (format!("/topics/{topic}"), TEXT, v2.to_string(), 3),
        (format!("/topics/{topic}/partitions/1"), TEXT, json!({ "records": [{ "value": secret }] }).to_string(), 1),
        (format!("/v1/topics/{topic}/records?key=b"), "text/plain", secret.clone(), 1),
        (format!("/v1/topics/{topic}/records"), "application/cloudevents+json", event.to_string(), 1),
        (v3.clone(), JSON, format!("{one}\n{one}"), 2),
        (format!("/kafka{v3}:batch"), JSON, entries.to_string(), 2),
    ];
    let mut count = 0;
    for (path, kind, body, records) in &calls {
        let key = unique("key");
        let first = post(&mut here, path, &key, kind, body);
        assert!((200..300).contains(&first.status) && !is_replay(&first), "{path}: {} {}", first.status, first.text());
        count += records;
        for n in 0..4 {
            let http = if n % 3 == 0 { &mut here } else { &mut there };
            let again = post(http, path, &format!("\"{key}\""), kind, body);
            assert!(is_replay(&again), "{path}: {} {}", again.status, again.text());
            assert_eq!((again.status, again.text()), (first.status, first.text()), "{path}");
            assert_eq!(again.header("content-type"), first.header("content-type"), "{path}");
        }
        // The same key is not the same request.
        let changed = post(&mut there, path, &key, kind, &body.replace(&secret, "other"));
        changed.is_error(422, 422);
        // A new key is a new request; and the key of one caller is nobody else's.
        assert!(!is_replay(&post(&mut there, path, &unique("key"), kind, body).is(first.status)));
        count += records;
        let (_, mut writer, _) = callers(&mut site, &other, "writer-2");
        assert!(!is_replay(&post(&mut writer, path, &key, kind, body).is(first.status)), "{path}");
        count += records;
    }
    committed(&site, &topic, count);
    site.assert_sealed(&topic, count, &secret);
    let read = rd::read_all(&site.client("reader"), &topic);
    assert_eq!(
        read.iter().filter(|got| got.record.value.as_ref().is_some_and(|value| text(value).contains(&secret))).count(),
        count
    );
    let keyed = |gateway: &Gateway, outcome: &str| {
        gateway.metric(&format!("barnabas_rest_keyed_requests_total{{outcome=\"{outcome}\"}}"))
    };
    assert_eq!((keyed(&other, "replayed"), keyed(&other, "mismatch")), (12.0, 6.0));
    assert_eq!(keyed(&site.gateway, "first") + keyed(&other, "first"), 18.0);
}

#[test]
fn posts_without_records_are_answered_as_the_first_time() {
    let (mut site, other) = two();
    let (_, mut here, mut there) = callers(&mut site, &other, "alice");
    let cluster = here.get("/v3/clusters").is(200).json()["data"][0]["cluster_id"].as_str().unwrap().to_owned();
    let (topics, name, key) = (format!("/v3/clusters/{cluster}/topics"), unique("made"), unique("key"));
    let wanted = json!({ "topic_name": name, "partitions_count": 2, "replication_factor": 1 }).to_string();
    let first = post(&mut here, &topics, &key, JSON, &wanted).is(201);
    let again = post(&mut there, &topics, &key, JSON, &wanted).is(201);
    assert!(is_replay(&again));
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    post(&mut there, &topics, &unique("key"), JSON, &wanted).is_error(400, 40002);
    // A lost answer leaves no consumer instance that nobody knows.
    let (path, key) = (format!("/consumers/{}", unique("group")), unique("key"));
    let made: Vec<Value> = (0..3).map(|_| post(&mut here, &path, &key, V2, "{}").is(200).json()).collect();
    assert_eq!((&made[1], &made[2]), (&made[0], &made[0]));
}

#[test]
fn what_failed_is_not_kept_and_a_request_is_written_as_a_whole() {
    let (mut site, other) = two();
    let topic = site.open_topic(2);
    let (_, mut here, mut there) = callers(&mut site, &other, "alice");
    let (path, key) = (format!("/topics/{topic}"), unique("key"));
    let absent = json!({ "records": [{ "value": "a" }, { "partition": 2, "value": "b" }] }).to_string();
    post(&mut here, &path, &key, TEXT, &absent).is_error(404, 40402);
    let cluster = here.get("/v3/clusters").is(200).json()["data"][0]["cluster_id"].as_str().unwrap().to_owned();
    let v3 = format!("/v3/clusters/{cluster}/topics/{topic}/records");
    let good = r#"{"value":{"type":"STRING","data":"a"}}"#;
    let mixed =
        post(&mut here, &v3, &key, JSON, &format!("{good}{{\"value\":{{\"type\":\"BINARY\",\"data\":\"*\"}}}}"))
            .is(200);
    let codes: Vec<Value> =
        mixed.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["error_code"].clone()).collect();
    assert_eq!(codes, [422, 422], "{}", mixed.text());
    // More than the broker takes: the large one fails there, so the other one is taken back.
    let large =
        json!({ "records": [{ "partition": 0, "value": "a" }, { "partition": 1, "value": "x".repeat(999_990) }] })
            .to_string();
    let limited = site.broker().topic_with("open", 2, &[("max.message.bytes", "2000")]);
    let answer = post(&mut there, &format!("/topics/{limited}"), &key, TEXT, &large).is(200).json();
    assert_eq!((&answer["offsets"][0]["error_code"], &answer["offsets"][1]["error_code"]), (&json!(422), &json!(413)));
    // Under the same key the right request is carried out.
    let right = json!({ "records": [{ "value": "a" }] }).to_string();
    assert!(!is_replay(&post(&mut there, &path, &key, TEXT, &right).is(200)));
    assert!(is_replay(&post(&mut here, &path, &key, TEXT, &right).is(200)));
    assert_eq!(committed(&site, &topic, 1), ["a"]);
    committed(&site, &limited, 0);
    post(&mut here, &path, "", TEXT, &right).is_error(400, 400);
    let twice = [("content-type", TEXT), ("idempotency-key", "a"), ("idempotency-key", "b")];
    here.ask("POST", &path, &twice, right.as_bytes()).is_error(400, 400);
    let mut open = here.open("POST", &v3, &[("content-type", JSON), ("idempotency-key", "a")]);
    assert_eq!(open.read_head().unwrap().status, 400, "a stream without an end is no request that could be made again");
    let (_, mut mallory, _) = callers(&mut site, &other, "mallory");
    site.gateway.expect_in_log("produce_refused");
    let sealed = site.sealed_topic(1);
    post(&mut mallory, &format!("/v1/topics/{sealed}/records"), &key, "text/plain", "x").is_error(403, 40301);
    committed(&site, &sealed, 0);
}

#[test]
fn the_same_request_at_once_is_written_once() {
    let (mut site, other) = two();
    let topic = site.open_topic(1);
    let files = site.authority.client("alice");
    let path = format!("/v1/topics/{topic}/records");
    let addresses = [site.gateway.rest(), other.rest()];
    let keys: Vec<String> = (0..5).map(|_| unique("key")).collect();
    let answers: Mutex<BTreeMap<String, Vec<Answer>>> = Mutex::default();
    thread::scope(|scope| {
        for n in 0..6 {
            let (address, files, path, keys, answers) = (&addresses[n % 2], &files, &path, &keys, &answers);
            scope.spawn(move || {
                let mut http = Http::tls(address, files);
                for key in keys {
                    // Who is told that it is under way asks again.
                    let answer = wait::until("an answer", wait::PATIENCE, || {
                        let answer = post(&mut http, path, key, "text/plain", key);
                        assert!(matches!(answer.status, 200 | 409 | 503), "{} {}", answer.status, answer.text());
                        (answer.status == 200).then_some(answer)
                    });
                    answers.lock().unwrap().entry(key.clone()).or_default().push(answer);
                }
            });
        }
    });
    let mut values = committed(&site, &topic, keys.len());
    values.sort();
    let answers = answers.into_inner().unwrap();
    assert!(values.iter().eq(answers.keys()), "each key once: {values:?}");
    for (key, all) in &answers {
        assert_eq!(all.len(), 6);
        // None, where a replica had to look what had become of its own commit.
        assert!(all.iter().filter(|answer| !is_replay(answer)).count() <= 1, "{key} was first once");
        assert!(all.iter().all(|answer| answer.body == all[0].body), "{key}: all get the first answer");
    }
}

#[test]
fn a_gateway_that_is_killed_in_the_middle_leaves_each_record_exactly_once() {
    const POSTS: usize = 60;
    let (mut site, other) = two();
    let (topic, secret) = (site.sealed_topic(3), secret());
    let files = site.authority.client("alice");
    let path = format!("/topics/{topic}");
    let body = |n: usize| {
        let record = |part: &str| json!({ "key": format!("{n}"), "value": format!("{secret} {n} {part}") });
        json!({ "records": [record("a"), record("b")] }).to_string()
    };
    let keys: Vec<String> = (0..POSTS).map(|_| unique("key")).collect();
    let first: Mutex<BTreeMap<usize, Answer>> = Mutex::default();
    let address = site.gateway.rest();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (address, files, path, keys, first, body) = (&address, &files, &path, &keys, &first, &body);
            scope.spawn(move || {
                let mut http = Http::tls(address, files);
                for n in (worker..POSTS).step_by(4) {
                    let headers = [("content-type", TEXT), ("idempotency-key", keys[n].as_str())];
                    let Ok(answer) = http.try_ask("POST", path, &headers, body(n).as_bytes()) else { return };
                    first.lock().unwrap().insert(n, answer);
                }
            });
        }
        wait::until_true("some posts are answered, others are under way", || first.lock().unwrap().len() >= 10);
        site.gateway.kill();
    });
    let first = first.into_inner().unwrap();
    assert!(first.len() < POSTS, "the gateway was killed before the last post");
    let mut there = Http::tls(&other.rest(), &files);
    for (n, key) in keys.iter().enumerate() {
        let again = wait::until("the other replica answers", wait::PATIENCE, || {
            let again = post(&mut there, &path, key, TEXT, &body(n));
            assert!(matches!(again.status, 200 | 503), "{} {}", again.status, again.text());
            (again.status == 200).then_some(again)
        });
        if let Some(first) = first.get(&n).filter(|first| first.status == 200) {
            assert!(is_replay(&again), "post {n} was answered before");
            assert_eq!(again.text(), first.text(), "post {n} gets the first answer");
        }
    }
    committed(&site, &topic, POSTS * 2);
    let reader = files_endpoint(&mut site, &other);
    let mut values: Vec<String> =
        rd::read_all(&reader, &topic).iter().filter_map(|got| got.record.value.as_ref().map(text)).collect();
    let mut wanted: Vec<String> =
        (0..POSTS).flat_map(|n| [format!("{secret} {n} a"), format!("{secret} {n} b")]).collect();
    values.sort();
    wanted.sort();
    assert_eq!(values, wanted, "each record exactly once");
    site.assert_sealed(&topic, POSTS * 2, &secret);
    for key in &keys {
        assert!(!site.broker().disk_holds(key.as_bytes()), "keys are kept as hashes");
    }
    // The one that comes back knows what it did before, and what the other one did meanwhile.
    site.gateway.restart();
    let mut here = Http::tls(&site.gateway.rest(), &files);
    for n in [0, POSTS - 1] {
        assert!(is_replay(&post(&mut here, &path, &keys[n], TEXT, &body(n)).is(200)));
    }
}

#[test]
fn no_more_keys_are_kept_than_may_be() {
    // A quarter for each principal.
    let mut site =
        Site::with(Broker::shared(), |settings| settings.with_rest(&["idempotency: { max_keys: 8, window: 1h }"]));
    let topic = site.open_topic(1);
    let mut http = |name: &str| Http::tls(&site.gateway.rest(), &site.authority.client(name));
    let (mut alice, mut bob) = (http("alice"), http("bob"));
    let path = format!("/v1/topics/{topic}/records");
    let keys: Vec<String> = (0..3).map(|_| unique("key")).collect();
    for key in &keys[..2] {
        post(&mut alice, &path, key, "text/plain", "x").is(200);
    }
    let full = post(&mut alice, &path, &keys[2], "text/plain", "x");
    full.is_error(429, 429);
    assert!(full.header("retry-after").is_some());
    // What is kept is still answered, others have their own share, and posts without a key need none.
    assert!(is_replay(&post(&mut alice, &path, &keys[0], "text/plain", "x").is(200)));
    post(&mut bob, &path, &keys[2], "text/plain", "x").is(200);
    alice.post(&path, "text/plain", "x").is(200);
    committed(&site, &topic, 4);
}

fn files_endpoint(site: &mut Site, other: &Gateway) -> Endpoint {
    Endpoint::tls(&other.bootstrap(), &site.authority.client("reader"))
}

#[test]
fn nobody_but_the_bridge_reads_writes_or_changes_what_it_keeps() {
    let (mut site, other) = two();
    site.gateway.expect_in_log("idempotency_write_refused");
    site.gateway.expect_in_log("produce_refused");
    site.gateway.expect_in_log("keyring_request_refused");
    site.gateway.expect_in_log("fetch_refused");
    let topic = site.open_topic(1);
    let (files, mut here, _) = callers(&mut site, &other, "alice");
    post(&mut here, &format!("/v1/topics/{topic}/records"), &unique("key"), "text/plain", "x").is(200);
    let path = format!("/v1/topics/{TOPIC}/records");
    post(&mut here, &path, &unique("key"), "text/plain", "x").is_error(403, 40301);
    here.post(&path, "text/plain", "x").is_error(403, 40301);
    let alice = site.endpoint(&files);
    let refused = rd::try_produce(&alice, TOPIC, &numbered("x", 1, 0));
    assert!(refused.is_err(), "a client writes an answer");
    let read = rd::read(&alice, TOPIC, &[]);
    assert!(read.records.is_empty() && read.error.is_some(), "a client reads answers");
    let cluster = here.get("/v3/clusters").is(200).json()["data"][0]["cluster_id"].as_str().unwrap().to_owned();
    here.ask("DELETE", &format!("/v3/clusters/{cluster}/topics/{TOPIC}"), &[], b"").is_error(403, 40301);
    let fenced = rd::Producer::new(&alice, &[("transactional.id", &format!("{TOPIC}-0-0"))]);
    let bound = std::time::Duration::from_secs(1);
    fenced.transactions().init_transactions(bound).expect_err("a client takes over a slot");
    site.gateway.wait_for_log("InitProducerId");
}
