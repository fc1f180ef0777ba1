//! Records of the v3 API on their way to the producer, and the lines that tell what became of them.
//!
//! Arrives: records as they were read, and mistakes in their places. Leaves: a [`Batch`] under way, and for each record one line in the
//! order of the request. What must never happen here: a line for another record than its own.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::ask::Cluster;
use crate::rest::formats::{
    Format, FormatError, Part, Placed, PlacedPart, Refused, V3Batch, V3Placed, V3Record, push_error, push_v3_placed,
};
use crate::rest::idempotency::Turn;
use crate::rest::pool::{Delivery, Entry, Hold, Refusal};
use crate::rest::record::Record;
#[cfg(feature = "schemas")]
use crate::rest::schema::Role;
use crate::rest::{Code, Error, audit, refusal};

/// What the lines of one request have in common, and who sends.
pub struct Writer {
    /// The request.
    pub cluster: Cluster,
    /// The topic.
    pub topic: String,
    /// The template of the route, for the audit.
    pub route: &'static str,
}

/// Records that were read and not yet sent.
#[derive(Default)]
pub struct Draft {
    records: Vec<Record>,
    lines: Vec<Line>,
    /// Of the topic.
    partitions: i32,
}

/// Records under way.
pub struct Batch {
    lines: Vec<Line>,
    delivery: Option<Delivery>,
}

enum Line {
    /// The next record of the delivery.
    Sent(Told),
    /// A record that was not sent.
    Refused(Refused),
}

/// What a line tells of a record beside its place.
#[derive(Default)]
struct Told {
    key: Option<ToldPart>,
    value: Option<ToldPart>,
}

struct ToldPart {
    format: Format,
    size: usize,
    schema: Option<Box<ToldSchema>>,
}

struct ToldSchema {
    subject: String,
    id: i32,
    version: Option<i32>,
}

impl Draft {
    /// Adds a record; one that cannot be sent has its line too.
    pub async fn add(&mut self, writer: &Writer, read: Result<V3Record, FormatError>, partitions: i32) {
        let made = match read {
            Ok(record) => writer.make(record, partitions).await,
            Err(error) => Err(refused_format(&error)),
        };
        match made {
            Ok((record, told)) => {
                self.partitions = partitions;
                self.records.push(record);
                self.lines.push(Line::Sent(told));
            }
            Err(refused) => self.lines.push(Line::Refused(refused)),
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many lines it has.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether some record of it cannot be sent.
    pub fn has_refused(&self) -> bool {
        self.lines.iter().any(|line| matches!(line, Line::Refused(_)))
    }

    /// Bytes of all records.
    pub fn size(&self) -> usize {
        self.records.iter().map(Record::size).sum()
    }

    /// Nothing of it is sent: every line tells why.
    pub fn refuse(self, error: &Error) -> Batch {
        let refused = refused(error);
        let refuse = |line| match line {
            Line::Sent(_) => Line::Refused(refused.clone()),
            own @ Line::Refused(_) => own,
        };
        Batch { lines: self.lines.into_iter().map(refuse).collect(), delivery: None }
    }
}

impl Batch {
    /// One line for what was no record.
    pub fn of_mistake(refused: Refused) -> Self {
        Self { lines: vec![Line::Refused(refused)], delivery: None }
    }

    /// Waits until every record has its outcome.
    pub async fn whole(&self) {
        if let Some(delivery) = &self.delivery {
            delivery.whole().await;
        }
    }

    /// Whether every record has its outcome.
    pub fn is_whole(&self) -> bool {
        self.delivery.as_ref().is_none_or(Delivery::is_whole)
    }

    /// How many lines it has.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// The same, with this said of every record that was written.
    fn untold(self, error: &Error) -> Self {
        let outcomes: Vec<_> = self.outcomes().map(|outcome| outcome.map(drop).map_err(Cow::into_owned)).collect();
        let told = outcomes.into_iter().map(|outcome| Line::Refused(outcome.err().unwrap_or_else(|| refused(error))));
        Self { lines: told.collect(), delivery: None }
    }

    /// What became of the records that were sent.
    pub fn delivery(&self) -> Option<&Delivery> {
        self.delivery.as_ref()
    }

    /// Each line as an outcome.
    fn outcomes(&self) -> impl Iterator<Item = Result<(Placed, &Told), Cow<'_, Refused>>> {
        let mut sent = self.delivery.iter().flat_map(Delivery::outcomes);
        self.lines.iter().map(move |line| match line {
            Line::Refused(refused) => Err(Cow::Borrowed(refused)),
            Line::Sent(told) => match sent.next().flatten() {
                Some(Ok(placed)) => Ok((*placed, told)),
                Some(Err(error)) => Err(Cow::Owned(refusal::refused(*error))),
                None => Err(Cow::Owned(refusal::refused(Refusal::RequestTimedOut))),
            },
        })
    }
}

impl Writer {
    /// Sends what was read, all or nothing; gives it back when there is no room now.
    ///
    /// # Errors
    /// The draft itself, with the reason.
    pub fn send(&self, draft: Draft, entry: &Arc<Entry>, hold: Hold) -> Result<Batch, Box<(Draft, Error)>> {
        if draft.records.is_empty() {
            return Ok(Batch { lines: draft.lines, delivery: None });
        }
        if let Err(error) = audit::check(&self.cluster.ask.bridge.audit) {
            return Err(Box::new((draft, error)));
        }
        match entry.producer().send((&self.topic, draft.partitions), None, &draft.records, hold) {
            Some(delivery) => Ok(Batch { lines: draft.lines, delivery: Some(delivery) }),
            None => {
                let text = "too many records wait for their acknowledgement (limits.max_queued_records)";
                Err(Box::new((draft, Code::TooManyRequests.with(text))))
            }
        }
    }

