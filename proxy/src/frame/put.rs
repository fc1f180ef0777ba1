//! Kafka's primitive types, written.
//!
//! Arrives: values of ours. Leaves: their bytes at the end of a buffer, in the encoding of the
//! message. What must never happen here: a length that does not fit its field, which is an error,
//! never a silent cut.
//!
//! Source: the Kafka protocol guide, "Protocol Primitive Types"; KIP-482 for the compact forms.

use bytes::BufMut;

use super::wire::{Encoding, WireError};

impl Encoding {
    /// Compact if `flexible`, else classic.
    pub fn from_flexible(flexible: bool) -> Self {
        if flexible { Self::Compact } else { Self::Classic }
    }

    /// STRING or COMPACT_STRING.
    pub fn put_string(self, out: &mut impl BufMut, text: &str) -> Result<(), WireError> {
        let length =
            i16::try_from(text.len()).map_err(|_| WireError::TooLong { field: "string", length: text.len() })?;
        match self {
            Self::Classic => out.put_i16(length),
            Self::Compact => put_unsigned_varint(out, u32::from(length.unsigned_abs()) + 1),
        }
        out.put_slice(text.as_bytes());
        Ok(())
    }

    /// NULLABLE_STRING or COMPACT_NULLABLE_STRING.
    pub fn put_nullable_string(self, out: &mut impl BufMut, text: Option<&str>) -> Result<(), WireError> {
        match (text, self) {
            (Some(text), _) => self.put_string(out, text)?,
            (None, Self::Classic) => out.put_i16(-1),
            (None, Self::Compact) => out.put_u8(0),
        }
        Ok(())
    }

    /// The count of an array, or the length of BYTES and RECORDS: both are written alike.
    pub fn put_length(self, out: &mut impl BufMut, length: usize) -> Result<(), WireError> {
        let too_long = WireError::TooLong { field: "length", length };
        let Ok(fitting) = i32::try_from(length) else {
            return Err(too_long);
        };
        match self {
            Self::Classic => out.put_i32(fitting),
            Self::Compact => put_unsigned_varint(out, fitting.unsigned_abs().saturating_add(1)),
        }
        Ok(())
    }

    /// A null array, BYTES or RECORDS.
    pub fn put_null(self, out: &mut impl BufMut) {
        match self {
            Self::Classic => out.put_i32(-1),
            Self::Compact => out.put_u8(0),
        }
    }

    /// The end of a structure without tagged fields: nothing in classic messages.
    pub fn put_no_tags(self, out: &mut impl BufMut) {
        if self == Self::Compact {
            out.put_u8(0);
        }
    }
}

/// UNSIGNED_VARINT.
pub fn put_unsigned_varint(out: &mut impl BufMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// VARINT: zigzag.
pub fn put_varint(out: &mut impl BufMut, value: i32) {
    put_unsigned_varint(out, ((value << 1) ^ (value >> 31)) as u32);
}

/// VARLONG: zigzag.
pub fn put_varlong(out: &mut impl BufMut, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
