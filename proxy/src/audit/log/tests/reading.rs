//! A log that is read: entries by their index, and proofs that a third party checks without the log.

use super::super::reader::Reader;
use super::super::tlog_proof::TlogProof;
use super::*;

#[tokio::test]
async fn entries_are_read_in_any_range_while_the_log_grows() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 600).await;
    let mut reader = Reader::open(folder.path(), None).unwrap();
    for (begin, end) in [(0, 600), (0, 1), (255, 257), (599, 600), (300, 300), (590, 9_000), (700, 800)] {
        let found: Vec<_> = reader.entries(begin..end).map(Result::unwrap).collect();
        let wanted: Vec<_> = (begin..end.min(600)).map(|n| (n, format!("entry {n}").into_bytes())).collect();
        assert_eq!(found, wanted, "{begin}..{end}");
    }
    assert!(!reader.refresh().unwrap());
    let log = open(settings(folder.path()));
    append(&log, 600..601).await;
    log.close().await;
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.entry(600).unwrap(), b"entry 600");
    assert!(reader.entry(601).is_err());
}

#[tokio::test]
async fn the_proof_of_an_entry_is_checked_without_the_log() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 300).await;
    let reader = Reader::open(folder.path(), None).unwrap();
    let key = reader.key().clone();
    for index in [0, 1, 255, 256, 299] {
        let text = reader.prove(index).unwrap().to_string();
        let proof = TlogProof::parse(text.as_bytes()).unwrap();
        assert_eq!(proof.to_string(), text);
        let entry = proof.entry.clone().unwrap();
        assert_eq!(entry, format!("entry {index}").into_bytes());
        proof.verify(&key, &entry).unwrap();
        assert!(proof.verify(&key, b"another").is_err());
        let moved = TlogProof { index: index ^ 1, ..proof.clone() };
        assert!(moved.verify(&key, &entry).is_err());
        let other = signer().log_pen("audit.example/other").unwrap().key().clone();
        assert!(proof.verify(&other, &entry).is_err());
        for line in 0..text.lines().count() {
            let cut: Vec<&str> = text.lines().enumerate().filter(|(n, _)| *n != line).map(|(_, l)| l).collect();
            let parsed = TlogProof::parse(format!("{}\n", cut.join("\n")).as_bytes());
            let holds = parsed.is_some_and(|p| p.entry.as_deref().is_some_and(|e| p.verify(&key, e).is_ok()));
            assert!(!holds, "without line {line}");
        }
    }
    assert!(reader.prove(300).is_err());
}
