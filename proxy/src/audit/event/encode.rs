//! An event as bytes: JSON of a CloudEvent 1.0 (structured mode) with `data` as `content.rs` has it.
//!
//! Arrives: an event, and when and where it happened. Leaves: an entry of the log. What must never happen here: an entry that
//! is longer than the log takes; then it is told without its details.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::content::{AuthenticationInfo, Content, Outcome};
use super::{Event, Text};
use crate::audit::log::MAX_ENTRY;

/// When and where.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The log's origin.
    pub origin: Arc<str>,
    /// Drawn at the start of the process.
    pub run: u64,
    /// Rises by one with each event of a run: a number that is missing is an event that is missing.
    pub number: u64,
    /// When it happened.
    pub time: Timestamp,
}

impl Event {
    /// The entry.
    pub fn encode(&self, stamp: &Stamp) -> Vec<u8> {
        let entry = self.written(stamp, &self.content);
        if entry.len() <= MAX_ENTRY {
            return entry;
        }
        let who = self.content.authentication_info.as_ref().and_then(|who| who.principal.clone());
        let bare = Content {
            resource_name: self.content.resource_name.clone(),
            authentication_info: who.map(|who| AuthenticationInfo { principal: Some(who), ..Default::default() }),
            result: Outcome { message: Some(Text::from("too long to be told whole")), ..self.content.result.clone() },
            ..Content::default()
        };
        self.written(stamp, &bare)
    }

    fn written(&self, stamp: &Stamp, content: &Content) -> Vec<u8> {
        let event = CloudEvent {
            specversion: "1.0",
            id: format!("{:016x}-{}", stamp.run, stamp.number),
            source: &stamp.origin,
            kind: format!("{TYPE_PREFIX}{}", self.kind.name()),
            subject: content.resource_name.as_str(),
            time: moment(stamp.time),
            datacontenttype: "application/json",
            data: Named { service_name: &stamp.origin, method_name: &self.method, content },
        };
        // Nothing in it can fail: no map has keys that are no text, and memory is written.
        serde_json::to_vec(&event).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: String,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: Named<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    service_name: &'a str,
    method_name: &'a str,
    #[serde(flatten)]
    content: &'a Content,
}

/// RFC 3339 in UTC with milliseconds.
pub fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The same of milliseconds since 1970; `None` for what has no end, or none that a calendar knows.
pub fn moment_of_millis(millis: u64) -> Option<String> {
    let millis = i64::try_from(millis).ok()?;
    Timestamp::from_millisecond(millis).ok().map(moment)
}

/// Before a kind's name.
pub const TYPE_PREFIX: &str = "io.barnabas.";
