//! One record of the v3 API: a body of its own, an object of a stream, an entry of a batch.
//!
//! The text of one object arrives, a [`V3Record`] leaves. Key and value each say their type; those with a schema stay
//! JSON text, with what was said about the schema beside it. What must never happen here: a guess at a type.

use bytes::Bytes;

use super::produce_v2::{Reader, Seen, optional_number, optional_text, owned_text, unknown};
use super::{Format, FormatError, Limits, Scanner, Scratch};
use crate::rest::Code;
use crate::rest::record::Record;

/// A record with what its answer must tell about key and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V3Record {
    /// The record. Where [`Part::format`] has a schema or is not known, the bytes are still JSON text.
    pub record: Record,
    /// What was said about the key; nothing when the request has none.
    pub key: Option<Part>,
    /// What was said about the value; nothing when the request has none.
    pub value: Option<Part>,
}

/// What a request says about a key or value beside its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The `type`. Without one the schema has it: the one that is named, or the subject's latest.
    pub format: Option<Format>,
    /// Which schema, when anything was said about it.
    pub schema: Option<Box<SchemaChoice>>,
}

/// Which schema a key or value has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaChoice {
    /// The subject, instead of the one that the strategy makes.
    pub subject: Option<String>,
    /// How the subject is made.
    pub strategy: Option<SubjectNameStrategy>,
    /// The registry's number of the schema.
    pub id: Option<i32>,
    /// The version within the subject.
    pub version: Option<i32>,
    /// The schema itself, as text.
    pub text: Option<String>,
}

/// How a subject's name is made: of the topic, the record type's full name, or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SubjectNameStrategy {
    /// `TOPIC-key`, `TOPIC-value`.
    #[default]
    TopicName,
    /// The record type's full name.
    RecordName,
    /// `TOPIC-NAME`.
    TopicRecordName,
}

/// Reads one record. `position` is where the text begins in the body or stream; errors count from there.
///
/// # Errors
/// As [`super::parse_v2`], without the record's index.
pub fn parse_v3(text: &Bytes, position: usize, limits: &Limits) -> Result<V3Record, FormatError> {
    parse_v3_into(&mut Scratch::new(text.len()), text, position, limits)
}

/// The same for one of many records, which share a buffer.
///
/// # Errors
/// As [`parse_v3`].
pub(crate) fn parse_v3_into(
    scratch: &mut Scratch,
    text: &Bytes,
    position: usize,
    limits: &Limits,
) -> Result<V3Record, FormatError> {
    let (record, _) = parse_object(scratch, text, position, limits, false)?;
    Ok(record)
}

/// Reads one record; where `has_id`, its `id` too.
pub(super) fn parse_object(
    scratch: &mut Scratch,
    text: &Bytes,
    position: usize,
    limits: &Limits,
    has_id: bool,
) -> Result<(V3Record, Option<String>), FormatError> {
    let mut scanner = Scanner::new(text, position, limits.max_depth)?;
    // Back at the end; after a mistake the next record gets a new one.
    let mut reader = Reader { source: text, format: Format::Json, limits, scratch: scratch.take() };
    let mut record = V3Record::default();
    let mut id = None;
    let mut seen = Seen::default();
    scanner.members(|scanner, name| {
        let at = scanner.position();
        if name.is("value") {
            seen.mark(0, at)?;
            (record.value, record.record.value) = reader.part(scanner)?;
        } else if name.is("key") {
            seen.mark(1, at)?;
            (record.key, record.record.key) = reader.part(scanner)?;
        } else if name.is("partition_id") {
            seen.mark(2, at)?;
            record.record.partition = optional_number(scanner, "the number of a partition")?;
        } else if name.is("timestamp") {
            seen.mark(3, at)?;
            record.record.timestamp = optional_moment(scanner)?;
        } else if name.is("headers") {
            seen.mark(4, at)?;
            record.record.headers = reader.headers(scanner, "name")?;
        } else if has_id && name.is("id") {
            seen.mark(5, at)?;
            id = Some(owned_text(scanner.string("an id in a string")?, at)?);
        } else {
            return Err(unknown("partition_id, headers, key, value, timestamp", at));
        }
        Ok(())
    })?;
    scanner.end()?;
    reader.check_size(&record.record).map_err(|error| error.at(position))?;
    *scratch = reader.scratch;
    Ok((record, id))
}

