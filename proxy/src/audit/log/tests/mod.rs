//! The log as a whole, in folders of its own: what a crash leaves, what a full disk does, what tampering looks like.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod crash;
mod failure;
mod growth;
mod reading;
mod parsing;
mod tampering;
mod upkeep;
mod witness;
mod export;
mod agreement;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::Secret;

use super::checkpoint::Checkpoint;
use super::folder::SEGMENTS;
use super::stored::Stored;
use super::tile::{Content, Tile};
use super::verify::{Report, Verification, verify};
use super::{Expired, Gap, Log, Settings, Signer, Statements};

pub(super) const ORIGIN: &str = "audit.example/gateway-1";

/// Statements that a test can read.
struct Plain;

impl Statements for Plain {
    fn gap(&self, gap: &Gap) -> Vec<u8> {
        format!("gap {} {} {}", gap.reason.name(), gap.first, gap.entries).into_bytes()
    }

    fn expired(&self, expired: &Expired) -> Vec<u8> {
        format!("expired {} {}", expired.first, expired.end).into_bytes()
    }
}

fn signer() -> Signer {
    Signer::from_seed(&Secret::from_slice(&[42; 32]).unwrap()).unwrap()
}

fn settings(directory: &Path) -> Settings {
    Settings::new(directory.to_owned(), ORIGIN.to_owned())
}

/// A log that makes no checkpoint of its own accord: everything stays in its write-ahead file.
fn without_checkpoints(directory: &Path) -> Settings {
    let hour = Duration::from_secs(3_600);
    Settings { checkpoint_interval: hour, checkpoint_entries: u64::MAX, ..settings(directory) }
}

fn open(settings: Settings) -> Log {
    Log::open(settings, signer(), Arc::new(Plain)).unwrap()
}

/// Appends `entry 0`, `entry 1` and so on from a number, and waits until they are durable.
async fn append(log: &Log, numbers: std::ops::Range<u64>) {
    let tickets: Vec<_> = numbers.map(|n| log.append(format!("entry {n}").into_bytes()).unwrap()).collect();
    for ticket in tickets {
        ticket.durable().await.unwrap();
    }
}

/// A log of so many entries, closed.
async fn log_of(directory: &Path, entries: u64) {
    let log = open(settings(directory));
    append(&log, 0..entries).await;
    log.close().await;
}

/// All entries under the checkpoint.
fn entries(directory: &Path) -> Vec<String> {
    let stored = Stored::new(directory);
    let bytes = fs::read(directory.join("checkpoint")).unwrap();
    let size = Checkpoint::parse_note(&bytes).unwrap().0.size;
    let tiles = (0..size.div_ceil(256)).map(|index| Tile::of(Content::Entries, index, size).unwrap());
    let all = tiles.flat_map(|tile| stored.entries(tile).unwrap().unwrap());
    all.map(|entry| String::from_utf8(entry).unwrap()).collect()
}

fn expected(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|n| format!("entry {n}")).collect()
}

fn check(directory: &Path) -> Report {
    let asked = Verification {
        log: Stored::new(directory),
        key: Some(signer().log_pen(ORIGIN).unwrap().key().clone()),
        ratchet_root: Some(signer().ratchet_root().unwrap()),
        threads: 2,
        ..Verification::default()
    };
    verify(&asked, &|_, _| {}).unwrap()
}

fn assert_whole(directory: &Path) -> Report {
    let report = check(directory);
    assert!(report.is_whole(), "{:?}", report.faults);
    report
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// The newest write-ahead file.
fn segment(directory: &Path) -> PathBuf {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory.join(SEGMENTS)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.pop().unwrap()
}
