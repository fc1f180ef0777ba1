//! The parcel: what is inside the seal.
//!
//! Without flags the parcel is the value and this file is not touched. Otherwise, from the inside out: headers and
//! timestamp before the value (b0), compression of all that (b1), padding to a bucket (b2). Arrives: authenticated
//! bytes, which a hostile *writer* may still have made: every length is bounded before memory is taken for it.

use core::num::NonZeroU32;

use crate::Error;
use crate::envelope::Flags;

/// Largest parcel that [`crate::SessionReader::open`] inflates, in bytes.
pub const DEFAULT_LIMIT: usize = 16 * 1024 * 1024;

/// An opened parcel.
#[derive(PartialEq, Eq)]
pub struct Parcel {
    /// The producer's timestamp, when headers are inside (b0).
    pub timestamp: Option<i64>,
    /// The headers that were inside (b0), in order, duplicates kept.
    pub headers: Vec<ParcelHeader>,
    /// The record value.
    pub value: Vec<u8>,
}

/// A record header inside a parcel.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct ParcelHeader {
    /// The header's key: UTF-8 by Kafka's rule, not checked here.
    pub key: Vec<u8>,
    /// The header's value; null is kept apart from empty.
    pub value: Option<Vec<u8>>,
}

/// How a parcel is to be made. The default makes the value itself the parcel.
#[derive(Clone, Copy, Default)]
pub struct ParcelPlan<'a> {
    /// Timestamp and headers to be carried inside (b0).
    pub headers: Option<(i64, &'a [ParcelHeader])>,
    /// Compression of the content (b1).
    pub codec: Option<Codec>,
    /// Pads the parcel to a multiple of this many bytes (b2).
    pub bucket: Option<NonZeroU32>,
}

/// A compression codec, by Kafka's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Codec {
    /// LZ4 frame format.
    Lz4 = 3,
    /// Zstandard (RFC 8878).
    Zstd = 4,
}

/// Writes the parcel of a value into an empty buffer and gives the flag bits (b0, b1, b2) that describe it.
///
/// # Errors
/// `Parcel` when a length does not fit its field, `Unsupported` when compression is not built in.
pub fn write(plan: &ParcelPlan<'_>, value: &[u8], out: &mut Vec<u8>) -> Result<u8, Error> {
    let mut bits = 0;
    let mut content = Vec::with_capacity(value.len() + 64);
    if let Some((timestamp, headers)) = plan.headers {
        bits |= 1;
        content.extend_from_slice(&timestamp.to_be_bytes());
        put_len(&mut content, headers.len())?;
        for header in headers {
            put_len(&mut content, header.key.len())?;
            content.extend_from_slice(&header.key);
            match &header.value {
                None => content.extend_from_slice(&NULL_LEN.to_be_bytes()),
                Some(bytes) => {
                    put_len(&mut content, bytes.len())?;
                    content.extend_from_slice(bytes);
                }
            }
        }
    }
    content.extend_from_slice(value);
    if let Some(codec) = plan.codec {
        bits |= 1 << 1;
        let mut packed = vec![codec as u8];
        put_len(&mut packed, content.len())?;
        packed.extend_from_slice(&compression::compress(codec, &content)?);
        content = packed;
    }
    out.clear();
    match plan.bucket {
        None => *out = content,
        Some(bucket) => {
            bits |= 1 << 2;
            put_len(out, content.len())?;
            out.extend_from_slice(&content);
            out.resize(out.len().next_multiple_of(bucket.get() as usize), 0);
        }
    }
    Ok(bits)
}

/// Reads an authenticated parcel by the flags of its header. `limit` bounds the plain length in bytes.
///
/// # Errors
/// `Parcel`, `ParcelTooLarge`, `Unsupported`.
pub fn read(flags: Flags, parcel: &[u8], limit: usize) -> Result<Parcel, Error> {
    let mut content = parcel;
    if flags.padded() {
        let len = take_len(&mut content)?;
        let (inner, padding) = content.split_at_checked(len).ok_or(Error::Parcel("length beyond the padded end"))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Error::Parcel("padding is not zero"));
        }
        content = inner;
    }
    let inflated;
    if flags.compressed() {
        let (codec, rest) = content.split_first().ok_or(Error::Parcel("codec is missing"))?;
        content = rest;
        let plain_len = take_len(&mut content)?;
        if plain_len > limit {
            return Err(Error::ParcelTooLarge { announced: plain_len as u64, limit: limit as u64 });
        }
        inflated = zeroize::Zeroizing::new(compression::inflate(*codec, content, plain_len)?);
        content = &inflated;
    }
    let (mut timestamp, mut headers) = (None, Vec::new());
    if flags.parcel_headers() {
        timestamp = Some(i64::from_be_bytes(take(&mut content)?));
        headers = take_headers(&mut content)?;
    }
    Ok(Parcel { timestamp, headers, value: content.to_vec() })
}

