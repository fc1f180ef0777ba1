//! The operations of the v2 API.
//!
//! What is written and read as a type is described by that type; bodies of records are scanned in place and described by hand.

use axum::http::Method;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::rest::accept::V2;
use crate::rest::formats::Format;
use crate::rest::operation::{Content, Described, Operation};
use crate::rest::v2::{brokers, nothing, partitions, topics};

/// All operations of the v2 API.
pub fn operations() -> Vec<Operation> {
    use Operation as Op;
    let root = |operation: Operation| {
        let any = V2.iter().map(|kind| Content::by_hand(kind, json!({ "type": "object" }))).collect();
        operation.about(METADATA, "Nothing: some clients ask whether anybody is there").gives_forms(200, "Nothing", any)
    };
    let produce = |path| {
        Op::carried(Method::POST, path)
            .about(PRODUCE, "Write records, and hear what became of each")
            .takes_forms(posts())
            .gives_forms(200, "What became of each record, in their order", by_hand(&produced()))
    };
    vec![
        root(Op::get("/", nothing)),
        root(Op::post("/", nothing)),
        Op::get("/brokers", brokers::list).about(METADATA, "Node ids of the brokers that are up").gives_forms(
            200,
            "The node ids",
            written::<brokers::Brokers>(),
        ),
        Op::get("/topics", topics::list).about(METADATA, "Names of the topics that the caller may see").gives_forms(
            200,
            "The names",
            written::<Vec<String>>(),
        ),
        Op::get("/topics/{topic}", topics::describe).about(METADATA, "One topic with its settings").gives_forms(
            200,
            "The topic",
            written::<topics::TopicView>(),
        ),
        produce("/topics/{topic}"),
        Op::get("/topics/{topic}/partitions", partitions::list)
            .about(METADATA, "All partitions of a topic")
            .gives_forms(200, "The partitions", written::<Vec<partitions::PartitionView>>()),
        Op::get("/topics/{topic}/partitions/{partition}", partitions::describe)
            .about(METADATA, "One partition")
            .gives_forms(200, "The partition", written::<partitions::PartitionView>()),
        produce("/topics/{topic}/partitions/{partition}"),
        Op::get("/topics/{topic}/partitions/{partition}/offsets", partitions::offsets)
            .about(METADATA, "Where a partition begins and ends")
            .gives_forms(200, "The offsets", written::<partitions::Offsets>()),
    ]
}

/// The forms of an answer that carries no record.
fn written<T: JsonSchema>() -> Vec<Content> {
    V2.iter().map(|kind| Content { kind, schema: Some(Described::written::<T>()) }).collect()
}

fn by_hand(schema: &Value) -> Vec<Content> {
    V2.iter().map(|kind| Content::by_hand(kind, schema.clone())).collect()
}

/// The forms of a body of records.
fn posts() -> Vec<Content> {
    let formats = [Format::Binary, Format::Json, Format::Text, Format::Avro, Format::JsonSchema, Format::Protobuf];
    formats.into_iter().map(|format| Content::by_hand(format.media_type(), post(format))).collect()
}

fn post(format: Format) -> Value {
    let part = match format {
        Format::Binary => json!({ "type": ["string", "null"], "contentEncoding": "base64" }),
        Format::Text => json!({ "type": ["string", "null"] }),
        _ => json!({}),
    };
    let record = json!({
        "type": "object",
        "properties": {
            "key": part, "value": part,
            "partition": { "type": ["integer", "null"], "minimum": 0, "maximum": i32::MAX },
            "timestamp": { "type": ["integer", "null"], "minimum": 0, "description": "milliseconds since 1970" },
            "headers": headers("key"),
        },
        "additionalProperties": false,
    });
    let mut properties = Map::new();
    properties.insert("records".to_owned(), json!({ "type": "array", "minItems": 1, "items": record }));
    if format.has_schema() {
        for name in ["key_schema", "value_schema"] {
            properties.insert(name.to_owned(), json!({ "type": ["string", "null"] }));
            properties.insert(format!("{name}_id"), json!({ "type": ["integer", "null"] }));
        }
    }
    json!({ "type": "object", "required": ["records"], "properties": properties })
}

/// Headers of a record; the APIs differ in what a header's name is called.
pub fn headers(name: &str) -> Value {
    json!({
        "type": ["array", "null"],
        "items": {
            "type": "object",
            "required": [name],
            "properties": { name: { "type": "string" }, "value": { "type": ["string", "null"], "contentEncoding": "base64" } },
            "additionalProperties": false,
        },
    })
}

fn produced() -> Value {
    let optional = |kind: &str| json!({ "type": [kind, "null"] });
    json!({
        "type": "object",
        "required": ["offsets", "key_schema_id", "value_schema_id"],
        "properties": {
            "offsets": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["partition", "offset", "error_code", "error"],
                    "properties": {
                        "partition": optional("integer"), "offset": optional("integer"),
                        "error_code": optional("integer"), "error": optional("string"),
                    },
                },
            },
            "key_schema_id": optional("integer"),
            "value_schema_id": optional("integer"),
        },
    })
}

const METADATA: &str = "v2: topics and partitions";
const PRODUCE: &str = "v2: produce";
