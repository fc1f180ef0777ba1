//! What a broker said about one thing that it was asked to do, and small parts of messages that several questions share.
//!
//! Arrives: an error code, with or without a broker's own words. Leaves: a [`Verdict`]. What must never happen here: words without a
//! bound, or a number of elements believed that a broker wrote.

use bytes::{BufMut, BytesMut};

use super::read_array;
use crate::frame::{Cursor, Encoding, WireError};

/// Whether it was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Kafka's error code; 0 for none.
    pub error_code: i16,
    /// What the broker says about it.
    pub message: Option<String>,
}

impl Verdict {
    /// A code without words.
    pub fn bare(error_code: i16) -> Self {
        Self { error_code, message: None }
    }

    /// Reads a code and words.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, WireError> {
        let error_code = cursor.i16("error code")?;
        let message = cursor.nullable_string("error message")?;
        Ok(Self { error_code, message: message.map(|text| text.chars().take(MOST_CHARACTERS).collect()) })
    }
}

/// The last element of an array that has one element for each thing that was asked about; one was.
pub(super) fn only<T>(mut elements: Vec<T>, field: &'static str, at: usize) -> Result<T, WireError> {
    elements.pop().ok_or(WireError::BadCount { field, count: 0, at, remaining: 0 })
}

/// Writes an array of numbers.
pub(super) fn put_numbers(out: &mut BytesMut, encoding: Encoding, numbers: &[i32]) -> Result<(), WireError> {
    encoding.put_length(out, numbers.len())?;
    numbers.iter().for_each(|number| out.put_i32(*number));
    Ok(())
}

/// Reads an array of numbers.
pub(super) fn read_numbers(cursor: &mut Cursor<'_>, field: &'static str) -> Result<Vec<i32>, WireError> {
    read_array(cursor, (field, 4), |cursor| cursor.i32(field))
}

/// Writes an array of strings.
pub(super) fn put_texts(out: &mut BytesMut, encoding: Encoding, texts: &[&str]) -> Result<(), WireError> {
    encoding.put_length(out, texts.len())?;
    texts.iter().try_for_each(|text| encoding.put_string(out, text))
}

/// Reads BYTES; null is empty.
pub(super) fn read_bytes<'a>(cursor: &mut Cursor<'a>, field: &'static str) -> Result<&'a [u8], WireError> {
    let length = match cursor.encoding() {
        Encoding::Classic => i64::from(cursor.i32(field)?),
        Encoding::Compact => i64::from(cursor.unsigned_varint(field)?) - 1,
    };
    let at = cursor.position();
    if length == -1 {
        return Ok(&[]);
    }
    cursor.take(usize::try_from(length).map_err(|_| WireError::BadLength { field, length, at })?, field)
}

/// More than a sentence of a broker has.
const MOST_CHARACTERS: usize = 500;
