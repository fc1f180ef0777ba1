//! The v2 API: metadata, produce and consumers, as the REST proxies of Kafka have it.

pub mod brokers;
pub mod topics;
pub mod partitions;
pub mod produce;
pub mod consumers;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::accept::Wishes;
use super::bridge::Bridge;
use super::routes::at;
use super::{Code, Error};

/// Adds the routes of the v2 API.
pub fn routes(router: Router<Arc<Bridge>>) -> Router<Arc<Bridge>> {
    let router = at(router, "/", get(nothing).post(nothing));
    let router = at(router, "/brokers", get(brokers::list));
    let router = at(router, "/topics", get(topics::list));
    let router = at(router, "/topics/{topic}", get(topics::describe));
    let router = at(router, "/topics/{topic}/partitions", get(partitions::list));
    let router = at(router, "/topics/{topic}/partitions/{partition}", get(partitions::describe));
    let router = at(router, "/topics/{topic}/partitions/{partition}/offsets", get(partitions::offsets));
    consumers::routes(router)
}

/// Some clients ask for the root to see whether anybody is there.
async fn nothing(headers: HeaderMap) -> Result<Response, Error> {
    answer(&headers, &serde_json::Map::new())
}

/// An answer under the content type that the caller prefers.
fn answer(headers: &HeaderMap, value: &impl Serialize) -> Result<Response, Error> {
    let content_type = Wishes::of(headers).v2()?;
    let body = serde_json::to_vec(value).map_err(|_| Code::Internal.with("the answer cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}
