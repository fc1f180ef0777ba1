//! A disk that refuses and a queue that is full: what is refused is told to the caller and in the log.

use std::fs;

use super::*;
use crate::audit::log::AppendError;

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_the_log_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(Settings { queue_entries: 8, ..settings(folder.path()) });
    let mut tickets = Vec::new();
    let mut refused = 0;
    for _ in 0..20_000 {
        match log.append(b"x".to_vec()) {
            Ok(ticket) => tickets.push(ticket),
            Err(AppendError::Full) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    let taken = tickets.len();
    for ticket in tickets {
        ticket.durable().await.unwrap();
    }
    assert_eq!(log.state().refused, refused);
    log.close().await;
    let found = entries(folder.path());
    let told: u64 =
        found.iter().filter_map(|e| e.strip_prefix("gap refused ")?.split_once(' ')?.1.parse::<u64>().ok()).sum();
    assert_eq!(told, refused);
    assert_eq!(found.iter().filter(|entry| *entry == "x").count(), taken);
    assert_whole(folder.path());
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes_too() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(Settings { queue_bytes: 100, ..settings(folder.path()) });
    assert_eq!(log.append(vec![1; 101]).err(), Some(AppendError::Full));
    log.append(vec![1; 100]).unwrap().durable().await.unwrap();
    log.close().await;
}

#[tokio::test]
async fn a_disk_that_refuses_is_told_and_the_log_goes_on_with_a_gap_when_it_takes_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    // No new write-ahead file can be begun, and the open one becomes full.
    let (wal, away) = (folder.path().join(SEGMENTS), folder.path().join("away"));
    fs::rename(&wal, &away).unwrap();
    fs::write(&wal, b"").unwrap();
    let mut taken = 0;
    let refusal = loop {
        let ticket = log.append(vec![1; 60_000]).unwrap();
        match ticket.durable().await {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, AppendError::Failed(_)) && taken > 200);
    assert!(matches!(log.append(b"refused 2".to_vec()), Err(AppendError::Failed(_))));
    assert!(log.state().failing.is_some());
    fs::remove_file(&wal).unwrap();
    fs::rename(&away, &wal).unwrap();
    while log.state().failing.is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    append(&log, 4..6).await;
    log.close().await;
    let told = format!("gap refused {taken} 2");
    assert_eq!(entries(folder.path())[taken..], [told.as_str(), "entry 4", "entry 5"]);
    assert_whole(folder.path());
}

#[tokio::test]
async fn when_no_checkpoint_can_be_written_entries_stay_durable_and_join_the_tree_later() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    append(&log, 0..3).await;
    while log.state().checkpoint < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (tile, away) = (folder.path().join("tile"), folder.path().join("away"));
    fs::rename(&tile, &away).unwrap();
    fs::write(&tile, b"").unwrap();
    append(&log, 3..6).await;
    while log.state().failing.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((log.state().durable, log.state().checkpoint), (6, 3));
    fs::remove_file(&tile).unwrap();
    fs::rename(&away, &tile).unwrap();
    log.close().await;
    open(settings(folder.path())).close().await;
    assert_eq!(entries(folder.path()), expected(0..6));
    assert_whole(folder.path());
}
