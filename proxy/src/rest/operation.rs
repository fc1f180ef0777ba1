//! One operation of the API: a method and a path, who answers, and how both are described.
//!
//! The router and the OpenAPI document are made of the same list of operations, so nothing is served that is not described. What must
//! never happen here: an answer of an operation that its description does not have.

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::bridge::Bridge;

/// One operation.
pub struct Operation {
    /// How it is asked for.
    pub method: Method,
    /// The template of its path.
    pub path: &'static str,
    /// Who answers; `None` where `front.rs` does itself.
    pub served: Option<MethodRouter<Arc<Bridge>>>,
    /// The heading that it stands under.
    pub tag: &'static str,
    /// What it does, in a sentence without a full stop.
    pub summary: &'static str,
    /// Words of the query.
    pub query: Vec<Word>,
    /// The body, where it takes one.
    pub body: Option<Body>,
    /// What it answers when it works, by status.
    pub answers: Vec<(u16, &'static str, Vec<Content>)>,
    /// Whether it asks nobody who is calling.
    pub is_public: bool,
}

/// A body that an operation takes.
pub struct Body {
    /// The forms that it may have.
    pub contents: Vec<Content>,
    /// Whether it must be there.
    pub is_required: bool,
}

/// A form of a body: its content type and its schema.
pub struct Content {
    /// The content type.
    pub kind: &'static str,
    /// Its schema; `None` for any bytes.
    pub schema: Option<Described>,
}

/// How a schema is made: of a type that is written or read here, or by hand for what is written and read without one.
pub enum Described {
    /// Of a type that is written.
    Written(fn(&mut SchemaGenerator) -> Schema),
    /// Of a type that is read.
    Read(fn(&mut SchemaGenerator) -> Schema),
    /// By hand.
    Value(Value),
}

/// A word of the query.
pub struct Word {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// Its schema.
    pub schema: Value,
    /// Whether it must be there.
    pub is_required: bool,
}

impl Operation {
    /// An operation that a function answers.
    pub fn new<H, T>(method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Bridge>>,
        T: 'static,
    {
        Self { served: Some(on(filter(&method), handler)), ..Self::carried(method, path) }
    }

    /// An operation that carries records, which `front.rs` finds itself.
    pub fn carried(method: Method, path: &'static str) -> Self {
        Self {
            method,
            path,
            served: None,
            tag: "",
            summary: "",
            query: Vec::new(),
            body: None,
            answers: Vec::new(),
            is_public: false,
        }
    }

    /// `GET`.
    pub fn get<H: Handler<T, Arc<Bridge>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::GET, path, handler)
    }

    /// `POST`.
    pub fn post<H: Handler<T, Arc<Bridge>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::POST, path, handler)
    }

    /// `PUT`.
    pub fn put<H: Handler<T, Arc<Bridge>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::PUT, path, handler)
    }

    /// `PATCH`.
    pub fn patch<H: Handler<T, Arc<Bridge>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::PATCH, path, handler)
    }

    /// `DELETE`.
    pub fn delete<H: Handler<T, Arc<Bridge>>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::DELETE, path, handler)
    }

    /// Where it stands, and what it does.
    pub fn about(mut self, tag: &'static str, summary: &'static str) -> Self {
        self.tag = tag;
        self.summary = summary;
        self
    }

    /// Takes a word in the query.
    pub fn word(mut self, name: &'static str, schema: Value, about: &'static str) -> Self {
        self.query.push(Word { name, about, schema, is_required: false });
        self
    }

    /// Needs a word in the query.
    pub fn required_word(mut self, name: &'static str, schema: Value, about: &'static str) -> Self {
        self.query.push(Word { name, about, schema, is_required: true });
        self
    }

    /// Takes a body of JSON that is read as this type.
    pub fn takes<T: JsonSchema>(self) -> Self {
        self.takes_forms(vec![Content { kind: JSON, schema: Some(Described::read::<T>()) }])
    }

    /// Takes a body of one of these forms.
    pub fn takes_forms(mut self, contents: Vec<Content>) -> Self {
        self.body = Some(Body { contents, is_required: true });
        self
    }

    /// May be asked without the body that it takes.
    pub fn or_nothing(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body.is_required = false;
        }
        self
    }

    /// Answers JSON that is written of this type.
    pub fn gives<T: JsonSchema>(self, status: u16, about: &'static str) -> Self {
        self.gives_forms(status, about, vec![Content { kind: JSON, schema: Some(Described::written::<T>()) }])
    }

    /// Answers in one of these forms; none for an answer without a body.
    pub fn gives_forms(mut self, status: u16, about: &'static str, contents: Vec<Content>) -> Self {
        self.answers.push((status, about, contents));
        self
    }

    /// Answers nothing but its status.
    pub fn gives_nothing(self, status: u16, about: &'static str) -> Self {
        self.gives_forms(status, about, Vec::new())
    }

    /// Asks nobody who is calling.
    pub fn public(mut self) -> Self {
        self.is_public = true;
        self
    }
}

impl Described {
    /// Of a type that is written.
    pub fn written<T: JsonSchema>() -> Self {
        Self::Written(SchemaGenerator::subschema_for::<T>)
    }

    /// Of a type that is read.
    pub fn read<T: JsonSchema>() -> Self {
        Self::Read(SchemaGenerator::subschema_for::<T>)
    }
}

impl Content {
    /// A form with a schema written by hand.
    pub fn by_hand(kind: &'static str, schema: Value) -> Self {
        Self { kind, schema: Some(Described::Value(schema)) }
    }

    /// Any bytes.
    pub fn bytes(kind: &'static str) -> Self {
        Self { kind, schema: None }
    }
}

/// The method as the router knows it.
pub fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET)
}

/// The schema of a number from 0.
pub fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

/// The schema of any text.
pub fn text() -> Value {
    json!({ "type": "string" })
}

/// The content type of most answers.
pub const JSON: &str = "application/json";
