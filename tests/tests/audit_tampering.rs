//! Promise: whatever is done to an audit log after it was written, an auditor who has nothing but a copy notices it, and is told what is
//! wrong and from which entry on. The logs are those of real gateways; verifiers in Python and Go, written from the document of the format
//! or by others, come to the same verdicts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use barnabas_kms::{LocalKeystore, Unlock};
use ring::hmac;
use serde_json::{Value, json};

use barnabas_tests::audit::{AuditLog, LogCopy, WIDTH, flood, size_of};
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::{Gateway, Home, Settings};
use barnabas_tests::process::Finished;
use barnabas_tests::rest::Http;
use barnabas_tests::scratch::{Scratch, root, target, unique};
use barnabas_tests::site::Site;
use barnabas_tests::wait;

/// Who verifies: with the command line of an installation, and the key of one log.
struct Auditor {
    home: Arc<Home>,
    key: String,
}

/// Copies of one log at several moments of its life, and of another life that it had.
struct Scene {
    site: Site,
    folder: Scratch,
    auditor: Auditor,
}

impl Scene {
    /// A gateway writes, is stopped and started; then its disk is put back to an old state and it goes on from there.
    fn new() -> Self {
        let folder = Scratch::new("tampering");
        let log = folder.join("log");
        let site = Site::with(Broker::shared(), |settings| settings.with_audit(&log, MANY).with_rest(&[]));
        let auditor = Auditor { home: Arc::clone(&site.home), key: key_of(&log) };
        let mut scene = Self { site, folder, auditor };
        for (requests, name) in [(300, "early"), (300, "middle"), (100, "good")] {
            scene.write(requests, name);
        }
        fs::remove_dir_all(&log).expect("the log goes");
        LogCopy::of(&scene.at("early"), &log);
        scene.site.gateway.restart();
        scene.write(200, "fork");
        scene
    }

    /// So many events, an orderly stop, a copy; the gateway runs again afterwards, unless this is the last one of a life.
    fn write(&mut self, requests: usize, name: &str) {
        requests_by(&mut self.site, "alice", requests);
        self.site.gateway.terminate();
        LogCopy::of(&self.folder.join("log"), &self.at(name));
        if ["early", "middle"].contains(&name) {
            self.site.gateway.restart();
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join("states").join(name)
    }

    fn checkpoint(&self, name: &str) -> PathBuf {
        self.at(name).join("checkpoint")
    }

    fn size(&self, name: &str) -> u64 {
        size_of(&fs::read_to_string(self.checkpoint(name)).expect("a checkpoint"))
    }
}

impl Auditor {
    fn of(home: &Arc<Home>, log: &Path) -> Self {
        Self { home: Arc::clone(home), key: key_of(log) }
    }

    fn verify(&self, log: &Path, words: &[&str]) -> Finished {
        let log = log.display().to_string();
        self.home.barnabas(&[&["audit", "verify", &log], words].concat(), None)
    }

    /// The verdict for people and the one for programs say what was done; gives the first bad entry.
    #[track_caller]
    fn judge(&self, log: &Path, words: &[&str], wanted: (Option<&str>, Option<u64>)) -> Value {
        let words = [&["--key", &self.key], words].concat();
        let (said, told) = (self.verify(log, &words), self.verify(log, &[&words[..], &["--output", "json"]].concat()));
        let report: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|e| panic!("{e}: {}", told.text()));
        let name = log.display();
        let codes = (said.status.code(), told.status.code());
        let Some(wrong) = wanted.0 else {
            assert!(codes == (Some(0), Some(0)) && report["whole"] == true, "{name}: {}", said.text());
            return Value::Null;
        };
        assert_eq!(codes, (Some(1), Some(1)), "{name}: {}", said.text());
        let fault = &report["faults"][0];
        assert_eq!((fault["kind"].as_str(), fault["entry"].as_u64()), (Some(wrong), wanted.1), "{name}: {report}");
        let line = wanted.1.map_or_else(|| format!("{wrong}: "), |entry| format!("entry {entry}: {wrong}: "));
        assert!(said.stderr.contains(&line), "{name}: no {line:?} in {}", said.stderr);
        assert!(said.stderr.contains("is not whole"), "{name}: {}", said.stderr);
        fault["entry"].clone()
    }
}

