//! Avro's JSON encoding to its binary encoding.
//!
//! JSON text arrives, its binary form is appended. Fields may stand in any order; what is missing or has another name
//! is refused, as defaults are for readers.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::schema::{AvroSchema, Type};
use crate::rest::Code;
use crate::rest::formats::{FormatError, Scanner, Text};
use crate::rest::schema::wire::push_varint;

impl AvroSchema {
    /// Appends the binary form of one JSON value.
    ///
    /// # Errors
    /// `JsonConversion`, with the byte of the value at which it leaves the schema.
    pub fn write(&self, json: &[u8], out: &mut BytesMut) -> Result<(), FormatError> {
        let mut written = || {
            let mut scanner = Scanner::new(json, 0, MAX_DEPTH)?;
            self.value(self.root(), &mut scanner, out)?;
            scanner.end()
        };
        written().map_err(|error: FormatError| error.of(Code::JsonConversion))
    }

    fn value(&self, place: usize, scanner: &mut Scanner<'_>, out: &mut BytesMut) -> Result<(), FormatError> {
        let at = scanner.position();
        match self.type_at(place) {
            Type::Null => match scanner.null()? {
                true => Ok(()),
                false => Err(misfit("null is expected").at(at)),
            },
            Type::Boolean => {
                out.put_u8(scanner.boolean("a boolean")?.into());
                Ok(())
            }
            Type::Int => match i32::try_from(scanner.integer("an int")?) {
                Ok(number) => {
                    push_varint(out, number.into());
                    Ok(())
                }
                Err(_) => Err(misfit("an int has 32 bits").at(at)),
            },
            Type::Long => {
                push_varint(out, scanner.integer("a long")?);
                Ok(())
            }
            Type::Float => {
                out.put_f32_le(floating(scanner, at)? as f32);
                Ok(())
            }
            Type::Double => {
                out.put_f64_le(floating(scanner, at)?);
                Ok(())
            }
            Type::Bytes => {
                let bytes = latin(scanner.string("bytes in a string")?, at)?;
                push_bytes(out, &bytes);
                Ok(())
            }
            Type::Fixed { size } => {
                let bytes = latin(scanner.string("bytes in a string")?, at)?;
                if bytes.len() != *size {
                    return Err(misfit(format!("a fixed of {size} bytes is expected")).at(at));
                }
                out.put_slice(&bytes);
                Ok(())
            }
            Type::String => push_text(out, scanner.string("a string")?, at),
            Type::Enum { symbols } => {
                let text = scanner.string("a symbol of an enum")?;
                let index = symbols.iter().position(|symbol| text.is(symbol));
                push_varint(out, number(index.ok_or_else(|| misfit("the enum has no such symbol").at(at))?));
                Ok(())
            }
            Type::Array(items) => self.array(*items, scanner, out),
            Type::Map(values) => self.map(*values, scanner, out),
            Type::Record { fields } => self.record(fields, scanner, out),
            Type::Union { branches } => self.union(branches, scanner, out),
        }
    }

    /// One block: the count, the items, and a zero for the end.
    fn array(&self, items: usize, scanner: &mut Scanner<'_>, out: &mut BytesMut) -> Result<(), FormatError> {
        let mut block = BytesMut::new();
        let mut count = 0;
        scanner.elements(|scanner, index| {
            count = index + 1;
            self.value(items, scanner, &mut block)
        })?;
        push_block(out, count, &block);
        Ok(())
    }

    fn map(&self, values: usize, scanner: &mut Scanner<'_>, out: &mut BytesMut) -> Result<(), FormatError> {
        let mut block = BytesMut::new();
        let mut count = 0;
        scanner.members(|scanner, name| {
            count += 1;
            push_text(&mut block, name, scanner.position())?;
            self.value(values, scanner, &mut block)
        })?;
        push_block(out, count, &block);
        Ok(())
    }

