//! Makes a [`Caller`] of a request: by client certificate, Basic or Bearer.
//!
//! Arrives: what is known of the connection, and the headers. Leaves: a caller, or 401. What must never happen here: a credential
//! that is wrong falling back to a weaker proof; a credential in a log.

use axum::http::{HeaderMap, header};
use tokio::sync::watch;

use super::{Caller, Code, Connection, Error};
use crate::config::BridgeAuth;

/// Decides who is calling, for one bridge.
pub struct Callers {
    settings: BridgeAuth,
    changed: watch::Sender<()>,
}

impl Callers {
    /// The callers of a bridge.
    pub fn new(settings: BridgeAuth) -> Self {
        Self { settings, changed: watch::Sender::new(()) }
    }

    /// Who makes a request. A credential in the headers counts before the certificate of the connection.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`], with the schemes that are accepted in `WWW-Authenticate`.
    pub async fn caller(&self, connection: &Connection, headers: &HeaderMap) -> Result<Caller, Error> {
        if headers.contains_key(header::AUTHORIZATION) {
            return Err(Code::Unauthenticated.with("the credential is of no kind that is accepted here"));
        }
        match &connection.certificate {
            Some(principal) => Ok(Caller::certified(principal.clone())),
            None if self.settings.anonymous => Ok(Caller::anonymous()),
            None => Err(Code::Unauthenticated.with("show a client certificate")),
        }
    }

    /// Whether a caller would be accepted now: asked for streams that are open, after a change.
    pub fn still_accepts(&self, caller: &Caller) -> bool {
        !caller.is_expired(std::time::SystemTime::now())
    }

    /// Tells of every change of credentials.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
