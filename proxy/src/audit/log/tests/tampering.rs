//! The tampering suite: each way to falsify a log is done to a good one, detected offline, and named.

use std::fs;

use super::super::checkpoint::Checkpoint;
use super::super::folder::CHECKPOINT;
use super::super::note::NoteKey;
use super::super::tile::{add_to_bundle, hash_bytes, parse_bundle};
use super::super::tree::{leaf_hash, root_of};
use super::super::verify::FaultKind;
use super::*;

/// A log of 600 entries and a copy of it for each attempt.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        log_of(&folder.path().join("good"), 600).await;
        // Opened once more, so that the write-ahead file repeats nothing of the tree.
        open(settings(&folder.path().join("good"))).close().await;
        Self { folder }
    }

    fn attempt(&self, tamper: impl FnOnce(&Path)) -> Report {
        let bad = self.folder.path().join("bad");
        if bad.exists() {
            fs::remove_dir_all(&bad).unwrap();
        }
        copy(&self.folder.path().join("good"), &bad);
        tamper(&bad);
        check(&bad)
    }

    fn is_caught(&self, kind: FaultKind, entry: Option<u64>, tamper: impl FnOnce(&Path)) {
        let report = self.attempt(tamper);
        let fault = report.faults.first().unwrap_or_else(|| panic!("{kind:?} is not noticed"));
        assert_eq!((fault.kind, fault.entry), (kind, entry), "{}", fault.what);
    }
}

