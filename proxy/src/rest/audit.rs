//! The one place that every request of the bridge passes when it is done: who, which route, which topic, how it ended.
//!
//! Arrives: a request with its outcome. Leaves: an event. What must never happen here: a credential, a record's bytes, or a path with
//! what a caller wrote into it in the place of its route.

use axum::http::StatusCode;

use super::pool::Delivery;
use super::{Caller, Code};

/// A request that is done.
pub struct Call<'a> {
    /// Who made it; `None` when nobody was accepted.
    pub caller: Option<&'a Caller>,
    /// The template of its path.
    pub route: &'static str,
    /// The topic that it names.
    pub topic: Option<&'a str>,
    /// What became of each record.
    pub records: Option<&'a Delivery>,
    /// The status that was answered.
    pub status: StatusCode,
    /// The error that was answered.
    pub error: Option<Code>,
}

/// Takes note of a request.
pub fn audited(call: &Call<'_>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let refused =
        call.records.map_or(0, |delivery| delivery.outcomes().filter(|one| !matches!(one, Some(Ok(_)))).count());
    tracing::debug!(
        event = "rest_request",
        principal = call.caller.map_or("", |caller| caller.principal.as_str()),
        proof = call.caller.map_or("", |caller| caller.proof.word()),
        route = call.route,
        topic = call.topic.unwrap_or_default(),
        records = call.records.map_or(0, |delivery| delivery.outcomes().len()),
        refused,
        status = call.status.as_u16(),
        error_code = call.error.map_or(0, Code::number),
    );
}
