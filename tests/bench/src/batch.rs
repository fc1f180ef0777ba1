//! Record batches, magic 2: built once and sent many times; walked by header when they come back; opened fully only when a
//! measurement proves to itself that it measures the right thing. Nothing here is on a measured process's path.

use std::io::{Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use crc_fast::CrcAlgorithm;

use crate::error::{Attempt, Error};
use crate::wire::{Reader, Writer, overwrite};

/// How the producer compresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Codec {
    /// Not at all.
    None,
    /// LZ4 frames.
    Lz4,
    /// Zstandard, level 3 as Kafka's clients do by default.
    Zstd,
}

/// Totals over the batches of one answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Walked {
    /// Records in complete batches.
    pub records: u64,
    /// Offset to ask for next; `None` when no complete batch came.
    pub next_offset: Option<i64>,
}

/// Builds a batch of keyless, headerless records with the wall clock as their time.
pub fn build(values: &[Vec<u8>], codec: Codec) -> Result<Vec<u8>, Error> {
    let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
    let now = wall_millis();
    let records = compress(&records(values), codec)?;

    let mut checked = Writer::default();
    checked.int16(codec.attribute());
    checked.int32(count - 1);
    checked.int64(now);
    checked.int64(now);
    checked.int64(-1);
    checked.int16(-1);
    checked.int32(-1);
    checked.int32(count);
    checked.raw(&records);
    let checked = checked.into_bytes();

    let mut batch = Writer::default();
    batch.int64(0);
    batch.int32(i32::try_from(checked.len() + BEFORE_CHECKED - LENGTH_END).unwrap_or(i32::MAX));
    batch.int32(-1);
    batch.int8(MAGIC);
    batch.raw(&crc(&checked).to_be_bytes());
    batch.raw(&checked);
    Ok(batch.into_bytes())
}

/// Counts records by the batch headers alone. A last batch that is cut off is left out, as Kafka's clients do.
pub fn walk(records: &[u8]) -> Result<Walked, Error> {
    let mut walked = Walked::default();
    for batch in Batches::new(records) {
        let header = Header::read(batch?)?;
        walked.records += u64::try_from(header.count).unwrap_or(0);
        walked.next_offset = Some(header.base_offset + i64::from(header.last_offset_delta) + 1);
    }
    Ok(walked)
}

/// Opens every complete batch, checks its CRC, and gives each record's value to `see`.
pub fn each_value(records: &[u8], mut see: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    for batch in Batches::new(records) {
        let batch = batch?;
        let header = Header::read(batch)?;
        let checked = batch.get(BEFORE_CHECKED..).unwrap_or_default();
        if crc(checked) != header.crc {
            return Err(Error::Mismatch(format!("batch at offset {} has a wrong CRC", header.base_offset)));
        }
        let body = decompress(header.records, header.attributes)?;
        let mut reader = Reader::new(&body);
        for _ in 0..header.count {
            see(value(&mut reader)?)?;
        }
    }
    Ok(())
}

/// The first value of every complete batch, as it stands, with the time that its producer wrote into the batch.
pub fn each_first(records: &[u8], mut see: impl FnMut(i64, &[u8]) -> Result<(), Error>) -> Result<(), Error> {
    for batch in Batches::new(records) {
        let header = Header::read(batch?)?;
        if header.attributes & 7 != 0 {
            return Err(Error::Mismatch("a batch that was sent without a codec is stored with one".into()));
        }
        see(header.timestamp, value(&mut Reader::new(header.records))?)?;
    }
    Ok(())
}

/// Where the values of an uncompressed batch of [`build`] begin, counted from the batch's first byte.
pub fn places(batch: &[u8]) -> Result<Vec<usize>, Error> {
    let header = Header::read(batch)?;
    let mut reader = Reader::new(header.records);
    (0..header.count)
        .map(|_| {
            let length = value(&mut reader)?.len();
            // Behind each value stands one byte, the count of its headers: none.
            Ok(batch.len() - reader.rest().len() - 1 - length)
        })
        .collect()
}

/// Writes the present time and a new CRC into a batch whose values were changed in place.
pub fn renew(batch: &mut [u8]) {
    let now = wall_millis().to_be_bytes();
    overwrite(batch, TIMES_AT, &now);
    overwrite(batch, TIMES_AT + now.len(), &now);
    let sum = crc(batch.get(BEFORE_CHECKED..).unwrap_or_default());
    overwrite(batch, CRC_AT, &sum.to_be_bytes());
}

/// The wall clock as Kafka's timestamps have it: milliseconds since 1970.
pub fn wall_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl Codec {
    fn attribute(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

/// Cuts a Fetch answer into complete batches.
struct Batches<'a> {
    reader: Reader<'a>,
}

impl<'a> Batches<'a> {
    fn new(records: &'a [u8]) -> Self {
        Self { reader: Reader::new(records) }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = Reader::new(self.reader.rest());
        head.int64().ok()?;
        let length = usize::try_from(head.int32().ok()?).unwrap_or(0);
        if length < HEADER - LENGTH_END {
            return Some(Err(Error::Mismatch(format!("batch announces {length} bytes, less than its header"))));
        }
        self.reader.take(LENGTH_END + length).ok().map(Ok)
    }
}

struct Header<'a> {
    base_offset: i64,
    crc: u32,
    attributes: i16,
    last_offset_delta: i32,
    timestamp: i64,
    count: i32,
    records: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(batch: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(batch);
        let base_offset = reader.int64()?;
        reader.take(8)?;
        if reader.int8()? != MAGIC {
            return Err(Error::Mismatch(format!("batch at offset {base_offset} is not of magic {MAGIC}")));
        }
        let crc = reader.uint32()?;
        let attributes = reader.int16()?;
        let last_offset_delta = reader.int32()?;
        let timestamp = reader.int64()?;
        reader.take(8 + 8 + 2 + 4)?;
        let count = reader.int32()?;
        Ok(Self { base_offset, crc, attributes, last_offset_delta, timestamp, count, records: reader.rest() })
    }
}

