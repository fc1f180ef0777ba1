//! JSON Schema: a value is its own bytes; before it is written the schema has its say.
//!
//! References are those that the registry names. What must never happen here: a schema that makes us open an address or
//! a file.

use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use crate::rest::Code;
use crate::rest::formats::FormatError;

/// A compiled schema.
pub struct JsonSchema {
    validator: Validator,
    title: Option<String>,
    /// Subschemas that look at the same value as the schema around them: how deep the validator may call itself for one
    /// level of a value.
    in_place: usize,
}

impl JsonSchema {
    /// Compiles a schema with those it refers to: name and text. It may take long; call it where that hurts nobody.
    ///
    /// # Errors
    /// `InvalidSchema`, when it is none or refers to another.
    pub fn parse(text: &str, references: &[(String, String)]) -> Result<Self, FormatError> {
        let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|_| refused("is not JSON"));
        let schema = read(text)?;
        let known: Result<Vec<_>, _> = references.iter().map(|(name, text)| Ok((name.clone(), read(text)?))).collect();
        let known = known?;
        let in_place = in_place(&schema) + known.iter().map(|(_, schema)| in_place(schema)).sum::<usize>();
        if in_place > MAX_STEPS {
            return Err(refused("refers to itself and others too often"));
        }
        let mut options = jsonschema::options()
            .with_retriever(Known(known))
            .with_base_uri("json-schema:///")
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKS));
        if schema.get("$schema").is_none() {
            // What the registry takes for granted.
            options = options.with_draft(Draft::Draft7);
        }
        let validator =
            options.build(&schema).map_err(|_| refused("is none, or refers to one that it does not have"))?;
        let title = schema.get("title").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { validator, title, in_place })
    }

    /// The schema's title, which is its name for the strategies that take names of records.
    #[must_use]
    pub fn record_name(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Checks one JSON value.
    ///
    /// # Errors
    /// `JsonConversion`, with the place in the value and the keyword that it fails.
    pub fn check(&self, json: &[u8]) -> Result<(), FormatError> {
        let misfit = |text: String| FormatError::new(Code::JsonConversion, text);
        let value: Value = serde_json::from_slice(json).map_err(|_| misfit("the value is not JSON".to_owned()))?;
        if depth(&value).saturating_mul(self.in_place) > MAX_STEPS {
            return Err(misfit("the value is nested too deep for its schema".to_owned()));
        }
        match self.validator.validate(&value) {
            Ok(()) => Ok(()),
            // The error's own text repeats the value; the schema's path does not.
            Err(error) => Err(misfit(format!("the value does not fit its schema at {}", error.schema_path()))),
        }
    }
}

/// What `$ref` may name beside the schema itself.
struct Known(Vec<(String, Value)>);

impl Retrieve for Known {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let uri = uri.as_str();
        let is_named =
            |name: &str| uri.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'));
        let found = self.0.iter().find(|(name, _)| is_named(name));
        found.map(|(_, schema)| schema.clone()).ok_or_else(|| "not among the references".into())
    }
}

/// Subschemas below this one that look at the same value as it does.
fn in_place(schema: &Value) -> usize {
    match schema {
        Value::Array(list) => list.iter().map(in_place).sum(),
        Value::Object(members) => {
            let own = |(name, inner): (&String, &Value)| match name.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" | "not" | "if" | "then" | "else" => 1,
                "allOf" | "anyOf" | "oneOf" => inner.as_array().map_or(0, Vec::len),
                "dependencies" | "dependentSchemas" => inner.as_object().map_or(0, serde_json::Map::len),
                _ => 0,
            };
            members.iter().map(own).sum::<usize>() + members.values().map(in_place).sum::<usize>()
        }
        _ => 0,
    }
}

/// Objects and arrays inside each other. The parser has bounded it.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}

fn refused(what: &'static str) -> FormatError {
    FormatError::new(Code::InvalidSchema, format!("the json schema {what}"))
}

