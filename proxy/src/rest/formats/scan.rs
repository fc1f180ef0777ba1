//! Walks JSON text (RFC 8259) in place: no tree, no allocation, no recursion.
//!
//! Bytes arrive, ranges of them leave. Text is checked to be UTF-8 once; values that are only passed on are checked
//! against the grammar and keep their whitespace and the way their numbers are written. What must never happen here:
//! a read beyond the bytes, nesting without a bound.

use std::ops::Range;

use super::error::FormatError;
use super::escape;
use crate::rest::Code;

/// A place in a JSON text.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Added to positions in errors: where these bytes begin in the body or stream.
    base: usize,
    depth: usize,
    max_depth: usize,
}

/// A JSON string: what stands between its quotes.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    /// The bytes as they are written, UTF-8.
    pub(crate) raw: &'a [u8],
    /// Where they begin in the scanner's bytes.
    pub(crate) start: usize,
    /// Whether a backslash is among them.
    pub(crate) is_escaped: bool,
}

impl<'a> Scanner<'a> {
    /// Begins at the first byte. `base` is where the bytes stand in the whole body.
    ///
    /// # Errors
    /// `BadRequest`, when the bytes are not UTF-8.
    pub(crate) fn new(bytes: &'a [u8], base: usize, max_depth: usize) -> Result<Self, FormatError> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(Self::of_checked(bytes, base, max_depth)),
            Err(error) => Err(malformed("not utf-8").at(base + error.valid_up_to())),
        }
    }

    /// Begins at the first byte of text that was already seen to be UTF-8.
    pub(crate) fn of_checked(bytes: &'a [u8], base: usize, max_depth: usize) -> Self {
        Self { bytes, at: 0, base, depth: 0, max_depth: max_depth.min(MAX_DEPTH) }
    }

    /// Where the next token begins, counted in the whole body: for errors.
    pub(crate) fn position(&mut self) -> usize {
        self.skip_whitespace();
        self.base + self.at
    }

    /// Where the scanner stands in its own bytes: behind what it took, and behind whitespace that it looked over.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Calls `each` with the name of every member of an object, placed before its value; `each` takes the value.
    pub(crate) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, Text<'a>) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        self.open(b'{', "an object")?;
        if !self.accept(b'}') {
            loop {
                let name = self.member_name()?;
                each(self, name)?;
                if !self.accept(b',') {
                    break;
                }
            }
            self.expect(b'}', "a comma or the object's end")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Calls `each` before every element of an array; `each` takes the element.
    pub(crate) fn elements(
        &mut self,
        mut each: impl FnMut(&mut Self, usize) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        self.open(b'[', "an array")?;
        if !self.accept(b']') {
            let mut index = 0;
            loop {
                each(self, index)?;
                index += 1;
                if !self.accept(b',') {
                    break;
                }
            }
            self.expect(b']', "a comma or the array's end")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Takes a null, where one stands.
    pub(crate) fn null(&mut self) -> Result<bool, FormatError> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal(b"null")?;
        Ok(true)
    }

    /// Takes a string; anything else is refused as `what`, which should have been there.
    pub(crate) fn string(&mut self, what: &'static str) -> Result<Text<'a>, FormatError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected(what));
        }
        self.at += 1;
        self.string_tail()
    }

    /// Takes an integer within the range of `i64`.
    pub(crate) fn integer(&mut self, what: &'static str) -> Result<i64, FormatError> {
        let start = self.position();
        let digits = self.number_text(what)?;
        digits.parse().map_err(|_| shape(format!("{what} is expected")).at(start))
    }

    /// Takes a number of any kind and gives its text.
    pub(crate) fn number_text(&mut self, what: &'static str) -> Result<&'a str, FormatError> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.unexpected(what));
        }
        let start = self.at;
        self.number()?;
        let digits = self.bytes.get(start..self.at).unwrap_or_default();
        Ok(std::str::from_utf8(digits).unwrap_or_default())
    }

    /// Takes true or false.
    pub(crate) fn boolean(&mut self, what: &'static str) -> Result<bool, FormatError> {
        match self.peek() {
            Some(b't') => self.literal(b"true").map(|()| true),
            Some(b'f') => self.literal(b"false").map(|()| false),
            _ => Err(self.unexpected(what)),
        }
    }

    /// Takes a value of any kind and gives its range, without the whitespace around it.
    pub(crate) fn value(&mut self) -> Result<Range<usize>, FormatError> {
        self.skip_whitespace();
        let start = self.at;
        // One bit for each open container, the innermost lowest: set for an object.
        let mut kinds = 0u128;
        let mut open = 0usize;
        loop {
            let container = match self.peek() {
                Some(b'{') => Some(1),
                Some(b'[') => Some(0),
                _ => None,
            };
            if let Some(kind) = container {
                self.at += 1;
                open += 1;
                if self.depth + open > self.max_depth {
                    return Err(self.too_deep());
                }
                kinds = (kinds << 1) | kind;
                if kind == 1 && self.peek() != Some(b'}') {
                    self.member_name()?;
                    continue;
                }
                if kind == 0 && self.peek() != Some(b']') {
                    continue;
                }
            } else {
                self.scalar()?;
            }
            // A value has ended, or an empty container is about to.
            loop {
                if open == 0 {
                    return Ok(start..self.at);
                }
                match (self.peek(), kinds & 1) {
                    (Some(b'}'), 1) | (Some(b']'), 0) => {
                        self.at += 1;
                        open -= 1;
                        kinds >>= 1;
                    }
                    (Some(b','), kind) => {
                        self.at += 1;
                        if kind == 1 {
                            self.member_name()?;
                        }
                        break;
                    }
                    (_, 1) => return Err(self.unexpected("a comma or the object's end")),
                    _ => return Err(self.unexpected("a comma or the array's end")),
                }
            }
        }
    }

    /// Nothing but whitespace may follow.
    pub(crate) fn end(&mut self) -> Result<(), FormatError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(malformed("more text after the end of the JSON value").at(self.base + self.at)),
        }
    }

    /// The next byte that is no whitespace, not taken.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.skip_whitespace();
        self.bytes.get(self.at).copied()
    }

    /// A scanner of a value whose range [`Self::value`] gave; its ranges are of the same bytes.
    pub(crate) fn within(&self, range: &Range<usize>) -> Self {
        let bytes = self.bytes.get(..range.end).unwrap_or_default();
        Self { bytes, at: range.start, base: self.base, depth: self.depth, max_depth: self.max_depth }
    }

    fn member_name(&mut self) -> Result<Text<'a>, FormatError> {
        self.expect(b'"', "the name of a member")?;
        let name = self.string_tail()?;
        self.expect(b':', "a colon")?;
        Ok(name)
    }

    fn scalar(&mut self) -> Result<(), FormatError> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string_tail().map(|_| ())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.unexpected("a JSON value")),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), FormatError> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(());
        }
        Err(malformed("a JSON value is expected").at(self.base + self.at))
    }

    fn number(&mut self) -> Result<(), FormatError> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), FormatError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 {
            return Err(malformed("a digit is expected").at(self.base + self.at));
        }
        Ok(())
    }

    /// The rest of a string after its first quote.
    fn string_tail(&mut self) -> Result<Text<'a>, FormatError> {
        let start = self.at;
        let mut is_escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += escape::plain_length(rest);
            match self.byte() {
                Some(b'"') => {
                    let raw = self.bytes.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(Text { raw, start, is_escaped });
                }
                Some(b'\\') => {
                    is_escaped = true;
                    let rest = self.bytes.get(self.at..).unwrap_or_default();
                    match escape::escape_length(rest) {
                        Some(length) => self.at += length,
                        None => return Err(malformed("an escape that JSON does not have").at(self.base + self.at)),
                    }
                }
                Some(_) => return Err(malformed("a control character in a string").at(self.base + self.at)),
                None => return Err(malformed("the text ends inside a string").at(self.base + self.at)),
            }
        }
    }

    fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), FormatError> {
        if self.peek() != Some(bracket) {
            return Err(self.unexpected(what));
        }
        self.at += 1;
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(self.too_deep());
        }
        Ok(())
    }

    fn accept(&mut self, wanted: u8) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.at += 1;
        }
        is_there
    }

    fn expect(&mut self, wanted: u8, what: &'static str) -> Result<(), FormatError> {
        if self.accept(wanted) {
            return Ok(());
        }
        Err(malformed(format!("{what} is expected")).at(self.base + self.at))
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn too_deep(&self) -> FormatError {
        malformed(format!("more than {} objects and arrays inside each other", self.max_depth)).at(self.base + self.at)
    }

    /// Something stands here that is no JSON at all, or JSON of another kind than the API asks for.
    fn unexpected(&mut self, what: &'static str) -> FormatError {
        let begins_a_value = matches!(self.peek(), Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'));
        let make = if begins_a_value { shape } else { malformed };
        make(format!("{what} is expected")).at(self.base + self.at)
    }
}

impl Text<'_> {
    /// Whether the string is this name. Names of the API have no character that must be escaped.
    pub(crate) fn is(&self, name: &str) -> bool {
        if self.is_escaped {
            return self.to_text().is_some_and(|text| text == name);
        }
        self.raw == name.as_bytes()
    }

    /// The string with its escapes resolved; `None` for half of a surrogate pair.
    pub(crate) fn to_text(self) -> Option<String> {
        let mut text = Vec::with_capacity(self.raw.len());
        escape::unescape(self.raw, |run| text.extend_from_slice(run))?;
        String::from_utf8(text).ok()
    }
}

/// Whether bytes are one JSON value in UTF-8, with nothing but whitespace around it.
#[must_use]
pub fn is_json(bytes: &[u8], max_depth: usize) -> bool {
    let Ok(mut scanner) = Scanner::new(bytes, 0, max_depth) else { return false };
    scanner.value().is_ok() && scanner.end().is_ok()
}

fn malformed(text: impl Into<std::borrow::Cow<'static, str>>) -> FormatError {
    FormatError::new(Code::BadRequest, text)
}

fn shape(text: String) -> FormatError {
    FormatError::new(Code::Unprocessable, text)
}

/// As many containers as `value` has bits for, less one.
const MAX_DEPTH: usize = 127;
