//! An epoch that was destroyed is noise: to the gateway, to its tools with every key that there is, and on a disk image that
//! was taken before.

use std::fs;
use std::path::{Path, PathBuf};

use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;

use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{assert_same, numbered, shows};
use barnabas_tests::gateway::Gateway;
use barnabas_tests::process::Finished;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;

#[test]
fn an_old_disk_image_of_a_destroyed_epoch_is_noise_and_other_epochs_still_open() {
    let mut site = Site::new();
    site.gateway.expect_in_log("was destroyed");
    let (topic, early, late) = (site.sealed_topic(1), secret(), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader"));
    let before: Vec<_> = (0..3).map(|n| numbered(&early, n, 0)).collect();
    rd::produce(&alice, &topic, &before, &[]);
    for who in [&alice, &reader] {
        assert_same(&before, &rd::read_all(who, &topic));
    }
    let image = copy_of_the_log(&site, &topic);
    assert!(opened(&site.gateway, &image, &topic, "User:reader").contains(&early), "the image opens before");

    site.gateway.command(&["epoch", "rotate", "--topic", &topic]).ok();
    let after: Vec<_> = (3..6).map(|n| numbered(&late, n, 0)).collect();
    rd::produce(&alice, &topic, &after, &[]);
    assert_eq!(rd::read_all(&reader, &topic).len(), 6);

    refuses_by_mistake(&site, &topic);
    assert_eq!(rd::read_all(&reader, &topic).len(), 6, "what was refused changed nothing");
    let destroyed = destroy(&site.gateway, &topic, "0", &["--force", "--yes"]).ok();
    assert!(destroyed.text().contains("event") && destroyed.text().contains("epoch_destroyed"), "{}", destroyed.text());
    site.gateway.wait_for_log("epoch_destroyed");

    // A gateway that had everything open a moment ago.
    wait::until_true("the gateway opens nothing of the epoch", || {
        rd::read(&reader, &topic, &[]).error == Some(RDKafkaErrorCode::InvalidRecord)
    });
    let image_now = copy_of_the_log(&site, &topic);
    for who in ["User:reader", "User:alice"] {
        let old = opened(&site.gateway, &image, &topic, who);
        assert!(!old.contains(&early), "{who}: {old}");
        let now = opened(&site.gateway, &image_now, &topic, who);
        assert!(!now.contains(&early) && now.contains(&late), "{who}: {now}");
    }
    // One that begins now, from the keyring alone.
    site.gateway.terminate();
    site.gateway.restart();
    assert_eq!(rd::read(&reader, &topic, &[]).error, Some(RDKafkaErrorCode::InvalidRecord));
    site.gateway.command(&["keyring", "verify"]).ok();
    let epochs = json(&site.gateway.command(&["epoch", "list", "--topic", &topic, "--output", "json"]).ok());
    let seeds: Vec<_> = epochs.as_array().expect("a list").iter().map(|epoch| epoch["seed"].as_str()).collect();
    assert_eq!(seeds, [Some("destroyed"), Some("kept")], "{epochs}");
    site.assert_sealed(&topic, 6, &early);
}

#[test]
fn an_epoch_whose_records_are_gone_is_destroyed_without_force() {
    let mut site = Site::new();
    let (topic, early, late) = (site.sealed_topic(1), secret(), secret());
    let (alice, reader) = (site.client("alice"), site.client("reader"));
    rd::produce(&alice, &topic, &[numbered(&early, 0, 0)], &[]);
    site.gateway.command(&["epoch", "rotate", "--topic", &topic]).ok();
    let kept = destroy(&site.gateway, &topic, "0", &["--yes"]);
    assert!(kept.text().contains("may still be there"), "{}", kept.text());
    site.broker().wire().delete_records(&topic, 0, 1).expect("the broker forgets the first record");
    destroy(&site.gateway, &topic, "0", &["--yes"]).ok();
    rd::produce(&alice, &topic, &[numbered(&late, 1, 0)], &[]);
    let read = rd::read_all(&reader, &topic);
    assert!(read.len() == 1 && shows(&read[0].record, &late), "{read:?}");
}

/// What must not be destroyed without a word, or at all.
fn refuses_by_mistake(site: &Site, topic: &str) {
    let cases: [(&str, &[&str], i32, &str); 5] = [
        ("1", &["--force", "--yes"], 1, "is the current one"),
        ("7", &["--force", "--yes"], 1, "has no epoch 7"),
        ("0", &["--yes"], 1, "may still be there"),
        ("0", &["--dry-run"], 1, "may still be there"),
        ("0", &["--force"], 2, "nothing was changed"),
    ];
    for (epoch, words, code, expected) in cases {
        let refused = destroy(&site.gateway, topic, epoch, words);
        assert_eq!(refused.status.code(), Some(code), "{words:?}: {}", refused.text());
        assert!(refused.text().contains(expected), "{words:?}: {}", refused.text());
    }
    let shown = json(&destroy(&site.gateway, topic, "0", &["--force", "--dry-run", "--output", "json"]).ok());
    assert_eq!((&shown["sessions"], &shown["grants"]), (&1.into(), &2.into()), "{shown}");
}

fn destroy(gateway: &Gateway, topic: &str, epoch: &str, words: &[&str]) -> Finished {
    gateway.command(&[&["epoch", "destroy", "--topic", topic, "--epoch", epoch], words].concat())
}

/// The folder of the topic's first partition, file by file, as a back-up of the disk has it; gives the first segment.
fn copy_of_the_log(site: &Site, topic: &str) -> PathBuf {
    let name = format!("{topic}-0");
    let image = site.home.folder().join(barnabas_tests::scratch::unique("image")).join(&name);
    fs::create_dir_all(&image).expect("a folder");
    for entry in fs::read_dir(site.broker().site().data.join(&name)).expect("the folder of a partition").flatten() {
        fs::copy(entry.path(), image.join(entry.file_name())).expect("can be copied");
    }
    image.join("00000000000000000000.log")
}

/// What the operator's tool makes of a segment with the keys of a client.
fn opened(gateway: &Gateway, segment: &Path, topic: &str, who: &str) -> String {
    let segment = segment.display().to_string();
    gateway.command(&["inspect", &segment, "--topic", topic, "--open-as", who, "--output", "json"]).text()
}

fn json(said: &Finished) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.text()))
}
