//! Records to events of an answer.
//!
//! A delivered record in either mode of the Kafka binding arrives; a JSON event, a batch of them, or the headers and
//! body of a binary message leave. A record that is no event is an error with its offset, never half of one.

use std::borrow::Cow;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{BufMut, Bytes, BytesMut};

use super::attribute::{Required, encode, is_name};
use super::event::Event;
use super::{CONTENT_TYPE_HEADER, Kind, essence, is_json_type};
use crate::rest::Code;
use crate::rest::formats::{FormatError, Layout, Scanner, Scratch, is_json, push_base64, push_string};
use crate::rest::record::Delivered;

/// Whether a record says that it is an event: by its content type, or by the attributes that every event has.
#[must_use]
pub fn is_event(record: &Delivered<'_>) -> bool {
    kind(record) == Kind::Structured
        || ["ce_specversion", "ce_id", "ce_source", "ce_type"].iter().all(|name| record.header(name).is_some())
}

/// Appends a record as an event in structured mode: `application/cloudevents+json`.
///
/// # Errors
/// `FormatMismatch`, naming the offset, for a record that is no event; `out` is then as it was before.
pub fn push_structured(out: &mut BytesMut, layout: Layout, record: &Delivered<'_>) -> Result<(), FormatError> {
    let before = out.len();
    let pushed = match kind(record) {
        Kind::Structured => push_as_written(out, record),
        Kind::Other => push_binary(out, record),
        Kind::Batched | Kind::Foreign => Err(Cow::Borrowed("its event format is not JSON")),
    };
    match pushed {
        Ok(()) => {
            layout.apply(out.get_mut(before..).unwrap_or_default());
            Ok(())
        }
        Err(reason) => {
            out.truncate(before);
            Err(no_event(record, &reason))
        }
    }
}

/// A record as headers and body of an HTTP message in binary mode (HTTP binding 3.1). No body for an event without data.
///
/// # Errors
/// As [`push_structured`].
pub fn to_binary(record: &Delivered<'_>) -> Result<(HeaderMap, Option<Bytes>), FormatError> {
    let owned = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
    let (attributes, body) = match kind(record) {
        Kind::Structured => {
            let source = owned(record.value).unwrap_or_default();
            let event = scan(&source).map_err(|reason| no_event(record, &reason))?;
            let body = event.data(&source, &mut Scratch::new(source.len()));
            let body = body.map_err(|error| no_event(record, &error.to_string()))?;
            (event.into_headers(), body)
        }
        Kind::Other => {
            check(record).map_err(|reason| no_event(record, &reason))?;
            let own = |(name, value): &(&str, Option<&[u8]>)| ((*name).to_owned(), owned(*value));
            (record.headers.iter().map(own).collect(), owned(record.value))
        }
        Kind::Batched | Kind::Foreign => return Err(no_event(record, "its event format is not JSON")),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in attributes {
        let text = String::from_utf8_lossy(value.as_deref().unwrap_or_default());
        let (name, value) = match name.strip_prefix("ce_") {
            Some(attribute) => (HeaderName::try_from(format!("ce-{attribute}")), HeaderValue::try_from(encode(&text))),
            None if name == CONTENT_TYPE_HEADER => (Ok(CONTENT_TYPE), HeaderValue::from_str(&text)),
            None => continue,
        };
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(no_event(record, "an attribute cannot stand in a header"));
        };
        headers.insert(name, value);
    }
    Ok((headers, body))
}

/// Writes events as a batch: `application/cloudevents-batch+json`.
pub struct EventBatch {
    out: BytesMut,
    is_first: bool,
}

