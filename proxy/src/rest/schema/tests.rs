//! The bridge's calls against a small registry of the same API.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;
use crate::config::SecretRef;
use crate::rest::formats::{Limits, parse_v2, parse_v3};

/// What a registry knows: subject and schema, the number is the place and one more.
#[derive(Default)]
struct Store {
    schemas: Mutex<Vec<(String, Value)>>,
    asked: AtomicUsize,
    authorization: Mutex<Option<String>>,
}

impl Store {
    fn told(&self, found: impl Fn(usize, &str, &Value, i64) -> bool, code: i32) -> Response {
        let schemas = self.schemas.lock().unwrap();
        let told = |(index, (subject, schema)): (usize, &(String, Value))| {
            let version = 1 + schemas[..index].iter().filter(|(other, _)| other == subject).count() as i64;
            let mut told = schema.clone();
            told["id"] = json!(index + 1);
            told["subject"] = json!(subject);
            told["version"] = json!(version);
            found(index, subject, schema, version).then_some(told)
        };
        // The latest comes first.
        match schemas.iter().enumerate().rev().find_map(told) {
            Some(told) => Json(told).into_response(),
            None => (StatusCode::NOT_FOUND, Json(json!({"error_code": code, "message": "no"}))).into_response(),
        }
    }
}

async fn by_id(State(store): State<Arc<Store>>, Path(id): Path<usize>, headers: HeaderMap) -> Response {
    store.asked.fetch_add(1, Ordering::Relaxed);
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
    *store.authorization.lock().unwrap() = headers.get("authorization").map(text);
    tokio::time::sleep(Duration::from_millis(5)).await;
    store.told(|index, _, _, _| index + 1 == id, 40403)
}

async fn by_version(State(store): State<Arc<Store>>, Path((subject, version)): Path<(String, String)>) -> Response {
    store.asked.fetch_add(1, Ordering::Relaxed);
    store.told(|_, of, _, is| of == subject && (version == "latest" || version == is.to_string()), 40401)
}

async fn register(State(store): State<Arc<Store>>, Path(subject): Path<String>, Json(schema): Json<Value>) -> Response {
    store.asked.fetch_add(1, Ordering::Relaxed);
    let mut schemas = store.schemas.lock().unwrap();
    let known = schemas.iter().position(|known| *known == (subject.clone(), schema.clone()));
    if known.is_none() {
        schemas.push((subject, schema));
    }
    Json(json!({"id": known.map_or(schemas.len(), |index| index + 1)})).into_response()
}

async fn look_up(State(store): State<Arc<Store>>, Path(subject): Path<String>, Json(wanted): Json<Value>) -> Response {
    store.told(|_, of, schema, _| of == subject && schema["schema"] == wanted["schema"], 40403)
}

/// A registry on this machine, and the bridge's side of it.
async fn registry(credential: Option<RegistryCredential>) -> (Arc<Store>, Schemas) {
    let store = Arc::new(Store::default());
    let routes = Router::new()
        .route("/api/schemas/ids/{id}", get(by_id))
        .route("/api/subjects/{subject}/versions", axum::routing::post(register))
        .route("/api/subjects/{subject}/versions/{version}", get(by_version))
        .route("/api/subjects/{subject}", axum::routing::post(look_up))
        .with_state(Arc::clone(&store));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (store, Schemas::new(&settings(url, credential), 100_000).unwrap())
}

fn settings(url: String, credential: Option<RegistryCredential>) -> RegistrySettings {
    RegistrySettings { url, tls: None, credential, timeout: Duration::from_secs(5), max_schemas: 100 }
}

fn add(store: &Store, subject: &str, schema: Value) {
    store.schemas.lock().unwrap().push((subject.to_owned(), schema));
}

fn body(format: Format, value: Value) -> ProduceBody {
    parse_v2(format, &Bytes::from(value.to_string()), &Limits::default()).unwrap()
}

async fn back(schemas: &Schemas, format: Format, bytes: Option<&Bytes>) -> Value {
    let json = schemas.read(format, bytes.map(|bytes| &bytes[..])).await.unwrap();
    json.map_or(Value::Null, |json| serde_json::from_slice(&json).unwrap())
}

const USER: &str = r#"{"type":"record","name":"User","namespace":"x","fields":[{"name":"name","type":"string"},{"name":"age","type":["null","int"]}]}"#;

