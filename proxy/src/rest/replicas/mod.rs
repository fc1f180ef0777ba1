//! Gateways that serve one address together: a call about a consumer goes to the one that has it.
//!
//! Arrives: a call whose path names an instance, or that makes one of a chosen name. Leaves: who has it. The owner's id stands in front
//! of an instance's id (`a~7d44…`); a name that a caller has chosen belongs to the same replica for all of them, by a hash. What must never happen here: a
//! call that goes on twice; a principal that is believed of anybody but a replica.

mod claim;
mod peer;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use axum::response::Response;
use hyper::body::Incoming;
use ring::digest::{SHA256, digest};

use self::peer::Peer;
use super::bridge::Bridge;
use super::idempotency::HEADER;
use super::idempotency::outcome::REPLAYED;
use super::{Caller, Code, Connection, Error};
use crate::config;
use crate::tls::{TlsError, UpstreamTlsSource};

/// The replicas of a bridge.
pub struct Replicas {
    own: String,
    members: Vec<config::Replica>,
    peers: Vec<Arc<Peer>>,
    tls: Arc<UpstreamTlsSource>,
    /// What a caller's bodies may take.
    patience: Duration,
}

/// Beside an answer that another replica has given, and told in its audit log.
#[derive(Clone, Copy, Debug)]
pub struct PassedOn;

/// Where a call belongs.
pub struct Elsewhere<'r> {
    owner: &'r str,
    /// The template of its route.
    pub route: &'static str,
    waits: bool,
}

/// Who has what a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner<'r> {
    /// This one.
    Here,
    /// Another one.
    Peer(&'r str),
    /// One that is not among the members.
    Unknown(String),
}

