//! The page's answers over a real log in a folder.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::{Extension, body};
use barnabas_crypto::Secret;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::audit::event::{Keeping, LogStatements, OnFailure, Peer};
use crate::audit::log::reader::Reader;
use crate::audit::log::verify::{Verification, verify};
use crate::audit::log::{Log, Settings, Signer};
use crate::audit::report::Occurrence;
use crate::audit::report::tests::{entry, grant_data};
use crate::identity::Principal;
use crate::metrics::AuditMetrics;

/// A log in a folder of its own.
pub(super) struct Scene {
    folder: tempfile::TempDir,
    log: Log,
    pub(super) audit: Audit,
}

impl Scene {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::new(folder.path().join("audit"), "log.example/1".to_owned());
        let settings = Settings { checkpoint_interval: Duration::from_millis(20), ..settings };
        let origin: Arc<str> = Arc::from("log.example/1");
        let signer = Signer::from_seed(&Secret::from_slice(&[7; 32]).unwrap()).unwrap();
        let log = Log::open(settings, signer, Arc::new(LogStatements::new(origin.clone()))).unwrap();
        let keeping = Keeping { origin, on_failure: OnFailure::Alarm, window: Duration::from_secs(10) };
        let audit = Audit::new(log.clone(), keeping, AuditMetrics::default());
        Self { folder, log, audit }
    }

    async fn write(&self, entries: Vec<Vec<u8>>) {
        for entry in entries {
            self.log.append(entry).unwrap();
        }
        while self.log.state().checkpoint < self.log.state().size {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn page(&self) -> Arc<Page> {
        Arc::new(Page::new(&self.folder.path().join("audit"), self.audit.clone()))
    }

    async fn ask(&self, page: &Arc<Page>, path: &str) -> (u16, Vec<u8>) {
        let peer = Arc::new(Door::new(self.audit.clone()).peer(Principal::user("auditor"), ([127, 0, 0, 1], 4).into()));
        let routes = page.clone().routes().layer(Extension::<Arc<Peer>>(peer));
        let answer = routes.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        (status, body::to_bytes(answer.into_body(), 16 << 20).await.unwrap().to_vec())
    }

    async fn json(&self, page: &Arc<Page>, path: &str) -> Value {
        let (status, bytes) = self.ask(page, path).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Closes the log, verifies it, and gives its events.
    pub(super) async fn close(self) -> Vec<Occurrence> {
        drop(self.audit);
        self.log.close().await;
        let directory = self.folder.path().join("audit");
        let report = verify(&Verification { log: Stored::new(&directory), ..Verification::default() }, &|_, _| {});
        assert!(report.unwrap().is_whole());
        let reader = Reader::open(&directory, None).unwrap();
        let entries = reader.entries(0..reader.size()).map(Result::unwrap);
        entries.map(|(index, bytes)| Occurrence::parse(index, &bytes).unwrap()).collect()
    }
}

/// What an event tells of a read.
pub(super) fn told(event: &Occurrence) -> String {
    let log = &event.data.log;
    let index = |index: Option<u64>| index.unwrap_or(u64::MAX);
    format!("{}-{} {}", index(log.first_index), index(log.last_index), log.filter.as_deref().unwrap_or_default())
}

fn reads(count: u64, who: &str) -> Vec<Vec<u8>> {
    let one = |number: u64| {
        let at = format!("{:02}T{:02}:{:02}", 2 + number / 1440, number / 60 % 24, number % 60);
        let who = json!({"authenticationInfo": {"principal": format!("User:{who}")}, "resourceName": "topic=orders"});
        entry("records", &at, who)
    };
    (0..count).map(one).collect()
}

fn indices(answer: &Value) -> Vec<u64> {
    answer["entries"].as_array().unwrap().iter().map(|entry| entry["index"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_log_is_served_as_tiles_that_verify() {
    let scene = Scene::new();
    scene.write(reads(300, "alice")).await;
    let page = scene.page();
    let (_, note) = scene.ask(&page, "/audit/log/checkpoint").await;
    let (checkpoint, _) = Checkpoint::parse_note(&note).unwrap();
    assert_eq!(checkpoint.size, 300);
    let (_, full) = scene.ask(&page, "/audit/log/tile/0/000").await;
    let (_, partial) = scene.ask(&page, "/audit/log/tile/0/001.p/44").await;
    assert_eq!((full.len(), partial.len()), (256 * 32, 44 * 32));
    let hashes: Vec<_> = [full, partial].concat().as_chunks::<32>().0.to_vec();
    assert_eq!(crate::audit::log::tree::root_of(&hashes), checkpoint.root);
    // A partial tile that is not kept any more is the beginning of the full one.
    let (status, cut) = scene.ask(&page, "/audit/log/tile/entries/000.p/3").await;
    assert_eq!((status, crate::audit::log::tile::parse_bundle(&cut).unwrap().len()), (200, 3));
    for nothing in
        ["/audit/log/lock", "/audit/log/wal", "/audit/log/tile/0/002", "/audit/log/tile/../vkey", "/audit/else.js"]
    {
        assert_eq!(scene.ask(&page, nothing).await.0, 404, "{nothing}");
    }
    assert_eq!(scene.ask(&page, "/audit/log/vkey").await.0, 200);
}

#[tokio::test]
async fn a_filter_finds_what_it_asks_for_a_page_at_a_time() {
    let scene = Scene::new();
    scene.write(reads(600, "alice")).await;
    let denied = json!({"authenticationInfo": {"principal": "User:bob"}, "result": {"status": "DENIED", "reason": "no_grant"}, "crypto": {"topic": "orders", "keyId": "ab"}});
    scene.write(vec![entry("records.refused", "02T23:00", denied), b"no event".to_vec()]).await;
    let page = scene.page();
    let newest = scene.json(&page, "/audit/query?limit=3").await;
    assert_eq!(indices(&newest), [601, 600, 599]);
    assert_eq!(newest["entries"][0]["text"], "no event");
    assert_eq!((newest["next"].as_u64(), newest["size"].as_u64()), (Some(599), Some(602)));
    let older = scene.json(&page, "/audit/query?limit=2&before=257").await;
    assert_eq!((indices(&older), older["scanned"].clone()), (vec![256, 255], json!([255, 257])));
    for asked in [
        "principal=User:bob",
        "outcome=no_grant",
        "outcome=DENIED",
        "kind=records.refused",
        "kind=records.*",
        "key_id=ab",
        "topic=orders&outcome=D*",
    ] {
        let found = scene.json(&page, &format!("/audit/query?{asked}")).await;
        assert_eq!(indices(&found), [600], "{asked}");
        assert!(found["next"].is_null());
        // The questions before it are entries, too.
        assert_eq!(found["scanned"], json!([0, found["size"]]), "{asked}");
    }
    let hour = scene.json(&page, "/audit/query?from=2026-03-02T01:00:00Z&to=2026-03-02T01:03:00Z").await;
    assert_eq!(indices(&hour), [62, 61, 60]);
    for wrong in ["limit=0", "limit=501", "limit=x", "from=yesterday", "user=bob"] {
        assert_eq!(scene.ask(&page, &format!("/audit/query?{wrong}")).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn the_access_matrix_is_that_of_the_grants_at_a_time() {
    let scene = Scene::new();
    let given = |client, right, at, revoked: Option<&str>| {
        let kind = if revoked.is_some() { "grant.revoked" } else { "grant.given" };
        entry(kind, at, grant_data(client, "orders", right, at, revoked))
    };
    scene.write(vec![given("alice", "write", "01T10:00", None), given("bob", "read", "01T11:00", None)]).await;
    let page = scene.page();
    let at = |at: &str| format!("/audit/access?at=2026-03-{at}:00Z");
    assert_eq!(scene.json(&page, &at("01T10:30")).await["principals"], json!(["User:alice"]));
    assert_eq!(scene.json(&page, &at("02T00:00")).await["rights"].as_array().unwrap().len(), 2);
    scene.write(vec![given("bob", "read", "03T09:00", Some("03T09:00"))]).await;
    let now = scene.json(&page, "/audit/access").await;
    assert_eq!((&now["principals"], &now["read"]), (&json!(["User:alice"]), &now["size"]));
    assert_eq!(scene.json(&page, &at("02T00:00")).await["rights"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn every_access_is_an_entry_of_the_log() {
    let scene = Scene::new();
    scene.write(reads(2, "alice")).await;
    let page = scene.page();
    for path in [
        "/audit/",
        "/audit/log/checkpoint",
        "/audit/log/tile/entries/000.p/2",
        "/audit/query?topic=orders",
        "/audit/access?at=2026-03-01T00:00:00Z",
    ] {
        assert_eq!(scene.ask(&page, path).await.0, 200, "{path}");
    }
    page.finish();
    drop(page);
    let events = scene.close().await;
    let reads: Vec<String> = events.iter().filter(|event| event.kind() == "log.read").map(told).collect();
    let (first, rest) = reads.split_first().unwrap();
    assert_eq!(first, "0-0 page");
    assert_eq!(rest[..2], ["0-0 tree", "0-1 entries"]);
    assert!(
        rest[2].ends_with(" query topic=orders") && rest[3].ends_with(" access at=2026-03-01T00:00:00Z"),
        "{rest:?}"
    );
}
