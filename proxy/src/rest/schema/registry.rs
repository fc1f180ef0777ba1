//! The calls of a schema registry (Confluent's API), and what they found, kept.
//!
//! Numbers, subjects and texts arrive, compiled schemas leave. A schema never changes under its number, so it is kept
//! until others need its place; the latest of a subject is asked for again after a minute.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::cache::Cache;
use super::compiled::{Referred, Schema};
use super::http::{Client, HttpError, RegistrySettings};
use crate::rest::Code;
use crate::rest::formats::{Format, FormatError};

/// A registry with what is known of it.
pub(super) struct Registry {
    client: Client,
    by_id: Cache<i32, Arc<Schema>>,
    by_version: Cache<(String, Option<i32>), Registered>,
    by_text: Cache<(String, Format, String), Registered>,
    /// Numbers that a subject has a version of.
    versions: Cache<(String, i32), i32>,
}

/// A schema within a subject.
#[derive(Clone)]
pub(super) struct Registered {
    pub(super) schema: Arc<Schema>,
    pub(super) version: Option<i32>,
}

/// How the registry tells a schema; which members are there depends on the call.
#[derive(Deserialize)]
struct Told {
    id: Option<i32>,
    version: Option<i32>,
    schema: Option<String>,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i32,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: i32,
}

impl Registry {
    pub(super) fn new(settings: &RegistrySettings) -> Result<Self, HttpError> {
        let limit = settings.max_schemas;
        Ok(Self {
            client: Client::new(settings)?,
            by_id: Cache::new(limit, None),
            by_version: Cache::new(limit, Some(LATEST_LIFETIME)),
            by_text: Cache::new(limit, None),
            versions: Cache::new(limit, None),
        })
    }

    /// The schema with this number.
    pub(super) async fn by_id(&self, id: i32) -> Result<Arc<Schema>, FormatError> {
        let look_up = || async move {
            let told = self.ask(&format!("/schemas/ids/{id}"), None).await?;
            self.compile(id, told).await
        };
        self.by_id.find(&id, look_up).await
    }

    /// The schema of a subject's version, or its latest.
    pub(super) async fn by_version(&self, subject: &str, version: Option<i32>) -> Result<Registered, FormatError> {
        let look_up = || async {
            let version = version.map_or_else(|| "latest".to_owned(), |version| version.to_string());
            let told = self.ask(&format!("/subjects/{}/versions/{version}", encoded(subject)), None).await?;
            let version = told.version;
            let id = told.id.ok_or_else(|| unfit("has no id"))?;
            let schema = self.by_id.find(&id, || self.compile(id, told)).await?;
            Ok(Registered { schema, version })
        };
        self.by_version.find(&(subject.to_owned(), version), look_up).await
    }

    /// The schema of this text under the subject, registered when it was not.
    pub(super) async fn by_text(&self, subject: &str, format: Format, text: &str) -> Result<Registered, FormatError> {
        if text.len() > MAX_TEXT {
            return Err(FormatError::new(Code::InvalidSchema, format!("a schema has at most {MAX_TEXT} bytes")));
        }
        let look_up = || async {
            // What does not compile here is not left to the registry.
            let _ = Schema::compile(0, format, text.to_owned(), Vec::new()).await?;
            let body = match format {
                Format::Protobuf => json!({"schema": text, "schemaType": "PROTOBUF"}),
                Format::JsonSchema => json!({"schema": text, "schemaType": "JSON"}),
                _ => json!({"schema": text}),
            };
            let path = format!("/subjects/{}/versions", encoded(subject));
            let told = self.ask(&path, Some(body.to_string().into_bytes())).await?;
            let id = told.id.ok_or_else(|| unfit("has no id"))?;
            let compile = || Schema::compile(id, format, text.to_owned(), Vec::new());
            Ok(Registered { schema: self.by_id.find(&id, compile).await?, version: told.version })
        };
        self.by_text.find(&(subject.to_owned(), format, text.to_owned()), look_up).await
    }

    /// The version that a schema has within a subject.
    pub(super) async fn version(&self, subject: &str, schema: &Schema) -> Result<i32, FormatError> {
        let look_up = || async {
            let body = json!({"schema": schema.text(), "schemaType": schema.kind(), "references": schema.references()});
            let told =
                self.ask(&format!("/subjects/{}", encoded(subject)), Some(body.to_string().into_bytes())).await?;
            told.version.ok_or_else(|| unfit("has no version"))
        };
        self.versions.find(&(subject.to_owned(), schema.id()), look_up).await
    }

