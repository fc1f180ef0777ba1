//! What holds for every body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Any JSON value, not too deep.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((any::<String>(), inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..200))
}

fn encoded(bytes: &Option<Vec<u8>>) -> Value {
    bytes.as_ref().map_or(Value::Null, |bytes| STANDARD.encode(bytes).into())
}

/// A v3 record of any kind, as text.
fn v3_text() -> impl Strategy<Value = String> {
    (field(), json_value(), any::<bool>()).prop_map(|(key, value, is_pretty)| {
        let record =
            json!({"key": {"type": "BINARY", "data": encoded(&key)}, "value": {"type": "JSON", "data": value}});
        if is_pretty { serde_json::to_string_pretty(&record).unwrap() } else { record.to_string() }
    })
}

proptest! {
    #[test]
    fn binary_records_come_back(fields in vec((field(), field()), 1..20)) {
        let records: Vec<_> =
            fields.iter().map(|(key, value)| json!({"key": encoded(key), "value": encoded(value)})).collect();
        let parsed = v2(Format::Binary, &json!({"records": records}).to_string()).unwrap().records;
        let mut answer = V2Records::new(BytesMut::new(), Format::Binary, DeliveredFields::default());
        for (record, (key, value)) in parsed.iter().zip(&fields) {
            prop_assert_eq!(record.key.as_deref(), key.as_deref());
            prop_assert_eq!(record.value.as_deref(), value.as_deref());
            let delivered = Delivered {
                topic: "t", partition: 0, offset: 0, timestamp: None, headers: &[],
                key: record.key.as_deref(), value: record.value.as_deref(),
            };
            answer.push(&delivered).unwrap();
        }
        let answer: Vec<Value> = serde_json::from_slice(&answer.finish()).unwrap();
        for (record, answer) in records.iter().zip(&answer) {
            prop_assert_eq!((&record["key"], &record["value"]), (&answer["key"], &answer["value"]));
        }
    }

    #[test]
    fn json_and_text_come_back(values in vec((json_value(), any::<String>()), 1..10)) {
        let json: Vec<_> = values.iter().map(|(value, _)| json!({"value": value})).collect();
        let text: Vec<_> = values.iter().map(|(_, text)| json!({"value": text})).collect();
        let body = serde_json::to_string_pretty(&json!({"records": json})).unwrap();
        let parsed = v2(Format::Json, &body).unwrap().records;
        for (record, (value, _)) in parsed.iter().zip(&values) {
            match &record.value {
                // A number may lose its last digit in others' hands, the same one each time.
                Some(bytes) => {
                    let expected: Value = serde_json::from_str(&value.to_string()).unwrap();
                    prop_assert_eq!(serde_json::from_slice::<Value>(bytes).unwrap(), expected);
                }
                None => prop_assert!(value.is_null()),
            }
        }
        let parsed = v2(Format::Text, &json!({"records": text}).to_string()).unwrap().records;
        for (record, (_, text)) in parsed.iter().zip(&values) {
            prop_assert_eq!(record.value.as_deref(), Some(text.as_bytes()));
        }
    }

    /// Our grammar is the one of others, for text that is JSON and for text that was damaged.
    #[test]
    fn json_is_what_others_take_for_json(value in json_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&value).unwrap();
        prop_assert!(is_json(&text, 127));
        let at = at.index(text.len());
        text[at] = byte;
        let others = std::str::from_utf8(&text).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(is_json(&text, 127), others, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..300), text in "[\\[\\]{}\",:0-9a-z\\\\ ]{0,80}") {
        for body in [Bytes::from(bytes), Bytes::from(text)] {
            for format in [Format::Binary, Format::Json, Format::Text] {
                let _ = parse_v2(format, &body, &Limits::default());
            }
            let _ = parse_v3(&body, 0, &Limits::default());
            let _ = parse_v3_batch(&body, &Limits::default());
        }
    }

    /// However the network cuts a stream, its records are those of the whole.
    #[test]
    fn every_cut_gives_the_same_records(
        records in vec((v3_text(), "[ \r\n\t]{0,3}"), 0..5),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let stream: String = records.iter().map(|(record, space)| format!("{record}{space}")).collect();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        ends.extend([0, stream.len()]);
        ends.sort_unstable();
        let mut splitter = Splitter::new(Limits::default());
        let mut found = Vec::new();
        for cut in ends.windows(2) {
            splitter.push(Bytes::copy_from_slice(&stream.as_bytes()[cut[0]..cut[1]]));
            while let Some(piece) = splitter.take().unwrap() {
                prop_assert!(stream.as_bytes()[piece.position..].starts_with(&piece.text));
                found.push(piece.text);
            }
        }
        splitter.finish().unwrap();
        let expected: Vec<_> = records.iter().map(|(record, _)| Bytes::copy_from_slice(record.as_bytes())).collect();
        prop_assert_eq!(&found, &expected);
        for text in &found {
            parse_v3(text, 0, &Limits::default()).unwrap();
        }
    }

    /// One byte at a time is a cut at every place.
    #[test]
    fn byte_by_byte_is_as_good_as_whole(stream in "([{\\[][\\[\\]{}\",: a\\\\]{0,40}){0,3}") {
        let collect = |chunk: usize| {
            let mut splitter = Splitter::new(Limits::default());
            let mut found = Vec::new();
            for part in stream.as_bytes().chunks(chunk) {
                splitter.push(Bytes::copy_from_slice(part));
                loop {
                    match splitter.take() {
                        Ok(Some(piece)) => found.push(piece),
                        Ok(None) => break,
                        Err(error) => return (found, Some(error.position()), false),
                    }
                }
            }
            (found, None, splitter.finish().is_ok())
        };
        prop_assert_eq!(collect(1), collect(usize::MAX));
    }
}
