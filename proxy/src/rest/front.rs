//! Every request passes here, on its way in and on its way out.
//!
//! Arrives: a request, and what is known of its connection. Leaves: its answer; counted and audited by the template of its route. The
//! routes that carry records are found without an allocation; the others go to the router. What must never happen here: an error
//! without its documented body, a request answered for nobody, a path in a metric.

use std::borrow::Cow;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use std::sync::Arc;
use tower_service::Service;

use super::accept::{JSON, V2, Wishes};
use super::audit::{Call, Teller};
use super::bridge::Bridge;
use super::caller::{Caller, Connection};
use super::idempotency::Turn;
use super::pool::Delivery;
use super::replicas::{self, PassedOn};
use super::routes::{self, Template};
use super::{Code, Error, raw, v2};

mod once;

/// Answers the requests of one connection.
pub struct Front {
    bridge: Arc<Bridge>,
    router: Router,
    connection: Connection,
    teller: Teller,
}

/// What a route that carries records has done.
pub struct Posted {
    /// The answer.
    pub response: Response,
    /// What became of the records.
    pub delivery: Option<Delivery>,
}

/// An answer with what is told about it.
struct Done {
    response: Response,
    route: &'static str,
    caller: Option<Caller>,
    delivery: Option<Delivery>,
}

impl Front {
    /// For one connection.
    pub fn new(bridge: Arc<Bridge>, router: Router, connection: Connection) -> Self {
        let teller = Teller::new(bridge.audit.clone(), bridge.name.clone(), connection.clone());
        Self { bridge, router, connection, teller }
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        if let Some(preflight) = self.bridge.cors.preflight(&parts.method, &parts.headers) {
            self.bridge.metrics.request(PREFLIGHT, preflight.status().as_u16(), began.elapsed());
            return preflight;
        }
        if !parts.method.is_safe() && self.bridge.cors.is_foreign(&parts.headers, authority(&parts.uri)) {
            // The browser would show its user's certificate for a page that may not call.
            let error = Code::Forbidden.with("web pages of this origin may not call (rest[].cors.origins)");
            let done = Done::refused(error, REFUSED, None);
            return self.finish(done, None, (&parts.method, &parts.headers), JSON, began).await;
        }
        let path = trimmed(parts.uri.path());
        let hot = Hot::find(&parts.method, path);
        let offered = if is_plain_json(path) { JSON } else { V2 };
        if Self::is_once(&parts.method, &parts.headers) {
            let (method, headers, uri) = (parts.method.clone(), parts.headers.clone(), parts.uri.clone());
            let hot = Hot::find(&method, trimmed(uri.path()));
            let (done, topic) = self.once(hot.as_ref(), parts, body).await;
            return self.finish(done, topic.as_deref(), (&method, &headers), offered, began).await;
        }
        match hot {
            Some(hot) => {
                let done = self.carry(&hot, &parts, body).await;
                self.finish(done, Some(hot.topic()), (&parts.method, &parts.headers), offered, began).await
            }
            None => {
                let (method, headers) = (parts.method.clone(), parts.headers.clone());
                let done = self.route(parts, body).await;
                self.finish(done, None, (&method, &headers), offered, began).await
            }
        }
    }

    async fn carry(&self, hot: &Hot<'_>, parts: &Parts, body: Incoming) -> Done {
        let route = hot.route();
        let caller = match self.caller(parts).await {
            Ok(caller) => caller,
            Err(error) => return Done::refused(error, route, None),
        };
        if let Err(error) = self.teller.check() {
            return Done::refused(error, route, Some(caller));
        }
        self.post(hot, caller, parts, body, None).await
    }

    /// Posts records; those of a request with a key in its turn.
    async fn post<B>(&self, hot: &Hot<'_>, caller: Caller, parts: &Parts, body: B, turn: Option<&Turn>) -> Done
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let route = hot.route();
        let posted = match hot {
            Hot::Produce { topic, partition } => {
                v2::produce::post(&self.bridge, (&caller, turn), (topic, *partition), &parts.headers, body).await
            }
            Hot::Raw { topic } => raw::post(&self.bridge, (&caller, turn), topic, parts, body).await,
        };
        match posted {
            Ok(Posted { response, delivery }) => Done { response, route, caller: Some(caller), delivery },
            Err(error) => Done::refused(error, route, Some(caller)),
        }
    }

    async fn caller(&self, parts: &Parts) -> Result<Caller, Error> {
        match &self.bridge.replicas {
            Some(replicas) => {
                if let Some(caller) = replicas.believed(&self.connection, parts)? {
                    return Ok(caller);
                }
            }
            None => replicas::refuse_claims(&self.connection, parts)?,
        }
        self.bridge.callers.caller(&self.connection, &parts.uri, &parts.headers).await
    }

