//! Answers of the v3 API to produced records: one line for a record, or one object for a batch.
//!
//! Outcomes arrive, JSON leaves, straight into the answer's buffer. Sizes are those of the bytes that the client
//! wrote, before they were sealed.

use std::cell::RefCell;
use std::fmt::Write;

use bytes::{BufMut, BytesMut};

use super::reply_v2::{push_number, push_optional_number};
use super::{Format, Placed, Refused, push_string};

/// What the answer tells about the key or value of a record that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlacedPart<'a> {
    /// Its type.
    pub format: Format,
    /// Bytes of the key or value; zero for null.
    pub size: usize,
    /// The schema's subject, for a format with schemas.
    pub subject: Option<&'a str>,
    /// The registry's number of the schema.
    pub schema_id: Option<i32>,
    /// The version of the schema within its subject.
    pub schema_version: Option<i32>,
}

/// A record that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct V3Placed<'a> {
    /// The cluster's id.
    pub cluster_id: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// Where in the topic.
    pub placed: Placed,
    /// The key, when the request had one.
    pub key: Option<PlacedPart<'a>>,
    /// The value, when the request had one.
    pub value: Option<PlacedPart<'a>>,
}

/// Appends the object for one record, without a line end. An error is [`super::push_error`]'s.
pub fn push_v3_placed(out: &mut BytesMut, record: &V3Placed<'_>) {
    out.put_slice(b"{\"error_code\":200");
    push_place(out, record);
    out.put_u8(b'}');
}

/// Collects the answer to a batch: `{"successes":[…],"failures":[…]}`, sent with status 207.
#[derive(Default)]
pub struct V3Batch {
    successes: BytesMut,
    failures: BytesMut,
}

impl V3Batch {
    /// The entry of this id was written.
    pub fn placed(&mut self, id: &str, record: &V3Placed<'_>) {
        begin_entry(&mut self.successes, id);
        push_place(&mut self.successes, record);
        self.successes.put_u8(b'}');
    }

    /// The entry of this id was not written.
    pub fn refused(&mut self, id: &str, refused: &Refused) {
        begin_entry(&mut self.failures, id);
        self.failures.put_slice(b",\"error_code\":");
        push_number(&mut self.failures, refused.error_code.into());
        self.failures.put_slice(b",\"message\":");
        push_string(&mut self.failures, &refused.message);
        self.failures.put_u8(b'}');
    }

    /// Appends the answer.
    pub fn finish(self, out: &mut BytesMut) {
        out.put_slice(b"{\"successes\":[");
        out.put_slice(&self.successes);
        out.put_slice(b"],\"failures\":[");
        out.put_slice(&self.failures);
        out.put_slice(b"]}");
    }
}

fn begin_entry(out: &mut BytesMut, id: &str) {
    out.put_slice(if out.is_empty() { b"{\"id\":" } else { b",{\"id\":" });
    push_string(out, id);
}

/// The members of a record that was written, each after a comma.
fn push_place(out: &mut BytesMut, record: &V3Placed<'_>) {
    out.put_slice(b",\"cluster_id\":");
    push_string(out, record.cluster_id);
    out.put_slice(b",\"topic_name\":");
    push_string(out, record.topic);
    out.put_slice(b",\"partition_id\":");
    push_number(out, record.placed.partition.into());
    out.put_slice(b",\"offset\":");
    push_number(out, record.placed.offset);
    if let Some(at) = record.placed.timestamp {
        push_moment(out, at);
    }
    push_part(out, b",\"key\":{\"type\":\"", record.key.as_ref());
    push_part(out, b",\"value\":{\"type\":\"", record.value.as_ref());
}

/// Most records of an answer have the moment of the one before.
fn push_moment(out: &mut BytesMut, at: i64) {
    thread_local! {
        static BEFORE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    BEFORE.with_borrow_mut(|(before, member)| {
        if *before != at {
            *before = at;
            member.clear();
            // One that has no date is left out.
            if let Ok(timestamp) = jiff::Timestamp::from_millisecond(at) {
                let _ = write!(member, ",\"timestamp\":\"{timestamp}\"");
            }
        }
        out.put_slice(member.as_bytes());
    });
}

fn push_part(out: &mut BytesMut, begin: &[u8], part: Option<&PlacedPart<'_>>) {
    let Some(part) = part else { return };
    out.put_slice(begin);
    out.put_slice(part.format.v3_type().as_bytes());
    out.put_slice(b"\",\"size\":");
    push_number(out, i64::try_from(part.size).unwrap_or(i64::MAX));
    if let Some(subject) = part.subject {
        out.put_slice(b",\"subject\":");
        push_string(out, subject);
    }
    if part.format.has_schema() {
        out.put_slice(b",\"schema_id\":");
        push_optional_number(out, part.schema_id.map(i64::from));
        out.put_slice(b",\"schema_version\":");
        push_optional_number(out, part.schema_version.map(i64::from));
    }
    out.put_u8(b'}');
}