impl EventBatch {
    /// Begins a batch at the end of `out`.
    #[must_use]
    pub fn new(mut out: BytesMut) -> Self {
        out.put_u8(b'[');
        Self { out, is_first: true }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// As [`push_structured`]; the batch is then as it was before and may be finished.
    pub fn push(&mut self, record: &Delivered<'_>) -> Result<(), FormatError> {
        let before = self.out.len();
        if !self.is_first {
            self.out.put_u8(b',');
        }
        let pushed = push_structured(&mut self.out, Layout::AsWritten, record);
        match &pushed {
            Ok(()) => self.is_first = false,
            Err(_) => self.out.truncate(before),
        }
        pushed
    }

    /// Bytes so far.
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

fn kind(record: &Delivered<'_>) -> Kind {
    let content_type = record.header(CONTENT_TYPE_HEADER).and_then(|value| std::str::from_utf8(value).ok());
    content_type.map_or(Kind::Other, Kind::of)
}

fn scan(value: &[u8]) -> Result<Event, Cow<'static, str>> {
    let scanned = || {
        let mut scanner = Scanner::new(value, 0, usize::MAX)?;
        let event = Event::scan(&mut scanner)?;
        scanner.end()?;
        Ok(event)
    };
    scanned().map_err(|error: FormatError| Cow::Owned(error.to_string()))
}

fn push_as_written(out: &mut BytesMut, record: &Delivered<'_>) -> Result<(), Cow<'static, str>> {
    let value = record.value.unwrap_or_default();
    scan(value)?;
    out.put_slice(value.trim_ascii());
    Ok(())
}

/// The attributes of a record in binary mode: name, value.
fn attributes<'a>(record: &Delivered<'a>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    record.headers.iter().filter_map(|(name, value)| Some((name.strip_prefix("ce_")?, (*value)?)))
}

fn check(record: &Delivered<'_>) -> Result<(), Cow<'static, str>> {
    let mut required = Required::default();
    let mut names = Vec::new();
    for (name, value) in attributes(record) {
        let value = std::str::from_utf8(value).map_err(|_| "an attribute is not utf-8")?;
        if !is_name(name) || names.contains(&name) {
            return Err(Cow::Borrowed("an attribute has a name that none can have, or is there twice"));
        }
        required.see(name, value).map_err(|error| error.to_string())?;
        names.push(name);
    }
    required.check().map_err(|error| Cow::Owned(error.to_string()))
}

fn push_binary(out: &mut BytesMut, record: &Delivered<'_>) -> Result<(), Cow<'static, str>> {
    check(record)?;
    for (index, (name, value)) in attributes(record).enumerate() {
        let value = std::str::from_utf8(value).map_err(|_| "an attribute is not utf-8")?;
        out.put_u8(if index == 0 { b'{' } else { b',' });
        push_string(out, name);
        out.put_u8(b':');
        push_string(out, value);
    }
    let content_type = record.header(CONTENT_TYPE_HEADER).map(std::str::from_utf8);
    let content_type = content_type.transpose().map_err(|_| "its content-type is not utf-8")?;
    if let Some(content_type) = content_type {
        out.put_slice(b",\"datacontenttype\":");
        push_string(out, content_type);
    }
    if let Some(value) = record.value {
        push_data(out, content_type, value);
    }
    out.put_u8(b'}');
    Ok(())
}

/// JSON as itself, text as a string, everything else as base64 (JSON format 3.1.1).
fn push_data(out: &mut BytesMut, content_type: Option<&str>, value: &[u8]) {
    if content_type.is_none_or(is_json_type) && is_json(value, usize::MAX) {
        out.put_slice(b",\"data\":");
        out.put_slice(value);
    } else if content_type.is_some_and(is_text_type)
        && let Ok(text) = std::str::from_utf8(value)
    {
        out.put_slice(b",\"data\":");
        push_string(out, text);
    } else {
        out.put_slice(b",\"data_base64\":");
        push_base64(out, value);
    }
}

/// Types whose data is characters, where those are UTF-8.
fn is_text_type(media_type: &str) -> bool {
    let essence = essence(media_type);
    let is_utf8 =
        !media_type.to_ascii_lowercase().contains("charset=") || media_type.to_ascii_lowercase().contains("utf-8");
    is_utf8 && (essence.starts_with("text/") || essence == "application/xml" || essence.ends_with("+xml"))
}

fn no_event(record: &Delivered<'_>, reason: &str) -> FormatError {
    let Delivered { topic, partition, offset, .. } = record;
    let text = format!(
        "the record at offset {offset} of partition {partition} of topic {topic} is no event: {reason}; \
         read it as binary"
    );
    FormatError::new(Code::FormatMismatch, text)
}
