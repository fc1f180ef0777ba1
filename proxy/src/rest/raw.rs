//! `POST /v1/topics/{topic}/records`: the body is the value. Web hooks and devices need no envelope.
//!
//! Arrives: any bytes; key, partition, timestamp and headers from the query or from `Kafka-*` header fields. Leaves: where the record
//! was written, under a status that tells the truth. `DELETE` with a key writes a tombstone. CloudEvents are recognised. What must never happen here: a field
//! that was given twice, once of them ignored.

use std::borrow::Cow;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::Body;
use serde::Serialize;

use super::bridge::Bridge;
use super::cloud_events::{self, EventOptions, Mode, Stored};
use super::formats::Placed;
use super::front::{Posted, unescaped, words};
use super::idempotency::Turn;
use super::pool::{Delivery, Refusal};
use super::record::Record;
use super::{Caller, Code, Error, refusal, send};

/// Posts one record.
///
/// # Errors
/// Whatever keeps the record from being written.
pub async fn post<B>(
    bridge: &Bridge,
    (caller, turn): (&Caller, Option<&Turn>),
    topic: &str,
    parts: &Parts,
    body: B,
) -> Result<Posted, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut fields = Fields::of(parts)?;
    let mode = if parts.method == Method::POST { Mode::of(&parts.headers)? } else { None };
    let options = fields.event_options(mode)?;
    let record = fields.record()?;
    let (body, hold) = bridge.room.read(&parts.headers, body).await?;
    let records = match mode {
        Some(mode) => {
            let events = cloud_events::read(mode, &parts.headers, &body, options, &bridge.formats)?;
            placed_as(record, events, mode)?
        }
        None => vec![plain(record, &parts.method, body)?],
    };
    let most = bridge.settings.limits.max_record_bytes;
    if records.iter().any(|record| record.size() > most) {
        return Err(Code::TooLarge.with(format!("the record is larger than {most} bytes (limits.max_record_bytes)")));
    }
    if records.is_empty() {
        return Ok(Posted { response: answer(StatusCode::OK, &Batch { records: vec![] })?, delivery: None });
    }
    let delivery = send::all(bridge, (caller, turn), (topic, None), &records, hold).await?;
    let response = match mode {
        Some(Mode::Batched) => batch(topic, &delivery)?,
        _ => match delivery.outcomes().next().map(|outcome| written(topic, outcome)) {
            Some(Ok(written)) => answer(StatusCode::OK, &written)?,
            Some(Err(error)) => error.into_response(),
            None => Code::Internal.with("a record without an outcome").into_response(),
        },
    };
    Ok(Posted { response, delivery: Some(delivery) })
}

fn plain(mut record: Record, method: &Method, body: Bytes) -> Result<Record, Error> {
    if method == Method::POST {
        record.value = Some(body);
    } else if record.key.is_none() || !body.is_empty() {
        return Err(Code::BadRequest.with("a delete needs a key and no body"));
    }
    Ok(record)
}

/// Events, with what the request says beside them. Of several at once only the partition can be meant.
fn placed_as(beside: Record, mut events: Vec<Record>, mode: Mode) -> Result<Vec<Record>, Error> {
    if mode == Mode::Batched && (beside.key.is_some() || beside.timestamp.is_some() || !beside.headers.is_empty()) {
        return Err(Code::BadRequest.with("key, timestamp and headers cannot be those of all events of a batch"));
    }
    for event in &mut events {
        if let Some(key) = &beside.key {
            event.key = Some(key.clone());
        }
        event.partition = beside.partition.or(event.partition);
        event.timestamp = beside.timestamp.or(event.timestamp);
        event.headers.extend(beside.headers.iter().cloned());
    }
    Ok(events)
}

/// Each event's outcome, in their order; the status is that of the first that failed.
fn batch(topic: &str, delivery: &Delivery) -> Result<Response, Error> {
    let mut status = StatusCode::OK;
    let mut records = Vec::with_capacity(delivery.outcomes().len());
    for outcome in delivery.outcomes() {
        records.push(match written(topic, outcome) {
            Ok(written) => BatchOutcome::Written(written),
            Err(error) => {
                if status == StatusCode::OK {
                    status = error.code.status();
                }
                BatchOutcome::Refused { error_code: error.code.number(), message: error.message }
            }
        });
    }
    answer(status, &Batch { records })
}

fn written<'t>(topic: &'t str, outcome: Option<&Result<Placed, Refusal>>) -> Result<Written<'t>, Error> {
    let refused = match outcome {
        Some(Ok(Placed { partition, offset, timestamp })) => {
            return Ok(Written { topic, partition: *partition, offset: *offset, timestamp: *timestamp });
        }
        Some(Err(error)) => *error,
        None => Refusal::RequestTimedOut,
    };
    let (code, message) = refusal::of_record(refused);
    Err(code.with(message))
}

fn answer(status: StatusCode, value: &impl Serialize) -> Result<Response, Error> {
    let body = serde_json::to_vec(value).map_err(|_| Code::Internal.with("the answer cannot be written"))?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

#[derive(Serialize)]
struct Batch<'a> {
    records: Vec<BatchOutcome<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum BatchOutcome<'a> {
    Written(Written<'a>),
    Refused { error_code: u32, message: Cow<'static, str> },
}

#[derive(Serialize)]
struct Written<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
}

/// What stands beside the value. A query's words and header fields mean the same.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fields {
    key: Option<Bytes>,
    partition: Option<String>,
    timestamp: Option<String>,
    event_key: Option<String>,
    event_mode: Option<String>,
    headers: Vec<(String, Option<Bytes>)>,
}