impl Replicas {
    /// Connects to nobody. `most`: calls at once to one of them.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn new(settings: &config::Replicas, limits: &config::BridgeLimits) -> Result<Self, TlsError> {
        let tls = Arc::new(UpstreamTlsSource::new(settings.tls.clone())?);
        let others = settings.members.iter().filter(|member| member.id != settings.id);
        let peers = others.map(|member| Peer::new(member, tls.clone(), limits.max_consumers)).map(Arc::new).collect();
        let patience = limits.request_timeout;
        Ok(Self { own: settings.id.clone(), members: settings.members.clone(), peers, tls, patience })
    }

    /// Reads the certificates anew.
    pub fn reload(&self, settings: config::UpstreamTls) {
        // A refusal is logged there, and leaves in use what was.
        self.tls.reload(settings).ok();
    }

    /// The id of what is made here under a name.
    pub fn id_of(&self, name: &str) -> String {
        format!("{}{MARK}{name}", self.own)
    }

    /// Who has the instance of this id. A caller may leave the owner away from a name of its own choice.
    pub fn owner(&self, group: &str, id: &str) -> Owner<'_> {
        let owner = match id.split_once(MARK) {
            Some((owner, _)) => match self.members.iter().find(|member| member.id == owner) {
                Some(member) => member.id.as_str(),
                None => return Owner::Unknown(owner.to_owned()),
            },
            None => self.chosen(group, id),
        };
        if owner == self.own { Owner::Here } else { Owner::Peer(owner) }
    }

    /// Who has the instances of a chosen name: the member whose hash with it is the largest, so that few move when members change.
    fn chosen(&self, group: &str, name: &str) -> &str {
        let weight = |member: &&config::Replica| {
            let text = [member.id.as_str(), group, name].map(|part| format!("{}:{part}", part.len())).concat();
            digest(&SHA256, text.as_bytes()).as_ref().to_vec()
        };
        self.members.iter().max_by_key(weight).map_or(&self.own, |member| &member.id)
    }

    /// Who is calling, where another replica says it; `None` when nobody says so.
    ///
    /// # Errors
    /// `Forbidden` when it is no replica that says so; `BadRequest` for what no replica says.
    pub fn believed(&self, connection: &Connection, parts: &Parts) -> Result<Option<Caller>, Error> {
        if !claim::is_made(&parts.headers) {
            return Ok(None);
        }
        let is_member = |member: &config::Replica| {
            member.id != self.own && connection.certificate.as_ref() == Some(&member.principal)
        };
        if !self.members.iter().any(is_member) {
            return Err(refused(connection));
        }
        let is_theirs = Path::of(parts.uri.path()).is_some();
        if !is_theirs || parts.headers.contains_key(header::AUTHORIZATION) {
            return Err(Code::BadRequest.with("a replica passes on calls for consumers and nothing else"));
        }
        let replica = connection.certificate.clone();
        claim::read(&parts.headers).map(|caller| Some(Caller { replica, ..caller }))
    }

    /// Who else has the instance that a call is about; `None` when that is this one, or it is about none.
    ///
    /// # Errors
    /// `ConsumerNotFound` for an owner that is none of us, and for what comes from a replica that has another list.
    pub fn elsewhere(&self, caller: &Caller, path: &str) -> Result<Option<Elsewhere<'_>>, Error> {
        let Some(path) = Path::of(path) else { return Ok(None) };
        let (Some(group), Some(id)) = (path.group(), path.instance()) else { return Ok(None) };
        match self.owner(&group, &id) {
            Owner::Here => Ok(None),
            Owner::Peer(_) if caller.replica.is_some() => Err(unknown(&self.own)),
            Owner::Peer(owner) => Ok(Some(Elsewhere { owner, route: path.template(), waits: path.waits() })),
            Owner::Unknown(owner) => Err(unknown(&owner)),
        }
    }

    /// The answer of the replica that has the instance that a call is about.
    ///
    /// # Errors
    /// `KafkaRetriable` when it does not answer, `TooManyRequests` when it has as much to do for us as may be; what a body may be.
    pub async fn pass_on(
        &self,
        bridge: &Bridge,
        to: &Elsewhere<'_>,
        (caller, connection): (&Caller, &Connection),
        (parts, body): (&Parts, Incoming),
    ) -> Result<Response, Error> {
        let (body, _hold) = bridge.room.read(&parts.headers, body).await?;
        if body.len() > MOST_BYTES {
            return Err(Code::TooLarge.with("a call about a consumer has no such large body"));
        }
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let patience = if to.waits { MOST_WAIT.saturating_add(self.patience) } else { self.patience * 2 };
        let sent = Sent { method: parts.method.clone(), target, headers: &parts.headers, origin: None, body, patience };
        let mut response = self.send(to.owner, (caller, connection), sent).await?;
        response.extensions_mut().insert(PassedOn);
        Ok(response)
    }

    /// Makes an instance of a chosen name where those of that name belong; `None` when that is here.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub async fn made_elsewhere(
        &self,
        (caller, connection): (&Caller, &Connection),
        (group, name): (&str, &str),
        (uri, headers, origin): (&Uri, &HeaderMap, &str),
        body: Bytes,
    ) -> Result<Option<Response>, Error> {
        let Owner::Peer(owner) = self.owner(group, name) else { return Ok(None) };
        if caller.replica.is_some() {
            return Err(unknown(&self.own));
        }
        let target = uri.path();
        let sent = Sent { method: Method::POST, target, headers, origin: Some(origin), body, patience: self.patience };
        let mut response = self.send(owner, (caller, connection), sent).await?;
        response.extensions_mut().insert(PassedOn);
        Ok(Some(response))
    }

    async fn send(
        &self,
        owner: &str,
        (caller, connection): (&Caller, &Connection),
        sent: Sent<'_>,
    ) -> Result<Response, Error> {
        let peer = self.peers.iter().find(|peer| peer.id() == owner).ok_or_else(|| unknown(owner))?;
        let mut request = Request::new(sent.body);
        *request.method_mut() = sent.method;
        *request.uri_mut() = sent.target.parse().map_err(|_| Code::BadRequest.with("HTTP 400 Bad Request"))?;
        for name in [header::ACCEPT, header::CONTENT_TYPE] {
            for value in sent.headers.get_all(&name) {
                request.headers_mut().append(name.clone(), value.clone());
            }
        }
        if sent.origin.is_none() {
            // Whoever carries it out keeps the answer. A call that makes an instance is in its turn here already.
            for value in sent.headers.get_all(HEADER) {
                request.headers_mut().append(HEADER, value.clone());
            }
        }
        if let Some(origin) = sent.origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
            request.headers_mut().insert(ORIGIN, origin);
        }
        claim::write(request.headers_mut(), caller, connection)?;
        let answered = peer.ask(request, sent.patience).await;
        let answer = answered.inspect_err(|error| {
            tracing::info!(event = "replica_unavailable", replica = owner, reason = %error);
        });
        let answer = answer.map_err(|error| error.told(owner))?;
        let (parts, body) = answer.into_parts();
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = parts.status;
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::RETRY_AFTER, header::ALLOW] {
            if let Some(value) = parts.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        if let Some(value) = parts.headers.get(REPLAYED) {
            response.headers_mut().insert(REPLAYED, value.clone());
        }
        Ok(response)
    }
}