    /// Sends what was read in the turn of a request with an `Idempotency-Key`: all of it or nothing.
    ///
    /// # Errors
    /// That nothing was sent.
    pub async fn send_once(&self, draft: Draft, turn: &Turn, hold: Hold) -> Result<Batch, Error> {
        if draft.has_refused() {
            turn.refuse();
            let (code, message) = refusal::of_record(Refusal::Conflict);
            return Ok(draft.refuse(&code.with(message)));
        }
        if draft.is_empty() {
            return Ok(Batch { lines: draft.lines, delivery: None });
        }
        let delivery = turn.send(&self.topic, None, &draft.records, hold).await?;
        Ok(Batch { lines: draft.lines, delivery: Some(delivery) })
    }

    /// Appends the lines of a batch that is whole. Gives the first code that tells of a failure.
    pub fn tell(&self, batch: &Batch, out: &mut BytesMut) -> Option<i32> {
        let mut first = None;
        out.reserve(batch.len() * BYTES_OF_LINE);
        for outcome in batch.outcomes() {
            match outcome {
                Ok((placed, told)) => push_v3_placed(out, &self.placed(placed, told)),
                Err(refused) => {
                    first.get_or_insert(refused.error_code);
                    push_error(out, refused.error_code, &refused.message);
                }
            }
            out.put_slice(LINE_END);
        }
        first
    }

    /// Appends the answer to a batch of entries with these ids.
    pub fn tell_entries(&self, ids: &[String], batch: &Batch, out: &mut BytesMut) {
        let mut answer = V3Batch::default();
        for (id, outcome) in ids.iter().zip(batch.outcomes()) {
            match outcome {
                Ok((placed, told)) => answer.placed(id, &self.placed(placed, told)),
                Err(refused) => answer.refused(id, &refused),
            }
        }
        answer.finish(out);
    }

    fn placed<'a>(&'a self, placed: Placed, told: &'a Told) -> V3Placed<'a> {
        V3Placed {
            cluster_id: &self.cluster.place.cluster_id,
            topic: &self.topic,
            placed,
            key: told.key.as_ref().map(ToldPart::placed),
            value: told.value.as_ref().map(ToldPart::placed),
        }
    }

    /// Counts and audits a batch that is whole. Its records count as written when the audit log has them, where requests wait for that.
    pub async fn note(&self, batch: Batch) -> Batch {
        if self.cluster.ask.turn.is_some() {
            // What became of it is known when the turn is over, and told with the answer.
            return batch;
        }
        let written = batch.outcomes().filter(Result::is_ok).count();
        let count = |records: usize| u64::try_from(records).unwrap_or(u64::MAX);
        let bridge = &self.cluster.ask.bridge;
        bridge.metrics.written.inc_by(count(written));
        bridge.metrics.refused.inc_by(count(batch.len() - written));
        let call = audit::Call {
            caller: Some(&self.cluster.ask.caller),
            method: &axum::http::Method::POST,
            route: self.route,
            topic: Some(&self.topic),
            records: batch.delivery.as_ref(),
            status: axum::http::StatusCode::OK,
            error: None,
        };
        match audit::audited(bridge, &call).await {
            Ok(()) => batch,
            Err(error) => batch.untold(&error),
        }
    }

