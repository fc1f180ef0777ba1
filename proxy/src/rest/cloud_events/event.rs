//! One event in the JSON event format.
//!
//! The text of an object arrives, its attributes and the place of its data leave. What must never happen here: an
//! attribute of a JSON type that attributes do not have, both kinds of data at once.

use std::ops::Range;

use bytes::Bytes;

use super::attribute::{Required, is_name, refused};
use super::{IMPLIED_TYPE, is_json_type};
use crate::rest::Code;
use crate::rest::formats::{FormatError, Scanner, Scratch};

/// An event with its required attributes.
pub(super) struct Event {
    /// Names and values in their order, `datacontenttype` among them when it is there. Numbers and booleans as text.
    pub(super) attributes: Vec<(String, String)>,
    data: Option<Data>,
}

/// Where the data stands in the text.
enum Data {
    Base64(Range<usize>),
    Value(Range<usize>),
}

impl Event {
    /// Takes an object from the scanner.
    pub(super) fn scan(scanner: &mut Scanner<'_>) -> Result<Self, FormatError> {
        let start = scanner.position();
        let mut event = Self { attributes: Vec::new(), data: None };
        let mut required = Required::default();
        scanner.members(|scanner, name| {
            let at = scanner.position();
            if name.is("data") {
                return event.place(Data::Value(scanner.value()?), at);
            }
            if name.is("data_base64") {
                return if scanner.null()? { Ok(()) } else { event.place(Data::Base64(scanner.value()?), at) };
            }
            let name = name.to_text().filter(|name| is_name(name) && name.len() <= MAX_NAME);
            let unnamed = || refused("the name of an attribute has other characters than a-z and 0-9").at(at);
            let name = name.ok_or_else(unnamed)?;
            if event.attributes.len() == MAX_ATTRIBUTES {
                return Err(refused(format!("more than {MAX_ATTRIBUTES} attributes")).at(at));
            }
            if event.attributes.iter().any(|(known, _)| *known == name) {
                return Err(refused("the attribute is there twice").at(at));
            }
            let Some(value) = attribute(scanner)? else { return Ok(()) };
            required.see(&name, &value).map_err(|error| error.at(at))?;
            event.attributes.push((name, value));
            Ok(())
        })?;
        required.check().map_err(|error| error.at(start))?;
        Ok(event)
    }

    /// An attribute by its name.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The type of the data, which JSON implies when there is data and no type (JSON format 3.1.2).
    pub(super) fn content_type(&self) -> Option<&str> {
        match (self.attribute("datacontenttype"), &self.data) {
            (None, Some(Data::Value(_))) => Some(IMPLIED_TYPE),
            (said, _) => said,
        }
    }

    /// The data as bytes: a JSON value as it is written, a string's characters, or what base64 stands for. `source` is
    /// the text that was scanned.
    pub(super) fn data(&self, source: &Bytes, scratch: &mut Scratch) -> Result<Option<Bytes>, FormatError> {
        let string = |range: &Range<usize>| {
            let mut scanner = Scanner::of_checked(source, 0, 1).within(range);
            scanner.string("a string").map_err(|error| error.of(Code::InvalidPayload).at(range.start))
        };
        let bytes = match &self.data {
            None => return Ok(None),
            Some(Data::Value(range)) if is_json_type(self.content_type().unwrap_or(IMPLIED_TYPE)) => {
                Some(source.slice(range.clone()))
            }
            Some(Data::Value(range)) => scratch.unescape(string(range)?.raw),
            Some(Data::Base64(range)) => {
                let text = string(range)?;
                scratch.base64(text.raw, text.is_escaped)
            }
        };
        let wrong = || FormatError::new(Code::InvalidPayload, "the data cannot be decoded");
        bytes.map(Some).ok_or_else(wrong)
    }

    fn place(&mut self, data: Data, at: usize) -> Result<(), FormatError> {
        if self.data.replace(data).is_some() {
            return Err(refused("data is there twice").at(at));
        }
        Ok(())
    }
}

/// The value of an attribute as text; nothing for null, which is as if it were not there (JSON format 2.2).
fn attribute(scanner: &mut Scanner<'_>) -> Result<Option<String>, FormatError> {
    let at = scanner.position();
    match scanner.peek() {
        Some(b'n') => scanner.null().map(|_| None),
        Some(b't' | b'f') => scanner.boolean("a boolean").map(|value| Some(value.to_string())),
        Some(b'"') => {
            let text = scanner.string("an attribute")?.to_text();
            text.map(Some).ok_or_else(|| refused("half of a surrogate pair").at(at))
        }
        // Integers have 32 bits (specification, "Type system").
        _ => match i32::try_from(scanner.integer("a string, an integer or a boolean")?) {
            Ok(number) => Ok(Some(number.to_string())),
            Err(_) => Err(refused("an integer beyond 32 bits").at(at)),
        },
    }
}

/// Ours: the specification asks for 20 at most and leaves the number of attributes open.
const MAX_NAME: usize = 128;
const MAX_ATTRIBUTES: usize = 128;
