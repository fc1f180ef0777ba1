//! Bodies as the v2 and v3 documents show them, and what is wrong with others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};

use super::*;
use crate::rest::Code;
use crate::rest::record::{Delivered, Record};

mod properties;
mod v2;
mod v3;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn some(text: &str) -> Option<Bytes> {
    Some(bytes(text))
}

fn v2(format: Format, body: &str) -> Result<ProduceBody, FormatError> {
    parse_v2(format, &bytes(body), &Limits::default())
}

fn v3(text: &str) -> Result<V3Record, FormatError> {
    parse_v3(&bytes(text), 0, &Limits::default())
}

/// The code and the record that an error names.
fn told<T: std::fmt::Debug>(result: Result<T, FormatError>) -> (Code, Option<usize>) {
    let error = result.unwrap_err();
    (error.code(), error.record())
}