fn key_of(log: &Path) -> String {
    fs::read_to_string(log.join("vkey")).expect("a key").trim().to_owned()
}

fn requests_by(site: &mut Site, name: &str, count: usize) {
    let client = site.authority.client(name);
    flood(&mut Http::tls(&site.gateway.rest(), &client), count);
}

/// What is done to a copy, and how it shows.
struct Attempt {
    name: &'static str,
    harm: fn(&Scene, &LogCopy),
    /// What `barnabas audit verify` calls it; nothing when nothing is wrong.
    wrong: Option<&'static str>,
    /// The first bad entry.
    entry: Option<u64>,
    /// A state whose checkpoint the auditor has kept.
    known: Option<&'static str>,
    /// Whether a tool sees it that knows the tree alone.
    tree: bool,
}

const fn harm(name: &'static str, wrong: &'static str, entry: u64, harm: fn(&Scene, &LogCopy)) -> Attempt {
    Attempt { name, harm, wrong: Some(wrong), entry: Some(entry), known: None, tree: false }
}

fn falsify_the_last(log: &LogCopy) {
    let last = log.size() - 1;
    log.edit(last, |entries, at| entries[at] = b"{}".to_vec());
    log.hash_anew(last);
}

/// In the table: the index after the last entry, and that of the last one.
const END: u64 = u64::MAX;
const LAST: u64 = u64::MAX - 1;

/// The entry that somebody wants to hide.
const VICTIM: u64 = WIDTH + 30;

const ATTEMPTS: &[Attempt] = &[
    Attempt { name: "good", harm: |_, _| {}, wrong: None, entry: None, known: None, tree: true },
    Attempt { name: "good-known", harm: |_, _| {}, wrong: None, entry: None, known: Some("early"), tree: true },
    harm("edited", "changed", VICTIM, |_, log| {
        log.edit(VICTIM, |entries, at| {
            let text = String::from_utf8(entries[at].clone()).expect("JSON");
            let other = text.replace("User:alice", "User:carol");
            assert!(other != text && other.len() == text.len(), "{text}");
            entries[at] = other.into_bytes();
        });
    }),
    harm("deleted", "removed", VICTIM, |_, log| {
        log.edit(VICTIM, |entries, at| drop(entries.remove(at)));
    }),
    // Everything behind it moves up, into the next bundle too.
    harm("deleted-and-closed-up", "removed", 7, |_, log| {
        let mut moved = Vec::new();
        log.edit(WIDTH, |entries, at| moved.push(entries.remove(at)));
        log.edit(7, |entries, at| {
            entries.remove(at);
            entries.append(&mut moved);
        });
    }),
    harm("inserted", "inserted", VICTIM, |_, log| {
        log.edit(VICTIM, |entries, at| entries.insert(at, entries[at - 9].clone()));
    }),
    // Who reads as many entries as the checkpoint says does not come so far.
    Attempt {
        tree: true,
        ..harm("appended", "inserted", END, |_, log| {
            log.edit(log.size() - 1, |entries, at| entries.push(entries[at - 1].clone()));
        })
    },
    harm("reordered", "reordered", VICTIM, |_, log| {
        log.edit(VICTIM, |entries, at| entries.swap(at, at + 1));
    }),
    harm("truncated", "missing", 2 * WIDTH + 5, |_, log| {
        log.edit(2 * WIDTH, |entries, _| entries.truncate(5));
    }),
    harm("bundle-removed", "missing", WIDTH, |_, log| {
        fs::remove_file(log.part("entries", WIDTH)).expect("it goes");
    }),
    harm("bundle-torn", "changed", WIDTH, |_, log| {
        let bytes = fs::read(log.part("entries", WIDTH)).expect("a bundle");
        fs::write(log.part("entries", WIDTH), &bytes[..bytes.len() - 1]).expect("writable");
    }),
    harm("tile-removed", "tile", WIDTH, |_, log| fs::remove_file(log.part("0", WIDTH)).expect("it goes")),
    harm("tile-made-to-fit", "tile", WIDTH, |_, log| {
        log.edit(VICTIM, |entries, at| entries[at] = b"{}".to_vec());
        log.hash_anew(VICTIM);
    }),
    // The write-ahead file still has what was logged; without it the root alone tells.
    harm("last-tile-made-to-fit", "write-ahead", LAST, |_, log| falsify_the_last(log)),
    Attempt {
        entry: None,
        ..harm("last-tile-made-to-fit-alone", "tile", 0, |_, log| {
            falsify_the_last(log);
            fs::remove_dir_all(log.folder().join("wal")).expect("it goes");
        })
    },
    Attempt {
        entry: None,
        ..harm("signed-by-another-key", "checkpoint", 0, |_, log| {
            log.edit(VICTIM, |entries, at| entries[at] = b"{}".to_vec());
            log.forge();
        })
    },
    Attempt {
        entry: None,
        ..harm("size-edited", "checkpoint", 0, |_, log| {
            let text = fs::read_to_string(log.folder().join("checkpoint")).expect("a checkpoint");
            let text = text.replacen(&format!("\n{}\n", log.size()), &format!("\n{}\n", 2 * WIDTH), 1);
            fs::write(log.folder().join("checkpoint"), text).expect("writable");
        })
    },
    Attempt {
        entry: None,
        tree: true,
        ..harm("old-checkpoint", "rolled-back", 0, |scene, log| {
            fs::copy(scene.checkpoint("early"), log.folder().join("checkpoint")).expect("writable");
        })
    },
    Attempt {
        known: Some("good"),
        tree: true,
        ..harm("old-checkpoint-known", "rolled-back", END, |scene, log| {
            fs::copy(scene.checkpoint("early"), log.folder().join("checkpoint")).expect("writable");
            fs::remove_dir_all(log.folder().join("wal")).expect("it goes");
        })
    },
    Attempt {
        known: Some("good"),
        tree: true,
        ..harm("rolled-back", "rolled-back", END, |scene, log| {
            replace(log, &scene.at("early"));
        })
    },
    // Each of the two histories is a whole log for who knows nothing else.
    Attempt {
        name: "fork",
        harm: |scene, log| replace(log, &scene.at("fork")),
        wrong: None,
        entry: None,
        known: None,
        tree: true,
    },
    Attempt { entry: None, known: Some("fork"), tree: true, ..harm("forked", "forked", 0, |_, _| {}) },
];

