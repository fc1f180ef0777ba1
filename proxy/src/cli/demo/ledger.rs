//! The audit log of the show: is it whole, and what does a copy say that somebody has tampered with?
//!
//! Arrives: the log's folder. Leaves: the number of its entries; the first fault of the copy. What must never happen here: the log
//! itself touched.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::audit::log::stored::Stored;
use crate::audit::log::verify::{Report, Verification, verify};

/// Waits until a checkpoint covers an entry that names `who`, and says how many entries there are.
pub(super) async fn whole(folder: &Path, who: &str) -> Result<u64, String> {
    for _ in 0..LOOKS {
        // A log that grows may be met between two of its files.
        if let Ok(report) = look(folder)
            && report.is_whole()
            && holds(folder, who)?
        {
            return Ok(report.size);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(format!("no whole log names {who}"))
}

/// Copies the log, puts one name in the place of another of the same length, and gives what the verification says of the copy.
pub(super) fn tampered(folder: &Path, copy: &Path, (from, to): (&str, &str)) -> Result<String, String> {
    copy_all(folder, copy).map_err(text)?;
    let mut changed = false;
    for file in files(&copy.join(BUNDLES)).map_err(text)? {
        let mut bytes = fs::read(&file).map_err(text)?;
        if let Some(at) = place(&bytes, from.as_bytes())
            && let Some(name) = bytes.get_mut(at..at + from.len())
        {
            name.copy_from_slice(to.as_bytes());
            fs::write(&file, bytes).map_err(text)?;
            changed = true;
        }
    }
    let report = look(copy)?;
    match report.faults.first() {
        Some(fault) if changed => {
            let entry = fault.entry.map_or_else(String::new, |entry| format!("entry {entry}: "));
            Ok(format!("{entry}{}", fault.kind.name()))
        }
        _ => Err("the copy that was tampered with is taken for whole".to_owned()),
    }
}

fn look(folder: &Path) -> Result<Report, String> {
    let asked = Verification { log: Stored::new(folder), ..Verification::default() };
    verify(&asked, &|_, _| {}).map_err(text)
}

fn holds(folder: &Path, who: &str) -> Result<bool, String> {
    let bundles = files(&folder.join(BUNDLES)).map_err(text)?;
    Ok(bundles.iter().any(|file| fs::read(file).is_ok_and(|bytes| place(&bytes, who.as_bytes()).is_some())))
}

fn place(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// All files below a folder.
fn files(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() { copy_all(&path, &to.join(name))? } else { fs::copy(&path, to.join(name)).map(|_| ())? }
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Where entries are, as C2SP tlog-tiles names it.
const BUNDLES: &str = "tile/entries";

const LOOKS: usize = 200;

/// Checkpoints are made each second.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
