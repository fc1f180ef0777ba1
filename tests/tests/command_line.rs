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
fn check_looks_into_the_files_that_the_kms_section_names() {
    let folder = Scratch::new("kms-files");
    let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    for (name, text) in [
        ("ca.pem", "no certificate".to_owned()),
        ("own.pem", own.cert.pem()),
        ("other.key", other.signing_key.serialize_pem()),
        ("empty", "\n".to_owned()),
        ("gcp.json", "not json, but hunter2".to_owned()),
    ] {
        folder.write(name, text);
    }
    let config = written(
        &folder,
        "listeners: [{ name: main, bind: '127.0.0.1:1', cluster: primary, tls: off, brokers: { by: port, first_port: 2, count: 2 } }]\n\
         clusters: [{ name: primary, bootstrap_servers: ['127.0.0.1:1'], tls: off }]\nstreams: { default: pass }\nkms:\n  \
         vault: { type: vault, endpoint: 'https://localhost', tls: { ca: ca.pem }, auth: { token: { file: empty } } }\n  \
         kmip: { type: kmip, address: 'localhost:5696', tls: { certificate: own.pem, private_key: other.key } }\n  \
         google: { type: gcp, key_ring: projects/p/locations/l/keyRings/r, credentials: { file: gcp.json } }\n",
    );
    let checked = barnabas(&["check", "--config", &config.display().to_string()]);
    let text = said(&checked);
    assert_eq!(checked.status.code(), Some(64), "{text}");
    for told in
        ["kms.vault.tls", "ca.pem", "kms.vault.auth", "kms.kmip.tls", "own.pem", "kms.google.credentials", "JSON"]
    {
        assert!(text.contains(told), "{told} is not told:\n{text}");
    }
    assert!(!text.contains("hunter2"), "a secret is told:\n{text}");
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
        &["kms", "check"],
        &["kms", "inventory"],
        &["kms", "rotate"],
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
