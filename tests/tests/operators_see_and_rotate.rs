//! Promise: an operator sees who may do what, as a table or as JSON, and rotates keys while clients go on.

use std::collections::HashMap;

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::gateway::Settings;
use barnabas_tests::site::{Site, secret};

#[test]
fn lists_are_tables_for_people_and_json_for_scripts() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    assert_eq!(rd::read_all(&site.client("reader"), &topic).len(), 1);
    for (command, wanted) in [
        (&["client", "list"][..], "User:alice"),
        (&["stream", "list"], topic.as_str()),
        (&["grant", "list"], "User:reader"),
        (&["epoch", "list"], topic.as_str()),
    ] {
        let json = site.gateway.command(&[command, &["--output", "json"]].concat()).ok().stdout;
        let parsed: serde_json::Value =
            serde_json::from_str(&json).unwrap_or_else(|e| panic!("{command:?}: {e}: {json}"));
        assert!(parsed.is_array() || parsed.is_object());
        assert!(json.contains(wanted), "{command:?}: {json}");
        let table = site.gateway.command(command).ok().stdout;
        assert!(table.contains(wanted) && !table.contains('\u{1b}'), "{command:?}: {table}");
    }
    site.gateway.command(&["keyring", "verify"]).ok();
}

#[test]
fn a_session_key_is_replaced_before_its_limit_while_many_connections_use_it() {
    let small = |settings: Settings| Settings {
        limits: vec![("max_session_records".to_owned(), "1000".to_owned())],
        ..settings
    };
    let mut site = Site::with(Broker::shared(), small);
    let (topic, secret) = (site.sealed_topic(2), secret());
    let alice = site.client("alice");
    let sent = |thread: usize| (0..CONNECTION_RECORDS).map(move |index| (thread, index));
    std::thread::scope(|scope| {
        for thread in 0..CONNECTIONS {
            let (alice, topic, secret) = (&alice, &topic, &secret);
            scope.spawn(move || {
                let records: Vec<_> =
                    sent(thread).map(|(_, index)| numbered(secret, thread * CONNECTION_RECORDS + index, 0)).collect();
                for some in records.chunks(100) {
                    rd::produce(alice, topic, some, &[]);
                }
            });
        }
    });
    let count = CONNECTIONS * CONNECTION_RECORDS;
    let read = rd::read_all(&site.client("reader"), &topic);
    assert_eq!(read.len(), count);
    let mut values: Vec<_> = read.iter().map(|record| record.record.value.clone()).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), count, "no record twice");
    site.assert_sealed(&topic, count, &secret);
    let mut by_key: HashMap<[u8; 16], usize> = HashMap::new();
    for record in
        (0..2).flat_map(|partition| site.broker().batches(&topic, partition)).flat_map(|batch| batch.records().to_vec())
    {
        let key: [u8; 16] = record.value.as_ref().unwrap()[4..20].try_into().unwrap();
        *by_key.entry(key).or_default() += 1;
    }
    assert!(by_key.len() >= count / 1000, "{} keys", by_key.len());
    assert!(by_key.values().all(|records| *records <= 1000), "{by_key:?}");
}

/// Connections of one client, which share its session.
const CONNECTIONS: usize = 4;
/// Three times what a session may seal, all of them together twelve times.
const CONNECTION_RECORDS: usize = 3000;

#[test]
fn a_rotated_epoch_is_used_by_writers_at_once_and_readers_follow() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    let records = [numbered(&secret, 0, 0), numbered(&secret, 1, 0)];
    rd::produce(&alice, &topic, &records[..1], &[]);
    site.gateway.command(&["epoch", "rotate", "--topic", &topic]).ok();
    rd::produce(&alice, &topic, &records[1..], &[]);
    assert_same(&records, &rd::read_all(&site.client("reader"), &topic));
    site.assert_sealed(&topic, 2, &secret);
}
