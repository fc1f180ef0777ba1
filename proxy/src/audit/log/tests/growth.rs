//! A log that grows: tiles, checkpoints, files that become needless.

use std::fs;

use super::*;
use crate::audit::log::AppendError;

#[tokio::test]
async fn entries_are_numbered_durable_and_under_a_checkpoint_of_the_tree_that_they_make() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    let mut checkpoints = Vec::new();
    for (begin, end) in [(0, 1), (1, 255), (255, 256), (256, 257), (257, 1_000)] {
        append(&log, begin..end).await;
        while log.state().checkpoint < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        checkpoints.push(log.checkpoint().as_bytes().to_vec());
        assert_whole(folder.path());
    }
    let state = log.state();
    assert_eq!((state.size, state.durable, state.checkpoint, state.queued_entries), (1_000, 1_000, 1_000, 0));
    assert!(log.append(Vec::new()).is_err() && log.append(vec![0; 65_536]).is_err());
    log.clone().close().await;
    assert_eq!(log.append(b"late".to_vec()).err(), Some(AppendError::Closed));
    assert_eq!(entries(folder.path()), expected(0..1_000));
    // Partial tiles of earlier checkpoints are gone where the full one is there, and only there.
    assert!(folder.path().join("tile/0/000").is_file() && !folder.path().join("tile/0/000.p").exists());
    assert!(folder.path().join("tile/entries/003.p/232").is_file());
    assert!(folder.path().join("tile/1/000.p/1").is_file() && folder.path().join("tile/1/000.p/3").is_file());
    let key = Some(signer().log_pen(ORIGIN).unwrap().key().clone());
    let asked = Verification { log: Stored::new(folder.path()), key, known: checkpoints, ..Default::default() };
    let report = verify(&asked, &|_, _| {}).unwrap();
    assert!(report.is_whole() && report.known == 5, "{:?}", report.faults);
}

#[tokio::test]
async fn write_ahead_files_go_when_their_entries_are_under_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    for _ in 0..12 {
        let tickets: Vec<_> = (0..100).map(|_| log.append(vec![7; 60_000]).unwrap()).collect();
        for ticket in tickets {
            ticket.durable().await.unwrap();
        }
    }
    log.close().await;
    assert!(fs::read_dir(folder.path().join(SEGMENTS)).unwrap().count() <= 2);
    assert_eq!(assert_whole(folder.path()).size, 1_200);
    open(settings(folder.path())).close().await;
    assert_eq!(fs::read_dir(folder.path().join(SEGMENTS)).unwrap().count(), 1);
    assert_eq!(fs::metadata(segment(folder.path())).unwrap().len(), 100);
}

#[tokio::test]
async fn equal_entries_are_different_entries() {
    let folder = tempfile::tempdir().unwrap();
    for size in [3u64, 259, 515] {
        let log = open(settings(folder.path()));
        while log.state().size < size {
            log.append(b"same".to_vec()).unwrap().durable().await.unwrap();
        }
        log.close().await;
        assert_eq!(assert_whole(folder.path()).size, size);
    }
}

#[test]
fn the_document_names_every_event_of_the_gateways_own_log() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit/log");
    let document = fs::read_to_string(sources.join("../README.md")).unwrap();
    let mut folders = vec![sources];
    let mut named = 0;
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let code = fs::read_to_string(path).unwrap();
            for event in code.split("event = \"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if event.starts_with("audit_") {
                    assert!(document.contains(&format!("`{event}`")), "{event}");
                    named += 1;
                }
            }
        }
    }
    assert!(named >= 8);
}
