//! Promise: an operator sees who may do what, as a table or as JSON, and rotates keys while clients go on.

use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{assert_same, numbered};
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
