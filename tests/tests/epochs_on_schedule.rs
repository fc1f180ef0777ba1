//! Promise: epochs follow each other by the clock, on every stream as its rule says; clients that write and read meanwhile lose nothing,
//! get nothing twice and hear of no error.

use std::time::{Duration, Instant};

use serde_json::Value;

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::Settings;
use barnabas_tests::site::{Site, key_id, secret};
use barnabas_tests::traffic::Traffic;
use barnabas_tests::wait;

#[test]
fn epochs_follow_each_other_by_the_clock_and_clients_notice_nothing() {
    let short = |mut settings: Settings| {
        settings.rules.iter_mut().for_each(|rule| rule.extra.push("epoch_lifetime: 1m".to_owned()));
        settings
    };
    let mut site = Site::with(Broker::shared(), short);
    let (topic, secret) = (site.broker().topic("sealed", 2), secret());
    let [alice, writer, reader] = ["alice", "writer-one", "reader-one"].map(|name| site.client(name));
    let traffic = Traffic::start(&topic, &secret, &[alice, writer], &[reader]);
    let first = epochs(&site, &topic).len();
    let begun = Instant::now();
    for round in 1..=ROUNDS {
        wait::until("the next epoch is there", wait::PATIENCE, || {
            traffic.goes_on();
            (epochs(&site, &topic).len() >= first + round).then_some(())
        });
    }
    assert!(begun.elapsed() > Duration::from_secs(40), "two epochs of a minute in {:?}", begun.elapsed());
    traffic.goes_on();
    let written = traffic.end();
    // The keys of each epoch have sealed something, and who comes later reads all of it.
    let sessions = sessions_of(&site, &topic);
    assert!(sessions >= 2 * (ROUNDS + 1), "{sessions} sessions");
    assert_eq!(rd::read_all(&site.client("reader-two"), &topic).len(), written);
    assert_eq!(site.gateway.metric("barnabas_records_refused_total"), 0.0);
    site.assert_sealed(&topic, written, &secret);
}

#[test]
fn a_shorter_lifetime_that_is_reloaded_holds_for_the_epoch_that_there_is() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    assert_eq!(epochs(&site, &topic).len(), 1);
    site.gateway.reload(|settings| {
        settings.rules.iter_mut().for_each(|rule| rule.extra.push("epoch_lifetime: 1m".to_owned()));
    });
    wait::until_true("the next epoch is there", || epochs(&site, &topic).len() > 1);
    rd::produce(&alice, &topic, &[numbered(&secret, 1, 0)], &[]);
    assert_eq!(rd::read_all(&site.client("reader"), &topic).len(), 2);
    site.assert_sealed(&topic, 2, &secret);
}

fn epochs(site: &Site, topic: &str) -> Vec<Value> {
    let listed = site.gateway.command(&["epoch", "list", "--topic", topic, "--output", "json"]).ok();
    let rows: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {}", listed.text()));
    rows.as_array().cloned().unwrap_or_default()
}

/// How many session keys have sealed records of the topic, as the broker has them.
fn sessions_of(site: &Site, topic: &str) -> usize {
    let stored = rd::read_all(&Endpoint::direct(site.broker()), topic);
    let mut keys: Vec<_> = stored.iter().filter_map(|got| key_id(&got.record)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}

/// Rotations that are waited for.
const ROUNDS: usize = 2;
