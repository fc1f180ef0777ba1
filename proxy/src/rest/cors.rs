//! Which web pages may call (CORS, Fetch standard): by the origins of the configuration, on every route and every error.
//!
//! Arrives: the headers of a request. Leaves: the answer to a preflight, and headers for every other answer. What must never happen
//! here: an origin answered that is not listed; credentials allowed for any origin.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

/// The origins that may call.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    origins: Vec<String>,
    any: bool,
}

impl Cors {
    /// As configured: origins in lower case, `*` for any.
    pub fn new(origins: &[String]) -> Self {
        let any = origins.iter().any(|origin| origin == "*");
        Self { origins: origins.to_vec(), any }
    }

    /// The answer to a preflight; `None` when the request is none, or nobody may call.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if method != Method::OPTIONS || (self.origins.is_empty() && !self.any) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allow(headers, response.headers_mut()) {
            let allowed = response.headers_mut();
            allowed.insert(header::ACCESS_CONTROL_ALLOW_METHODS, asked.clone());
            if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                allowed.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }
            allowed.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
        Some(response)
    }

    /// Whether a web page asks that is neither listed nor of this bridge itself. A browser sends the client certificate with whatever
    /// a page asks for, so what changes something must not be done for such a one.
    /// `authority` is that of HTTP/2, which has no `Host`.
    pub fn is_foreign(&self, asked: &HeaderMap, authority: Option<&str>) -> bool {
        let Some(origin) = asked.get(header::ORIGIN) else { return false };
        let Ok(origin) = origin.to_str() else { return true };
        let own = asked.get(header::HOST).and_then(|host| host.to_str().ok()).or(authority);
        let is_own = own.is_some_and(|host| {
            origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        });
        !is_own && !self.any && !self.origins.iter().any(|one| origin.eq_ignore_ascii_case(one))
    }

    /// Adds what a browser needs to show an answer to its page. False when the page may not see it.
    pub fn allow(&self, asked: &HeaderMap, answer: &mut HeaderMap) -> bool {
        if self.origins.is_empty() && !self.any {
            return false;
        }
        answer.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = asked.get(header::ORIGIN) else { return false };
        let listed = || origin.to_str().is_ok_and(|text| self.origins.iter().any(|one| text.eq_ignore_ascii_case(one)));
        if self.any {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else if listed() {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            // A client certificate counts as a credential.
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else {
            return false;
        }
        answer.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("etag, idempotency-replayed, location, retry-after"),
        );
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn from(origin: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        headers
    }

    #[test]
    fn a_foreign_page_is_told_from_this_bridges_own_and_from_listed_ones() {
        let cors = Cors::new(&["https://listed.example".to_owned()]);
        let asked = |origin: &'static str, host: &'static str| {
            let mut headers = from(origin);
            headers.insert(header::HOST, HeaderValue::from_static(host));
            cors.is_foreign(&headers, None)
        };
        assert!(!asked("https://bridge.example:8443", "bridge.example:8443"));
        assert!(!asked("https://listed.example", "bridge.example:8443"));
        assert!(asked("https://bridge.example", "bridge.example:8443"));
        assert!(asked("null", "bridge.example"));
        assert!(!cors.is_foreign(&from("https://bridge.example"), Some("bridge.example")));
        assert!(!cors.is_foreign(&HeaderMap::new(), None));
    }

    #[test]
    fn only_listed_origins_are_answered() {
        let cors = Cors::new(&["https://app.example.com".to_owned()]);
        let allowed = cors.preflight(&Method::OPTIONS, &from("https://App.example.com")).unwrap();
        assert_eq!(allowed.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "https://App.example.com");
        assert_eq!(allowed.headers().get(header::ACCESS_CONTROL_ALLOW_METHODS).unwrap(), "POST");
        let refused = cors.preflight(&Method::OPTIONS, &from("https://evil.example.com")).unwrap();
        assert!(refused.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
        assert!(refused.headers().get(header::ACCESS_CONTROL_ALLOW_METHODS).is_none());
        assert!(cors.preflight(&Method::POST, &from("https://app.example.com")).is_none());
        assert!(Cors::default().preflight(&Method::OPTIONS, &from("https://app.example.com")).is_none());
    }

    #[test]
    fn any_origin_gets_no_credentials() {
        let mut answer = HeaderMap::new();
        assert!(Cors::new(&["*".to_owned()]).allow(&from("https://x.example"), &mut answer));
        assert_eq!(answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "*");
        assert!(answer.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
    }
}
