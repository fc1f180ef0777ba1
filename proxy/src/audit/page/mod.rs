//! The audit page: an auditor's request arrives, with the name that TLS has proved; files of the page, the log as C2SP
//! tlog-tiles, entries by filter and the access matrix leave. Everything is read-only, and every access is told to the log.
//! The page trusts nothing that this file says: the browser verifies signature, tree and entries by itself. What must never
//! happen here: an answer to somebody whose role was not checked (`admin/secure.rs` does, before), or a read that is not told.

mod access;
mod query;
mod site;
mod tiles;
mod told;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

pub use told::{Door, LISTENER};

use self::access::History;
use self::told::{Reads, What};
use super::event::Audit;
use super::log::Error;
use super::log::checkpoint::Checkpoint;
use super::log::stored::Stored;

/// The page of one log.
pub struct Page {
    stored: Stored,
    reads: Reads,
    /// Reading many entries keeps a processor busy: clients of the gateway come first.
    scans: Arc<Semaphore>,
    history: Mutex<History>,
}

impl Page {
    /// The page of the log in a folder. Accesses are told to `audit`.
    #[must_use]
    pub fn new(directory: &Path, audit: Audit) -> Self {
        Self {
            stored: Stored::new(directory),
            reads: Reads::new(audit),
            scans: Arc::new(Semaphore::new(SCANS)),
            history: Mutex::default(),
        }
    }

    /// Tells from time to time what was read in the meantime, for ever.
    pub async fn keep_telling(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            self.reads.flush(false);
        }
    }

    /// Tells what was read and not told yet: before the log is closed.
    pub fn finish(&self) {
        self.reads.flush(true);
    }

    /// Everything under `/audit`.
    pub fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/audit", get(site::redirect))
            .route("/audit/", get(site::index))
            .route("/audit/{file}", get(site::file))
            .route("/audit/log/{*path}", get(tiles::file))
            .route("/audit/query", get(query::answer))
            .route("/audit/access", get(access::answer))
            .with_state(self)
    }

    /// The log's size as its checkpoint says.
    fn size(&self) -> Result<u64, Trouble> {
        let bytes = self.stored.file(CHECKPOINT)?.ok_or(Trouble::NoCheckpoint)?;
        let (checkpoint, _) = Checkpoint::parse_note(&bytes).ok_or(Trouble::NoCheckpoint)?;
        Ok(checkpoint.size)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}; see `/audit/` for what can be asked")]
    Asked(String),
    #[error(transparent)]
    Log(#[from] Error),
    #[error("there is nothing here")]
    Nothing,
    #[error("the log has no readable checkpoint")]
    NoCheckpoint,
    #[error("reading the log has stopped")]
    Stopped,
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Asked(_) => StatusCode::BAD_REQUEST,
            Self::Log(error) => {
                // Paths of this machine are for its operator.
                tracing::error!(event = "audit_page_cannot_read", %error);
                return (StatusCode::INTERNAL_SERVER_ERROR, "the log cannot be read\n").into_response();
            }
            Self::Nothing | Self::NoCheckpoint => StatusCode::NOT_FOUND,
            Self::Stopped => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{self}\n")).into_response()
    }
}

/// Files of a log (C2SP tlog-tiles; the others are of `README.md` beside the log).
const CHECKPOINT: &str = "checkpoint";
const PUBLIC_KEY: &str = "vkey";
const STATEMENTS: &str = "statements";

/// Reads that go through many entries, at once.
const SCANS: usize = 1;

#[cfg(test)]
mod tests;
