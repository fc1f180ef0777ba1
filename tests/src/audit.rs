//! Reads the audit log of a gateway as an auditor does who has nothing but its folder: the bundles of entries (C2SP tlog-tiles), each entry
//! behind its length.

mod copy;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use copy::{LogCopy, WIDTH, size_of};

use crate::rest::Http;
use crate::wait::{self, PATIENCE};

/// The folder of a log.
pub struct AuditLog(PathBuf);

impl AuditLog {
    /// At a folder that need not be there yet.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// All events under a checkpoint, in their order.
    ///
    /// # Panics
    /// When an entry is no JSON.
    pub fn events(&self) -> Vec<Value> {
        let mut bundles: BTreeMap<u64, (usize, Vec<u8>)> = BTreeMap::new();
        let root = self.0.join("tile/entries");
        collect(&root, &root, &mut bundles);
        let mut events = Vec::new();
        for (_, bundle) in bundles.into_values() {
            let mut rest = bundle.as_slice();
            while let Some((length, after)) = rest.split_first_chunk::<2>() {
                let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
                events.push(serde_json::from_slice(entry).expect("an entry is JSON"));
                rest = after;
            }
        }
        events
    }

    /// The events of a kind (without `io.barnabas.`).
    pub fn of(&self, kind: &str) -> Vec<Value> {
        let kind = format!("io.barnabas.{kind}");
        self.events().into_iter().filter(|event| event["type"] == kind.as_str()).collect()
    }

    /// Waits until some event of a kind satisfies `is_meant`.
    #[track_caller]
    pub fn wait_for(&self, kind: &str, is_meant: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("the audit log has a fitting {kind}"), PATIENCE, || {
            self.of(kind).into_iter().find(|event| is_meant(event))
        })
    }
}

/// Makes `count` events by as many requests to the HTTP bridge, of which each is told in full.
pub fn flood(http: &mut Http, count: usize) {
    let requests = b"GET /v1/nothing HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(AT_ONCE);
    for _ in 0..count.div_ceil(AT_ONCE) {
        http.send(&requests).expect("requests can be sent");
        for _ in 0..AT_ONCE {
            assert_eq!(http.answer().expect("an answer").status, 404);
        }
    }
}

/// Requests that are under way at once.
const AT_ONCE: usize = 50;

/// Bundles by their index; of partial ones the longest.
fn collect(root: &Path, folder: &Path, into: &mut BTreeMap<u64, (usize, Vec<u8>)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(root, &path, into);
            continue;
        }
        let relative = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        let (place, width) = match relative.split_once(".p/") {
            Some((place, width)) => (place.to_owned(), width.parse().ok()),
            None => (relative, Some(256)),
        };
        let digits: String = place.chars().filter(char::is_ascii_digit).collect();
        // A partial bundle goes when a longer one has come.
        let (Some(width), Ok(index), Ok(bytes)) = (width, digits.parse(), fs::read(&path)) else { continue };
        let known = into.entry(index).or_default();
        if width > known.0 {
            *known = (width, bytes);
        }
    }
}
