//! How a message names a topic: by name, or from some version on by id (KIP-516).

use bytes::BufMut;

use crate::frame::{Cursor, Encoding, Span, WireError};

/// A topic as one message names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By topic id.
    Id([u8; 16]),
}

/// A [`TopicRef`] that can be kept, for instance while a request is in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKey {
    /// By name.
    Name(Box<str>),
    /// By topic id.
    Id([u8; 16]),
}

/// A topic as it lies in a frame. The name was checked to be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicSpan {
    /// Where the name lies.
    Name(Span),
    /// The topic id.
    Id([u8; 16]),
}

impl TopicRef<'_> {
    /// A copy that can be kept.
    pub fn to_key(self) -> TopicKey {
        match self {
            Self::Name(name) => TopicKey::Name(name.into()),
            Self::Id(id) => TopicKey::Id(id),
        }
    }

    /// Writes it as the field that a message has for it.
    pub(super) fn put(self, out: &mut impl BufMut, encoding: Encoding) -> Result<(), WireError> {
        match self {
            Self::Name(name) => encoding.put_string(out, name),
            Self::Id(id) => {
                out.put_slice(&id);
                Ok(())
            }
        }
    }
}

impl TopicKey {
    /// As a message names it.
    pub fn as_topic_ref(&self) -> TopicRef<'_> {
        match self {
            Self::Name(name) => TopicRef::Name(name),
            Self::Id(id) => TopicRef::Id(*id),
        }
    }
}

impl TopicSpan {
    /// Reads a topic, by id or by name.
    pub(super) fn read(cursor: &mut Cursor<'_>, by_id: bool) -> Result<Self, WireError> {
        if by_id {
            return cursor.uuid("topic id").map(Self::Id);
        }
        let name = cursor.string("topic name")?;
        let end = cursor.position();
        Span::new(end - name.len(), end).map(Self::Name)
    }

    /// The topic, in the frame that was walked.
    pub fn resolve<'f>(&self, frame: &'f [u8]) -> Result<TopicRef<'f>, WireError> {
        match self {
            Self::Id(id) => Ok(TopicRef::Id(*id)),
            Self::Name(span) => {
                let unreadable = WireError::BadText { field: "topic name", at: span.start() };
                std::str::from_utf8(span.of(frame)?).map(TopicRef::Name).map_err(|_| unreadable)
            }
        }
    }
}
