//! One schema, compiled, of any of the three kinds.
//!
//! JSON text arrives and bytes leave, or the reverse; what stands before the bytes is the caller's.

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::{Value, json};

use super::avro::AvroSchema;
#[cfg(feature = "schemas-json")]
use super::json_schema::JsonSchema;
#[cfg(feature = "schemas-protobuf")]
use super::protobuf::ProtobufSchema;
use crate::rest::Code;
#[cfg(feature = "schemas-json")]
use crate::rest::formats::is_json;
use crate::rest::formats::{Format, FormatError};

/// A schema with its number.
pub struct Schema {
    id: i32,
    text: String,
    references: Vec<Referred>,
    kind: Kind,
}

/// A schema that another refers to.
pub(super) struct Referred {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: i32,
    pub(super) text: String,
}

enum Kind {
    Avro(AvroSchema, Option<String>),
    #[cfg(feature = "schemas-json")]
    JsonSchema(Box<JsonSchema>),
    #[cfg(feature = "schemas-protobuf")]
    Protobuf(ProtobufSchema),
}

impl Schema {
    /// Compiles a text, away from the threads that serve requests: it comes from a client or a registry, and a large
    /// one takes its time.
    pub(super) async fn compile(
        id: i32,
        format: Format,
        text: String,
        references: Vec<Referred>,
    ) -> Result<Arc<Self>, FormatError> {
        let compile = move || {
            let kind = Kind::compile(format, &text, &references)?;
            Ok(Arc::new(Self { id, text, references, kind }))
        };
        let broken = |_| FormatError::new(Code::InvalidSchema, "the schema cannot be read");
        tokio::task::spawn_blocking(compile).await.map_err(broken)?
    }

    /// The registry's number.
    #[must_use]
    pub const fn id(&self) -> i32 {
        self.id
    }

    /// Its format.
    #[must_use]
    pub const fn format(&self) -> Format {
        match self.kind {
            Kind::Avro(..) => Format::Avro,
            #[cfg(feature = "schemas-json")]
            Kind::JsonSchema(_) => Format::JsonSchema,
            #[cfg(feature = "schemas-protobuf")]
            Kind::Protobuf(_) => Format::Protobuf,
        }
    }

    /// The name of the type that it describes, for subjects that are named by it.
    #[must_use]
    pub fn record_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Avro(_, name) => name.as_deref(),
            #[cfg(feature = "schemas-json")]
            Kind::JsonSchema(schema) => schema.record_name(),
            #[cfg(feature = "schemas-protobuf")]
            Kind::Protobuf(schema) => Some(schema.record_name()),
        }
    }

    /// Appends the bytes of one JSON value.
    ///
    /// # Errors
    /// `JsonConversion`, when the value is not of the schema.
    pub fn write(&self, json: &[u8], out: &mut BytesMut) -> Result<(), FormatError> {
        match &self.kind {
            Kind::Avro(schema, _) => schema.write(json, out),
            #[cfg(feature = "schemas-protobuf")]
            Kind::Protobuf(schema) => schema.write(json, out),
            #[cfg(feature = "schemas-json")]
            Kind::JsonSchema(schema) => {
                schema.check(json)?;
                out.extend_from_slice(json);
                Ok(())
            }
        }
    }

    /// Appends the JSON of a value's bytes. `max_text` bounds it.
    ///
    /// # Errors
    /// `Serialization`, when the bytes are not of the schema.
    pub fn read(&self, bytes: &[u8], max_text: usize, out: &mut BytesMut) -> Result<(), FormatError> {
        match &self.kind {
            Kind::Avro(schema, _) => schema.read(bytes, max_text, out),
            #[cfg(feature = "schemas-protobuf")]
            Kind::Protobuf(schema) => schema.read(bytes, max_text, out),
            // The writer's check is not repeated.
            #[cfg(feature = "schemas-json")]
            Kind::JsonSchema(_) if is_json(bytes, usize::MAX) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            #[cfg(feature = "schemas-json")]
            Kind::JsonSchema(_) => Err(FormatError::new(Code::Serialization, "the value is not JSON")),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The registry's word for the format.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Avro(..) => "AVRO",
            #[cfg(feature = "schemas-json")]
            Kind::JsonSchema(_) => "JSON",
            #[cfg(feature = "schemas-protobuf")]
            Kind::Protobuf(_) => "PROTOBUF",
        }
    }

    /// References as the registry's calls have them, those of references not among them.
    pub(super) fn references(&self) -> Vec<Value> {
        let told = |known: &Referred| json!({"name": known.name, "subject": known.subject, "version": known.version});
        self.references.iter().map(told).collect()
    }
}

impl Kind {
    fn compile(format: Format, text: &str, references: &[Referred]) -> Result<Self, FormatError> {
        #[cfg(any(feature = "schemas-json", feature = "schemas-protobuf"))]
        let named = || references.iter().map(|known| (known.name.clone(), known.text.clone())).collect::<Vec<_>>();
        match format {
            Format::Avro => {
                let texts: Vec<_> = references.iter().map(|known| known.text.clone()).collect();
                Ok(Self::Avro(AvroSchema::parse(text, &texts)?, AvroSchema::record_name(text)?))
            }
            #[cfg(feature = "schemas-json")]
            Format::JsonSchema => Ok(Self::JsonSchema(Box::new(JsonSchema::parse(text, &named())?))),
            #[cfg(feature = "schemas-protobuf")]
            Format::Protobuf => Ok(Self::Protobuf(ProtobufSchema::parse(text, &named())?)),
            _ => {
                let text = format!("this gateway was built without schemas of type {}", format.v3_type());
                Err(FormatError::new(Code::InvalidSchema, text))
            }
        }
    }
}
