//! The rules about the code itself that a machine can check: sizes, headers, names, who may depend on whom, where `unsafe` may stand,
//! and that the files which users copy from exist and load.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use barnabas_tests::scratch::root;

#[test]
fn no_file_is_longer_than_800_lines() {
    let long = |path: &PathBuf| (text(path).lines().count() > 800).then(|| shown(path));
    none("longer than 800 lines", sources().iter().filter_map(long));
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let bare = |path: &PathBuf| (!text(path).starts_with("//!")).then(|| shown(path));
    none("without a //! header", sources().iter().filter_map(bare));
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let words = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "service", "info", "data"];
    let vague = |path: &PathBuf| {
        let relative = shown(path);
        let mut parts = Path::new(&relative).iter().filter_map(|part| part.to_str());
        parts.any(|part| words.contains(&part.trim_end_matches(".rs"))).then_some(relative.clone())
    };
    none("with a name that says nothing", sources().iter().filter_map(vague));
}

#[test]
fn unsafe_stands_in_one_reviewed_file() {
    let risky = |path: &PathBuf| {
        let code = text(path);
        let mut lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
        let used = lines.any(|line| line.contains("unsafe ") && !line.contains('"'));
        (used && !path.ends_with("crypto-lib/src/memory.rs")).then(|| shown(path))
    };
    let own: Vec<PathBuf> = sources().into_iter().filter(|path| !path.ends_with("tests/tests/structure.rs")).collect();
    none("with unsafe code", own.iter().filter_map(risky));
}

#[test]
fn crypto_lib_knows_no_adapter_and_adapters_know_no_proxy() {
    for (manifest, forbidden) in [
        ("crypto-lib/Cargo.toml", &["barnabas-kms", "barnabas.", "tokio", "rdkafka", "hyper", "axum"][..]),
        ("kms-adapters/Cargo.toml", &["barnabas.", "rdkafka"][..]),
        ("tests/Cargo.toml", &["barnabas.", "barnabas ="][..]),
    ] {
        let manifest_text = text(&root().join(manifest));
        let lines = manifest_text.lines().map(str::trim);
        let wrong = lines.filter(|line| forbidden.iter().any(|name| line.starts_with(name)));
        none(&format!("in {manifest} that must not stand there"), wrong.map(str::to_owned));
    }
}

#[test]
fn frame_imports_nothing_of_ours() {
    let inside = root().join("proxy/src/frame");
    let crosses = |path: &PathBuf| {
        let code = text(path);
        let crosses = code.lines().any(|line| {
            let line = line.trim();
            let ours = line.starts_with("use crate::") && !line.starts_with("use crate::frame");
            ours || line.starts_with("use barnabas_")
        });
        (path.starts_with(&inside) && crosses).then(|| shown(path))
    };
    none("of proxy/src/frame that import from outside of it", sources().iter().filter_map(crosses));
}

#[test]
fn main_only_starts_what_others_do() {
    let lines = text(&root().join("proxy/src/main.rs")).lines().count();
    assert!(lines <= 120, "proxy/src/main.rs has {lines} lines");
}

#[test]
fn every_example_configuration_is_free_of_mistakes() {
    let folder = root().join("deploy/examples");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let examples: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| has_end(path, "yaml")).collect();
    assert!(!examples.is_empty(), "no examples in {}", folder.display());
    for example in examples {
        let checked =
            Command::new(barnabas_tests::gateway::binary()).arg("check").arg("--config").arg(&example).output();
        let checked = checked.expect("the binary runs");
        let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
        // An example names files that only its user has; everything else in it must be right.
        let mistakes = said.lines().filter(|line| line.contains("unknown") || line.contains("missing key"));
        none(&format!("in {}", shown(&example)), mistakes.map(str::to_owned));
        assert!(matches!(checked.status.code(), Some(0 | 64)), "{}: {said}", shown(&example));
    }
}

/// All Rust files of the workspace; build output and generated protocol vectors are not ours to style.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for part in ["crypto-lib", "kms-adapters", "proxy", "tests"] {
        walk(&root().join(part), &mut found);
    }
    assert!(found.len() > 20, "the walk found nothing");
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in
        fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten().map(|entry| entry.path())
    {
        if path.is_dir() {
            if !path.ends_with("target") {
                walk(&path, found);
            }
        } else if has_end(&path, "rs") {
            found.push(path);
        }
    }
}

fn has_end(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|extension| extension == end)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[track_caller]
fn none(what: &str, found: impl Iterator<Item = String>) {
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}
