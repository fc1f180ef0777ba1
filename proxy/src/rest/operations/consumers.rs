//! The operations of v2 consumers. Their bodies are read member by member, and described by hand.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::v2::headers;
use crate::rest::accept::V2;
use crate::rest::formats::Format;
use crate::rest::operation::{Content, Operation, number};
use crate::rest::v2::consumers::{create, offsets, positions, records, subscription};
use crate::rest::view::EVENTS;

/// All operations of v2 consumers.
pub fn operations() -> Vec<Operation> {
    use Operation as Op;
    let topics = json!({ "type": "array", "items": { "type": "string" } });
    let created = object(&["instance_id", "base_uri"], json!({ "instance_id": text(), "base_uri": text() }));
    let committed = entry(&["offset", "metadata"], json!({ "offset": { "type": "integer" }, "metadata": text() }));
    let subscribed = object(&["topics"], json!({ "topics": topics }));
    let subscription_ = json!({
        "type": "object", "properties": { "topics": topics, "topic_pattern": { "type": ["string", "null"] } },
    });
    let commit = entry(&["offset"], json!({ "offset": number(), "metadata": { "type": ["string", "null"] } }));
    let seek = entry(&["offset"], json!({ "offset": number() }));
    vec![
        takes(Op::post("/consumers/{group}", create::create), &settings())
            .or_nothing()
            .about(CONSUMERS, "Make a consumer")
            .gives_forms(200, "Its id, and where its calls go", forms(&created)),
        done(Op::delete("/consumers/{group}/instances/{instance}", create::delete))
            .about(CONSUMERS, "End a consumer: it leaves its group"),
        done(takes(Op::post(SUBSCRIPTION, subscription::subscribe), &subscription_))
            .about(CONSUMERS, "Subscribe to topics, or to all whose names match a pattern"),
        Op::get(SUBSCRIPTION, subscription::show).about(CONSUMERS, "The topics of the subscription").gives_forms(
            200,
            "The topics",
            forms(&subscribed),
        ),
        done(Op::delete(SUBSCRIPTION, subscription::unsubscribe)).about(CONSUMERS, "End subscription and assignment"),
        done(takes(Op::post(ASSIGNMENTS, subscription::assign), &list("partitions", &partition())))
            .about(CONSUMERS, "Assign partitions, all anew"),
        Op::get(ASSIGNMENTS, subscription::assignment)
            .about(CONSUMERS, "The partitions that are assigned")
            .gives_forms(200, "The partitions", forms(&list("partitions", &partition()))),
        done(takes(
            Op::post("/consumers/{group}/instances/{instance}/positions", positions::seek),
            &list("offsets", &seek),
        ))
        .about(CONSUMERS, "Read on at these offsets"),
        done(takes(
            Op::post("/consumers/{group}/instances/{instance}/positions/beginning", positions::beginning),
            &list("partitions", &partition()),
        ))
        .about(CONSUMERS, "Read on at the first records that are there"),
        done(takes(
            Op::post("/consumers/{group}/instances/{instance}/positions/end", positions::end),
            &list("partitions", &partition()),
        ))
        .about(CONSUMERS, "Read on at what comes next"),
        Op::get("/consumers/{group}/instances/{instance}/records", records::read)
            .about(CONSUMERS, "Read records: it returns as soon as there are some")
            .word("timeout", json!({ "type": "integer" }), "How long to wait for the first, in milliseconds")
            .word("max_bytes", json!({ "type": "integer" }), "As many records as fit")
            .gives_forms(200, "The records, in the consumer's format", read_forms()),
        takes(Op::get(OFFSETS, offsets::committed), &list("partitions", &partition()))
            .about(CONSUMERS, "What is committed for partitions")
            .gives_forms(200, "The offsets", forms(&list("offsets", &committed))),
        takes(Op::new(Method::POST, OFFSETS, offsets::commit), &list("offsets", &commit))
            .or_nothing()
            .about(CONSUMERS, "Commit offsets; without a body all that was read")
            .gives_forms(StatusCode::OK.as_u16(), "They are committed", Vec::new()),
    ]
}

fn done(operation: Operation) -> Operation {
    operation.gives_nothing(204, "It is done")
}

fn takes(operation: Operation, schema: &Value) -> Operation {
    operation.takes_forms(forms(schema))
}

fn forms(schema: &Value) -> Vec<Content> {
    V2.iter().map(|kind| Content::by_hand(kind, schema.clone())).collect()
}

fn settings() -> Value {
    let truth = json!({ "type": ["boolean", "string"] });
    json!({
        "type": "object",
        "properties": {
            "name": { "type": ["string", "null"] },
            "format": { "enum": ["binary", "json", "text", "avro", "jsonschema", "protobuf"] },
            "auto.offset.reset": { "enum": ["earliest", "latest", "none"] },
            "auto.commit.enable": truth, "enable.auto.commit": truth,
            "isolation.level": { "enum": ["read_committed", "read_uncommitted"] },
            "fetch.min.bytes": { "type": ["integer", "string"] },
            "consumer.request.timeout.ms": { "type": ["integer", "string"] },
        },
        "additionalProperties": false,
    })
}

fn read_forms() -> Vec<Content> {
    let record = entry(
        &["key", "value", "offset"],
        json!({
            "key": {}, "value": {}, "offset": { "type": "integer" },
            "timestamp": { "type": ["integer", "null"] }, "headers": headers("key"),
        }),
    );
    let records = json!({ "type": "array", "items": record });
    let formats = [Format::Binary, Format::Json, Format::Text, Format::Avro, Format::JsonSchema, Format::Protobuf];
    let own = formats.into_iter().map(|format| Content::by_hand(format.media_type(), records.clone()));
    let events = Content::by_hand(EVENTS, json!({ "type": "array", "items": { "type": "object" } }));
    own.chain(forms(&records)).chain([events]).collect()
}

fn partition() -> Value {
    entry(&[], json!({}))
}

/// A topic and a partition, and more.
fn entry(more: &[&str], members: Value) -> Value {
    let required: Vec<&str> = ["topic", "partition"].into_iter().chain(more.iter().copied()).collect();
    let mut all = json!({ "topic": text(), "partition": { "type": "integer", "minimum": 0, "maximum": i32::MAX } });
    if let (Some(all), Value::Object(members)) = (all.as_object_mut(), members) {
        all.extend(members);
    }
    object(&required, all)
}

fn list(name: &str, entry: &Value) -> Value {
    object(&[name], json!({ name: { "type": "array", "items": entry } }))
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn text() -> Value {
    json!({ "type": "string" })
}

const SUBSCRIPTION: &str = "/consumers/{group}/instances/{instance}/subscription";
const ASSIGNMENTS: &str = "/consumers/{group}/instances/{instance}/assignments";
const OFFSETS: &str = "/consumers/{group}/instances/{instance}/offsets";
const CONSUMERS: &str = "v2: consumers";
