//! Promise: JSON that is posted with a schema is a record of that schema, in Avro, Protobuf or JSON Schema, by the registry's numbers; it comes back as
//! JSON; and what cannot be so is refused by name.

use barnabas_tests::broker::Broker;
use barnabas_tests::certs::Authority;
use barnabas_tests::clients::rd;
use barnabas_tests::registry::Registry;
use barnabas_tests::rest::{Answer, Http};
use barnabas_tests::scratch::{Scratch, unique};
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;
use serde_json::{Value, json};

const AVRO: &str =
    r#"{"type":"record","name":"Reading","fields":[{"name":"note","type":"string"},{"name":"bar","type":"int"}]}"#;
const PROTOBUF: &str = "syntax = \"proto3\"; message Reading { string note = 1; int32 bar = 2; }";
const JSON_SCHEMA: &str =
    r#"{"type":"object","required":["note"],"properties":{"note":{"type":"string"},"bar":{"type":"integer"}}}"#;
const FORMATS: [(&str, &str, &str); 3] =
    [("AVRO", "AVRO", AVRO), ("PROTOBUF", "PROTOBUF", PROTOBUF), ("JSONSCHEMA", "JSON", JSON_SCHEMA)];

struct Desk {
    site: Site,
    registry: Registry,
    folder: Scratch,
}

fn desk() -> Desk {
    let folder = Scratch::new("registry");
    let files = Authority::new(folder.path()).server("registry", &[]);
    let registry = Registry::start(&files);
    let line = registry.as_schema_registry(&files.ca, folder.path());
    let site = Site::with(Broker::shared(), |settings| settings.with_rest(&[&line]));
    Desk { site, registry, folder }
}

impl Desk {
    fn caller(&mut self, name: &str) -> Http {
        let files = self.site.authority.client(name);
        Http::tls(&self.site.gateway.rest(), &files)
    }
}

fn v3(http: &mut Http, topic: &str) -> String {
    let clusters = http.get("/v3/clusters").is(200).json();
    let cluster = clusters.pointer("/data/0/cluster_id").and_then(Value::as_str).expect("a cluster");
    format!("/v3/clusters/{cluster}/topics/{topic}/records")
}

#[track_caller]
fn post(http: &mut Http, records: &str, value: &Value) -> Answer {
    http.post(records, "application/json", json!({ "value": value }).to_string()).is(200)
}

