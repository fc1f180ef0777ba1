//! Avro's binary encoding to its JSON encoding.
//!
//! Bytes of a topic arrive, JSON text is appended. Every item writes at least one byte, so the limit of the text bounds
//! counts of items that take no bytes; every length is compared with what remains.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use super::schema::{AvroSchema, Type};
use crate::rest::Code;
use crate::rest::formats::{FormatError, push_string};
use crate::rest::schema::wire::split_varint;

impl AvroSchema {
    /// Appends the JSON of one binary value. `max_text` bounds the text.
    ///
    /// # Errors
    /// `Serialization`, when the bytes are not of the schema.
    pub fn read(&self, bytes: &[u8], max_text: usize, out: &mut BytesMut) -> Result<(), FormatError> {
        let limit = out.len().saturating_add(max_text);
        let mut reader = Reader { schema: self, bytes, limit, depth: 0 };
        reader.value(self.root(), out)?;
        if reader.bytes.is_empty() { Ok(()) } else { Err(foreign("has more bytes than its schema")) }
    }
}

struct Reader<'a> {
    schema: &'a AvroSchema,
    /// What remains.
    bytes: &'a [u8],
    limit: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, place: usize, out: &mut BytesMut) -> Result<(), FormatError> {
        if out.len() > self.limit {
            return Err(foreign("is too long as text"));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(foreign("is nested too deep"));
        }
        let schema = self.schema;
        match schema.type_at(place) {
            Type::Null => out.put_slice(b"null"),
            Type::Boolean => match self.take(1)? {
                [0] => out.put_slice(b"false"),
                [1] => out.put_slice(b"true"),
                _ => return Err(foreign("has a boolean that is none")),
            },
            Type::Int => {
                push_display(out, i32::try_from(self.long()?).map_err(|_| foreign("has an int beyond 32 bits"))?)
            }
            Type::Long => push_display(out, self.long()?),
            Type::Float => {
                let bytes = self.take(4)?.first_chunk().copied().unwrap_or_default();
                let number = f32::from_le_bytes(bytes);
                if number.is_finite() { push_debug(out, number) } else { push_special(out, number.into()) }
            }
            Type::Double => {
                let bytes = self.take(8)?.first_chunk().copied().unwrap_or_default();
                let number = f64::from_le_bytes(bytes);
                if number.is_finite() { push_debug(out, number) } else { push_special(out, number) }
            }
            Type::Bytes => {
                let length = self.length()?;
                push_latin(out, self.take(length)?);
            }
            Type::Fixed { size } => push_latin(out, self.take(*size)?),
            Type::String => self.text(out)?,
            Type::Enum { symbols } => {
                let index = usize::try_from(self.long()?).ok();
                let symbol = index.and_then(|index| symbols.get(index));
                push_string(out, symbol.ok_or_else(|| foreign("has an enum beyond its symbols"))?);
            }
            Type::Array(items) => self.blocks(out, b"[]", |reader, out| reader.value(*items, out))?,
            Type::Map(values) => self.blocks(out, b"{}", |reader, out| {
                reader.text(out)?;
                out.put_u8(b':');
                reader.value(*values, out)
            })?,
            Type::Record { fields } => {
                for (index, (name, field)) in fields.iter().enumerate() {
                    out.put_u8(if index == 0 { b'{' } else { b',' });
                    push_string(out, name);
                    out.put_u8(b':');
                    self.value(*field, out)?;
                }
                out.put_slice(if fields.is_empty() { b"{}" } else { b"}" });
            }
            Type::Union { branches } => self.union(branches, out)?,
        }
        self.depth -= 1;
        Ok(())
    }

    fn union(&mut self, branches: &[(String, usize)], out: &mut BytesMut) -> Result<(), FormatError> {
        let index = usize::try_from(self.long()?).ok();
        let (name, branch) =
            index.and_then(|index| branches.get(index)).ok_or_else(|| foreign("has a union beyond its types"))?;
        if name == "null" {
            out.put_slice(b"null");
            return Ok(());
        }
        out.put_u8(b'{');
        push_string(out, name);
        out.put_u8(b':');
        self.value(*branch, out)?;
        out.put_u8(b'}');
        Ok(())
    }

    /// Blocks of items until an empty one; a negative count is followed by the block's length in bytes.
    fn blocks(
        &mut self,
        out: &mut BytesMut,
        brackets: &[u8; 2],
        mut item: impl FnMut(&mut Self, &mut BytesMut) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let [open, close] = *brackets;
        out.put_u8(open);
        let mut is_first = true;
        loop {
            let count = self.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                self.length()?;
            }
            for _ in 0..count.unsigned_abs() {
                if !is_first {
                    out.put_u8(b',');
                }
                is_first = false;
                item(self, out)?;
            }
        }
        out.put_u8(close);
        Ok(())
    }

    fn text(&mut self, out: &mut BytesMut) -> Result<(), FormatError> {
        let length = self.length()?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| foreign("has a string that is not utf-8"))?;
        push_string(out, text);
        Ok(())
    }

    fn long(&mut self) -> Result<i64, FormatError> {
        let (number, rest) = split_varint(self.bytes).ok_or_else(|| foreign("ends inside a number"))?;
        self.bytes = rest;
        Ok(number)
    }

    fn length(&mut self) -> Result<usize, FormatError> {
        usize::try_from(self.long()?).map_err(|_| foreign("has a negative length"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or_else(|| foreign("ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }
}

/// Bytes as the characters U+0000 to U+00FF.
fn push_latin(out: &mut BytesMut, bytes: &[u8]) {
    let characters: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    push_string(out, &characters);
}

fn push_display(out: &mut BytesMut, number: impl std::fmt::Display) {
    let _ = write!(out, "{number}");
}

/// The shortest text that is read as the same number again; large and small ones with an exponent.
fn push_debug(out: &mut BytesMut, number: impl std::fmt::Debug) {
    let _ = write!(out, "{number:?}");
}

fn push_special(out: &mut BytesMut, number: f64) {
    let name = if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    push_string(out, name);
}

fn foreign(what: &'static str) -> FormatError {
    FormatError::new(Code::Serialization, format!("the avro value {what}"))
}

/// Of types inside each other, as they are written.
const MAX_DEPTH: usize = 100;
