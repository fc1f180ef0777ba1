//! Answers of the v2 API: what became of produced records, and records that a consumer delivered.
//!
//! Outcomes and records arrive, JSON leaves, straight into the answer's buffer. What must never happen here: a record
//! whose bytes are not of the format that was asked for, half written; it is left away as a whole and named.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use bytes::{BufMut, BytesMut};

use super::{Format, FormatError, is_json, push_string};
use crate::rest::Code;
use crate::rest::record::Delivered;

/// Where a record was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Milliseconds since 1970, where the broker tells.
    pub timestamp: Option<i64>,
}

/// Why a record was not written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The `error_code` that the API has for it.
    pub error_code: i32,
    /// Says it to a reader.
    pub message: String,
}

/// Appends the answer to a produce request: `{"offsets":[…],"key_schema_id":…,"value_schema_id":…}`, nulls included.
pub fn push_v2_produced<'a>(
    out: &mut BytesMut,
    outcomes: impl IntoIterator<Item = Result<&'a Placed, &'a Refused>>,
    key_schema_id: Option<i32>,
    value_schema_id: Option<i32>,
) {
    out.put_slice(b"{\"offsets\":[");
    for (index, outcome) in outcomes.into_iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        match outcome {
            Ok(placed) => {
                out.put_slice(b"{\"partition\":");
                push_number(out, placed.partition.into());
                out.put_slice(b",\"offset\":");
                push_number(out, placed.offset);
                out.put_slice(b",\"error_code\":null,\"error\":null}");
            }
            Err(refused) => {
                out.put_slice(b"{\"partition\":null,\"offset\":null,\"error_code\":");
                push_number(out, refused.error_code.into());
                out.put_slice(b",\"error\":");
                push_string(out, &refused.message);
                out.put_u8(b'}');
            }
        }
    }
    out.put_slice(b"],\"key_schema_id\":");
    push_optional_number(out, key_schema_id.map(i64::from));
    out.put_slice(b",\"value_schema_id\":");
    push_optional_number(out, value_schema_id.map(i64::from));
    out.put_u8(b'}');
}

/// Appends `{"error_code":…,"message":…}`, as both APIs have it.
pub fn push_error(out: &mut BytesMut, error_code: i32, message: &str) {
    out.put_slice(b"{\"error_code\":");
    push_number(out, error_code.into());
    out.put_slice(b",\"message\":");
    push_string(out, message);
    out.put_u8(b'}');
}

/// What is told of a delivered record beside topic, key, value, partition and offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeliveredFields {
    /// `timestamp`, in milliseconds.
    pub timestamp: bool,
    /// `headers`, values in base64; absent where the record has none.
    pub headers: bool,
}

/// How JSON of a record stands in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Layout {
    /// As it was written.
    #[default]
    AsWritten,
    /// Without line breaks, for answers in which a line is a record. JSON has them between tokens only.
    OneLine,
}

impl Layout {
    /// To JSON that was written.
    pub(crate) fn apply(self, json: &mut [u8]) {
        if self == Self::OneLine {
            json.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        }
    }
}

/// Writes the answer to a read: an array of records.
pub struct V2Records {
    out: BytesMut,
    format: Format,
    fields: DeliveredFields,
    is_first: bool,
}

