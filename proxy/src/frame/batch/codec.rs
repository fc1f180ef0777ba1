//! The five codecs of a batch body, decompression only: what the gateway writes is never compressed as
//! a batch, since sealed bytes do not shrink.
//!
//! Arrives: a compressed body from a peer. Leaves: its plain bytes, at most `limit` of them. The bound is
//! applied while inflating, before memory is taken: a bomb costs its limit and no more.

use std::io::Read;

/// The codec of a batch, by its attribute bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not compressed.
    None,
    /// RFC 1952.
    Gzip,
    /// Raw blocks, or blocks in the framing of xerial's library, as Java clients write them.
    Snappy,
    /// LZ4 frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Codec {
    /// From the three attribute bits; `None` for the numbers that Kafka has not given.
    pub fn from_bits(bits: i16) -> Option<Self> {
        Some(match bits {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }
}

/// Why a body could not be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// More than `limits.max_inflated_bytes`.
    #[error("it grows beyond limits.max_inflated_bytes")]
    TooLarge,
    /// Not what the codec's format allows.
    #[error("it is not valid for its codec")]
    Corrupt,
}

/// Inflates `body` to the end of `out`; on error `out` is as it was.
pub fn inflate(codec: Codec, body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    let start = out.len();
    let result = match codec {
        Codec::None if body.len() > limit => Err(InflateError::TooLarge),
        Codec::None => {
            out.extend_from_slice(body);
            Ok(())
        }
        Codec::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(body), limit, out),
        Codec::Snappy => inflate_snappy(body, limit, out),
        Codec::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(body), limit, out),
        Codec::Zstd => match zstd::stream::read::Decoder::with_buffer(body) {
            Ok(mut decoder) => decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|_| InflateError::Corrupt)
                .and_then(|()| read_bounded(decoder, limit, out)),
            Err(_) => Err(InflateError::Corrupt),
        },
    };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// A zstd frame may ask for a window of gigabytes before its first byte; 2^27 is what the reference
/// decoder takes by default, and no Kafka client writes more.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

fn read_bounded(reader: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    let start = out.len();
    // One byte more than allowed is read, to tell "exactly at the limit" from "beyond".
    let read = reader.take(limit as u64 + 1).read_to_end(out);
    match read {
        Ok(_) if out.len() - start > limit => Err(InflateError::TooLarge),
        Ok(_) => Ok(()),
        Err(_) if out.len() - start > limit => Err(InflateError::TooLarge),
        Err(_) => Err(InflateError::Corrupt),
    }
}

/// xerial's framing: magic, two versions of four bytes, then blocks of {length, raw snappy}.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

fn inflate_snappy(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    let Some(mut blocks) = body.strip_prefix(&XERIAL_MAGIC) else {
        return snappy_block(body, limit, out);
    };
    let start = out.len();
    blocks = blocks.get(8..).ok_or(InflateError::Corrupt)?;
    while !blocks.is_empty() {
        let (length, rest) = blocks.split_first_chunk::<4>().ok_or(InflateError::Corrupt)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, rest) = rest.split_at_checked(length).ok_or(InflateError::Corrupt)?;
        snappy_block(block, limit - (out.len() - start), out)?;
        blocks = rest;
    }
    Ok(())
}

fn snappy_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    let plain = snap::raw::decompress_len(block).map_err(|_| InflateError::Corrupt)?;
    if plain > limit {
        return Err(InflateError::TooLarge);
    }
    // Snappy cannot shrink to less than about 1/60; a larger claim is a lie, told to take memory.
    if plain > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(InflateError::Corrupt);
    }
    let start = out.len();
    out.resize(start + plain, 0);
    let target = out.get_mut(start..).ok_or(InflateError::Corrupt)?;
    match snap::raw::Decoder::new().decompress(block, target) {
        Ok(written) if written == plain => Ok(()),
        _ => Err(InflateError::Corrupt),
    }
}

/// A copy of 64 bytes takes three bytes at the least.
const SNAPPY_MAX_RATIO: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::Write;

    use super::*;

    fn compressed(codec: Codec, plain: &[u8]) -> Vec<u8> {
        match codec {
            Codec::None => plain.to_vec(),
            Codec::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            Codec::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
            Codec::Lz4 => {
                let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            Codec::Zstd => zstd::encode_all(plain, 1).unwrap(),
        }
    }

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_comes_back() {
        let plain: Vec<u8> = (0..100_000u32).map(|n| (n / 7) as u8).collect();
        for codec in ALL {
            let mut out = b"kept".to_vec();
            inflate(codec, &compressed(codec, &plain), plain.len(), &mut out).unwrap();
            assert_eq!(out[..4], *b"kept");
            assert_eq!(out[4..], plain[..], "{codec:?}");
        }
    }

    #[test]
    fn a_bomb_costs_its_limit_and_leaves_nothing() {
        let bomb = vec![0u8; 10_000_000];
        for codec in ALL {
            let mut out = Vec::new();
            let result = inflate(codec, &compressed(codec, &bomb), 1_000_000, &mut out);
            assert_eq!(result, Err(InflateError::TooLarge), "{codec:?}");
            assert!(out.is_empty());
            assert!(out.capacity() <= 4_000_000, "{codec:?} took {}", out.capacity());
        }
    }

    #[test]
    fn truncated_bodies_are_refused() {
        let plain: Vec<u8> = (0..4000u32).map(|n| (n * n) as u8).collect();
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let whole = compressed(codec, &plain);
            for end in [0, 1, whole.len() / 2, whole.len() - 9] {
                let mut out = Vec::new();
                let result = inflate(codec, &whole[..end], 1 << 20, &mut out);
                // An empty body may be an empty stream; what must never happen is the whole plain text.
                assert!(result.is_err() || out.len() < plain.len(), "{codec:?} at {end}");
            }
        }
    }

    #[test]
    fn xerial_blocks_are_joined() {
        let plain = b"one block and another".repeat(50);
        let mut body = XERIAL_MAGIC.to_vec();
        body.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        for block in plain.chunks(300) {
            let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
            body.extend_from_slice(&(block.len() as u32).to_be_bytes());
            body.extend_from_slice(&block);
        }
        let mut out = Vec::new();
        inflate(Codec::Snappy, &body, plain.len(), &mut out).unwrap();
        assert_eq!(out, plain);
    }
}