#[tokio::test]
async fn avro_with_a_schema_in_the_request() {
    let (store, schemas) = registry(None).await;
    let request = json!({"value_schema": USER, "key_schema": "\"int\"", "records": [
        {"key": 7, "value": {"name": "ada", "age": {"int": 36}}}, {"value": null}]});
    let mut produce = body(Format::Avro, request.clone());
    assert_eq!(schemas.write_v2("t", Format::Avro, &mut produce).await.unwrap(), (Some(1), Some(2)));
    assert_eq!(produce.records[0].key.as_deref(), Some(&[0, 0, 0, 0, 1, 14][..]));
    assert_eq!(produce.records[0].value.as_deref(), Some(&b"\0\0\0\0\x02\x06ada\x02\x48"[..]));
    assert_eq!(produce.records[1].value, None);
    let subjects: Vec<_> = store.schemas.lock().unwrap().iter().map(|(subject, _)| subject.clone()).collect();
    assert_eq!(subjects, ["t-key", "t-value"]);
    let asked = store.asked.load(Ordering::Relaxed);
    let mut again = body(Format::Avro, request);
    schemas.write_v2("t", Format::Avro, &mut again).await.unwrap();
    let value = back(&schemas, Format::Avro, produce.records[0].value.as_ref()).await;
    assert_eq!(value, json!({"name": "ada", "age": {"int": 36}}));
    assert_eq!(back(&schemas, Format::Avro, None).await, Value::Null);
    assert_eq!(store.asked.load(Ordering::Relaxed), asked);
}

