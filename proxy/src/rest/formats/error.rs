//! Why a body is not the records it should be, or a record not the answer that was asked for.
//!
//! Each error has the code that clients of the v2 and v3 APIs know, and names the record and the byte. What must never
//! happen here: bytes of a record in the text.

use std::borrow::Cow;
use std::fmt;

use crate::rest::{Code, Error};

/// What is wrong, with the place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatError {
    code: Code,
    text: Cow<'static, str>,
    record: Option<usize>,
    at: Option<usize>,
}

impl FormatError {
    /// An error that has no place yet. The text is lower case and has no full stop.
    pub(crate) fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into(), record: None, at: None }
    }

    /// The same, with another code.
    pub(crate) fn of(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// At a byte of the body or stream, unless the place is known better.
    pub(crate) fn at(mut self, at: usize) -> Self {
        self.at.get_or_insert(at);
        self
    }

    /// In a record, counted from zero.
    pub(crate) fn in_record(mut self, record: usize) -> Self {
        self.record.get_or_insert(record);
        self
    }

    /// The code that is told.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The record, counted from zero, where the mistake is one record's.
    #[must_use]
    pub const fn record(&self) -> Option<usize> {
        self.record
    }

    /// The byte of the body or stream, counted from zero, where it is known.
    #[must_use]
    pub const fn position(&self) -> Option<usize> {
        self.at
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        error.code.with(error.to_string())
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.record, self.at) {
            (Some(record), Some(at)) => write!(f, "record {record}, byte {at}: {}", self.text),
            (Some(record), None) => write!(f, "record {record}: {}", self.text),
            (None, Some(at)) => write!(f, "byte {at}: {}", self.text),
            (None, None) => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for FormatError {}