impl V2Records {
    /// Begins an answer at the end of `out`.
    #[must_use]
    pub fn new(mut out: BytesMut, format: Format, fields: DeliveredFields) -> Self {
        out.put_u8(b'[');
        Self { out, format, fields, is_first: true }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// As [`push_delivered`]; the answer is then as it was before and may be finished.
    pub fn push(&mut self, record: &Delivered<'_>) -> Result<(), FormatError> {
        let before = self.out.len();
        if !self.is_first {
            self.out.put_u8(b',');
        }
        let pushed = push_delivered(&mut self.out, self.format, self.fields, Layout::AsWritten, record);
        match &pushed {
            Ok(()) => self.is_first = false,
            Err(_) => self.out.truncate(before),
        }
        pushed
    }

    /// Bytes so far: what `max_bytes` of a read is compared with.
    #[must_use]
    pub fn length(&self) -> usize {
        self.out.len()
    }

    /// Ends the array.
    #[must_use]
    pub fn finish(mut self) -> BytesMut {
        self.out.put_u8(b']');
        self.out
    }
}

/// Appends one record as an object. For formats with schemas, key and value are to be their JSON text.
///
/// # Errors
/// `FormatMismatch`, naming the offset, when key or value are not of the format; `out` is then as it was before.
pub fn push_delivered(
    out: &mut BytesMut,
    format: Format,
    fields: DeliveredFields,
    layout: Layout,
    record: &Delivered<'_>,
) -> Result<(), FormatError> {
    let before = out.len();
    out.put_slice(b"{\"topic\":");
    push_string(out, record.topic);
    for (name, bytes) in [("key", record.key), ("value", record.value)] {
        let _ = write!(out, ",\"{name}\":");
        if !push_embedded(out, format, layout, bytes) {
            out.truncate(before);
            return Err(not_of_format(format, name, record));
        }
    }
    out.put_slice(b",\"partition\":");
    push_number(out, record.partition.into());
    out.put_slice(b",\"offset\":");
    push_number(out, record.offset);
    if fields.timestamp {
        out.put_slice(b",\"timestamp\":");
        push_optional_number(out, record.timestamp);
    }
    if fields.headers && !record.headers.is_empty() {
        push_headers(out, record.headers);
    }
    out.put_u8(b'}');
    Ok(())
}

/// Appends a key or value. False when the bytes are not of the format: what was appended is to be taken back.
pub(super) fn push_embedded(out: &mut BytesMut, format: Format, layout: Layout, bytes: Option<&[u8]>) -> bool {
    let Some(bytes) = bytes else {
        out.put_slice(b"null");
        return true;
    };
    match format {
        Format::Binary => push_base64(out, bytes),
        Format::Text => match std::str::from_utf8(bytes) {
            Ok(text) => push_string(out, text),
            Err(_) => return false,
        },
        Format::Json | Format::Avro | Format::JsonSchema | Format::Protobuf => {
            // Deeper than we read is still JSON, but no reader should be given what we would refuse.
            if !is_json(bytes, usize::MAX) {
                return false;
            }
            let start = out.len();
            out.put_slice(bytes);
            layout.apply(out.get_mut(start..).unwrap_or_default());
        }
    }
    true
}

/// By the widest instructions that the machine has.
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// Appends bytes as base64 in a string.
pub(crate) fn push_base64(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u8(b'"');
    let start = out.len();
    // Four characters for three bytes: what a buffer in memory has cannot overflow.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = BASE64.encode_slice(bytes, room).unwrap_or_default();
    out.truncate(start + written);
    out.put_u8(b'"');
}

fn push_headers(out: &mut BytesMut, headers: &[(&str, Option<&[u8]>)]) {
    out.put_slice(b",\"headers\":[");
    for (index, (name, value)) in headers.iter().enumerate() {
        out.put_slice(if index == 0 { b"{\"key\":" } else { b",{\"key\":" });
        push_string(out, name);
        out.put_slice(b",\"value\":");
        match value {
            Some(value) => push_base64(out, value),
            None => out.put_slice(b"null"),
        }
        out.put_u8(b'}');
    }
    out.put_u8(b']');
}

/// Appends a number.
pub(super) fn push_number(out: &mut BytesMut, number: i64) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn push_optional_number(out: &mut BytesMut, number: Option<i64>) {
    match number {
        Some(number) => push_number(out, number),
        None => out.put_slice(b"null"),
    }
}

fn not_of_format(format: Format, part: &str, record: &Delivered<'_>) -> FormatError {
    let what = if format == Format::Text { "UTF-8 text" } else { "JSON" };
    let Delivered { topic, partition, offset, .. } = record;
    let text = format!(
        "the {part} at offset {offset} of partition {partition} of topic {topic} is not {what}: read it as binary"
    );
    FormatError::new(Code::FormatMismatch, text)
}
