//! The walkers against an independent codec, in every version that it knows: it encodes what we
//! walk, and decodes what we rewrite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod api_versions;
mod addresses;
mod produce;
mod fetch;
mod share;
mod refusal;
mod ids;
mod hostile;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey as OracleKey, RequestHeader as OracleRequestHeader, ResponseHeader as OracleResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, Message, Request, StrBytes};
use std::collections::BTreeMap;
use uuid::Uuid;

use super::{AddressBook, RewriteError};
use crate::frame::{ApiKey, ApiVersion, Call, CorrelationId, RequestHeader, ResponseHeader, Segments};

/// Broker n is reached at gateway.example, port 9000 + n; broker 99 is not known.
pub(super) struct Book;

impl AddressBook for Book {
    fn advertised(&self, node_id: i32, host: &str, port: i32) -> Result<(String, u16), RewriteError> {
        let port_of = |id: u16| 9000u16.checked_add(id).filter(|_| id != 99);
        match u16::try_from(node_id).ok().and_then(port_of) {
            Some(ours) => Ok(("gateway.example".to_owned(), ours)),
            None => Err(RewriteError::NoAddress { node_id, host: host.to_owned(), port }),
        }
    }
}

/// Versions of an API that the codec and the table both know.
pub(super) fn versions<M: Message>(api_key: i16) -> impl Iterator<Item = i16> {
    let range = M::VERSIONS;
    let api = crate::frame::api::find(ApiKey(api_key)).unwrap();
    let versions: Vec<i16> = (range.min..=range.max).filter(|version| api.knows(ApiVersion(*version))).collect();
    assert!(!versions.is_empty());
    versions.into_iter()
}

pub(super) fn call(api_key: i16, version: i16) -> Call {
    let (api_key, version) = (ApiKey(api_key), ApiVersion(version));
    Call { api_key, version, correlation_id: CorrelationId(77) }
}

pub(super) fn request_frame<M: Request>(message: &M, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    let header = OracleRequestHeader::default()
        .with_request_api_key(M::KEY)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(text("client")));
    header.encode(&mut out, M::header_version(version)).unwrap();
    message.encode(&mut out, version).unwrap();
    out.freeze()
}

pub(super) fn request_header(frame: &[u8]) -> RequestHeader<'_> {
    RequestHeader::parse(frame).unwrap()
}

pub(super) fn decode_request<M: Request>(frame: &Bytes, version: i16) -> M {
    let mut rest = frame.clone();
    let header = OracleRequestHeader::decode(&mut rest, M::header_version(version)).unwrap();
    assert_eq!((header.request_api_key, header.request_api_version), (M::KEY, version));
    let message = M::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "{} bytes left", rest.len());
    message
}

pub(super) fn response_frame<M: Encodable>(api_key: i16, message: &M, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    let header_version = OracleKey::try_from(api_key).unwrap().response_header_version(version);
    OracleResponseHeader::default().with_correlation_id(77).encode(&mut out, header_version).unwrap();
    message.encode(&mut out, version).unwrap();
    out.freeze()
}

pub(super) fn response_header(frame: &[u8], api_key: i16, version: i16) -> ResponseHeader {
    let header = ResponseHeader::parse(frame, call(api_key, version)).unwrap();
    assert_eq!(header.call.correlation_id, CorrelationId(77));
    header
}

pub(super) fn decode_response<M: Decodable>(api_key: i16, frame: &Bytes, version: i16) -> M {
    let mut rest = frame.clone();
    let header_version = OracleKey::try_from(api_key).unwrap().response_header_version(version);
    let header = OracleResponseHeader::decode(&mut rest, header_version).unwrap();
    assert_eq!(header.correlation_id, 77);
    let message = M::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "{} bytes left", rest.len());
    message
}

/// Bytes of rewritten segments; checks the length they claim.
pub(super) fn bytes(segments: Segments) -> Bytes {
    let claimed = segments.len();
    let bytes = segments.into_bytes();
    assert_eq!(bytes.len(), claimed);
    bytes
}

/// Every prefix of a message must be refused.
pub(super) fn refuses_every_cut<T>(frame: &Bytes, from: usize, walk: impl Fn(Bytes) -> Result<T, RewriteError>) {
    assert!(walk(frame.clone()).is_ok());
    for end in from..frame.len() {
        assert!(walk(frame.slice(..end)).is_err(), "cut at {end} of {} was taken", frame.len());
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Tagged fields that no version knows, where the encoding has any.
pub(super) fn unknown_tags(flexible: bool) -> BTreeMap<i32, Bytes> {
    let mut tags = BTreeMap::new();
    if flexible {
        tags.insert(1000, Bytes::from_static(b"of a later version"));
    }
    tags
}
