//! The v2 API.

use super::*;

#[test]
fn binary_records_of_the_documents() {
    let body = r#"{"records":[{"key":"a2V5","value":"Y29uZmx1ZW50"},{"value":"a2Fma2E=","partition":1},{"value":"bG9ncw=="}]}"#;
    let records = v2(Format::Binary, body).unwrap().records;
    assert_eq!(records[0], Record { key: some("key"), value: some("confluent"), ..Record::default() });
    assert_eq!(records[1], Record { value: some("kafka"), partition: Some(1), ..Record::default() });
    assert_eq!(records[2].value, some("logs"));
}

#[test]
fn json_keeps_how_it_was_written() {
    let body = r#" { "records" : [ {"value": { "a" : 1.0e+2, "b":[ 1 ,2.50 ], "é":"\u00e9\/" } },
        {"key": 7, "value": "text"}, {"key": false, "value": 12345678901234567890.10} ] } "#;
    let records = v2(Format::Json, body).unwrap().records;
    assert_eq!(records[0].value, some(r#"{ "a" : 1.0e+2, "b":[ 1 ,2.50 ], "é":"\u00e9\/" }"#));
    assert_eq!((&records[1].key, &records[1].value), (&some("7"), &some("\"text\"")));
    assert_eq!((&records[2].key, &records[2].value), (&some("false"), &some("12345678901234567890.10")));
}

#[test]
fn json_values_are_slices_of_the_body() {
    let body = bytes(r#"{"records":[{"value":{"a":1}}]}"#);
    let records = parse_v2(Format::Json, &body, &Limits::default()).unwrap().records;
    let value = records[0].value.as_ref().unwrap();
    assert!(body.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn text_is_the_characters() {
    let body = r#"{"records":[{"key":"plain","value":"line\nbreak \ud83d\ude00 \"x\""},{"value":""}]}"#;
    let records = v2(Format::Text, body).unwrap().records;
    assert_eq!((&records[0].key, &records[0].value), (&some("plain"), &some("line\nbreak 😀 \"x\"")));
    assert_eq!(records[1].value, some(""));
    assert_eq!(told(v2(Format::Text, r#"{"records":[{"value":1}]}"#)), (Code::InvalidPayload, Some(0)));
    assert_eq!(told(v2(Format::Text, r#"{"records":[{"value":"\ud800"}]}"#)), (Code::InvalidPayload, Some(0)));
}

#[test]
fn null_is_not_empty() {
    let body = r#"{"records":[{"key":null,"value":null},{"key":"","value":""},{}]}"#;
    for format in [Format::Binary, Format::Text] {
        let records = v2(format, body).unwrap().records;
        assert_eq!((&records[0].key, &records[0].value), (&None, &None));
        assert_eq!((&records[1].key, &records[1].value), (&some(""), &some("")));
        assert_eq!(records[2], Record::default());
    }
    assert_eq!(v2(Format::Json, body).unwrap().records[1].value, some("\"\""));
}

#[test]
fn headers_timestamp_and_partition() {
    let body = r#"{"records":[{"value":"dg==","timestamp":1640995200000,"partition":0,
        "headers":[{"key":"trace","value":"AQI="},{"key":"trace","value":null},{"key":"caf\u00e9","value":""}]},
        {"value":"dg==","timestamp":null,"partition":null,"headers":null}]}"#;
    let records = v2(Format::Binary, body).unwrap().records;
    assert_eq!((records[0].timestamp, records[0].partition), (Some(1_640_995_200_000), Some(0)));
    let headers = vec![
        ("trace".to_owned(), Some(Bytes::from_static(&[1, 2]))),
        ("trace".to_owned(), None),
        ("café".to_owned(), some("")),
    ];
    assert_eq!(records[0].headers, headers);
    assert_eq!(records[1], Record { value: some("v"), ..Record::default() });
}

#[test]
fn schemas_are_asked_for_where_there_is_something_to_describe() {
    let body = r#"{"value_schema":"{\"type\":\"int\"}","records":[{"value":12},{"value":24,"partition":1}]}"#;
    let produce = v2(Format::Avro, body).unwrap();
    assert_eq!(produce.value_schema.as_deref(), Some(r#"{"type":"int"}"#));
    assert_eq!(produce.records[1].value, some("24"));
    let produce = v2(Format::Protobuf, r#"{"key_schema_id":3,"value_schema_id":4,"records":[{"key":1,"value":2}]}"#);
    assert_eq!((produce.clone().unwrap().key_schema_id, produce.unwrap().value_schema_id), (Some(3), Some(4)));
    for (body, expected) in [
        (r#"{"value_schema_id":1,"records":[{"value":1},{"key":1,"value":1}]}"#, (Code::KeySchemaMissing, Some(1))),
        (r#"{"key_schema_id":1,"records":[{"key":1,"value":1}]}"#, (Code::ValueSchemaMissing, Some(0))),
    ] {
        assert_eq!(told(v2(Format::JsonSchema, body)), expected);
    }
    // A tombstone has no schema.
    assert!(v2(Format::Avro, r#"{"key_schema_id":1,"records":[{"key":1,"value":null}]}"#).is_ok());
}

#[test]
fn each_mistake_has_its_code_and_place() {
    for (body, code, record, at) in [
        ("", Code::BadRequest, None, 0),
        ("x", Code::BadRequest, None, 0),
        ("[]", Code::Unprocessable, None, 0),
        ("\"\"", Code::Unprocessable, None, 0),
        (r#"{"records":[]"#, Code::BadRequest, None, 13),
        (r#"{"records":[{"value":"YQ=="}]} x"#, Code::BadRequest, None, 31),
        (r#"{"records":{}}"#, Code::Unprocessable, None, 11),
        (r#"{"records":[1]}"#, Code::Unprocessable, Some(0), 12),
        (r#"{"records":[{},{"vaule":1}]}"#, Code::Unprocessable, Some(1), 24),
        (r#"{"records":[{"value":"","value":""}]}"#, Code::Unprocessable, Some(0), 32),
        (r#"{"records":[{}],"records":[{}]}"#, Code::Unprocessable, None, 26),
        (r#"{"records":[{"value":"*"}]}"#, Code::InvalidPayload, Some(0), 21),
        (r#"{"records":[{"value":{}}]}"#, Code::InvalidPayload, Some(0), 21),
        (r#"{"records":[{"partition":-1}]}"#, Code::Unprocessable, Some(0), 25),
        (r#"{"records":[{"partition":2147483648}]}"#, Code::Unprocessable, Some(0), 25),
        (r#"{"records":[{"partition":1.5}]}"#, Code::Unprocessable, Some(0), 25),
        (r#"{"records":[{"partition":"1"}]}"#, Code::Unprocessable, Some(0), 25),
        (r#"{"records":[{"timestamp":-5}]}"#, Code::Unprocessable, Some(0), 25),
        (r#"{"records":[{"headers":[{"value":"YQ=="}]}]}"#, Code::Unprocessable, Some(0), 24),
        (r#"{"records":[{"headers":[{"key":"a","value":"?"}]}]}"#, Code::InvalidPayload, Some(0), 43),
        ("{\"records\":[{\"value\":\"a\nb\"}]}", Code::BadRequest, Some(0), 23),
    ] {
        let error = v2(Format::Binary, body).unwrap_err();
        assert_eq!((error.code(), error.record(), error.position()), (code, record, Some(at)), "{body}: {error}");
    }
    assert_eq!(told(v2(Format::Binary, "{}")), (Code::Unprocessable, None));
    assert_eq!(told(v2(Format::Binary, r#"{"records":[]}"#)), (Code::Unprocessable, None));
    let not_utf8 = Bytes::from_static(b"{\"records\":[{\"value\":\"\xff\"}]}");
    let error = parse_v2(Format::Text, &not_utf8, &Limits::default()).unwrap_err();
    assert_eq!((error.code(), error.position()), (Code::BadRequest, Some(22)));
    assert_eq!(error.to_string(), "byte 22: not utf-8");
}

#[test]
fn every_bound_holds() {
    let limits = Limits { max_records: 2, max_record_bytes: 4, max_depth: 5, max_headers: 1, ..Limits::default() };
    let parse = |format, body: &str| parse_v2(format, &bytes(body), &limits);
    assert!(parse(Format::Text, r#"{"records":[{"value":"1234"},{}]}"#).is_ok());
    assert_eq!(told(parse(Format::Text, r#"{"records":[{},{},{}]}"#)), (Code::TooLarge, Some(2)));
    assert_eq!(told(parse(Format::Text, r#"{"records":[{},{"key":"12","value":"123"}]}"#)), (Code::TooLarge, Some(1)));
    let headers = r#"{"records":[{"headers":[{"key":"a"},{"key":"b"}]}]}"#;
    assert_eq!(told(parse(Format::Text, headers)), (Code::TooLarge, Some(0)));
    assert!(parse(Format::Json, r#"{"records":[{"value":[[]]}]}"#).is_ok());
    assert_eq!(told(parse(Format::Json, r#"{"records":[{"value":[[[]]]}]}"#)), (Code::BadRequest, Some(0)));
    let deep = format!(r#"{{"records":[{{"value":{}"#, "[".repeat(1_000_000));
    assert_eq!(told(v2(Format::Json, &deep)), (Code::BadRequest, Some(0)));
}

#[test]
fn answers_to_produce_have_every_null() {
    let mut out = BytesMut::new();
    let placed = Placed { partition: 2, offset: 100, timestamp: None };
    let refused = Refused { error_code: 50003, message: "broker \"b\" is gone".into() };
    push_v2_produced(&mut out, [Ok(&placed), Err(&refused)], None, Some(32));
    let expected = r#"{"offsets":[{"partition":2,"offset":100,"error_code":null,"error":null},{"partition":null,"offset":null,"error_code":50003,"error":"broker \"b\" is gone"}],"key_schema_id":null,"value_schema_id":32}"#;
    assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    out.clear();
    push_error(&mut out, 40401, "no such topic");
    assert_eq!(&out[..], br#"{"error_code":40401,"message":"no such topic"}"#);
}

fn delivered<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Delivered<'a> {
    let headers: &[(&str, Option<&[u8]>)] = &[("h", Some(&[1, 2])), ("n", None)];
    Delivered { topic: "t\"1", partition: 3, offset: 100, timestamp: Some(5), key, value, headers }
}

#[test]
fn delivered_records_in_every_format() {
    let all = DeliveredFields { timestamp: true, headers: true };
    let mut records = V2Records::new(BytesMut::new(), Format::Binary, all);
    records.push(&delivered(None, Some(b"\xff\xfe"))).unwrap();
    let expected = r#"[{"topic":"t\"1","key":null,"value":"//4=","partition":3,"offset":100,"timestamp":5,"headers":[{"key":"h","value":"AQI="},{"key":"n","value":null}]}]"#;
    assert_eq!(std::str::from_utf8(&records.finish()).unwrap(), expected);

    let mut records = V2Records::new(BytesMut::new(), Format::Json, DeliveredFields::default());
    records.push(&delivered(Some(b"1"), Some(b"{ \"a\":\n1.50 }"))).unwrap();
    let error = records.push(&delivered(Some(b"1"), Some(b"{,}"))).unwrap_err();
    assert_eq!(error.code(), Code::FormatMismatch);
    assert!(error.to_string().contains("the value at offset 100 of partition 3 of topic t\"1 is not JSON"), "{error}");
    assert!(records.push(&delivered(Some(b""), None)).is_err());
    records.push(&delivered(None, None)).unwrap();
    let expected = "[{\"topic\":\"t\\\"1\",\"key\":1,\"value\":{ \"a\":\n1.50 },\"partition\":3,\"offset\":100},{\"topic\":\"t\\\"1\",\"key\":null,\"value\":null,\"partition\":3,\"offset\":100}]";
    assert_eq!(std::str::from_utf8(&records.finish()).unwrap(), expected);

    let mut records = V2Records::new(BytesMut::new(), Format::Text, DeliveredFields::default());
    assert!(records.push(&delivered(None, Some(b"\xff"))).unwrap_err().to_string().contains("not UTF-8 text"));
    records.push(&delivered(None, Some("é\u{1}".as_bytes()))).unwrap();
    let expected = r#"[{"topic":"t\"1","key":null,"value":"é\u0001","partition":3,"offset":100}]"#;
    assert_eq!(std::str::from_utf8(&records.finish()).unwrap(), expected);
    assert_eq!(&V2Records::new(BytesMut::new(), Format::Text, all).finish()[..], b"[]");
}

#[test]
fn a_line_is_a_record_where_that_is_asked_for() {
    let mut out = BytesMut::from(&b"data: "[..]);
    let record = delivered(None, Some(b"{\r\n\"a\\n\": 1 }"));
    push_delivered(&mut out, Format::Json, DeliveredFields::default(), Layout::OneLine, &record).unwrap();
    let expected = r#"data: {"topic":"t\"1","key":null,"value":{  "a\n": 1 },"partition":3,"offset":100}"#;
    assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
}

#[test]
fn media_types_name_formats() {
    for format in [Format::Binary, Format::Json, Format::Text, Format::Avro, Format::JsonSchema, Format::Protobuf] {
        assert_eq!(Format::of_media_type(format.media_type()), Some(format));
        assert_eq!(Format::of_v3_type(format.v3_type()), Some(format));
    }
    assert_eq!(Format::of_media_type(" Application/JSON ; charset=utf-8"), Some(Format::Binary));
    assert_eq!(Format::of_media_type("application/vnd.kafka.v2+json"), Some(Format::Binary));
    assert_eq!(Format::of_media_type("text/plain"), None);
    assert_eq!(Format::of_name("jsonschema"), Some(Format::JsonSchema));
    assert_eq!(Format::of_name("BINARY"), None);
}
