//! All routes, but for those that carry records (`front.rs` finds them itself).
//!
//! Arrives: the bridge. Leaves: a router, in which each route tells its template for metrics and audit. What must never happen here: a
//! route that answers somebody who was not accepted, other than the probes.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::bridge::Bridge;
use super::caller::Caller;
use super::{Code, Error, streams, v2};

/// The template of the route that answered, beside the answer.
#[derive(Clone, Copy, Debug)]
pub struct Template(pub &'static str);

/// The router of a bridge.
pub fn all(bridge: Arc<Bridge>) -> Router {
    let router = Router::new();
    let router = at(router, "/livez", get(live));
    let router = at(router, "/readyz", get(ready));
    let router = v2::routes(router);
    let router = streams::routes(router);
    router.fallback(not_found).method_not_allowed_fallback(not_allowed).with_state(bridge)
}

/// Adds a route that tells its template.
pub fn at(
    router: Router<Arc<Bridge>>,
    template: &'static str,
    methods: MethodRouter<Arc<Bridge>>,
) -> Router<Arc<Bridge>> {
    let tell = move |mut response: Response| async move {
        response.extensions_mut().insert(Template(template));
        response
    };
    router.route(template, methods.layer(axum::middleware::map_response(tell)))
}

/// Whether a path is answered without asking who calls.
pub fn is_public(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(bridge): State<Arc<Bridge>>) -> Response {
    let report = bridge.readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn not_found() -> Error {
    Code::NotFound.with("HTTP 404 Not Found")
}

async fn not_allowed() -> Error {
    Code::MethodNotAllowed.with("HTTP 405 Method Not Allowed")
}

/// Handlers take who calls as an argument.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Code::Unauthenticated.with("nobody was accepted"))
    }
}
