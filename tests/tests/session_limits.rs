//! Promise: a session key never seals more records, more bytes or for longer than it may; it is replaced before that, while many
//! connections use it at once, and clients notice nothing.

use std::collections::HashMap;

use barnabas_crypto::{Body, SignedObject};
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{Sent, blob, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::Settings;
use barnabas_tests::site::{OVERHEAD, Site, key_id, secret};
use barnabas_tests::traffic::Traffic;
use barnabas_tests::wait;

#[test]
fn a_session_key_is_replaced_before_its_limit_of_records() {
    let keys = sealed_under(("max_session_records", "1000"), 3000, numbered);
    let count = CONNECTIONS * 3000;
    assert!(keys.len() >= count / 1000, "{} keys", keys.len());
    assert!(keys.values().all(|used| used.records <= 1000), "{keys:?}");
    assert_eq!(keys.values().map(|used| used.records).sum::<usize>(), count);
}

#[test]
fn a_session_key_is_replaced_before_its_limit_of_bytes() {
    let large = |secret: &str, n, partition| {
        let plain = numbered(secret, n, partition);
        let value = format!("{secret} number {n}{}", "x".repeat(8192));
        Sent { value: Some(blob(value)), ..plain }
    };
    let keys = sealed_under(("max_session_bytes", "1MiB"), 200, large);
    let limit = 1 << 20;
    let bytes: usize = keys.values().map(|used| used.bytes).sum();
    assert!(bytes > 6 * limit, "{bytes} bytes");
    assert!(keys.len() > bytes / limit, "{} keys", keys.len());
    assert!(keys.values().all(|used| used.bytes <= limit), "{keys:?}");
}

#[test]
fn a_session_key_is_replaced_before_its_end() {
    let mut site = with_limit(("max_session_age", "10s"));
    let (topic, secret) = (site.broker().topic("sealed", CONNECTIONS as i32), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader"));
    let traffic = Traffic::start(&topic, &secret, &[(); CONNECTIONS].map(|()| alice.clone()), &[reader]);
    let broker = Endpoint::direct(site.broker());
    let used = || {
        let stored = rd::read_all(&broker, &topic);
        let mut keys: Vec<_> = stored.iter().filter_map(|got| key_id(&got.record)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    wait::until("several keys have come and gone", wait::PATIENCE, || {
        traffic.goes_on();
        (used().len() >= 3).then_some(())
    });
    let written = traffic.end();
    assert_eq!(site.gateway.metric("barnabas_records_refused_total"), 0.0);
    // What the keyring says about each key that was used: it ends in time.
    let objects = rd::read_all(&broker, site.home.keyring_topic());
    let objects = objects.iter().filter_map(|got| SignedObject::parse(&got.record.value.as_ref()?.0).ok());
    let ends: HashMap<[u8; 16], u64> = objects
        .filter_map(|object| match object.body() {
            Body::Announcement(one) => {
                let lasts = one.terms.not_after.millis() - one.terms.not_before.millis();
                Some((*one.key_id().as_bytes(), lasts))
            }
            _ => None,
        })
        .collect();
    for key in used() {
        assert!(ends.get(&key).is_some_and(|lasts| *lasts <= 10_000), "{ends:?}");
    }
    site.assert_sealed(&topic, written, &secret);
}

/// What one key has sealed.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    records: usize,
    bytes: usize,
}

/// Connections of one client write as fast as they can under a small limit; every record is there once. Tells what each key has
/// sealed, as the broker has it.
#[track_caller]
fn sealed_under(
    limit: (&str, &str),
    each: usize,
    record: impl Fn(&str, usize, i32) -> Sent + Sync,
) -> HashMap<[u8; 16], Used> {
    let mut site = with_limit(limit);
    let (topic, secret) = (site.sealed_topic(2), secret());
    let alice = site.client("alice");
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (alice, topic, secret, record) = (&alice, &topic, &secret, &record);
            scope.spawn(move || {
                let partition = (connection % 2) as i32;
                let numbers = (connection * each..).take(each);
                let records: Vec<_> = numbers.map(|n| record(secret, n, partition)).collect();
                for some in records.chunks(50) {
                    rd::produce(alice, topic, some, &[]);
                }
            });
        }
    });
    let count = CONNECTIONS * each;
    let read = rd::read_all(&site.client("reader"), &topic);
    assert_eq!(read.len(), count);
    let mut values: Vec<_> = read.iter().map(|record| record.record.value.clone()).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), count, "no record twice");
    assert_eq!(site.gateway.metric("barnabas_records_refused_total"), 0.0);
    site.assert_sealed(&topic, count, &secret);
    let mut keys: HashMap<[u8; 16], Used> = HashMap::new();
    for stored in rd::read_all(&Endpoint::direct(site.broker()), &topic) {
        let used = keys.entry(key_id(&stored.record).expect("a sealed value")).or_default();
        used.records += 1;
        used.bytes += stored.record.value.map_or(0, |value| value.0.len() - OVERHEAD);
    }
    keys
}

fn with_limit((name, value): (&str, &str)) -> Site {
    let small = |settings: Settings| Settings { limits: vec![(name.to_owned(), value.to_owned())], ..settings };
    Site::with(Broker::shared(), small)
}

/// Connections of one client, which share its session.
const CONNECTIONS: usize = 4;
