//! Promise: an operator sees whether each key management system answers and what it hides, and moves keys to another version or another
//! system while clients go on; a move that was cut off goes on where it stopped. On a real OpenBao, under the documented policies.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use barnabas_tests::clients::rd::{self, Producer};
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::gateway::{Gateway, binary};
use barnabas_tests::kms::Bench;
use barnabas_tests::kms::fault::Fault;
use barnabas_tests::kms::stand::{MAX_AGE, Stand};
use barnabas_tests::process::{Finished, Process};
use barnabas_tests::site::secret;
use barnabas_tests::traffic::Traffic;
use barnabas_tests::wait;

#[test]
fn check_tells_of_each_system_whether_it_answers_and_allows_and_how_long_that_took() {
    let mut stand = Stand::new("kms: bao");
    stand.site.gateway.expect_in_log("no usable answer");
    let sound = check(&stand.site.gateway, &[], 0);
    assert_eq!([&sound[0]["kms"], &sound[1]["kms"]], ["local", "bao"]);
    for row in &sound {
        assert_eq!((&row["result"], &row["detail"]), (&json!("ok"), &json!("")), "{row}");
        assert_eq!(row["chosen"], json!(row["kms"] == "bao"), "{row}");
    }
    assert!(sound[1]["millis"].as_u64().is_some_and(|millis| millis > 0), "{}", sound[1]);
    let table = stand.site.gateway.command(&["kms", "check"]).ok();
    assert!(table.stdout.contains("bao") && table.stdout.contains("ok"), "{}", table.text());
    assert_eq!(check(&stand.site.gateway, &["--kms", "local"], 0).len(), 1);
    let unknown = stand.site.gateway.command(&["kms", "check", "--kms", "nowhere"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", unknown.text());
    assert!(unknown.stderr.contains("bao"), "{}", unknown.text());

    stand.proxy.put(Fault::Refuse);
    let silent = check(&stand.site.gateway, &[], 69);
    assert_eq!([&silent[0]["result"], &silent[1]["result"]], ["ok", "network"], "{silent:?}");
    stand.proxy.put(Fault::Pass);

    stand.bao.deny_key("check");
    let denied = check(&stand.site.gateway, &[], 77);
    assert_eq!(denied[1]["result"], "kms", "{denied:?}");
    assert!(denied[1]["detail"].as_str().is_some_and(|text| text.contains("check")), "{denied:?}");
    check(&stand.site.gateway, &["--kms", "bao", "--key", "another"], 0);
    stand.bao.put_policy("vault");
    check(&stand.site.gateway, &[], 0);

    // A policy for keys with another prefix than the configuration has.
    stand.bao.put_policy_for("other-");
    let wrong = check(&stand.site.gateway, &["--kms", "bao", "--key", "another"], 77);
    assert_eq!(wrong[0]["result"], "kms", "{wrong:?}");
    stand.bao.put_policy("vault");

    stand.bao.end_credentials();
    let foreign = check(&stand.site.gateway, &[], 69);
    assert_eq!(foreign[1]["result"], "gateway", "{foreign:?}");
    stand.bao.renew_credentials();
    check(&stand.site.gateway, &[], 0);
}

#[test]
fn keys_in_a_namespace_are_used_from_there_and_check_says_when_it_is_the_wrong_one() {
    let mut stand = Stand::in_namespace("team", "kms: bao");
    let (topic, secret) = (stand.site.sealed_topic(1), secret());
    let [alice, reader] = ["alice", "reader-one"].map(|name| stand.site.client(name));
    let sent = [0, 1].map(|n| numbered(&secret, n, 0));
    rd::produce(&alice, &topic, &sent[..1], &[]);
    assert_same(&sent[..1], &rd::read_all(&reader, &topic));
    let sound = check(&stand.site.gateway, &["--kms", "bao"], 0);
    assert!(sound[0]["system"].as_str().is_some_and(|text| text.contains("namespace team")), "{sound:?}");

    // Nothing of it is above, and a key of the same name there changes nothing.
    let row = stand.row("User:alice");
    let key = format!("transit/keys/barnabas-{}", row["key"].as_str().expect("a name"));
    let status = |namespace| stand.bao.try_in(namespace, "GET", &key, &Value::Null).0;
    assert_eq!([status(Some("team")), status(None)], [200, 404]);
    assert!(stand.bao.try_in(None, "POST", &key, &json!({})).0 < 300);
    stand.site.gateway.terminate();
    stand.site.gateway.restart();
    rd::produce(&alice, &topic, &sent[1..], &[]);
    assert_same(&sent, &rd::read_all(&reader, &topic));
    stand.site.assert_sealed(&topic, 2, &secret);

    let text = fs::read_to_string(stand.site.gateway.config()).expect("the harness wrote it");
    for (wrong, named) in [("namespace: taem", "taem"), ("", "root namespace")] {
        let config = stand.site.home.write("wrong.yaml", &text.replace("namespace: team", wrong));
        let checked = stand.site.home.barnabas(&["kms", "check", "--kms", "bao"], Some(&config));
        assert_eq!(checked.status.code(), Some(69), "{}", checked.text());
        assert!(checked.stderr.contains("namespace") && checked.stderr.contains(named), "{}", checked.text());
        println!("{}", checked.stderr);
    }
}

#[test]
fn everything_moves_to_another_system_and_back_while_clients_go_on() {
    let mut stand = Stand::new("outage_grace: 1h");
    let (topic, secret) = (stand.site.broker().topic("sealed", 2), secret());
    let [alice, writer, reader] = ["alice", "writer-one", "reader-one"].map(|name| stand.site.client(name));
    let traffic = Traffic::start(&topic, &secret, &[alice, writer], &[reader]);
    let all = stand.hidden_by("local");
    assert!(all >= 4, "three clients and an epoch: {all}");
    let row = stand.row("User:alice");
    assert_eq!((&row["kind"], &row["age_days"]), (&json!("client"), &json!(0)));
    assert!(row["created"].is_string(), "{row}");

    let dry = rotate(&stand.site.gateway, &["--to", "bao", "--dry-run"]);
    assert!(dry.stdout.contains("client User:alice"), "{}", dry.text());
    assert!(dry.stdout.contains(&format!("{all} to be hidden anew")), "{}", dry.text());
    assert_eq!((stand.hidden_by("local"), stand.hidden_by("bao")), (all, 0), "a dry run does nothing");
    traffic.goes_on();

    let there = rotate(&stand.site.gateway, &["--to", "bao"]);
    assert!(there.stdout.contains(&format!("{all} hidden anew")), "{}", there.text());
    assert!(there.stderr.contains("custody: { kms: bao }"), "new ones still go elsewhere: {}", there.text());
    assert_eq!((stand.hidden_by("local"), stand.hidden_by("bao")), (0, all));
    assert_eq!(stand.row("User:alice")["version"], "v1");
    // What counts now is OpenBao's word: a key that it denies stops its client.
    traffic.goes_on();
    let again = rotate(&stand.site.gateway, &["--to", "bao"]);
    assert!(again.stdout.starts_with("0 hidden anew"), "{}", again.text());
    let other = stand.site.sealed_topic(1);
    rd::produce(&stand.site.client("alice"), &other, &[numbered(&secret, 0, 0)], &[]);
    traffic.goes_on();

    rotate(&stand.site.gateway, &["--to", "local"]);
    assert_eq!(stand.hidden_by("bao"), 0);
    stand.bao.stop();
    wait::until_true("OpenBao counts as gone", || stand.site.gateway.metric("barnabas_kms_up") == 0.0);
    assert_eq!(stand.site.gateway.admin("/readyz").0, 200, "nothing is there any more");
    traffic.goes_on();
    let written = traffic.end();
    stand.site.gateway.terminate();
    stand.site.gateway.restart();
    assert_eq!(rd::read_all(&stand.site.client("reader-two"), &topic).len(), written);
    stand.site.assert_sealed(&topic, written, &secret);
}

#[test]
fn a_move_that_was_killed_goes_on_where_it_stopped() {
    let mut stand = Stand::new("outage_grace: 1h");
    let (busy, secret) = (stand.site.sealed_topic(1), secret());
    let [alice, writer, reader] = ["alice", "writer-one", "reader-one"].map(|name| stand.site.client(name));
    let traffic = Traffic::start(&busy, &secret, &[writer], &[reader]);
    // An epoch for each topic: several transactions of the move.
    let topics: Vec<String> = (0..TOPICS).map(|_| stand.site.sealed_topic(1)).collect();
    let mut producer = Producer::new(&alice, &[]);
    topics.iter().for_each(|topic| producer.send(topic, &numbered(&secret, 0, 0)));
    producer.placed();
    let all = stand.hidden_by("local");
    assert!(all > TOPICS, "{all}");

    stand.proxy.put(Fault::Slow(Duration::from_millis(400)));
    let mut moving = begin(&stand.site.gateway, &["kms", "rotate", "--to", "bao"]);
    let moved = wait::until("a part of it has moved", wait::PATIENCE, || {
        Some(stand.hidden_by("bao")).filter(|moved| *moved > 0)
    });
    assert!(moving.is_running(), "it was not killed in the middle: {}", moving.output());
    moving.kill();
    stand.proxy.put(Fault::Pass);
    let moved = moved.max(stand.hidden_by("bao"));
    assert!(moved < all, "{moved} of {all}");
    traffic.goes_on();

    let rest = rotate(&stand.site.gateway, &["--to", "bao"]);
    let count: usize = rest.stdout.split(' ').next().and_then(|count| count.parse().ok()).expect("a number");
    assert!(count < all && count + moved <= all, "{count} after {moved} of {all}: {}", rest.text());
    assert_eq!(stand.hidden_by("local"), 0);
    assert_eq!(stand.hidden_by("bao"), all);
    traffic.goes_on();
    for topic in topics.iter().step_by(5) {
        assert_same(&[numbered(&secret, 0, 0)], &rd::read_all(&alice, topic));
    }
    let written = traffic.end();
    stand.site.assert_sealed(&busy, written, &secret);
}

#[test]
fn after_a_new_version_of_a_key_everything_is_hidden_by_it_and_the_old_version_can_be_forbidden() {
    let mut stand = Stand::new("kms: bao");
    let (topic, secret) = (stand.site.broker().topic("sealed", 2), secret());
    let [alice, writer, reader] = ["alice", "writer-one", "reader-one"].map(|name| stand.site.client(name));
    let traffic = Traffic::start(&topic, &secret, &[alice, writer], &[reader]);
    let row = stand.row("User:alice");
    assert_eq!((&row["kms"], &row["version"]), (&json!("bao"), &json!("v1")), "{row}");
    let epoch = stand.inventory().into_iter().find(|row| row["kind"] == "epoch").expect("the topic has an epoch");
    let keys = [&row, &epoch].map(|row| row["key"].as_str().expect("a name").to_owned());
    for key in &keys {
        stand.bao.operate("POST", &format!("transit/keys/barnabas-{key}/rotate"), &json!({}));
    }
    let dry = rotate(&stand.site.gateway, &["--dry-run"]);
    assert!(dry.stdout.contains("2 to be hidden anew"), "{}", dry.text());
    let done = rotate(&stand.site.gateway, &[]);
    assert!(done.stdout.starts_with("2 hidden anew"), "{}", done.text());
    assert_eq!(stand.row("User:alice")["version"], "v2");
    assert_eq!(stand.row("User:writer-one")["version"], "v1");
    let newest = stand.hidden_seed("User:alice").1;
    assert!(newest.key.ends_with(&keys[0]), "{}", newest.key);
    for key in &keys {
        let least = json!({ "min_decryption_version": 2 });
        stand.bao.operate("POST", &format!("transit/keys/barnabas-{key}/config"), &least);
    }
    // An old wrap would be refused for good now, whatever the grace of an outage.
    let asked = Instant::now();
    while asked.elapsed() < 2 * MAX_AGE {
        traffic.goes_on();
    }
    assert!(rotate(&stand.site.gateway, &[]).stdout.starts_with("0 hidden anew"));
    let written = traffic.end();
    stand.site.gateway.terminate();
    stand.site.gateway.restart();
    rd::produce(&stand.site.client("alice"), &topic, &[numbered(&secret, written, 0)], &[]);
    assert_eq!(rd::read_all(&stand.site.client("reader-two"), &topic).len(), written + 1);
    let written = written + 1;
    stand.site.assert_sealed(&topic, written, &secret);
}

/// Rows of `kms check`, which must end with this code.
#[track_caller]
fn check(gateway: &Gateway, words: &[&str], code: i32) -> Vec<Value> {
    let checked = gateway.command(&[&["kms", "check", "--output", "json"], words].concat());
    assert_eq!(checked.status.code(), Some(code), "{}", checked.text());
    assert_eq!(checked.stderr.is_empty(), code == 0, "{}", checked.text());
    serde_json::from_str(&checked.stdout).unwrap_or_else(|e| panic!("{e}: {}", checked.text()))
}

#[track_caller]
fn rotate(gateway: &Gateway, words: &[&str]) -> Finished {
    gateway.command(&[&["kms", "rotate"], words].concat()).ok()
}

/// A command that may be killed.
fn begin(gateway: &Gateway, words: &[&str]) -> Process {
    let mut command = Command::new(binary());
    command.args(words).arg("--config").arg(gateway.config());
    Process::start("barnabas", &command, &gateway.config().with_extension("command.log"))
}

/// With their epochs three transactions of a move.
const TOPICS: usize = 45;
