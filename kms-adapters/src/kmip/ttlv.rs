//! The bytes of KMIP: tag, type, length, value (KMIP 1.4 specification, 9.1).
//!
//! Arrives: bytes of a server, of any content. Leaves: items that borrow from them, and the bytes of a request. Reading
//! allocates nothing and goes no deeper than it is asked to: a structure is a slice until someone walks it, so neither a
//! length nor a depth from the wire costs memory or stack. Writing wipes the buffers that it leaves behind: a request to
//! encrypt carries a secret.

use core::fmt;
use core::str;

use zeroize::Zeroizing;

/// What an item is, 3 bytes on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(pub u32);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.0)
    }
}

/// One item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// What it is.
    pub tag: Tag,
    /// Its value.
    pub value: Value<'a>,
}

/// The value of an item; text, bytes and structures borrow from the message. No `Debug`: a value may be a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A big-endian two's complement number of a multiple of 8 bytes.
    BigInteger(&'a [u8]),
    /// True or false.
    Boolean(bool),
    /// Bytes.
    ByteString(&'a [u8]),
    /// Seconds since 1970.
    DateTime(i64),
    /// One of a closed list.
    Enumeration(u32),
    /// 32 bits, signed.
    Integer(i32),
    /// A duration in seconds.
    Interval(u32),
    /// 64 bits, signed.
    LongInteger(i64),
    /// Items inside of this one.
    Structure(Items<'a>),
    /// UTF-8.
    TextString(&'a str),
}

/// The items of a structure or of a message, read one by one as they are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// The items that stand in these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first item with this tag, if there is one.
    ///
    /// # Errors
    /// Those of an item before it, or of itself.
    pub fn find(mut self, tag: Tag) -> Result<Option<Value<'a>>, Malformed> {
        self.find_map(|item| item.map(|item| (item.tag == tag).then_some(item.value)).transpose()).transpose()
    }

    /// The structure with this tag.
    ///
    /// # Errors
    /// `Missing`, `OtherType`; those of `find`.
    pub fn structure(self, tag: Tag) -> Result<Items<'a>, Malformed> {
        match self.need(tag)? {
            Value::Structure(items) => Ok(items),
            _ => Err(Malformed::OtherType(tag)),
        }
    }

    /// The enumeration with this tag.
    ///
    /// # Errors
    /// `Missing`, `OtherType`; those of `find`.
    pub fn enumeration(self, tag: Tag) -> Result<u32, Malformed> {
        match self.need(tag)? {
            Value::Enumeration(value) => Ok(value),
            _ => Err(Malformed::OtherType(tag)),
        }
    }

    /// The integer with this tag.
    ///
    /// # Errors
    /// `Missing`, `OtherType`; those of `find`.
    pub fn integer(self, tag: Tag) -> Result<i32, Malformed> {
        match self.need(tag)? {
            Value::Integer(value) => Ok(value),
            _ => Err(Malformed::OtherType(tag)),
        }
    }

    /// The text with this tag.
    ///
    /// # Errors
    /// `Missing`, `OtherType`; those of `find`.
    pub fn text(self, tag: Tag) -> Result<&'a str, Malformed> {
        match self.need(tag)? {
            Value::TextString(text) => Ok(text),
            _ => Err(Malformed::OtherType(tag)),
        }
    }

    /// The bytes with this tag.
    ///
    /// # Errors
    /// `Missing`, `OtherType`; those of `find`.
    pub fn bytes(self, tag: Tag) -> Result<&'a [u8], Malformed> {
        match self.need(tag)? {
            Value::ByteString(bytes) => Ok(bytes),
            _ => Err(Malformed::OtherType(tag)),
        }
    }

    fn need(self, tag: Tag) -> Result<Value<'a>, Malformed> {
        self.find(tag)?.ok_or(Malformed::Missing(tag))
    }

    /// Cuts the next item off. After an error nothing is left: what follows a wrong length means nothing.
    fn cut(&mut self) -> Result<Item<'a>, Malformed> {
        let bytes = core::mem::take(&mut self.rest);
        let ([t0, t1, t2, kind, length @ ..], body) =
            bytes.split_first_chunk::<HEADER>().ok_or(Malformed::Truncated)?;
        let tag = Tag(u32::from_be_bytes([0, *t0, *t1, *t2]));
        let length = u32::from_be_bytes(*length) as usize;
        let value = body.get(..length).ok_or(Malformed::Truncated)?;
        let value = Value::read(tag, *kind, value)?;
        // A structure is as long as its items are, and those are padded.
        let padded = length.checked_next_multiple_of(8).ok_or(Malformed::Truncated)?;
        self.rest = body.get(padded..).ok_or(Malformed::Truncated)?;
        Ok(Item { tag, value })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.cut())
    }
}

