//! Promise: the report of a period tells what happened in it, exactly and from the log alone: who could, who did, who was refused, whose right
//! ended and how fast, which keys there were, what is missing. A log that was tampered with has no report.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use rdkafka::error::RDKafkaErrorCode;

use barnabas_tests::audit::AuditLog;
use barnabas_tests::broker::Broker;
use barnabas_tests::browser::Browser;
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::gateway::binary;
use barnabas_tests::scratch::Scratch;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;

/// Rows of a CSV file without its titles; no cell of this story has a comma in it.
fn csv(folder: &std::path::Path, name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn report(log: &AuditLog, folder: &Scratch, name: &str) -> Output {
    let mut command = Command::new(binary());
    command.args(["audit", "report"]).arg(log.folder());
    command.arg("--key").arg(log.folder().join("vkey"));
    command.arg("--html").arg(folder.join(format!("{name}.html"))).arg("--csv").arg(folder.join(name));
    command.output().expect("the binary runs")
}

#[test]
fn the_report_tells_the_story_of_a_grant_from_its_beginning_to_its_end() {
    let folder = Scratch::new("audit-report");
    let directory = folder.join("log");
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(&directory, &["window: 1s"]));
    site.gateway.expect_in_log("no grant");
    let log = AuditLog::at(&directory);
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader-one"));
    let records: Vec<_> = (0..7).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    assert_eq!(rd::read_all(&reader, &topic).len(), 7);
    site.gateway.command(&["grant", "revoke", "--topic", &topic, "--principal", "User:reader-one"]).ok();
    wait::until_true("the revoked reader is refused", || {
        rd::produce(&alice, &topic, &[numbered(&secret, 8, 0)], &[]);
        rd::read(&reader, &topic, &[]).error == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
    });
    site.gateway.terminate();
    site.gateway.restart();
    site.gateway.command(&["epoch", "rotate", "--topic", &topic]).ok();
    log.wait_for("epoch.begun", |event| event["data"]["crypto"]["epoch"].as_u64() >= Some(1));
    site.gateway.terminate();

    let told = report(&log, &folder, "story");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let rows = |name: &str| csv(&folder.join("story"), &format!("{name}.csv"));
    let starts = |row: &[String], begin: &[&str]| row.iter().zip(begin).all(|(cell, wanted)| cell == wanted);
    let row = |name: &str, begin: &[&str]| {
        let all = rows(name);
        let found = all.iter().find(|row| starts(row, begin)).cloned();
        found.unwrap_or_else(|| panic!("no row {begin:?} in {name}: {all:#?}"))
    };
    let could = row("access", &["User:reader-one", &topic, "read"]);
    assert!(!could[4].is_empty(), "the right has an end: {could:?}");
    assert!(row("access", &["User:alice", &topic, "write"])[4].is_empty());
    assert!(row("use", &["User:alice", &topic, "write"])[3].parse::<u64>().is_ok_and(|records| records >= 8));
    assert!(row("use", &["User:reader-one", &topic, "read"])[3].parse::<u64>().is_ok_and(|records| records >= 7));
    row("refusals", &["User:reader-one", &format!("topic={topic}")]);
    let revoked = row("revocations", &["User:reader-one", &topic, "read"]);
    assert!(!revoked[4].is_empty() && !revoked[6].is_empty(), "enforced and refused: {revoked:?}");
    assert_eq!(revoked[7], "0", "no record was used after the right was gone: {revoked:?}");
    let epochs = rows("keys").into_iter().filter(|row| row[0] == topic).count();
    assert!(epochs >= 2, "the rotation is told: {:#?}", rows("keys"));
    let starts = rows("changes").iter().filter(|row| row[1] == "gateway.started").count();
    assert_eq!(starts, 2);
    assert!(rows("gaps").is_empty(), "nothing is missing: {:#?}", rows("gaps"));
    assert!(!fs::read_to_string(folder.join("story.html")).expect("a report").contains(&secret));
    looks_as_it_should(&folder.join("story.html"), &topic);

    // An older report is not written over, and a log that was changed has none.
    assert_eq!(report(&log, &folder, "story").status.code(), Some(73));
    tamper(&log);
    let refused = report(&log, &folder, "tampered");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("entry 0: changed"), "{refused:?}");
    assert!(!folder.join("tampered.html").exists());
}

/// A browser shows it, asks nobody for anything, and draws the charts.
fn looks_as_it_should(page: &std::path::Path, topic: &str) {
    let mut browser = Browser::start();
    browser.open(&format!("file://{}", page.display()));
    assert!(browser.text("header").contains("Verified"));
    assert!(browser.text("#access table.matrix").contains(topic));
    assert!(browser.eval("document.querySelectorAll('svg rect').length").as_u64() >= Some(3));
    assert_eq!(browser.eval("document.scripts.length + performance.getEntriesByType('resource').length"), 0);
    assert_eq!(browser.complaints(), [""; 0]);
    if let Some(folder) = std::env::var_os("BARNABAS_PICTURES") {
        fs::write(PathBuf::from(folder).join("report-story.png"), browser.picture()).expect("a picture is kept");
    }
}

/// Changes a letter of the first entry.
fn tamper(log: &AuditLog) {
    let partials = log.folder().join("tile/entries/000.p");
    for file in fs::read_dir(partials).expect("the log is short").flatten() {
        let mut bytes = fs::read(file.path()).expect("a bundle");
        bytes[20] ^= 1;
        fs::write(file.path(), bytes).expect("whoever has the disk can write");
    }
}
