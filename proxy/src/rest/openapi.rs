//! `/openapi.json`: the API as OpenAPI 3.1 describes it, made of the operations that are served and of the types that they read and
//! write.
//!
//! Arrives: the list of operations. Leaves: one document, written when the bridge starts. What must never happen here: a path or a
//! method that is served and not in it.

use std::collections::BTreeMap;

use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::operation::{Content, Described, JSON, Operation};

/// The document as it is served.
#[derive(Clone)]
pub struct Document(Bytes);

impl Document {
    /// Of these operations.
    pub fn of(operations: &[Operation]) -> Self {
        Self(serde_json::to_vec_pretty(&describe(operations)).unwrap_or_default().into())
    }

    /// The answer.
    pub fn response(&self) -> Response {
        ([(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, "no-cache")], self.0.clone()).into_response()
    }
}

/// Schemas of what is read and what is written: a member with a default may be left out of one, and is always in the other.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

fn describe(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let written = settings.clone().for_serialize().into_generator();
    let mut schemas = Schemas { read: settings.into_generator(), written };
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| {
            let mut path = Map::new();
            if operation.path.starts_with("/v3/") {
                path.insert("servers".to_owned(), json!([{ "url": "/" }, { "url": "/kafka" }]));
            }
            path
        });
        path.insert(operation.method.as_str().to_ascii_lowercase(), schemas.operation(operation));
    }
    let mut components = schemas.read.take_definitions(true);
    components.append(&mut schemas.written.take_definitions(true));
    components.insert("Error".to_owned(), error_schema());
    components.insert("Problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Barnabas HTTP bridge",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
            "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "certificate": [] }, { "basic": [] }, { "bearer": [] }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "certificate": { "type": "mutualTLS", "description": "the client certificate of the connection" },
                "basic": { "type": "http", "scheme": "basic" },
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
            "responses": {
                "Error": error_response("What is wrong; 429 and 503 say when to try again in Retry-After"),
                "InTheWay": error_response(
                    "Something else is in the way; or a request with the same Idempotency-Key is under way: ask again when it is done",
                ),
                "NoRequest": error_response(
                    "Well-formed and no request; or the Idempotency-Key was used for another request",
                ),
            },
            "parameters": { "IdempotencyKey": key_parameter() },
            "headers": {
                "IdempotencyReplayed": {
                    "description": "true: the request was made before, and this is the answer that it got then",
                    "schema": { "const": "true" },
                },
            },
        },
    })
}

impl Schemas {
    fn operation(&mut self, operation: &Operation) -> Value {
        let mut described = Map::new();
        described.insert("operationId".to_owned(), operation_id(operation).into());
        described.insert("summary".to_owned(), operation.summary.into());
        described.insert("tags".to_owned(), json!([operation.tag]));
        let mut parameters: Vec<Value> = path_parameters(operation.path).chain(query_parameters(operation)).collect();
        let takes_key = operation.method == Method::POST && !operation.is_public;
        if takes_key {
            parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        }
        if !parameters.is_empty() {
            described.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(body) = &operation.body {
            let content = self.contents(&body.contents);
            described.insert("requestBody".to_owned(), json!({ "required": body.is_required, "content": content }));
        }
        let mut answers = Map::new();
        for (status, about, contents) in &operation.answers {
            let mut answer = match contents.is_empty() {
                true => json!({ "description": about }),
                false => json!({ "description": about, "content": self.contents(contents) }),
            };
            if let Some(answer) = answer.as_object_mut().filter(|_| takes_key && *status < 300) {
                let replayed = json!({ "$ref": "#/components/headers/IdempotencyReplayed" });
                answer.insert("headers".to_owned(), json!({ "Idempotency-Replayed": replayed }));
            }
            answers.insert(status.to_string(), answer);
        }
        if takes_key {
            for (status, name) in [("409", "InTheWay"), ("422", "NoRequest")] {
                let response = || json!({ "$ref": format!("#/components/responses/{name}") });
                answers.entry(status.to_owned()).or_insert_with(response);
            }
        }
        if operation.is_public {
            described.insert("security".to_owned(), json!([]));
        } else {
            answers.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Error" }));
        }
        described.insert("responses".to_owned(), answers.into());
        described.into()
    }

    fn contents(&mut self, contents: &[Content]) -> Value {
        let forms = contents.iter().map(|content| {
            let form = match &content.schema {
                None => json!({}),
                Some(Described::Value(schema)) => json!({ "schema": schema }),
                Some(Described::Written(of)) => json!({ "schema": of(&mut self.written) }),
                Some(Described::Read(of)) => json!({ "schema": of(&mut self.read) }),
            };
            (content.kind.to_owned(), form)
        });
        Value::Object(forms.collect())
    }
}

/// `getV3ClustersTopics`: unique, and stable as long as path and method are.
fn operation_id(operation: &Operation) -> String {
    let mut id = operation.method.as_str().to_ascii_lowercase();
    for part in operation.path.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let mut letters = part.chars();
        id.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        id.extend(letters);
    }
    // `-` stands for all there, and must be told from its neighbour.
    id + &"All".repeat(operation.path.matches("/-").count())
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let is_number = matches!(name, "partition" | "partition_id" | "broker_id");
        let schema =
            if is_number { json!({ "type": "integer", "format": "int32" }) } else { json!({ "type": "string" }) };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    })
}

fn query_parameters(operation: &Operation) -> impl Iterator<Item = Value> {
    operation.query.iter().map(|word| {
        json!({
            "name": word.name, "in": "query", "required": word.is_required, "description": word.about,
            "schema": word.schema,
        })
    })
}

fn key_parameter() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "A name for this request, such as a UUID: made again under the same name it is not carried out again, and gets the first answer",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Za-z0-9_-]+$" },
    })
}

fn error_response(about: &str) -> Value {
    let schema = |name: &str| json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } });
    json!({
        "description": about,
        "content": {
            "application/json": schema("Error"),
            "application/vnd.kafka.v2+json": schema("Error"),
            "application/vnd.kafka+json": schema("Error"),
            "application/problem+json": schema("Problem"),
        },
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error_code", "message"],
        "properties": { "error_code": { "type": "integer" }, "message": { "type": "string" } },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "error_code"],
        "properties": {
            "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
            "detail": { "type": "string" }, "error_code": { "type": "integer" },
        },
    })
}

const INTRODUCTION: &str = "Apache Kafka for clients that speak HTTPS. Every caller has an identity and a key of its own; records of \
sealed topics are sealed under it before they reach a broker. A record that is called written has been acknowledged by all replicas \
that are in sync.";
