//! CloudEvents 1.0.2 between HTTP and Kafka, by the specification's bindings of both protocols.
//!
//! A request in binary, structured or batched mode arrives, records leave; records of either Kafka mode arrive,
//! structured events, batches or a binary message leave. An event in structured mode is passed on as it was written. What
//! must never happen here: an event without its required attributes in a topic, no data taken for empty data.
//!
//! Sources: CloudEvents specification 1.0.2, its HTTP protocol binding 3, its Kafka protocol binding 3, its JSON event
//! format 2 to 4.

mod attribute;
mod event;
mod incoming;
mod outgoing;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

use super::Code;
use super::formats::FormatError;

pub use incoming::read;
pub use outgoing::{EventBatch, is_event, push_structured, to_binary};

/// How events stand in an HTTP message (HTTP binding 1.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Several events in a JSON array.
    Batched,
    /// The body is the data, headers that begin with `ce-` are the attributes.
    Binary,
    /// The body is the event in JSON, data included.
    Structured,
}

impl Mode {
    /// The mode of a request; nothing, when it says in no way that it is an event.
    ///
    /// # Errors
    /// `UnsupportedMediaType` for an event format other than JSON.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, FormatError> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match Kind::of(content_type) {
            Kind::Structured => Ok(Some(Self::Structured)),
            Kind::Batched => Ok(Some(Self::Batched)),
            Kind::Foreign => {
                let text = "events are read as application/cloudevents+json and application/cloudevents-batch+json";
                Err(FormatError::new(Code::UnsupportedMediaType, text))
            }
            Kind::Other if headers.contains_key("ce-specversion") => Ok(Some(Self::Binary)),
            Kind::Other => Ok(None),
        }
    }
}

/// What a record is made of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventOptions {
    /// Whether the attribute `partitionkey` is the record's key too (Kafka binding 3.1).
    pub key_of_partitionkey: bool,
    /// The Kafka mode of events that come in structured or batched mode.
    pub stored: Stored,
}

/// A mode of the Kafka binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stored {
    /// Attributes and data together are the record's value, as they were written.
    #[default]
    AsSent,
    /// The data is the record's value, headers that begin with `ce_` are the attributes.
    Binary,
}

/// What a media type says about events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Structured,
    Batched,
    /// Events in a format that is not read.
    Foreign,
    Other,
}

impl Kind {
    fn of(media_type: &str) -> Self {
        let essence = essence(media_type);
        match essence.as_str() {
            "application/cloudevents" | "application/cloudevents+json" => Self::Structured,
            "application/cloudevents-batch" | "application/cloudevents-batch+json" => Self::Batched,
            _ if essence.starts_with("application/cloudevents") => Self::Foreign,
            _ => Self::Other,
        }
    }
}

/// A media type without its parameters, in lower case.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a media type declares JSON (JSON format 3.1.1).
fn is_json_type(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// The header of a record that says its mode and, in binary mode, the type of its data.
const CONTENT_TYPE_HEADER: &str = "content-type";
/// What a record in structured mode says.
const STRUCTURED_TYPE: &str = "application/cloudevents+json; charset=UTF-8";
/// The type of data in a JSON event that does not say one.
const IMPLIED_TYPE: &str = "application/json";

#[cfg(test)]
mod tests;