impl<'a> Value<'a> {
    fn read(tag: Tag, kind: u8, value: &'a [u8]) -> Result<Self, Malformed> {
        let four = || <[u8; 4]>::try_from(value).map_err(|_| Malformed::Length(tag));
        let eight = || <[u8; 8]>::try_from(value).map_err(|_| Malformed::Length(tag));
        let is_even = value.len().is_multiple_of(8);
        match kind {
            STRUCTURE if is_even => Ok(Self::Structure(Items::new(value))),
            BIG_INTEGER if is_even && !value.is_empty() => Ok(Self::BigInteger(value)),
            STRUCTURE | BIG_INTEGER => Err(Malformed::Length(tag)),
            INTEGER => Ok(Self::Integer(i32::from_be_bytes(four()?))),
            LONG_INTEGER => Ok(Self::LongInteger(i64::from_be_bytes(eight()?))),
            ENUMERATION => Ok(Self::Enumeration(u32::from_be_bytes(four()?))),
            BOOLEAN => match u64::from_be_bytes(eight()?) {
                0 => Ok(Self::Boolean(false)),
                1 => Ok(Self::Boolean(true)),
                _ => Err(Malformed::Boolean(tag)),
            },
            TEXT_STRING => str::from_utf8(value).map(Self::TextString).map_err(|_| Malformed::Text(tag)),
            BYTE_STRING => Ok(Self::ByteString(value)),
            DATE_TIME => Ok(Self::DateTime(i64::from_be_bytes(eight()?))),
            INTERVAL => Ok(Self::Interval(u32::from_be_bytes(four()?))),
            other => Err(Malformed::Type(tag, other)),
        }
    }
}

/// Why bytes are no item, or not the one that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A boolean that is neither 0 nor 1.
    #[error("item {0} is neither true nor false")]
    Boolean(Tag),
    /// A length that the type cannot have.
    #[error("item {0} has a length that its type cannot have")]
    Length(Tag),
    /// An item that has to be there is not.
    #[error("item {0} is missing")]
    Missing(Tag),
    /// An item of another type than the specification gives it.
    #[error("item {0} has another type than it should")]
    OtherType(Tag),
    /// Text that is not UTF-8.
    #[error("item {0} is not valid text")]
    Text(Tag),
    /// The bytes end inside of an item.
    #[error("the message ends inside of an item")]
    Truncated,
    /// A type that KMIP 1.4 does not have.
    #[error("item {0} has the unknown type {1}")]
    Type(Tag, u8),
}

/// The bytes of a message in the making. Wiped when dropped, and so is every buffer that became too small.
#[derive(Default)]
pub struct Writer {
    out: Zeroizing<Vec<u8>>,
}