fn records(values: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Writer::default();
    for (delta, value) in (0_i64..).zip(values) {
        let mut record = Writer::default();
        record.int8(0);
        record.varint(0);
        record.varint(delta);
        record.varint(-1);
        record.varint(i64::try_from(value.len()).unwrap_or(i64::MAX));
        record.raw(value);
        record.varint(0);
        all.varint(i64::try_from(record.len()).unwrap_or(i64::MAX));
        all.raw(&record.into_bytes());
    }
    all.into_bytes()
}

fn value<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    let length = usize::try_from(reader.varint()?).unwrap_or(0);
    let mut record = Reader::new(reader.take(length)?);
    record.int8()?;
    record.varint()?;
    record.varint()?;
    let key = usize::try_from(record.varint()?).unwrap_or(0);
    record.take(key)?;
    let length = usize::try_from(record.varint()?).unwrap_or(0);
    record.take(length)
}

fn compress(records: &[u8], codec: Codec) -> Result<Vec<u8>, Error> {
    match codec {
        Codec::None => Ok(records.to_vec()),
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(records).attempt(|| "compress with lz4".into())?;
            encoder.finish().map_err(|error| Error::Mismatch(format!("lz4 frame cannot be finished: {error}")))
        }
        Codec::Zstd => zstd::encode_all(records, 3).attempt(|| "compress with zstd".into()),
    }
}

fn decompress(records: &[u8], attributes: i16) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    let limit = INFLATED_LIMIT;
    match attributes & 7 {
        0 => plain.extend_from_slice(records),
        3 => {
            lz4_flex::frame::FrameDecoder::new(records)
                .take(limit)
                .read_to_end(&mut plain)
                .attempt(|| "decompress lz4".into())?;
        }
        4 => {
            zstd::Decoder::new(records)
                .and_then(|decoder| decoder.take(limit).read_to_end(&mut plain))
                .attempt(|| "decompress zstd".into())?;
        }
        codec => {
            return Err(Error::Mismatch(format!("batch came in codec {codec}, which was not sent")));
        }
    }
    Ok(plain)
}

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

const MAGIC: i8 = 2;
/// End of base offset and length; the length counts from here.
const LENGTH_END: usize = 12;
/// The CRC, four bytes.
const CRC_AT: usize = 17;
/// Base timestamp and, behind it, the highest timestamp.
const TIMES_AT: usize = 27;
/// Bytes in front of those that the CRC covers.
const BEFORE_CHECKED: usize = 21;
/// A batch without records.
const HEADER: usize = 61;
/// No batch of the generator inflates to more than this.
const INFLATED_LIMIT: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::payload::{Kind, Payload};

    #[test]
    fn values_come_back_from_every_codec() {
        let values = Payload::new(Kind::Json).values(5, 700);
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
            let batch = build(&values, codec).unwrap();
            let mut seen = Vec::new();
            each_value(&batch, |value| {
                seen.push(value.to_vec());
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, values, "{codec:?}");
        }
    }

    #[test]
    fn values_changed_in_place_are_found_again() {
        let mut batch = build(&Payload::new(Kind::Random).values(3, 100), Codec::None).unwrap();
        for (place, mark) in places(&batch).unwrap().into_iter().zip(1..) {
            batch[place..place + 100].fill(mark);
        }
        assert!(each_value(&batch, |_| Ok(())).is_err(), "the CRC is still the old one");
        renew(&mut batch);
        let mut seen = Vec::new();
        each_value(&batch, |value| {
            seen.push(value.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [vec![1; 100], vec![2; 100], vec![3; 100]]);
        let mut firsts = Vec::new();
        each_first(&batch, |time, value| {
            firsts.push((time, value.to_vec()));
            Ok(())
        })
        .unwrap();
        assert!(matches!(&firsts[..], [(time, value)] if wall_millis().abs_diff(*time) < 60_000 && value[0] == 1));
    }

    #[test]
    fn a_cut_off_last_batch_is_left_out() {
        let batch = build(&Payload::new(Kind::Random).values(3, 100), Codec::None).unwrap();
        let mut two = batch.clone();
        two.extend_from_slice(&batch[..batch.len() - 1]);
        assert_eq!(walk(&two).unwrap(), Walked { records: 3, next_offset: Some(3) });
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut batch = build(&Payload::new(Kind::Random).values(1, 100), Codec::None).unwrap();
        *batch.last_mut().unwrap() ^= 1;
        assert!(matches!(each_value(&batch, |_| Ok(())), Err(Error::Mismatch(_))));
    }
}