/// Changes the entries of a bundle.
pub(super) fn rewrite(folder: &Path, name: &str, edit: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<Vec<u8>> {
    let path = folder.join("tile/entries").join(name);
    let mut entries: Vec<Vec<u8>> =
        parse_bundle(&fs::read(&path).unwrap()).unwrap().into_iter().map(<[u8]>::to_vec).collect();
    edit(&mut entries);
    let mut bundle = Vec::new();
    entries.iter().for_each(|entry| add_to_bundle(&mut bundle, entry));
    fs::write(path, bundle).unwrap();
    entries
}

#[tokio::test]
async fn what_is_done_to_entries_is_named_at_the_entry() {
    let case = Case::new().await;
    assert!(case.attempt(|_| {}).is_whole());
    case.is_caught(FaultKind::Changed, Some(261), |bad| {
        rewrite(bad, "001", |entries| entries[5] = b"entry 9".to_vec());
    });
    case.is_caught(FaultKind::Removed, Some(261), |bad| {
        rewrite(bad, "001", |entries| drop(entries.remove(5)));
    });
    case.is_caught(FaultKind::Inserted, Some(261), |bad| {
        rewrite(bad, "001", |entries| entries.insert(5, b"nothing happened".to_vec()));
    });
    case.is_caught(FaultKind::Reordered, Some(261), |bad| {
        rewrite(bad, "001", |entries| entries.swap(5, 90));
    });
    case.is_caught(FaultKind::Missing, Some(590), |bad| {
        rewrite(bad, "002.p/88", |entries| entries.truncate(78));
    });
    case.is_caught(FaultKind::Missing, Some(256), |bad| fs::remove_file(bad.join("tile/entries/001")).unwrap());
    case.is_caught(FaultKind::Changed, Some(256), |bad| {
        let path = bad.join("tile/entries/001");
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    });
    // A whole bundle in the place of another.
    case.is_caught(FaultKind::Changed, Some(0), |bad| {
        fs::copy(bad.join("tile/entries/001"), bad.join("tile/entries/000")).map(drop).unwrap();
    });
    // An entry is left out and everything after it moves up.
    case.is_caught(FaultKind::Removed, Some(5), |bad| {
        let mut first = Vec::new();
        let next = rewrite(bad, "001", |entries| first.push(entries.remove(0)));
        rewrite(bad, "000", |entries| {
            entries.remove(5);
            entries.append(&mut first);
        });
        assert_eq!(next.len(), 255);
    });
}

#[tokio::test]
async fn tiles_that_were_made_to_fit_are_noticed_above() {
    let case = Case::new().await;
    let edit = |bad: &Path| {
        let entries = rewrite(bad, "001", |entries| entries[5] = b"entry 9".to_vec());
        let hashes: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        fs::write(bad.join("tile/0/001"), hash_bytes(&hashes)).unwrap();
        root_of(&hashes)
    };
    case.is_caught(FaultKind::Tile, Some(256), |bad| _ = edit(bad));
    case.is_caught(FaultKind::Tile, None, |bad| {
        let root = edit(bad);
        let path = bad.join("tile/1/000.p/2");
        let mut hashes = fs::read(&path).unwrap();
        hashes[32..].copy_from_slice(&root);
        fs::write(path, hashes).unwrap();
    });
    case.is_caught(FaultKind::Tile, Some(0), |bad| fs::remove_file(bad.join("tile/0/000")).unwrap());
    case.is_caught(FaultKind::Tile, Some(0), |bad| fs::remove_file(bad.join("tile/1/000.p/2")).unwrap());
}

#[tokio::test]
async fn a_checkpoint_that_is_not_the_logs_is_refused() {
    let case = Case::new().await;
    let path = |bad: &Path| bad.join(CHECKPOINT);
    case.is_caught(FaultKind::Checkpoint, None, |bad| fs::remove_file(path(bad)).unwrap());
    case.is_caught(FaultKind::Checkpoint, None, |bad| fs::write(path(bad), "600\n").unwrap());
    case.is_caught(FaultKind::Checkpoint, None, |bad| {
        let text = fs::read_to_string(path(bad)).unwrap().replace("\n600\n", "\n599\n");
        fs::write(path(bad), text).unwrap();
    });
    // Signed by another key, with the key beside it changed as well: only who knows the right key notices.
    let other = Signer::from_seed(&Secret::from_slice(&[1; 32]).unwrap()).unwrap().log_pen(ORIGIN).unwrap();
    case.is_caught(FaultKind::Checkpoint, None, |bad| {
        let text = Checkpoint::parse_note(&fs::read(path(bad)).unwrap()).unwrap().1.text;
        fs::write(path(bad), other.sign(text).to_string()).unwrap();
        fs::write(bad.join("vkey"), other.key().to_string()).unwrap();
    });
}

#[tokio::test]
async fn an_old_checkpoint_a_truncated_log_and_a_whole_old_folder_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (log, old, cut) = (folder.path().join("log"), folder.path().join("old"), folder.path().join("cut"));
    log_of(&log, 300).await;
    copy(&log, &old);
    let running = open(settings(&log));
    append(&running, 300..600).await;
    running.close().await;
    open(settings(&log)).close().await;
    let known = vec![fs::read(log.join(CHECKPOINT)).unwrap()];

    // The old checkpoint with the new files: the write-ahead files say that there was more.
    copy(&log, &cut);
    fs::copy(old.join(CHECKPOINT), cut.join(CHECKPOINT)).unwrap();
    assert_eq!(check(&cut).faults[0].kind, FaultKind::RolledBack);
    // Everything that came later is gone too, or the whole folder is the old one: only who kept a checkpoint notices.
    assert!(check(&old).is_whole());
    let report = against(&old, known.clone(), None);
    assert_eq!((report.faults[0].kind, report.faults[0].entry), (FaultKind::RolledBack, Some(300)));
    assert!(against(&log, vec![fs::read(old.join(CHECKPOINT)).unwrap()], None).is_whole());

    // A witnessed checkpoint that stayed in the folder is enough.
    fs::write(old.join("witnessed"), &known[0]).unwrap();
    assert_eq!(check(&old).faults[0].kind, FaultKind::RolledBack);
}

