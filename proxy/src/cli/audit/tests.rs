//! The commands as a script calls them: exit codes, remembered states, proofs that travel.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use barnabas_crypto::Secret;

use crate::audit::log::{Expired, Gap, Log, Settings, Signer, Statements};
use crate::cli::{Exit, run};

struct Plain;

impl Statements for Plain {
    fn gap(&self, gap: &Gap) -> Vec<u8> {
        format!("{gap:?}").into_bytes()
    }

    fn expired(&self, expired: &Expired) -> Vec<u8> {
        format!("{expired:?}").into_bytes()
    }
}

/// Opens a log, appends, and closes it.
async fn append(folder: &Path, origin: &str, entries: u64) {
    let signer = Signer::from_seed(&Secret::from_slice(&[7; 32]).unwrap()).unwrap();
    let log = Log::open(Settings::new(folder.to_owned(), origin.to_owned()), signer, Arc::new(Plain)).unwrap();
    for n in 0..entries {
        drop(log.append(format!("{{\"n\":{n}}}").into_bytes()).unwrap());
    }
    log.close().await;
}

fn audit(words: &[&dyn AsRef<std::ffi::OsStr>]) -> Exit {
    let words = words.iter().map(|word| OsString::from(word.as_ref()));
    run(["barnabas", "audit"].map(OsString::from).into_iter().chain(words))
}

#[tokio::test]
async fn verify_answers_by_its_exit_code_and_remembers_what_it_saw() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (log, old, state) = (path("log"), path("old"), path("state"));
    append(&log, "audit.example/1", 300).await;
    assert_eq!(audit(&[&"verify", &log]), Exit::Ok);
    assert_eq!(audit(&[&"verify", &log, &"--key", &log.join("vkey"), &"--output", &"json"]), Exit::Ok);
    assert_eq!(audit(&[&"verify", &log, &"--trusted-state", &state]), Exit::Ok);
    assert!(fs::read_to_string(&state).unwrap().contains("\naudit.example/1\n300\n"));
    let status = std::process::Command::new("cp").arg("-r").args([&log, &old]).status().unwrap();
    assert!(status.success());
    append(&log, "audit.example/1", 10).await;
    assert_eq!(audit(&[&"verify", &log, &"--trusted-state", &state]), Exit::Ok);
    assert!(fs::read_to_string(&state).unwrap().contains("\naudit.example/1\n310\n"));
    // The old folder is whole by itself, and not what was there the last time.
    assert_eq!(audit(&[&"verify", &old]), Exit::Ok);
    assert_eq!(audit(&[&"verify", &old, &"--trusted-state", &state]), Exit::Failed);
    assert_eq!(audit(&[&"verify", &old, &"--checkpoint", &log.join("checkpoint")]), Exit::Failed);
    assert!(fs::read_to_string(&state).unwrap().contains("\n310\n"), "a bad log is not remembered");
    // Another log is not it, whatever its folder says.
    append(&path("other"), "audit.example/2", 400).await;
    assert_eq!(audit(&[&"verify", &path("other"), &"--trusted-state", &state]), Exit::Failed);
    assert_eq!(audit(&[&"verify", &log, &"--key", &path("other").join("vkey")]), Exit::Failed);
    assert_eq!(audit(&[&"verify", &log, &"--key", &"no key"]), Exit::Data);
    assert_eq!(audit(&[&"verify", &path("nothing")]), Exit::Failed);
    fs::write(log.join("tile/entries/000"), b"\0\x01x").unwrap();
    assert_eq!(audit(&[&"verify", &log, &"--output", &"json"]), Exit::Failed);
}

#[tokio::test]
async fn a_log_that_was_rolled_back_is_found_out_by_what_another_log_says_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (log, old, other) = (path("log"), path("old"), path("other"));
    append(&log, "audit.example/1", 300).await;
    let status = std::process::Command::new("cp").arg("-r").args([&log, &old]).status().unwrap();
    assert!(status.success());
    append(&log, "audit.example/1", 10).await;
    let checkpoint = fs::read_to_string(log.join("checkpoint")).unwrap();
    let signer = Signer::from_seed(&Secret::from_slice(&[8; 32]).unwrap()).unwrap();
    let beside =
        Log::open(Settings::new(other.clone(), "audit.example/2".to_owned()), signer, Arc::new(Plain)).unwrap();
    let forged = checkpoint.replace("\n310\n", "\n999\n");
    for text in [&checkpoint, &forged] {
        let entry = serde_json::json!({ "data": { "crossCheckpoint": [text] } });
        drop(beside.append(serde_json::to_vec(&entry).unwrap()).unwrap());
    }
    beside.close().await;
    assert_eq!(audit(&[&"verify", &log, &"--against", &other]), Exit::Ok);
    assert_eq!(audit(&[&"verify", &old, &"--against", &other]), Exit::Failed);
}

#[tokio::test]
async fn a_proof_is_made_and_checked_without_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (log, proof) = (path("log"), path("7.tlog-proof"));
    append(&log, "audit.example/1", 300).await;
    assert_eq!(audit(&[&"prove", &log, &"7", &"--out", &proof]), Exit::Ok);
    assert_eq!(audit(&[&"prove", &log, &"8", &"--out", &proof]), Exit::CannotCreate);
    assert_eq!(audit(&[&"prove", &log, &"300"]), Exit::Data);
    fs::rename(log.join("vkey"), path("vkey")).unwrap();
    fs::remove_dir_all(&log).unwrap();
    assert_eq!(audit(&[&"verify-proof", &proof, &"--key", &path("vkey")]), Exit::Ok);
    assert_eq!(audit(&[&"verify-proof", &proof, &"--key", &path("vkey"), &"--witnesses", &"1"]), Exit::Failed);
    fs::write(path("entry"), b"{\"n\":8}").unwrap();
    assert_eq!(audit(&[&"verify-proof", &proof, &"--key", &path("vkey"), &"--entry", &path("entry")]), Exit::Failed);
    fs::write(&proof, fs::read_to_string(&proof).unwrap().replace("index 7", "index 6")).unwrap();
    assert_eq!(audit(&[&"verify-proof", &proof, &"--key", &path("vkey")]), Exit::Failed);
}

#[tokio::test]
async fn tail_reads_any_log() {
    let folder = tempfile::tempdir().unwrap();
    append(folder.path(), "audit.example/1", 3).await;
    assert_eq!(audit(&[&"tail", &folder.path()]), Exit::Ok);
    assert_eq!(audit(&[&"tail", &folder.path(), &"-n", &"0"]), Exit::Ok);
    assert_eq!(audit(&[&"tail", &folder.path().join("nothing")]), Exit::Data);
}
