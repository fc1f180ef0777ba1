//! What a reader asks for beside the topic: from where, which partitions, in which form.
//!
//! Arrives: the query of a request, and `Last-Event-ID`. Leaves: a [`Wanted`]. What must never happen here: a word that is not known
//! passed over, since the reader would get something else than it asked for.

use std::collections::BTreeSet;

use axum::http::HeaderMap;

use super::feed::Feed;
use super::positions::Positions;
use crate::rest::formats::Format;
use crate::rest::front::{decoded, words};
use crate::rest::kafka::list_offsets::EARLIEST;
use crate::rest::view::View;
use crate::rest::{Code, Error, refusal};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where to begin.
    pub from: From,
    /// These partitions only.
    pub partitions: Option<BTreeSet<i32>>,
    /// What is shown of a record.
    pub view: View,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The first record that is there.
    Beginning,
    /// What comes from now on.
    End,
    /// The first record of this time or later, in milliseconds.
    Time(i64),
    /// Where an earlier answer ended.
    Positions(Positions),
}

impl Wanted {
    /// Reads query and headers. `Last-Event-ID` counts before `from`: browsers send it when they come back.
    ///
    /// # Errors
    /// `BadRequest`, naming the word.
    pub fn of(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Error> {
        let mut wanted = Self { from: From::End, partitions: None, view: View::Parts(Format::Binary) };
        for (name, value) in words(query.unwrap_or_default()) {
            let value = decoded(value).unwrap_or_default();
            match name {
                "from" => wanted.from = from(&value).ok_or_else(|| bad("from", FROM))?,
                "partitions" => {
                    let numbers = value.split(',').map(|one| one.parse().ok().filter(|one: &i32| *one >= 0)).collect();
                    wanted.partitions = Some(numbers).ok_or_else(|| bad("partitions", "write numbers: 0,3"))?;
                    if wanted.partitions.is_none() {
                        return Err(bad("partitions", "write numbers: 0,3"));
                    }
                }
                "format" => {
                    let known = "known are binary, json, text, cloudevents";
                    wanted.view = View::of_name(&value).ok_or_else(|| bad("format", known))?;
                }
                _ => return Err(bad(name, "known are from, partitions, format")),
            }
        }
        if let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) {
            let positions = last.to_str().ok().and_then(Positions::parse);
            let malformed = || Code::BadRequest.with("Last-Event-ID is none of this stream");
            wanted.from = From::Positions(positions.ok_or_else(malformed)?);
        }
        Ok(wanted)
    }

    /// Where that is in this topic.
    ///
    /// # Errors
    /// `PartitionNotFound`, or that Kafka does not answer.
    pub async fn positions(&self, feed: &Feed) -> Result<Positions, Error> {
        let ends = feed.ends();
        let there = |partition: i32| ends.iter().any(|(known, ..)| *known == partition);
        let named = self.partitions.iter().flatten().copied();
        let resumed = match &self.from {
            From::Positions(positions) => positions.all(),
            _ => &[],
        };
        if let Some(absent) = named.chain(resumed.iter().map(|(partition, _)| *partition)).find(|one| !there(*one)) {
            return Err(refusal::partition_not_found(absent));
        }
        let mut positions = Vec::new();
        for (partition, leader, end) in ends {
            if self.partitions.as_ref().is_some_and(|chosen| !chosen.contains(&partition)) {
                continue;
            }
            let asked = |timestamp| feed.entry.kafka.offset(&feed.topic, (leader, partition), timestamp);
            let next = match &self.from {
                From::End => end,
                From::Beginning => asked(EARLIEST).await?,
                // Negative: nothing is that young.
                From::Time(time) => Some(asked(*time).await?).filter(|found| *found >= 0).unwrap_or(end),
                // A partition that was added since is read from its beginning.
                From::Positions(resumed) => resumed.of(partition).unwrap_or(0),
            };
            positions.push((partition, next));
        }
        Ok(Positions::new(positions))
    }
}

fn from(text: &str) -> Option<From> {
    Some(match text {
        "beginning" => From::Beginning,
        "end" => From::End,
        _ if text.contains(':') => From::Positions(Positions::parse(text)?),
        _ => From::Time(text.parse().ok().filter(|time| *time >= 0)?),
    })
}

fn bad(name: &str, remedy: &str) -> Error {
    let shown: String = name.chars().filter(|one| one.is_ascii_graphic()).take(32).collect();
    Code::BadRequest.with(format!("{shown}: {remedy}"))
}

const FROM: &str = "write beginning, end, milliseconds since 1970, or positions such as 0:15,1:3";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wanted(query: &str, last: Option<&str>) -> Result<Wanted, Error> {
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert("last-event-id", last.parse().unwrap());
        }
        Wanted::of(Some(query), &headers)
    }

    #[test]
    fn words_are_read() {
        let all = wanted("from=beginning&partitions=3,0&format=json", None).unwrap();
        assert_eq!((all.from, all.view), (From::Beginning, View::Parts(Format::Json)));
        assert_eq!(wanted("format=cloudevents", None).unwrap().view, View::Event);
        assert_eq!(all.partitions.unwrap().into_iter().collect::<Vec<_>>(), [0, 3]);
        assert_eq!(wanted("", None).unwrap().from, From::End);
        assert_eq!(wanted("from=1700000000000", None).unwrap().from, From::Time(1_700_000_000_000));
        let positions = From::Positions(Positions::new(vec![(0, 15), (1, 3)]));
        assert_eq!(wanted("from=0%3A15%2C1%3A3", None).unwrap().from, positions);
        assert_eq!(wanted("from=beginning", Some("0:15,1:3")).unwrap().from, positions);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for wrong in
            ["from=", "from=x", "from=-1", "partitions=", "partitions=a", "format=avro", "form=json", "limit=3"]
        {
            assert_eq!(wanted(wrong, None).unwrap_err().code, Code::BadRequest, "{wrong}");
        }
        assert!(wanted("", Some("x")).is_err());
    }
}
