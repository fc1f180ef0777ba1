//! Keys and values that have a schema in a registry: Avro, Protobuf and JSON Schema.
//!
//! JSON of a request arrives and the bytes of the registry's wire format leave, and the reverse. What must never happen
//! here: a look-up at the registry for each record, an answer of the registry without a bound, a schema that makes us
//! open another address.

mod http;
mod cache;
mod registry;
pub mod wire;
mod compiled;
pub mod avro;
#[cfg(feature = "schemas-protobuf")]
pub mod protobuf;
#[cfg(feature = "schemas-json")]
pub mod json_schema;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Code;
use super::formats::{Format, FormatError, Part, ProduceBody, SchemaChoice, SubjectNameStrategy};
use registry::{Registered, Registry};

pub use compiled::Schema;
pub use http::{HttpError, RegistryCredential, RegistrySettings};

/// A registry, as the bridge uses it.
pub struct Schemas {
    registry: Registry,
    max_text: usize,
}

/// Whether a schema is of keys or of values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Of keys.
    Key,
    /// Of values.
    Value,
}

/// The schema that values of a request are written with.
#[derive(Clone)]
pub struct Chosen {
    /// The schema.
    pub schema: Arc<Schema>,
    /// The subject that it is of.
    pub subject: String,
    /// Its version within the subject, where that was asked for.
    pub version: Option<i32>,
}

impl Schemas {
    /// Checks the settings and reads the certificates; connects to nobody. `max_record_bytes` is the limit of a record:
    /// the JSON of one that is read is bounded by a multiple of it.
    ///
    /// # Errors
    /// `HttpError::Setting`.
    pub fn new(settings: &RegistrySettings, max_record_bytes: usize) -> Result<Self, HttpError> {
        Ok(Self { registry: Registry::new(settings)?, max_text: max_record_bytes.saturating_mul(TEXT_PER_BYTE) })
    }

    /// The schema of a v3 key or value: by its number, version or text, or the latest of its subject. With its version,
    /// as v3 answers tell it.
    ///
    /// # Errors
    /// `InvalidSchema`, when there is none, or it is of another type than the request says; `Serialization`, when the
    /// registry does not answer.
    pub async fn choose(&self, topic: &str, role: Role, part: &Part) -> Result<Chosen, FormatError> {
        let none = SchemaChoice::default();
        let choice = part.schema.as_deref().unwrap_or(&none);
        let mut chosen = if let Some(id) = choice.id {
            let schema = self.registry.by_id(id).await?;
            Chosen { subject: choice.subject(topic, role, schema.record_name())?, schema, version: None }
        } else if let (Some(text), Some(format)) = (&choice.text, part.format) {
            let name = if choice.is_named_by_record() { record_name(format, text).await? } else { None };
            let subject = choice.subject(topic, role, name.as_deref())?;
            Chosen::new(self.registry.by_text(&subject, format, text).await?, subject)
        } else {
            let subject = choice.subject(topic, role, None)?;
            Chosen::new(self.registry.by_version(&subject, choice.version).await?, subject)
        };
        if part.format.is_some_and(|format| format != chosen.schema.format()) {
            return Err(FormatError::new(Code::InvalidSchema, "the schema is of another type than the request says"));
        }
        if chosen.version.is_none() {
            chosen.version = Some(self.registry.version(&chosen.subject, &chosen.schema).await?);
        }
        Ok(chosen)
    }

    /// Turns the JSON of a v2 body's keys and values into bytes, and gives the numbers of the schemas of keys and values
    /// that the answer tells.
    ///
    /// # Errors
    /// As [`Self::choose`]; `JsonConversion` names the record.
    pub async fn write_v2(
        &self,
        topic: &str,
        format: Format,
        body: &mut ProduceBody,
    ) -> Result<(Option<i32>, Option<i32>), FormatError> {
        let key = self.of_body(topic, Role::Key, format, body.key_schema_id, body.key_schema.as_deref()).await?;
        let value =
            self.of_body(topic, Role::Value, format, body.value_schema_id, body.value_schema.as_deref()).await?;
        let mut out = BytesMut::new();
        for (index, record) in body.records.iter_mut().enumerate() {
            for (schema, field) in [(&key, &mut record.key), (&value, &mut record.value)] {
                if let (Some(schema), Some(json)) = (schema, &*field) {
                    *field = Some(write(schema, json, &mut out).map_err(|error| error.in_record(index))?);
                }
            }
        }
        Ok((key.map(|schema| schema.id()), value.map(|schema| schema.id())))
    }

