//! Custodians together open what was sealed since their escrow was installed, without gateway, keystore or client; fewer of
//! them than the root has laid down open nothing.

use std::fs;

use serde_json::Value;

use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::process::Finished;
use barnabas_tests::site::{Site, secret};

#[test]
fn a_quorum_opens_a_segment_when_keystore_and_gateway_are_gone_and_less_than_a_quorum_opens_nothing() {
    let mut site = Site::new();
    let (topic, early, late) = (site.sealed_topic(1), secret(), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&early, 0, 0)], &[]);
    ceremony(&site);
    site.gateway.command(&["epoch", "rotate", "--topic", &topic]).ok();
    rd::produce(&alice, &topic, &[numbered(&late, 1, 0), numbered(&late, 2, 0)], &[]);
    let listed = site.gateway.command(&["escrow", "list", "--output", "json"]).ok();
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!((&listed[0]["threshold"], &listed[0]["custodians"]), (&2.into(), &"anna, ben, carl".into()), "{listed}");
    site.gateway.command(&["keyring", "verify"]).ok();

    // The worst day: what is left is a copy of a broker's disk, an export, and the root's public key on paper.
    site.gateway.command(&["keyring", "export", "keyring.export"]).ok();
    fs::write(site.home.folder().join("segment.log"), site.broker().segments(&topic, 0)).expect("can be written");
    fs::copy(made(&site, "root.pub"), site.home.folder().join("root.pub")).expect("can be copied");
    site.gateway.terminate();
    fs::remove_dir_all(site.home.folder().join(MADE)).expect("the installation is lost");

    let two = open(&site, &["segment.log"], &["anna", "carl"], &["1-anna", "3-carl"]);
    assert_eq!(states(&two), ["denied", "opened", "opened"], "sealed before the escrow, and after it: {}", two.text());
    assert!(two.text().contains(&late) && !two.text().contains(&early), "{}", two.text());
    assert_eq!(two.status.code(), Some(77), "one record is from before the escrow");
    for (holders, shares) in [
        (&["anna"][..], &["1-anna"][..]),
        (&["anna"], &["1-anna", "1-anna"]),
        (&["anna"], &["2-ben"]),
        (&["ben", "anna"], &["2-ben"]),
    ] {
        let few = open(&site, &["segment.log"], holders, shares);
        assert_eq!(few.status.code(), Some(77), "{holders:?} {shares:?}: {}", few.text());
        assert!(!few.text().contains(&late) && few.stdout.is_empty(), "{holders:?} {shares:?}: {}", few.text());
    }
    // Two who do not come together pass their shares on to a third.
    site.home.barnabas(&["escrow", "custodian", "--dir", "room"], None).ok();
    for (holder, share) in [("ben", "2-ben"), ("carl", "3-carl")] {
        let (from, to) = (format!("escrow/{share}.share"), format!("escrow/{share}-room.share"));
        let pass = ["escrow", "pass", "--holder", holder, "--share", &from, "--to", "room/custodian.pub", "--out", &to];
        site.home.barnabas(&pass, None).ok();
    }
    let passed = open(&site, &["segment.log"], &["room"], &["2-ben-room", "3-carl-room"]);
    assert!(passed.text().contains(&late), "{}", passed.text());
    let drill = open(&site, &["--sessions"], &["anna", "ben"], &["1-anna", "2-ben"]);
    let rows: Value = serde_json::from_str(&drill.stdout).expect("JSON");
    let opens: Vec<_> = rows.as_array().expect("a list").iter().map(|row| row["opens"].as_bool()).collect();
    assert_eq!(opens, [Some(false), Some(true)], "{rows}");
}