fn replace(log: &LogCopy, by: &Path) {
    fs::remove_dir_all(log.folder()).expect("it goes");
    LogCopy::of(by, log.folder());
}

#[test]
fn whatever_is_done_to_a_log_is_noticed_and_named_by_every_verifier() {
    let mut scene = Scene::new();
    assert!(scene.size("early") > WIDTH && scene.size("good") > 2 * WIDTH + 5, "three tiles");
    assert!(scene.size("fork") < scene.size("good"));
    let cases = scene.folder.join("cases");
    for attempt in ATTEMPTS {
        try_one(&scene, &cases, attempt);
    }
    the_tail_of_a_killed_gateway(&mut scene, &cases);
    prove_one(&scene, &cases.join("good"));
    // Without the key that the auditor knows, a log that somebody else signed looks whole; the verdict says what it stands on.
    let forged = scene.auditor.verify(&cases.join("signed-by-another-key/log"), &[]).ok().stdout;
    assert!(forged.contains("its key was taken from the log itself"), "{forged}");
    the_others_agree(&cases);
}

/// Does the harm, asks `barnabas audit verify`, and writes what it said for the other verifiers.
fn try_one(scene: &Scene, cases: &Path, attempt: &Attempt) {
    let case = cases.join(attempt.name);
    let log = LogCopy::of(&scene.at("good"), &case.join("log"));
    (attempt.harm)(scene, &log);
    let known = attempt.known.map(|name| {
        fs::copy(scene.checkpoint(name), case.join("known")).expect("writable");
        case.join("known").display().to_string()
    });
    let words = known.iter().flat_map(|path| ["--checkpoint", path]).collect::<Vec<_>>();
    let entry = attempt.entry.map(|entry| match entry {
        END => log.size(),
        LAST => log.size() - 1,
        entry => entry,
    });
    let found = scene.auditor.judge(log.folder(), &words, (attempt.wrong, entry));
    let known: Vec<&str> = known.iter().map(|_| "known").collect();
    let (key, whole) = (&scene.auditor.key, attempt.wrong.is_none());
    write_verdict(&case, &json!({ "key": key, "known": known, "tree": attempt.tree, "whole": whole, "entry": found }));
}

