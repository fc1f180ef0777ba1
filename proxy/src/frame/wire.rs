//! Kafka's primitive types, read from bytes that a peer sent.
//!
//! Arrives: one frame and a position in it. Leaves: numbers, checked text and [`Span`]s, which are
//! positions in that same frame. Nothing is copied. What must never happen here: a panic, an
//! allocation, or a length or a count that is believed before it was compared with the bytes that
//! remain.
//!
//! Source: the Kafka protocol guide, "Protocol Primitive Types"; KIP-482 for the compact forms and
//! tagged fields.

use std::ops::Range;

pub use super::error::WireError;

/// Which of the two encodings of strings, bytes and arrays a message uses (KIP-482).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Fixed-width lengths, -1 for null, no tagged fields.
    Classic,
    /// Unsigned varint of length + 1, 0 for null; tagged fields end each structure.
    Compact,
}

/// A half-open byte range of a frame. Unlike a `Range` it is `Copy`, and it is half the size:
/// frames are shorter than 2 GiB because their length is a signed 32-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

/// Walks one message. Positions are those of the whole frame, also inside tagged fields.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    encoding: Encoding,
}

impl Span {
    /// A span from `start` to `end`; fails if a frame could not be that long.
    pub fn new(start: usize, end: usize) -> Result<Self, WireError> {
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) if start <= end => Ok(Self { start, end }),
            _ => Err(WireError::BadEdit { start, end, length: u32::MAX as usize }),
        }
    }

    /// First byte.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// Byte after the last.
    pub fn end(self) -> usize {
        self.end as usize
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// True if it covers nothing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// As a range, to index a frame with.
    pub fn range(self) -> Range<usize> {
        self.start()..self.end()
    }

    /// The bytes it covers.
    pub fn of(self, frame: &[u8]) -> Result<&[u8], WireError> {
        frame.get(self.range()).ok_or(WireError::BadEdit { start: self.start(), end: self.end(), length: frame.len() })
    }

    /// The bytes it covers, to be changed in place.
    pub fn of_mut(self, frame: &mut [u8]) -> Result<&mut [u8], WireError> {
        let length = frame.len();
        frame.get_mut(self.range()).ok_or(WireError::BadEdit { start: self.start(), end: self.end(), length })
    }
}

impl<'a> Cursor<'a> {
    /// Starts at byte `position` of `frame`.
    pub fn new(frame: &'a [u8], position: usize, encoding: Encoding) -> Self {
        Self { bytes: frame, position, encoding }
    }

    /// The encoding this message uses.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// True in compact messages.
    pub fn is_compact(&self) -> bool {
        self.encoding == Encoding::Compact
    }

    /// Byte position in the frame.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// The span from `start` to here.
    pub fn span_from(&self, start: usize) -> Result<Span, WireError> {
        Span::new(start, self.position)
    }

