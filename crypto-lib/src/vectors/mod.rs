//! The published test vectors: made here, kept in `vectors/`, compared at every test run.
//!
//! They are inputs with the class of their outcome, negative ones included. To write them anew after a deliberate change of
//! the format: `BARNABAS_WRITE_VECTORS=1 cargo test -p barnabas-crypto --lib vectors`. Once a release has published them,
//! a difference is a break of the format, not a reason to write them anew.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use serde_json::Value;

mod keyring;
mod order;
mod records;
mod salamander;

/// Compares a file of `vectors/` with what this code makes, or writes it when asked to.
fn check(name: &str, made: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let made = serde_json::to_string_pretty(made).unwrap() + "\n";
    if std::env::var_os("BARNABAS_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    // Not assert_eq: the difference is long, and a diff tool shows it better.
    assert!(kept == made, "{} differs from what the code makes", path.display());
}
