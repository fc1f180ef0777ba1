//! Opening what `inspect` finds, with a client's identity out of the gateway's custody; or telling who could open it.
//!
//! Arrives: sealed values with their place. Leaves: plain values for the operator who holds the keystore, and a reason for
//! each that does not open. What must never happen here: a value that did not authenticate, or that the client's grants do
//! not cover, on the terminal.

use std::collections::HashMap;
use std::sync::Arc;

use barnabas_crypto::{
    AadBuffer, Error, Header, IdentitySecret, KeyId, Place, Reader, RecordType, Right, SessionReader, StreamId,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Found, Key};
use crate::cli::desk::{self, Desk};
use crate::cli::{Exit, Failure};
use crate::config::{Config, DEFAULT_MAX_INFLATED_BYTES};
use crate::keyring::now;

/// Opens with the grants of one client.
pub(super) struct Opening {
    desk: Desk,
    secret: Arc<IdentitySecret>,
    stream: StreamId,
    sessions: HashMap<KeyId, Result<Arc<SessionReader>, Closed>>,
}

/// Why a session does not open.
#[derive(Clone)]
pub(in crate::cli) struct Closed {
    /// What the record is then.
    pub(in crate::cli) state: &'static str,
    /// Why.
    pub(in crate::cli) note: String,
}

/// Opens a sealed value with its session, or tells why not.
pub(in crate::cli) fn reveal(
    found: &mut Found,
    session: Result<Arc<SessionReader>, Closed>,
    header: &Header,
    place: &Place<'_>,
    sealed: &[u8],
) {
    let session = match session {
        Ok(session) => session,
        Err(closed) => {
            found.state = closed.state;
            found.note = Some(closed.note);
            return;
        }
    };
    let opened = if header.record_type() == RecordType::TombstoneProof {
        session.verify_tombstone(sealed, place, &mut AadBuffer::new()).map(|()| None)
    } else {
        session.open_parcel(sealed, place, DEFAULT_MAX_INFLATED_BYTES).map(|parcel| Some(parcel.value))
    };
    match opened {
        Ok(value) => {
            found.state = "opened";
            match value.map(String::from_utf8) {
                None => found.note = Some("a null value that its writer meant".to_owned()),
                Some(Ok(text)) => found.value = Some(text),
                Some(Err(bytes)) => found.value_base64 = Some(BASE64_STANDARD.encode(bytes.as_bytes())),
            }
        }
        Err(error) => {
            found.state = "damaged";
            found.note = Some(format!("{error}; is it partition {}, and the right key?", place.partition));
        }
    }
}

impl Opening {
    /// Takes the client's secret out of custody.
    pub(super) fn new(config: Config, principal: &str, topic: &str) -> Result<Self, Failure> {
        let principal = desk::principal(principal)?;
        let desk = Desk::with_custody(config)?;
        let (identity, stream) = (desk.identity(&principal)?, desk.stream(topic)?.id);
        let secret = desk.wait(desk.custody()?.secret(&identity))?;
        let denied = |reason| Failure::new(Exit::Denied, format!("the keys of {principal} are not at hand: {reason}"));
        Ok(Self { secret: secret.map_err(denied)?, desk, stream, sessions: HashMap::new() })
    }

    fn session(&mut self, key_id: KeyId) -> Result<Arc<SessionReader>, Closed> {
        if let Some(known) = self.sessions.get(&key_id) {
            return known.clone();
        }
        let opened = self.open_session(key_id);
        self.sessions.insert(key_id, opened.clone());
        opened
    }

    fn open_session(&self, key_id: KeyId) -> Result<Arc<SessionReader>, Closed> {
        let reader = Reader::new(self.secret.clone());
        let destroyed = self.desk.read(|keyring| keyring.removed_announcement(key_id).map(str::to_owned));
        if let Ok(Some(reason)) = destroyed {
            return Err(Closed { state: "destroyed", note: reason });
        }
        let opened = self.desk.read(|keyring| reader.open(keyring, key_id, now()));
        let opened = opened.map_err(|_| Closed { state: "sealed", note: "the keyring is not open".to_owned() })?;
        let session = opened.map_err(|error| {
            let state = if matches!(error, Error::NotGranted { right: "read", .. }) { "denied" } else { "damaged" };
            Closed { state, note: error.to_string() }
        })?;
        if session.stream() != self.stream {
            return Err(Closed { state: "damaged", note: format!("sealed for another stream, {}", session.stream()) });
        }
        Ok(Arc::new(session))
    }
}

impl Key for Opening {
    fn look(&mut self, found: &mut Found, header: &Header, place: &Place<'_>, sealed: &[u8]) {
        reveal(found, self.session(header.key_id()), header, place, sealed);
    }
}

/// Tells who holds a grant that covers a record.
pub(super) struct KnownReaders {
    desk: Desk,
    stream: StreamId,
    notes: HashMap<KeyId, String>,
}

impl KnownReaders {
    /// Opens no secret.
    pub(super) fn new(config: Config, topic: &str) -> Result<Self, Failure> {
        let desk = Desk::to_read(config)?;
        let stream = desk.stream(topic)?.id;
        Ok(Self { desk, stream, notes: HashMap::new() })
    }

    fn note(&self, key_id: KeyId) -> Result<String, Failure> {
        self.desk.read(|keyring| {
            if let Some(reason) = keyring.removed_announcement(key_id) {
                return format!("nobody opens it: {reason}");
            }
            let Some(announcement) = keyring.announcement(key_id) else {
                return "its session was never announced".to_owned();
            };
            let terms = &announcement.terms;
            if terms.stream != self.stream {
                return format!("sealed for another stream, {}", terms.stream);
            }
            let writer = keyring.identity(terms.writer).map_or("an unknown client", |writer| writer.principal.as_str());
            let covers = |grant: &&barnabas_crypto::Grant| {
                let read = grant.right == Right::Read && grant.stream == terms.stream;
                read && grant.covers(terms.epoch) && grant.is_valid(now())
            };
            let readers = keyring.all_grants().filter(covers).filter_map(|grant| keyring.identity(grant.identity));
            let mut readers: Vec<&str> = readers.map(|reader| reader.principal.as_str()).collect();
            readers.sort_unstable();
            readers.dedup();
            let readers = if readers.is_empty() { "nobody".to_owned() } else { readers.join(", ") };
            format!("epoch {}, written by {writer}, readable by {readers}", terms.epoch)
        })
    }
}

impl Key for KnownReaders {
    fn look(&mut self, found: &mut Found, header: &Header, _: &Place<'_>, _: &[u8]) {
        let key_id = header.key_id();
        if !self.notes.contains_key(&key_id) {
            let note = self.note(key_id).unwrap_or_else(|failure| failure.lines.join("; "));
            self.notes.insert(key_id, note);
        }
        found.note = self.notes.get(&key_id).cloned();
    }
}
