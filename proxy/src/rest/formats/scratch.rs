//! The one buffer that a request's decoded bytes go into.
//!
//! Base64 and escaped strings arrive, shared slices of the buffer leave. It is allocated when the first byte needs it,
//! as large as everything that may follow, so that a body costs one allocation, whatever the number of its records.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig, Simd};
use bytes::{Bytes, BytesMut};

use super::escape;

/// A buffer that gives its filled parts away.
pub(crate) struct Scratch {
    buffer: BytesMut,
    /// What the first allocation reserves: no decoded text is longer than what it was written as.
    capacity: usize,
}

impl Scratch {
    /// For a body of `length` bytes; allocates nothing yet.
    pub(crate) fn new(length: usize) -> Self {
        Self { buffer: BytesMut::new(), capacity: length }
    }

    /// The buffer itself, for a reader of one record of many; what stays here allocates when it is used.
    pub(crate) fn take(&mut self) -> Self {
        Self { buffer: std::mem::take(&mut self.buffer), capacity: self.capacity }
    }

    /// The bytes that base64 stands for: the standard alphabet, with its padding or without. `escaped` says that the
    /// text is the inside of a JSON string with backslashes, as some writers put before every slash.
    pub(crate) fn base64(&mut self, encoded: &[u8], is_escaped: bool) -> Option<Bytes> {
        if is_escaped {
            let mut plain = Vec::with_capacity(encoded.len());
            escape::unescape(encoded, |run| plain.extend_from_slice(run))?;
            return self.base64(&plain, false);
        }
        // The decoder asks for a little more room than it uses.
        let room = base64::decoded_len_estimate(encoded.len());
        self.reserve(room);
        self.buffer.resize(room, 0);
        match BASE64.decode_slice(encoded, &mut self.buffer) {
            Ok(length) => {
                self.buffer.truncate(length);
                Some(self.buffer.split().freeze())
            }
            Err(_) => {
                self.buffer.clear();
                None
            }
        }
    }

    /// The characters that the inside of a JSON string stands for, in UTF-8.
    pub(crate) fn unescape(&mut self, raw: &[u8]) -> Option<Bytes> {
        self.reserve(raw.len());
        let buffer = &mut self.buffer;
        if escape::unescape(raw, |run| buffer.extend_from_slice(run)).is_none() {
            self.buffer.clear();
            return None;
        }
        Some(self.buffer.split().freeze())
    }

    fn reserve(&mut self, room: usize) {
        if self.buffer.capacity() < room {
            self.buffer = BytesMut::with_capacity(self.capacity.max(room));
        }
    }
}

/// By the widest instructions that the machine has.
static BASE64: LazyLock<Simd> = LazyLock::new(|| {
    Simd::standard(GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent))
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn base64_is_read_with_padding_without_it_and_with_escaped_slashes() {
        let mut scratch = Scratch::new(64);
        for (encoded, is_escaped) in [("//8=", false), ("//8", false), (r"\/\/8=", true), (r"\u002f/8=", true)] {
            assert_eq!(scratch.base64(encoded.as_bytes(), is_escaped).unwrap(), &[0xff, 0xff][..], "{encoded}");
        }
        assert_eq!(scratch.base64(b"", false).unwrap(), Bytes::new());
        for wrong in ["a", "a===", "a-_=", "YWJj\n", "=", "YW=Jj", "Y W J j", "YX=="] {
            assert_eq!(scratch.base64(wrong.as_bytes(), false), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_given_away_stays_when_more_is_decoded() {
        let mut scratch = Scratch::new(16);
        let first = scratch.unescape(br"a\nb").unwrap();
        assert_eq!(scratch.unescape(br"\ud800"), None);
        let second = scratch.base64(b"Y2Q=", false).unwrap();
        assert_eq!((&first[..], &second[..]), (&b"a\nb"[..], &b"cd"[..]));
        // One buffer held both.
        assert_eq!(first.as_ptr().wrapping_add(3), second.as_ptr());
    }
}
