//! How a command ends: a code for scripts and lines for people.
//! The codes above 63 are those of BSD's `sysexits.h`, which service supervisors know. No failure may end with 0.

use std::process::{ExitCode, Termination};

use crate::config::Mistake;

/// The exit codes, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: failed for a reason that the lines tell.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 64: the configuration has mistakes; nothing was started.
    Configuration,
    /// 65: a file or a record cannot be right: truncated, forged, of an unknown version.
    Data,
    /// 69: a broker, a keystore or a steward does not answer.
    Unavailable,
    /// 73: a file cannot be written, or would be overwritten.
    CannotCreate,
    /// 77: a key, a passphrase or a right is missing.
    Denied,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Configuration => 64,
            Self::Data => 65,
            Self::Unavailable => 69,
            Self::CannotCreate => 73,
            Self::Denied => 77,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// Why a command did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For scripts.
    pub exit: Exit,
    /// For people, on standard error, one after the other.
    pub lines: Vec<String>,
}

impl Failure {
    /// A failure in one line.
    pub fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self { exit, lines: vec![line.into()] }
    }

    /// The mistakes of a configuration, one a line.
    pub fn mistakes(mistakes: Vec<Mistake>) -> Self {
        Self { exit: Exit::Configuration, lines: mistakes.iter().map(ToString::to_string).collect() }
    }

    /// A command whose body is not there: it must not look as if it had done something.
    pub fn not_built(command: &str) -> Self {
        Self::new(Exit::Failed, format!("`barnabas {command}` is not built yet; nothing was done"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}
