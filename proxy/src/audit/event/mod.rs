//! What the audit log says: events arrive from every part of the gateway, CloudEvents leave for the log.
//!
//! `kind.rs` is the table of all events; `README.md` beside this file is written from it. `recorder.rs` is the handle that the
//! rest of the gateway has. What must never happen here: record bytes, a record key or a secret in an event; a client that
//! waits under `on_failure: alarm`; memory that grows with what a client does.

pub mod kind;
mod fields;
mod content;
mod encode;
mod flood;
mod recorder;
mod trail;
mod window;
mod connection;
mod records;
mod keys;
mod keyring;
mod gateway;
mod http;
mod log;

#[cfg(test)]
mod tests;

pub use connection::{ClientCertificate, Operation, Verdict};
pub use content::{Content, RecordOutcome, Status, Text};
pub use encode::TYPE_PREFIX;
pub use fields::FIELDS;
pub use gateway::{ClockReference, Run};
pub use http::{HttpRequest, Mechanism};
pub use keyring::Found;
pub use keys::{KmsOperation, Opened};
pub use kind::Kind;
pub use log::{LogStatements, WitnessAlarm};
pub use recorder::{Audit, Keeping, OnFailure, Receipt, Unwritten};
pub use trail::{Peer, Trail};
pub use window::{Api, Counts, Usage, Use};

use std::borrow::Cow;

/// Something that happened, ready to be written. Made by the constructors in the files beside this one, one group each.
#[derive(Clone, Debug)]
pub struct Event {
    kind: Kind,
    method: Cow<'static, str>,
    content: Content,
}

impl Event {
    fn new(kind: Kind, resource: impl AsRef<str>) -> Self {
        let content = Content { resource_name: Text::from(resource), ..Content::default() };
        Self { kind, method: Cow::Borrowed(kind.row().method), content }
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}
