//! What an operator does with `barnabas client|stream|grant|epoch|keyring|steward|inspect`, and what running gateways make of it
//! at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::{Gateway, Home, Rule, Settings, binary, is_control_run};
use barnabas_tests::process::{Process, Signal};
use barnabas_tests::scratch::unique;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait::{self, PATIENCE};

#[test]
fn a_removed_client_writes_and_reads_no_more_and_what_it_wrote_stays_readable() {
    let mut site = Site::new();
    site.gateway.expect_in_log("may not write");
    site.gateway.expect_in_log("no grant");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader"));
    let records = [numbered(&secret, 0, 0)];
    rd::produce(&alice, &topic, &records, &[]);
    for expected in ["has identity", "already"] {
        let said = site.gateway.command(&["client", "add", "--principal", "User:carol"]).ok();
        assert!(said.stdout.contains(expected), "{}", said.text());
    }
    let clients = json(&site.gateway, &["client", "list"]);
    let carol = find(&clients, "principal", "User:carol");
    assert_eq!((&carol["custody"], &carol["by"]), (&"gateway".into(), &"command".into()));
    assert_eq!(find(&clients, "principal", "User:alice")["by"], "policy");

    let removed = site.gateway.command(&["client", "remove", "--principal", "User:alice"]).ok();
    assert!(removed.stdout.contains("stays readable"), "{}", removed.text());
    wait::until_true("the removed client may not write", || {
        rd::try_produce(&alice, &topic, &numbered("more", 1, 0)).is_err()
    });
    assert!(rd::read(&alice, &topic, &[]).error.is_some());
    let read = rd::read_all(&reader, &topic);
    assert_same(&records, &read[..1]);
    let grants = json(&site.gateway, &["grant", "list", "--topic", &topic, "--principal", "User:alice"]);
    assert!(rows(&grants).iter().all(|grant| grant["state"] == "revoked"), "{grants}");
}

#[test]
fn rights_by_command_hold_at_once_and_survive_being_taken_and_given_again() {
    let mut site = Site::new();
    site.gateway.expect_in_log("may not write");
    site.gateway.expect_in_log("no grant");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, till) = (site.client("alice"), site.client("mallory"));
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    assert!(rd::try_produce(&till, &topic, &numbered(&secret, 1, 0)).is_err());
    let grant = |words: &[&str]| {
        let rest = ["--topic", &topic, "--principal", "User:mallory"];
        site.gateway.command(&[&["grant"], words, &rest].concat()).ok();
    };
    let mut written = 1;
    for _ in 0..2 {
        grant(&["add", "--right", "write"]);
        wait::until_true("the grant to write holds", || {
            rd::try_produce(&till, &topic, &numbered(&secret, written, 0)).is_ok()
        });
        written += 1;
        grant(&["revoke", "--right", "write"]);
        wait::until_true("the grant to write has ended", || {
            let outcome = rd::try_produce(&till, &topic, &numbered(&secret, written, 0));
            written += usize::from(outcome.is_ok());
            outcome.is_err()
        });
    }
    let of_all = rd::read_all(&alice, &topic);
    assert_eq!(of_all.len(), written, "what a revoked writer wrote stays readable");

    assert!(rd::read(&till, &topic, &[]).error.is_some());
    grant(&["add", "--from-epoch", "0"]);
    wait::until_true("the grant to read holds", || rd::read(&till, &topic, &[]).records.len() == written);
    grant(&["revoke"]);
    wait::until_true("the grant to read has ended", || {
        rd::read(&till, &topic, &[]).error == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
    });
    let again = site.gateway.command(&["grant", "revoke", "--topic", &topic, "--principal", "User:mallory"]);
    assert_eq!(again.status.code(), Some(1), "{}", again.text());
    site.assert_sealed(&topic, written, &secret);
}

