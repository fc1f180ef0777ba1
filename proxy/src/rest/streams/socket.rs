//! `GET /v1/topics/{topic}/socket?group=NAME`: records to a web socket; what the client acknowledges is committed for its group.
//!
//! Arrives: a handshake, then acknowledgements as JSON texts: `{"ack":{"partition":0,"offset":15}}`, which counts for all before it in
//! that partition. Leaves: records as JSON texts, `committed`, `assigned`, `revoked`, and errors before the end. Not more than
//! `max_unacknowledged` records are under way. What must never happen here: a socket opened by a page that may not call, a commit of
//! what was not delivered.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use rdkafka::message::Message as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::group::{Member, News, Next, Unacknowledged, delivered};
use crate::rest::bridge::Bridge;
use crate::rest::formats::{DeliveredFields, Format, Layout, push_delivered, push_error};
use crate::rest::front::{decoded, words};
use crate::rest::inner::drained;
use crate::rest::{Caller, Code, Error};

/// Opens a socket.
///
/// # Errors
/// Whatever can be known before its first record.
pub async fn open(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path(topic): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let upgrade = upgrade.map_err(|_| Code::BadRequest.with("this is a web socket: send an Upgrade of HTTP/1.1"))?;
    if bridge.cors.is_foreign(&headers, None) {
        return Err(Code::Forbidden.with("web pages of this origin may not call (rest[].cors.origins)"));
    }
    let wanted = Wanted::of(query.as_deref())?;
    let full = || Code::TooManyRequests.with("too many readers at once (limits.max_readers)");
    let permit = bridge.readers.clone().try_acquire_many_owned(WEIGHT).map_err(|_| full())?;
    let entry = bridge.pool.entry(&caller.principal)?;
    entry.partitions(&topic).await?;
    let member = Member::join(entry, &topic, &wanted.group, wanted.from_beginning)?;
    let upgrade = upgrade.max_message_size(MOST_TEXT).max_frame_size(MOST_TEXT).protocols([PROTOCOL]);
    Ok(upgrade.on_upgrade(move |socket| {
        Session { bridge, caller, member, wanted, given: Unacknowledged::default() }.run(socket, permit)
    }))
}

struct Session {
    bridge: Arc<Bridge>,
    caller: Caller,
    member: Member,
    wanted: Wanted,
    given: Unacknowledged,
}

/// What is to be done after one thing has happened.
enum Act {
    Say(Bytes),
    Tell(News),
    Commit(Vec<(i32, i64)>),
    End(u16, Option<Error>),
}

