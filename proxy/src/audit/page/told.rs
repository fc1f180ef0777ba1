//! Reading the log is itself logged: accesses arrive, events leave. A question is told each time, with its filter. A browser
//! that checks a log fetches thousands of tiles: those are told at the first, and then together, so that an auditor who looks
//! does not fill the log with looking.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::event::{Audit, ClientCertificate, Event, HttpRequest, Mechanism, Peer, Status};
use crate::identity::Principal;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The access matrix.
    Access,
    /// A bundle of entries.
    Entries,
    /// The page itself.
    Page,
    /// Entries by a filter.
    Query,
    /// Checkpoint and hashes: what is needed to verify, without an entry.
    Tree,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Entries => "entries",
            Self::Page => "page",
            Self::Query => "query",
            Self::Tree => "tree",
        }
    }

    /// How long reads are gathered; `None` tells each.
    const fn gathered(self) -> Option<Duration> {
        match self {
            Self::Access | Self::Query => None,
            Self::Entries => Some(Duration::from_secs(30)),
            Self::Page | Self::Tree => Some(Duration::from_secs(600)),
        }
    }
}

/// Tells of reads, those of many tiles together.
pub(super) struct Reads {
    audit: Audit,
    pending: Mutex<HashMap<Reader, Pending>>,
}

/// Connections of one browser are one reader.
type Reader = (Principal, Option<std::net::IpAddr>, What);

struct Pending {
    since: Instant,
    peer: Arc<Peer>,
    /// What came after the event that was told last.
    range: Option<(u64, u64)>,
}

impl Reads {
    pub(super) fn new(audit: Audit) -> Self {
        Self { audit, pending: Mutex::default() }
    }

    /// Takes note of a read: the first index, the last, and what was asked for.
    pub(super) fn audited_read(&self, peer: &Arc<Peer>, what: What, range: (u64, u64), filter: &str) {
        let name = what.name();
        if what.gathered().is_none() {
            return self.tell(peer, range, format!("{name} {filter}").trim_end());
        }
        let key = (peer.principal.clone(), peer.address.map(|address| address.ip()), what);
        let mut pending = self.lock();
        match pending.get_mut(&key) {
            Some(known) => {
                let joined = known.range.map_or(range, |(first, last)| (first.min(range.0), last.max(range.1)));
                known.range = Some(joined);
            }
            None => {
                let first = Pending { since: Instant::now(), peer: peer.clone(), range: None };
                pending.insert(key, first);
                drop(pending);
                self.tell(peer, range, name);
            }
        }
    }

    /// Tells what has been gathered long enough; everything at the end.
    pub(super) fn flush(&self, all: bool) {
        let now = Instant::now();
        let mut due = Vec::new();
        self.lock().retain(|(_, _, what), pending| {
            let over = what.gathered().is_none_or(|gathered| now.duration_since(pending.since) >= gathered);
            if !all && !over {
                return true;
            }
            // What has come is told, and gathered anew; who has read nothing more is forgotten.
            let Some(range) = pending.range.take() else { return false };
            due.push((pending.peer.clone(), range, *what));
            pending.since = now;
            !all
        });
        for (peer, range, what) in due {
            self.tell(&peer, range, what.name());
        }
    }

    fn tell(&self, peer: &Peer, range: (u64, u64), filter: &str) {
        self.audit.record(Event::log_read(peer, range, filter));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Reader, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who comes and who is turned away.
#[derive(Clone)]
pub struct Door(Audit);

impl Door {
    /// Tells the log.
    #[must_use]
    pub const fn new(audit: Audit) -> Self {
        Self(audit)
    }

    /// The connection of somebody.
    #[must_use]
    pub fn peer(&self, principal: Principal, address: SocketAddr) -> Peer {
        Peer::new(principal, Some(address), Arc::from(LISTENER), self.0.connection())
    }

    /// Somebody has connected; `certificate` is DER.
    pub fn came(&self, peer: &Peer, certificate: Option<&[u8]>) {
        self.0.record(Event::authenticated(peer, certificate.map(ClientCertificate)));
    }

    /// Somebody was not let in.
    pub fn kept_out(&self, address: SocketAddr, message: &str) {
        let peer = self.peer(Principal::anonymous(), address);
        self.0.record(Event::not_authenticated(&peer, None, "handshake", message));
    }

    /// A connection was cut, since its certificate is not accepted any more.
    pub fn disowned(&self, peer: &Peer, certificate: Option<&[u8]>, message: &str) {
        self.0.record(Event::disowned(peer, certificate.map(ClientCertificate), message));
    }

    /// Somebody has asked for what is not for them.
    pub fn refused(&self, peer: &Peer, method: &str, path: &str, reason: &'static str) {
        self.0.record(Event::http_request(
            peer,
            &HttpRequest {
                mechanism: Mechanism::Certificate,
                method,
                path,
                topic: None,
                status: 403,
                records: &[],
                outcome: (Status::Denied, Some(reason)),
            },
        ));
    }
}

/// The secure listener's name in events and logs.
pub const LISTENER: &str = "admin.secure";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{Scene, told};
    use super::*;

    #[tokio::test]
    async fn questions_are_told_each_and_tiles_together() {
        let scene = Scene::new();
        let reads = Reads::new(scene.audit.clone());
        let peer =
            Arc::new(Door::new(scene.audit.clone()).peer(Principal::user("auditor"), ([127, 0, 0, 1], 4).into()));
        for first in [0, 512, 256] {
            reads.audited_read(&peer, What::Entries, (first, first + 255), "");
        }
        reads.audited_read(&peer, What::Query, (0, 9), "kind=grant.*");
        reads.audited_read(&peer, What::Query, (0, 9), "");
        reads.flush(false);
        reads.flush(true);
        reads.flush(true);
        let events = scene.close().await;
        let wanted = ["0-255 entries", "0-9 query kind=grant.*", "0-9 query", "256-767 entries"];
        assert_eq!(events.iter().map(told).collect::<Vec<_>>(), wanted);
        assert!(events.iter().all(|event| event.principal() == Some("User:auditor")));
    }
}
