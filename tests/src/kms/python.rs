//! Servers that come as Python packages: a virtual environment below the build folder, made once for each list of packages.
//!
//! The lists stand beside this file, every package with its exact version and the hashes of its files. Two test processes may want the same
//! environment at once, so it is made under a file lock.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use crate::scratch::target;

/// The folder of the environment `name` with exactly the packages of `requirements` (pip's form).
///
/// # Panics
/// When Python is missing or pip fails; the text says what to install.
pub fn environment(name: &str, requirements: &str) -> PathBuf {
    let parent = target().join("kms");
    fs::create_dir_all(&parent).unwrap_or_else(|e| panic!("cannot make {}: {e}", parent.display()));
    let lock = File::create(parent.join(format!("{name}.lock"))).expect("a lock file can be written");
    lock.lock().expect("a file can be locked");
    let home = parent.join(name);
    let stamp = home.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return home;
    }
    let _ = fs::remove_dir_all(&home);
    said_ok(
        Command::new("python3").args(["-m", "venv"]).arg(&home),
        "python3 with the module venv is needed (Debian: apt-get install python3-venv)",
    );
    let list = home.join("requirements.txt");
    fs::write(&list, requirements).expect("the list can be written");
    let mut pip = Command::new(home.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--require-hashes",
        "-r",
    ])
    .arg(&list);
    said_ok(&mut pip, "pip needs a package registry that it can reach");
    fs::write(&stamp, requirements).expect("the stamp can be written");
    home
}

fn said_ok(command: &mut Command, remedy: &str) {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}; {remedy}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}; {remedy}");
}
