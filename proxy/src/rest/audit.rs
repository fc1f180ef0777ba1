//! The one place that every request of the bridge passes when it is done: who, which route, which topic, what became of each record.
//!
//! Arrives: a request with its outcome. Leaves: an entry of the audit log; under `audit.on_failure: block` whoever wrote records waits
//! until it is durable. What must never happen here: a credential, a record's bytes, or a path with what a caller wrote into it in
//! the place of its route.

use std::sync::Arc;

use axum::http::{Method, StatusCode};

use super::bridge::Bridge;
use super::formats::Placed;
use super::pool::{Delivery, Refusal};
use super::{Caller, Code, Connection, Error, Proof, refusal};
use crate::audit::event::{Audit, Event, HttpRequest, Mechanism, Peer, RecordOutcome, Status};
use crate::identity::Principal;

/// Tells of the requests of one connection.
pub struct Teller {
    audit: Audit,
    listener: Arc<str>,
    number: u64,
    connection: Connection,
}

/// A request that is done.
pub struct Call<'a> {
    /// Who made it; `None` when nobody was accepted, or nobody was asked for.
    pub caller: Option<&'a Caller>,
    /// Its method.
    pub method: &'a Method,
    /// The template of its path.
    pub route: &'static str,
    /// The topic that it names.
    pub topic: Option<&'a str>,
    /// What became of each record.
    pub records: Option<&'a Delivery>,
    /// The status that was answered.
    pub status: StatusCode,
    /// The error that was answered.
    pub error: Option<&'a Error>,
}

impl Teller {
    /// For one connection of a bridge.
    pub fn new(audit: Audit, listener: Arc<str>, connection: Connection) -> Self {
        let number = audit.connection();
        Self { audit, listener, number, connection }
    }

    /// Refuses what could not be told: asked before anything is written.
    ///
    /// # Errors
    /// `KafkaRetriable`, while the audit log cannot be written and requests wait for it.
    pub fn check(&self) -> Result<(), Error> {
        check(&self.audit)
    }

    /// A connection got no further than its handshake.
    pub fn refused(&self, message: &str) {
        self.audit.record(Event::not_authenticated(&self.peer(Principal::anonymous()), None, "handshake", message));
    }

    /// Takes note of a request.
    ///
    /// # Errors
    /// `KafkaRetriable`, when records were written and the entry could not be.
    pub async fn tell(&self, call: &Call<'_>) -> Result<(), Error> {
        if !self.audit.is_on() {
            return Ok(());
        }
        let event = match (call.caller, call.error) {
            (Some(caller), _) => {
                let peer = caller.peer.unwrap_or(self.connection.peer);
                let peer = Peer::new(caller.principal.clone(), Some(peer), self.listener.clone(), self.number);
                event(&peer, caller, call)
            }
            (None, Some(error)) => {
                let peer = self.peer(Principal::anonymous());
                Event::not_authenticated(&peer, None, "credential", &error.message)
            }
            // Probes and documents, for anybody.
            (None, None) => return Ok(()),
        };
        if call.records.is_none() {
            self.audit.record(event);
            return Ok(());
        }
        let unwritten = |_| Code::KafkaRetriable.with(UNWRITTEN);
        self.audit.commit(event).await.map_err(unwritten)
    }

    fn peer(&self, principal: Principal) -> Peer {
        Peer::new(principal, Some(self.connection.peer), self.listener.clone(), self.number)
    }
}

/// Takes note of what became of records within a request that goes on: the request itself is told at its end.
///
/// # Errors
/// `KafkaRetriable`, when records were written and the entry could not be.
pub async fn audited(bridge: &Bridge, call: &Call<'_>) -> Result<(), Error> {
    let Some(caller) = call.caller.filter(|_| bridge.audit.is_on()) else { return Ok(()) };
    let peer = Peer::new(caller.principal.clone(), None, bridge.name.clone(), 0);
    let unwritten = |_| Code::KafkaRetriable.with(UNWRITTEN);
    bridge.audit.commit(event(&peer, caller, call)).await.map_err(unwritten)
}

/// Refuses what could not be told: asked before anything is written.
///
/// # Errors
/// `KafkaRetriable`, while the audit log cannot be written and requests wait for it.
pub fn check(audit: &Audit) -> Result<(), Error> {
    audit.check().map_err(|error| Code::KafkaRetriable.with(error.to_string()))
}

fn event(peer: &Peer, caller: &Caller, call: &Call<'_>) -> Event {
    let records: Vec<RecordOutcome> = call.records.map(outcomes).unwrap_or_default();
    Event::http_request(
        peer,
        &HttpRequest {
            mechanism: match caller.proof {
                Proof::Nothing => Mechanism::Anonymous,
                Proof::Basic => Mechanism::Basic,
                Proof::Bearer => Mechanism::Bearer,
                Proof::Certificate => Mechanism::Certificate,
            },
            method: call.method.as_str(),
            path: call.route,
            topic: call.topic,
            status: call.status.as_u16(),
            records: &records,
            outcome: match call.error {
                Some(error) => (status_of(error.code), Some(error.code.word())),
                None => (Status::Success, None),
            },
        },
    )
}

fn outcomes(delivery: &Delivery) -> Vec<RecordOutcome> {
    let one = |(first, outcome): (usize, Option<&Result<Placed, Refusal>>)| {
        let first = u64::try_from(first).unwrap_or(u64::MAX);
        match outcome {
            Some(Ok(placed)) => RecordOutcome {
                first,
                count: 1,
                partition: Some(placed.partition),
                first_offset: Some(placed.offset),
                ..RecordOutcome::default()
            },
            Some(Err(error)) => {
                let (code, _) = refusal::of_record(*error);
                let (status, reason) = (status_of(code), Some(code.word()));
                RecordOutcome { first, count: 1, status, reason, ..RecordOutcome::default() }
            }
            None => {
                let (status, reason) = (Status::Unavailable, Some(Code::KafkaRetriable.word()));
                RecordOutcome { first, count: 1, status, reason, ..RecordOutcome::default() }
            }
        }
    };
    delivery.outcomes().enumerate().map(one).collect()
}

fn status_of(code: Code) -> Status {
    match code.status() {
        StatusCode::UNAUTHORIZED => Status::Unauthenticated,
        StatusCode::FORBIDDEN => Status::Denied,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Status::Unavailable,
        _ => Status::Failure,
    }
}

const UNWRITTEN: &str = "the audit log cannot be written; the records may have been";
