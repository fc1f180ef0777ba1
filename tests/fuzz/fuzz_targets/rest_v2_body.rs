//! Bodies of the v2 API in every format: nothing panics, what is read is within its bounds, and what is written of it
//! is JSON.
#![no_main]

use barnabas::rest::formats::{DeliveredFields, Format, Limits, V2Records, is_json, parse_v2, parse_v3_batch};
use barnabas::rest::record::Delivered;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let limits = Limits { max_records: 100, max_record_bytes: 10_000, max_headers: 10, ..Limits::default() };
    let _ = parse_v3_batch(&body, &limits);
    let fields = DeliveredFields { timestamp: true, headers: true };
    for format in [Format::Binary, Format::Json, Format::Text, Format::Avro] {
        let Ok(produce) = parse_v2(format, &body, &limits) else { continue };
        assert!((1..=limits.max_records).contains(&produce.records.len()));
        let mut answer = V2Records::new(BytesMut::new(), format, fields);
        for record in &produce.records {
            assert!(record.size() <= limits.max_record_bytes && record.partition.is_none_or(|number| number >= 0));
            let headers: Vec<_> = record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
            let delivered = Delivered {
                topic: "t",
                partition: 0,
                offset: 0,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            };
            answer.push(&delivered).expect("what was read can be written");
        }
        assert!(is_json(&answer.finish(), 127));
    }
});