#[test]
fn who_loses_and_regains_its_rule_loses_and_regains_its_right() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    site.gateway.expect_in_log("may not write");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, writer, reader) = (site.client("alice"), site.client("writer"), site.client("reader"));
    rd::produce(&writer, &topic, &[numbered(&secret, 0, 0)], &[]);
    assert_eq!(rd::read_all(&reader, &topic).len(), 1);
    site.gateway.reload(|settings| settings.rules = vec![Rule::sealed_pattern("sealed.*", "User:alice", "User:alice")]);
    wait::until_true("the reader has lost its right", || {
        rd::read(&reader, &topic, &[]).error == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
    });
    site.gateway.wait_for_log("steward_withdrew");
    assert!(rd::try_produce(&writer, &topic, &numbered(&secret, 1, 0)).is_err());
    let grants = json(&site.gateway, &["grant", "list", "--topic", &topic, "--principal", "User:reader"]);
    assert!(rows(&grants).iter().all(|grant| grant["state"] == "ended" && grant["by"] == "command"), "{grants}");
    rd::produce(&alice, &topic, &[numbered(&secret, 1, 0)], &[]);
    site.gateway.reload(|settings| {
        settings.rules = vec![Rule::sealed_pattern("sealed.*", "User:(alice|writer)", "User:(alice|reader)")];
    });
    wait::until_true("the writer has its right again", || {
        rd::try_produce(&writer, &topic, &numbered(&secret, 2, 0)).is_ok()
    });
    wait::until_true("the reader has its right again", || rd::read(&reader, &topic, &[]).records.len() == 3);
    // A change of the configuration while no gateway runs counts as well.
    site.gateway.terminate();
    let config = fs::read_to_string(site.gateway.config()).expect("a configuration");
    fs::write(site.gateway.config(), config.replace("User:(alice|reader)", "User:alice")).expect("can be written");
    site.gateway.restart();
    wait::until_true("the reader has lost its right", || {
        rd::read(&reader, &topic, &[]).error == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
    });
    site.gateway.command(&["keyring", "verify"]).ok();
}

#[test]
fn a_stream_is_made_and_shown_and_its_epochs_are_listed() {
    let site = Site::new();
    let topic = site.sealed_topic(1);
    let open = site.gateway.command(&["stream", "seal", "--topic", "open-to-all"]);
    assert_eq!(open.status.code(), Some(1), "{}", open.text());
    let missing = site.gateway.command(&["stream", "show", "--topic", &topic]);
    assert_eq!(missing.status.code(), Some(1), "{}", missing.text());
    for expected in ["from now on", "already"] {
        let sealed = site.gateway.command(&["stream", "seal", "--topic", &topic]).ok();
        assert!(sealed.stdout.contains(expected), "{}", sealed.text());
    }
    site.gateway.command(&["epoch", "rotate", "--topic", &topic]).ok();
    let shown = json(&site.gateway, &["stream", "show", "--topic", &topic]);
    assert_eq!((&shown["epoch"], &shown["floor"], &shown["rule"]), (&1.into(), &0.into(), &"seal".into()), "{shown}");
    let epochs = json(&site.gateway, &["epoch", "list", "--topic", &topic]);
    let states: Vec<_> = rows(&epochs).iter().map(|epoch| epoch["state"].as_str()).collect();
    assert_eq!(states, [Some("open"), Some("current")]);
    let table = site.gateway.command(&["stream", "list"]).ok().stdout;
    assert!(table.contains(&topic) && table.starts_with("TOPIC"), "{table}");
}