fn write_verdict(case: &Path, verdict: &Value) {
    let mut verdict = verdict.clone();
    for (name, none) in [("witnesses", json!([])), ("quorum", json!(0)), ("ratchet_root", Value::Null)] {
        verdict.as_object_mut().expect("an object").entry(name).or_insert(none);
    }
    fs::write(case.join("verdict.json"), verdict.to_string()).expect("writable");
}

/// Entries after the last checkpoint are under MACs, whose root is in the keystore.
fn the_tail_of_a_killed_gateway(scene: &mut Scene, cases: &Path) {
    let log = scene.folder.join("tail");
    let mut gateway = scene.site.second_gateway_with(|settings| settings.with_audit(&log, UNSIGNED).with_rest(&[]));
    gateway.terminate();
    gateway.restart();
    flood(&mut Http::tls(&gateway.rest(), &scene.site.authority.client("alice")), 50);
    let before = gateway.metric("barnabas_audit_checkpoint_entries");
    wait::until_true("they are on disk", || gateway.metric("barnabas_audit_durable_entries") >= before + 50.0);
    gateway.kill();
    let beside = |name: &str| gateway.config().with_file_name(name);
    let keystore =
        LocalKeystore::open(beside("keystore"), &Unlock::KeyFile(beside("keystore.key"))).expect("a keystore");
    let seed = keystore.secret("audit").expect("the log's secret");
    let seed = hmac::Key::new(hmac::HMAC_SHA256, seed.expose());
    let root = hex::encode(hmac::sign(&seed, b"barnabas audit v1 ratchet root\x01"));
    let auditor = Auditor::of(&scene.site.home, &log);
    let config = gateway.config().display().to_string();
    let first = size_of(&fs::read_to_string(log.join("checkpoint")).expect("a checkpoint"));
    for (name, wrong, entry, at) in
        [("tail", None, None, None), ("tail-changed", Some("write-ahead"), Some(first), Some(100 + 56 + 20))]
    {
        let copy = LogCopy::of(&log, &cases.join(name).join("log"));
        if let Some(at) = at {
            let mut bytes = fs::read(copy.write_ahead_file()).expect("a write-ahead file");
            bytes[at] ^= 1;
            fs::write(copy.write_ahead_file(), bytes).expect("writable");
        }
        let entry = auditor.judge(copy.folder(), &["--config", &config], (wrong, entry));
        let verdict = json!({ "key": auditor.key, "known": [], "tree": true, "whole": wrong.is_none(), "entry": entry, "ratchet_root": root });
        write_verdict(&cases.join(name), &verdict);
    }
}

/// An entry with its proof, as `barnabas audit prove` hands it to a third party.
fn prove_one(scene: &Scene, case: &Path) {
    let (log, index) = (case.join("log"), VICTIM.to_string());
    let proof = scene.auditor.home.barnabas(&["audit", "prove", &log.display().to_string(), &index], None).ok().stdout;
    fs::write(case.join(format!("{index}.tlog-proof")), proof).expect("writable");
    let bundle = LogCopy::of(&log, &scene.folder.join("proof")).bundle(VICTIM);
    let place = usize::try_from(VICTIM % WIDTH).expect("a place");
    fs::write(case.join(format!("{index}.entry")), &bundle[place]).expect("writable");
}

/// The verifier in Python and the tools of others in Go over the same cases: each says which ones are whole.
fn the_others_agree(cases: &Path) {
    let mut command = Command::new(root().join("tests/second_verifier/run.sh"));
    command.arg(cases).env("CARGO_TARGET_DIR", target());
    let said = Finished::run("verifiers", &command, b"", OTHERS, cases.parent().expect("a folder")).ok().stdout;
    let count = fs::read_dir(cases).expect("cases").count();
    assert_eq!(said.matches("agrees").count(), 2 * count + 1, "{said}");
}