    /// Takes `length` bytes.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let truncated = WireError::Truncated { field, at: self.position, wanted: length };
        let Some(end) = self.position.checked_add(length) else {
            return Err(truncated);
        };
        let taken = self.bytes.get(self.position..end).ok_or(truncated)?;
        self.position = end;
        Ok(taken)
    }

    /// Fails unless every byte was read. A broker ignores what follows a message; we refuse it,
    /// since two readers that disagree about where a message ends can be played against each other.
    pub fn finish(&self, field: &'static str) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(WireError::Trailing { field, at: self.position, remaining }),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let at = self.position;
        let taken = self.take(N, field)?;
        taken.try_into().map_err(|_| WireError::Truncated { field, at, wanted: N })
    }

    /// INT8.
    pub fn i8(&mut self, field: &'static str) -> Result<i8, WireError> {
        self.array(field).map(i8::from_be_bytes)
    }

    /// BOOLEAN: any byte but 0 is true, as the broker reads it.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, WireError> {
        Ok(self.i8(field)? != 0)
    }

    /// INT16.
    pub fn i16(&mut self, field: &'static str) -> Result<i16, WireError> {
        self.array(field).map(i16::from_be_bytes)
    }

    /// UINT16.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// INT32.
    pub fn i32(&mut self, field: &'static str) -> Result<i32, WireError> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// UINT32.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// INT64.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, WireError> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// UUID, 16 bytes.
    pub fn uuid(&mut self, field: &'static str) -> Result<[u8; 16], WireError> {
        self.array(field)
    }

    /// UNSIGNED_VARINT, at most 5 bytes.
    pub fn unsigned_varint(&mut self, field: &'static str) -> Result<u32, WireError> {
        let at = self.position;
        let value = self.base128(field, 5)?;
        u32::try_from(value).map_err(|_| WireError::BadVarint { field, at })
    }

    /// VARINT: zigzag, at most 5 bytes.
    pub fn varint(&mut self, field: &'static str) -> Result<i32, WireError> {
        let value = self.unsigned_varint(field)?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// VARLONG: zigzag, at most 10 bytes.
    pub fn varlong(&mut self, field: &'static str) -> Result<i64, WireError> {
        let value = self.base128(field, 10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn base128(&mut self, field: &'static str, longest: u32) -> Result<u64, WireError> {
        let at = self.position;
        let mut value = 0u64;
        for turn in 0..longest {
            let byte = u64::from(self.u8(field)?);
            let bits = byte & 0x7f;
            let shift = turn * 7;
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::BadVarint { field, at })
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// The length of a string in the message's encoding; `None` is null.
    fn string_length(&mut self, field: &'static str) -> Result<Option<usize>, WireError> {
        let length = match self.encoding {
            Encoding::Classic => i64::from(self.i16(field)?),
            Encoding::Compact => i64::from(self.unsigned_varint(field)?) - 1,
        };
        match length {
            -1 => Ok(None),
            0..=MAX_STRING => Ok(usize::try_from(length).ok()),
            _ => Err(WireError::BadLength { field, length, at: self.position }),
        }
    }

    /// NULLABLE_STRING or COMPACT_NULLABLE_STRING, not checked to be UTF-8.
    pub fn nullable_string_bytes(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, WireError> {
        match self.string_length(field)? {
            Some(length) => self.take(length, field).map(Some),
            None => Ok(None),
        }
    }

    /// NULLABLE_STRING or COMPACT_NULLABLE_STRING.
    pub fn nullable_string(&mut self, field: &'static str) -> Result<Option<&'a str>, WireError> {
        match self.nullable_string_bytes(field)? {
            Some(bytes) => {
                let at = self.position - bytes.len();
                std::str::from_utf8(bytes).map(Some).map_err(|_| WireError::BadText { field, at })
            }
            None => Ok(None),
        }
    }

    /// STRING or COMPACT_STRING.
    pub fn string(&mut self, field: &'static str) -> Result<&'a str, WireError> {
        let at = self.position;
        self.nullable_string(field)?.ok_or(WireError::BadLength { field, length: -1, at })
    }

    /// Steps over a string, null or not.
    pub fn skip_string(&mut self, field: &'static str) -> Result<(), WireError> {
        self.nullable_string_bytes(field).map(|_| ())
    }

    /// BYTES, COMPACT_BYTES or RECORDS in the message's encoding: where the content lies; `None` is
    /// null.
    pub fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<Span>, WireError> {
        let length = match self.encoding {
            Encoding::Classic => i64::from(self.i32(field)?),
            Encoding::Compact => i64::from(self.unsigned_varint(field)?) - 1,
        };
        if length == -1 {
            return Ok(None);
        }
        let at = self.position;
        let length = usize::try_from(length).map_err(|_| WireError::BadLength { field, length, at })?;
        self.take(length, field)?;
        self.span_from(at).map(Some)
    }

    /// The count of an array whose elements take at least `smallest` bytes each; `None` is null.
    pub fn nullable_count(&mut self, field: &'static str, smallest: usize) -> Result<Option<usize>, WireError> {
        let count = match self.encoding {
            Encoding::Classic => i64::from(self.i32(field)?),
            Encoding::Compact => i64::from(self.unsigned_varint(field)?) - 1,
        };
        if count == -1 {
            return Ok(None);
        }
        let remaining = self.remaining();
        match usize::try_from(count) {
            Ok(fitting) if fitting <= remaining / smallest.max(1) => Ok(Some(fitting)),
            _ => Err(WireError::BadCount { field, count, at: self.position, remaining }),
        }
    }

    /// The count of an array that must not be null.
    pub fn count(&mut self, field: &'static str, smallest: usize) -> Result<usize, WireError> {
        let bad = WireError::BadCount { field, count: -1, at: self.position, remaining: self.remaining() };
        self.nullable_count(field, smallest)?.ok_or(bad)
    }

    /// Steps over an array, null or not, whose elements have a fixed `size` and no tagged fields.
    pub fn skip_array(&mut self, field: &'static str, size: usize) -> Result<(), WireError> {
        let count = self.nullable_count(field, size)?.unwrap_or(0);
        self.take(count.saturating_mul(size), field).map(|_| ())
    }

    /// The tagged fields that end a structure: `visit` is given each tag with a cursor that sees
    /// its value only and says whether it knows the tag. A known one must be read to its end: the
    /// broker does not look at the size it was sent, and would read on where we stop. In classic
    /// messages there are none and nothing is read.
    pub fn tags<E: From<WireError>>(
        &mut self,
        mut visit: impl FnMut(u32, &mut Cursor<'a>) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.tags_with_size(|tag, _, value| visit(tag, value))
    }

    /// The same, and `visit` is told where the size of the value lies, to replace it.
    pub fn tags_with_size<E: From<WireError>>(
        &mut self,
        mut visit: impl FnMut(u32, Span, &mut Cursor<'a>) -> Result<bool, E>,
    ) -> Result<(), E> {
        if self.encoding == Encoding::Classic {
            return Ok(());
        }
        let count = self.unsigned_varint("tagged fields")? as usize;
        // A tagged field takes a tag and a size, one byte each at least.
        if count > self.remaining() / 2 {
            let (at, remaining) = (self.position, self.remaining());
            return Err(WireError::BadCount { field: "tagged fields", count: count as i64, at, remaining }.into());
        }
        for _ in 0..count {
            let tag = self.unsigned_varint("tag")?;
            let before_size = self.position;
            let size = self.unsigned_varint("tag size")? as usize;
            let size_span = self.span_from(before_size)?;
            let start = self.position;
            self.take(size, "tagged field")?;
            let seen = self.bytes.get(..self.position).unwrap_or_default();
            let mut value = Cursor { bytes: seen, position: start, encoding: self.encoding };
            if visit(tag, size_span, &mut value)? {
                value.finish("tagged field")?;
            }
        }
        Ok(())
    }

    /// Steps over the tagged fields that end a structure.
    pub fn skip_tags(&mut self) -> Result<(), WireError> {
        self.tags(|_, _| Ok(false))
    }
}

/// Kafka's longest string: its length is an INT16 in the classic encoding, and the broker holds
/// compact strings to the same bound.
const MAX_STRING: i64 = i16::MAX as i64;
