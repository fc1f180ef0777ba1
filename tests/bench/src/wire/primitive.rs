//! Kafka's primitive fields. What arrives is read with the remaining length in view: a count or length that the frame cannot
//! hold is an error before anything is allocated.

use crate::error::Error;

/// Writes the fields of one frame.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// INT8.
    pub fn int8(&mut self, value: i8) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// INT16.
    pub fn int16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// INT32.
    pub fn int32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// INT64.
    pub fn int64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// UNSIGNED_VARINT.
    pub fn unsigned_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// VARINT and VARLONG: zigzag.
    pub fn varint(&mut self, value: i64) {
        self.unsigned_varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Bytes without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// STRING: two bytes of length, as in the request header.
    pub fn string(&mut self, text: &str) {
        self.int16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        self.raw(text.as_bytes());
    }

    /// COMPACT_STRING.
    pub fn compact_string(&mut self, text: &str) {
        self.compact_bytes(text.as_bytes());
    }

    /// COMPACT_BYTES.
    pub fn compact_bytes(&mut self, bytes: &[u8]) {
        self.unsigned_varint(bytes.len() as u64 + 1);
        self.raw(bytes);
    }

    /// The null of every compact nullable type.
    pub fn compact_null(&mut self) {
        self.unsigned_varint(0);
    }

    /// The count in front of a COMPACT_ARRAY.
    pub fn compact_count(&mut self, count: usize) {
        self.unsigned_varint(count as u64 + 1);
    }

    /// An empty tagged-field section.
    pub fn no_tags(&mut self) {
        self.unsigned_varint(0);
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes as they are.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes with the length of what follows written into the first four.
    pub fn into_frame(mut self) -> Vec<u8> {
        let length = i32::try_from(self.bytes.len().saturating_sub(4)).unwrap_or(i32::MAX);
        overwrite(&mut self.bytes, 0, &length.to_be_bytes());
        self.bytes
    }
}

/// Replaces bytes inside a buffer; does nothing when they would not fit.
pub fn overwrite(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = buffer.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Reads fields from one answer.
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or(Error::Short { needed: count, left: self.bytes.len() })?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// INT8.
    pub fn int8(&mut self) -> Result<i8, Error> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// INT16.
    pub fn int16(&mut self) -> Result<i16, Error> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// INT32.
    pub fn int32(&mut self) -> Result<i32, Error> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// UINT32.
    pub fn uint32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// INT64.
    pub fn int64(&mut self) -> Result<i64, Error> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// UNSIGNED_VARINT, at most ten bytes.
    pub fn unsigned_varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Mismatch("variable-length integer runs over ten bytes".into()))
    }

    /// VARINT and VARLONG.
    pub fn varint(&mut self) -> Result<i64, Error> {
        let raw = self.unsigned_varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// COMPACT_BYTES, nullable.
    pub fn compact_bytes(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.unsigned_varint()? {
            0 => Ok(None),
            length => self.take(usize::try_from(length - 1).unwrap_or(usize::MAX)).map(Some),
        }
    }

    /// COMPACT_STRING; null reads as empty.
    pub fn compact_string(&mut self) -> Result<&'a str, Error> {
        let bytes = self.compact_bytes()?.unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| Error::Mismatch("string is not UTF-8".into()))
    }

    /// The count in front of a COMPACT_ARRAY; null reads as none. Never more than the bytes that remain.
    pub fn compact_count(&mut self) -> Result<usize, Error> {
        let count = usize::try_from(self.unsigned_varint()?.saturating_sub(1)).unwrap_or(usize::MAX);
        if count > self.bytes.len() {
            return Err(Error::Short { needed: count, left: self.bytes.len() });
        }
        Ok(count)
    }

    /// Passes over a tagged-field section.
    pub fn skip_tags(&mut self) -> Result<(), Error> {
        for _ in 0..self.unsigned_varint()? {
            self.unsigned_varint()?;
            let length = self.unsigned_varint()?;
            self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn variable_length_integers_come_back_as_they_went() {
        for value in [0, 1, -1, 63, -64, 64, 300, i64::from(i32::MAX), i64::MIN, i64::MAX] {
            let mut writer = Writer::default();
            writer.varint(value);
            let bytes = writer.into_bytes();
            assert_eq!(Reader::new(&bytes).varint().unwrap(), value);
        }
    }

    #[test]
    fn a_count_that_the_frame_cannot_hold_is_refused() {
        let mut writer = Writer::default();
        writer.compact_count(1_000_000);
        let bytes = writer.into_bytes();
        assert!(matches!(Reader::new(&bytes).compact_count(), Err(Error::Short { .. })));
    }

    #[test]
    fn a_frame_announces_the_bytes_behind_its_length() {
        let mut writer = Writer::default();
        writer.int32(0);
        writer.int64(7);
        assert_eq!(writer.into_frame().get(..4).unwrap(), [0, 0, 0, 8]);
    }
}
