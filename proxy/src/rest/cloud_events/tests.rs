//! The examples of the specification, and what is no event.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::*;
use crate::rest::formats::{Layout, Limits};
use crate::rest::record::{Delivered, Record};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn required() -> Vec<(&'static str, &'static str)> {
    vec![
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.someevent"),
        ("ce-source", "/mycontext"),
        ("ce-id", "1234-1234-1234"),
    ]
}

fn read_with(
    mode: Mode,
    pairs: &[(&str, &str)],
    body: &str,
    options: EventOptions,
) -> Result<Vec<Record>, FormatError> {
    read(mode, &headers(pairs), &Bytes::copy_from_slice(body.as_bytes()), options, &Limits::default())
}

fn header(record: &Record, name: &str) -> Option<String> {
    let (_, value) = record.headers.iter().find(|(key, _)| key == name)?;
    Some(String::from_utf8(value.clone()?.to_vec()).unwrap())
}

/// Lets a record be read as a consumer delivers it.
fn with_delivered<T>(record: &Record, look: impl FnOnce(&Delivered<'_>) -> T) -> T {
    let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    look(&Delivered {
        topic: "events",
        partition: 0,
        offset: 9,
        timestamp: None,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    })
}

fn structured(record: &Record) -> Value {
    let mut out = BytesMut::new();
    with_delivered(record, |delivered| push_structured(&mut out, Layout::AsWritten, delivered)).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn the_mode_is_seen_by_type_and_headers() {
    let mode = |pairs: &[(&str, &str)]| Mode::of(&headers(pairs));
    assert_eq!(
        mode(&[("content-type", "application/cloudevents+json; charset=UTF-8")]).unwrap(),
        Some(Mode::Structured)
    );
    assert_eq!(mode(&[("content-type", "Application/CloudEvents-Batch+JSON")]).unwrap(), Some(Mode::Batched));
    assert_eq!(mode(&[("content-type", "application/json"), ("ce-specversion", "1.0")]).unwrap(), Some(Mode::Binary));
    assert_eq!(mode(&[("content-type", "application/json")]).unwrap(), None);
    assert_eq!(
        mode(&[("content-type", "application/cloudevents+avro")]).unwrap_err().code(),
        Code::UnsupportedMediaType
    );
}

#[test]
fn binary_mode_is_headers_and_the_body_as_it_is() {
    let mut pairs = required();
    pairs.extend([
        ("ce-time", "2018-04-05T03:56:24Z"),
        ("ce-subject", "Euro%20%E2%82%AC"),
        ("ce-partitionkey", "k1"),
        ("content-type", "application/json; charset=utf-8"),
        ("x-other", "1"),
    ]);
    let options = EventOptions { key_of_partitionkey: true, ..EventOptions::default() };
    let records = read_with(Mode::Binary, &pairs, "{ \"a\": 1 }", options).unwrap();
    let record = &records[0];
    assert_eq!(record.value.as_deref(), Some(&b"{ \"a\": 1 }"[..]));
    assert_eq!(header(record, "ce_subject").as_deref(), Some("Euro €"));
    assert_eq!(header(record, "content-type").as_deref(), Some("application/json; charset=utf-8"));
    // The key's attribute stays in the event.
    assert_eq!((record.key.as_deref(), header(record, "ce_partitionkey").as_deref()), (Some(&b"k1"[..]), Some("k1")));
    assert_eq!(record.headers.len(), 8);
    assert_eq!(read_with(Mode::Binary, &pairs, "1", EventOptions::default()).unwrap()[0].key, None);

    let event = structured(record);
    assert_eq!((&event["data"], &event["subject"]), (&json!({"a": 1}), &json!("Euro €")));
    let (back, body) = with_delivered(record, to_binary).unwrap();
    pairs.pop();
    assert_eq!((back, body.as_deref()), (headers(&pairs), Some(&b"{ \"a\": 1 }"[..])));
}

#[test]
fn no_data_is_a_tombstone() {
    let record = read_with(Mode::Binary, &required(), "", EventOptions::default()).unwrap().remove(0);
    assert_eq!(record.value, None);
    assert!(structured(&record).get("data").is_none());
    let body = r#"{"specversion":"1.0","type":"t","source":"s","id":"1"}"#;
    let stored = EventOptions { stored: Stored::Binary, ..EventOptions::default() };
    assert_eq!(read_with(Mode::Structured, &[], body, stored).unwrap()[0].value, None);
    // In structured mode the event is the value.
    assert_eq!(
        read_with(Mode::Structured, &[], body, EventOptions::default()).unwrap()[0].value.as_deref(),
        Some(body.as_bytes())
    );
}

/// JSON format 3.2: events and the same in HTTP's binary mode.
#[test]
fn events_of_the_json_format_in_binary_mode() {
    let stored = EventOptions { stored: Stored::Binary, ..EventOptions::default() };
    for (members, content_type, data) in [
        (
            r#""datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"AAEC""#,
            "application/vnd.apache.thrift.binary",
            &b"\0\x01\x02"[..],
        ),
        (
            r#""datacontenttype":"application/xml","unsetextension":null,"data":"<much wow=\"xml\"/>""#,
            "application/xml",
            b"<much wow=\"xml\"/>",
        ),
        (
            r#""subject":null,"datacontenttype":"application/json","data":{"appinfoA" : "abc", "n":1.0}"#,
            "application/json",
            b"{\"appinfoA\" : \"abc\", \"n\":1.0}",
        ),
        (r#""data":"I'm just a string""#, "application/json", b"\"I'm just a string\""),
        (r#""data":null"#, "application/json", b"null"),
    ] {
        let event = format!(
            r#"{{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"A234",
                "time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":5,{members}}}"#
        );
        let record = read_with(Mode::Structured, &[], &event, stored).unwrap().remove(0);
        assert_eq!(record.value.as_deref(), Some(data), "{event}");
        assert_eq!(header(&record, "content-type").as_deref(), Some(content_type));
        assert_eq!(header(&record, "ce_comexampleothervalue").as_deref(), Some("5"));
        assert_eq!(record.headers.len(), 8);

        // The same of a record in structured mode, on the way out.
        let as_sent = read_with(Mode::Structured, &[], &event, EventOptions::default()).unwrap().remove(0);
        let (headers, body) = with_delivered(&as_sent, to_binary).unwrap();
        assert_eq!(
            (headers["ce-id"].as_bytes(), headers["content-type"].as_bytes()),
            (&b"A234"[..], content_type.as_bytes())
        );
        assert_eq!(body.as_deref(), Some(data));
        let whole: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(structured(&as_sent), whole);
        // And binary to structured: the data has the same member and value.
        let again = structured(&record);
        assert_eq!((&again["data"], &again["data_base64"]), (&whole["data"], &whole["data_base64"]));
    }
}

#[test]
fn a_batch_is_one_record_for_each_event() {
    let one = r#"{"specversion":"1.0","type":"t","source":"/4","id":"1","data_base64":"AQ=="}"#;
    let two = "{\"specversion\":\"1.0\",\"type\":\"t\",\"source\":\"/9\",\n\"id\":\"2\",\"partitionkey\":\"p\",\"data\":{\"a\":1}}";
    let options = EventOptions { key_of_partitionkey: true, ..EventOptions::default() };
    let records = read_with(Mode::Batched, &[], &format!("[ {one} , {two}\n]"), options).unwrap();
    let values: Vec<_> = records.iter().map(|record| record.value.as_deref().unwrap()).collect();
    assert_eq!(values, [one.as_bytes(), two.as_bytes()]);
    assert_eq!((&records[0].key, records[1].key.as_deref()), (&None, Some(&b"p"[..])));
    assert_eq!(header(&records[0], "content-type").as_deref(), Some("application/cloudevents+json; charset=UTF-8"));
    assert!(read_with(Mode::Batched, &[], "[]", options).unwrap().is_empty());

    let mut batch = EventBatch::new(BytesMut::new());
    for record in &records {
        with_delivered(record, |delivered| batch.push(delivered)).unwrap();
    }
    assert!(with_delivered(&Record::default(), |delivered| batch.push(delivered)).is_err());
    assert_eq!(std::str::from_utf8(&batch.finish()).unwrap(), format!("[{one},{two}]"));
    let mut line = BytesMut::new();
    with_delivered(&records[1], |delivered| push_structured(&mut line, Layout::OneLine, delivered)).unwrap();
    assert!(!line.contains(&b'\n'));
}

#[test]
fn what_is_no_event_is_refused() {
    let refuse = |mode, pairs: &[(&str, &str)], body: &str| {
        let error = read_with(mode, pairs, body, EventOptions { stored: Stored::Binary, ..EventOptions::default() });
        error.unwrap_err()
    };
    for missing in 0..4 {
        let mut pairs = required();
        let (name, _) = pairs.remove(missing);
        let error = refuse(Mode::Binary, &pairs, "");
        assert!(error.to_string().contains(&name[3..]) && error.code() == Code::Unprocessable, "{error}");
    }
    for extra in [
        ("ce-specversion", "1.0"),
        ("ce-datacontenttype", "a/b"),
        ("ce-time", "noon"),
        ("ce-subject", ""),
        ("ce-x", "%ff"),
        ("ce-x", "%00"),
        ("ce-my_name", "1"),
        ("ce-data", "1"),
    ] {
        let mut pairs = required();
        pairs.push(extra);
        assert_eq!(refuse(Mode::Binary, &pairs, "").code(), Code::Unprocessable, "{extra:?}");
    }
    for (members, code) in [
        ("", Code::Unprocessable),
        (r#""id":"1","specversion":"0.3","#, Code::Unprocessable),
        (r#""id":"","#, Code::Unprocessable),
        (r#""id":"1","id":"2","#, Code::Unprocessable),
        (r#""id":null,"#, Code::Unprocessable),
        (r#""id":{},"#, Code::Unprocessable),
        (r#""id":"1","a":1.5,"#, Code::Unprocessable),
        (r#""id":"1","a":2147483648,"#, Code::Unprocessable),
        (r#""id":"1","A":"x","#, Code::Unprocessable),
        (r#""id":"1","data":1,"data_base64":"","#, Code::Unprocessable),
        (r#""id":"1","data_base64":"?","#, Code::InvalidPayload),
        (r#""id":"1","data_base64":1,"#, Code::InvalidPayload),
        (r#""id":"1","datacontenttype":"text/plain","data":1,"#, Code::InvalidPayload),
        (r#""id":"1",,"#, Code::BadRequest),
    ] {
        let version = if members.contains("specversion") { "" } else { r#""specversion":"1.0","# };
        let event = format!(r#"{{{members}{version}"type":"t","source":"s"}}"#);
        let error = refuse(Mode::Batched, &[], &format!("[{event}]"));
        assert_eq!((error.code(), error.record()), (code, Some(0)), "{event}: {error}");
    }
    assert_eq!(refuse(Mode::Batched, &[], "{}").code(), Code::Unprocessable);
    assert_eq!(refuse(Mode::Structured, &[], "[]").code(), Code::Unprocessable);
}

#[test]
fn records_that_are_no_events_are_named() {
    let foreign = Record {
        value: Some(Bytes::from_static(b"x")),
        headers: vec![("content-type".to_owned(), Some(Bytes::from_static(b"application/cloudevents+avro")))],
        ..Record::default()
    };
    let broken = Record {
        value: Some(Bytes::from_static(b"{}")),
        headers: vec![("content-type".to_owned(), Some(Bytes::from_static(STRUCTURED_TYPE.as_bytes())))],
        ..Record::default()
    };
    for record in [Record::default(), foreign, broken] {
        let mut out = BytesMut::from(&b"x"[..]);
        let error = with_delivered(&record, |delivered| push_structured(&mut out, Layout::AsWritten, delivered));
        let error = error.unwrap_err();
        assert_eq!((error.code(), &out[..]), (Code::FormatMismatch, &b"x"[..]));
        assert!(error.to_string().contains("offset 9 of partition 0 of topic events"), "{error}");
        assert!(with_delivered(&record, to_binary).is_err());
    }
    assert!(!with_delivered(&Record::default(), is_event));
}
