//! `GET /topics/{topic}/partitions/{partition}/records`: a single read that keeps nothing behind.
//!
//! Arrives: an offset, a time to wait, a size. Leaves: the records from there on, as soon as there is one, and an `ETag` of the offsets
//! that they span. What must never happen here: an empty answer for a record that is larger than what was asked for.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;

use super::ask::{self, Trouble};
use super::batches;
use crate::rest::accept::Wishes;
use crate::rest::bridge::Bridge;
use crate::rest::formats::Format;
use crate::rest::front::words;
use crate::rest::kafka::list_offsets::{EARLIEST, LATEST};
use crate::rest::view::{self, View};
use crate::rest::{Caller, Code, Error, refusal};

/// Reads once.
///
/// # Errors
/// Whatever keeps the records from being read.
pub async fn read(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path((topic, partition)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let content_type = Wishes::of(&headers).content_type(OFFERED)?;
    let format = Format::of_media_type(content_type).unwrap_or(Format::Binary);
    let view = View::of_content_type(content_type, format);
    let wanted = Wanted::of(query.as_deref(), bridge.settings.limits.request_timeout)?;
    let index: i32 = partition.parse().map_err(|_| Code::NotFound.with("HTTP 404 Not Found"))?;
    let entry = bridge.pool.entry(&caller.principal)?;
    let found = entry.kafka.topic(&topic).await?;
    let found = found.partitions.iter().find(|one| one.index == index);
    let leader = found.ok_or_else(|| refusal::partition_not_found(index))?.leader;
    if leader < 0 {
        return Err(Code::LeaderNotAvailable.with(format!("partition {index} has no leader now")));
    }
    let from = match wanted.from {
        From::Offset(offset) => offset,
        From::Beginning => entry.kafka.offset(&topic, (leader, index), EARLIEST).await?,
        From::End => entry.kafka.offset(&topic, (leader, index), LATEST).await?,
    };
    let size = i32::try_from(wanted.max_bytes).unwrap_or(i32::MAX);
    let fetched = ask::fetch(&entry, &topic, (leader, &[(index, from)]), (wanted.timeout, size)).await?;
    let fetched = fetched.into_iter().find(|one| one.partition == index);
    let fetched = fetched.ok_or_else(|| Code::KafkaRetriable.with("the broker says nothing of the partition"))?;
    let subject = || format!("partition {index}, offset {from}");
    match Trouble::of(fetched.error_code) {
        None => {}
        Some(Trouble::OutOfRange) => {
            return Err(Code::RangeNotSatisfiable.with(format!("{}: no such offset is there", subject())));
        }
        Some(_) => return Err(refusal::of_answer(fetched.error_code, &subject())),
    }
    let (body, next) = body(&fetched.records, (&topic, index), from, (view, wanted.max_bytes))?;
    let tag = format!("\"{index}-{from}-{next}\"");
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let told = [(header::CONTENT_TYPE, content_type.to_owned()), (header::ETAG, tag)];
    Ok((told, [("kafka-next-offset", next.to_string())], body.freeze()).into_response())
}

/// The records as they are answered, and the offset to go on from.
fn body(
    records: &[u8],
    place: (&str, i32),
    from: i64,
    (view, max_bytes): (View, usize),
) -> Result<(BytesMut, i64), Error> {
    let mut out = view.listing();
    let (mut next, mut failed, mut count) = (from, None, 0_usize);
    let walked = batches::each(records, place, from, |record| {
        let size = record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
        if count == 0 && size > max_bytes {
            let text = format!("the record at offset {} has {size} bytes, max_bytes is {max_bytes}", record.offset);
            failed = Some(Code::TooLarge.with(text));
            return ControlFlow::Break(());
        }
        if count > 0 && out.length() + size > max_bytes {
            return ControlFlow::Break(());
        }
        match out.push(record) {
            Ok(()) => {
                (next, count) = (record.offset.saturating_add(1), count + 1);
                ControlFlow::Continue(())
            }
            // What stands before it is answered; the next read is told.
            Err(error) => {
                failed = Some(Error::from(error)).filter(|_| count == 0);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let behind = walked.map_err(|error| Code::Kafka.with(format!("partition {}: {error}", place.1)))?;
    // Offsets without a record to show (control batches, compaction) are stepped over too.
    if count == 0 {
        next = behind.unwrap_or(next).max(next)
    }
    Ok((out.finish(), next))
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    from: From,
    timeout: Duration,
    max_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Offset(i64),
    Beginning,
    End,
}

impl Wanted {
    fn of(query: Option<&str>, longest: Duration) -> Result<Self, Error> {
        let mut wanted =
            Self { from: From::Beginning, timeout: DEFAULT_TIMEOUT.min(longest / 2), max_bytes: DEFAULT_MAX_BYTES };
        for (name, value) in words(query.unwrap_or_default()) {
            let number =
                || value.parse::<u32>().map_err(|_| Code::BadRequest.with("timeout and max_bytes are numbers"));
            match name {
                "offset" => wanted.from = from(value)?,
                "timeout" => wanted.timeout = Duration::from_millis(number()?.into()).min(longest / 2),
                "max_bytes" => wanted.max_bytes = usize::try_from(number()?).unwrap_or(usize::MAX).clamp(1, MOST_BYTES),
                _ => return Err(Code::BadRequest.with("known are offset, timeout, max_bytes")),
            }
        }
        Ok(wanted)
    }
}

fn from(text: &str) -> Result<From, Error> {
    match text {
        "beginning" => Ok(From::Beginning),
        "end" => Ok(From::End),
        _ => {
            let offset = text.parse().ok().filter(|offset| *offset >= 0);
            let malformed = || Code::BadRequest.with("offset is a number from 0, beginning, or end");
            offset.map(From::Offset).ok_or_else(malformed)
        }
    }
}

const OFFERED: &[&str] = &[
    "application/vnd.kafka.binary.v2+json",
    "application/vnd.kafka.json.v2+json",
    "application/vnd.kafka.text.v2+json",
    "application/vnd.kafka.v2+json",
    "application/json",
    view::EVENTS,
];

/// As Redpanda's and Confluent's proxies wait.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// As Kafka's consumers ask for.
const DEFAULT_MAX_BYTES: usize = 1 << 20;

/// What one answer of Kafka may hold here.
const MOST_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_read_and_bounded() {
        let wanted = |query| Wanted::of(Some(query), Duration::from_secs(30));
        let read = wanted("offset=7&timeout=60000&max_bytes=4000000000").unwrap();
        assert_eq!(read, Wanted { from: From::Offset(7), timeout: Duration::from_secs(15), max_bytes: MOST_BYTES });
        assert_eq!(wanted("offset=end").unwrap().from, From::End);
        for wrong in ["offset=-1", "offset=x", "timeout=x", "max_bytes=-1", "size=1"] {
            assert_eq!(wanted(wrong).unwrap_err().code, Code::BadRequest, "{wrong}");
        }
    }
}
