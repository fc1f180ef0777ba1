//! `POST …/topics/{topic_name}/records`, one record or a stream of them, and `records:batch`.
//!
//! The status of a stream is told before its first record: it is 200 as soon as records can be sent at all, and each line has its own
//! code. For a caller that prefers `strict-status` it is that of the first record that failed: of all in a body with a length, of the first
//! lines in a stream.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use hyper::body::Body as _;
use serde_json::{Value, json};

use super::ask::{Ask, check_content_type};
use super::lines::{Batch, Draft, Writer};
use super::refusal;
use super::stream::{Exchange, Lines};
use crate::rest::accept::Wishes;
use crate::rest::formats::{Splitter, parse_v3, parse_v3_batch};
use crate::rest::idempotency::Turn;
use crate::rest::operation::{Content, JSON, Operation};
use crate::rest::operations::headers;
use crate::rest::{Code, Error};

/// Opens an exchange of records.
pub async fn post(ask: Ask, Path((cluster_id, topic)): Path<(String, String)>, body: Body) -> Result<Response, Error> {
    check_content_type(&ask.headers, &[JSON, NDJSON])?;
    refuse_encoding(&ask)?;
    let strict = Wishes::of(&ask.headers).wants_strict_status();
    // Who waits for leave to go on takes a first answer for the last.
    let awaits_leave = ask.headers.contains_key(header::EXPECT);
    let writer = writer(ask, &cluster_id, topic, POST).await?;
    if let Some(turn) = writer.cluster.ask.turn.clone() {
        return post_once(&writer, &turn, body, strict).await;
    }
    let length = body.size_hint().exact();
    let mut exchange = Exchange::new(writer, body);
    let mut first = None;
    if length.is_some() {
        // It comes as a whole, whatever the caller hears meanwhile: then one answer is cheaper than its pieces.
        let mut told = BytesMut::new();
        while let Some(lines) = exchange.next().await {
            told.extend_from_slice(&lines);
            if told.len() > MOST_AT_ONCE {
                break;
            }
        }
        if exchange.is_over() && told.is_empty() {
            return Err(Code::BadRequest.with("the body has no record"));
        }
        if exchange.is_over() {
            let status = if strict { strict_status(exchange.failed()) } else { StatusCode::OK };
            return Ok((status, [(header::CONTENT_TYPE, JSON)], told.freeze()).into_response());
        }
        first = Some(told.freeze());
    } else if strict {
        // The status waits for the first lines: such a caller wants to know.
        first = exchange.next().await;
        if first.is_none() {
            return Err(Code::BadRequest.with("the body has no record"));
        }
    } else if awaits_leave {
        exchange.begin().await;
    }
    let status = if strict { strict_status(exchange.failed()) } else { StatusCode::OK };
    let lines = Body::new(Lines::of(exchange, first));
    Ok((status, [(header::CONTENT_TYPE, JSON)], lines).into_response())
}

/// Writes the records of a whole body, all or none.
async fn post_once(writer: &Writer, turn: &Turn, body: Body, strict: bool) -> Result<Response, Error> {
    let ask = &writer.cluster.ask;
    let (bytes, hold) = ask.bridge.room.read(&ask.headers, body).await?;
    let partitions = ask.entry.partitions(&writer.topic).await?;
    let (mut draft, mut splitter) = (Draft::default(), Splitter::new(ask.bridge.formats));
    splitter.push(bytes);
    loop {
        let record = match splitter.take() {
            Ok(Some(piece)) => parse_v3(&piece.text, piece.position, &ask.bridge.formats),
            Ok(None) => break,
            Err(error) => Err(error),
        };
        // What follows text that is no JSON cannot be told apart.
        let is_broken = record.as_ref().is_err_and(|error| error.code() == Code::BadRequest);
        draft.add(writer, record, partitions).await;
        if is_broken {
            break;
        }
    }
    if let Err(error) = splitter.finish() {
        draft.add(writer, Err(error), partitions).await;
    }
    if draft.is_empty() {
        return Err(Code::BadRequest.with("the body has no record"));
    }
    let batch = writer.send_once(draft, turn, Some(hold)).await?;
    let mut told = BytesMut::new();
    let failed = writer.tell(&batch, &mut told);
    let status = if strict { strict_status(failed) } else { StatusCode::OK };
    Ok(with_delivery((status, [(header::CONTENT_TYPE, JSON)], told.freeze()).into_response(), &batch))
}

/// Beside the answer goes what became of the records, for the audit.
fn with_delivery(mut response: Response, batch: &Batch) -> Response {
    if let Some(delivery) = batch.delivery() {
        response.extensions_mut().insert(delivery.clone());
    }
    response
}

/// Writes some records with ids.
pub async fn post_batch(
    ask: Ask,
    Path((cluster_id, topic)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Error> {
    check_content_type(&ask.headers, &[JSON])?;
    let writer = writer(ask, &cluster_id, topic, POST_BATCH).await?;
    let ask = &writer.cluster.ask;
    let (bytes, hold) = ask.bridge.room.read(&ask.headers, body).await?;
    let partitions = ask.entry.partitions(&writer.topic).await?;
    let (mut draft, mut ids) = (Draft::default(), Vec::new());
    for entry in parse_v3_batch(&bytes, &ask.bridge.formats)? {
        draft.add(&writer, entry.record, partitions).await;
        ids.push(entry.id);
    }
    if let Some(turn) = &ask.turn {
        let batch = writer.send_once(draft, turn, Some(hold)).await?;
        let mut out = BytesMut::new();
        writer.tell_entries(&ids, &batch, &mut out);
        let response = (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, JSON)], out.freeze()).into_response();
        return Ok(with_delivery(response, &batch));
    }
    let batch = writer.send(draft, &ask.entry, Some(hold)).map_err(|refused| refused.1)?;
    tokio::time::timeout(ask.bridge.settings.limits.request_timeout, batch.whole()).await.ok();
    let batch = writer.note(batch).await;
    let mut out = BytesMut::new();
    writer.tell_entries(&ids, &batch, &mut out);
    Ok((StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, JSON)], out.freeze()).into_response())
}