/// Calls inside each other while one value is checked: a thread's stack holds some times more.
const MAX_STEPS: usize = 1000;
/// A pattern of a schema may not keep a core for long.
const MAX_BACKTRACKS: usize = 100_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = r#"{"title":"Order","type":"object","required":["id"],"additionalProperties":false,
        "properties":{"id":{"type":"integer"},"to":{"$ref":"address.json"},"code":{"pattern":"^(?!X)[A-Z]+$"}}}"#;

    fn schema() -> JsonSchema {
        let address = r#"{"type":"object","properties":{"city":{"type":"string"}}}"#;
        JsonSchema::parse(TEXT, &[("address.json".to_owned(), address.to_owned())]).unwrap()
    }

    #[test]
    fn values_are_checked_against_schema_and_references() {
        let schema = schema();
        assert_eq!(schema.record_name(), Some("Order"));
        for fits in [r#"{"id":1}"#, r#"{"id":2,"to":{"city":"Ulm"},"code":"AB"}"#] {
            schema.check(fits.as_bytes()).unwrap();
        }
        for misfit in [
            r#"{"id":"secret"}"#,
            "{}",
            r#"{"id":1,"to":{"city":1}}"#,
            r#"{"id":1,"code":"XA"}"#,
            r#"{"id":1,"more":"secret"}"#,
            "1",
            "{",
        ] {
            let error = schema.check(misfit.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::JsonConversion, "{misfit}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn nothing_is_fetched() {
        for text in [
            r#"{"$ref":"http://127.0.0.1:1/x.json"}"#,
            r#"{"$ref":"file:///etc/hostname"}"#,
            r#"{"$ref":"address.json"}"#,
            r#"{"type":"nothing"}"#,
            "[",
        ] {
            assert_eq!(JsonSchema::parse(text, &[]).err().unwrap().code(), Code::InvalidSchema, "{text}");
        }
    }

    #[test]
    fn the_deepest_that_is_checked_fits_a_stack() {
        let chain: Vec<_> = (0..MAX_STEPS - 1)
            .map(|index| format!(r##""d{index}":{{"$ref":"#/definitions/d{}"}}"##, index + 1))
            .collect();
        let last = MAX_STEPS - 1;
        let text = format!(r##"{{"definitions":{{{},"d{last}":{{}}}},"$ref":"#/definitions/d0"}}"##, chain.join(","));
        JsonSchema::parse(&text, &[]).unwrap().check(b"1").unwrap();
        let longer = text.replacen("\"d0\":{", "\"d0\":{\"not\":{},", 1);
        assert!(JsonSchema::parse(&longer, &[]).is_err());

        let nested = format!("{}{}{}", r#"{"allOf":["#.repeat(9), r##"{"$ref":"#"}"##, "]}".repeat(9));
        let schema = JsonSchema::parse(&format!(r#"{{"properties":{{"n":{nested}}}}}"#), &[]).unwrap();
        let value = |depth: usize| format!("{}1{}", r#"{"n":"#.repeat(depth), "}".repeat(depth));
        schema.check(value(99).as_bytes()).unwrap();
        assert!(schema.check(value(100).as_bytes()).is_err());
    }

    #[test]
    fn schemas_that_go_in_circles_come_to_an_end() {
        for text in [
            r##"{"$ref":"#"}"##,
            r##"{"allOf":[{"$ref":"#"}]}"##,
            r##"{"not":{"not":{"$ref":"#"}}}"##,
            r##"{"definitions":{"a":{"$ref":"#/definitions/b"},"b":{"anyOf":[{"$ref":"#/definitions/a"}]}},
                "allOf":[{"$ref":"#/definitions/a"}]}"##,
        ] {
            if let Ok(schema) = JsonSchema::parse(text, &[]) {
                let _ = schema.check(b"{}");
            }
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        let schema = JsonSchema::parse(r##"{"properties":{"next":{"$ref":"#"}},"type":"object"}"##, &[]).unwrap();
        schema.check(br#"{"next":{"next":{}}}"#).unwrap();
        assert!(schema.check(br#"{"next":{"next":1}}"#).is_err());
    }
}