#[test]
fn an_export_fills_an_empty_keyring_and_the_records_open_with_it() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader"));
    let records: Vec<_> = (0..5).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&reader, &topic));
    let export = site.home.folder().join("keyring.export");
    let export_text = export.display().to_string();
    site.gateway.command(&["keyring", "export", &export_text]).ok();
    let again = site.gateway.command(&["keyring", "export", &export_text]);
    assert_eq!(again.status.code(), Some(73), "{}", again.text());
    site.gateway.command(&["keyring", "verify", "--file", &export_text]).ok();

    // The topic is lost: another one takes its place, with the same keys.
    site.gateway.terminate();
    let other = unique("keyring");
    let config = fs::read_to_string(site.gateway.config()).expect("a configuration");
    fs::write(site.gateway.config(), config.replace(site.home.keyring_topic(), &other)).expect("can be written");
    let lost = site.gateway.command(&["keyring", "verify"]);
    assert_eq!(lost.status.code(), Some(69), "{}", lost.text());
    for expected in [" 0 were there already", "0 objects published"] {
        let imported = site.gateway.command(&["keyring", "import", &export_text]).ok();
        assert!(imported.stdout.contains(expected), "{}", imported.text());
    }
    let verified = json(&site.gateway, &["keyring", "verify"]);
    assert_eq!(verified["refused"], Value::Array(vec![]), "{verified}");
    assert_eq!(verified["objects"]["announcement"], 1, "{verified}");
    site.gateway.restart();
    assert_same(&records, &rd::read_all(&reader, &topic));

    let bytes = fs::read(&export).expect("an export");
    let cut = site.home.folder().join("cut.export");
    fs::write(&cut, &bytes[..bytes.len() - 1]).expect("can be written");
    let damaged = site.gateway.command(&["keyring", "import", &cut.display().to_string()]);
    assert_eq!(damaged.status.code(), Some(65), "{}", damaged.text());
}

#[test]
fn what_is_forged_in_the_keyring_is_found_and_an_unreachable_cluster_is_told() {
    let mut site = Site::new();
    site.gateway.expect_in_log("keyring_object_refused");
    site.gateway.command(&["client", "add", "--principal", "User:carol"]).ok();
    site.gateway.command(&["keyring", "verify"]).ok();
    publish(site.broker(), site.home.keyring_topic(), "identity/00112233445566778899aabbccddeeff", Some(b"forged"));
    let verified = site.gateway.command(&["keyring", "verify", "--output", "json"]);
    assert_eq!(verified.status.code(), Some(65), "{}", verified.text());
    let report: Value = serde_json::from_str(&verified.stdout).expect("one JSON document");
    assert_eq!(rows(&report["refused"]).len(), 1, "{report}");
    assert_eq!(report["refused"][0]["reason"], "malformed");
    let config = fs::read_to_string(site.gateway.config()).expect("a configuration");
    let nowhere = site.home.write("nowhere.yaml", &config.replace(site.broker().address(), "127.0.0.1:1"));
    let told = site.home.barnabas(&["client", "list"], Some(&nowhere));
    assert_eq!(told.status.code(), Some(69), "{}", told.text());
}

#[test]
fn a_steward_alone_answers_what_gateways_ask_for_and_its_policy_allows() {
    let mut site = Site::with(Broker::shared(), |settings| Settings { steward_embedded: false, ..settings });
    site.gateway.expect_in_log("reason");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader"));
    if is_control_run() {
        return;
    }
    let mut steward = Steward::start(&site.home, site.gateway.config());
    let records: Vec<_> = (0..3).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&reader, &topic));
    site.assert_sealed(&topic, 3, &secret);

    // Asked past the gateway for what no rule gives: refused, and cleared away.
    let keyring = site.home.keyring_topic().to_owned();
    let stream = format!("{{\"need\":\"stream\",\"topic\":\"{}\"}}", unique("open"));
    publish(site.broker(), &keyring, "request/stream/open", Some(stream.as_bytes()));
    publish(site.broker(), &keyring, "request/nonsense", Some(b"{}"));
    wait::until_true("the request was refused", || steward.log().matches("steward_request_refused").count() >= 2);
    site.gateway.command(&["keyring", "verify"]).ok();

    // Many at once: one transaction for all that wait.
    let producer = producer(site.broker());
    for n in 0..MANY {
        let (key, request) = (
            format!("request/identity/User:many-{n}"),
            format!("{{\"need\":\"identity\",\"principal\":\"User:many-{n}\"}}"),
        );
        let record = BaseRecord::to(&keyring).key(&key).partition(0).payload(&request);
        producer.send(record).unwrap_or_else(|(e, _)| panic!("not sent: {e}"));
    }
    producer.flush(PATIENCE).expect("acknowledged");
    wait::until_true("all were enrolled", || {
        let clients = json(&site.gateway, &["client", "list"]);
        rows(&clients)
            .iter()
            .filter(|client| client["principal"].as_str().is_some_and(|name| name.starts_with("User:many-")))
            .count()
            == MANY
    });
    steward.end();
}

