//! What every operation of the v3 API begins with: who asks, below which address, about which cluster; and how its body is read.
//!
//! Arrives: a request. Leaves: an [`Ask`], and with the right cluster's id a [`Cluster`], whose questions go to Kafka as the caller. What
//! must never happen here: an address in an answer that a caller's own header could bend to more than a host.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::envelope::Place;
use super::refusal;
use crate::rest::bridge::Bridge;
use crate::rest::idempotency::Turn;
use crate::rest::kafka::describe_cluster::{DescribeCluster, Described};
use crate::rest::kafka::metadata::Metadata;
use crate::rest::kafka::{Kafka, Question};
use crate::rest::pool::Entry;
use crate::rest::{Caller, Code, Error};

/// A request, before its cluster is known to be ours.
pub struct Ask {
    /// What all requests share.
    pub bridge: Arc<Bridge>,
    /// Who asks.
    pub caller: Caller,
    /// What the caller has.
    pub entry: Arc<Entry>,
    /// Header fields.
    pub headers: HeaderMap,
    /// Of a request with an `Idempotency-Key`.
    pub turn: Option<Arc<Turn>>,
    root: String,
    query: String,
}

/// A request about our cluster.
pub struct Cluster {
    /// The request.
    pub ask: Ask,
    /// Where its resources are.
    pub place: Place,
}

impl Ask {
    /// The request, if the cluster in its path is ours.
    ///
    /// # Errors
    /// `NotFound` for another one; that Kafka does not answer.
    pub async fn cluster(self, id: &str) -> Result<Cluster, Error> {
        let own = match self.bridge.cluster_id.get() {
            Some(own) => own.clone(),
            None => self.describe().await?.cluster_id,
        };
        if own != id {
            return Err(Code::NotFound.with(format!("Cluster {id} cannot be found.")));
        }
        let place = Place::new(&self.root, &own);
        Ok(Cluster { ask: self, place })
    }

    /// The cluster and its brokers.
    ///
    /// # Errors
    /// That Kafka does not answer, or refuses.
    pub async fn describe(&self) -> Result<Described, Error> {
        let described = self.kafka().ask(&DescribeCluster).await?;
        refusal::check(&described.verdict, "the cluster")?;
        // The cluster is one as long as the gateway runs.
        self.bridge.cluster_id.set(described.cluster_id.clone()).ok();
        Ok(described)
    }

    /// Questions of the caller.
    pub fn kafka(&self) -> &Kafka {
        &self.entry.kafka
    }

    /// The address of the API, without a slash at its end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Words of the query in their order, decoded.
    ///
    /// # Errors
    /// `BadRequest` for what is no query.
    pub fn query(&self) -> Result<Vec<(String, String)>, Error> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let decode = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        };
        let malformed = || Code::BadRequest.with("the query is not well-formed");
        pairs.map(|pair| decode(pair).ok_or_else(malformed)).collect()
    }

    /// The body, as JSON of a type.
    ///
    /// # Errors
    /// Whatever keeps it from being read; `UnsupportedMediaType`, `BadRequest` for what is no JSON, `Unprocessable` for other JSON.
    pub async fn body<T: DeserializeOwned>(&self, body: Body) -> Result<T, Error> {
        check_content_type(&self.headers, &["application/json"])?;
        let (bytes, _hold) = self.bridge.room.read(&self.headers, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let code = if error.is_data() { Code::Unprocessable } else { Code::BadRequest };
            // What serde says names members and types, and of the body one word at most.
            code.with(error.to_string())
        })
    }

    /// How long a broker may take.
    pub fn timeout_ms(&self) -> i32 {
        // The answer must be here before we give up.
        let timeout = self.bridge.settings.limits.request_timeout;
        i32::try_from((timeout * 4 / 5).as_millis()).unwrap_or(i32::MAX)
    }
}

impl Cluster {
    /// Asks any broker.
    ///
    /// # Errors
    /// That Kafka does not answer.
    pub async fn any<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Error> {
        Ok(self.ask.kafka().ask(question).await?)
    }

    /// Asks a broker.
    ///
    /// # Errors
    /// That it does not answer.
    pub async fn node<Q: Question>(&self, id: i32, question: &Q) -> Result<Q::Answer, Error> {
        Ok(self.ask.kafka().ask_node(id, question).await?)
    }

    /// Asks the controller, or the broker that passes questions on to it.
    ///
    /// # Errors
    /// That it does not answer.
    pub async fn controller<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Error> {
        let controller = self.any(&Metadata { topics: Some(&[]) }).await?.controller_id;
        self.node(controller, question).await
    }

    /// What is told when a change of `name` got no answer: the gateway ends a connection that asks to change its own topic.
    pub fn refused(&self, name: &str, error: Error) -> Error {
        if error.code == Code::KafkaRetriable && self.ask.kafka().names_own_topic(name) {
            return Code::Forbidden.with("the gateways' own topics are changed at the brokers only");
        }
        error
    }
}

impl FromRequestParts<Arc<Bridge>> for Ask {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, bridge: &Arc<Bridge>) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, bridge).await?;
        let entry = bridge.pool.entry(&caller.principal)?;
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let headers = parts.headers.clone();
        let turn = parts.extensions.get().cloned();
        Ok(Self { bridge: bridge.clone(), caller, entry, headers, turn, root: root(bridge, parts), query })
    }
}

/// Refuses a body of another content type. Without one it is taken for the first.
///
/// # Errors
/// `UnsupportedMediaType`.
pub fn check_content_type(headers: &HeaderMap, known: &[&str]) -> Result<(), Error> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = given.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    if known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(Code::UnsupportedMediaType.with("HTTP 415 Unsupported Media Type"))
}

/// `https://host:port/v3`, or what is advertised in place of the host.
fn root(bridge: &Bridge, parts: &Parts) -> String {
    let prefix = if parts.uri.path().starts_with("/kafka/") { "/kafka/v3" } else { "/v3" };
    if let Some(url) = &bridge.settings.advertised_url {
        return format!("{}{prefix}", url.trim_end_matches('/'));
    }
    let scheme = if bridge.settings.tls.is_some() { "https" } else { "http" };
    let asked = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let host = asked.or_else(|| parts.uri.authority().cloned()).filter(|host| !host.as_str().contains('@'));
    match host {
        Some(host) => format!("{scheme}://{host}{prefix}"),
        None => format!("{scheme}://{}{prefix}", bridge.settings.bind),
    }
}

fn decoded(word: &str) -> Option<String> {
    if word.is_empty() {
        return Some(String::new());
    }
    crate::rest::front::decoded(&word.replace('+', " ")).map(std::borrow::Cow::into_owned)
}