/// Refuses who says for whom it asks, where no replicas are configured.
///
/// # Errors
/// `Forbidden`.
pub fn refuse_claims(connection: &Connection, parts: &Parts) -> Result<(), Error> {
    if claim::is_made(&parts.headers) { Err(refused(connection)) } else { Ok(()) }
}

/// A call as it goes on.
struct Sent<'a> {
    method: Method,
    target: &'a str,
    headers: &'a HeaderMap,
    /// Where its caller is to come back to.
    origin: Option<&'a str>,
    body: Bytes,
    patience: Duration,
}

/// A path below `/consumers`.
struct Path<'p> {
    group: &'p str,
    rest: Option<(&'p str, &'p str)>,
}

impl<'p> Path<'p> {
    fn of(path: &'p str) -> Option<Self> {
        let below = path.strip_prefix("/consumers/")?;
        let Some((group, rest)) = below.split_once('/') else { return Some(Self { group: below, rest: None }) };
        let instance = rest.strip_prefix("instances/")?;
        Some(Self { group, rest: Some(instance.split_once('/').unwrap_or((instance, ""))) })
    }

    fn group(&self) -> Option<String> {
        super::front::decoded(self.group).map(std::borrow::Cow::into_owned)
    }

    fn instance(&self) -> Option<String> {
        super::front::decoded(self.rest?.0).map(std::borrow::Cow::into_owned)
    }

    /// Whether its answer may take as long as the caller likes.
    fn waits(&self) -> bool {
        self.rest.is_some_and(|(_, what)| what == "records")
    }

    /// The template of its route.
    fn template(&self) -> &'static str {
        match self.rest.map(|(_, what)| what) {
            None => "/consumers/{group}",
            Some("") => "/consumers/{group}/instances/{instance}",
            Some("subscription") => "/consumers/{group}/instances/{instance}/subscription",
            Some("assignments") => "/consumers/{group}/instances/{instance}/assignments",
            Some("positions") => "/consumers/{group}/instances/{instance}/positions",
            Some("positions/beginning") => "/consumers/{group}/instances/{instance}/positions/beginning",
            Some("positions/end") => "/consumers/{group}/instances/{instance}/positions/end",
            Some("records") => "/consumers/{group}/instances/{instance}/records",
            Some("offsets") => "/consumers/{group}/instances/{instance}/offsets",
            Some(_) => "unmatched",
        }
    }
}

fn refused(connection: &Connection) -> Error {
    tracing::info!(event = "claim_refused", peer = %connection.peer);
    Code::Forbidden.with(format!("{} is for replicas of this gateway alone", claim::FIELD))
}

fn unknown(owner: &str) -> Error {
    Code::ConsumerNotFound.with(format!(
        "Consumer instance not found. It belongs to replica `{owner}`, which this one does not know as that (rest[].replicas)"
    ))
}

/// Between the owner's id and an instance's name. It is in no id of a replica, nor in a name where there are replicas.
pub const MARK: char = '~';

/// Where the caller reaches the replica that passes its call on. Looked at where that is believed.
pub const ORIGIN: &str = "barnabas-origin";

/// As for calls that are answered here.
const MOST_BYTES: usize = 256 * 1024;

/// As long as a read may be told to wait.
const MOST_WAIT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
