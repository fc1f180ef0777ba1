//! Promise: who posts faster than the brokers take is told so, with when to come back; the gateway's memory stays within its bounds, and
//! everything that was acknowledged is in Kafka.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use barnabas_tests::broker::Broker;
use barnabas_tests::certs::ClientFiles;
use barnabas_tests::clients::rd;
use barnabas_tests::evil::Evil;
use barnabas_tests::gateway::Settings;
use barnabas_tests::rest::Http;
use barnabas_tests::site::{Site, secret};
use serde_json::{Value, json};

/// As long as the brokers are slow and the posters are not.
const MINUTE: Duration = Duration::from_secs(60);
/// Each with a request under way, all the time.
const POSTERS: usize = 48;
const RECORDS: usize = 50;
/// Of a record's value.
const BYTES: usize = 2_000;
/// `max_memory_bytes`. With what is made of a body it may be three times as much, says the bridge's chapter.
const MOST: u64 = 32 << 20;

/// What one poster has heard.
#[derive(Default)]
struct Heard {
    /// Value to partition and offset.
    acknowledged: HashMap<String, (i64, i64)>,
    /// Requests by their status.
    statuses: HashMap<u16, usize>,
    /// Answers 429 that said when to come back.
    told_when: usize,
}

#[test]
fn a_minute_of_posts_faster_than_the_brokers_take() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let limits = "limits: { max_queued_records: 1000, max_memory_bytes: 32MiB, max_body_bytes: 1MiB }";
    let address = evil.address();
    let mut site = Site::with(broker, |settings| Settings { upstream: address, ..settings }.with_rest(&[limits]));
    let (topic, secret) = (site.sealed_topic(2), secret());
    let files = site.authority.client("alice");
    let path = format!("/topics/{topic}");
    let first = Http::tls(&site.gateway.rest(), &files).post(&path, JSON, body(&secret, "first", 0));
    assert_eq!(first.is(200).json()["offsets"].as_array().map(Vec::len), Some(RECORDS));
    let before = site.gateway.resident_bytes();

    // Every answer to a Produce request takes a third of a second, one after the other.
    evil.on_answer(PRODUCE, |frame| {
        thread::sleep(Duration::from_millis(333));
        frame
    });
    let is_over = AtomicBool::new(false);
    let (rest, began) = (site.gateway.rest(), Instant::now());
    let (mut most, mut heard) = (before, Vec::new());
    thread::scope(|scope| {
        let post = |number| post_on(&rest, &files, &path, (&secret, number), &is_over);
        let posters: Vec<_> = (0..POSTERS).map(|number| scope.spawn(move || post(number))).collect();
        while began.elapsed() < MINUTE {
            most = most.max(site.gateway.resident_bytes());
            thread::sleep(Duration::from_millis(100));
        }
        is_over.store(true, Ordering::SeqCst);
        heard.extend(posters.into_iter().map(|poster| poster.join().expect("a poster ends")));
    });
    most = most.max(site.gateway.resident_bytes());
    evil.be_honest();

    let sum = |status: u16| heard.iter().filter_map(|one| one.statuses.get(&status)).sum::<usize>();
    let told_when: usize = heard.iter().map(|one| one.told_when).sum();
    let statuses: Vec<_> = heard.iter().flat_map(|one| one.statuses.keys()).collect();
    let acknowledged: HashMap<_, _> = heard.iter().flat_map(|one| one.acknowledged.iter()).collect();
    eprintln!(
        "200: {}, 429: {}, 503: {}, acknowledged: {}, resident: {} MiB before, {} MiB at most",
        sum(200),
        sum(429),
        sum(503),
        acknowledged.len(),
        before >> 20,
        most >> 20
    );
    assert!(statuses.iter().all(|status| [200, 429, 503].contains(status)), "{statuses:?}");
    assert!(sum(429) > 0 && told_when == sum(429), "it is told that it is too much, and when to come back");
    assert!(!acknowledged.is_empty() && evil.told() > 0, "the broker was slow, and took something");
    // Buffers of connections and what the allocator keeps come on top.
    assert!(most < before + 3 * MOST + (64 << 20), "{} MiB grew to {} MiB", before >> 20, most >> 20);

    let mut there = HashMap::new();
    for got in rd::read_all(&site.client("reader"), &topic) {
        let value: Value = serde_json::from_slice(&got.record.value.as_ref().expect("a value").0).expect("JSON");
        let is = value["is"].as_str().expect("a name").to_owned();
        there.insert((i64::from(got.record.partition), got.offset), is);
    }
    for (is, place) in acknowledged {
        assert_eq!(there.get(place), Some(is), "acknowledged, and not in Kafka");
    }
    // It is as it was before.
    let last = Http::tls(&site.gateway.rest(), &files).post(&path, JSON, body(&secret, "last", 0));
    assert!(last.is(200).json()["offsets"].as_array().expect("a list").iter().all(|one| one["error_code"].is_null()));
}

/// Posts as fast as answers come, whatever they say.
fn post_on(
    rest: &str,
    files: &ClientFiles,
    path: &str,
    (secret, number): (&str, usize),
    is_over: &AtomicBool,
) -> Heard {
    let mut heard = Heard::default();
    let mut http = Http::tls(rest, files);
    let mut round = 0;
    while !is_over.load(Ordering::SeqCst) {
        round += 1;
        let answer = http.post(path, JSON, body(secret, &format!("{number}-{round}"), number));
        *heard.statuses.entry(answer.status).or_default() += 1;
        if answer.status == 429 {
            heard.told_when +=
                usize::from(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
            // Far sooner than it was told, and without taking the processor from what is looked at.
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let answer = answer.json();
        for (index, place) in answer["offsets"].as_array().into_iter().flatten().enumerate() {
            if let (Some(partition), Some(offset)) = (place["partition"].as_i64(), place["offset"].as_i64()) {
                heard.acknowledged.insert(format!("{number}-{round}-{index}"), (partition, offset));
            }
        }
    }
    heard
}

/// Records whose values are different ones.
fn body(secret: &str, name: &str, number: usize) -> String {
    let fill = "x".repeat(BYTES);
    let one = |index: usize| json!({ "value": { "is": format!("{name}-{index}"), "secret": secret, "fill": fill }, "partition": number % 2 });
    json!({ "records": (0..RECORDS).map(one).collect::<Vec<_>>() }).to_string()
}

const JSON: &str = "application/vnd.kafka.json.v2+json";
/// Kafka's number of the API.
const PRODUCE: i16 = 0;
