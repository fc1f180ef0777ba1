//! All that is served: one list, of which the router and the OpenAPI document are made.
//!
//! Probes and documents are answered here; for the rest the list says who answers. What must never happen here: an operation that a
//! test cannot find in the document.

mod consumers;
mod raw;
mod streams;
mod v2;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::bridge::Bridge;
use super::openapi::Document;
use super::operation::{Content, Operation};
use super::{docs, v3};

pub use v2::headers;

/// All that is served, and all that is described.
pub fn operations() -> Vec<Operation> {
    let plain = |kind| vec![Content::by_hand(kind, json!({ "type": "string" }))];
    let report = || vec![Content::by_hand("application/json", json!({ "type": "object" }))];
    let mut operations = vec![
        Operation::get("/livez", live).about(PROBES, "Whether the gateway runs").public().gives_forms(
            200,
            "It does",
            plain("text/plain; charset=utf-8"),
        ),
        Operation::get("/readyz", ready)
            .about(PROBES, "Whether callers should be sent here")
            .public()
            .gives_forms(200, "They should", report())
            .gives_forms(503, "They should not, and why", report()),
        Operation::get("/openapi.json", document)
            .about(DOCUMENTS, "This API as OpenAPI 3.1 describes it")
            .public()
            .gives_forms(200, "The document", report()),
        Operation::get("/docs", docs::page).about(DOCUMENTS, "This API as a page").public().gives_forms(
            200,
            "The page",
            plain("text/html; charset=utf-8"),
        ),
        Operation::get("/docs/page.js", docs::program)
            .about(DOCUMENTS, "The program of the page")
            .public()
            .gives_forms(200, "The program", plain("text/javascript; charset=utf-8")),
    ];
    operations.extend(v2::operations());
    operations.extend(consumers::operations());
    operations.extend(v3::operations());
    operations.extend(raw::operations());
    operations.extend(streams::operations());
    operations
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(bridge): State<Arc<Bridge>>) -> Response {
    let report = bridge.readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn document(Extension(document): Extension<Document>) -> Response {
    document.response()
}

const PROBES: &str = "probes";
const DOCUMENTS: &str = "documents";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::routes::is_public;

    #[test]
    fn what_asks_nobody_who_is_calling_is_described_so() {
        for operation in operations() {
            assert_eq!(is_public(operation.path), operation.is_public, "{}", operation.path);
        }
    }
}
