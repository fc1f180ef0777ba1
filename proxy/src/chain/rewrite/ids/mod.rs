//! Where the topic ids of a message lie (KIP-516): in requests of clients and in answers of brokers, of every API that has some.
//!
//! Arrives: a message with its header read. Leaves: the places of its topic ids, each with the topic's name where the message
//! says it too. What must never happen here: an id that is overlooked: a client would see the broker's own, or the broker one
//! that it never gave. Messages are described in tables (`requests.rs`, `responses.rs`) up to their last id; what follows it is
//! not looked at here.
//!
//! Source: message schemas of Kafka 4.2. Every version that has ids is in the compact encoding.

mod requests;
mod responses;

use super::{RewriteError, keep};
use crate::frame::{ApiKey, Call, Cursor, RequestHeader, ResponseHeader, Span, WireError, api};

/// A topic id in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdSpan {
    /// Its 16 bytes.
    pub id: Span,
    /// The topic's name, where the message has it beside the id. It was checked to be UTF-8.
    pub name: Option<Span>,
}

/// The ids of a request.
pub fn of_request(frame: &[u8], header: &RequestHeader<'_>) -> Result<Vec<IdSpan>, RewriteError> {
    walk(requests::find(header.call.api_key), header.call.version.0, header.cursor(frame))
}

/// The ids of an answer.
pub fn of_response(frame: &[u8], header: &ResponseHeader) -> Result<Vec<IdSpan>, RewriteError> {
    walk(responses::find(header.call.api_key), header.call.version.0, header.cursor(frame))
}

/// Whether a call has topic ids in its request or in its answer.
pub fn has_ids(call: Call) -> bool {
    [requests::find(call.api_key), responses::find(call.api_key)]
        .into_iter()
        .flatten()
        .any(|schema| call.version.0 >= schema.since)
}

/// The topics whose ids the answer to a request may have, though the request does not name these ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreseen<'f> {
    /// None.
    Nothing,
    /// Those of these names.
    Names(Vec<&'f str>),
    /// Any.
    Everything,
}

/// What the answer to a request may name by ids alone: assignments, and offsets of a whole group.
pub fn foreseen<'f>(frame: &'f [u8], header: &RequestHeader<'_>) -> Result<Foreseen<'f>, RewriteError> {
    let (version, mut cursor) = (header.call.version.0, header.cursor(frame));
    match header.call.api_key {
        api::CONSUMER_GROUP_HEARTBEAT | api::SHARE_GROUP_HEARTBEAT => {
            let is_share = header.call.api_key == api::SHARE_GROUP_HEARTBEAT;
            for text in ["group", "member"] {
                cursor.skip_string(text)?;
            }
            cursor.i32("member epoch")?;
            cursor.skip_string(if is_share { "rack" } else { "instance" })?;
            if !is_share {
                cursor.skip_string("rack")?;
                cursor.i32("rebalance timeout")?;
            }
            let mut names = Vec::new();
            for _ in 0..cursor.nullable_count("topics", 1)?.unwrap_or(0) {
                keep(&mut names, cursor.string("topic name")?, "topics")?;
            }
            if !is_share
                && version >= 1
                && cursor.nullable_string_bytes("regular expression")?.is_some_and(|text| !text.is_empty())
            {
                return Ok(Foreseen::Everything);
            }
            Ok(if names.is_empty() { Foreseen::Nothing } else { Foreseen::Names(names) })
        }
        api::OFFSET_FETCH if version >= requests::FIRST_OFFSET_FETCH => {
            for _ in 0..cursor.count("groups", 1)? {
                cursor.skip_string("group")?;
                cursor.skip_string("member")?;
                cursor.i32("member epoch")?;
                let Some(count) = cursor.nullable_count("topics", 1)? else { return Ok(Foreseen::Everything) };
                for _ in 0..count {
                    cursor.uuid("topic id")?;
                    cursor.skip_array("partitions", size_of::<i32>())?;
                    cursor.skip_tags()?;
                }
                cursor.skip_tags()?;
            }
            Ok(Foreseen::Nothing)
        }
        _ => Ok(Foreseen::Nothing),
    }
}

