//! Bytes of a topic that claim to have a schema: the head, Avro and Protobuf under a schema that refers to itself. What
//! is read is JSON within its bound, and what Avro reads it writes again.
#![no_main]

use std::sync::LazyLock;

use barnabas::rest::formats::is_json;
use barnabas::rest::schema::avro::AvroSchema;
use barnabas::rest::schema::protobuf::ProtobufSchema;
use barnabas::rest::schema::wire;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((id, payload)) = wire::split(data) else { return };
    let mut head = BytesMut::new();
    wire::push(&mut head, id);
    assert_eq!(&data[..5], &head[..]);

    let mut text = BytesMut::new();
    if AVRO.read(payload, LIMIT, &mut text).is_ok() {
        assert!(is_json(&text, usize::MAX));
        let mut again = BytesMut::new();
        let mut same = BytesMut::new();
        // Deeper than requests may be is read and not written.
        if AVRO.write(&text, &mut again).is_ok() {
            AVRO.read(&again, LIMIT, &mut same).expect("what was written is read");
            assert_eq!(text, same);
        }
    }
    text.clear();
    if PROTOBUF.read(payload, LIMIT, &mut text).is_ok() {
        assert!(text.len() <= LIMIT && is_json(&text, usize::MAX));
        PROTOBUF.write(&text, &mut BytesMut::new()).ok();
    }
});

static AVRO: LazyLock<AvroSchema> = LazyLock::new(|| AvroSchema::parse(AVRO_TEXT, &[]).expect("a schema"));
static PROTOBUF: LazyLock<ProtobufSchema> =
    LazyLock::new(|| ProtobufSchema::parse(PROTOBUF_TEXT, &[]).expect("a schema"));

const AVRO_TEXT: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"next","type":["null","R"]},{"name":"items","type":{"type":"array","items":["null","int","string","bytes"]}},
    {"name":"map","type":{"type":"map","values":"double"}},
    {"name":"kind","type":{"type":"enum","name":"E","symbols":["A","B"]}},
    {"name":"fixed","type":{"type":"fixed","name":"F","size":3}},{"name":"many","type":{"type":"array","items":"null"}}]}"#;
const PROTOBUF_TEXT: &str = r#"syntax = "proto3"; import "google/protobuf/struct.proto"; import "google/protobuf/any.proto";
    import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
    message R { R next = 1; repeated R all = 2; map<string, double> map = 3; oneof one { int64 a = 4; bytes b = 5; }
        google.protobuf.Struct any = 6; google.protobuf.Any other = 7; google.protobuf.Timestamp at = 8;
        google.protobuf.Duration took = 9; float f = 10; message Inner { fixed64 x = 1; } Inner inner = 11; }"#;
const LIMIT: usize = 1 << 20;
