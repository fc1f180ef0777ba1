//! Promise: an auditor gets one signed file, and it is as good as the log itself: verified, asked, reported on and proved from, whatever tool
//! opens it; what was done to it is named. Of several gateways there is one timeline, and a log that is missing is named.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use barnabas_tests::audit::AuditLog;
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::gateway::{Gateway, Home};
use barnabas_tests::process::Finished;
use barnabas_tests::scratch::{Scratch, unique};
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;

fn audit(home: &Home, arguments: &[&str]) -> Finished {
    home.barnabas(&[&["audit"], arguments].concat(), None)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The log, index and event of each entry of an answer, whatever the order of logs was.
fn by_time(answer: &str) -> Vec<String> {
    let found: Vec<Value> = serde_json::from_str(answer).expect("JSON");
    let mut lines: Vec<String> = found.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

fn origin(log: &AuditLog) -> String {
    log.wait_for("gateway.started", |_| true)["source"].as_str().expect("a source").to_owned()
}

#[test]
fn one_signed_file_is_as_good_as_the_log_and_what_was_done_to_it_is_named() {
    let folder = Scratch::new("bundle");
    let directory = folder.join("log");
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(&directory, &["window: 1s"]));
    let (topic, alice) = (site.sealed_topic(1), site.client("alice"));
    rd::produce(&alice, &topic, &[numbered(&secret(), 0, 0)], &[]);
    let log = AuditLog::at(&directory);
    log.wait_for("records", |event| event["data"]["crypto"]["topic"] == topic.as_str());
    // A bundle holds what is under a checkpoint, which follows within a second.
    let written = log.events().len() as f64;
    wait::until_true("it is under a checkpoint", || {
        site.gateway.metric("barnabas_audit_checkpoint_entries") >= written
    });
    let (home, place, bundle) = (site.home.clone(), shown(&directory), shown(&folder.join("audit.bundle")));

    // While the gateway runs, with the key of its log.
    let export = ["audit", "export", &place, "--bundle", &bundle];
    let made = site.gateway.command(&export).ok();
    assert!(made.stdout.contains(&format!("signed by {}", origin(&log))), "{}", made.stdout);
    assert_eq!(site.gateway.command(&export).status.code(), Some(73), "an older one is not written over");
    assert_eq!(audit(&home, &export[1..]).status.code(), Some(2), "somebody has to sign, or to say that nobody does");
    site.gateway.terminate();
    let vkey = shown(&directory.join("vkey"));
    let verified = audit(&home, &["verify", &bundle, "--key", &vkey]).ok();
    assert!(verified.stdout.contains("every member is what was exported, signed by"), "{}", verified.stdout);

    // What it says is what the log says.
    let of = |places: &str, more: &[&str]| {
        audit(&home, &[&["query", places, "--output", "json"], more].concat()).ok().stdout
    };
    let asked = ["--topic", topic.as_str(), "--kind", "session"];
    assert_eq!(of(&bundle, &asked), of(&place, &asked));
    assert!(of(&bundle, &asked).contains("io.barnabas.session.begun"));
    let html = shown(&folder.join("report.html"));
    audit(&home, &["report", &bundle, "--key", &vkey, "--html", &html]).ok();
    assert!(fs::read_to_string(&html).expect("a report").contains(&topic));
    let proof = shown(&folder.join("0.tlog-proof"));
    audit(&home, &["prove", &bundle, "0", "--out", &proof]).ok();
    assert!(audit(&home, &["verify-proof", &proof, "--key", &vkey]).ok().stdout.contains("specversion"));

    // Any tool opens it and compares the digests, and what comes out is a log of the public form.
    let unpacked = folder.join("unpacked");
    fs::create_dir(&unpacked).expect("a folder can be made");
    for (program, arguments) in [("tar", ["xf", bundle.as_str()]), ("sha256sum", ["--quiet", "--check"])] {
        let mut command = Command::new(program);
        command.args(arguments).args((program == "sha256sum").then_some("digests")).current_dir(&unpacked);
        let done = command.output().expect("it is installed");
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    }
    audit(&home, &["verify", &shown(&unpacked.join("log/0")), "--key", &vkey]).ok();

    // A part of a time has the hashes of the rest: proofs go on to hold.
    let part = shown(&folder.join("part.bundle"));
    let none = ["--to", "2001-01-01T00:00:00Z", "--unsigned"];
    audit(&home, &[&["export", &place, "--bundle", &part], &none[..]].concat()).ok();
    let refused = audit(&home, &["verify", &part, "--key", &vkey]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("nobody whose log is in it has signed"), "{}", refused.stderr);
    let taken = audit(&home, &["verify", &part, "--key", &vkey, "--allow-unsigned"]).ok();
    assert!(taken.stdout.contains("were left out of the bundle"), "{}", taken.stdout);
    assert_eq!(of(&part, &[]).split_whitespace().collect::<String>(), "[]");

    // What is done to it is named.
    let whole = fs::read(&bundle).expect("a bundle");
    let broken = folder.join("broken.bundle");
    let says = |bytes: &[u8]| {
        fs::write(&broken, bytes).expect("it can be written");
        let finished = audit(&home, &["verify", &shown(&broken), "--key", &vkey]);
        assert_eq!(finished.status.code(), Some(1), "{}", finished.text());
        finished.stderr
    };
    let entry = memchr::memmem::find(&whole, b"specversion").expect("the first entry");
    let mut changed = whole.clone();
    changed[entry] ^= 1;
    let said = says(&changed);
    assert!(said.contains("tile/entries/000") && said.contains("entry 0: changed"), "{said}");
    assert!(says(&whole[..whole.len() / 2]).contains("cut off"));
    assert!(says(b"PK").contains("cut off"));
    assert_eq!(audit(&home, &["query", &shown(&broken)]).status.code(), Some(1));
}

#[test]
fn several_gateways_have_one_timeline_and_a_log_that_is_missing_or_rolled_back_is_named() {
    let (folder, topic) = (Scratch::new("timeline"), unique("audit"));
    let sink = format!("sinks: [{{ name: topic, type: kafka, topic: {topic} }}]");
    let directories = ["one", "two", "three"].map(|name| folder.join(name));
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(&directories[0], &[&sink]));
    let mut others = [&directories[1], &directories[2]].map(|directory| {
        let settings = site.gateway.settings().clone().on_other_ports().with_audit(directory, &[&sink]);
        Gateway::start(&site.home, settings)
    });
    let logs = directories.each_ref().map(AuditLog::at);
    let origins = logs.each_ref().map(origin);
    // Each is told of by one of the others at least.
    let told = |teller: &AuditLog, origin: &str| {
        teller.of("log.cross_checkpoint").iter().any(|event| event["data"]["log"]["origin"] == origin)
    };
    let sealed = site.sealed_topic(1);
    let alice = site.client("alice");
    wait::until_true("the logs name each other", || {
        // Something has to happen: a checkpoint that says nothing new is not told.
        rd::produce(&alice, &sealed, &[numbered(&secret(), 0, 0)], &[]);
        origins
            .iter()
            .enumerate()
            .all(|(place, origin)| logs.iter().enumerate().any(|(teller, log)| teller != place && told(log, origin)))
    });
    let home = site.home.clone();
    site.gateway.terminate();
    for other in &mut others {
        other.terminate();
    }
    let places = directories.each_ref().map(|directory| shown(directory));
    let [one, two, three] = places.each_ref().map(String::as_str);

    let verified = audit(&home, &["verify", one, two, three]).ok();
    assert!(verified.stdout.contains("no log that they speak of is missing"), "{}", verified.stdout);
    assert!(verified.stdout.contains("checkpoints that were kept elsewhere"), "{}", verified.stdout);
    let hidden = (0..3).find(|place| (0..3).any(|teller| teller != *place && told(&logs[teller], &origins[*place])));
    let hidden = hidden.expect("one of them is told of");
    let given: Vec<&str> = (0..3).filter(|place| *place != hidden).map(|place| places[place].as_str()).collect();
    let missing = audit(&home, &["verify", given[0], given[1]]);
    assert_eq!(missing.status.code(), Some(1), "{}", missing.text());
    assert!(missing.stderr.contains(&format!("the log `{}` is missing", origins[hidden])), "{}", missing.stderr);
    audit(&home, &["verify", given[0], given[1], "--without", &origins[hidden]]).ok();

    // One timeline.
    let answer = audit(&home, &["query", one, two, three, "--output", "json"]).ok().stdout;
    let events: Vec<Value> = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(events.len(), logs.iter().map(|log| log.events().len()).sum::<usize>());
    let starts: Vec<&Value> =
        events.iter().filter(|found| found["event"]["type"] == "io.barnabas.gateway.started").collect();
    let names: Vec<&str> = starts.iter().map(|found| found["log"].as_str().expect("a log")).collect();
    assert_eq!(names, origins.each_ref().map(String::as_str));
    let html = shown(&folder.join("report.html"));
    audit(&home, &["report", one, two, three, "--html", &html]).ok();
    let report = fs::read_to_string(&html).expect("a report");
    assert!(origins.iter().all(|origin| report.contains(origin.as_str())));

    // The topic has them all, and what it has is what the folders have.
    let in_topic = format!("topic:{topic}");
    let config = shown(site.gateway.config());
    let keys = directories.each_ref().map(|directory| shown(&directory.join("vkey")));
    let mut from_topic = vec!["verify", in_topic.as_str(), "--topic-config", config.as_str()];
    assert_eq!(audit(&home, &from_topic).status.code(), Some(2), "a topic holds no keys");
    from_topic.extend(keys.iter().flat_map(|key| ["--key", key.as_str()]));
    let verified = audit(&home, &from_topic).ok();
    assert!(origins.iter().all(|origin| verified.stdout.contains(origin.as_str())), "{}", verified.stdout);
    from_topic.extend(["--output", "json"]);
    from_topic[0] = "query";
    assert_eq!(by_time(&audit(&home, &from_topic).ok().stdout), by_time(&answer));
    audit(&home, &["verify", one, &in_topic, "--topic-config", &config, "--key", &keys[1], "--key", &keys[2]]).ok();

    // All of them in one file, which says the same.
    let bundle = shown(&folder.join("all.bundle"));
    let exported = ["audit", "export", one, two, three, "--bundle", &bundle];
    let made = site.gateway.command(&exported).ok();
    assert!(origins.iter().all(|origin| made.stdout.contains(origin.as_str())), "{}", made.stdout);
    audit(&home, &["verify", &bundle]).ok();
    assert_eq!(audit(&home, &["query", &bundle, "--output", "json"]).ok().stdout, answer);
    assert_eq!(audit(&home, &["prove", &bundle, "0"]).status.code(), Some(2), "of which log?");
    audit(&home, &["prove", &bundle, "0", "--log", &origins[1]]).ok();

    // One goes on, another has seen it, and it is put back to where it was.
    let old = folder.join("old");
    let copied = Command::new("cp").arg("-r").args([&directories[2], &old]).status();
    assert!(copied.is_ok_and(|status| status.success()), "a folder can be copied");
    let size = logs[2].events().len() as u64;
    site.gateway.restart();
    wait::until_true("the other log tells of what came", || {
        others[1].restart();
        others[1].terminate();
        logs[0].of("log.cross_checkpoint").iter().any(|event| {
            event["data"]["log"]["origin"] == origins[2].as_str() && event["data"]["log"]["size"].as_u64() > Some(size)
        })
    });
    site.gateway.terminate();
    let rolled_back = audit(&home, &["verify", one, two, &shown(&old)]);
    assert_eq!(rolled_back.status.code(), Some(1), "{}", rolled_back.text());
    let expected = format!("{}: entry {size}: rolled-back", origins[2]);
    assert!(rolled_back.stderr.contains(&expected), "{}", rolled_back.stderr);
    audit(&home, &["verify", one, two, three]).ok();
}
