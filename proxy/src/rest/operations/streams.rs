//! The operations of readers: single reads, streams, web sockets.

use serde_json::{Value, json};

use crate::rest::formats::Format;
use crate::rest::operation::{Content, Operation, number, text};
use crate::rest::streams::{events, partition, socket};
use crate::rest::view::EVENTS;

/// All operations that give records without a consumer instance.
pub fn operations() -> Vec<Operation> {
    let forms = || json!({ "type": "string", "enum": ["binary", "json", "text"], "default": "binary" });
    let views = json!({ "type": "string", "enum": ["binary", "json", "text", "cloudevents"], "default": "binary" });
    let record = record(json!({}));
    let told = json!({ "anyOf": [record.clone(), { "type": "object" }] });
    vec![
        Operation::get("/topics/{topic}/partitions/{partition}/records", partition::read)
            .about(READ, "Read once from an offset; returns as soon as there is a record")
            .word("offset", text(), "A number, beginning or end")
            .word("timeout", number(), "Milliseconds to wait while there is nothing")
            .word("max_bytes", number(), "Bytes of the answer, at least one record")
            .gives_forms(200, "The records, with an ETag of their offsets", reads())
            .gives_forms(304, "What If-None-Match names has not changed", vec![]),
        Operation::get("/v1/topics/{topic}/events", events::open)
            .about(READ, "Records as they come; Last-Event-ID goes on where an earlier stream ended")
            .word("from", text(), "beginning, end, milliseconds since 1970, or positions such as 0:15,1:3")
            .word("partitions", text(), "Numbers, with commas between them; all of them when left away")
            .word("format", views, "The form of keys and values, or the event that each record is")
            .gives_forms(
                200,
                "Records, one in each event or line; gap, unreadable and error say what is not there",
                vec![
                    Content::by_hand("text/event-stream", json!({ "type": "string" })),
                    Content::by_hand("application/x-ndjson", told),
                ],
            ),
        Operation::get("/v1/topics/{topic}/socket", socket::open)
            .about(READ, "A web socket: records as texts; what is acknowledged is committed for the group")
            .required_word("group", text(), "The consumer group")
            .word(
                "from",
                json!({ "type": "string", "enum": ["beginning", "end"] }),
                "Where a group without offsets begins",
            )
            .word("format", forms(), "The form of keys and values")
            .word("max_unacknowledged", number(), "Records under way")
            .gives_forms(101, "The socket is open", vec![]),
    ]
}

fn reads() -> Vec<Content> {
    let of = |format: Format, part: Value| {
        Content::by_hand(format.media_type(), json!({ "type": "array", "items": record(part) }))
    };
    let base64 = json!({ "type": ["string", "null"], "contentEncoding": "base64" });
    vec![
        of(Format::Binary, base64.clone()),
        of(Format::Json, json!({})),
        of(Format::Text, json!({ "type": ["string", "null"] })),
        Content::by_hand("application/vnd.kafka.v2+json", json!({ "type": "array", "items": record(base64.clone()) })),
        Content::by_hand("application/json", json!({ "type": "array", "items": record(base64) })),
        Content::by_hand(EVENTS, json!({ "type": "array", "items": { "type": "object" } })),
    ]
}

fn record(part: Value) -> Value {
    json!({
        "type": "object",
        "required": ["topic", "key", "value", "partition", "offset"],
        "properties": {
            "topic": { "type": "string" }, "key": part, "value": part,
            "partition": { "type": "integer" }, "offset": { "type": "integer" }, "timestamp": { "type": "integer" },
            "headers": super::headers("key"),
        },
    })
}

const READ: &str = "v1: reading";