impl Fields {
    fn of(parts: &Parts) -> Result<Self, Error> {
        let mut fields = Self::default();
        if let Some(query) = parts.uri.query() {
            fields.take_query(query)?;
        }
        fields.take_headers(&parts.headers)?;
        Ok(fields)
    }

    fn take_query(&mut self, query: &str) -> Result<(), Error> {
        for (name, value) in words(query) {
            let malformed = || Code::BadRequest.with("the query is not well-formed");
            let (name, value) = (text(name).ok_or_else(malformed)?, bytes_of(value).ok_or_else(malformed)?);
            match name.strip_prefix("header.") {
                Some(header) if !header.is_empty() => self.headers.push((header.to_owned(), Some(value.into()))),
                _ => self.take(&name, &value)?,
            }
        }
        Ok(())
    }

    fn take_headers(&mut self, headers: &HeaderMap) -> Result<(), Error> {
        for (name, value) in headers {
            let Some(field) = name.as_str().strip_prefix("kafka-") else { continue };
            match field.strip_prefix("header-") {
                Some(header) if !header.is_empty() => {
                    self.headers.push((header.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes()))));
                }
                _ => self.take(&field.replace('-', "_"), value.as_bytes())?,
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        let as_text = || String::from_utf8(value.to_vec()).map_err(|_| Code::BadRequest.with("a field is not text"));
        match name {
            "key" => once(&mut self.key, Bytes::copy_from_slice(value), name),
            "key_base64" => {
                let decoded = STANDARD.decode(value).map_err(|_| Code::BadRequest.with("the key is not base64"))?;
                once(&mut self.key, decoded.into(), name)
            }
            "partition" => once(&mut self.partition, as_text()?, name),
            "timestamp" => once(&mut self.timestamp, as_text()?, name),
            "event_key" => once(&mut self.event_key, as_text()?, name),
            "event_mode" => once(&mut self.event_mode, as_text()?, name),
            _ => Err(Code::BadRequest
                .with("known are key, key_base64, partition, timestamp, event_key, event_mode, and header.NAME")),
        }
    }

    /// What is asked for events; asked for anything else it is a mistake.
    fn event_options(&mut self, mode: Option<Mode>) -> Result<EventOptions, Error> {
        let (key, stored) = (self.event_key.take(), self.event_mode.take());
        if mode.is_none() && (key.is_some() || stored.is_some()) {
            return Err(Code::BadRequest.with("event_key and event_mode are for CloudEvents"));
        }
        let key_of_partitionkey = match key.as_deref() {
            None => false,
            Some("partitionkey") => true,
            Some(_) => return Err(Code::BadRequest.with("event_key can be partitionkey")),
        };
        let stored = match stored.as_deref() {
            None | Some("as-sent") => Stored::AsSent,
            Some("binary") => Stored::Binary,
            Some(_) => return Err(Code::BadRequest.with("event_mode can be as-sent or binary")),
        };
        Ok(EventOptions { key_of_partitionkey, stored })
    }

    fn record(self) -> Result<Record, Error> {
        let partition = self.partition.map(|text| text.parse().ok().filter(|one| *one >= 0).ok_or(())).transpose();
        let timestamp = self.timestamp.map(|text| text.parse().ok().filter(|one| *one >= 0).ok_or(())).transpose();
        Ok(Record {
            key: self.key,
            value: None,
            partition: partition.map_err(|()| Code::BadRequest.with("the partition is not a number from 0"))?,
            timestamp: timestamp
                .map_err(|()| Code::BadRequest.with("the timestamp is not in milliseconds since 1970"))?,
            headers: self.headers,
        })
    }
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), Error> {
    if slot.is_some() {
        return Err(Code::BadRequest.with(format!("{} is given twice", name.trim_end_matches("_base64"))));
    }
    *slot = Some(value);
    Ok(())
}

/// Bytes of a query's word: percent signs decoded, plus signs are spaces.
fn bytes_of(word: &str) -> Option<Vec<u8>> {
    unescaped(&word.replace('+', " "))
}

fn text(word: &str) -> Option<String> {
    String::from_utf8(bytes_of(word)?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(uri: &str, headers: &[(&'static str, &str)]) -> Result<Record, Error> {
        let mut request = axum::http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Fields::of(&request.body(()).unwrap().into_parts().0)?.record()
    }

    #[test]
    fn query_and_headers_say_the_same() {
        let record = fields("/v1/topics/a/records?key=a%20b+c&partition=3&timestamp=5&header.n=v", &[]).unwrap();
        let given =
            [("kafka-key", "a b c"), ("Kafka-Partition", "3"), ("kafka-timestamp", "5"), ("kafka-header-n", "v")];
        assert_eq!(fields("/", &given).unwrap(), record);
        assert_eq!(record.key.as_deref(), Some(&b"a b c"[..]));
        assert_eq!((record.partition, record.timestamp), (Some(3), Some(5)));
        assert_eq!(fields("/?key_base64=AP8%3D", &[]).unwrap().key.as_deref(), Some(&[0, 255][..]));
        assert_eq!(fields("/?key=", &[]).unwrap().key.as_deref(), Some(&b""[..]));
        assert_eq!(fields("/", &[("content-type", "x")]).unwrap(), Record::default());
    }

    #[test]
    fn what_is_given_twice_or_unknown_is_refused() {
        for uri in [
            "/?key=a&key=b",
            "/?key=a&key_base64=YQ",
            "/?key_base64=%",
            "/?key_base64=*",
            "/?partition=-1",
            "/?topic=b",
        ] {
            assert_eq!(fields(uri, &[]).unwrap_err().code, Code::BadRequest, "{uri}");
        }
        assert!(fields("/?key=a", &[("kafka-key", "b")]).is_err());
        assert!(fields("/?timestamp=now", &[]).is_err());
    }
}
