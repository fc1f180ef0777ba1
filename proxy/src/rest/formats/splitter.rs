//! Cuts a stream of JSON objects, one after the other, into the objects.
//!
//! Chunks of a body arrive as the network brought them, whole objects leave. Between them may stand whitespace or
//! nothing: concatenated JSON and one object per line are both read. An object within one chunk is a slice of it; only
//! one that spans chunks is put together. What must never happen here: memory beyond one chunk and one record, an
//! object given out before its last byte was seen.

use bytes::{Buf, Bytes, BytesMut};

use super::{FormatError, Limits};
use crate::rest::Code;

/// The state between two chunks: a bracket count, and whether a string is open.
#[derive(Debug)]
pub struct Splitter {
    limits: Limits,
    /// What was pushed and not yet looked at.
    chunk: Bytes,
    /// The begin of the object that spans chunks.
    begun: BytesMut,
    /// Where `chunk` begins in the stream.
    at: usize,
    /// Where the open object begins in the stream.
    start: usize,
    /// Objects that were given out.
    count: usize,
    depth: usize,
    is_in_string: bool,
    /// The byte before was a backslash in a string.
    is_escaped: bool,
    is_broken: bool,
}

/// One object of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its text, from its first to its last brace; whether it is JSON is for its reader to see.
    pub text: Bytes,
    /// Which one it is, counted from zero.
    pub index: usize,
    /// Where it begins in the stream: what positions in its reader's errors are counted from.
    pub position: usize,
}

impl Splitter {
    /// At the begin of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            chunk: Bytes::new(),
            begun: BytesMut::new(),
            at: 0,
            start: 0,
            count: 0,
            depth: 0,
            is_in_string: false,
            is_escaped: false,
            is_broken: false,
        }
    }

    /// Adds what the network brought. [`Self::take`] is to be called until it gives nothing before more is pushed.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// The next whole object, or nothing until more is pushed.
    ///
    /// # Errors
    /// `BadRequest` for anything but an object, or one nested too deep; `TooLarge` for one beyond the limit. The stream
    /// cannot be read any further then, and every later call gives the error again.
    pub fn take(&mut self) -> Result<Option<Piece>, FormatError> {
        if self.is_broken {
            return Err(malformed("the stream was already broken").in_record(self.count).at(self.at));
        }
        let found = self.find();
        self.is_broken = found.is_err();
        found.map_err(|error| error.in_record(self.count))
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// `BadRequest`, when it ended inside an object.
    pub fn finish(&self) -> Result<(), FormatError> {
        if self.depth == 0 && !self.is_broken {
            return Ok(());
        }
        let end = self.at + self.chunk.len();
        Err(malformed("the stream ends inside a record").in_record(self.count).at(end))
    }

    /// Bytes that were pushed and not yet given out.
    #[must_use]
    pub fn length(&self) -> usize {
        self.chunk.len() + self.begun.len()
    }

    /// Whether an object has begun and not ended.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.depth > 0
    }

    fn find(&mut self) -> Result<Option<Piece>, FormatError> {
        if self.depth == 0 && !self.begin()? {
            return Ok(None);
        }
        let Some(end) = self.end_of_object()? else {
            let length = self.chunk.len();
            self.check_length(self.at + length)?;
            self.begun.extend_from_slice(&self.chunk);
            self.cut(length);
            return Ok(None);
        };
        self.check_length(self.at + end)?;
        let tail = self.cut(end);
        let text = if self.begun.is_empty() {
            tail
        } else {
            self.begun.extend_from_slice(&tail);
            self.begun.split().freeze()
        };
        let piece = Piece { text, index: self.count, position: self.start };
        self.count += 1;
        Ok(Some(piece))
    }

    /// Skips to the first brace. False when there is none yet.
    fn begin(&mut self) -> Result<bool, FormatError> {
        let white = self.chunk.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
        self.cut(white);
        match self.chunk.first() {
            None => Ok(false),
            Some(b'{') => {
                self.start = self.at;
                Ok(true)
            }
            Some(_) => Err(malformed("a record begins with a brace").at(self.at)),
        }
    }

    /// Walks the chunk, keeping the state. The object's end in the chunk, when it is there.
    fn end_of_object(&mut self) -> Result<Option<usize>, FormatError> {
        let mut rest: &[u8] = &self.chunk;
        let length = rest.len();
        while let Some((&byte, behind)) = rest.split_first() {
            if self.is_escaped {
                self.is_escaped = false;
            } else if self.is_in_string {
                // A control character is for the record's reader to refuse.
                let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                if plain > 0 {
                    rest = rest.get(plain..).unwrap_or_default();
                    continue;
                }
                match byte {
                    b'"' => self.is_in_string = false,
                    b'\\' => self.is_escaped = true,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.is_in_string = true,
                    b'{' | b'[' if self.depth < self.limits.max_depth => self.depth += 1,
                    b'{' | b'[' => {
                        let text = format!("more than {} objects and arrays inside each other", self.depth);
                        return Err(malformed(text).at(self.at + length - rest.len()));
                    }
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            return Ok(Some(length - behind.len()));
                        }
                    }
                    _ => {}
                }
            }
            rest = behind;
        }
        Ok(None)
    }

    fn check_length(&self, end: usize) -> Result<(), FormatError> {
        // Base64 and the envelope take more than what they carry.
        let limit = self.limits.max_record_bytes.saturating_mul(2);
        if end - self.start <= limit {
            return Ok(());
        }
        let text = format!("the text of a record is beyond {limit} bytes");
        Err(FormatError::new(Code::TooLarge, text).at(self.start))
    }

    fn cut(&mut self, length: usize) -> Bytes {
        self.at += length;
        if length == self.chunk.len() {
            return std::mem::take(&mut self.chunk);
        }
        self.chunk.copy_to_bytes(length)
    }
}

fn malformed(text: impl Into<std::borrow::Cow<'static, str>>) -> FormatError {
    FormatError::new(Code::BadRequest, text)
}
