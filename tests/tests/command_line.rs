//! What an operator does by hand: every mistake of a configuration in one run, help that teaches, lists that scripts can read.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::gateway::binary;
use barnabas_tests::scratch::Scratch;
use barnabas_tests::site::{Site, secret};

fn barnabas(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn written(folder: &Scratch, yaml: &str) -> PathBuf {
    folder.write("gateway.yaml", yaml)
}

#[test]
fn check_tells_all_mistakes_at_once_with_their_paths_and_ends_with_64() {
    let folder = Scratch::new("mistakes");
    let config = written(
        &folder,
        "listeners:\n  - name: main\n    bind: nowhere\n    cluster: missing\n    brokers: { by: port, first_port: 70000, count: 3 }\n    \
         tls: off\n    colour: blue\nclusters:\n  - name: primary\n    bootstrap_servers: []\n    tls: off\nstreams:\n  rules:\n    - { \
         pattern: '(', seal: true }\n",
    );
    let checked = barnabas(&["check", "--config", &config.display().to_string()]);
    let text = said(&checked);
    assert_eq!(checked.status.code(), Some(64), "{text}");
    for path in
        ["listeners[0].bind", "listeners[0].colour", "first_port", "bootstrap_servers", "streams.default", "pattern"]
    {
        assert!(text.contains(path), "{path} is not told:\n{text}");
    }
}

#[test]
fn serve_with_a_mistake_binds_nothing_and_ends_with_64() {
    let folder = Scratch::new("mistakes");
    let port = barnabas_tests::ports::block(4);
    let config = written(
        &folder,
        &format!(
            "listeners:\n  - {{ name: main, bind: '127.0.0.1:{port}', cluster: primary, tls: off, brokers: {{ by: port, first_port: {}, \
             count: 2 }} }}\nclusters:\n  - {{ name: primary, bootstrap_servers: ['127.0.0.1:1'], tls: off }}\n",
            port + 1
        ),
    );
    let _held = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let served = barnabas(&["serve", "--config", &config.display().to_string()]);
    assert_eq!(served.status.code(), Some(64), "{}", said(&served));
    assert!(said(&served).contains("default"), "{}", said(&served));
}

#[test]
fn every_command_teaches_by_its_help() {
    let commands = [
        &["init"][..],
        &["serve"],
        &["check"],
        &["client"],
        &["client", "add"],
        &["client", "list"],
        &["client", "remove"],
        &["stream"],
        &["stream", "seal"],
        &["stream", "list"],
        &["stream", "show"],
        &["grant", "add"],
        &["grant", "list"],
        &["grant", "revoke"],
        &["epoch", "rotate"],
        &["epoch", "list"],
        &["keyring", "verify"],
        &["keyring", "export"],
        &["keyring", "import"],
        &["steward"],
        &["inspect"],
        &["completions"],
    ];
    for command in commands {
        let help = barnabas(&[command, &["--help"]].concat());
        let text = said(&help);
        assert_eq!(help.status.code(), Some(0), "{command:?}: {text}");
        assert!(text.contains("barnabas"), "{command:?} has no example:\n{text}");
    }
    assert_eq!(barnabas(&["no-such-command"]).status.code(), Some(2));
    assert_eq!(barnabas(&["--version"]).status.code(), Some(0));
}

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
    barnabas_tests::clients::record::assert_same(&records, &rd::read_all(&site.client("reader"), &topic));
    site.assert_sealed(&topic, 2, &secret);
}
