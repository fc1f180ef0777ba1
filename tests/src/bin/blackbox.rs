//! `blackbox [--lanes N] [FILE...]`: builds the files of `tests/tests` and runs them, `N` side by side (2 without a word), each lane with a
//! broker and ports of its own. What a file says is shown when it is through, as `cargo test` would show it. Without a name: all files.
//!
//! Most tests wait most of the time, for a broker, a timeout, a clock: one after another they take more than twice as long.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs, thread};

use barnabas_tests::broker::{Broker, SITE_VARIABLE};
use barnabas_tests::ports::{self, RANGE_VARIABLE};
use barnabas_tests::scratch::{Scratch, root};
use serde_json::Value;

/// One file of `tests/tests`, built.
struct Suite {
    name: String,
    program: PathBuf,
}

fn main() -> ExitCode {
    let mut arguments: VecDeque<String> = env::args().skip(1).collect();
    let mut lanes = 2;
    if arguments.front().is_some_and(|argument| argument == "--lanes") {
        let count = arguments.drain(..2.min(arguments.len())).nth(1).and_then(|count| count.parse().ok());
        match count {
            Some(count @ 1..=16) => lanes = count,
            _ => return failed("--lanes wants a number from 1 to 16"),
        }
    }
    let mut suites = match build() {
        Ok(suites) => suites,
        Err(error) => return failed(&error),
    };
    if let Some(unknown) = arguments.iter().find(|name| !suites.iter().any(|suite| suite.name == **name)) {
        return failed(&format!("tests/tests has no {unknown}.rs"));
    }
    suites.retain(|suite| arguments.is_empty() || arguments.contains(&suite.name));
    let (waiting, bad) = (Mutex::new(suites), Mutex::new(Vec::new()));
    let parts = ports::parts(lanes + 1);
    ports::keep_to(&parts[0]);
    thread::scope(|scope| {
        for part in &parts[1..] {
            scope.spawn(|| lane(part, &waiting, &bad));
        }
    });
    let bad = bad.into_inner().unwrap_or_else(PoisonError::into_inner);
    if bad.is_empty() { ExitCode::SUCCESS } else { failed(&format!("failed: {}", bad.join(", "))) }
}

/// One after another, until none waits.
fn lane(ports: &str, waiting: &Mutex<VecDeque<Suite>>, bad: &Mutex<Vec<String>>) {
    let broker = Broker::start(&[]);
    let site = serde_json::to_string(broker.site()).expect("a site has a JSON form");
    let folder = Scratch::new("lane");
    loop {
        let Some(suite) = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
        let said = folder.join("said");
        let passed = run(&suite, &site, ports, &said);
        let text = fs::read(&said).unwrap_or_default();
        let mut shown = io::stdout().lock();
        let head = format!("     Running tests/{}.rs\n", suite.name);
        let _ = shown.write_all(head.as_bytes()).and_then(|()| shown.write_all(&text)).and_then(|()| shown.flush());
        if !passed {
            bad.lock().unwrap_or_else(PoisonError::into_inner).push(suite.name);
        }
    }
}

fn run(suite: &Suite, site: &str, ports: &str, said: &Path) -> bool {
    let out = File::create(said).expect("a file for what is said");
    let both = out.try_clone().expect("a second handle");
    let mut command = Command::new(&suite.program);
    command.current_dir(root().join("tests")).env(SITE_VARIABLE, site).env(RANGE_VARIABLE, ports);
    let status = command.stdin(Stdio::null()).stdout(out).stderr(both).status();
    status.unwrap_or_else(|e| panic!("cannot run {}: {e}", suite.program.display())).success()
}

/// All files, by name.
fn build() -> Result<VecDeque<Suite>, String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "-p", "barnabas-tests", "--no-run", "--message-format", "json-render-diagnostics"]);
    let built = cargo.stderr(Stdio::inherit()).output().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !built.status.success() {
        return Err("the tests do not build".to_owned());
    }
    let lines = built.stdout.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut suites: Vec<Suite> = messages.filter_map(suite).collect();
    if suites.is_empty() {
        return Err("cargo has built no test".to_owned());
    }
    suites.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(suites.into())
}

/// Of cargo's messages those that name a built test, also that of the harness itself.
fn suite(message: Value) -> Option<Suite> {
    let program = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?;
    let name = message["target"]["name"].as_str()?;
    Some(Suite { name: name.to_owned(), program: program.into() })
}

fn failed(what: &str) -> ExitCode {
    eprintln!("blackbox: {what}");
    ExitCode::FAILURE
}