    /// Fields are written in the schema's order. One that comes early waits as a range.
    fn record(
        &self,
        fields: &[(String, usize)],
        scanner: &mut Scanner<'_>,
        out: &mut BytesMut,
    ) -> Result<(), FormatError> {
        let start = scanner.position();
        let mut next = 0;
        let mut waiting: Vec<(usize, Range<usize>)> = Vec::new();
        scanner.members(|scanner, name| {
            let at = scanner.position();
            let is_next = fields.get(next).is_some_and(|(field, _)| name.is(field));
            let index = if is_next { Some(next) } else { fields.iter().position(|(field, _)| name.is(field)) };
            let index = index.ok_or_else(|| misfit("the record has no such field").at(at))?;
            if index < next || waiting.iter().any(|(known, _)| *known == index) {
                return Err(misfit("the field is there twice").at(at));
            }
            if index > next {
                waiting.push((index, scanner.value()?));
                return Ok(());
            }
            self.field(fields, next, scanner, out)?;
            next += 1;
            while let Some(found) = waiting.iter().position(|(known, _)| *known == next) {
                let (_, range) = waiting.swap_remove(found);
                self.field(fields, next, &mut scanner.within(&range), out)?;
                next += 1;
            }
            Ok(())
        })?;
        match fields.get(next) {
            None => Ok(()),
            Some((name, _)) => Err(misfit(format!("the field {name} is missing")).at(start)),
        }
    }

    fn field(
        &self,
        fields: &[(String, usize)],
        index: usize,
        scanner: &mut Scanner<'_>,
        out: &mut BytesMut,
    ) -> Result<(), FormatError> {
        fields.get(index).map_or(Ok(()), |(_, place)| self.value(*place, scanner, out))
    }

    fn union(
        &self,
        branches: &[(String, usize)],
        scanner: &mut Scanner<'_>,
        out: &mut BytesMut,
    ) -> Result<(), FormatError> {
        let at = scanner.position();
        if scanner.null()? {
            let index = branches.iter().position(|(name, _)| name == "null");
            push_varint(out, number(index.ok_or_else(|| misfit("the union has no null").at(at))?));
            return Ok(());
        }
        let mut is_taken = false;
        scanner.members(|scanner, name| {
            let index = branches.iter().position(|(branch, _)| name.is(branch) && branch != "null");
            let Some((index, (_, place))) = index.and_then(|index| Some((index, branches.get(index)?))) else {
                return Err(misfit("the union has no such type").at(at));
            };
            if std::mem::replace(&mut is_taken, true) {
                return Err(misfit("the value of a union has one member").at(at));
            }
            push_varint(out, number(index));
            self.value(*place, scanner, out)
        })?;
        if is_taken { Ok(()) } else { Err(misfit("the value of a union has one member").at(at)) }
    }
}

fn floating(scanner: &mut Scanner<'_>, at: usize) -> Result<f64, FormatError> {
    if scanner.peek() == Some(b'"') {
        // What JSON has no numbers for.
        let text = scanner.string("a number")?;
        let special = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];
        let found = special.into_iter().find(|(name, _)| text.is(name));
        return found.map(|(_, number)| number).ok_or_else(|| misfit("a number is expected").at(at));
    }
    let text = scanner.number_text("a number")?;
    text.parse().map_err(|_| misfit("a number is expected").at(at))
}

/// Bytes are written as the characters U+0000 to U+00FF.
fn latin(text: Text<'_>, at: usize) -> Result<Vec<u8>, FormatError> {
    let characters = text.to_text().ok_or_else(|| misfit("half of a surrogate pair").at(at))?;
    let bytes: Option<Vec<u8>> = characters.chars().map(|character| u8::try_from(character).ok()).collect();
    bytes.ok_or_else(|| misfit("bytes are characters up to U+00FF").at(at))
}

fn push_text(out: &mut BytesMut, text: Text<'_>, at: usize) -> Result<(), FormatError> {
    if !text.is_escaped {
        push_bytes(out, text.raw);
        return Ok(());
    }
    let characters = text.to_text().ok_or_else(|| misfit("half of a surrogate pair").at(at))?;
    push_bytes(out, characters.as_bytes());
    Ok(())
}

fn push_bytes(out: &mut BytesMut, bytes: &[u8]) {
    push_varint(out, number(bytes.len()));
    out.put_slice(bytes);
}

fn push_block(out: &mut BytesMut, count: usize, block: &[u8]) {
    if count > 0 {
        push_varint(out, number(count));
        out.put_slice(block);
    }
    push_varint(out, 0);
}

fn number(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn misfit(text: impl Into<std::borrow::Cow<'static, str>>) -> FormatError {
    FormatError::new(Code::JsonConversion, text)
}

/// Of the JSON text; a schema may refer to itself.
const MAX_DEPTH: usize = 100;