    /// The JSON of a key or value that a consumer of `format` was given; nothing for null.
    ///
    /// # Errors
    /// `FormatMismatch` for bytes without a schema or with one of another format, `Serialization` when the registry does
    /// not answer, does not know the schema, or the bytes are not of it.
    pub async fn read(&self, format: Format, bytes: Option<&[u8]>) -> Result<Option<Bytes>, FormatError> {
        let Some(bytes) = bytes else { return Ok(None) };
        let mismatch = |text: &'static str| FormatError::new(Code::FormatMismatch, text);
        let no_schema = "does not begin with the number of a schema: read it as binary";
        let (id, payload) = wire::split(bytes).ok_or_else(|| mismatch(no_schema))?;
        let schema = self.registry.by_id(id).await.map_err(|error| error.of(Code::Serialization))?;
        if schema.format() != format {
            return Err(mismatch("has a schema of another format than the consumer"));
        }
        let mut out = BytesMut::new();
        schema.read(payload, self.max_text, &mut out)?;
        Ok(Some(out.freeze()))
    }

    async fn of_body(
        &self,
        topic: &str,
        role: Role,
        format: Format,
        id: Option<i32>,
        text: Option<&str>,
    ) -> Result<Option<Arc<Schema>>, FormatError> {
        let schema = match (id, text) {
            (Some(id), _) => self.registry.by_id(id).await?,
            (None, Some(text)) => {
                let subject = SchemaChoice::default().subject(topic, role, None)?;
                self.registry.by_text(&subject, format, text).await?.schema
            }
            (None, None) => return Ok(None),
        };
        if schema.format() == format {
            return Ok(Some(schema));
        }
        Err(FormatError::new(Code::InvalidSchema, "the schema is of another type than the request"))
    }
}

impl Chosen {
    fn new(registered: Registered, subject: String) -> Self {
        Self { schema: registered.schema, subject, version: registered.version }
    }

    /// The bytes of one JSON value, with what stands before them.
    ///
    /// # Errors
    /// `JsonConversion`, when the value is not of the schema.
    pub fn write(&self, json: &[u8]) -> Result<Bytes, FormatError> {
        write(&self.schema, json, &mut BytesMut::new())
    }
}

impl SchemaChoice {
    fn is_named_by_record(&self) -> bool {
        self.subject.is_none() && !matches!(self.strategy, None | Some(SubjectNameStrategy::TopicName))
    }

    /// The subject, as it is said or made.
    fn subject(&self, topic: &str, role: Role, record: Option<&str>) -> Result<String, FormatError> {
        if let Some(subject) = &self.subject {
            return Ok(subject.clone());
        }
        let record = || {
            let text = "subject_name_strategy takes the name of a record, and none is known: name the subject";
            record.ok_or_else(|| FormatError::new(Code::InvalidSchema, text))
        };
        Ok(match (self.strategy.unwrap_or_default(), role) {
            (SubjectNameStrategy::TopicName, Role::Key) => format!("{topic}-key"),
            (SubjectNameStrategy::TopicName, Role::Value) => format!("{topic}-value"),
            (SubjectNameStrategy::RecordName, _) => record()?.to_owned(),
            (SubjectNameStrategy::TopicRecordName, _) => format!("{topic}-{}", record()?),
        })
    }
}

/// The name of the type that a schema's text describes.
async fn record_name(format: Format, text: &str) -> Result<Option<String>, FormatError> {
    let schema = Schema::compile(0, format, text.to_owned(), Vec::new()).await?;
    Ok(schema.record_name().map(str::to_owned))
}

/// Bytes of one value at the end of a buffer that several share.
fn write(schema: &Schema, json: &[u8], out: &mut BytesMut) -> Result<Bytes, FormatError> {
    out.clear();
    wire::push(out, schema.id());
    schema.write(json, out)?;
    Ok(out.split().freeze())
}

/// JSON is longer than what it tells: names of fields, digits, default values.
const TEXT_PER_BYTE: usize = 16;

#[cfg(test)]
mod tests;
