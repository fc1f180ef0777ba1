//! What readers are shown of a record: its parts in a format, or the event that it is.
//!
//! Arrives: a record. Leaves: JSON, as a line of its own or as an element of an array. What must never happen here: half of a record after
//! an error.

use bytes::BytesMut;

use super::cloud_events::{EventBatch, push_structured};
use super::formats::{DeliveredFields, Format, FormatError, Layout, V2Records, push_delivered};
use super::record::Delivered;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Topic, place, key, value and headers.
    Parts(Format),
    /// A CloudEvent in structured mode.
    Event,
}

/// An array of what is shown.
pub enum Listing {
    /// Of parts.
    Parts(V2Records),
    /// Of events: a batch.
    Events(EventBatch),
}

impl View {
    /// The view of a word: `binary`, `json`, `text`, `cloudevents`. Formats with schemas need more than a word.
    pub fn of_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("cloudevents") {
            return Some(Self::Event);
        }
        Format::of_name(name).filter(|format| !format.has_schema()).map(Self::Parts)
    }

    /// The view that a content type names.
    pub fn of_content_type(content_type: &str, format: Format) -> Self {
        if content_type == EVENTS { Self::Event } else { Self::Parts(format) }
    }

    /// Appends a record without a line break.
    ///
    /// # Errors
    /// `FormatMismatch`, naming the offset, for what cannot be shown so; `out` is then as it was before.
    pub fn push_line(self, out: &mut BytesMut, record: &Delivered<'_>) -> Result<(), FormatError> {
        match self {
            Self::Parts(format) => push_delivered(out, format, FIELDS, Layout::OneLine, record),
            Self::Event => push_structured(out, Layout::OneLine, record),
        }
    }

    /// An array with nothing in it.
    pub fn listing(self) -> Listing {
        match self {
            Self::Parts(format) => Listing::Parts(V2Records::new(BytesMut::new(), format, FIELDS)),
            Self::Event => Listing::Events(EventBatch::new(BytesMut::new())),
        }
    }
}

impl Listing {
    /// Appends a record.
    ///
    /// # Errors
    /// As [`View::push_line`]; the array may then be finished.
    pub fn push(&mut self, record: &Delivered<'_>) -> Result<(), FormatError> {
        match self {
            Self::Parts(records) => records.push(record),
            Self::Events(events) => events.push(record),
        }
    }

    /// Bytes so far.
    pub fn length(&self) -> usize {
        match self {
            Self::Parts(records) => records.length(),
            Self::Events(events) => events.length(),
        }
    }

    /// Ends the array.
    pub fn finish(self) -> BytesMut {
        match self {
            Self::Parts(records) => records.finish(),
            Self::Events(events) => events.finish(),
        }
    }
}

/// The content type of an array of events.
pub const EVENTS: &str = "application/cloudevents-batch+json";

/// All that is known of a record.
const FIELDS: DeliveredFields = DeliveredFields { timestamp: true, headers: true };

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const EVENT: &[u8] = b"{\"specversion\":\"1.0\",\"id\":\"1\",\n\"source\":\"/s\",\"type\":\"t\"}";

    fn record<'a>(headers: &'a [(&'a str, Option<&'a [u8]>)], value: &'a [u8]) -> Delivered<'a> {
        Delivered { topic: "t", partition: 0, offset: 7, timestamp: Some(1), key: None, value: Some(value), headers }
    }

    #[test]
    fn an_event_is_shown_as_it_was_written_and_what_is_none_is_named() {
        let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
        let mut out = BytesMut::from("x");
        View::Event.push_line(&mut out, &record(&headers, EVENT)).unwrap();
        assert!(out.starts_with(b"x{\"specversion\"") && !out.contains(&b'\n'));
        let length = out.len();
        let error = View::Event.push_line(&mut out, &record(&[], b"plain")).unwrap_err().to_string();
        assert!(error.contains("offset 7") && out.len() == length, "{error}");
        let mut listing = View::Event.listing();
        listing.push(&record(&headers, EVENT)).unwrap();
        assert!(listing.push(&record(&[], b"plain")).is_err());
        listing.push(&record(&headers, EVENT)).unwrap();
        assert!(listing.length() > 2 * EVENT.len());
        let events: serde_json::Value = serde_json::from_slice(&listing.finish()).unwrap();
        assert_eq!(events.as_array().unwrap().len(), 2);
    }

    #[test]
    fn views_have_names() {
        assert_eq!(View::of_name("CloudEvents"), Some(View::Event));
        assert_eq!(View::of_name("text"), Some(View::Parts(Format::Text)));
        assert_eq!(View::of_name("avro"), None);
        assert_eq!(View::of_content_type(EVENTS, Format::Json), View::Event);
    }
}
