//! All routes: one list of operations, of which the router and the OpenAPI document are made. Those that carry records are in the list
//! too, and `front.rs` finds them itself.
//!
//! Arrives: the bridge. Leaves: a router, in which each route tells its template for metrics and audit. What must never happen here: a
//! route that answers somebody who was not accepted, other than the probes and the documentation; a route that is not described.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodRouter, on};
use axum::{Extension, Router};

use super::bridge::Bridge;
use super::caller::Caller;
use super::openapi::Document;
use super::operation::filter;
use super::operations::operations;
use super::{Code, Error};

/// The template of the route that answered, beside the answer.
#[derive(Clone, Copy, Debug)]
pub struct Template(pub &'static str);

/// The router of a bridge, with the document that describes it.
pub fn all(bridge: Arc<Bridge>) -> Router {
    let operations = operations();
    let document = Document::of(&operations);
    let mut served: BTreeMap<&'static str, MethodRouter<Arc<Bridge>>> = BTreeMap::new();
    for operation in operations {
        // What `front.rs` did not find by itself names nothing that could be.
        let methods = operation.served.unwrap_or_else(|| on(filter(&operation.method), not_found));
        let before = served.remove(operation.path).unwrap_or_default();
        served.insert(operation.path, before.merge(methods));
    }
    let mut router = Router::new();
    for (template, methods) in served {
        if template.starts_with("/v3/") {
            router = at(router, &format!("/kafka{template}"), template, methods.clone());
        }
        router = at(router, template, template, methods);
    }
    let router = router.fallback(not_found).method_not_allowed_fallback(not_allowed);
    router.layer(Extension(document)).with_state(bridge)
}

fn at(
    router: Router<Arc<Bridge>>,
    path: &str,
    template: &'static str,
    methods: MethodRouter<Arc<Bridge>>,
) -> Router<Arc<Bridge>> {
    let tell = move |mut response: Response| async move {
        response.extensions_mut().insert(Template(template));
        response
    };
    router.route(path, methods.layer(axum::middleware::map_response(tell)))
}

/// Whether a path is answered without asking who calls.
pub fn is_public(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/openapi.json" | "/docs" | "/docs/page.js")
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
