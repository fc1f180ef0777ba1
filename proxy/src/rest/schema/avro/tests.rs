//! The specification's examples, values that come back, and what does not fit.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rest::Code;

fn schema(value: &Value) -> AvroSchema {
    AvroSchema::parse(&value.to_string(), &[]).unwrap()
}

fn written(schema: &AvroSchema, json: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    schema.write(json.as_bytes(), &mut out).unwrap();
    out.to_vec()
}

fn read(schema: &AvroSchema, bytes: &[u8]) -> Value {
    let mut out = BytesMut::new();
    schema.read(bytes, 100_000, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// Apache Avro specification 1.12, "Binary encoding".
#[test]
fn the_examples_of_the_specification() {
    let record = json!({"type": "record", "name": "test", "fields": [
        {"name": "a", "type": "long"}, {"name": "b", "type": "string"}]});
    for (kind, json, bytes) in [
        (record, r#"{"a":27,"b":"foo"}"#, &[0x36, 0x06, 0x66, 0x6f, 0x6f][..]),
        (json!({"type": "array", "items": "long"}), "[3,27]", &[0x04, 0x06, 0x36, 0x00]),
        (json!(["null", "string"]), "null", &[0x00]),
        (json!(["null", "string"]), r#"{"string":"a"}"#, &[0x02, 0x02, 0x61]),
        (json!({"type": "enum", "name": "Foo", "symbols": ["A", "B", "C", "D"]}), r#""D""#, &[0x06]),
        (json!("long"), "-64", &[0x7f]),
        (json!("int"), "64", &[0x80, 0x01]),
        (json!("boolean"), "true", &[1]),
        (json!("null"), "null", &[]),
        (json!("float"), "1.5", &[0, 0, 0xc0, 0x3f]),
        (json!("double"), "-2.0", &[0, 0, 0, 0, 0, 0, 0, 0xc0]),
        (json!("bytes"), r#""\u00ff\u0000""#, &[0x04, 0xff, 0x00]),
        (json!({"type": "fixed", "name": "f", "size": 2}), r#""aÿ""#, &[0x61, 0xff]),
        (json!({"type": "map", "values": "int"}), r#"{"k":1}"#, &[0x02, 0x02, 0x6b, 0x02, 0x00]),
        (json!({"type": "array", "items": "null"}), "[]", &[0x00]),
        (json!({"type": "bytes", "logicalType": "decimal", "precision": 4}), r#""\u0001""#, &[0x02, 0x01]),
    ] {
        let schema = schema(&kind);
        assert_eq!(written(&schema, json), bytes, "{kind}");
        assert_eq!(read(&schema, bytes), serde_json::from_str::<Value>(json).unwrap(), "{kind}");
    }
}

#[test]
fn blocks_with_their_length_are_read() {
    let longs = schema(&json!({"type": "array", "items": "long"}));
    assert_eq!(read(&longs, &[0x01, 0x02, 0x06, 0x02, 0x36, 0x00]), json!([3, 27]));
}

#[test]
fn numbers_that_json_does_not_have_are_strings() {
    let double = schema(&json!("double"));
    for name in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(read(&double, &written(&double, &format!("\"{name}\""))), json!(name));
    }
    assert_eq!(read(&double, &written(&double, "1e300")), json!(1e300));
    let mut text = BytesMut::new();
    schema(&json!("float")).read(&0.1f32.to_le_bytes(), 100, &mut text).unwrap();
    assert_eq!(&text[..], b"0.1");
}

fn order() -> AvroSchema {
    let address = r#"{"type":"record","name":"Address","namespace":"geo","fields":[{"name":"city","type":"string"}]}"#;
    let text = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "id", "type": "long"},
        {"name": "to", "type": ["null", "geo.Address"]},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "SENT"]}},
        {"name": "before", "type": ["null", "State"]},
        {"name": "part", "type": ["null", "Order"]},
        {"name": "tags", "type": {"type": "map", "values": {"type": "array", "items": ["int", "string"]}}}]});
    AvroSchema::parse(&text.to_string(), &[address.to_owned()]).unwrap()
}

#[test]
fn names_are_resolved_and_fields_may_stand_in_any_order() {
    let value = r#"{"tags":{"a":[{"int":1},{"string":"x\n"}]},"part":{"shop.Order":{"id":2,"to":null,"state":"NEW",
        "before":null,"part":null,"tags":{}}},"before":{"shop.State":"SENT"},"state":"NEW","to":{"geo.Address":{"city":"Ulm"}},"id":1}"#;
    let bytes = written(&order(), value);
    assert_eq!(read(&order(), &bytes), serde_json::from_str::<Value>(value).unwrap());
    // The same in the schema's order is the same bytes.
    let ordered = serde_json::to_string(&read(&order(), &bytes)).unwrap();
    assert_eq!(written(&order(), &ordered), bytes);
    let text = r#"{"type":"record","name":"Order","namespace":"shop","fields":[]}"#;
    assert_eq!(AvroSchema::record_name(text).unwrap().as_deref(), Some("shop.Order"));
    assert_eq!(AvroSchema::record_name("\"int\"").unwrap(), None);
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let part = r#""to":null,"state":"NEW","before":null,"part":null,"tags":{}"#;
    for json in [
        format!("{{{part}}}"),
        format!(r#"{{"id":1,"id":2,{part}}}"#),
        format!(r#"{{"id":1,"more":2,{part}}}"#),
        format!(r#"{{"id":1.5,{part}}}"#),
        format!(r#"{{"id":"1",{part}}}"#),
        format!(r#"{{"id":9223372036854775808,{part}}}"#),
        r#"{"id":1,"to":{"city":"Ulm"},"state":"NEW","before":null,"part":null,"tags":{}}"#.to_owned(),
        r#"{"id":1,"to":{},"state":"NEW","before":null,"part":null,"tags":{}}"#.to_owned(),
        r#"{"id":1,"to":null,"state":"LOST","before":null,"part":null,"tags":{}}"#.to_owned(),
        r#"{"id":1,"to":null,"state":null,"before":null,"part":null,"tags":{}}"#.to_owned(),
        r#"{"id":1,"to":null,"state":"NEW","before":null,"part":null,"tags":{"a":[1]}}"#.to_owned(),
        r#"{"id":1,"to":null,"state":"NEW","before":null,"part":null,"tags":{"a":[{"int":2147483648}]}}"#.to_owned(),
        "[]".to_owned(),
        "{".to_owned(),
    ] {
        let error = order().write(json.as_bytes(), &mut BytesMut::new()).unwrap_err();
        assert_eq!(error.code(), Code::JsonConversion, "{json}: {error}");
        assert!(error.position().is_some(), "{error}");
    }
    for (kind, json) in [
        (json!("bytes"), "\"€\""),
        (json!({"type": "fixed", "name": "f", "size": 2}), "\"a\""),
        (json!(["int"]), "null"),
        (json!(["null", "int"]), r#"{"null":null}"#),
        (json!(["null", "int"]), r#"{"int":1,"int":1}"#),
        (json!("double"), "\"1\""),
        (json!("string"), "\"\\ud800\""),
        (json!("boolean"), "1"),
    ] {
        assert!(schema(&kind).write(json.as_bytes(), &mut BytesMut::new()).is_err(), "{kind} {json}");
    }
}

#[test]
fn bytes_of_another_schema_are_refused_within_bounds() {
    for (kind, bytes) in [
        (json!("long"), &[0x80][..]),
        (json!("long"), &[0xff; 11]),
        (json!("int"), &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        (json!("boolean"), &[2]),
        (json!("string"), &[0x06, 0x61]),
        (json!("string"), &[0x01]),
        (json!("string"), &[0x02, 0xff]),
        (json!("bytes"), &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        (json!("double"), &[0; 7]),
        (json!("null"), &[0]),
        (json!(["null"]), &[2]),
        (json!({"type": "enum", "name": "e", "symbols": ["A"]}), &[2]),
        // Two to the sixtieth nulls take no bytes, and two empty records without end neither.
        (json!({"type": "array", "items": "null"}), &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]),
        (json!({"type": "record", "name": "r", "fields": [{"name": "r", "type": "r"}]}), &[]),
    ] {
        let error = schema(&kind).read(bytes, 10_000, &mut BytesMut::new()).unwrap_err();
        assert_eq!(error.code(), Code::Serialization, "{kind}");
    }
}

#[test]
fn schemas_that_are_none_are_refused() {
    for text in [
        "",
        "{",
        "1",
        "\"Unknown\"",
        "{}",
        r#"{"type":"record","name":"r"}"#,
        r#"{"type":"record","fields":[]}"#,
        r#"{"type":"record","name":"r","fields":[{"name":"a"}]}"#,
        r#"{"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
        r#"{"type":"array"}"#,
        r#"{"type":"map"}"#,
        r#"{"type":"enum","name":"e"}"#,
        r#"{"type":"fixed","name":"f","size":-1}"#,
        r#"["int","int"]"#,
        r#"["int",["null"]]"#,
        r#"[{"type":"enum","name":"e","symbols":[]},{"type":"enum","name":"e","symbols":[]}]"#,
    ] {
        assert_eq!(AvroSchema::parse(text, &[]).unwrap_err().code(), Code::InvalidSchema, "{text}");
    }
    assert!(AvroSchema::parse("string", &[]).is_ok());
}

/// A value of the schema in the test below.
fn value() -> impl Strategy<Value = Value> {
    let leaf = (any::<i64>(), any::<i32>(), any::<String>(), vec(any::<u8>(), 0..20), -1e12..1e12f64, any::<bool>());
    let leaf = leaf.prop_map(|(long, int, text, bytes, double, flag)| {
        let latin: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        json!({"long": long, "int": {"int": int}, "text": text, "bytes": latin, "double": double, "flag": flag,
            "more": {}, "next": null})
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        (inner.clone(), vec((any::<String>(), inner), 0..3)).prop_map(|(mut value, more)| {
            let (_, next) = more.first().cloned().unwrap_or_default();
            value["next"] = if next.is_null() { next } else { json!({"a.R": next}) };
            let lists = more.into_iter().map(|(name, value)| (name, json!([value.clone(), value])));
            value["more"] = Value::Object(lists.collect());
            value
        })
    })
}

proptest! {
    #[test]
    fn values_come_back(value in value(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let schema = schema(&json!({"type": "record", "name": "R", "namespace": "a", "fields": [
            {"name": "long", "type": "long"}, {"name": "int", "type": ["string", "int"]},
            {"name": "text", "type": "string"}, {"name": "bytes", "type": "bytes"},
            {"name": "double", "type": "double"}, {"name": "flag", "type": "boolean"},
            {"name": "more", "type": {"type": "map", "values": {"type": "array", "items": "R"}}},
            {"name": "next", "type": ["null", "R"]}]}));
        // A number may lose its last digit in the test's own hands.
        let value: Value = serde_json::from_str(&value.to_string()).unwrap();
        let mut bytes = written(&schema, &value.to_string());
        let mut text = BytesMut::new();
        schema.read(&bytes, 1_000_000, &mut text).unwrap();
        let mut again = BytesMut::new();
        schema.write(&text, &mut again).unwrap();
        prop_assert_eq!(&again[..], &bytes[..]);
        // What was damaged is refused or is something else, and nothing worse.
        let cut = cut.index(bytes.len());
        bytes[cut] = byte;
        let _ = schema.read(&bytes, 100_000, &mut BytesMut::new());
        let _ = schema.read(&bytes[..cut], 100_000, &mut BytesMut::new());
    }
}