    /// A record as it is sent, and what its line tells.
    async fn make(&self, read: V3Record, partitions: i32) -> Result<(Record, Told), Refused> {
        let V3Record { mut record, key, value } = read;
        if let Some(absent) = record.partition.filter(|partition| !(0..partitions).contains(partition)) {
            return Err(refused(&refusal::partition_not_found(absent)));
        }
        let key = self.part(Role::Key, key, &mut record.key).await?;
        let value = self.part(Role::Value, value, &mut record.value).await?;
        Ok((record, Told { key, value }))
    }

    async fn part(
        &self,
        role: Role,
        part: Option<Part>,
        bytes: &mut Option<bytes::Bytes>,
    ) -> Result<Option<ToldPart>, Refused> {
        let Some(part) = part else { return Ok(None) };
        let size = bytes.as_ref().map_or(0, bytes::Bytes::len);
        match part.format {
            Some(format) if !format.has_schema() => Ok(Some(ToldPart { format, size, schema: None })),
            // Null needs neither type nor schema.
            None if bytes.is_none() && part.schema.is_none() => Ok(None),
            _ => self.with_schema(role, &part, bytes).await.map(Some),
        }
    }

    /// Turns JSON into bytes of a schema of the registry.
    #[cfg(feature = "schemas")]
    async fn with_schema(
        &self,
        role: Role,
        part: &Part,
        bytes: &mut Option<bytes::Bytes>,
    ) -> Result<ToldPart, Refused> {
        let Some(schemas) = &self.cluster.ask.bridge.schemas else { return Err(refused_format(&no_registry(part))) };
        let told = async {
            let chosen = schemas.choose(&self.topic, role, part).await?;
            if let Some(json) = bytes {
                *bytes = Some(chosen.write(json)?);
            }
            let size = bytes.as_ref().map_or(0, bytes::Bytes::len);
            let schema = ToldSchema { id: chosen.schema.id(), subject: chosen.subject, version: chosen.version };
            Ok(ToldPart { format: chosen.schema.format(), size, schema: Some(Box::new(schema)) })
        };
        told.await.map_err(|error: FormatError| refused_format(&error))
    }

    /// Without a registry there are no schemas.
    #[cfg(not(feature = "schemas"))]
    async fn with_schema(&self, _: Role, part: &Part, _: &mut Option<bytes::Bytes>) -> Result<ToldPart, Refused> {
        Err(refused_format(&no_registry(part)))
    }
}

fn no_registry(part: &Part) -> FormatError {
    let text = if part.format.is_none() && part.schema.is_none() {
        "a type is needed: BINARY, JSON or STRING"
    } else {
        "types with a schema need a schema registry (schema_registry), and none is configured"
    };
    FormatError::new(Code::InvalidPayload, text)
}

/// Of a key, or of a value.
#[cfg(not(feature = "schemas"))]
#[derive(Clone, Copy)]
enum Role {
    Key,
    Value,
}

impl ToldPart {
    fn placed(&self) -> PlacedPart<'_> {
        let schema = self.schema.as_deref();
        PlacedPart {
            format: self.format,
            size: self.size,
            subject: schema.map(|schema| schema.subject.as_str()),
            schema_id: schema.map(|schema| schema.id),
            schema_version: schema.and_then(|schema| schema.version),
        }
    }
}

/// An error as a line tells it.
pub fn refused(error: &Error) -> Refused {
    Refused { error_code: i32::try_from(error.code.number()).unwrap_or(i32::MAX), message: error.message.to_string() }
}

/// A mistake in a record as a line tells it: clients of v3 know the class of 422 as one code, and the exact one in the text.
pub fn refused_format(error: &FormatError) -> Refused {
    match error.code().number() {
        exact @ 42200..=42299 => Refused { error_code: 422, message: format!("Error: {exact} : {error}") },
        number => Refused { error_code: i32::try_from(number).unwrap_or(i32::MAX), message: error.to_string() },
    }
}

/// Ends every line.
pub const LINE_END: &[u8] = b"\r\n";

/// `{"error_code":200,"cluster_id":"...","topic_name":"...","partition_id":1,"offset":1,"timestamp":"...","value":{...}}`
const BYTES_OF_LINE: usize = 220;