#[test]
fn a_record_and_a_segment_are_opened_for_a_reader_and_for_nobody_else() {
    let mut site = Site::new();
    site.gateway.expect_in_log("no grant");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0), numbered(&secret, 1, 0)], &[]);
    assert_eq!(rd::read_all(&site.client("reader"), &topic).len(), 2);
    let segment = site.home.folder().join("segment.log");
    fs::write(&segment, site.broker().segments(&topic, 0)).expect("can be written");
    let segment = segment.display().to_string();
    let closed = json(&site.gateway, &["inspect", &segment]);
    assert!(rows(&closed).iter().all(|record| record["state"] == "sealed"), "{closed}");
    assert!(!closed.to_string().contains(&secret));
    let opened = json(&site.gateway, &["inspect", &segment, "--topic", &topic, "--open-as", "User:reader"]);
    assert!(rows(&opened).iter().all(|record| record["state"] == "opened"), "{opened}");
    assert!(opened.to_string().contains(&secret), "{opened}");
    let told = json(&site.gateway, &["inspect", &segment, "--topic", &topic]);
    assert!(
        rows(&told).iter().all(|record| record["note"].as_str().is_some_and(|note| note.contains("User:reader"))),
        "{told}"
    );
    site.gateway.command(&["client", "add", "--principal", "User:carol"]).ok();
    let denied = site.gateway.command(&["inspect", &segment, "--topic", &topic, "--open-as", "User:carol"]);
    assert_eq!(denied.status.code(), Some(77), "{}", denied.text());
    assert!(!denied.text().contains(&secret));
}

/// A `barnabas steward` of its own.
struct Steward {
    process: Process,
    log: PathBuf,
}

impl Steward {
    fn start(home: &Arc<Home>, config: &Path) -> Self {
        let log = home.folder().join(format!("{}.log", unique("steward")));
        let mut command = Command::new(binary());
        command.arg("steward").arg("--config").arg(config);
        let process = Process::start("steward", &command, &log);
        let steward = Self { process, log };
        wait::until_true("the steward works", || steward.log().contains("steward_started"));
        steward
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(&mut self) {
        self.process.signal(Signal::TERM);
        assert!(self.process.wait(PATIENCE).success(), "{}", self.process.tail());
    }
}

fn json(gateway: &Gateway, words: &[&str]) -> Value {
    let said = gateway.command(&[words, &["--output", "json"]].concat()).ok();
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}: {}", said.text()))
}

fn rows(list: &Value) -> &Vec<Value> {
    list.as_array().unwrap_or_else(|| panic!("not a list: {list}"))
}

fn find<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    rows(list).iter().find(|row| row[key] == value).unwrap_or_else(|| panic!("no {value} in {list}"))
}

/// Writes past the gateway into the keyring topic, as anyone could who may write there.
fn publish(broker: &Broker, topic: &str, key: &str, value: Option<&[u8]>) {
    let producer = producer(broker);
    let mut record = BaseRecord::to(topic).key(key).partition(0);
    record.payload = value;
    producer.send(record).unwrap_or_else(|(e, _)| panic!("not sent: {e}"));
    producer.flush(PATIENCE).expect("acknowledged");
}

fn producer(broker: &Broker) -> BaseProducer {
    rd::config(&Endpoint::direct(broker)).create().expect("librdkafka takes these settings")
}

/// Clients that come at the same moment.
const MANY: usize = 300;