impl<'a> Reader<'a> {
    /// `{type, data, …}` or null.
    fn part(&mut self, scanner: &mut Scanner<'a>) -> Result<(Option<Part>, Option<Bytes>), FormatError> {
        if scanner.null()? {
            return Ok((None, None));
        }
        let mut part = Part::default();
        // The type may stand behind the data: then the data's place is kept until both are known.
        let (mut data, mut read) = (None, None);
        let mut seen = Seen::default();
        let start = scanner.position();
        scanner.members(|scanner, name| {
            let at = scanner.position();
            if name.is("type") {
                seen.mark(0, at)?;
                part.format = optional_type(scanner)?;
            } else if name.is("data") {
                seen.mark(1, at)?;
                match part.format {
                    _ if scanner.null()? => {}
                    Some(Format::Binary) => read = Some(self.base64(scanner)?),
                    Some(Format::Text) => read = Some(self.text(scanner)?),
                    _ => data = Some(scanner.value()?),
                }
            } else if name.is("subject") {
                seen.mark(2, at)?;
                part.choice().subject = optional_text(scanner, "the name of a subject")?;
            } else if name.is("subject_name_strategy") {
                seen.mark(3, at)?;
                part.choice().strategy = optional_strategy(scanner)?;
            } else if name.is("schema_id") {
                seen.mark(4, at)?;
                part.choice().id = optional_number(scanner, "the number of a schema")?;
            } else if name.is("schema_version") {
                seen.mark(5, at)?;
                part.choice().version = optional_number(scanner, "the version of a schema")?;
            } else if name.is("schema") {
                seen.mark(6, at)?;
                part.choice().text = optional_text(scanner, "a schema in a string")?;
            } else {
                return Err(unknown(
                    "type, data, subject, subject_name_strategy, schema_id, schema_version, schema",
                    at,
                ));
            }
            Ok(())
        })?;
        part.check().map_err(|error| error.at(start))?;
        let Some(range) = data else { return Ok((Some(part), read)) };
        let bytes = match part.format {
            Some(Format::Binary) => self.base64(&mut scanner.within(&range))?,
            Some(Format::Text) => self.text(&mut scanner.within(&range))?,
            _ => self.source.slice(range),
        };
        Ok((Some(part), Some(bytes)))
    }
}

impl Part {
    fn choice(&mut self) -> &mut SchemaChoice {
        self.schema.get_or_insert_default()
    }

    /// A schema is named in one way, and only where the type has one.
    fn check(&self) -> Result<(), FormatError> {
        let wrong = |text| Err(FormatError::new(Code::Unprocessable, text));
        let Some(choice) = &self.schema else { return Ok(()) };
        if self.format.is_some_and(|format| !format.has_schema()) {
            return wrong("a type without a schema has nothing but data");
        }
        let ways = [choice.id.is_some(), choice.version.is_some(), choice.text.is_some()];
        if ways.into_iter().filter(|&way| way).count() > 1 {
            return wrong("only one of schema_id, schema_version and schema may be there");
        }
        if choice.subject.is_some() && choice.strategy.is_some() {
            return wrong("only one of subject and subject_name_strategy may be there");
        }
        if choice.text.is_some() && self.format.is_none() {
            return wrong("a schema needs a type: AVRO, JSONSCHEMA or PROTOBUF");
        }
        Ok(())
    }
}

fn optional_type(scanner: &mut Scanner<'_>) -> Result<Option<Format>, FormatError> {
    let at = scanner.position();
    let Some(name) = optional_text(scanner, "a type in a string")? else { return Ok(None) };
    let text = "a type is BINARY, JSON, STRING, AVRO, JSONSCHEMA or PROTOBUF";
    let format = Format::of_v3_type(&name);
    format.map(Some).ok_or_else(|| FormatError::new(Code::Unprocessable, text).at(at))
}

fn optional_strategy(scanner: &mut Scanner<'_>) -> Result<Option<SubjectNameStrategy>, FormatError> {
    let at = scanner.position();
    let Some(name) = optional_text(scanner, "a strategy in a string")? else { return Ok(None) };
    match name.as_str() {
        "TOPIC_NAME" => Ok(Some(SubjectNameStrategy::TopicName)),
        "RECORD_NAME" => Ok(Some(SubjectNameStrategy::RecordName)),
        "TOPIC_RECORD_NAME" => Ok(Some(SubjectNameStrategy::TopicRecordName)),
        _ => {
            let text = "a strategy is TOPIC_NAME, RECORD_NAME or TOPIC_RECORD_NAME";
            Err(FormatError::new(Code::Unprocessable, text).at(at))
        }
    }
}

/// RFC 3339 text as milliseconds since 1970, zero or more, or null.
fn optional_moment(scanner: &mut Scanner<'_>) -> Result<Option<i64>, FormatError> {
    let at = scanner.position();
    let Some(text) = optional_text(scanner, "a moment as RFC 3339 writes it, in a string")? else { return Ok(None) };
    match text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond) {
        Ok(milliseconds @ 0..) => Ok(Some(milliseconds)),
        _ => {
            let text = "a moment since 1970 as RFC 3339 writes it is expected, like 2026-02-05T19:14:42.123Z";
            Err(FormatError::new(Code::Unprocessable, text).at(at))
        }
    }
}
