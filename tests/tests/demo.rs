//! `barnabas demo`, which needs neither a broker nor Java: every step of the show happens, is checked by the binary itself, and is told.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use barnabas_tests::gateway::binary;
use barnabas_tests::scratch::Scratch;

const STEPS: usize = 6;

/// What alice writes; the broker must not have it.
const PLAINTEXT: &str = "4111 1111 1111 1111";

fn demo(folder: &Scratch, arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new(binary());
    command.arg("demo").args(arguments).env("TMPDIR", folder.path());
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

fn only_entry(folder: &Scratch) -> PathBuf {
    let entries = fs::read_dir(folder.path()).expect("the temporary folder can be read");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let path = paths.next().expect("the demo leaves its folder");
    assert_eq!(paths.next(), None, "the demo leaves one folder only");
    path
}

#[test]
fn the_demo_shows_that_the_broker_cannot_read_and_ends_with_0() {
    let folder = Scratch::new("demo");
    let (output, text) = demo(&folder, &["--once"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    assert_eq!(errors, "", "nothing is wrong, so nothing is said about it");

    let begins = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let steps: Vec<&str> = text.lines().filter(begins).collect();
    let checked = text.lines().filter(|line| line.starts_with("     ok ")).count();
    assert_eq!((steps.len(), checked), (STEPS, STEPS), "{text}");
    // Written by alice, read by bob, and nowhere else.
    assert_eq!(text.matches(PLAINTEXT).count(), 2, "{text}");
    for told in [
        "magic",
        "AES-256-GCM",
        "key id",
        "lane",
        "sequence",
        "ciphertext",
        "tag",
        "Topic authorization failed",
        "topic orders, partition 0, offset 1: record fails authentication",
        "nothing was changed, removed, inserted or moved",
        "where User:eve became User:ann: entry",
    ] {
        assert!(text.contains(told), "{told:?} is not told:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "colours are for terminals:\n{text}");
    assert!(text.lines().count() < 50, "more than a screenful:\n{text}");
}

#[test]
fn the_demo_leaves_a_configuration_that_is_sound_and_a_log_without_the_plaintext() {
    let folder = Scratch::new("demo");
    let (output, text) = demo(&folder, &["--once"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let left = only_entry(&folder);
    let checked = Command::new(binary()).arg("check").arg("--config").arg(left.join("barnabas.yaml")).output();
    let checked = checked.expect("the binary runs");
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    let log = fs::read_to_string(left.join("gateway.log")).expect("the gateway has a log");
    let alarms = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
    let alarms: Vec<&str> = log.lines().filter(alarms).collect();
    assert_eq!(alarms.len(), 2, "eve is refused and the forged record is refused, nothing else:\n{alarms:#?}");
    assert!(alarms.iter().all(|line| line.contains("fetch_refused")), "{alarms:#?}");
    assert!(!log.contains(PLAINTEXT));
}

#[test]
fn a_demo_that_cannot_start_says_why_and_does_not_end_with_0() {
    let folder = Scratch::new("demo");
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = held.local_addr().expect("an address").port();
    assert!(port <= 65_000, "the system gives no higher ports to listeners without a wish");
    let (output, text) = demo(&folder, &["--once", "--port", &port.to_string()]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{text}\n{errors}");
    assert!(errors.contains(&port.to_string()), "{errors}");
    assert!(!text.contains("     ok "), "{text}");
}