    async fn compile(&self, id: i32, told: Told) -> Result<Arc<Schema>, FormatError> {
        let format = match told.kind.as_deref() {
            None | Some("AVRO") => Format::Avro,
            Some("PROTOBUF") => Format::Protobuf,
            Some("JSON") => Format::JsonSchema,
            Some(_) => {
                return Err(FormatError::new(Code::InvalidSchema, "the schema has a type that is not read here"));
            }
        };
        let text = told.schema.ok_or_else(|| unfit("has no schema"))?;
        let references = self.references(told.references).await?;
        Schema::compile(id, format, text, references).await
    }

    /// Texts of what a schema refers to, and of what those refer to, each after those it needs.
    async fn references(&self, named: Vec<Reference>) -> Result<Vec<Referred>, FormatError> {
        let mut found: Vec<Referred> = Vec::new();
        // Those still to be asked for; one that was asked for waits below those that it needs.
        let mut waiting: Vec<(Reference, Option<String>)> = named.into_iter().rev().map(|name| (name, None)).collect();
        let mut asked = 0;
        while let Some((reference, text)) = waiting.pop() {
            let is_known = |known: &Referred| known.name == reference.name;
            if found.iter().any(is_known) {
                continue;
            }
            if let Some(text) = text {
                let Reference { name, subject, version } = reference;
                found.push(Referred { name, subject, version, text });
                continue;
            }
            asked += 1;
            if asked > MAX_REFERENCES {
                let text = format!("the schema refers to more than {MAX_REFERENCES} others");
                return Err(FormatError::new(Code::InvalidSchema, text));
            }
            let path = format!("/subjects/{}/versions/{}", encoded(&reference.subject), reference.version);
            let told = self.ask(&path, None).await?;
            let text = told.schema.ok_or_else(|| unfit("has no schema"))?;
            waiting.push((reference, Some(text)));
            waiting.extend(told.references.into_iter().rev().map(|name| (name, None)));
        }
        Ok(found)
    }

    async fn ask(&self, path: &str, body: Option<Vec<u8>>) -> Result<Told, FormatError> {
        let answer = self.client.ask(path, body).await;
        let (status, body) = answer.map_err(|error| {
            tracing::warn!(event = "schema_registry_failed", error = %error, "schema registry gives no answer");
            FormatError::new(Code::Serialization, error.to_string())
        })?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| unfit("is not JSON of the registry's API"));
        }
        Err(refusal(status, &body))
    }
}

/// What a registry's refusal means for who asked us.
fn refusal(status: StatusCode, body: &Bytes) -> FormatError {
    let code = serde_json::from_slice::<Refusal>(body).map(|refusal| refusal.error_code);
    let code = code.unwrap_or_else(|_| status.as_u16().into());
    let schema = |text: &'static str| FormatError::new(Code::InvalidSchema, text);
    match code {
        40401 => schema("the schema registry has no such subject"),
        40402 => schema("the subject has no such version"),
        40403 => schema("the schema registry has no such schema"),
        409 => schema("the schema is not compatible with the subject's earlier ones"),
        42201 => schema("the schema registry does not take the schema"),
        401 | 40101 | 403 | 40301 => {
            FormatError::new(Code::Serialization, format!("the schema registry refuses the gateway ({code})"))
        }
        _ => FormatError::new(Code::Serialization, format!("the schema registry answers with error {code}")),
    }
}

/// A subject as a part of a path.
fn encoded(subject: &str) -> String {
    let mut path = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && subject.len() > 2) {
            path.push(byte.into());
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

fn unfit(what: &'static str) -> FormatError {
    FormatError::new(Code::Serialization, format!("the schema registry's answer {what}"))
}

/// Of a schema that a client sends. Real ones have a few KiB.
const MAX_TEXT: usize = 256 * 1024;
/// Of one schema, those of references included.
const MAX_REFERENCES: usize = 100;
/// How long a subject's latest version may be another one.
const LATEST_LIFETIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_one_part_of_a_path() {
        assert_eq!(encoded("orders-value"), "orders-value");
        assert_eq!(encoded("a.b/../c d?é"), "a.b%2F..%2Fc%20d%3F%C3%A9");
        assert_eq!(encoded(".."), "%2E%2E");
    }

    #[test]
    fn refusals_have_the_codes_of_the_api() {
        let body = Bytes::from_static(br#"{"error_code":40403,"message":"Schema 7 not found"}"#);
        assert_eq!(refusal(StatusCode::NOT_FOUND, &body).code(), Code::InvalidSchema);
        assert_eq!(refusal(StatusCode::CONFLICT, &Bytes::new()).code(), Code::InvalidSchema);
        for status in [StatusCode::UNAUTHORIZED, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NOT_FOUND] {
            assert_eq!(refusal(status, &Bytes::new()).code(), Code::Serialization);
        }
    }
}
