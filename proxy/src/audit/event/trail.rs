//! What one connection leaves in the log: who it is, what was decided for it, what was refused it.
//!
//! Arrives: decisions and refusals of a chain. Leaves: events, each decision once until it changes; and under
//! `on_failure: block` the word that what a request caused is durable, before it is answered. Each chain of a connection
//! has one [`Trail`], so nothing here is locked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use super::content::Text;
use super::{Api, Audit, Event, Operation, Receipt, Unwritten, Verdict};
use crate::identity::Principal;

/// One connection, as the log names it.
#[derive(Debug)]
pub struct Peer {
    /// Who.
    pub principal: Principal,
    /// From where.
    pub address: Option<SocketAddr>,
    /// At which listener.
    pub listener: Arc<str>,
    /// Its number in this run.
    pub connection: u64,
    client_id: OnceLock<Text>,
}

impl Peer {
    /// A connection.
    pub fn new(principal: Principal, address: Option<SocketAddr>, listener: Arc<str>, connection: u64) -> Self {
        Self { principal, address, listener, connection, client_id: OnceLock::new() }
    }

    /// Takes note of what the client calls itself, the first time.
    pub fn call_itself(&self, client_id: &[u8]) {
        self.client_id.get_or_init(|| Text::from(String::from_utf8_lossy(client_id)));
    }

    /// Whether the client has called itself something.
    pub fn is_named(&self) -> bool {
        self.client_id.get().is_some()
    }

    pub(super) fn client_id(&self) -> Option<Text> {
        self.client_id.get().filter(|name| !name.as_str().is_empty()).cloned()
    }
}

impl From<Principal> for Arc<Peer> {
    fn from(principal: Principal) -> Self {
        Self::new(Peer::from(principal))
    }
}

impl From<Principal> for Peer {
    /// Of which nothing is known but who it is.
    fn from(principal: Principal) -> Self {
        Self::new(principal, None, Arc::from(""), 0)
    }
}

/// See the file's header.
pub struct Trail {
    audit: Audit,
    peer: Arc<Peer>,
    told: HashMap<(Arc<str>, Operation), Verdict>,
    receipts: Vec<Receipt>,
    correlation_id: i32,
    api: Api,
}

impl Trail {
    /// For one chain of a connection; `api` is what the chain serves.
    pub fn new(audit: Audit, peer: Arc<Peer>, api: Api) -> Self {
        Self { audit, peer, told: HashMap::new(), receipts: Vec::new(), correlation_id: 0, api }
    }

    /// Whether anybody wants to know.
    pub fn is_on(&self) -> bool {
        self.audit.is_on()
    }

    /// Whose connection it is.
    pub fn principal(&self) -> &Principal {
        &self.peer.principal
    }

    /// The connection.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What follows belongs to this request.
    pub fn begin(&mut self, api: Api, correlation_id: i32) {
        (self.api, self.correlation_id) = (api, correlation_id);
    }

    /// Whether requests of sealed topics may be served at all.
    pub fn check(&self) -> Result<(), Unwritten> {
        self.audit.check()
    }

    /// Tells a decision, unless it is the one that was told before. That a topic passes is told only when it was decided
    /// otherwise before.
    pub fn decided(&mut self, topic: &Arc<str>, operation: Operation, verdict: Verdict) {
        if !self.audit.is_on() {
            return;
        }
        let key = (topic.clone(), operation);
        match self.told.get(&key) {
            Some(before) if *before == verdict => return,
            None if verdict == Verdict::Passed => return,
            _ => {}
        }
        if self.told.len() >= MOST_TOLD {
            self.told.clear();
        }
        let event = Event::authorization(&self.peer, self.api, self.correlation_id, (topic, operation), &verdict);
        self.told.insert(key, verdict);
        self.tell(event);
    }

    /// Tells a refusal of a partition or a record.
    pub fn refused(&mut self, topic: &str, operation: Operation, place: (i32, i64), verdict: &Verdict) {
        if !self.audit.is_on() {
            return;
        }
        let event =
            Event::record_refused(&self.peer, self.api, self.correlation_id, (topic, operation), place, verdict);
        self.tell(event);
    }

    /// Waits, under `block`, until all that was told since the last time is durable.
    pub async fn settle(&mut self) -> Result<(), Unwritten> {
        if self.receipts.is_empty() {
            return Ok(());
        }
        self.audit.settle(std::mem::take(&mut self.receipts)).await
    }

    fn tell(&mut self, event: Event) {
        self.receipts.extend(self.audit.told(event));
    }
}

/// As many topics as a connection keeps decisions about.
const MOST_TOLD: usize = 10_000;
