//! The log on standard error or in a file: the settings arrive, a subscriber for the whole process is in place after.
//! Events carry fields (`event = "..."` and what belongs to it), never sentences with values inside; record bytes, keys
//! and secrets are never fields. The level can change while the process runs, the form cannot.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// Changes the level of the running process.
#[derive(Clone)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl LevelHandle {
    /// Takes effect for the next event.
    pub fn set(&self, level: LogLevel) {
        if self.0.reload(filter(level)).is_err() {
            tracing::warn!(event = "log_level_not_changed", "the log is already closed");
        }
    }
}

/// Installs the log of the process; a second call is an error of the caller and changes nothing.
pub fn install(log: Log) -> Result<LevelHandle, TryInitError> {
    install_into(log, BoxMakeWriter::new(io::stderr), io::stderr().is_terminal())
}

/// As [`install`], into a file, for a command whose terminal is for something else.
pub fn install_to_file(log: Log, file: File) -> Result<LevelHandle, TryInitError> {
    install_into(log, BoxMakeWriter::new(Arc::new(file)), false)
}

fn install_into(log: Log, writer: BoxMakeWriter, colour: bool) -> Result<LevelHandle, TryInitError> {
    let (level, handle) = reload::Layer::new(filter(log.level));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<_> + Send + Sync> = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(colour).boxed(),
    };
    tracing_subscriber::registry().with(level).with(lines).try_init()?;
    Ok(LevelHandle(handle))
}

/// Ours at the chosen level; libraries one level quieter, because theirs are sentences.
fn filter(level: LogLevel) -> Targets {
    let (ours, theirs) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::ERROR),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
    };
    Targets::new().with_default(theirs).with_target("barnabas", ours)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_one_level_quieter() {
        let info = filter(LogLevel::Info);
        assert!(info.would_enable("barnabas::listener", &Level::INFO));
        assert!(!info.would_enable("barnabas::listener", &Level::DEBUG));
        assert!(info.would_enable("rustls::conn", &Level::WARN));
        assert!(!info.would_enable("rustls::conn", &Level::INFO));
        assert!(filter(LogLevel::Error).would_enable("rdkafka", &Level::ERROR));
    }
}
