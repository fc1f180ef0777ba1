//! `log`: the form and the amount of the log on standard error.
//! A mapping arrives, a [`Log`] leaves.

use super::key::{Key, Kind, key};
use super::reader::Reader;
use super::values;

/// How the gateway logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The lowest level that is written.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text with fields.
    Text,
}

/// The lowest level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures that need a person.
    Error,
    /// What may become one.
    Warn,
    /// What an operator follows.
    Info,
    /// What a developer follows. Never holds record bytes or keys.
    Debug,
}

impl Log {
    pub(super) fn parse(reader: Reader<'_>) -> Option<Self> {
        let format = reader.or_default("format", values::choice(FORMATS), LogFormat::Text);
        let level = reader.or_default("level", values::choice(LEVELS), LogLevel::Info);
        reader.finish();
        Some(Self { format: format?, level: level? })
    }
}

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

const LEVELS: &[(&str, LogLevel)] =
    &[("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];

pub(super) const KEYS: &[Key] = &[
    key("log", Kind::Section, "its defaults", "The log on standard error."),
    key("log.format", Kind::Choice, "`text`", "`text` or `json`, one event a line."),
    key("log.level", Kind::Choice, "`info`", "`error`, `warn`, `info` or `debug`."),
];