    async fn route(&self, parts: Parts, body: Incoming) -> Done {
        let mut caller: Option<Caller> = None;
        if !routes::is_public(trimmed(parts.uri.path())) {
            match self.caller(&parts).await {
                Ok(known) => caller = Some(known),
                Err(error) => return Done::refused(error, REFUSED, None),
            }
        }
        let body = match &caller {
            Some(known) => match self.elsewhere(&parts, body, known).await {
                Ok(done) => return done,
                Err(body) => body,
            },
            None => body,
        };
        self.forward(parts, Body::new(body), caller).await
    }

    /// The answer of the replica that has what a request is about; the body again when that is here.
    async fn elsewhere(&self, parts: &Parts, body: Incoming, caller: &Caller) -> Result<Done, Incoming> {
        let Some(replicas) = &self.bridge.replicas else { return Err(body) };
        match replicas.elsewhere(caller, trimmed(parts.uri.path())) {
            Ok(None) => Err(body),
            Ok(Some(to)) => {
                let answer = replicas.pass_on(&self.bridge, &to, (caller, &self.connection), (parts, body)).await;
                Ok(match answer {
                    Ok(response) => Done { response, route: to.route, caller: Some(caller.clone()), delivery: None },
                    Err(error) => Done::refused(error, to.route, Some(caller.clone())),
                })
            }
            Err(error) => Ok(Done::refused(error, UNMATCHED, Some(caller.clone()))),
        }
    }

    /// To the router.
    async fn forward(&self, mut parts: Parts, body: Body, caller: Option<Caller>) -> Done {
        if let Some(uri) = without_slash(&parts.uri) {
            parts.uri = uri;
        }
        if let Some(caller) = &caller {
            parts.extensions.insert(caller.clone());
        }
        parts.extensions.insert(self.connection.clone());
        let request = Request::from_parts(parts, body);
        let response = match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let route = response.extensions().get::<Template>().map_or(UNMATCHED, |template| template.0);
        let delivery = response.extensions().get::<Delivery>().cloned();
        Done { response, route, caller, delivery }
    }

    /// Gives an error the form that the caller accepts; counts and audits.
    async fn finish(
        &self,
        done: Done,
        topic: Option<&str>,
        (method, asked): (&Method, &HeaderMap),
        offered: &'static [&'static str],
        began: Instant,
    ) -> Response {
        let Done { mut response, route, caller, delivery } = done;
        let mut error = response.extensions_mut().remove::<Error>().or_else(|| bare_error(&response));
        let status = error.as_ref().map_or(response.status(), |error| error.code.status());
        let records = delivery.as_ref();
        let call = Call { caller: caller.as_ref(), method, route, topic, records, status, error: error.as_ref() };
        // What another replica has answered is in its log, with the caller's name and address.
        let is_told = response.extensions_mut().remove::<PassedOn>().is_some();
        if !is_told && let Err(unwritten) = self.teller.tell(&call).await {
            error = Some(unwritten);
        }
        if let Some(error) = &error {
            response = error.response(Wishes::of(asked).shape(offered));
        }
        self.bridge.cors.allow(asked, response.headers_mut());
        let status = response.status();
        self.bridge.metrics.request(route, status.as_u16(), began.elapsed());
        if let Some(delivery) = &delivery {
            let written = delivery.outcomes().filter(|outcome| matches!(outcome, Some(Ok(_)))).count();
            let refused = delivery.outcomes().len().saturating_sub(written);
            self.bridge.metrics.written.inc_by(u64::try_from(written).unwrap_or(u64::MAX));
            self.bridge.metrics.refused.inc_by(u64::try_from(refused).unwrap_or(u64::MAX));
        }
        response
    }
}

impl Done {
    fn refused(error: Error, route: &'static str, caller: Option<Caller>) -> Self {
        use axum::response::IntoResponse;
        Self { response: error.into_response(), route, caller, delivery: None }
    }
}

