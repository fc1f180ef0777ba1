//! `GET /brokers`: node ids, and never an address.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer;
use crate::rest::bridge::Bridge;
use crate::rest::kafka::metadata::Metadata;
use crate::rest::{Caller, Error};

/// The brokers that are up.
pub async fn list(State(bridge): State<Arc<Bridge>>, caller: Caller, headers: HeaderMap) -> Result<Response, Error> {
    let entry = bridge.pool.entry(&caller.principal)?;
    let mut brokers = entry.kafka.ask(&Metadata { topics: Some(&[]) }).await?.brokers;
    brokers.sort_unstable();
    answer(&headers, &Brokers { brokers })
}

/// The answer.
#[derive(Serialize, JsonSchema)]
pub struct Brokers {
    brokers: Vec<i32>,
}
