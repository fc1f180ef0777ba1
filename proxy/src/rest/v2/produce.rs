//! `POST /topics/{topic}` and `POST /topics/{topic}/partitions/{partition}`.
//!
//! Arrives: a body of records. Leaves: what became of each, in their order, when the brokers have said so. What must never happen here: a
//! record called written before its acknowledgement; an outcome left out.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use hyper::body::Body;

use crate::rest::accept::Wishes;
use crate::rest::bridge::Bridge;
use crate::rest::formats::{self, Format, Placed, ProduceBody, Refused};
use crate::rest::front::Posted;
use crate::rest::idempotency::Turn;
use crate::rest::pool::{Delivery, Refusal};
use crate::rest::{Caller, Code, Error, refusal, send};

/// Posts the records of a body.
///
/// # Errors
/// Whatever keeps the records from being sent at all; and, once they are sent, that none of them was written because Kafka does not
/// answer.
pub async fn post<B>(
    bridge: &Bridge,
    (caller, turn): (&Caller, Option<&Turn>),
    (topic, partition): (&str, Option<i32>),
    headers: &HeaderMap,
    body: B,
) -> Result<Posted, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let wishes = Wishes::of(headers);
    let content_type = wishes.v2()?;
    let format = format(bridge, headers)?;
    let (body, hold) = bridge.room.read(headers, body).await?;
    let mut posted = formats::parse_v2(format, &body, &bridge.formats)?;
    let schemas = write_with_schemas(bridge, topic, format, &mut posted).await?;
    let delivery = send::all(bridge, (caller, turn), (topic, partition), &posted.records, hold).await?;
    if let Some(error) = unanswered(&delivery) {
        return Ok(Posted { response: error.into_response(), delivery: Some(delivery) });
    }
    let response = answer(&delivery, schemas, content_type, wishes.wants_strict_status());
    Ok(Posted { response, delivery: Some(delivery) })
}

/// Turns keys and values that have a schema into the registry's wire format, and gives the numbers of the schemas.
#[cfg(feature = "schemas")]
async fn write_with_schemas(
    bridge: &Bridge,
    topic: &str,
    format: Format,
    body: &mut ProduceBody,
) -> Result<(Option<i32>, Option<i32>), Error> {
    match &bridge.schemas {
        Some(schemas) if format.has_schema() => Ok(schemas.write_v2(topic, format, body).await?),
        _ => Ok((None, None)),
    }
}

#[cfg(not(feature = "schemas"))]
async fn write_with_schemas(
    _: &Bridge,
    _: &str,
    _: Format,
    _: &mut ProduceBody,
) -> Result<(Option<i32>, Option<i32>), Error> {
    Ok((None, None))
}

fn format(bridge: &Bridge, headers: &HeaderMap) -> Result<Format, Error> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return Ok(Format::Binary) };
    let format = content_type.to_str().ok().and_then(Format::of_media_type);
    let unknown = || Code::UnsupportedMediaType.with("HTTP 415 Unsupported Media Type");
    let has_registry = bridge.settings.schema_registry.is_some();
    format.filter(|format| !format.has_schema() || has_registry).ok_or_else(unknown)
}

/// When Kafka has answered for none of the records, the request as a whole has failed.
fn unanswered(delivery: &Delivery) -> Option<Error> {
    let mut first = None;
    for outcome in delivery.outcomes() {
        match outcome {
            None => {
                first.get_or_insert(Refusal::RequestTimedOut);
            }
            Some(Err(error)) if refusal::of_record(*error).0 == Code::KafkaRetriable => {
                first.get_or_insert(*error);
            }
            Some(_) => return None,
        }
    }
    let (code, message) = refusal::of_record(first?);
    Some(code.with(message))
}

fn answer(
    delivery: &Delivery,
    (key_schema_id, value_schema_id): (Option<i32>, Option<i32>),
    content_type: &'static str,
    strict: bool,
) -> Response {
    let mut body = BytesMut::with_capacity(delivery.outcomes().len() * BYTES_OF_OUTCOME + BYTES_OF_ANSWER);
    let mut status = StatusCode::OK;
    let refused: Vec<Result<Placed, Refused>> =
        delivery.outcomes().map(|outcome| settle(outcome, &mut status, strict)).collect();
    let outcomes = refused.iter().map(Result::as_ref);
    formats::push_v2_produced(&mut body, outcomes, key_schema_id, value_schema_id);
    (status, [(header::CONTENT_TYPE, content_type)], body.freeze()).into_response()
}

/// A record's outcome in the answer. The status is that of a refusal only where access is refused, as clients of the API expect; or
/// where the caller wants the truth, that of the first record that failed.
fn settle(outcome: Option<&Result<Placed, Refusal>>, status: &mut StatusCode, strict: bool) -> Result<Placed, Refused> {
    let error = match outcome {
        Some(Ok(placed)) => return Ok(*placed),
        Some(Err(error)) => *error,
        None => Refusal::RequestTimedOut,
    };
    let code = refusal::of_record(error).0;
    if *status == StatusCode::OK && (strict || matches!(code, Code::Forbidden | Code::Unauthenticated)) {
        *status = code.status();
    }
    Err(refusal::refused(error))
}

/// `{"partition":12,"offset":123456,"error_code":null,"error":null},`
const BYTES_OF_OUTCOME: usize = 72;
/// What stands around.
const BYTES_OF_ANSWER: usize = 64;
