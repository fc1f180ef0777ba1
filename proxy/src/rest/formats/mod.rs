//! Bodies of requests to records, and records to bodies of answers.
//!
//! Pure functions on bytes: nothing here knows a socket, a topic's policy or a registry. JSON is scanned in place and
//! never becomes a tree; what a record needs of a body is a slice of it, and what must be decoded goes into one buffer
//! for the whole request. What must never happen here: a panic or an unbounded allocation for a byte of a client,
//! record bytes in an error's text, a null taken for empty bytes.

mod error;
mod scan;
mod escape;
mod scratch;
mod produce_v2;
mod splitter;
mod record_v3;
mod batch_v3;
mod reply_v2;
mod reply_v3;

pub use batch_v3::{BatchEntry, parse_v3_batch};
pub use error::FormatError;
pub use escape::push_string;
pub use produce_v2::{ProduceBody, parse_v2};
pub(crate) use record_v3::parse_v3_into;
pub use record_v3::{Part, SchemaChoice, SubjectNameStrategy, V3Record, parse_v3};
pub(crate) use reply_v2::push_base64;
pub use reply_v2::{DeliveredFields, Layout, Placed, Refused, V2Records, push_delivered, push_error, push_v2_produced};
pub use reply_v3::{PlacedPart, V3Batch, V3Placed, push_v3_placed};
pub use scan::is_json;
pub(crate) use scan::{Scanner, Text};
pub(crate) use scratch::Scratch;
pub use splitter::{Piece, Splitter};

/// How keys and values stand in a JSON body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// Base64 in a string.
    Binary,
    /// Any JSON value; its text is the bytes, as it was written.
    Json,
    /// A string; its characters in UTF-8 are the bytes.
    Text,
    /// Avro's JSON encoding, with a schema of the registry.
    Avro,
    /// JSON that a schema of the registry describes.
    JsonSchema,
    /// Protobuf's JSON mapping, with a schema of the registry.
    Protobuf,
}

impl Format {
    /// The format of a v2 media type, without its parameters: the embedded formats, their v1 ancestors, and the plain
    /// types that mean binary on produce. Case does not count.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match essence.as_str() {
            "application/vnd.kafka.binary.v2+json"
            | "application/vnd.kafka.binary.v1+json"
            | "application/vnd.kafka.v2+json"
            | "application/vnd.kafka.v1+json"
            | "application/vnd.kafka+json"
            | "application/json"
            | "application/octet-stream" => Self::Binary,
            "application/vnd.kafka.json.v2+json" | "application/vnd.kafka.json.v1+json" => Self::Json,
            "application/vnd.kafka.text.v2+json" => Self::Text,
            "application/vnd.kafka.avro.v2+json" | "application/vnd.kafka.avro.v1+json" => Self::Avro,
            "application/vnd.kafka.jsonschema.v2+json" => Self::JsonSchema,
            "application/vnd.kafka.protobuf.v2+json" => Self::Protobuf,
            _ => return None,
        })
    }

    /// The format of a consumer's `format` setting.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "binary" => Self::Binary,
            "json" => Self::Json,
            "text" => Self::Text,
            "avro" => Self::Avro,
            "jsonschema" => Self::JsonSchema,
            "protobuf" => Self::Protobuf,
            _ => return None,
        })
    }

    /// The v2 media type that answers of this format have.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Binary => "application/vnd.kafka.binary.v2+json",
            Self::Json => "application/vnd.kafka.json.v2+json",
            Self::Text => "application/vnd.kafka.text.v2+json",
            Self::Avro => "application/vnd.kafka.avro.v2+json",
            Self::JsonSchema => "application/vnd.kafka.jsonschema.v2+json",
            Self::Protobuf => "application/vnd.kafka.protobuf.v2+json",
        }
    }

    /// The `type` of a key or value in v3.
    #[must_use]
    pub const fn v3_type(self) -> &'static str {
        match self {
            Self::Binary => "BINARY",
            Self::Json => "JSON",
            Self::Text => "STRING",
            Self::Avro => "AVRO",
            Self::JsonSchema => "JSONSCHEMA",
            Self::Protobuf => "PROTOBUF",
        }
    }

    /// The format of a v3 `type`.
    #[must_use]
    pub fn of_v3_type(name: &str) -> Option<Self> {
        let all = [Self::Binary, Self::Json, Self::Text, Self::Avro, Self::JsonSchema, Self::Protobuf];
        all.into_iter().find(|format| format.v3_type() == name)
    }

    /// Whether bytes of this format are made and read with a schema of the registry.
    #[must_use]
    pub const fn has_schema(self) -> bool {
        matches!(self, Self::Avro | Self::JsonSchema | Self::Protobuf)
    }
}

/// What a body may be at most. The body's own length is bounded by who reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Records in one body.
    pub max_records: usize,
    /// Bytes of key, value and headers of one record; in a stream, bytes of one record's JSON text too.
    pub max_record_bytes: usize,
    /// Objects and arrays inside each other, counted from the body's own; 127 at most.
    pub max_depth: usize,
    /// Headers of one record.
    pub max_headers: usize,
    /// Entries of one `records:batch`.
    pub max_batch_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // An empty record takes three bytes of a body and a hundred of memory: 64 Ki of them are 7 MiB.
            max_records: 65_536,
            // Kafka's own `max.message.bytes` is 1 MiB; base64 and an envelope come on top.
            max_record_bytes: 4 * 1024 * 1024,
            max_depth: 100,
            max_headers: 256,
            max_batch_entries: 10,
        }
    }
}

#[cfg(test)]
mod tests;
