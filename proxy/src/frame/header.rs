//! Request and response headers.
//!
//! Arrives: a frame (without its 4-byte length). Leaves: which call it is, who made it, and where
//! the body starts. What must never happen here: the body of a request being looked at, or a header
//! version being guessed: it follows from API and version by the table in `api.rs`.
//!
//! Source: the Kafka protocol guide, "Headers"; KIP-482 (request header v2, response header v1);
//! KIP-511 (ApiVersions answers with response header v0 always, so that a client can read a
//! refusal).

use std::borrow::Cow;

use bytes::BufMut;

use super::api::{self, Api};
use super::put::put_unsigned_varint;
use super::wire::{Cursor, Encoding, WireError};

/// Which kind of request: Kafka's api_key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKey(pub i16);

/// The version of a request and of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiVersion(pub i16);

/// The number by which a client pairs a response with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(pub i32);

/// What identifies a request and says how its response is to be read: all that has to be kept while
/// it is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// API key.
    pub api_key: ApiKey,
    /// Version.
    pub version: ApiVersion,
    /// Correlation id.
    pub correlation_id: CorrelationId,
}

/// A request header of an API and a version that `api.rs` knows.
#[derive(Debug, Clone, Copy)]
pub struct RequestHeader<'a> {
    /// The call.
    pub call: Call,
    /// The client id as it was sent: bytes, since nothing forces a client to send UTF-8.
    pub client_id: Option<&'a [u8]>,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// Where the body starts in the frame.
    pub body: usize,
}

/// A response header.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHeader {
    /// The call that it answers; its correlation id is the one in this response.
    pub call: Call,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// Where the body starts in the frame.
    pub body: usize,
}

impl Call {
    /// Reads the first eight bytes of a request, which have the same form in every version of every
    /// API: enough to refuse what is not known.
    pub fn peek(frame: &[u8]) -> Result<Self, WireError> {
        Self::read(&mut Cursor::new(frame, 0, Encoding::Classic))
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, WireError> {
        Ok(Self {
            api_key: ApiKey(cursor.i16("api key")?),
            version: ApiVersion(cursor.i16("api version")?),
            correlation_id: CorrelationId(cursor.i32("correlation id")?),
        })
    }

    /// The row of the table, if the API is known at all.
    pub fn api(&self) -> Option<&'static Api> {
        api::find(self.api_key)
    }

    fn known_api(&self) -> Result<&'static Api, WireError> {
        let unknown = WireError::UnknownVersion { api_key: self.api_key.0, version: self.version.0 };
        self.api().filter(|api| api.knows(self.version)).ok_or(unknown)
    }

    /// How the body of request and response is encoded; fails for what the table does not know.
    pub fn encoding(&self) -> Result<Encoding, WireError> {
        Ok(Encoding::from_flexible(self.known_api()?.is_flexible(self.version)))
    }

    /// Writes the header of a request of our own.
    pub fn put_request_header(&self, out: &mut impl BufMut, client_id: &str) -> Result<(), WireError> {
        out.put_i16(self.api_key.0);
        out.put_i16(self.version.0);
        out.put_i32(self.correlation_id.0);
        Encoding::Classic.put_string(out, client_id)?;
        self.encoding()?.put_no_tags(out);
        Ok(())
    }

    /// Writes the header of a response that the gateway gives itself.
    pub fn put_response_header(&self, out: &mut impl BufMut) -> Result<(), WireError> {
        out.put_i32(self.correlation_id.0);
        if self.has_tagged_response_header()? {
            put_unsigned_varint(out, 0);
        }
        Ok(())
    }

    fn has_tagged_response_header(&self) -> Result<bool, WireError> {
        Ok(self.encoding()? == Encoding::Compact && self.api_key != api::API_VERSIONS)
    }
}

impl<'a> RequestHeader<'a> {
    /// Reads a request header; fails for an API or version that the table does not know.
    pub fn parse(frame: &'a [u8]) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame, 0, Encoding::Classic);
        let call = Call::read(&mut cursor)?;
        let encoding = call.encoding()?;
        // The client id is a classic string in header v2 too, so that any broker can read it.
        let client_id = cursor.nullable_string_bytes("client id")?;
        let mut cursor = Cursor::new(frame, cursor.position(), encoding);
        cursor.skip_tags()?;
        Ok(Self { call, client_id, encoding, body: cursor.position() })
    }

    /// The client id for people: what is not UTF-8 is replaced.
    pub fn client_id_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.client_id.unwrap_or_default())
    }

    /// A cursor at the start of the body of the same frame.
    pub fn cursor<'f>(&self, frame: &'f [u8]) -> Cursor<'f> {
        Cursor::new(frame, self.body, self.encoding)
    }
}

impl ResponseHeader {
    /// Reads the header of the response to `call`. The correlation id is taken as it came: whether
    /// it is the one that was expected is the caller's question.
    pub fn parse(frame: &[u8], call: Call) -> Result<Self, WireError> {
        let encoding = call.encoding()?;
        let mut cursor = Cursor::new(frame, 0, encoding);
        let correlation_id = CorrelationId(cursor.i32("correlation id")?);
        if call.has_tagged_response_header()? {
            cursor.skip_tags()?;
        }
        Ok(Self { call: Call { correlation_id, ..call }, encoding, body: cursor.position() })
    }

    /// A cursor at the start of the body of the same frame.
    pub fn cursor<'f>(&self, frame: &'f [u8]) -> Cursor<'f> {
        Cursor::new(frame, self.body, self.encoding)
    }
}