/// The bytes behind the magic byte and the schema's number.
fn encoded(kind: &str, note: &str, bar: u8) -> Vec<u8> {
    let length = u8::try_from(note.len()).expect("a short note");
    match kind {
        // A zigzag length with the text, a zigzag number.
        "AVRO" => {
            assert!(length < 64);
            [&[length * 2][..], note.as_bytes(), &[bar * 2]].concat()
        }
        // The first message of the file; field 1 with its length, field 2.
        "PROTOBUF" => [&[0, 0x0a, length][..], note.as_bytes(), &[0x10, bar]].concat(),
        _ => format!(r#"{{"note":"{note}","bar":{bar}}}"#).into_bytes(),
    }
}

#[test]
fn records_of_v3_are_written_by_their_schema_whichever_way_it_is_named() {
    let mut desk = desk();
    for (kind, of_registry, text) in FORMATS {
        let (topic, secret) = (desk.site.sealed_topic(1), secret());
        let mut alice = desk.caller("alice");
        let records = v3(&mut alice, &topic);
        let data = |bar: u8| json!({ "note": secret, "bar": bar });
        // By its text: it is registered.
        let told = post(&mut alice, &records, &json!({ "type": kind, "schema": text, "data": data(1) })).json();
        assert_eq!(told["error_code"], 200, "{told}");
        assert_eq!(
            (&told["value"]["type"], &told["value"]["subject"]),
            (&json!(kind), &json!(format!("{topic}-value")))
        );
        let id = told["value"]["schema_id"].as_u64().expect("a number");
        // By its number, by the latest of its subject, and by a subject of the caller's choice.
        let told = post(&mut alice, &records, &json!({ "schema_id": id, "data": data(2) })).json();
        assert_eq!((&told["error_code"], &told["value"]["schema_id"]), (&json!(200), &json!(id)), "{told}");
        let told = post(&mut alice, &records, &json!({ "schema_version": 1, "data": data(3) })).json();
        assert_eq!((&told["error_code"], &told["value"]["schema_id"]), (&json!(200), &json!(id)), "{told}");
        let subject = unique("subject");
        let other = desk.registry.register(&subject, of_registry, &format!("{text} "));
        let named = json!({ "subject": subject, "schema_version": 1, "data": data(4) });
        let told = post(&mut alice, &records, &named).json();
        assert_eq!((&told["error_code"], &told["value"]["schema_id"]), (&json!(200), &json!(other)), "{told}");

        // What does not fit has its line; nobody's record is written.
        for wrong in [
            json!({ "schema_id": id, "data": { "bar": "x" } }),
            json!({ "schema_id": 4711, "data": data(1) }),
            json!({ "type": kind, "schema": "{", "data": data(1) }),
        ] {
            let told = post(&mut alice, &records, &wrong).json();
            assert!([422, 408, 40801].iter().any(|code| told["error_code"] == *code), "{kind} {wrong}: {told}");
        }
        let got = rd::read_all(&desk.site.client("reader-one"), &topic);
        assert_eq!(got.len(), 4, "{kind}");
        for (index, got) in got.iter().enumerate() {
            let value = got.record.value.as_ref().expect("a value").0.clone();
            let number = if index == 3 { other as u64 } else { id };
            let bar = u8::try_from(index + 1).expect("a few");
            let head = [&[0][..], &u32::try_from(number).expect("small").to_be_bytes()].concat();
            let (own, body) = value.split_at(5);
            assert_eq!(own, head, "{kind}");
            match kind {
                // The order of its members is the caller's.
                "JSONSCHEMA" => assert_eq!(serde_json::from_slice::<Value>(body).expect("JSON"), data(bar)),
                _ => assert_eq!(body, encoded(kind, &secret, bar), "{kind}"),
            }
        }
        desk.site.assert_sealed(&topic, 4, &secret);
    }
    // A schema is asked for once, not for each record.
    let mut alice = desk.caller("alice");
    let topic = desk.site.open_topic(1);
    let records = v3(&mut alice, &topic);
    let id = desk.registry.register(&format!("{topic}-value"), "AVRO", AVRO);
    let asked = desk.registry.asked();
    for bar in 0..20 {
        let told = post(&mut alice, &records, &json!({ "schema_id": id, "data": { "note": "n", "bar": bar } })).json();
        assert_eq!(told["error_code"], 200, "{told}");
    }
    assert!(desk.registry.asked() <= asked + 2, "{} questions for 20 records", desk.registry.asked() - asked);
}

#[test]
fn records_of_v2_are_written_and_read_by_their_schema() {
    let mut desk = desk();
    for (format, (_, _, text)) in ["avro", "protobuf", "jsonschema"].into_iter().zip(FORMATS) {
        let topic = desk.site.sealed_topic(1);
        let mut alice = desk.caller("alice");
        let kind = format!("application/vnd.kafka.{format}.v2+json");
        let records =
            json!({ "value_schema": text, "records": [{ "value": { "note": "a", "bar": 7 } }, { "value": null }] });
        let told = alice.post(&format!("/topics/{topic}"), &kind, records.to_string()).is(200).json();
        assert!(told["value_schema_id"].is_u64() && told["offsets"][1]["offset"] == 1, "{format}: {told}");
        let missing = json!({ "records": [{ "value": { "note": "a" } }] }).to_string();
        alice.post(&format!("/topics/{topic}"), &kind, missing).is_error(422, 42202);

        let v2 = "application/vnd.kafka.v2+json";
        let group = unique("group");
        let settings = json!({ "format": format, "auto.offset.reset": "earliest" }).to_string();
        let made = alice.post(&format!("/consumers/{group}"), v2, settings).is(200).json();
        let own = format!("/consumers/{group}/instances/{}", made["instance_id"].as_str().expect("an id"));
        let one = json!({ "partitions": [{ "topic": topic, "partition": 0 }] }).to_string();
        alice.post(&format!("{own}/assignments"), v2, one).is(204);
        let mut got = Vec::new();
        wait::until_true("records come", || {
            let answer = alice.ask("GET", &format!("{own}/records?timeout=5000"), &[("accept", &kind)], b"").is(200);
            got.extend(answer.json().as_array().expect("a list").clone());
            got.len() >= 2
        });
        assert_eq!(got[0]["value"], json!({ "note": "a", "bar": 7 }), "{format}");
        assert_eq!(got[1]["value"], Value::Null, "{format}");
        alice.ask("DELETE", &own, &[], b"").is(204);
    }
}

#[test]
fn a_registry_that_is_not_trusted_is_told_no_password_and_nothing_is_written() {
    let mut desk = desk();
    let topic = desk.site.open_topic(1);
    let line = desk.registry.as_schema_registry(&desk.site.authority.ca(), desk.folder.path());
    let mut other = desk.site.second_gateway_with(|settings| settings.with_rest(&[&line]));
    other.expect_in_log("schema_registry_failed");
    let files = desk.site.authority.client("alice");
    let mut alice = Http::tls(&other.rest(), &files);
    let body = json!({ "value_schema": AVRO, "records": [{ "value": { "note": "a", "bar": 7 } }] }).to_string();
    let answer = alice.post(&format!("/topics/{topic}"), "application/vnd.kafka.avro.v2+json", body);
    assert!(!answer.text().contains("s3cret"), "{}", answer.text());
    answer.is_error(408, 40801);
    assert_eq!(desk.registry.asked(), 0);
    assert!(rd::read_all(&desk.site.client("reader-one"), &topic).is_empty());
}