impl Writer {
    /// An item around those that `fill` writes.
    pub fn structure(&mut self, tag: Tag, fill: impl FnOnce(&mut Self)) {
        self.header(tag, STRUCTURE, 0);
        let start = self.out.len();
        fill(self);
        // Requests are short: what would not fit into the field has no way to get here.
        let length = u32::try_from(self.out.len() - start).unwrap_or(u32::MAX);
        if let Some(field) = self.out.get_mut(start - 4..start) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// A 32-bit number.
    pub fn integer(&mut self, tag: Tag, value: i32) {
        self.item(tag, INTEGER, &value.to_be_bytes());
    }

    /// A 64-bit number.
    pub fn long_integer(&mut self, tag: Tag, value: i64) {
        self.item(tag, LONG_INTEGER, &value.to_be_bytes());
    }

    /// A number of any size; its length must be a multiple of 8 bytes.
    pub fn big_integer(&mut self, tag: Tag, value: &[u8]) {
        self.item(tag, BIG_INTEGER, value);
    }

    /// One of a closed list.
    pub fn enumeration(&mut self, tag: Tag, value: u32) {
        self.item(tag, ENUMERATION, &value.to_be_bytes());
    }

    /// True or false.
    pub fn boolean(&mut self, tag: Tag, value: bool) {
        self.item(tag, BOOLEAN, &u64::from(value).to_be_bytes());
    }

    /// Text.
    pub fn text(&mut self, tag: Tag, value: &str) {
        self.item(tag, TEXT_STRING, value.as_bytes());
    }

    /// Bytes.
    pub fn bytes(&mut self, tag: Tag, value: &[u8]) {
        self.item(tag, BYTE_STRING, value);
    }

    /// Seconds since 1970.
    pub fn date_time(&mut self, tag: Tag, value: i64) {
        self.item(tag, DATE_TIME, &value.to_be_bytes());
    }

    /// A duration in seconds.
    pub fn interval(&mut self, tag: Tag, value: u32) {
        self.item(tag, INTERVAL, &value.to_be_bytes());
    }

    /// The same item again, whatever stands inside of a structure.
    pub fn copy(&mut self, item: &Item<'_>) {
        match item.value {
            Value::BigInteger(value) => self.big_integer(item.tag, value),
            Value::Boolean(value) => self.boolean(item.tag, value),
            Value::ByteString(value) => self.bytes(item.tag, value),
            Value::DateTime(value) => self.date_time(item.tag, value),
            Value::Enumeration(value) => self.enumeration(item.tag, value),
            Value::Integer(value) => self.integer(item.tag, value),
            Value::Interval(value) => self.interval(item.tag, value),
            Value::LongInteger(value) => self.long_integer(item.tag, value),
            Value::Structure(items) => self.item(item.tag, STRUCTURE, items.rest),
            Value::TextString(value) => self.text(item.tag, value),
        }
    }

    /// The message.
    #[must_use]
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.out
    }

    fn item(&mut self, tag: Tag, kind: u8, value: &[u8]) {
        self.header(tag, kind, u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.raw(value);
        self.raw(PADDING.get(..value.len().next_multiple_of(8) - value.len()).unwrap_or_default());
    }

    fn header(&mut self, tag: Tag, kind: u8, length: u32) {
        let [_, t0, t1, t2] = tag.0.to_be_bytes();
        let [l0, l1, l2, l3] = length.to_be_bytes();
        self.raw(&[t0, t1, t2, kind, l0, l1, l2, l3]);
    }

    fn raw(&mut self, bytes: &[u8]) {
        let needed = self.out.len() + bytes.len();
        if needed > self.out.capacity() {
            // Growing by hand, since a vector that grows by itself frees its old memory unwiped.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two().max(SMALLEST)));
            larger.extend_from_slice(&self.out);
            self.out = larger;
        }
        self.out.extend_from_slice(bytes);
    }
}

/// Bytes before a value: tag, type and length.
pub const HEADER: usize = 8;
const PADDING: [u8; 8] = [0; 8];
const SMALLEST: usize = 1024;

const STRUCTURE: u8 = 0x01;
const INTEGER: u8 = 0x02;
const LONG_INTEGER: u8 = 0x03;
const BIG_INTEGER: u8 = 0x04;
const ENUMERATION: u8 = 0x05;
const BOOLEAN: u8 = 0x06;
const TEXT_STRING: u8 = 0x07;
const BYTE_STRING: u8 = 0x08;
const DATE_TIME: u8 = 0x09;
const INTERVAL: u8 = 0x0A;

#[cfg(test)]
mod tests;
