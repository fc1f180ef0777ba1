//! What an operator does by hand: every mistake of a configuration in one run, help that teaches, lists that scripts can read.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use barnabas_tests::gateway::binary;
use barnabas_tests::scratch::Scratch;

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
        &["credential"],
        &["credential", "add"],
        &["credential", "list"],
        &["credential", "remove"],
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
