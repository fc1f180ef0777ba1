//! Bodies of `POST /topics/{topic}` and `POST /topics/{topic}/partitions/{partition}` of the v2 API.
//!
//! A body arrives whole, records leave in their order. JSON values are slices of the body; base64 and escaped text are
//! decoded into one buffer. A member that the API does not have is refused, since a mistyped `partition` would be lost
//! without a word, and one that occurs twice is refused, since two readers would see two records.

use bytes::Bytes;

use super::{Format, FormatError, Limits, Scanner, Scratch, Text};
use crate::rest::Code;
use crate::rest::record::Record;

/// What a body asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceBody {
    /// The records in their order, at least one. Keys and values of formats with schemas are still JSON text.
    pub records: Vec<Record>,
    /// The schema of all keys, as text.
    pub key_schema: Option<String>,
    /// The registry's number of the keys' schema.
    pub key_schema_id: Option<i32>,
    /// The schema of all values, as text.
    pub value_schema: Option<String>,
    /// The registry's number of the values' schema.
    pub value_schema_id: Option<i32>,
}

/// Reads a produce body whose keys and values are in `format`.
///
/// # Errors
/// `BadRequest` for what is no JSON, `Unprocessable` for JSON that is no produce body, `InvalidPayload` for a key, value or header that
/// cannot be decoded, `TooLarge` beyond the limits, `KeySchemaMissing` and `ValueSchemaMissing` for a format with
/// schemas and a body without.
pub fn parse_v2(format: Format, body: &Bytes, limits: &Limits) -> Result<ProduceBody, FormatError> {
    let mut scanner = Scanner::new(body, 0, limits.max_depth)?;
    let mut reader = Reader { source: body, format, limits, scratch: Scratch::new(body.len()) };
    let mut produce = ProduceBody::default();
    let mut seen = Seen::default();
    scanner.members(|scanner, name| {
        let at = scanner.position();
        if name.is("records") {
            seen.mark(0, at)?;
            produce.records = reader.records(scanner)?;
        } else if name.is("key_schema") {
            seen.mark(1, at)?;
            produce.key_schema = optional_text(scanner, "a schema in a string")?;
        } else if name.is("key_schema_id") {
            seen.mark(2, at)?;
            produce.key_schema_id = optional_number(scanner, "the number of a schema")?;
        } else if name.is("value_schema") {
            seen.mark(3, at)?;
            produce.value_schema = optional_text(scanner, "a schema in a string")?;
        } else if name.is("value_schema_id") {
            seen.mark(4, at)?;
            produce.value_schema_id = optional_number(scanner, "the number of a schema")?;
        } else {
            return Err(unknown("records, key_schema, key_schema_id, value_schema, value_schema_id", at));
        }
        Ok(())
    })?;
    scanner.end()?;
    if produce.records.is_empty() {
        return Err(FormatError::new(Code::Unprocessable, "records may not be absent or empty"));
    }
    if format.has_schema() {
        produce.require_schemas()?;
    }
    Ok(produce)
}

impl ProduceBody {
    fn require_schemas(&self) -> Result<(), FormatError> {
        let has_key_schema = self.key_schema.is_some() || self.key_schema_id.is_some();
        if !has_key_schema && let Some(record) = self.records.iter().position(|record| record.key.is_some()) {
            let text = "a key has no schema: add key_schema or key_schema_id";
            return Err(FormatError::new(Code::KeySchemaMissing, text).in_record(record));
        }
        let has_value_schema = self.value_schema.is_some() || self.value_schema_id.is_some();
        if !has_value_schema && let Some(record) = self.records.iter().position(|record| record.value.is_some()) {
            let text = "a value has no schema: add value_schema or value_schema_id";
            return Err(FormatError::new(Code::ValueSchemaMissing, text).in_record(record));
        }
        Ok(())
    }
}

