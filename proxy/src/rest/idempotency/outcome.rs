//! The first answer to a request, as it is kept.
//!
//! Arrives: an answer with the digest of its request. Leaves: the value of a record, and from it the answer again. Answers of posts hold
//! places of records, never records. What must never happen here: a length believed that is longer than the bytes at hand.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes};

use super::key::Digest;

/// A kept answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of the request.
    pub digest: Digest,
    /// The status.
    pub status: StatusCode,
    /// `Content-Type` and `Location`, where the answer has them.
    pub fields: [Option<HeaderValue>; 2],
    /// The body.
    pub body: Bytes,
}

impl Outcome {
    /// As a record's value.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 128);
        out.put_u8(VERSION);
        out.put_slice(&self.digest);
        out.put_u16(self.status.as_u16());
        for field in &self.fields {
            let bytes = field.as_ref().map_or(&[][..], HeaderValue::as_bytes);
            // No header field of ours comes near.
            let length = u16::try_from(bytes.len()).unwrap_or(0);
            out.put_u16(length);
            out.put_slice(bytes.get(..usize::from(length)).unwrap_or_default());
        }
        out.put_slice(&self.body);
        out
    }

    /// From a record's value.
    pub fn read(mut value: &[u8]) -> Option<Self> {
        if value.try_get_u8().ok()? != VERSION {
            return None;
        }
        let (digest, mut rest) = value.split_first_chunk()?;
        let status = StatusCode::from_u16(rest.try_get_u16().ok()?).ok()?;
        let mut fields = [None, None];
        for field in &mut fields {
            let length = usize::from(rest.try_get_u16().ok()?);
            let bytes = rest.get(..length)?;
            rest = rest.get(length..)?;
            *field = (length > 0).then(|| HeaderValue::from_bytes(bytes)).transpose().ok()?;
        }
        Some(Self { digest: *digest, status, fields, body: Bytes::copy_from_slice(rest) })
    }

    /// The answer again.
    pub fn replay(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        for (name, value) in FIELDS.into_iter().zip(self.fields) {
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

/// The fields that are kept.
pub const FIELDS: [header::HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

/// Tells that an answer is not for this request, but for the first with its key.
pub const REPLAYED: &str = "idempotency-replayed";

/// Of the value's form.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_bytes_are_too_much(
            digest: [u8; 32], status in 200_u16..600, kind in "[a-z/]{0,40}", body: Vec<u8>, cut in 0_usize..200, noise: Vec<u8>,
        ) {
            let kind = Some(kind).filter(|kind| !kind.is_empty()).map(|kind| HeaderValue::from_str(&kind).unwrap());
            let outcome = Outcome {
                digest,
                status: StatusCode::from_u16(status).unwrap(),
                fields: [kind, None],
                body: body.into(),
            };
            let written = outcome.write();
            prop_assert_eq!(Outcome::read(&written), Some(outcome));
            let _ = (Outcome::read(written.get(..cut).unwrap_or_default()), Outcome::read(&noise));
        }
    }

    #[test]
    fn an_answer_is_given_again_as_it_was() {
        let fields = [Some(HeaderValue::from_static("a/b")), Some(HeaderValue::from_static("/there"))];
        let outcome = Outcome { digest: [7; 32], status: StatusCode::CREATED, fields, body: Bytes::from_static(b"x") };
        let response = outcome.replay();
        assert_eq!(response.status(), StatusCode::CREATED);
        let field = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            (field("content-type"), field("location"), field(REPLAYED)),
            ("a/b".into(), "/there".into(), "true".into())
        );
    }
}
