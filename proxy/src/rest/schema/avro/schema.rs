//! Avro schemas: JSON text arrives, a table of types leaves in which types name each other by their place.
//!
//! Names are resolved here once, so that values are walked without a look-up. Aliases, defaults and logical types are
//! for readers with a schema of their own and are not kept.

use std::collections::HashMap;

use serde_json::Value;

use crate::rest::Code;
use crate::rest::formats::FormatError;

/// A schema with everything that it refers to.
#[derive(Debug)]
pub struct AvroSchema {
    types: Vec<Type>,
    root: usize,
}

/// One type; others are named by their place in the table.
#[derive(Debug)]
pub(super) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(usize),
    Map(usize),
    Enum {
        symbols: Vec<String>,
    },
    Fixed {
        size: usize,
    },
    Record {
        /// Name and type.
        fields: Vec<(String, usize)>,
    },
    Union {
        /// What a value's member is called, and its type.
        branches: Vec<(String, usize)>,
    },
}

impl AvroSchema {
    /// Reads a schema. `references` are the texts of the schemas that it names types of, each after those it needs.
    ///
    /// # Errors
    /// `InvalidSchema`, with what is wrong.
    pub fn parse(text: &str, references: &[String]) -> Result<Self, FormatError> {
        let mut parser = Parser { types: Vec::new(), names: HashMap::new() };
        for reference in references {
            parser.text(reference)?;
        }
        let root = parser.text(text)?;
        Ok(Self { types: parser.types, root })
    }

    /// The full name of the schema's own type, when it is a named one.
    ///
    /// # Errors
    /// `InvalidSchema`, when the text is no schema.
    pub fn record_name(text: &str) -> Result<Option<String>, FormatError> {
        let value: Value = serde_json::from_str(text).map_err(|_| refused("is not JSON"))?;
        let Some(object) = value.as_object() else { return Ok(None) };
        match object.get("name").and_then(Value::as_str) {
            Some(_) => full_name(&value, "").map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn root(&self) -> usize {
        self.root
    }

    /// A type by its place. Places come from this table, so there is always one.
    pub(super) fn type_at(&self, place: usize) -> &Type {
        self.types.get(place).unwrap_or(&Type::Null)
    }
}

struct Parser {
    types: Vec<Type>,
    /// Full names of records, enums and fixed.
    names: HashMap<String, usize>,
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<usize, FormatError> {
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            // A primitive's bare name is taken as a schema too.
            Err(_) if text.bytes().all(|byte| byte.is_ascii_lowercase()) => Value::from(text),
            Err(_) => return Err(refused("is not JSON")),
        };
        self.schema(&value, "")
    }

    fn schema(&mut self, value: &Value, namespace: &str) -> Result<usize, FormatError> {
        match value {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => match object.get("type") {
                Some(Value::String(kind)) => self.complex(kind, value, namespace),
                Some(inner) => self.schema(inner, namespace),
                None => Err(refused("has an object without a type")),
            },
            _ => Err(refused("has something else than a name, an object or a list for a type")),
        }
    }

    /// A primitive, or a type that was declared before.
    fn named(&mut self, name: &str, namespace: &str) -> Result<usize, FormatError> {
        let primitive = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::String,
            _ => {
                let full = qualified(name, namespace);
                let known = self.names.get(&full).or_else(|| self.names.get(name));
                return known.copied().ok_or_else(|| refused("names a type that it does not have"));
            }
        };
        Ok(self.add(primitive))
    }

