//! Posts with an `Idempotency-Key`.
//!
//! Arrives: a request with a key. Leaves: its answer, or the one that was kept. The body is read as a whole first, since what the key
//! stands for is the whole request; then the request takes the way of every other, and what it writes goes through its turn. What must
//! never happen here: a request carried out without its turn.

use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use super::{Done, Front, Hot, UNMATCHED};
use crate::rest::idempotency::{Begun, HEADER, Key, Settled, pause};
use crate::rest::operations::operations;
use crate::rest::{Caller, Code, Error};

impl Front {
    /// Whether a request has a key. Only posts have one: other methods may be repeated as they are.
    pub(super) fn is_once(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::POST && headers.contains_key(HEADER)
    }

    /// Carries out a request at most once. The topic that it wrote to is told beside.
    pub(super) async fn once(&self, hot: Option<&Hot<'_>>, parts: Parts, body: Incoming) -> (Done, Option<String>) {
        let route = hot.map_or_else(|| template(parts.uri.path()), Hot::route);
        let caller = match self.caller(&parts).await {
            Ok(caller) => caller,
            Err(error) => return (Done::refused(error, route, None), None),
        };
        // Whoever carries it out keeps the answer.
        let body = match self.elsewhere(&parts, body, &caller).await {
            Ok(done) => return (done, None),
            Err(body) => body,
        };
        let refused = |error: Error| (Done::refused(error, route, Some(caller.clone())), None);
        if let Err(error) = self.teller.check() {
            return refused(error);
        }
        let key = match Key::of(&parts.headers).unwrap_or_else(|| Err(Code::BadRequest.with("no key"))) {
            Ok(key) => key,
            Err(error) => return refused(error),
        };
        if body.size_hint().exact().is_none() && is_stream(parts.uri.path()) {
            let text =
                "an Idempotency-Key is for a whole request: a stream of records needs a Content-Length to have one";
            return refused(Code::BadRequest.with(text));
        }
        let (bytes, _hold) = match self.bridge.room.read(&parts.headers, body).await {
            Ok(read) => read,
            Err(error) => return refused(error),
        };
        self.take_turns(hot, (&parts, bytes), (&key, caller.clone())).await
    }

    async fn take_turns(
        &self,
        hot: Option<&Hot<'_>>,
        (parts, bytes): (&Parts, Bytes),
        (key, caller): (&Key, Caller),
    ) -> (Done, Option<String>) {
        let route = hot.map_or_else(|| template(parts.uri.path()), Hot::route);
        let refused = |error: Error| (Done::refused(error, route, Some(caller.clone())), None);
        let until = Instant::now() + self.bridge.settings.limits.request_timeout;
        let (entry, ledger) = match self.bridge.pool.entry(&caller.principal) {
            Ok(entry) => (entry, &self.bridge.ledger),
            Err(error) => return refused(error),
        };
        let busy = match ledger.take(key, &caller.principal) {
            Ok(busy) => busy,
            Err(error) => return refused(error),
        };
        let digest = key.digest(parts, &bytes);
        let (mut pause, mut before) = (pause(), None);
        loop {
            let begun = timeout_at(until, ledger.begin(&entry, &busy, digest)).await;
            let turn = match begun.unwrap_or_else(|_| Err(late())) {
                Ok(Begun::Before(outcome)) => {
                    let response = outcome.replay();
                    return (Done { response, route, caller: Some(caller), delivery: None }, None);
                }
                Ok(Begun::Now(turn)) => turn,
                Err(error) => return refused(error),
            };
            let body = Body::from(bytes.clone());
            let carried = async {
                let mut done = match (before.take(), hot) {
                    (Some(done), _) => done,
                    (None, Some(hot)) => self.post(hot, caller.clone(), parts, body, Some(&turn)).await,
                    (None, None) => {
                        let mut parts = parts.clone();
                        parts.extensions.insert(turn.clone());
                        self.forward(parts, body, Some(caller.clone())).await
                    }
                };
                let response = std::mem::replace(&mut done.response, ().into_response());
                (done, turn.settle(response).await)
            };
            match timeout_at(until, carried).await {
                Ok((done, Settled::Done(response))) => {
                    return (Done { response, ..done }, turn.topic().map(str::to_owned));
                }
                Ok((done, Settled::Again(response))) if Instant::now() < until => {
                    before = response.map(|response| Done { response, ..done });
                    tracing::debug!(event = "idempotency_turn_again");
                    pause.wait().await;
                }
                Ok(_) | Err(_) => return refused(late()),
            }
        }
    }
}

/// Records of v3 may come for a day.
fn is_stream(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    (path.starts_with("/v3/") || path.starts_with("/kafka/v3/")) && path.ends_with("/records")
}

fn late() -> Error {
    let text = "Kafka has not answered in time; the same request with the same Idempotency-Key tells what became of it";
    Code::KafkaRetriable.with(text).after(Duration::from_secs(1))
}

/// The template of a post that does not get as far as the router: the one with the most words that are the path's own.
fn template(path: &str) -> &'static str {
    static POSTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        operations()
            .iter()
            .filter(|operation| operation.method == Method::POST)
            .map(|operation| operation.path)
            .collect()
    });
    let path = path.strip_prefix("/kafka").filter(|path| path.starts_with("/v3/")).unwrap_or(path);
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let own_words = |template: &str| {
        let words: Vec<&str> = template.trim_end_matches('/').split('/').collect();
        let fits = words.iter().zip(&parts).all(|(word, part)| word.starts_with('{') || word == part);
        (fits && words.len() == parts.len()).then(|| words.iter().filter(|word| !word.starts_with('{')).count())
    };
    let found = POSTS.iter().filter_map(|template| Some((own_words(template)?, *template)));
    found.max_by_key(|(own, _)| *own).map_or(UNMATCHED, |(_, template)| template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_has_the_template_of_its_route() {
        for (path, wanted) in [
            ("/v3/clusters/a/topics", "/v3/clusters/{cluster_id}/topics"),
            ("/kafka/v3/clusters/a/topics/b/records/", "/v3/clusters/{cluster_id}/topics/{topic_name}/records"),
            ("/v3/clusters/a/topics/b/records:batch", "/v3/clusters/{cluster_id}/topics/{topic_name}/records:batch"),
            ("/consumers/g", "/consumers/{group}"),
            ("/", "/"),
            ("/a/path/of/nobody", UNMATCHED),
        ] {
            assert_eq!(template(path), wanted, "{path}");
        }
    }
}