/// Takes records out of one body.
pub(super) struct Reader<'a> {
    /// What the scanner's bytes are a view of.
    pub(super) source: &'a Bytes,
    pub(super) format: Format,
    pub(super) limits: &'a Limits,
    pub(super) scratch: Scratch,
}

impl<'a> Reader<'a> {
    fn records(&mut self, scanner: &mut Scanner<'a>) -> Result<Vec<Record>, FormatError> {
        let mut records = Vec::new();
        scanner.elements(|scanner, index| {
            if index == self.limits.max_records {
                let text = format!("more than {index} records in one request: send several requests");
                return Err(FormatError::new(Code::TooLarge, text).in_record(index));
            }
            let record = self.record(scanner).map_err(|error| error.in_record(index))?;
            records.push(record);
            Ok(())
        })?;
        Ok(records)
    }

    fn record(&mut self, scanner: &mut Scanner<'a>) -> Result<Record, FormatError> {
        let mut record = Record::default();
        let mut seen = Seen::default();
        let start = scanner.position();
        scanner.members(|scanner, name| {
            let at = scanner.position();
            if name.is("value") {
                seen.mark(0, at)?;
                record.value = self.embedded(scanner)?;
            } else if name.is("key") {
                seen.mark(1, at)?;
                record.key = self.embedded(scanner)?;
            } else if name.is("partition") {
                seen.mark(2, at)?;
                record.partition = optional_number(scanner, "the number of a partition")?;
            } else if name.is("timestamp") {
                seen.mark(3, at)?;
                record.timestamp = optional_milliseconds(scanner)?;
            } else if name.is("headers") {
                seen.mark(4, at)?;
                record.headers = self.headers(scanner, "key")?;
            } else {
                return Err(unknown("key, value, partition, timestamp, headers", at));
            }
            Ok(())
        })?;
        self.check_size(&record).map_err(|error| error.at(start))?;
        Ok(record)
    }

    pub(super) fn check_size(&self, record: &Record) -> Result<(), FormatError> {
        if record.size() <= self.limits.max_record_bytes {
            return Ok(());
        }
        let (size, limit) = (record.size(), self.limits.max_record_bytes);
        Err(FormatError::new(Code::TooLarge, format!("{size} bytes are beyond the limit of {limit}")))
    }

    /// A key or value in the body's format; JSON's null is Kafka's.
    fn embedded(&mut self, scanner: &mut Scanner<'a>) -> Result<Option<Bytes>, FormatError> {
        if scanner.null()? {
            return Ok(None);
        }
        let bytes = match self.format {
            Format::Binary => self.base64(scanner)?,
            Format::Text => self.text(scanner)?,
            Format::Json | Format::Avro | Format::JsonSchema | Format::Protobuf => self.source.slice(scanner.value()?),
        };
        Ok(Some(bytes))
    }

    pub(super) fn base64(&mut self, scanner: &mut Scanner<'a>) -> Result<Bytes, FormatError> {
        let at = scanner.position();
        let text = scanner.string("base64 in a string").map_err(into_payload)?;
        let decoded = self.scratch.base64(text.raw, text.is_escaped);
        decoded.ok_or_else(|| FormatError::new(Code::InvalidPayload, "not base64").at(at))
    }

    pub(super) fn text(&mut self, scanner: &mut Scanner<'a>) -> Result<Bytes, FormatError> {
        let at = scanner.position();
        let text = scanner.string("a string").map_err(into_payload)?;
        if !text.is_escaped {
            return Ok(self.source.slice(text.start..text.start + text.raw.len()));
        }
        let unescaped = self.scratch.unescape(text.raw);
        unescaped.ok_or_else(|| FormatError::new(Code::InvalidPayload, LONE_SURROGATE).at(at))
    }

