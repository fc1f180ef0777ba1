//! The v2 API: metadata, produce and consumers, as the REST proxies of Kafka have it.

pub mod brokers;
pub mod topics;
pub mod partitions;
pub mod produce;
pub mod consumers;

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept::Wishes;
use super::{Code, Error};

/// Some clients ask for the root to see whether anybody is there.
pub async fn nothing(headers: HeaderMap) -> Result<Response, Error> {
    answer(&headers, &serde_json::Map::new())
}

/// An answer under the content type that the caller prefers.
fn answer(headers: &HeaderMap, value: &impl Serialize) -> Result<Response, Error> {
    let content_type = Wishes::of(headers).v2()?;
    let body = serde_json::to_vec(value).map_err(|_| Code::Internal.with("the answer cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}
