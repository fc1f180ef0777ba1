//! What a crash leaves at any byte, and what opening makes of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::super::folder::CHECKPOINT;
use super::*;

#[tokio::test]
async fn a_write_ahead_file_cut_at_any_byte_of_its_tail_gives_whole_entries_and_no_torn_log() {
    let (live, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    log_of(live.path(), 3).await;
    let log = open(without_checkpoints(live.path()));
    append(&log, 3..7).await;
    let whole = fs::metadata(segment(live.path())).unwrap().len();
    let header = whole - 4 * (56 + 7);
    for cut in header..=whole {
        let crashed = folder.path().join(cut.to_string());
        copy(live.path(), &crashed);
        File::options().write(true).open(segment(&crashed)).unwrap().set_len(cut).unwrap();
        open(settings(&crashed)).close().await;
        let kept = 3 + (cut - header) / (56 + 7);
        assert_eq!(entries(&crashed), expected(0..kept), "cut at byte {cut}");
        assert_whole(&crashed);
        fs::remove_dir_all(&crashed).unwrap();
    }
    log.close().await;
    assert_eq!(entries(live.path()), expected(0..7));
}

#[tokio::test]
async fn a_damaged_record_before_whole_ones_becomes_a_gap_and_what_follows_is_kept() {
    let (live, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = open(without_checkpoints(live.path()));
    for n in 0..5 {
        append(&log, n..n + 1).await;
    }
    let crashed = folder.path().join("crashed");
    copy(live.path(), &crashed);
    let mut bytes = fs::read(segment(&crashed)).unwrap();
    let place = 100 + 2 * (56 + 7) + 60;
    bytes[place] ^= 0x40;
    fs::write(segment(&crashed), bytes).unwrap();
    open(settings(&crashed)).close().await;
    assert_eq!(entries(&crashed), ["entry 0", "entry 1", "gap lost 2 1", "entry 3", "entry 4"]);
    assert_whole(&crashed);
}

#[tokio::test]
async fn a_crash_between_any_two_steps_of_a_checkpoint_loses_nothing() {
    let (live, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    log_of(live.path(), 300).await;
    let log = open(without_checkpoints(live.path()));
    append(&log, 300..600).await;
    let before = folder.path().join("before");
    copy(live.path(), &before);
    log.close().await;
    // Tiles and bundles of the next checkpoint are there, one more each time, and the checkpoint is the old one.
    let mut files = Vec::new();
    list(live.path(), &mut files);
    files.retain(|path| path.strip_prefix(live.path()).unwrap().starts_with("tile"));
    files.sort();
    assert!(files.len() > 5);
    for count in 0..=files.len() {
        let crashed = folder.path().join("crashed");
        copy(&before, &crashed);
        for path in &files[..count] {
            let target = crashed.join(path.strip_prefix(live.path()).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(path, target).unwrap();
        }
        assert_eq!(check(&crashed).tail, 300);
        open(settings(&crashed)).close().await;
        assert_eq!(entries(&crashed), expected(0..600), "after {count} files");
        assert_whole(&crashed);
        fs::remove_dir_all(&crashed).unwrap();
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

#[tokio::test]
async fn tiles_that_a_disk_lost_are_computed_again_and_lost_bytes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    log_of(folder.path(), 300).await;
    fs::remove_dir_all(folder.path().join("tile/0/001.p")).unwrap();
    fs::remove_dir_all(folder.path().join("tile/1")).unwrap();
    open(settings(folder.path())).close().await;
    assert_whole(folder.path());
    assert_eq!(entries(folder.path()), expected(0..300));

    fs::remove_dir_all(folder.path().join("tile/entries/001.p")).unwrap();
    open(settings(folder.path())).close().await;
    let report = assert_whole(folder.path());
    assert_eq!(report.unreadable, [(256, 300)]);
    assert_eq!(entries(folder.path())[300], "gap unreadable 256 44");
    let log = open(settings(folder.path()));
    append(&log, 301..700).await;
    log.close().await;
    assert_eq!(assert_whole(folder.path()).unreadable, [(256, 300)]);
}

#[tokio::test]
async fn a_folder_that_contradicts_what_was_signed_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let broken = |what: &str| {
        let error = Log::open(settings(folder.path()), signer(), Arc::new(Plain)).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    };
    log_of(folder.path(), 10).await;
    let old = fs::read(folder.path().join(CHECKPOINT)).unwrap();
    let log = open(settings(folder.path()));
    append(&log, 10..20).await;
    log.close().await;
    open(settings(folder.path())).close().await;
    let new = fs::read(folder.path().join(CHECKPOINT)).unwrap();

    fs::write(folder.path().join(CHECKPOINT), old).unwrap();
    broken("rolled back");
    fs::remove_file(folder.path().join(CHECKPOINT)).unwrap();
    broken("the checkpoint over them is not");
    fs::write(folder.path().join(CHECKPOINT), &new).unwrap();
    fs::write(folder.path().join("tile/0/000.p/20"), [0; 640]).unwrap();
    broken("do not lead to its checkpoint");
    let other = Signer::from_seed(&Secret::from_slice(&[43; 32]).unwrap()).unwrap();
    let error = Log::open(settings(folder.path()), other, Arc::new(Plain)).err().unwrap().to_string();
    assert!(error.contains("not signed by"), "{error}");
}

#[tokio::test]
async fn a_log_is_opened_by_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(settings(folder.path()));
    let again = Log::open(settings(folder.path()), signer(), Arc::new(Plain));
    assert!(matches!(again, Err(super::super::Error::InUse(_))));
    log.close().await;
    open(settings(folder.path())).close().await;
}

/// The process that the next test kills: appends for ever and says which entries are durable.
#[tokio::test]
async fn appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os("BARNABAS_TEST_AUDIT_FOLDER") else { return };
    let log = open(settings(Path::new(&folder)));
    for n in log.state().size.. {
        let ticket = log.append(format!("entry {n}").into_bytes()).unwrap();
        println!("durable {}", ticket.durable().await.unwrap());
    }
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_appends_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    for stop in [1, 40, 300, 3] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "audit::log::tests::crash::appends_until_it_is_killed"])
            .env("BARNABAS_TEST_AUDIT_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = 0;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let durable = lines.filter_map(|line| line.split_once("durable ")?.1.parse::<u64>().ok());
        for index in durable.take(stop) {
            acknowledged = index + 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Before anything is repaired the folder is whole as it lies there.
        let report = assert_whole(folder.path());
        assert!(report.size + report.tail >= acknowledged);
        open(settings(folder.path())).close().await;
        let found = entries(folder.path());
        assert!(found.len() as u64 >= acknowledged, "{} of {acknowledged}", found.len());
        assert_eq!(found, expected(0..found.len() as u64));
    }
}
