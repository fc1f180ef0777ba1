//! Apache Kafka as it is published: fetched once by Maven, its classes run by the Java of the machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::scratch::root;

/// The folder with Kafka's jars; fetched at the first asking, which takes seconds, or a minute on a machine without a cache.
///
/// # Panics
/// When Java or Maven is missing; the text says what to install.
pub fn libs() -> &'static Path {
    static LIBS: OnceLock<PathBuf> = OnceLock::new();
    LIBS.get_or_init(|| {
        let script = root().join("tests/kafka/fetch.sh");
        let output = Command::new(&script).output().unwrap_or_else(|e| panic!("cannot run {}: {e}", script.display()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}

/// Java for a short-lived tool: starts fast, compiles little.
pub fn tool(class: &str) -> Command {
    java(&["-XX:TieredStopAtLevel=1", "-Xmx256m"], "error", class)
}

/// Java for a broker.
pub fn server(class: &str) -> Command {
    java(&["-Xms256m", "-Xmx768m"], "warn", class)
}

fn java(options: &[&str], level: &str, class: &str) -> Command {
    let mut command = Command::new("java");
    let logging = root().join("tests/kafka/log4j2.yaml");
    command.args(["-XX:+UseSerialGC", "-Xshare:auto"]).args(options);
    command.arg(format!("-Dlog4j2.configurationFile={}", logging.display())).arg(format!("-Dbarnabas.log={level}"));
    command.arg("-cp").arg(libs().join("*")).arg(class);
    command
}