impl Session {
    async fn run(mut self, mut socket: WebSocket, _permit: OwnedSemaphorePermit) {
        let (bridge, caller) = (self.bridge.clone(), self.caller.clone());
        let mut gone = std::pin::pin!(bridge.callers.gone(&caller));
        let mut draining = bridge.draining.clone();
        let mut beat = tokio::time::interval(HEARTBEAT);
        let mut silent = 0;
        loop {
            match self.given.count() {
                count if count >= self.wanted.max_unacknowledged => self.member.hold(true),
                // Not at once: to go on costs Kafka a fetch of what it had sent already.
                count if count <= self.wanted.max_unacknowledged / 2 => self.member.hold(false),
                _ => {}
            }
            let act = tokio::select! {
                biased;
                () = gone.as_mut() => {
                    Act::End(POLICY, Some(Code::Unauthenticated.with("the credential is not accepted any more")))
                }
                () = drained(&mut draining) => Act::End(AWAY, None),
                heard = socket.recv() => {
                    silent = 0;
                    match heard {
                        Some(Ok(Message::Text(text))) => Self::take(&mut self.given, &text),
                        Some(Ok(Message::Binary(_))) => Act::Say(told(&Code::BadRequest.with("acknowledgements are texts"))),
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    }
                }
                next = self.member.next() => match next {
                    Ok(Next::Record(record)) => {
                        self.given.give(record.partition(), record.offset());
                        Act::Say(delivered(&record, |record| text(record, self.wanted.format)))
                    }
                    Ok(Next::News(news)) => Act::Tell(news),
                    Ok(Next::Nothing) => continue,
                    Err(error) => Act::End(FAILED, Some(error)),
                },
                _ = beat.tick() => {
                    silent += 1;
                    if silent > MOST_SILENT || socket.send(Message::Ping(Bytes::new())).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            match act {
                Act::Commit(offsets) => self.member.commit(&offsets),
                Act::Say(text) => {
                    if say(&mut socket, text).await.is_none() {
                        return;
                    }
                }
                Act::Tell(news) => {
                    self.member.heard(&news);
                    if let News::Revoked(partitions) = &news {
                        self.given.revoke(partitions);
                    }
                    if say(&mut socket, news_text(&news)).await.is_none() {
                        return;
                    }
                }
                Act::End(code, error) => {
                    if let Some(error) = &error {
                        say(&mut socket, told(error)).await;
                    }
                    let reason = error.map_or_else(String::new, |error| error.code.number().to_string());
                    socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.ok();
                    return;
                }
            }
        }
    }

    fn take(given: &mut Unacknowledged, text: &str) -> Act {
        let Ok(said) = serde_json::from_str::<Said>(text) else {
            return Act::Say(told(&Code::BadRequest.with(r#"say {"ack":{"partition":0,"offset":15}}"#)));
        };
        let acks = match said.ack {
            Acks::One(ack) => vec![ack],
            Acks::Many(acks) => acks,
        };
        let mut offsets = Vec::new();
        for Ack { partition, offset } in acks {
            match given.acknowledge(partition, offset) {
                Some(one) => offsets.push(one),
                None => {
                    let text =
                        format!("partition {partition}, offset {offset} was not delivered here, or is acknowledged");
                    return Act::Say(told(&Code::Conflict.with(text)));
                }
            }
        }
        Act::Commit(offsets)
    }
}

/// Says something; `None` when nobody is there any more.
async fn say(socket: &mut WebSocket, text: Bytes) -> Option<()> {
    let text = text.try_into().ok()?;
    socket.send(Message::Text(text)).await.ok()
}

/// What a client says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    ack: Acks,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Acks {
    One(Ack),
    Many(Vec<Ack>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    partition: i32,
    offset: i64,
}

fn text(record: &crate::rest::record::Delivered<'_>, format: Format) -> Bytes {
    let mut out = BytesMut::new();
    let fields = DeliveredFields { timestamp: true, headers: true };
    match push_delivered(&mut out, format, fields, Layout::OneLine, record) {
        Ok(()) => out.freeze(),
        Err(error) => {
            let (partition, offset) = (record.partition, record.offset);
            let told =
                json!({ "unreadable": { "partition": partition, "offset": offset, "message": error.to_string() } });
            told.to_string().into()
        }
    }
}

fn news_text(news: &News) -> Bytes {
    let told = match news {
        News::Assigned(partitions) => json!({ "assigned": partitions }),
        News::Revoked(partitions) => json!({ "revoked": partitions }),
        News::Committed(offsets) => {
            let offset = |(partition, offset): &(i32, i64)| json!({ "partition": partition, "offset": offset });
            json!({ "committed": offsets.iter().map(offset).collect::<Vec<_>>() })
        }
        News::NotCommitted(code) => return told(&Code::KafkaRetriable.with(format!("not committed: {code}"))),
    };
    told.to_string().into()
}

fn told(error: &Error) -> Bytes {
    let mut out = BytesMut::new();
    push_error(&mut out, i32::try_from(error.code.number()).unwrap_or(0), &error.message);
    out.freeze()
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    group: String,
    from_beginning: bool,
    format: Format,
    max_unacknowledged: usize,
}

impl Wanted {
    fn of(query: Option<&str>) -> Result<Self, Error> {
        let (mut group, mut from_beginning, mut format, mut most) =
            (None, false, Format::Binary, DEFAULT_UNACKNOWLEDGED);
        let bad = |text: &'static str| Code::BadRequest.with(text);
        for (name, value) in words(query.unwrap_or_default()) {
            let value = decoded(value).ok_or_else(|| bad("the query is not well-formed"))?;
            match (name, &*value) {
                ("group", name) if name.len() <= 249 => group = Some(name.to_owned()),
                ("from", "beginning") => from_beginning = true,
                ("from", "end") => from_beginning = false,
                ("format", name) => {
                    let known = Format::of_name(name).filter(|format| !format.has_schema());
                    format = known.ok_or_else(|| bad("format: known are binary, json, text"))?;
                }
                ("max_unacknowledged", number) => {
                    let number = number.parse().ok().filter(|number| (1..=MOST_UNACKNOWLEDGED).contains(number));
                    most = number.ok_or_else(|| bad("max_unacknowledged: a number from 1 to 100000"))?;
                }
                _ => return Err(bad("known are group, from=beginning|end, format, max_unacknowledged")),
            }
        }
        let group = group.ok_or_else(|| bad("group: name the consumer group whose offsets are committed"))?;
        Ok(Self { group, from_beginning, format, max_unacknowledged: most })
    }
}

/// The subprotocol, for clients that name one.
const PROTOCOL: &str = "barnabas.v1";

/// A consumer of its own takes what many readers of a shared tail take.
const WEIGHT: u32 = 16;

/// A few thousand acknowledgements.
const MOST_TEXT: usize = 256 << 10;

const DEFAULT_UNACKNOWLEDGED: usize = 1_000;
const MOST_UNACKNOWLEDGED: usize = 100_000;

/// A client that has not answered so many in a row is gone.
const MOST_SILENT: u32 = 3;
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Close codes of RFC 6455, 7.4.1.
const AWAY: u16 = 1001;
const POLICY: u16 = 1008;
const FAILED: u16 = 1011;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_read_and_unknown_ones_refused() {
        let wanted = Wanted::of(Some("group=g%201&from=beginning&format=text&max_unacknowledged=5")).unwrap();
        let all = Wanted { group: "g 1".into(), from_beginning: true, format: Format::Text, max_unacknowledged: 5 };
        assert_eq!(wanted, all);
        for wrong in
            ["", "group=", "group=g&from=1", "group=g&max_unacknowledged=0", "group=g&x=1", "group=g&format=avro"]
        {
            assert_eq!(Wanted::of(Some(wrong)).unwrap_err().code, Code::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn acknowledgements_are_read_and_the_rest_is_told() {
        let mut given = Unacknowledged::default();
        (0..4).for_each(|offset| given.give(0, offset));
        let mut take = |text: &str| match Session::take(&mut given, text) {
            Act::Commit(offsets) => format!("{offsets:?}"),
            Act::Say(text) => String::from_utf8(text.to_vec()).unwrap(),
            Act::Tell(news) => format!("{news:?}"),
            Act::End(..) => "end".to_owned(),
        };
        assert_eq!(take(r#"{"ack":{"partition":0,"offset":1}}"#), "[(0, 2)]");
        assert_eq!(take(r#"{"ack":[{"partition":0,"offset":2},{"partition":0,"offset":3}]}"#), "[(0, 3), (0, 4)]");
        assert!(take(r#"{"ack":{"partition":0,"offset":9}}"#).contains("409"));
        for wrong in ["", "{}", "[]", r#"{"ack":1}"#, r#"{"ack":[],"x":1}"#, "\u{0}"] {
            assert!(take(wrong).contains("400"), "{wrong}");
        }
    }
}