/// One message: from which version on it has ids, and its fields up to the last of them.
struct Schema {
    api: ApiKey,
    since: i16,
    fields: &'static [Field],
}

/// One field or several.
enum Field {
    /// So many bytes of numbers.
    Bytes(usize),
    /// A string, null or not.
    Text,
    /// BYTES or RECORDS.
    Blob,
    /// An array of elements of so many bytes that have no tagged fields.
    Numbers(usize),
    /// An array of strings.
    Texts,
    /// A topic id.
    Id,
    /// The name of the topic that the id beside it stands for.
    Name,
    /// An array of structures, null or not.
    Each(&'static [Field]),
    /// A structure.
    One(&'static [Field]),
    /// A structure behind a byte that is negative for null.
    Maybe(&'static [Field]),
    /// Fields of this version and later ones.
    Since(i16, &'static [Field]),
    /// Fields of versions before this one.
    Before(i16, &'static [Field]),
}

/// What one structure has named.
#[derive(Default)]
struct Named {
    id: Option<Span>,
    name: Option<Span>,
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    version: i16,
    found: Vec<IdSpan>,
}

fn walk(schema: Option<&Schema>, version: i16, cursor: Cursor<'_>) -> Result<Vec<IdSpan>, RewriteError> {
    let mut walk = Walk { cursor, version, found: Vec::new() };
    if let Some(schema) = schema.filter(|schema| version >= schema.since) {
        // Tables end at the last id, and only structures within the message are walked with their tagged fields.
        walk.fields(schema.fields, &mut Named::default())?;
    }
    Ok(walk.found)
}

impl Walk<'_> {
    fn structure(&mut self, fields: &'static [Field]) -> Result<(), WireError> {
        let mut named = Named::default();
        self.fields(fields, &mut named)?;
        self.cursor.skip_tags()?;
        match named.id {
            Some(id) => keep(&mut self.found, IdSpan { id, name: named.name }, "topic ids"),
            None => Ok(()),
        }
    }

    fn fields(&mut self, fields: &'static [Field], named: &mut Named) -> Result<(), WireError> {
        fields.iter().try_for_each(|field| self.field(field, named))
    }

    fn field(&mut self, field: &'static Field, named: &mut Named) -> Result<(), WireError> {
        match field {
            Field::Bytes(count) => self.cursor.take(*count, "numbers").map(|_| ()),
            Field::Text => self.cursor.skip_string("text"),
            Field::Blob => self.cursor.nullable_bytes("bytes").map(|_| ()),
            Field::Numbers(size) => self.cursor.skip_array("numbers", *size),
            Field::Texts => {
                let count = self.cursor.nullable_count("texts", 1)?.unwrap_or(0);
                (0..count).try_for_each(|_| self.cursor.skip_string("text"))
            }
            Field::Id => {
                let start = self.cursor.position();
                self.cursor.uuid("topic id")?;
                named.id = Some(self.cursor.span_from(start)?);
                Ok(())
            }
            Field::Name => {
                let name = self.cursor.nullable_string("topic name")?;
                let end = self.cursor.position();
                // Some brokers say nothing where others say "".
                let name = name.filter(|name| !name.is_empty());
                named.name = name.map(|name| Span::new(end - name.len(), end)).transpose()?;
                Ok(())
            }
            Field::Each(fields) => {
                let count = self.cursor.nullable_count("structures", 1)?.unwrap_or(0);
                (0..count).try_for_each(|_| self.structure(fields))
            }
            Field::One(fields) => self.structure(fields),
            Field::Maybe(fields) => match self.cursor.i8("structure")? {
                ..0 => Ok(()),
                _ => self.structure(fields),
            },
            Field::Since(version, fields) if self.version >= *version => self.fields(fields, named),
            Field::Before(version, fields) if self.version < *version => self.fields(fields, named),
            Field::Since(..) | Field::Before(..) => Ok(()),
        }
    }
}
