//! The encoding that all keyring objects share: big-endian numbers, length-prefixed bytes, nothing optional by absence.
//!
//! Arrives: untrusted bytes. Leaves: numbers, slices and texts within their limits. It must never take memory for a length
//! that the remaining bytes do not cover, and never let bytes remain unread.

use ring::digest::{Context, SHA256};

use crate::{Error, UnixMillis};

/// Reads from the front of untrusted bytes.
pub(crate) struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Error::Malformed("ends early"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn time(&mut self) -> Result<UnixMillis, Error> {
        self.u64().map(UnixMillis::new)
    }

    /// A truth value: only 0 and 1, so that there is one encoding of each object.
    pub(crate) fn bool(&mut self) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Malformed("a truth value is neither 0 nor 1")),
        }
    }

    /// Bytes with a 32-bit length, at most `limit`.
    pub(crate) fn bytes(&mut self, limit: usize) -> Result<&'a [u8], Error> {
        let len = self.u32()? as usize;
        if len > limit {
            return Err(Error::Malformed("a length exceeds its limit"));
        }
        let (head, rest) = self.0.split_at_checked(len).ok_or(Error::Malformed("ends early"))?;
        self.0 = rest;
        Ok(head)
    }

    /// UTF-8 text with a 32-bit length in bytes, at most `limit`, without control characters: it may be logged.
    pub(crate) fn text(&mut self, limit: usize) -> Result<String, Error> {
        let text = core::str::from_utf8(self.bytes(limit)?).map_err(|_| Error::Malformed("a text is not UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(Error::Malformed("a text has control characters"));
        }
        Ok(text.to_owned())
    }

    /// A value that may be absent: a truth value, then the value.
    pub(crate) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<Option<T>, Error> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.0.len()
    }

    /// All bytes must have been read.
    pub(crate) const fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Malformed("trailing bytes")) }
    }
}

/// Writes what [`Take`] reads.
pub(crate) trait Put {
    fn put_u8(&mut self, number: u8);
    fn put_u32(&mut self, number: u32);
    fn put_u64(&mut self, number: u64);
    fn put_i64(&mut self, number: i64);
    fn put_time(&mut self, time: UnixMillis);
    fn put_raw(&mut self, bytes: &[u8]);
    fn put_bytes(&mut self, bytes: &[u8]);
    fn put_option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T));
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, number: u8) {
        self.push(number);
    }

    fn put_u32(&mut self, number: u32) {
        self.put_raw(&number.to_be_bytes());
    }

    fn put_u64(&mut self, number: u64) {
        self.put_raw(&number.to_be_bytes());
    }

    fn put_i64(&mut self, number: i64) {
        self.put_raw(&number.to_be_bytes());
    }

    fn put_time(&mut self, time: UnixMillis) {
        self.put_u64(time.millis());
    }

    fn put_raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    /// A length beyond 32 bits is written as the largest one, which no reader accepts: signing reads back what it wrote.
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.put_raw(bytes);
    }

    fn put_option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.put_u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// SHA-256 (FIPS 180-4) over the parts one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().unwrap_or([0; 32])
}

/// The first 16 bytes of SHA-256 over the parts: what identifiers are made of.
pub(crate) fn short_digest(parts: &[&[u8]]) -> [u8; 16] {
    sha256(parts).first_chunk().copied().unwrap_or([0; 16])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_length_beyond_the_bytes_is_refused() {
        let mut bytes = Vec::new();
        bytes.put_u32(u32::MAX);
        bytes.put_raw(b"abc");
        assert!(Take::new(&bytes).bytes(usize::MAX).is_err());
        assert!(Take::new(&bytes).bytes(10).is_err());
    }

    #[test]
    fn texts_that_could_forge_a_log_line_are_refused() {
        let mut bytes = Vec::new();
        bytes.put_bytes(b"name\nerror: all is lost");
        assert!(Take::new(&bytes).text(100).is_err());
    }

    #[test]
    fn a_second_encoding_of_true_is_refused() {
        assert!(Take::new(&[2]).bool().is_err());
        assert!(Take::new(&[1]).finish().is_err());
    }
}
