//! The v3 API: records, streams of them, batches.

use super::*;

#[test]
fn a_record_of_the_documents() {
    let record = v3(r#"{
        "partition_id": 1,
        "headers": [{"name": "Header-1", "value": "SGVhZGVyLTE="}, {"name": "Header-2", "value": null}],
        "key": {"type": "BINARY", "data": "Zm9vYmFy"},
        "value": {"type": "JSON", "data": {"foo": 1.00}},
        "timestamp": "2021-02-05T19:14:42.123Z"
    }"#);
    let record = record.unwrap();
    let headers = vec![("Header-1".to_owned(), some("Header-1")), ("Header-2".to_owned(), None)];
    let expected = Record {
        key: some("foobar"),
        value: some(r#"{"foo": 1.00}"#),
        partition: Some(1),
        timestamp: Some(1_612_552_482_123),
        headers,
    };
    assert_eq!(record.record, expected);
    assert_eq!(record.key, Some(Part { format: Some(Format::Binary), schema: None }));
    assert_eq!(record.value.unwrap().format, Some(Format::Json));
}

#[test]
fn the_type_may_stand_behind_the_data() {
    let record = v3(r#"{"value":{"data":"Zm9v","type":"BINARY"},"key":{"data":"a\n","type":"STRING"}}"#).unwrap();
    assert_eq!((record.record.value, record.record.key), (some("foo"), some("a\n")));
}

#[test]
fn null_data_and_no_value_are_tombstones() {
    for text in
        ["{}", r#"{"value":null}"#, r#"{"value":{"type":"BINARY","data":null}}"#, r#"{"value":{"type":"JSON"}}"#]
    {
        assert_eq!(v3(text).unwrap().record, Record::default(), "{text}");
    }
    assert_eq!(v3(r#"{"value":{"type":"STRING","data":""}}"#).unwrap().record.value, some(""));
}

#[test]
fn schemas_are_named_in_one_way() {
    let text = r#"{"key":{"type":"AVRO","subject_name_strategy":"RECORD_NAME","schema_version":2,"data":{"a":1}},
        "value":{"subject":"s","schema_id":7,"data":[1]}}"#;
    let record = v3(text).unwrap();
    let choice = record.key.unwrap().schema.unwrap();
    assert_eq!((choice.strategy, choice.version), (Some(SubjectNameStrategy::RecordName), Some(2)));
    let value = record.value.unwrap();
    assert_eq!((value.format, value.schema.unwrap().id, record.record.value), (None, Some(7), some("[1]")));
    for wrong in [
        r#"{"key":{"type":"AVRO","schema_id":1,"schema_version":1,"data":1}}"#,
        r#"{"key":{"type":"AVRO","subject":"a","subject_name_strategy":"TOPIC_NAME","data":1}}"#,
        r#"{"key":{"type":"JSON","schema_id":1,"data":1}}"#,
        r#"{"key":{"schema":"{}","data":1}}"#,
        r#"{"key":{"type":"AVRO","subject_name_strategy":"X","data":1}}"#,
    ] {
        assert_eq!(told(v3(wrong)), (Code::Unprocessable, None), "{wrong}");
    }
}

#[test]
fn each_mistake_has_its_code_and_place() {
    for (text, code, at) in [
        (r#"{"value":"a"}"#, Code::Unprocessable, 9),
        (r#"{"value":{"type":"Binary","data":""}}"#, Code::Unprocessable, 17),
        (r#"{"value":{"type":"BINARY","data":"%"}}"#, Code::InvalidPayload, 33),
        (r#"{"value":{"type":"BINARY","data":{}}}"#, Code::InvalidPayload, 33),
        (r#"{"value":{"type":"STRING","data":1}}"#, Code::InvalidPayload, 33),
        (r#"{"value":{"type":"JSON","data":{1}}}"#, Code::BadRequest, 32),
        (r#"{"timestamp":"yesterday"}"#, Code::Unprocessable, 13),
        (r#"{"timestamp":"1969-12-31T23:59:59Z"}"#, Code::Unprocessable, 13),
        (r#"{"timestamp":12}"#, Code::Unprocessable, 13),
        (r#"{"partition":1}"#, Code::Unprocessable, 13),
        (r#"{"headers":[{"key":"a","value":""}]}"#, Code::Unprocessable, 19),
        ("[]", Code::Unprocessable, 0),
        ("{} {}", Code::BadRequest, 3),
    ] {
        let error = parse_v3(&bytes(text), 1000, &Limits::default()).unwrap_err();
        assert_eq!((error.code(), error.position()), (code, Some(1000 + at)), "{text}: {error}");
    }
}

fn split(chunks: &[&str], limits: Limits) -> Result<Vec<String>, FormatError> {
    let mut splitter = Splitter::new(limits);
    let mut found = Vec::new();
    for chunk in chunks {
        splitter.push(bytes(chunk));
        while let Some(piece) = splitter.take()? {
            assert_eq!(piece.index, found.len());
            found.push(String::from_utf8(piece.text.to_vec()).unwrap());
        }
    }
    splitter.finish()?;
    Ok(found)
}

#[test]
fn a_stream_is_cut_between_its_objects() {
    let limits = Limits::default();
    for chunks in [
        &["{}{\"a\":\"}\\\"{\"}\r\n {\"b\":[{}]}\n"][..],
        &["{", "}{\"a\":\"}", "\\", "\"{\"}\r", "\n {\"b\":[{}", "]}"],
    ] {
        assert_eq!(split(chunks, limits).unwrap(), ["{}", "{\"a\":\"}\\\"{\"}", "{\"b\":[{}]}"]);
    }
    assert!(split(&["", " \n"], limits).unwrap().is_empty());
    for (stream, record, at) in [("{} x", 1, 3), ("[{}]", 0, 0), ("{},{}", 1, 2), ("1", 0, 0), ("{} {\"a\":", 1, 8)] {
        let error = split(&[stream], limits).unwrap_err();
        let place = (error.code(), error.record(), error.position());
        assert_eq!(place, (Code::BadRequest, Some(record), Some(at)), "{stream}");
    }
}

#[test]
fn an_object_of_one_chunk_is_a_slice_of_it() {
    let chunk = bytes("{\"a\":1}{\"b\":2}");
    let mut splitter = Splitter::new(Limits::default());
    splitter.push(chunk.clone());
    let mut next = || splitter.take().unwrap().unwrap();
    assert_eq!(next().text.as_ptr(), chunk.as_ptr());
    let second = next();
    assert_eq!((second.position, second.text.as_ptr()), (7, chunk.as_ptr().wrapping_add(7)));
}

#[test]
fn a_stream_is_bounded_and_broken_for_good() {
    let limits = Limits { max_depth: 2, max_record_bytes: 8, ..Limits::default() };
    assert_eq!(told(split(&["{\"a\":[[]]}"], limits)), (Code::BadRequest, Some(0)));
    assert_eq!(split(&["{\"1234567890\"}"], limits).unwrap().len(), 1);
    assert_eq!(told(split(&["{} {\"1234", "567890123\"}"], limits)), (Code::TooLarge, Some(1)));
    assert_eq!(told(split(&["{\"123456789012345"], limits)), (Code::TooLarge, Some(0)));
    let mut splitter = Splitter::new(limits);
    splitter.push(bytes("x{}"));
    assert!(splitter.take().is_err());
    splitter.push(bytes("{}"));
    assert!(splitter.take().is_err() && splitter.finish().is_err());
}

#[test]
fn a_batch_fails_by_entry_or_as_a_whole() {
    let body = r#"{"entries":[{"id":"1","value":{"type":"STRING","data":"a"}},{"value":{"type":"BINARY","data":"?"},"id":"2"}]}"#;
    let entries = parse_v3_batch(&bytes(body), &Limits::default()).unwrap();
    assert_eq!(entries[0].id, "1");
    assert_eq!(entries[0].record.as_ref().unwrap().record.value, some("a"));
    assert_eq!(told(entries[1].record.clone()), (Code::InvalidPayload, Some(1)));
    let eleven = format!(r#"{{"entries":[{}{{}}]}}"#, "{},".repeat(10));
    let long = format!(r#"{{"entries":[{{"id":"{}"}}]}}"#, "é".repeat(81));
    for (body, code) in [
        ("{}", Code::InvalidBatch),
        (r#"{"entries":[]}"#, Code::InvalidBatch),
        (r#"{"entries":[{}]}"#, Code::InvalidBatch),
        (r#"{"entries":[{"id":""}]}"#, Code::InvalidBatch),
        (r#"{"entries":[{"id":"a"},{"id":"a"}]}"#, Code::InvalidBatch),
        (r#"{"entries":[{"id":"a"}"#, Code::BadRequest),
        (r#"{"entries":[1]}"#, Code::Unprocessable),
        (r#"{"records":[]}"#, Code::Unprocessable),
        (&eleven, Code::InvalidBatch),
        (&long, Code::InvalidBatch),
    ] {
        assert_eq!(told(parse_v3_batch(&bytes(body), &Limits::default())).0, code, "{body}");
    }
}

#[test]
fn answers_name_what_was_written() {
    let key = PlacedPart { format: Format::Binary, size: 10, subject: None, schema_id: None, schema_version: None };
    let value = PlacedPart {
        format: Format::Avro,
        size: 6,
        subject: Some("t-value"),
        schema_id: Some(1),
        schema_version: Some(2),
    };
    let placed = Placed { partition: 1, offset: 7, timestamp: Some(1_612_552_482_123) };
    let record = V3Placed { cluster_id: "c-1", topic: "t", placed, key: Some(key), value: Some(value) };
    let mut out = BytesMut::new();
    push_v3_placed(&mut out, &record);
    let place = r#""cluster_id":"c-1","topic_name":"t","partition_id":1,"offset":7,"timestamp":"2021-02-05T19:14:42.123Z","key":{"type":"BINARY","size":10},"value":{"type":"AVRO","size":6,"subject":"t-value","schema_id":1,"schema_version":2}}"#;
    assert_eq!(std::str::from_utf8(&out).unwrap(), format!("{{\"error_code\":200,{place}"));

    let mut batch = V3Batch::default();
    batch.placed("a\"", &record);
    batch.placed("b", &V3Placed { key: None, value: None, placed: Placed { timestamp: None, ..placed }, ..record });
    batch.refused("c", &Refused { error_code: 42206, message: "not base64".into() });
    out.clear();
    batch.finish(&mut out);
    let expected = format!(
        r#"{{"successes":[{{"id":"a\"",{place},{{"id":"b","cluster_id":"c-1","topic_name":"t","partition_id":1,"offset":7}}],"failures":[{{"id":"c","error_code":42206,"message":"not base64"}}]}}"#
    );
    assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
}
