//! What stands before a key or value that has a schema: a zero byte, the schema's number, and for Protobuf the place of
//! the message in its file.
//!
//! Source: "Wire format" in the documentation of Schema Registry's serializers. Bytes from a topic arrive here: every
//! count is bounded by what remains.

use bytes::{BufMut, BytesMut};

/// The number of the schema and the bytes behind it; nothing when the bytes do not begin as they should.
pub fn split(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<5>()?;
    let [MAGIC, id @ ..] = *head else { return None };
    let id = i32::from_be_bytes(id);
    (id >= 0).then_some((id, rest))
}

/// Appends the zero byte and the schema's number.
pub fn push(out: &mut BytesMut, id: i32) {
    out.put_u8(MAGIC);
    out.put_i32(id);
}

/// The place of a Protobuf message: its index in the file, then in the message it is declared in, and so on. With the
/// bytes behind it.
pub fn split_place(bytes: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    let (count, mut rest) = split_varint(bytes)?;
    // The first message of a file is written shorter.
    if count == 0 {
        return Some((vec![0], rest));
    }
    let count = usize::try_from(count).ok().filter(|&count| count <= MAX_NESTING)?;
    let mut place = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, behind) = split_varint(rest)?;
        place.push(usize::try_from(index).ok()?);
        rest = behind;
    }
    Some((place, rest))
}

/// Appends the place of a Protobuf message.
pub fn push_place(out: &mut BytesMut, place: &[usize]) {
    if place == [0] {
        out.put_u8(0);
        return;
    }
    let number = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    push_varint(out, number(place.len()));
    for &index in place {
        push_varint(out, number(index));
    }
}

/// A zig-zag number of variable length, as Avro and this format have it, with the bytes behind it.
pub(super) fn split_varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte has one bit left.
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            let magnitude = (value >> 1).cast_signed();
            let number = if value & 1 == 0 { magnitude } else { !magnitude };
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

/// Appends a number as [`split_varint`] reads it.
pub(super) fn push_varint(out: &mut BytesMut, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

const MAGIC: u8 = 0;
/// Messages declared inside each other: far beyond any file.
const MAX_NESTING: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_head_of_the_documents() {
        let mut out = BytesMut::new();
        push(&mut out, 0x0102_0304);
        push_place(&mut out, &[0]);
        assert_eq!(&out[..], [0, 1, 2, 3, 4, 0]);
        out.clear();
        push_place(&mut out, &[1, 0]);
        assert_eq!(&out[..], [4, 2, 0]);
        // What others write out in full is read as well.
        assert_eq!(split_place(&[2, 0, 9]).unwrap(), (vec![0], &[9u8][..]));
        assert_eq!(split_place(&[0]).unwrap(), (vec![0], &[][..]));
        for wrong in [&[][..], &[0, 0, 0, 1], &[1, 0, 0, 0, 1], &[0, 0xff, 0, 0, 0]] {
            assert_eq!(split(wrong), None);
        }
        for wrong in [&[][..], &[4, 2], &[1], &[2, 1], &[0xff; 11], &[0xfe, 0xff, 0xff, 0xff, 0x0f]] {
            assert_eq!(split_place(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn numbers_and_places_come_back(number in any::<i64>(), place in proptest::collection::vec(0usize..1000, 1..10)) {
            let mut out = BytesMut::new();
            push_varint(&mut out, number);
            prop_assert_eq!(split_varint(&out), Some((number, &[][..])));
            out.clear();
            push_place(&mut out, &place);
            prop_assert_eq!(split_place(&out), Some((place, &[][..])));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = (split(&bytes), split_place(&bytes), split_varint(&bytes));
        }
    }
}