/// A route that carries records.
#[derive(Debug, PartialEq, Eq)]
enum Hot<'p> {
    Produce { topic: Cow<'p, str>, partition: Option<i32> },
    Raw { topic: Cow<'p, str> },
}

impl<'p> Hot<'p> {
    fn find(method: &Method, path: &'p str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        if method == Method::DELETE && !path.starts_with("/v1/") {
            return None;
        }
        if method != Method::POST && method != Method::DELETE {
            return None;
        }
        let found = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
            ("topics", Some(topic), None, _) => Self::Produce { topic: decoded(topic)?, partition: None },
            ("topics", Some(topic), Some("partitions"), Some(partition)) => Self::Produce {
                topic: decoded(topic)?,
                partition: Some(partition.parse().ok().filter(|one| *one >= 0)?),
            },
            ("v1", Some("topics"), Some(topic), Some("records")) => Self::Raw { topic: decoded(topic)? },
            _ => return None,
        };
        parts.next().is_none().then_some(found)
    }

    fn route(&self) -> &'static str {
        match self {
            Self::Produce { partition: None, .. } => "/topics/{topic}",
            Self::Produce { partition: Some(_), .. } => "/topics/{topic}/partitions/{partition}",
            Self::Raw { .. } => "/v1/topics/{topic}/records",
        }
    }

    fn topic(&self) -> &str {
        match self {
            Self::Produce { topic, .. } | Self::Raw { topic } => topic,
        }
    }
}

/// What the router, or the library below it, answered without a word.
fn bare_error(response: &Response) -> Option<Error> {
    let code = match response.status() {
        StatusCode::BAD_REQUEST => Code::BadRequest,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Code::Unprocessable,
        StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
        _ => return None,
    };
    let own = response.headers().get(axum::http::header::CONTENT_TYPE);
    if own.is_some_and(|kind| kind.as_bytes().ends_with(b"json")) {
        return None;
    }
    let status = code.status();
    Some(code.with(format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())))
}

fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(axum::http::uri::Authority::as_str)
}

/// A path with a slash at its end means the same without.
fn trimmed(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(shorter) => shorter,
    }
}

fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = trimmed(uri.path());
    if path.len() == uri.path().len() {
        return None;
    }
    match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}

/// Whether errors are plain JSON there, as everything else is.
fn is_plain_json(path: &str) -> bool {
    ["/v1/", "/v3", "/kafka/", "/livez", "/readyz", "/openapi"].iter().any(|prefix| path.starts_with(prefix))
}

/// A part of a path as its text; `None` when it is none.
pub fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part)).filter(|part| !part.is_empty());
    }
    String::from_utf8(unescaped(part)?).ok().map(Cow::Owned)
}

/// Bytes with their percent signs decoded (RFC 3986, 2.1); `None` when a sign has no two digits behind it.
pub fn unescaped(part: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

/// The words of a query with what they are set to, as they stand there.
pub fn words(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// What is counted for a path that nobody serves.
const UNMATCHED: &str = "unmatched";
/// What is counted for a caller that nobody knows.
const REFUSED: &str = "refused";
/// What is counted for a browser that asks whether it may ask.
const PREFLIGHT: &str = "preflight";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn routes_that_carry_records_are_found_and_no_others() {
        let find = |path| Hot::find(&Method::POST, path).map(|hot| (hot.route(), hot.topic().to_owned()));
        let named = |route: &'static str| Some((route, "a".to_owned()));
        assert_eq!(find("/topics/a"), named("/topics/{topic}"));
        assert_eq!(find("/topics/%61"), named("/topics/{topic}"));
        assert_eq!(find("/topics/a/partitions/7"), named("/topics/{topic}/partitions/{partition}"));
        assert_eq!(find("/v1/topics/a/records"), named("/v1/topics/{topic}/records"));
        let others =
            ["/topics", "/topics/", "/topics/a/partitions", "/topics/a/partitions/x", "/topics/a/partitions/-1"];
        for path in
            others.into_iter().chain(["/topics/a/partitions/1/x", "/topics/a/b", "/topics/%6", "/v1/topics/a", "/"])
        {
            assert_eq!(find(path), None, "{path}");
        }
        assert_eq!(Hot::find(&Method::GET, "/topics/a"), None);
        assert_eq!(Hot::find(&Method::DELETE, "/topics/a"), None);
        assert!(Hot::find(&Method::DELETE, "/v1/topics/a/records").is_some());
    }

    #[test]
    fn a_slash_at_the_end_means_nothing() {
        assert_eq!(trimmed("/topics/"), "/topics");
        assert_eq!(trimmed("/"), "/");
        assert_eq!(without_slash(&"/topics/?a=1".parse().unwrap()).unwrap(), "/topics?a=1");
        assert_eq!(without_slash(&"/topics".parse().unwrap()), None);
    }

    #[test]
    fn parts_of_paths_are_decoded_or_refused() {
        assert_eq!(decoded("a%2Eb").unwrap(), "a.b");
        assert_eq!(decoded("%c3%a4").unwrap(), "ä");
        for wrong in ["", "%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
    }
}
