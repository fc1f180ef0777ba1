//! `GET /records`: what has come for an instance.
//!
//! Arrives: how long to wait and how much to take. Leaves: records, as soon as there are some; an empty list only when none came in
//! time. A record that does not fit, or is not of the format, is an error that names it, and is there again at the next read.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message, OwnedMessage};
use tokio::time::{Instant, timeout_at};

use super::instance::{Instance, Source};
use super::{find, told};
use crate::rest::accept::Wishes;
use crate::rest::bridge::Bridge;
use crate::rest::formats::Format;
use crate::rest::record::Delivered;
use crate::rest::view::{self, Listing, View};
use crate::rest::{Caller, Code, Error};

/// Reads.
pub async fn read(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let instance = find(&bridge, &caller, &path)?;
    let content_type = content_type(&headers, instance.format)?;
    let asked = Asked::of(&bridge, &instance, query.as_deref().unwrap_or_default())?;
    let mut state = instance.state().await;
    if state.source == Source::Nothing {
        let text = "Consumer is not subscribed to any topics or assigned any partitions";
        return Err(Code::IllegalState.with(text));
    }
    // Whoever reads on has got what was delivered before.
    instance.store(&state);
    let mut answer = Answer::new(&bridge, (instance.format, content_type), asked.most_bytes);
    let mut until = asked.until;
    loop {
        let message = match state.pending.take() {
            Some(pending) if is_assigned(&instance, &pending)? => pending,
            Some(_) => continue,
            None => match timeout_at(until, instance.kafka()?.recv()).await {
                Err(_) => break,
                Ok(Ok(message)) => message.detach(),
                Ok(Err(error)) if is_passing(&error) => continue,
                Ok(Err(_)) if answer.count > 0 => break,
                Ok(Err(error)) => return Err(told(&error)),
            },
        };
        match answer.push(&message).await {
            Ok(true) => {}
            Ok(false) => {
                state.pending = Some(message);
                break;
            }
            Err(error) => {
                state.pending = Some(message);
                if answer.count > 0 {
                    break;
                }
                return Err(error);
            }
        }
        state.positions.insert((message.topic().to_owned(), message.partition()), message.offset() + 1);
        // What comes along is taken along; nobody waits for more.
        until = until.min(Instant::now() + GATHERING).min(asked.until);
        if answer.count >= MOST_RECORDS {
            break;
        }
    }
    Ok(([(header::CONTENT_TYPE, content_type)], answer.records.finish().freeze()).into_response())
}

fn content_type(headers: &HeaderMap, format: Format) -> Result<&'static str, Error> {
    let v2 = ["application/vnd.kafka.v2+json", "application/vnd.kafka+json", "application/json"];
    let offered = [format.media_type(), v2[0], v2[1], v2[2], view::EVENTS];
    let mismatch = |_| Code::FormatMismatch.with("The consumer has another format than the request accepts");
    Wishes::of(headers).content_type(&offered).map_err(mismatch)
}

/// What a read asks for.
struct Asked {
    until: Instant,
    most_bytes: usize,
}

impl Asked {
    fn of(bridge: &Bridge, instance: &Instance, query: &str) -> Result<Self, Error> {
        let (mut wait, mut most_bytes) = (instance.request_timeout, bridge.settings.limits.max_body_bytes);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number =
                || value.parse::<i64>().map_err(|_| Code::BadRequest.with(format!("`{name}` is not a number")));
            match name {
                "timeout" => {
                    if let Ok(millis) = u64::try_from(number()?) {
                        wait = Duration::from_millis(millis).min(MOST_WAIT);
                    }
                }
                "max_bytes" => {
                    if let Ok(bytes) = usize::try_from(number()?) {
                        most_bytes = bytes.min(most_bytes);
                    }
                }
                _ => {}
            }
        }
        Ok(Self { until: Instant::now() + wait, most_bytes })
    }
}

/// The answer as far as it is written.
struct Answer<'b> {
    #[cfg_attr(not(feature = "schemas"), allow(dead_code))]
    bridge: &'b Bridge,
    records: Listing,
    view: View,
    format: Format,
    count: usize,
    bytes: usize,
    most_bytes: usize,
}

impl<'b> Answer<'b> {
    fn new(bridge: &'b Bridge, (format, content_type): (Format, &str), most_bytes: usize) -> Self {
        let view = View::of_content_type(content_type, format);
        Self { bridge, records: view.listing(), view, format, count: 0, bytes: 0, most_bytes }
    }

    /// False when the record does not fit any more. A record that would never fit is an error.
    async fn push(&mut self, message: &OwnedMessage) -> Result<bool, Error> {
        let headers: Vec<(&str, Option<&[u8]>)> = message
            .headers()
            .map(|headers| headers.iter().map(|header| (header.key, header.value)).collect())
            .unwrap_or_default();
        let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let of_headers: usize = headers.iter().map(|(name, value)| name.len() + length(*value)).sum();
        let bytes = length(message.key()) + length(message.payload()) + of_headers;
        if self.bytes.saturating_add(bytes) > self.most_bytes {
            if self.count > 0 {
                return Ok(false);
            }
            return Err(Code::TooLarge.with(format!(
                "the record at offset {} of partition {} of topic {} has {bytes} bytes, {} were asked for: ask for more, or seek past it",
                message.offset(),
                message.partition(),
                message.topic(),
                self.most_bytes
            )));
        }
        let key = self.shown(message.key()).await?;
        let value = self.shown(message.payload()).await?;
        self.records.push(&Delivered {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: key.as_ref().map_or(message.key(), |json| Some(json)),
            value: value.as_ref().map_or(message.payload(), |json| Some(json)),
            headers: &headers,
        })?;
        self.count += 1;
        self.bytes += bytes;
        Ok(true)
    }

    /// The JSON of bytes that have a schema; nothing for other formats.
    #[cfg(feature = "schemas")]
    async fn shown(&self, bytes: Option<&[u8]>) -> Result<Option<Bytes>, Error> {
        match &self.bridge.schemas {
            Some(schemas) if self.view != View::Event && self.format.has_schema() => {
                Ok(schemas.read(self.format, bytes).await?)
            }
            _ => Ok(None),
        }
    }

    #[cfg(not(feature = "schemas"))]
    async fn shown(&self, _: Option<&[u8]>) -> Result<Option<Bytes>, Error> {
        debug_assert!(!self.format.has_schema());
        Ok(None)
    }
}

fn is_assigned(instance: &Instance, message: &OwnedMessage) -> Result<bool, Error> {
    let assigned = instance.assigned()?;
    Ok(assigned.iter().any(|(topic, partition)| topic == message.topic() && *partition == message.partition()))
}

/// What the library mends by itself, and a topic that may come.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::PartitionEOF
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::PollExceeded
        )
    )
}

/// Partitions are fetched one after the other; what follows within this time belongs to the same answer.
const GATHERING: Duration = Duration::from_millis(20);
/// A longer read is several.
const MOST_WAIT: Duration = Duration::from_secs(300);
/// Of empty records, bytes would allow millions.
const MOST_RECORDS: usize = 10_000;
