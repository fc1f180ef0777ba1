//! Events of the HTTP bridge: one for each request, with the outcome of each record.

use super::connection::metadata;
use super::content::{AuthenticationInfo, Crypto, Http, Outcome, RecordOutcome, Text};
use super::{Event, Kind, Peer};

/// How a caller has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Not at all.
    Anonymous,
    /// A name and a password.
    Basic,
    /// A token.
    Bearer,
    /// A certificate.
    Certificate,
}

/// A request, and how it ended.
#[derive(Clone, Debug)]
pub struct HttpRequest<'a> {
    /// How the caller has proved who it is.
    pub mechanism: Mechanism,
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The topic, when it is about one.
    pub topic: Option<&'a str>,
    /// The status of the answer.
    pub status: u16,
    /// What became of each record, in the order of the request; those in a row that ended alike are told together.
    pub records: &'a [RecordOutcome],
    /// How the request as a whole ended.
    pub outcome: (super::Status, Option<&'static str>),
}

impl Event {
    /// A request was answered.
    pub fn http_request(peer: &Peer, request: &HttpRequest<'_>) -> Self {
        let resource = match request.topic {
            Some(topic) => format!("topic={topic}"),
            None => format!("path={}", request.path),
        };
        let mut event = Self::new(Kind::HttpRequest, resource);
        // What a caller may write is a token of RFC 9110; what is not one is not repeated.
        let method = Text::from(request.method).as_str().to_owned();
        event.method = format!("http.{method}").into();
        event.content.authentication_info = Some(AuthenticationInfo {
            principal: Some(Text::from(peer.principal.as_str())),
            mechanism: Some(match request.mechanism {
                Mechanism::Anonymous => "none",
                Mechanism::Basic => "basic",
                Mechanism::Bearer => "bearer",
                Mechanism::Certificate => "mTLS",
            }),
            ..AuthenticationInfo::default()
        });
        event.content.request_metadata = Some(metadata(peer));
        event.content.crypto =
            request.topic.map(|topic| Crypto { topic: Some(Text::from(topic)), ..Crypto::default() });
        let (records, untold) = gathered(request.records);
        event.content.http = Some(Http {
            method: Text::from(request.method),
            path: Text::from(request.path),
            status: request.status,
            records,
            untold: Some(untold).filter(|count| *count > 0),
        });
        event.content.result = Outcome { status: request.outcome.0, reason: request.outcome.1, ..Outcome::default() };
        event
    }
}

/// Records in a row that ended alike become one outcome; what finds no place is counted.
fn gathered(outcomes: &[RecordOutcome]) -> (Vec<RecordOutcome>, u64) {
    let mut told: Vec<RecordOutcome> = Vec::new();
    let mut untold = 0;
    for next in outcomes {
        if let Some(last) = told.last_mut().filter(|last| untold == 0 && continues(last, next)) {
            last.count += next.count;
        } else if told.len() < MOST_OUTCOMES {
            told.push(next.clone());
        } else {
            untold += next.count;
        }
    }
    (told, untold)
}

fn continues(last: &RecordOutcome, next: &RecordOutcome) -> bool {
    let offsets = match (last.first_offset, next.first_offset) {
        (Some(first), Some(offset)) => i64::try_from(last.count).is_ok_and(|count| first + count == offset),
        (None, None) => true,
        _ => false,
    };
    let alike = (last.status, last.reason, last.partition) == (next.status, next.reason, next.partition);
    alike && offsets && last.first + last.count == next.first
}

/// Each takes about 120 bytes: with them an event stays below what an entry may have.
const MOST_OUTCOMES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::Status;

    fn outcome(first: u64, offset: i64) -> RecordOutcome {
        RecordOutcome { first, count: 1, partition: Some(0), first_offset: Some(offset), ..Default::default() }
    }

    #[test]
    fn what_ended_alike_is_told_together() {
        let refused = RecordOutcome { first: 2, count: 1, status: Status::Denied, ..Default::default() };
        let (told, untold) = gathered(&[outcome(0, 7), outcome(1, 8), refused.clone(), outcome(3, 9)]);
        let first = RecordOutcome { count: 2, ..outcome(0, 7) };
        assert_eq!((told, untold), (vec![first, refused, outcome(3, 9)], 0));
    }

    #[test]
    fn what_finds_no_place_is_counted() {
        let scattered: Vec<RecordOutcome> =
            (0..1000).map(|at| outcome(at, i64::try_from(at).unwrap_or(0) * 2)).collect();
        let (told, untold) = gathered(&scattered);
        assert_eq!((told.len(), untold), (MOST_OUTCOMES, 1000 - MOST_OUTCOMES as u64));
    }
}