#[test]
fn another_gateways_log_and_an_old_state_of_ones_own_do_not_pass_for_it() {
    let (folder, topic) = (Scratch::new("two-logs"), unique("audit"));
    let sink = format!("sinks: [{{ name: topic, type: kafka, topic: {topic} }}]");
    let [one, two] = ["one", "two"].map(|name| folder.join(name));
    let mut site = Site::with(Broker::shared(), |settings| settings.with_audit(&one, &[&sink]).with_rest(&[]));
    // Two stewards would write over each other now and then, and say so.
    let settings = Settings { steward_embedded: false, ..site.gateway.settings().clone().on_other_ports() };
    let settings = settings.with_audit(&two, &[&sink]);
    let mut second = Gateway::start(&site.home, settings);
    let (own, other) = (Auditor::of(&site.home, &one), Auditor::of(&site.home, &two));
    let origin = own.key.split('+').next().expect("a name").to_owned();
    AuditLog::at(&two).wait_for("log.cross_checkpoint", |event| event["data"]["log"]["origin"] == origin.as_str());
    site.gateway.terminate();
    let old = LogCopy::of(&one, &folder.join("old"));
    site.gateway.restart();
    requests_by(&mut site, "alice", 50);
    let latest = folder.join("topic.checkpoint");
    wait::until_true("the topic has a later checkpoint", || {
        let all = rd::read_all(&Endpoint::direct(site.broker()), &topic).into_iter().map(|got| got.record);
        let wanted = format!("{origin}/checkpoint").into_bytes();
        let mut own = all.filter(|record| record.key.as_ref().is_some_and(|key| key.0 == wanted));
        let note = own.next_back().and_then(|record| record.value).map(|value| value.0).unwrap_or_default();
        fs::write(&latest, &note).expect("writable");
        !note.is_empty() && size_of(&String::from_utf8_lossy(&note)) > old.size()
    });
    // The other gateway tells it in its own log, now and then.
    wait::until_true("the other log has a later checkpoint", || {
        requests_by(&mut site, "alice", 50);
        let told = AuditLog::at(&two).of("log.cross_checkpoint").into_iter().map(|event| event["data"]["log"].clone());
        told.into_iter().any(|log| log["origin"] == origin.as_str() && log["size"].as_u64() > Some(old.size()))
    });
    site.gateway.terminate();
    second.terminate();

    let (latest, state) = (latest.display().to_string(), folder.join("auditor.state").display().to_string());
    own.judge(&one, &["--checkpoint", &latest], (None, None));
    own.judge(&one, &["--trusted-state", &state], (None, None));
    // The whole folder as it once was, against the topic and against what the auditor remembers.
    let rolled_back = (Some("rolled-back"), Some(old.size()));
    own.judge(old.folder(), &[], (None, None));
    own.judge(old.folder(), &["--checkpoint", &latest], rolled_back);
    own.judge(old.folder(), &["--trusted-state", &state], rolled_back);
    let against = two.display().to_string();
    own.judge(&one, &["--against", &against], (None, None));
    own.judge(old.folder(), &["--against", &against], rolled_back);
    // The other log in the place of this one: whole, but another.
    other.judge(&two, &[], (None, None));
    own.judge(&two, &[], (Some("other-log"), None));
    other.judge(&one, &[], (Some("other-log"), None));
    let exchanged = own.verify(&two, &["--trusted-state", &state]);
    assert_eq!(exchanged.status.code(), Some(1), "{}", exchanged.text());
    assert!(exchanged.stderr.contains("other-log: "), "{}", exchanged.stderr);
}

/// Checkpoints come one upon the other, so the log is put together of many pieces.
const MANY: &[&str] = &["on_failure: alarm", "checkpoint: { interval: 100ms, entries: 20 }"];

/// No checkpoint comes by itself: what is not stopped in order stays in the write-ahead file.
const UNSIGNED: &[&str] = &["checkpoint: { interval: 1h, entries: 1000000 }"];

/// The first time an environment of Python is made and a program of Go is built.
const OTHERS: Duration = Duration::from_secs(600);
