//! A message with some of its bytes replaced, without copying the others.
//!
//! Arrives: a frame and the edits that an interceptor wants. Leaves: [`Segments`], a list of slices
//! ready for one vectored write, of which every byte that nobody edited is still the peer's own.
//! What must never happen here: an edit that is lost, moved or applied twice; two edits that
//! overlap are an error.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::wire::{Span, WireError};

/// Edits to a frame, collected in any order. Small new pieces (lengths, counts, error codes) share
/// one buffer, so an edit costs no allocation of its own.
#[derive(Debug)]
pub struct Splices {
    original: Bytes,
    edits: Vec<Edit>,
    scratch: BytesMut,
}

/// A message as a list of slices: what a vectored write takes.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    parts: VecDeque<Bytes>,
    length: usize,
}

impl Splices {
    /// No edits yet.
    pub fn new(original: Bytes) -> Self {
        Self { original, edits: Vec::new(), scratch: BytesMut::new() }
    }

    /// The frame that is being edited.
    pub fn original(&self) -> &Bytes {
        &self.original
    }

    /// Takes `span` out.
    pub fn remove(&mut self, span: Span) {
        self.edits.push(Edit { start: span.start(), end: span.end(), piece: Piece::Nothing });
    }

    /// Puts `bytes` where `span` was; an empty span inserts. Edits at the same place keep their
    /// order.
    pub fn replace(&mut self, span: Span, bytes: Bytes) {
        self.edits.push(Edit { start: span.start(), end: span.end(), piece: Piece::Bytes(bytes) });
    }

    /// Puts what `write` writes where `span` was; an empty span inserts. Returns how many bytes
    /// were written.
    pub fn write<E>(&mut self, span: Span, write: impl FnOnce(&mut BytesMut) -> Result<(), E>) -> Result<usize, E> {
        let start = self.scratch.len();
        write(&mut self.scratch)?;
        let written = start..self.scratch.len();
        let length = written.len();
        self.edits.push(Edit { start: span.start(), end: span.end(), piece: Piece::Scratch(written) });
        Ok(length)
    }

    /// True if nothing was edited.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The edited message.
    pub fn finish(mut self) -> Result<Segments, WireError> {
        let length = self.original.len();
        // Stable: edits of one place stay in the order in which they were made.
        self.edits.sort_by_key(|edit| edit.start);
        let scratch = self.scratch.freeze();
        let mut segments = Segments { parts: VecDeque::with_capacity(self.edits.len() * 2 + 2), length: 0 };
        let mut copied = 0;
        for edit in self.edits {
            if edit.start < copied || edit.end < edit.start || edit.end > length {
                return Err(WireError::BadEdit { start: edit.start, end: edit.end, length });
            }
            segments.push(self.original.slice(copied..edit.start));
            match edit.piece {
                Piece::Nothing => {}
                Piece::Bytes(bytes) => segments.push(bytes),
                Piece::Scratch(range) => segments.push(scratch.slice(range)),
            }
            copied = edit.end;
        }
        segments.push(self.original.slice(copied..));
        Ok(segments)
    }
}

impl Segments {
    /// The whole message in one slice.
    pub fn whole(bytes: Bytes) -> Self {
        let mut segments = Self::default();
        segments.push(bytes);
        segments
    }

    /// Appends a slice; an empty one is left out.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.length += bytes.len();
            self.parts.push_back(bytes);
        }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The slices, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter()
    }

    /// The message with the 4-byte length in front that Kafka puts before every message.
    pub fn framed(mut self) -> Result<Self, WireError> {
        let length =
            i32::try_from(self.length).map_err(|_| WireError::TooLong { field: "frame", length: self.length })?;
        self.parts.push_front(Bytes::copy_from_slice(&length.to_be_bytes()));
        self.length += size_of::<i32>();
        Ok(self)
    }

    /// The message in one piece; copies unless there is one slice only.
    pub fn into_bytes(mut self) -> Bytes {
        match (self.parts.len(), self.parts.pop_front()) {
            (1, Some(only)) => only,
            (_, Some(first)) => {
                let mut whole = BytesMut::with_capacity(self.length);
                whole.extend_from_slice(&first);
                for part in &self.parts {
                    whole.extend_from_slice(part);
                }
                whole.freeze()
            }
            (_, None) => Bytes::new(),
        }
    }
}

/// So that `AsyncWriteExt::write_all_buf` writes the slices with `writev` where the stream can.
impl Buf for Segments {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part.as_ref())
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
            used += 1;
        }
        used
    }

    /// Advancing past the end stops at the end.
    fn advance(&mut self, mut count: usize) {
        count = count.min(self.length);
        self.length -= count;
        while let Some(front) = self.parts.front_mut() {
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.parts.pop_front();
        }
    }
}

#[derive(Debug)]
struct Edit {
    start: usize,
    end: usize,
    piece: Piece,
}

#[derive(Debug)]
enum Piece {
    Nothing,
    Bytes(Bytes),
    Scratch(Range<usize>),
}
