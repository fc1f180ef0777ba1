//! The memory in which the records of one partition are opened.
//!
//! Arrives: the records field of a Fetch response, as the broker gave it. Leaves: the opened batches at the front of the
//! same bytes, since an opened record is shorter than a sealed one; or, when something had to grow or be kept, in a
//! buffer of their own. What must never happen here: a byte that has not been read yet being written over.

use std::ops::Range;

use bytes::Bytes;

use crate::frame::batch::{BatchError, encode_varint};

/// Records that are read from the front to the back, and what was written of them.
pub(super) struct Page<'a> {
    records: &'a mut [u8],
    /// So many bytes at the front of the records are written, unless all is written apart.
    front: usize,
    apart: Option<Vec<u8>>,
}

/// The bytes of a batch's records.
pub(super) enum Body<'b> {
    /// This part of the page.
    Stored(Range<usize>),
    /// What a compressed batch held.
    Inflated(&'b [u8]),
}

/// What opening leaves of a records field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The first so many of its own bytes.
    Front(usize),
    /// Other bytes.
    Apart(Bytes),
}

impl Content {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Front(length) => *length == 0,
            Self::Apart(bytes) => bytes.is_empty(),
        }
    }
}

impl<'a> Page<'a> {
    pub(super) fn new(records: &'a mut [u8]) -> Self {
        Self { records, front: 0, apart: None }
    }

    pub(super) fn finish(self) -> Content {
        self.apart.map_or(Content::Front(self.front), |bytes| Content::Apart(Bytes::from(bytes)))
    }

    /// The records as they came, behind what was opened of them.
    pub(super) fn records(&self) -> &[u8] {
        self.records
    }

    pub(super) fn body<'x>(&'x self, body: &Body<'x>) -> &'x [u8] {
        bytes_of(self.records, body)
    }

    /// How many bytes are written.
    pub(super) fn len(&self) -> usize {
        self.apart.as_ref().map_or(self.front, Vec::len)
    }

    pub(super) fn truncate(&mut self, length: usize) {
        match &mut self.apart {
            None => self.front = length.min(self.front),
            Some(bytes) => bytes.truncate(length),
        }
    }

    /// What was written from `start` on.
    pub(super) fn written(&mut self, start: usize) -> Result<&mut [u8], BatchError> {
        let written = match &mut self.apart {
            None => self.records.get_mut(start..self.front),
            Some(bytes) => bytes.get_mut(start..),
        };
        written.ok_or(BatchError::Truncated)
    }

    /// From here on into a buffer of its own, which gets room for `room` bytes more; gives it and the bytes of `body`.
    pub(super) fn apart<'x>(&'x mut self, body: &Body<'x>, room: usize) -> (&'x [u8], &'x mut Vec<u8>) {
        let (records, front) = (&*self.records, self.front);
        let bytes = self.apart.get_or_insert_with(|| {
            let mut bytes = Vec::with_capacity(records.len().max(front + room));
            bytes.extend_from_slice(records.get(..front).unwrap_or_default());
            bytes
        });
        bytes.reserve(room);
        (bytes_of(records, body), bytes)
    }

    /// Appends a part of the records that has been read, unchanged.
    pub(super) fn keep(&mut self, range: Range<usize>) -> Result<(), BatchError> {
        let Some(bytes) = &mut self.apart else {
            let mut front = Front { at: self.front, end: range.end, records: self.records };
            front.take(range)?;
            self.front = front.at;
            return Ok(());
        };
        bytes.extend_from_slice(self.records.get(range).ok_or(BatchError::Truncated)?);
        Ok(())
    }

    /// The front, for a record that ends at `end`; `None` when the bytes are written apart.
    pub(super) fn front(&mut self, end: usize) -> Option<Front<'_>> {
        self.apart.is_none().then_some(Front { records: self.records, at: self.front, end })
    }

    /// The front now ends here.
    pub(super) fn advance(&mut self, at: usize) {
        self.front = at;
    }
}

fn bytes_of<'x>(records: &'x [u8], body: &Body<'x>) -> &'x [u8] {
    match body {
        Body::Stored(range) => records.get(range.clone()).unwrap_or_default(),
        Body::Inflated(bytes) => bytes,
    }
}

/// Writes a record at the front, piece by piece, none behind the place where it is read.
pub(super) struct Front<'x> {
    records: &'x mut [u8],
    at: usize,
    /// Nothing from here on has been read yet.
    end: usize,
}

impl Front<'_> {
    /// Where the next piece goes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Moves a piece to the front.
    pub(super) fn take(&mut self, piece: Range<usize>) -> Result<(), BatchError> {
        if piece.start < self.at || piece.end > self.end.min(self.records.len()) || piece.end < piece.start {
            return Err(BatchError::Malformed("place to open it in"));
        }
        let length = piece.len();
        if piece.start != self.at {
            self.records.copy_within(piece, self.at);
        }
        self.at += length;
        Ok(())
    }

    /// Writes a number.
    pub(super) fn put_varint(&mut self, value: i32) -> Result<(), BatchError> {
        let (digits, length) = encode_varint(value);
        let end = self.at + length;
        let target = self.records.get_mut(self.at..end).filter(|_| end <= self.end);
        let target = target.ok_or(BatchError::Malformed("place to open it in"))?;
        target.copy_from_slice(digits.get(..length).unwrap_or_default());
        self.at = end;
        Ok(())
    }

    /// What was written before, and the rest of the record, for work in it.
    pub(super) fn rest(&mut self, end: usize) -> Result<(&[u8], &mut [u8]), BatchError> {
        let whole = self.records.get_mut(..end.min(self.end)).ok_or(BatchError::Truncated)?;
        let (before, rest) = whole.split_at_mut_checked(self.at).ok_or(BatchError::Truncated)?;
        Ok((before, rest))
    }

    /// So much of the rest is written.
    pub(super) fn skip(&mut self, length: usize) {
        self.at += length;
    }
}
