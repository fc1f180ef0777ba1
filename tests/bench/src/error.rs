//! Everything that can end a measurement, in one list. A measurement that met any of these prints no figure: a rate with
//! failed requests in it would look better than it is.

use std::io;

/// Why a measurement was given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The answer does not belong to the request that was sent first.
    #[error("answer carries correlation id {got}, request {awaited} was waiting")]
    Correlation {
        /// The id of the oldest request without an answer.
        awaited: i32,
        /// The id that came.
        got: i32,
    },
    /// A frame is longer than the generator reads.
    #[error("answer of {bytes} bytes is over the limit of {limit}")]
    FrameTooLong {
        /// Announced length.
        bytes: usize,
        /// What the generator accepts.
        limit: usize,
    },
    /// A call to the operating system failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, in words.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// The answer holds a Kafka error code.
    #[error("{api} was answered with error code {code}")]
    Kafka {
        /// The request's API by Kafka's name.
        api: &'static str,
        /// Kafka's error code.
        code: i16,
    },
    /// What came back is not what was written.
    #[error("{0}")]
    Mismatch(String),
    /// The stage cannot be set up; the text holds the remedy.
    #[error("{0}")]
    Setup(String),
    /// An answer ended in the middle of a field.
    #[error("answer is cut short: field of {needed} bytes, {left} left")]
    Short {
        /// Length of the field.
        needed: usize,
        /// Bytes that remain.
        left: usize,
    },
    /// TLS failed.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

/// Names what was tried when an input or output call fails.
pub trait Attempt<T> {
    /// Turns the system's error into [`Error::Io`] with `action` in it.
    fn attempt(self, action: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, action: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action: action(), source })
    }
}