    /// An array of `{NAME: …, "value": base64 or null}`; `name` is what this API calls a header's name.
    pub(super) fn headers(
        &mut self,
        scanner: &mut Scanner<'a>,
        name: &'static str,
    ) -> Result<Vec<(String, Option<Bytes>)>, FormatError> {
        let mut headers = Vec::new();
        if scanner.null()? {
            return Ok(headers);
        }
        scanner.elements(|scanner, index| {
            let at = scanner.position();
            if index == self.limits.max_headers {
                let text = format!("more than {index} headers in one record");
                return Err(FormatError::new(Code::TooLarge, text).at(at));
            }
            headers.push(self.header(scanner, name)?);
            Ok(())
        })?;
        Ok(headers)
    }

    fn header(
        &mut self,
        scanner: &mut Scanner<'a>,
        name: &'static str,
    ) -> Result<(String, Option<Bytes>), FormatError> {
        let mut key = None;
        let mut value = None;
        let mut seen = Seen::default();
        let start = scanner.position();
        scanner.members(|scanner, member| {
            let at = scanner.position();
            if member.is(name) {
                seen.mark(0, at)?;
                key = Some(owned_text(scanner.string("the name of a header")?, at)?);
            } else if member.is("value") {
                seen.mark(1, at)?;
                value = if scanner.null()? { None } else { Some(self.base64(scanner)?) };
            } else {
                return Err(unknown(if name == "key" { "key, value" } else { "name, value" }, at));
            }
            Ok(())
        })?;
        let nameless = || FormatError::new(Code::Unprocessable, format!("a header has no {name}")).at(start);
        Ok((key.ok_or_else(nameless)?, value))
    }
}

/// Which members of an object were there.
#[derive(Default)]
pub(super) struct Seen(u16);

impl Seen {
    /// Refuses the second one.
    pub(super) fn mark(&mut self, member: u8, at: usize) -> Result<(), FormatError> {
        let bit = 1 << member;
        if self.0 & bit != 0 {
            return Err(FormatError::new(Code::Unprocessable, "the member is there twice").at(at));
        }
        self.0 |= bit;
        Ok(())
    }
}

/// A member that is not of the API. Its name may be anything and is not repeated.
pub(super) fn unknown(known: &'static str, at: usize) -> FormatError {
    FormatError::new(Code::Unprocessable, format!("a member of another name than: {known}")).at(at)
}

/// The string as owned characters.
pub(super) fn owned_text(text: Text<'_>, at: usize) -> Result<String, FormatError> {
    text.to_text().ok_or_else(|| FormatError::new(Code::InvalidPayload, LONE_SURROGATE).at(at))
}

/// A string or null.
pub(super) fn optional_text(scanner: &mut Scanner<'_>, what: &'static str) -> Result<Option<String>, FormatError> {
    let at = scanner.position();
    if scanner.null()? {
        return Ok(None);
    }
    owned_text(scanner.string(what)?, at).map(Some)
}

/// A number of zero to 2^31-1, or null.
pub(super) fn optional_number(scanner: &mut Scanner<'_>, what: &'static str) -> Result<Option<i32>, FormatError> {
    let at = scanner.position();
    if scanner.null()? {
        return Ok(None);
    }
    match i32::try_from(scanner.integer(what)?) {
        Ok(number) if number >= 0 => Ok(Some(number)),
        _ => Err(FormatError::new(Code::Unprocessable, format!("{what} is expected")).at(at)),
    }
}

/// Milliseconds since 1970, zero or more, or null.
fn optional_milliseconds(scanner: &mut Scanner<'_>) -> Result<Option<i64>, FormatError> {
    let at = scanner.position();
    if scanner.null()? {
        return Ok(None);
    }
    match scanner.integer("milliseconds since 1970")? {
        milliseconds @ 0.. => Ok(Some(milliseconds)),
        _ => Err(FormatError::new(Code::Unprocessable, "a timestamp before 1970").at(at)),
    }
}

/// A key or value of the wrong JSON kind is the payload's mistake, not the envelope's.
fn into_payload(error: FormatError) -> FormatError {
    if error.code() == Code::Unprocessable { error.of(Code::InvalidPayload) } else { error }
}

const LONE_SURROGATE: &str = "half of a surrogate pair";