/// Both operations, as they are described.
pub fn operations() -> Vec<Operation> {
    let line = json!({ "oneOf": [placed(&["error_code"]), refused(&[])] });
    let mut entry = record();
    let id = json!({ "type": "string", "minLength": 1, "maxLength": 80 });
    if let Some(properties) = entry.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("id".to_owned(), id.clone());
    }
    let entries = json!({
        "type": "object", "required": ["entries"], "additionalProperties": false,
        "properties": { "entries": { "type": "array", "minItems": 1, "maxItems": 10, "items": entry } },
    });
    let answer = json!({
        "type": "object", "required": ["successes", "failures"],
        "properties": {
            "successes": { "type": "array", "items": placed(&["id"]) },
            "failures": { "type": "array", "items": refused(&["id"]) },
        },
    });
    vec![
        Operation::post(POST, post)
            .about(PRODUCE, "Write one record, or as many as the stream brings; a line tells what became of each")
            .takes_forms(vec![Content::by_hand(JSON, record()), Content::by_hand(NDJSON, record())])
            .gives_forms(200, "A line for each record, in their order", vec![Content::by_hand(JSON, line)]),
        Operation::post(POST_BATCH, post_batch)
            .about(PRODUCE, "Write up to ten records with ids")
            .takes_forms(vec![Content::by_hand(JSON, entries)])
            .gives_forms(207, "What became of each", vec![Content::by_hand(JSON, answer)]),
    ]
}

async fn writer(ask: Ask, cluster_id: &str, topic: String, route: &'static str) -> Result<Writer, Error> {
    let cluster = ask.cluster(cluster_id).await?;
    if !crate::rest::send::is_topic_name(&topic) {
        return Err(refusal::unknown_topic_or_partition());
    }
    let known = cluster.ask.entry.partitions(&topic).await;
    known.map_err(|error| match error.code {
        Code::TopicNotFound => refusal::unknown_topic_or_partition(),
        _ => error,
    })?;
    Ok(Writer { cluster, topic, route })
}

fn refuse_encoding(ask: &Ask) -> Result<(), Error> {
    if ask.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let text = "compressed bodies are not taken; send it without Content-Encoding";
        return Err(Code::UnsupportedMediaType.with(text));
    }
    Ok(())
}

/// The status that the first failure has.
fn strict_status(failed: Option<i32>) -> StatusCode {
    let Some(code) = failed else { return StatusCode::OK };
    // 40401 is a 404.
    let class = if code >= 1000 { code / 100 } else { code };
    u16::try_from(class).ok().and_then(|class| StatusCode::from_u16(class).ok()).unwrap_or(StatusCode::OK)
}

fn record() -> Value {
    let part = json!({
        "type": ["object", "null"],
        "properties": {
            "type": { "enum": ["BINARY", "JSON", "STRING", "AVRO", "JSONSCHEMA", "PROTOBUF"] },
            "data": { "description": "base64 for BINARY; null is a null" },
            "subject": { "type": ["string", "null"] },
            "subject_name_strategy": { "enum": ["TOPIC_NAME", "RECORD_NAME", "TOPIC_RECORD_NAME", null] },
            "schema_id": { "type": ["integer", "null"] },
            "schema_version": { "type": ["integer", "null"] },
            "schema": { "type": ["string", "null"] },
        },
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {
            "partition_id": { "type": ["integer", "null"], "minimum": 0, "maximum": i32::MAX },
            "headers": headers("name"),
            "key": part, "value": part,
            "timestamp": { "type": ["string", "null"], "format": "date-time" },
        },
        "additionalProperties": false,
    })
}

fn placed(more: &[&str]) -> Value {
    let part = json!({
        "type": "object", "required": ["type", "size"],
        "properties": { "type": { "type": "string" }, "size": { "type": "integer" } },
    });
    let required: Vec<&str> =
        ["cluster_id", "topic_name", "partition_id", "offset"].into_iter().chain(more.iter().copied()).collect();
    json!({
        "type": "object", "required": required,
        "properties": {
            "id": { "type": "string" }, "error_code": { "const": 200 },
            "cluster_id": { "type": "string" }, "topic_name": { "type": "string" },
            "partition_id": { "type": "integer" }, "offset": { "type": "integer" },
            "timestamp": { "type": "string", "format": "date-time" }, "key": part, "value": part,
        },
    })
}

fn refused(more: &[&str]) -> Value {
    let required: Vec<&str> = ["error_code", "message"].into_iter().chain(more.iter().copied()).collect();
    json!({
        "type": "object", "required": required,
        "properties": {
            "id": { "type": "string" }, "error_code": { "type": "integer", "not": { "const": 200 } },
            "message": { "type": "string" },
        },
    })
}

const POST: &str = "/v3/clusters/{cluster_id}/topics/{topic_name}/records";
const POST_BATCH: &str = "/v3/clusters/{cluster_id}/topics/{topic_name}/records:batch";

/// One object on a line is a stream of objects too.
const NDJSON: &str = "application/x-ndjson";

/// Answers to some thousand records.
const MOST_AT_ONCE: usize = 1 << 20;

const PRODUCE: &str = "v3: produce";
