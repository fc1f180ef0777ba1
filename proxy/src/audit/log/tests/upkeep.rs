//! What is old: compressed, then dropped with a statement; proofs of what is left and of what is gone go on to work.

use std::fs::{self, File};
use std::time::SystemTime;

use super::super::proof::{Prover, is_included};
use super::super::reader::Reader;
use super::super::tree::leaf_hash;
use super::*;

/// Makes the first bundles look as if they were written a day ago.
fn age(folder: &Path, bundles: std::ops::Range<u64>) {
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    for index in bundles {
        let file = File::options().write(true).open(folder.join(format!("tile/0/{index:03}"))).unwrap();
        file.set_modified(yesterday).unwrap();
    }
}

fn keeping(folder: &Path, retention: Option<u64>, compress_after: Option<u64>) -> Settings {
    let hours = |hours: Option<u64>| hours.map(|hours| Duration::from_secs(hours * 3_600));
    Settings {
        retention: hours(retention),
        compress_after: hours(compress_after),
        upkeep_interval: Duration::from_millis(20),
        checkpoint_interval: Duration::from_millis(20),
        ..settings(folder)
    }
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn old_bundles_are_compressed_and_read_as_before() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 1_100).await;
    age(folder.path(), 0..3);
    let log = open(keeping(folder.path(), None, Some(1)));
    until(|| folder.path().join("tile/entries/002.zst").exists() && !folder.path().join("tile/entries/002").exists())
        .await;
    log.close().await;
    assert!(folder.path().join("tile/entries/003").exists() && !folder.path().join("tile/entries/003.zst").exists());
    assert_whole(folder.path());
    assert_eq!(entries(folder.path()), expected(0..1_100));
    assert_eq!(Reader::open(folder.path(), None).unwrap().entry(5).unwrap(), b"entry 5");
    // One that was changed is noticed as others are.
    fs::write(folder.path().join("tile/entries/001.zst"), b"no frame").unwrap();
    assert_eq!(check(folder.path()).faults[0].entry, Some(256));
}

#[tokio::test]
async fn old_entries_are_dropped_with_a_statement_and_their_hashes_stay() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 1_100).await;
    let before = fs::read(folder.path().join("checkpoint")).unwrap();
    age(folder.path(), 0..2);
    let log = open(keeping(folder.path(), Some(1), None));
    until(|| !folder.path().join("tile/entries/001").exists()).await;
    age(folder.path(), 2..3);
    until(|| !folder.path().join("tile/entries/002").exists()).await;
    append(&log, 1_102..1_110).await;
    log.close().await;
    let report = assert_whole(folder.path());
    assert_eq!((report.expired_end, report.size), (768, 1_110));
    let reader = Reader::open(folder.path(), None).unwrap();
    assert_eq!(reader.first(), 768);
    assert_eq!(reader.entry(1_100).unwrap(), b"expired 0 512");
    assert_eq!(reader.entry(1_101).unwrap(), b"expired 512 768");
    assert!(reader.entry(7).is_err());
    assert_eq!(reader.entries(0..800).map(Result::unwrap).next().unwrap().0, 768);
    // Who has an entry that was dropped can still prove that it was there.
    let stored = Stored::new(folder.path());
    let mut prover = Prover::new(&stored, 1_110);
    let (proof, root) = (prover.inclusion(7).unwrap(), prover.root_at(1_110).unwrap());
    assert!(is_included(&leaf_hash(b"entry 7"), 7, 1_110, &proof, &root));
    let key = Some(signer().log_pen(ORIGIN).unwrap().key().clone());
    let asked = Verification { log: Stored::new(folder.path()), key, known: vec![before], ..Default::default() };
    assert!(verify(&asked, &|_, _| {}).unwrap().is_whole());
    // What is not stated may not be missing.
    fs::remove_file(folder.path().join("tile/entries/003")).unwrap();
    assert_eq!(check(folder.path()).faults[0].entry, Some(768));
}

#[tokio::test]
async fn a_crash_between_the_statement_and_the_dropping_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 600).await;
    let bundle = fs::read(folder.path().join("tile/entries/000")).unwrap();
    age(folder.path(), 0..1);
    let log = open(keeping(folder.path(), Some(1), None));
    until(|| !folder.path().join("tile/entries/000").exists()).await;
    log.close().await;
    fs::write(folder.path().join("tile/entries/000"), bundle).unwrap();
    assert_whole(folder.path());
    let log = open(keeping(folder.path(), Some(1), None));
    until(|| !folder.path().join("tile/entries/000").exists()).await;
    log.close().await;
    assert_eq!(assert_whole(folder.path()).size, 601);
}