#[tokio::test]
async fn a_schema_is_asked_for_once_by_all() {
    let (store, schemas) = registry(None).await;
    add(&store, "s", json!({"schema": "\"long\""}));
    let reads = (0..20).map(|_| schemas.read(Format::Avro, Some(&[0, 0, 0, 0, 1, 2])));
    let mut all = Vec::new();
    let mut reads: Vec<_> = reads.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        reads.retain_mut(|read| match read.as_mut().poll(context) {
            std::task::Poll::Ready(json) => {
                all.push(json.unwrap().unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if reads.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!((all.len(), &all[0][..], store.asked.load(Ordering::Relaxed)), (20, &b"1"[..], 1));
    // Numbers that nobody knows are not asked for again at once.
    for _ in 0..3 {
        let error = schemas.read(Format::Avro, Some(&[0, 0, 0, 0, 9, 2])).await.unwrap_err();
        assert_eq!(error.code(), Code::Serialization);
    }
    assert_eq!(store.asked.load(Ordering::Relaxed), 2);
}

#[cfg(feature = "schemas-protobuf")]
#[tokio::test]
async fn protobuf_with_references() {
    let (store, schemas) = registry(None).await;
    let money = r#"syntax = "proto3"; package m; message Money { int64 cents = 1; }"#;
    add(&store, "money", json!({"schema": money, "schemaType": "PROTOBUF"}));
    let order = r#"syntax = "proto3"; import "m/money.proto"; message Order { m.Money total = 1; string to = 2; }"#;
    let references = json!([{"name": "m/money.proto", "subject": "money", "version": 1}]);
    add(&store, "t-value", json!({"schema": order, "schemaType": "PROTOBUF", "references": references}));
    let value = json!({"total": {"cents": "250"}, "to": "ulm"});
    let mut produce = body(Format::Protobuf, json!({"value_schema_id": 2, "records": [{"value": value}]}));
    schemas.write_v2("t", Format::Protobuf, &mut produce).await.unwrap();
    let bytes = produce.records[0].value.as_ref();
    assert_eq!(bytes.map(|bytes| &bytes[..7]), Some(&[0, 0, 0, 0, 2, 0, 10][..]));
    assert_eq!(back(&schemas, Format::Protobuf, bytes).await, value);
}

#[cfg(feature = "schemas-json")]
#[tokio::test]
async fn json_schema_has_its_say_and_keeps_the_text() {
    let (_store, schemas) = registry(None).await;
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
    let request = format!(r#"{{"value_schema":{},"records":[{{"value":{{ "n": 1.0 }}}}]}}"#, json!(schema));
    let mut produce = parse_v2(Format::JsonSchema, &Bytes::from(request), &Limits::default()).unwrap();
    schemas.write_v2("t", Format::JsonSchema, &mut produce).await.unwrap();
    assert_eq!(produce.records[0].value.as_deref(), Some(&b"\0\0\0\0\x01{ \"n\": 1.0 }"[..]));
    let mut produce =
        body(Format::JsonSchema, json!({"value_schema_id": 1, "records": [{"value": {}}, {"value": {"n": "x"}}]}));
    let error = schemas.write_v2("t", Format::JsonSchema, &mut produce).await.unwrap_err();
    assert_eq!((error.code(), error.record()), (Code::JsonConversion, Some(1)));
}

#[tokio::test]
async fn v3_parts_find_their_schema_in_every_way() {
    let (store, schemas) = registry(None).await;
    add(&store, "t-value", json!({"schema": "\"int\""}));
    add(&store, "t-value", json!({"schema": USER}));
    let part = |text: &str| {
        let record = format!(r#"{{"value":{{{text}"data":1}}}}"#);
        parse_v3(&Bytes::from(record), 0, &Limits::default()).unwrap().value.unwrap()
    };
    let quoted = json!(USER).to_string();
    for (text, subject, id, version) in [
        (r#""type":"AVRO","#.to_owned(), "t-value", 2, 2),
        (String::new(), "t-value", 2, 2),
        (r#""schema_version":1,"#.to_owned(), "t-value", 1, 1),
        (r#""schema_id":1,"#.to_owned(), "t-value", 1, 1),
        (format!(r#""type":"AVRO","schema":{quoted},"#), "t-value", 2, 2),
        (format!(r#""type":"AVRO","subject":"other","schema":{quoted},"#), "other", 3, 1),
        (format!(r#""type":"AVRO","subject_name_strategy":"RECORD_NAME","schema":{quoted},"#), "x.User", 4, 1),
        (format!(r#""type":"AVRO","subject_name_strategy":"TOPIC_RECORD_NAME","schema":{quoted},"#), "t-x.User", 5, 1),
    ] {
        let chosen = schemas.choose("t", Role::Value, &part(&text)).await.unwrap();
        assert_eq!((&*chosen.subject, chosen.schema.id(), chosen.version), (subject, id, Some(version)), "{text}");
    }
    let chosen = schemas.choose("t", Role::Value, &part(r#""schema_id":1,"#)).await.unwrap();
    assert_eq!(&chosen.write(b"1").unwrap()[..], [0, 0, 0, 0, 1, 2]);
    for text in [
        r#""type":"PROTOBUF","schema_id":1,"#,
        r#""schema_id":99,"#,
        r#""schema_version":9,"#,
        r#""type":"AVRO","schema":"{","#,
        r#""type":"AVRO","subject_name_strategy":"RECORD_NAME","#,
    ] {
        let error = schemas.choose("t", Role::Value, &part(text)).await.err().unwrap();
        assert_eq!(error.code(), Code::InvalidSchema, "{text}: {error}");
    }
    assert!(schemas.choose("t", Role::Key, &part(r#""type":"AVRO","#)).await.is_err());
}

#[tokio::test]
async fn bytes_that_are_of_no_schema_are_told_apart() {
    let (store, schemas) = registry(None).await;
    add(&store, "s", json!({"schema": "\"string\""}));
    for (format, bytes, code) in [
        (Format::Avro, &b"plain"[..], Code::FormatMismatch),
        (Format::Avro, b"", Code::FormatMismatch),
        (Format::Protobuf, b"\0\0\0\0\x01\x02a", Code::FormatMismatch),
        (Format::Avro, b"\0\0\0\0\x01\x06a", Code::Serialization),
    ] {
        assert_eq!(schemas.read(format, Some(bytes)).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn a_credential_goes_to_the_registry_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "hunter2\n").unwrap();
    let secret = SecretRef::File(file);
    let basic = RegistryCredential::Basic { username: "gw".into(), password: secret.clone() };
    for (credential, header) in
        [(basic.clone(), "Basic Z3c6aHVudGVyMg=="), (RegistryCredential::Bearer(secret), "Bearer hunter2")]
    {
        assert!(!format!("{credential:?}").contains("hunter2"));
        let (store, schemas) = registry(Some(credential)).await;
        add(&store, "s", json!({"schema": "\"long\""}));
        schemas.read(Format::Avro, Some(&[0, 0, 0, 0, 1, 2])).await.unwrap();
        assert_eq!(store.authorization.lock().unwrap().as_deref(), Some(header));
    }
    let refused =
        |url: &str, credential| Schemas::new(&settings(url.to_owned(), credential), 1).err().unwrap().to_string();
    assert!(refused("http://registry.example", Some(basic)).contains("plaintext"));
    assert!(refused("https://registry.example", None).contains("tls.ca"));
    for url in ["registry", "ftp://registry", "http://user:pass@registry", "http://registry/?a"] {
        assert!(refused(url, None).contains("url"), "{url}");
    }
}

#[tokio::test]
async fn a_registry_that_is_away_is_an_error_and_not_a_wait() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let slow = RegistrySettings { timeout: Duration::from_millis(50), ..settings(url.clone(), None) };
    let error = Schemas::new(&slow, 1).unwrap().read(Format::Avro, Some(&[0, 0, 0, 0, 1])).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("50 ms")), (Code::Serialization, true));
    drop(listener);
    let error = Schemas::new(&settings(url, None), 1).unwrap().read(Format::Avro, Some(&[0, 0, 0, 0, 1])).await;
    assert!(error.unwrap_err().to_string().contains("cannot be reached"));
}