fn take_headers(content: &mut &[u8]) -> Result<Vec<ParcelHeader>, Error> {
    let count = take_len(content)?;
    // A header takes at least its two length fields, so the count is bounded by what is there.
    if count > content.len() / 8 {
        return Err(Error::Parcel("more headers announced than bytes present"));
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let len = take_len(content)?;
        let key = take_bytes(content, len)?.to_vec();
        let value = match u32::from_be_bytes(take(content)?) {
            NULL_LEN => None,
            len => Some(take_bytes(content, len as usize)?.to_vec()),
        };
        headers.push(ParcelHeader { key, value });
    }
    Ok(headers)
}

fn put_len(out: &mut Vec<u8>, len: usize) -> Result<(), Error> {
    let len = u32::try_from(len).ok().filter(|len| *len != NULL_LEN).ok_or(Error::Parcel("length beyond 32 bits"))?;
    out.extend_from_slice(&len.to_be_bytes());
    Ok(())
}

fn take<const N: usize>(content: &mut &[u8]) -> Result<[u8; N], Error> {
    let (head, rest) = content.split_first_chunk().ok_or(Error::Parcel("ends early"))?;
    *content = rest;
    Ok(*head)
}

fn take_len(content: &mut &[u8]) -> Result<usize, Error> {
    Ok(u32::from_be_bytes(take(content)?) as usize)
}

fn take_bytes<'a>(content: &mut &'a [u8], len: usize) -> Result<&'a [u8], Error> {
    let (head, rest) = content.split_at_checked(len).ok_or(Error::Parcel("ends early"))?;
    *content = rest;
    Ok(head)
}

/// Length field of a null header value.
const NULL_LEN: u32 = u32::MAX;

#[cfg(feature = "compress")]
mod compression {
    //! The codecs. Inflating takes exactly the announced length, which the caller has bounded.

    use std::io::{Read, Write};

    use super::{Codec, Error};

    pub(super) fn compress(codec: Codec, plain: &[u8]) -> Result<Vec<u8>, Error> {
        match codec {
            Codec::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(plain).map_err(|_| Error::Parcel("lz4 failed"))?;
                encoder.finish().map_err(|_| Error::Parcel("lz4 failed"))
            }
            Codec::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL).map_err(|_| Error::Parcel("zstd failed")),
        }
    }

    pub(super) fn inflate(codec: u8, packed: &[u8], plain_len: usize) -> Result<Vec<u8>, Error> {
        let mut plain = vec![0; plain_len];
        let exact = match codec {
            3 => {
                let mut decoder = lz4_flex::frame::FrameDecoder::new(packed);
                let filled = decoder.read_exact(&mut plain).is_ok();
                filled && decoder.read(&mut [0]).is_ok_and(|more| more == 0)
            }
            4 => zstd::bulk::decompress_to_buffer(packed, &mut plain).is_ok_and(|len| len == plain_len),
            _ => return Err(Error::Parcel("unknown codec")),
        };
        exact.then_some(plain).ok_or(Error::Parcel("does not inflate to the announced length"))
    }

    const ZSTD_LEVEL: i32 = 1;
}

#[cfg(not(feature = "compress"))]
mod compression {
    //! Built without codecs: both ways are refused by name.

    use super::{Codec, Error};

    pub(super) fn compress(_: Codec, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::Unsupported("compressed parcels (built without the feature `compress`)"))
    }

    pub(super) fn inflate(_: u8, _: &[u8], _: usize) -> Result<Vec<u8>, Error> {
        Err(Error::Unsupported("compressed parcels (built without the feature `compress`)"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bomb_is_refused_before_memory_is_taken() {
        let mut bomb = vec![4];
        bomb.extend_from_slice(&u32::MAX.to_be_bytes());
        let refused = read(Flags::from_byte(1 << 1), &bomb, 1_000).err();
        assert_eq!(refused, Some(Error::ParcelTooLarge { announced: u64::from(u32::MAX), limit: 1_000 }));
    }

    #[test]
    fn a_wrong_plain_length_is_refused() {
        for codec in [Codec::Lz4, Codec::Zstd] {
            let mut parcel = Vec::new();
            let plan = ParcelPlan { codec: Some(codec), ..ParcelPlan::default() };
            write(&plan, &[1; 1_000], &mut parcel).unwrap();
            for wrong in [999u32, 1_001] {
                parcel[1..5].copy_from_slice(&wrong.to_be_bytes());
                assert!(matches!(read(Flags::from_byte(2), &parcel, 10_000).err(), Some(Error::Parcel(_))));
            }
        }
    }

    #[test]
    fn padding_that_is_not_zero_is_refused() {
        let mut parcel = Vec::new();
        let plan = ParcelPlan { bucket: NonZeroU32::new(64), ..ParcelPlan::default() };
        assert_eq!(write(&plan, b"value", &mut parcel), Ok(4));
        assert_eq!(parcel.len(), 64);
        *parcel.last_mut().unwrap() = 1;
        assert_eq!(read(Flags::from_byte(4), &parcel, 100).err(), Some(Error::Parcel("padding is not zero")));
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_panic(flags in 0u8..8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(parcel) = read(Flags::from_byte(flags), &bytes, 4_096) {
                prop_assert!(parcel.value.len() <= 4_096);
            }
        }
    }
}
