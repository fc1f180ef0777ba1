//! A witness over HTTP: requests arrive, answers of C2SP tlog-witness leave.
//! The routes are to be mounted below a prefix of the operator's choice, the same for submission and monitoring. Nobody is
//! authenticated: only a checkpoint that a known log has signed changes anything.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::request::MAX_BODY;
use super::{Answer, Witness};

/// The routes of a witness.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(latest))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    let answer = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
    match answer.unwrap_or(Answer::Unwritable) {
        Answer::Cosigned(line) => ([(header::CONTENT_TYPE, PLAIN)], line).into_response(),
        Answer::OtherSize(size) => {
            (StatusCode::CONFLICT, [(header::CONTENT_TYPE, SIZE)], format!("{size}\n")).into_response()
        }
        Answer::Malformed => StatusCode::BAD_REQUEST.into_response(),
        Answer::NotSigned => StatusCode::FORBIDDEN.into_response(),
        Answer::UnknownLog => StatusCode::NOT_FOUND.into_response(),
        Answer::Inconsistent => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        Answer::Unwritable => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn latest(State(witness): State<Arc<Witness>>, Path(origin): Path<String>) -> Response {
    let found = tokio::task::spawn_blocking(move || witness.latest(&origin)).await;
    match found.unwrap_or_default() {
        Some(note) => ([(header::CONTENT_TYPE, PLAIN)], note).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// The specification's own type for a size.
const SIZE: &str = "text/x.tlog.size";
