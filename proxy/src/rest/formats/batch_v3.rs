//! Bodies of `records:batch` of the v3 API.
//!
//! A body arrives whole, its entries leave in their order. An entry that is JSON and has an id fails alone; a body of
//! another shape, or ids that cannot tell entries apart, fail as a whole.

use std::collections::HashSet;

use bytes::Bytes;

use super::produce_v2::{Seen, owned_text, unknown};
use super::record_v3::parse_object;
use super::{FormatError, Limits, Scanner, Scratch, V3Record};
use crate::rest::Code;

/// One entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// What its answer is told by: 1 to 80 characters, once in a batch.
    pub id: String,
    /// The record, or what is wrong with it.
    pub record: Result<V3Record, FormatError>,
}

/// Reads a batch.
///
/// # Errors
/// `BadRequest` and `Unprocessable` for the body, `InvalidBatch` for the number of entries and their ids.
pub fn parse_v3_batch(body: &Bytes, limits: &Limits) -> Result<Vec<BatchEntry>, FormatError> {
    let mut scanner = Scanner::new(body, 0, limits.max_depth)?;
    let mut entries = Vec::new();
    let mut seen = Seen::default();
    scanner.members(|scanner, name| {
        let at = scanner.position();
        if !name.is("entries") {
            return Err(unknown("entries", at));
        }
        seen.mark(0, at)?;
        scanner.elements(|scanner, index| {
            let at = scanner.position();
            if index == limits.max_batch_entries {
                return Err(batch(format!("more than {index} entries")).at(at));
            }
            let range = scanner.value()?;
            entries.push((at, range));
            Ok(())
        })
    })?;
    scanner.end()?;
    if entries.is_empty() {
        return Err(batch("entries may not be absent or empty"));
    }
    let (mut ids, mut scratch) = (HashSet::new(), Scratch::new(body.len()));
    let read = |(index, (at, range))| {
        let text = body.slice(range);
        let id = id_of(&text, at, limits).map_err(|error: FormatError| error.in_record(index))?;
        if !ids.insert(id.clone()) {
            return Err(batch("the id is there twice").at(at).in_record(index));
        }
        let record = parse_object(&mut scratch, &text, at, limits, true).map(|(record, _)| record);
        Ok(BatchEntry { id, record: record.map_err(|error| error.in_record(index)) })
    };
    entries.into_iter().enumerate().map(read).collect()
}

/// The id of an entry, whatever else is in it.
fn id_of(text: &Bytes, position: usize, limits: &Limits) -> Result<String, FormatError> {
    let mut scanner = Scanner::of_checked(text, position, limits.max_depth);
    let mut id = None;
    scanner.members(|scanner, name| {
        let at = scanner.position();
        if name.is("id") {
            id = Some(owned_text(scanner.string("an id in a string")?, at)?);
        } else {
            scanner.value()?;
        }
        Ok(())
    })?;
    match id {
        Some(id) if (1..=MAX_ID).contains(&id.chars().count()) => Ok(id),
        _ => Err(batch(format!("an entry needs an id of 1 to {MAX_ID} characters")).at(position)),
    }
}

fn batch(text: impl Into<std::borrow::Cow<'static, str>>) -> FormatError {
    FormatError::new(Code::InvalidBatch, text)
}

/// Characters of an id.
const MAX_ID: usize = 80;