#[test]
fn a_retired_escrow_opens_what_it_could_and_nothing_that_comes() {
    let mut site = Site::new();
    let (topic, early, late) = (site.sealed_topic(1), secret(), secret());
    let alice = site.client("alice");
    let escrow = ceremony(&site);
    rd::produce(&alice, &topic, &[numbered(&early, 0, 0)], &[]);
    let root = made(&site, "root").display().to_string();
    let end = ["escrow", "retire", "--root", &root, "--escrow", &escrow, "--out", "retired.object"];
    site.home.barnabas(&end, None).ok();
    for expected in ["is retired", "already"] {
        let said = site.gateway.command(&["escrow", "install", "retired.object"]).ok();
        assert!(said.stdout.contains(expected), "{}", said.text());
    }
    site.gateway.command(&["epoch", "rotate", "--topic", &topic]).ok();
    rd::produce(&alice, &topic, &[numbered(&late, 1, 0)], &[]);
    fs::write(site.home.folder().join("segment.log"), site.broker().segments(&topic, 0)).expect("can be written");
    site.gateway.command(&["keyring", "export", "keyring.export"]).ok();
    fs::copy(made(&site, "root.pub"), site.home.folder().join("root.pub")).expect("can be copied");
    let opened = open(&site, &["segment.log"], &["ben", "carl"], &["2-ben", "3-carl"]);
    assert_eq!(states(&opened), ["opened", "denied"], "{}", opened.text());
    assert!(opened.text().contains(&early) && !opened.text().contains(&late), "{}", opened.text());
    site.gateway.command(&["keyring", "verify"]).ok();
}

#[test]
fn nobody_but_the_root_makes_an_escrow() {
    let site = Site::new();
    let other = Site::new();
    ceremony(&other);
    let foreign = other.home.folder().join("escrow/escrow.object").display().to_string();
    let refused = site.gateway.command(&["escrow", "install", &foreign]);
    assert_eq!(refused.status.code(), Some(65), "{}", refused.text());
    // The gateway's own keystore has no root key in it.
    site.home.barnabas(&["escrow", "custodian", "--dir", "anna"], None).ok();
    let gateway = site.home.folder().join(MADE).display().to_string();
    let public = "anna/custodian.pub";
    let without =
        ["escrow", "create", "--root", &gateway, "--custodian", public, "--threshold", "1", "--dir", "escrow"];
    assert_eq!(site.home.barnabas(&without, None).status.code(), Some(77));
    let root = made(&site, "root").display().to_string();
    let beyond = ["escrow", "create", "--root", &root, "--custodian", public, "--threshold", "2", "--dir", "escrow"];
    assert_eq!(site.home.barnabas(&beyond, None).status.code(), Some(2));
    assert!(!site.home.folder().join("escrow").exists(), "nothing was written");
}

/// Three custodians make keys, the root makes an escrow of two of three, and it is installed. Gives its id.
fn ceremony(site: &Site) -> String {
    for name in ["anna", "ben", "carl"] {
        site.home.barnabas(&["escrow", "custodian", "--dir", name], None).ok();
    }
    let root = made(site, "root").display().to_string();
    let mut create = vec!["escrow", "create", "--root", &root, "--threshold", "2", "--dir", "escrow"];
    for public in ["anna/custodian.pub", "ben/custodian.pub", "carl/custodian.pub"] {
        create.extend(["--custodian", public]);
    }
    let created = site.home.barnabas(&create, None).ok().stdout;
    site.gateway.command(&["escrow", "install", "escrow/escrow.object"]).ok();
    let id = created.strip_prefix("escrow ").and_then(|rest| rest.split(':').next());
    id.unwrap_or_else(|| panic!("no id in {created}")).to_owned()
}

fn open(site: &Site, what: &[&str], holders: &[&str], shares: &[&str]) -> Finished {
    let mut words = vec!["escrow", "open", "--keyring", "keyring.export", "--root-public-key", "root.pub"];
    words.extend(["--output", "json"]);
    words.extend(what);
    holders.iter().for_each(|holder| words.extend(["--holder", holder]));
    let shares: Vec<String> = shares.iter().map(|share| format!("escrow/{share}.share")).collect();
    shares.iter().for_each(|share| words.extend(["--share", share]));
    site.home.barnabas(&words, None)
}

fn states(said: &Finished) -> Vec<String> {
    let rows: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.text()));
    let state = |row: &Value| row["state"].as_str().unwrap_or_default().to_owned();
    rows.as_array().expect("a list").iter().map(state).collect()
}

/// A file of the installation.
fn made(site: &Site, name: &str) -> std::path::PathBuf {
    site.home.folder().join(MADE).join(name)
}

/// The folder that `init` made.
const MADE: &str = "made";
