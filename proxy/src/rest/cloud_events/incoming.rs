//! Events of a request to records.
//!
//! Headers and body arrive, records leave: one for binary and structured mode, one for each event of a batch.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;

use super::attribute::{Required, decode, refused};
use super::event::Event;
use super::{CONTENT_TYPE_HEADER, EventOptions, Mode, STRUCTURED_TYPE, Stored};
use crate::rest::Code;
use crate::rest::formats::{FormatError, Limits, Scanner, Scratch};
use crate::rest::record::Record;

/// Reads the events of a request. Only an empty batch has none.
///
/// # Errors
/// `BadRequest` for what is no JSON, `Unprocessable` for what is no event, `InvalidPayload` for data that cannot be
/// decoded, `TooLarge` beyond the limits.
pub fn read(
    mode: Mode,
    headers: &HeaderMap,
    body: &Bytes,
    options: EventOptions,
    limits: &Limits,
) -> Result<Vec<Record>, FormatError> {
    let records = match mode {
        Mode::Binary => vec![binary(headers, body, options, limits)?],
        Mode::Structured => {
            let mut reader = Reader { body, options, scratch: Scratch::new(body.len()) };
            let mut scanner = Scanner::new(body, 0, limits.max_depth)?;
            let record = reader.event(&mut scanner)?;
            scanner.end()?;
            vec![record]
        }
        Mode::Batched => batched(body, options, limits)?,
    };
    for (index, record) in records.iter().enumerate() {
        if record.size() > limits.max_record_bytes {
            let text = format!("{} bytes are beyond the limit of {}", record.size(), limits.max_record_bytes);
            return Err(FormatError::new(Code::TooLarge, text).in_record(index));
        }
    }
    Ok(records)
}

/// HTTP binding 3.1 to Kafka binding 3.2.
fn binary(headers: &HeaderMap, body: &Bytes, options: EventOptions, limits: &Limits) -> Result<Record, FormatError> {
    let mut record = Record::default();
    let mut required = Required::default();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        if name == "datacontenttype" {
            return Err(refused("the type of the data stands in content-type, not in ce-datacontenttype"));
        }
        let value = decode(value.as_bytes()).ok_or_else(|| refused("the value of a ce- header is not utf-8"))?;
        required.see(name, &value)?;
        let key = format!("ce_{name}");
        if record.headers.iter().any(|(known, _)| *known == key) {
            return Err(refused("a ce- header is there twice"));
        }
        if record.headers.len() == limits.max_headers {
            return Err(refused(format!("more than {} attributes", limits.max_headers)));
        }
        if options.key_of_partitionkey && name == "partitionkey" {
            record.key = Some(Bytes::from(value.clone()));
        }
        record.headers.push((key, Some(Bytes::from(value))));
    }
    required.check()?;
    if let Some(content_type) = headers.get(CONTENT_TYPE) {
        let value = Bytes::copy_from_slice(content_type.as_bytes());
        record.headers.push((CONTENT_TYPE_HEADER.to_owned(), Some(value)));
    }
    // An event without data is a record without a value (Kafka binding 3.2.2).
    record.value = (!body.is_empty()).then(|| body.clone());
    Ok(record)
}

/// JSON format 4: an array of events.
fn batched(body: &Bytes, options: EventOptions, limits: &Limits) -> Result<Vec<Record>, FormatError> {
    let mut reader = Reader { body, options, scratch: Scratch::new(body.len()) };
    let mut scanner = Scanner::new(body, 0, limits.max_depth)?;
    let mut records = Vec::new();
    scanner.elements(|scanner, index| {
        if index == limits.max_records {
            let text = format!("more than {index} events in one request: send several requests");
            return Err(FormatError::new(Code::TooLarge, text).in_record(index));
        }
        records.push(reader.event(scanner).map_err(|error| error.in_record(index))?);
        Ok(())
    })?;
    scanner.end()?;
    Ok(records)
}

/// Takes events out of one body.
struct Reader<'a> {
    body: &'a Bytes,
    options: EventOptions,
    scratch: Scratch,
}

impl Reader<'_> {
    fn event(&mut self, scanner: &mut Scanner<'_>) -> Result<Record, FormatError> {
        scanner.peek();
        let start = scanner.offset();
        let event = Event::scan(scanner)?;
        let key = event.attribute("partitionkey").filter(|_| self.options.key_of_partitionkey);
        let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let (value, headers) = match self.options.stored {
            Stored::AsSent => {
                let content_type = Bytes::from_static(STRUCTURED_TYPE.as_bytes());
                let headers = vec![(CONTENT_TYPE_HEADER.to_owned(), Some(content_type))];
                (Some(self.body.slice(start..scanner.offset())), headers)
            }
            Stored::Binary => {
                let value = event.data(self.body, &mut self.scratch)?;
                (value, event.into_headers())
            }
        };
        Ok(Record { key, value, headers, ..Record::default() })
    }
}

impl Event {
    /// The headers of a record in binary mode.
    pub(super) fn into_headers(self) -> Vec<(String, Option<Bytes>)> {
        let content_type = self.content_type().map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let attributes = self.attributes.into_iter().filter(|(name, _)| name != "datacontenttype");
        let mut headers: Vec<_> =
            attributes.map(|(name, value)| (format!("ce_{name}"), Some(Bytes::from(value)))).collect();
        if content_type.is_some() {
            headers.push((CONTENT_TYPE_HEADER.to_owned(), content_type));
        }
        headers
    }
}