    fn complex(&mut self, kind: &str, value: &Value, namespace: &str) -> Result<usize, FormatError> {
        match kind {
            "array" => {
                let items = value.get("items").ok_or_else(|| refused("has an array without items"))?;
                let items = self.schema(items, namespace)?;
                Ok(self.add(Type::Array(items)))
            }
            "map" => {
                let values = value.get("values").ok_or_else(|| refused("has a map without values"))?;
                let values = self.schema(values, namespace)?;
                Ok(self.add(Type::Map(values)))
            }
            "record" | "error" => self.record(value, namespace),
            "enum" => {
                let list = value.get("symbols").and_then(Value::as_array);
                let symbols = list.map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect());
                let symbols = symbols.ok_or_else(|| refused("has an enum without symbols"))?;
                self.declare(Type::Enum { symbols }, value, namespace)
            }
            "fixed" => {
                let size = value.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| refused("has a fixed without a size"))?;
                self.declare(Type::Fixed { size }, value, namespace)
            }
            name => self.named(name, namespace),
        }
    }

    fn record(&mut self, value: &Value, namespace: &str) -> Result<usize, FormatError> {
        let list =
            value.get("fields").and_then(Value::as_array).ok_or_else(|| refused("has a record without fields"))?;
        // Declared first: a field may have the type that it is a field of.
        let place = self.declare(Type::Null, value, namespace)?;
        let full = full_name(value, namespace)?;
        let inner = full.rsplit_once('.').map_or("", |(inner, _)| inner);
        let mut fields: Vec<(String, usize)> = Vec::with_capacity(list.len());
        for field in list {
            let name =
                field.get("name").and_then(Value::as_str).ok_or_else(|| refused("has a field without a name"))?;
            if fields.iter().any(|(known, _)| known == name) {
                return Err(refused("has a record with the same field twice"));
            }
            let kind = field.get("type").ok_or_else(|| refused("has a field without a type"))?;
            let kind = self.schema(kind, inner)?;
            fields.push((name.to_owned(), kind));
        }
        if let Some(slot) = self.types.get_mut(place) {
            *slot = Type::Record { fields };
        }
        Ok(place)
    }

    fn union(&mut self, list: &[Value], namespace: &str) -> Result<usize, FormatError> {
        let mut branches: Vec<(String, usize)> = Vec::with_capacity(list.len());
        for branch in list {
            let place = self.schema(branch, namespace)?;
            let name = match self.types.get(place) {
                Some(Type::Null) => "null",
                Some(Type::Boolean) => "boolean",
                Some(Type::Int) => "int",
                Some(Type::Long) => "long",
                Some(Type::Float) => "float",
                Some(Type::Double) => "double",
                Some(Type::Bytes) => "bytes",
                Some(Type::String) => "string",
                Some(Type::Array(_)) => "array",
                Some(Type::Map(_)) => "map",
                Some(Type::Union { .. }) => return Err(refused("has a union directly inside another")),
                Some(Type::Enum { .. } | Type::Fixed { .. } | Type::Record { .. }) | None => "",
            };
            // A record that is still being read stands as null: its name tells them apart.
            let declared = self.names.iter().find(|&(_, &known)| known == place).map(|(name, _)| name.clone());
            let name = declared.unwrap_or_else(|| name.to_owned());
            if branches.iter().any(|(known, _)| *known == name) {
                return Err(refused("has a union with the same type twice"));
            }
            branches.push((name, place));
        }
        Ok(self.add(Type::Union { branches }))
    }

    fn declare(&mut self, declared: Type, value: &Value, namespace: &str) -> Result<usize, FormatError> {
        let name = full_name(value, namespace)?;
        let place = self.add(declared);
        if self.names.insert(name, place).is_some() {
            return Err(refused("declares a type twice"));
        }
        Ok(place)
    }

    fn add(&mut self, added: Type) -> usize {
        self.types.push(added);
        self.types.len() - 1
    }
}

/// The full name of a type that is declared here.
fn full_name(value: &Value, namespace: &str) -> Result<String, FormatError> {
    let name = value.get("name").and_then(Value::as_str).ok_or_else(|| refused("has a named type without a name"))?;
    let own = value.get("namespace").and_then(Value::as_str);
    Ok(qualified(name, own.unwrap_or(namespace)))
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn refused(what: &'static str) -> FormatError {
    FormatError::new(Code::InvalidSchema, format!("the avro schema {what}"))
}
