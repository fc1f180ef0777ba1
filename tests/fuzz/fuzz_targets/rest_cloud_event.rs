//! CloudEvents in structured and batched mode: what is read is written as JSON, and read again as the same event.
#![no_main]

use axum::http::HeaderMap;
use barnabas::rest::cloud_events::{EventOptions, Mode, Stored, push_structured, read};
use barnabas::rest::formats::{Layout, Limits, is_json};
use barnabas::rest::record::{Delivered, Record};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    for stored in [Stored::AsSent, Stored::Binary] {
        for mode in [Mode::Structured, Mode::Batched] {
            for record in events(mode, &body, stored) {
                let written = written(&record);
                assert!(is_json(&written, 127));
                assert_eq!(events(Mode::Structured, &written, stored).len(), 1);
            }
        }
    }
});

fn events(mode: Mode, body: &Bytes, stored: Stored) -> Vec<Record> {
    let options = EventOptions { key_of_partitionkey: true, stored };
    read(mode, &HeaderMap::new(), body, options, &Limits::default()).unwrap_or_default()
}

fn written(record: &Record) -> Bytes {
    let headers: Vec<_> = record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
    let delivered = Delivered {
        topic: "t",
        partition: 0,
        offset: 0,
        timestamp: None,
        key: None,
        value: record.value.as_deref(),
        headers: &headers,
    };
    let mut out = BytesMut::new();
    push_structured(&mut out, Layout::OneLine, &delivered).expect("an event stays an event");
    out.freeze()
}