#[tokio::test]
async fn a_fork_and_a_swap_of_two_logs_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, other) = (folder.path().join("one"), folder.path().join("two"), folder.path().join("other"));
    log_of(&one, 300).await;
    copy(&one, &two);
    for (path, word) in [(&one, "one"), (&two, "two")] {
        let log = open(settings(path));
        log.append(word.as_bytes().to_vec()).unwrap().durable().await.unwrap();
        log.close().await;
        assert_whole(path);
    }
    let known = vec![fs::read(one.join(CHECKPOINT)).unwrap()];
    assert_eq!(against(&two, known.clone(), None).faults[0].kind, FaultKind::Forked);

    let origin = "audit.example/gateway-2".to_owned();
    let log = Log::open(Settings::new(other.clone(), origin), signer(), Arc::new(Plain)).unwrap();
    append(&log, 0..300).await;
    log.close().await;
    assert_eq!(check(&other).faults[0].kind, FaultKind::OtherLog);
    assert!(against(&other, Vec::new(), Some("audit.example/gateway-2")).is_whole());
    assert_eq!(against(&other, known, Some("audit.example/gateway-2")).faults[0].kind, FaultKind::OtherLog);
    // Only the write-ahead files were swapped.
    fs::remove_dir_all(one.join(SEGMENTS)).unwrap();
    copy(&other.join(SEGMENTS), &one.join(SEGMENTS));
    assert_eq!(check(&one).faults[0].kind, FaultKind::WriteAhead);
}

fn against(directory: &Path, known: Vec<Vec<u8>>, origin: Option<&str>) -> Report {
    let key: NoteKey = signer().log_pen(origin.unwrap_or(ORIGIN)).unwrap().key().clone();
    let asked = Verification { log: Stored::new(directory), key: Some(key), known, ..Verification::default() };
    verify(&asked, &|_, _| {}).unwrap()
}

#[tokio::test]
async fn what_waits_for_a_checkpoint_is_protected_by_its_macs() {
    let (live, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = open(without_checkpoints(live.path()));
    append(&log, 0..4).await;
    let bad = folder.path().join("bad");
    copy(live.path(), &bad);
    log.close().await;
    assert_eq!(assert_whole(&bad).tail, 4);
    let path = segment(&bad);
    let good = fs::read(&path).unwrap();
    let mut bytes = good.clone();
    bytes[100 + 56] ^= 1;
    fs::write(&path, bytes).unwrap();
    let report = check(&bad);
    assert_eq!((report.faults[0].kind, report.faults[0].entry), (FaultKind::WriteAhead, Some(0)));
}

#[tokio::test]
async fn a_list_of_statements_covers_only_what_the_log_states() {
    let case = Case::new().await;
    let pen = signer().log_pen(ORIGIN).unwrap();
    let list = |text: String| pen.sign(text).to_string();
    let head = format!("barnabas.audit/statements/v1\n{ORIGIN}\n");
    let leaf = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, leaf_hash(b"entry 599"));
    // Somebody else's signature.
    case.is_caught(FaultKind::Missing, Some(0), |bad| {
        let other = Signer::from_seed(&Secret::from_slice(&[1; 32]).unwrap()).unwrap().log_pen(ORIGIN).unwrap();
        fs::remove_file(bad.join("tile/entries/000")).unwrap();
        fs::write(bad.join("statements"), other.sign(format!("{head}expired 0 256 599 {leaf}\n")).to_string()).unwrap();
    });
    // A statement that is not in the log.
    case.is_caught(FaultKind::Statement, Some(0), |bad| {
        fs::remove_file(bad.join("tile/entries/000")).unwrap();
        fs::write(bad.join("statements"), list(format!("{head}expired 0 256 598 {leaf}\n"))).unwrap();
    });
    // More is missing than was stated.
    case.is_caught(FaultKind::Missing, Some(256), |bad| {
        fs::remove_file(bad.join("tile/entries/000")).unwrap();
        fs::remove_file(bad.join("tile/entries/001")).unwrap();
        fs::write(bad.join("statements"), list(format!("{head}expired 0 256 599 {leaf}\n"))).unwrap();
    });
    let report = case.attempt(|bad| {
        fs::remove_file(bad.join("tile/entries/000")).unwrap();
        fs::write(bad.join("statements"), list(format!("{head}expired 0 256 599 {leaf}\n"))).unwrap();
    });
    assert!(report.is_whole() && report.expired_end == 256, "{:?}", report.faults);
}
