//! The operations of our own namespace: a body that is a record's value.

use axum::http::Method;
use serde_json::json;

use crate::rest::operation::{Content, JSON, Operation, number, text};

/// All operations of our own namespace.
pub fn operations() -> Vec<Operation> {
    let base64 = || json!({ "type": "string", "contentEncoding": "base64" });
    let placed = json!({
        "type": "object",
        "required": ["topic", "partition", "offset", "timestamp"],
        "properties": {
            "topic": { "type": "string" }, "partition": { "type": "integer" }, "offset": { "type": "integer" },
            "timestamp": { "type": ["integer", "null"], "description": "milliseconds since 1970" },
        },
    });
    let refused = json!({
        "type": "object", "required": ["error_code", "message"],
        "properties": { "error_code": { "type": "integer" }, "message": { "type": "string" } },
    });
    let batch = json!({
        "type": "object", "required": ["records"],
        "properties": { "records": { "type": "array", "items": { "anyOf": [placed, refused] } } },
    });
    let answer = json!({ "anyOf": [placed, batch] });
    let answers = |operation: Operation| {
        let placed = vec![Content::by_hand(JSON, answer.clone())];
        operation.gives_forms(200, "Where it was written; of a batch of events, what became of each", placed)
    };
    let words = |operation: Operation| {
        operation
            .word("key", text(), "The key; or the header field Kafka-Key")
            .word("key_base64", base64(), "The key in base64; or the header field Kafka-Key-Base64")
            .word("partition", number(), "The partition; or the header field Kafka-Partition")
            .word("timestamp", number(), "Milliseconds since 1970; or the header field Kafka-Timestamp")
            .word("event_key", text(), "For a CloudEvent: the attribute that becomes the key, such as partitionkey")
            .word("event_mode", text(), "For a CloudEvent: binary stores a structured one in Kafka's binary mode")
    };
    let path = "/v1/topics/{topic}/records";
    vec![
        answers(words(Operation::carried(Method::POST, path)))
            .about(
                RAW,
                "Write the body as one record; header.NAME in the query, or Kafka-Header-NAME, gives it a header",
            )
            .takes_forms(vec![
                Content::bytes("application/octet-stream"),
                Content::bytes("application/cloudevents+json"),
                Content::bytes("application/cloudevents-batch+json"),
                Content::bytes("*/*"),
            ])
            .or_nothing(),
        answers(words(Operation::carried(Method::DELETE, path))).about(RAW, "Write a tombstone for a key"),
    ]
}

const RAW: &str = "v1: one record without an envelope";
