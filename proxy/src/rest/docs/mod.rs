//! `/docs`: the documentation page, which reads `/openapi.json` of the same bridge and nothing else from anywhere.
//!
//! Both parts of the page are in the binary. What must never happen here: a request of the page to another host; its policy forbids it.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The page.
pub async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE).into_response()
}

/// Its program.
pub async fn program() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, PROGRAM).into_response()
}

/// Nothing but this host, and no script or style that is not written here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("page.html");
const PROGRAM: &str = include_str!("page.js");
