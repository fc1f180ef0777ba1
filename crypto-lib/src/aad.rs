//! The associated data of a record: built here and nowhere else.
//!
//! Arrives: the header as it stands on the wire and the place where the record stands. Leaves: one byte string that
//! differs whenever any input differs (every part is fixed in length or carries its length). It must never depend on
//! what brokers and mirrors rewrite: topic name, offset, timestamp, producer id. The stream enters by key derivation.

use crate::Error;
use crate::envelope::Flags;

/// Where a record stands. Bound into the seal by flags b4 (record key) and b5 (partition).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Partition number, as the producer chose it.
    pub partition: i32,
    /// The record key as stored; `None` is Kafka's null key, which is not the empty key.
    pub record_key: Option<&'a [u8]>,
}

/// Scratch space for associated data, owned by the caller and used again, so that no record allocates.
#[derive(Default)]
pub struct AadBuffer(Vec<u8>);

impl AadBuffer {
    /// An empty buffer; it grows to the largest record key seen, and gives back what an unusual one took.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Builds the associated data of one record.
    ///
    /// Layout: u32 header length ‖ header ‖ partition part ‖ record key part ‖ named headers part, where each part is
    /// one byte 0 when its flag is not set, and otherwise: partition 1 ‖ i32; record key 1 (null) or 2 ‖ u32 length ‖ bytes.
    pub(crate) fn build(&mut self, header: &[u8], flags: Flags, place: &Place<'_>) -> Result<&[u8], Error> {
        if flags.headers_bound() {
            return Err(Error::Unsupported("binding of named record headers (flag b6)"));
        }
        let out = &mut self.0;
        if out.capacity() > KEPT_CAPACITY {
            *out = Vec::new();
        }
        out.clear();
        out.reserve(header.len() + place.record_key.map_or(0, <[u8]>::len) + FIXED_PARTS);
        put_prefixed(out, header)?;
        if flags.partition_bound() {
            out.push(PRESENT);
            out.extend_from_slice(&place.partition.to_be_bytes());
        } else {
            out.push(NOT_BOUND);
        }
        match place.record_key {
            _ if !flags.key_bound() => out.push(NOT_BOUND),
            None => out.push(NULL_KEY),
            Some(key) => {
                out.push(KEY_BYTES);
                put_prefixed(out, key)?;
            }
        }
        out.push(NOT_BOUND);
        Ok(out)
    }
}

fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Error> {
    let len = u32::try_from(bytes.len()).map_err(|_| Error::Unsupported("record keys of 4 GiB and more"))?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Two lengths, three marks, a partition.
const FIXED_PARTS: usize = 15;
const NOT_BOUND: u8 = 0;
const PRESENT: u8 = 1;
const NULL_KEY: u8 = 1;
const KEY_BYTES: u8 = 2;
/// A buffer larger than this is given back before the next record.
const KEPT_CAPACITY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// What the associated data must tell apart: the bound parts only.
    type Input = (Vec<u8>, u8, i32, Option<Vec<u8>>);

    fn build((header, flags, partition, key): &Input) -> Vec<u8> {
        let place = Place { partition: *partition, record_key: key.as_deref() };
        AadBuffer::new().build(header, Flags::from_byte(*flags), &place).unwrap().to_vec()
    }

    /// The input with unbound parts removed: equal inputs in this form may and must give equal bytes.
    fn bound((header, flags, partition, key): &Input) -> (Vec<u8>, Option<i32>, Option<Option<Vec<u8>>>) {
        let flags = Flags::from_byte(*flags);
        (header.clone(), flags.partition_bound().then_some(*partition), flags.key_bound().then(|| key.clone()))
    }

    fn input() -> impl Strategy<Value = Input> {
        let bytes = || proptest::collection::vec(0u8..3, 0..6);
        let flags = prop_oneof![Just(0u8), Just(1 << 4), Just(1 << 5), Just(3 << 4)];
        (bytes(), flags, -1i32..3, proptest::option::of(bytes()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn associated_data_is_injective(one in input(), two in input()) {
            prop_assert_eq!(build(&one) == build(&two), bound(&one) == bound(&two));
        }
    }

    #[test]
    fn null_key_differs_from_empty_key() {
        let with = |key| build(&(vec![1], 3 << 4, 0, key));
        assert_ne!(with(None), with(Some(vec![])));
    }

    #[test]
    fn an_unusually_large_key_is_not_kept() {
        let mut buffer = AadBuffer::new();
        let big = vec![0; KEPT_CAPACITY * 2];
        buffer.build(&[], Flags::BOUND, &Place { partition: 0, record_key: Some(&big) }).unwrap();
        buffer.build(&[], Flags::BOUND, &Place { partition: 0, record_key: None }).unwrap();
        assert!(buffer.0.capacity() < KEPT_CAPACITY);
    }
}
