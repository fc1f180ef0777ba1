//! The write-ahead file: entries arrive and are written as records, records of a file that a crash left come back.
//! A file that ends inside a record is torn, which is no harm: what was not synced was not acknowledged. Each record says
//! how many entries were durable when it was written, so that a hole before it can be told from such a tear.

use barnabas_crypto::Secret;

use super::ratchet::{Chain, Run, RunId, SegmentKeys};
use super::tree::{Hash, sha256};
use super::{Error, MAX_ENTRY};

/// What stands before the records of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// SHA-256 of the log's origin.
    pub origin: Hash,
    /// The run of the writer.
    pub run: RunId,
    /// The file's number in its run.
    pub number: u32,
    /// The index of its first entry.
    pub first: u64,
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn to_bytes(&self, keys: &SegmentKeys) -> Vec<u8> {
        let mut bytes = self.plain_bytes();
        let tag = keys.header_mac(&bytes);
        bytes.extend_from_slice(&tag);
        bytes
    }

    /// Parses a header; its MAC comes with it unchecked. None if the bytes are not one.
    pub fn parse(bytes: &[u8]) -> Option<(Self, Hash)> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (origin, rest) = rest.split_first_chunk::<32>()?;
        let (run, rest) = rest.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (tag, _) = rest.split_first_chunk::<32>()?;
        let number = u32::from_be_bytes(*number);
        Some((Self { origin: *origin, run: *run, number, first: u64::from_be_bytes(*first) }, *tag))
    }

    fn plain_bytes(&self) -> Vec<u8> {
        [MAGIC, &self.origin, &self.run, &self.number.to_be_bytes(), &self.first.to_be_bytes()].concat()
    }
}

/// Adds an entry's record to what is written next.
pub fn add_record(buffer: &mut Vec<u8>, chain: &mut Chain, at: Position, entry: &[u8]) -> Result<(), Error> {
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
    let head = record_head(length, at);
    let tag = chain.mac(&head, entry)?;
    buffer.extend_from_slice(&head);
    buffer.extend_from_slice(&tag);
    buffer.extend_from_slice(entry);
    Ok(())
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The entry's index.
    pub index: u64,
    /// How many entries were durable when it was written.
    pub durable: u64,
}

/// The content of one file.
#[derive(Debug, PartialEq, Eq)]
pub struct Segment {
    /// The header.
    pub header: SegmentHeader,
    /// Its entries in their order, with holes where records are damaged.
    pub pieces: Vec<Piece>,
    /// How many entries were durable, as far as its records say.
    pub durable: u64,
    /// The bytes after the last whole record.
    pub torn: usize,
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// An entry.
    Entry(Vec<u8>),
    /// So many records are damaged, and one after them is whole.
    Hole(u64),
}

/// Reads a whole file. With the ratchet's root each MAC is checked; without it only the form.
///
/// # Errors
/// `Broken` when the header is not that of a file of this log.
pub fn read(bytes: &[u8], origin: &str, root: Option<&Secret<32>>) -> Result<Segment, Error> {
    let broken = |what: &str| Error::Broken(format!("a write-ahead file {what}"));
    let (header, tag) = SegmentHeader::parse(bytes).ok_or_else(|| broken("has no header"))?;
    let origin = sha256(origin.as_bytes());
    if header.origin != origin {
        return Err(broken("is of another log"));
    }
    let mut chain = None;
    if let Some(root) = root {
        let keys = Run::new(root, &origin, &header.run)?.segment(header.number)?;
        if keys.header_mac(&header.plain_bytes()) != tag {
            return Err(broken("has a forged header"));
        }
        chain = Some(keys.chain);
    }
    let mut reading = Reading { rest: bytes.get(HEADER_LENGTH..).unwrap_or_default(), next: header.first, chain };
    let mut found = Segment { durable: header.first, header, pieces: Vec::new(), torn: 0 };
    loop {
        if let Some((durable, entry)) = reading.take()? {
            found.durable = found.durable.max(durable);
            found.pieces.push(Piece::Entry(entry.to_vec()));
        } else if let Some(missing) = reading.resume()? {
            // What was put in between records leaves no hole.
            found.pieces.extend((missing > 0).then_some(Piece::Hole(missing)));
        } else {
            found.torn = reading.rest.len();
            return Ok(found);
        }
    }
}

/// A file on its way through the reader.
struct Reading<'a> {
    rest: &'a [u8],
    next: u64,
    chain: Option<Chain>,
}

impl<'a> Reading<'a> {
    /// The next record if it is whole and the one that is expected.
    fn take(&mut self) -> Result<Option<(u64, &'a [u8])>, Error> {
        let Some(record) = Record::parse(self.rest).filter(|record| record.at.index == self.next) else {
            return Ok(None);
        };
        if let Some(chain) = &mut self.chain {
            let mut ahead = chain.fork()?;
            if ahead.mac(&record_head(record.length(), record.at), record.entry)? != record.tag {
                return Ok(None);
            }
            *chain = ahead;
        }
        self.rest = record.rest;
        self.next = self.next.saturating_add(1);
        Ok(Some((record.at.durable, record.entry)))
    }

    /// Looks for a whole record behind damage, and says how many are missing before it. Only with the root: anything can
    /// look like a record.
    fn resume(&mut self) -> Result<Option<u64>, Error> {
        let Some(chain) = &self.chain else { return Ok(None) };
        let mut budget = MAX_RESUME_STEPS;
        for (offset, _) in self.rest.windows(RECORD_MAGIC.len()).enumerate().filter(|(_, w)| *w == RECORD_MAGIC) {
            let Some(record) = self.rest.get(offset..).and_then(Record::parse) else { continue };
            let Some(missing) = record.at.index.checked_sub(self.next) else { continue };
            // The record at the damage itself was tried already, and no more steps than a damaged disk explains.
            if (missing == 0 && offset == 0) || missing >= budget {
                continue;
            }
            budget -= missing + 1;
            let mut ahead = chain.fork()?;
            for _ in 0..missing {
                ahead.skip()?;
            }
            let at_record = ahead.fork()?;
            if ahead.mac(&record_head(record.length(), record.at), record.entry)? == record.tag {
                self.rest = self.rest.get(offset..).unwrap_or_default();
                self.next = record.at.index;
                self.chain = Some(at_record);
                return Ok(Some(missing));
            }
        }
        Ok(None)
    }
}

/// A record as it stands in a file.
struct Record<'a> {
    at: Position,
    tag: Hash,
    entry: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(RECORD_MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (durable, rest) = rest.split_first_chunk::<8>()?;
        let (tag, rest) = rest.split_first_chunk::<32>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (entry, rest) = rest.split_at_checked(length)?;
        let at = Position { index: u64::from_be_bytes(*index), durable: u64::from_be_bytes(*durable) };
        (1..=MAX_ENTRY).contains(&length).then_some(Self { at, tag: *tag, entry, rest })
    }

    fn length(&self) -> u32 {
        u32::try_from(self.entry.len()).unwrap_or(u32::MAX)
    }
}

fn record_head(length: u32, at: Position) -> Vec<u8> {
    [RECORD_MAGIC, &length.to_be_bytes(), &at.index.to_be_bytes(), &at.durable.to_be_bytes()].concat()
}

/// The first bytes of a file.
const MAGIC: &[u8] = b"BARNWAL1";

/// The first bytes of a record.
const RECORD_MAGIC: &[u8] = b"entr";

/// The bytes of a header.
const HEADER_LENGTH: usize = 100;

/// Steps of the ratchet that a search behind damage may take in all.
const MAX_RESUME_STEPS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const ORIGIN: &str = "log.example/one";

    fn root() -> Secret<32> {
        Secret::from_slice(&[5; 32]).unwrap()
    }

    /// A file with entries of lengths 1, 2, 3 and so on, and where each record begins.
    fn file(count: u64) -> (Vec<u8>, Vec<usize>) {
        let origin = sha256(ORIGIN.as_bytes());
        let mut run = Run::new(&root(), &origin, &[1; 16]).unwrap();
        run.next_segment().unwrap();
        let (number, mut keys) = run.next_segment().unwrap();
        let header = SegmentHeader { origin, run: [1; 16], number, first: 10 };
        let mut bytes = header.to_bytes(&keys);
        assert_eq!(bytes.len(), HEADER_LENGTH);
        let mut begins = Vec::new();
        for i in 0..count {
            begins.push(bytes.len());
            let at = Position { index: 10 + i, durable: 10 + i };
            add_record(&mut bytes, &mut keys.chain, at, &vec![i as u8; i as usize + 1]).unwrap();
        }
        (bytes, begins)
    }

    fn entries(segment: &Segment) -> usize {
        segment.pieces.iter().filter(|piece| matches!(piece, Piece::Entry(_))).count()
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_the_whole_records_before_the_cut() {
        let (bytes, begins) = file(20);
        for cut in HEADER_LENGTH..=bytes.len() {
            let whole = begins.iter().skip(1).chain([&bytes.len()]).filter(|end| **end <= cut).count();
            for root in [None, Some(&root())] {
                let segment = read(&bytes[..cut], ORIGIN, root).unwrap();
                assert_eq!((entries(&segment), segment.pieces.len()), (whole, whole), "cut at {cut}");
            }
        }
        for cut in 0..HEADER_LENGTH {
            assert!(read(&bytes[..cut], ORIGIN, None).is_err());
        }
    }

    #[test]
    fn any_changed_byte_is_noticed_and_what_follows_is_found() {
        let (bytes, begins) = file(6);
        for at in begins[2]..begins[4] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let segment = read(&bytes, ORIGIN, Some(&root())).unwrap();
            let hole = if at < begins[3] { 2 } else { 3 };
            assert_eq!(segment.pieces[hole], Piece::Hole(1), "byte {at}");
            assert_eq!((entries(&segment), segment.durable, segment.torn), (5, 15, 0));
        }
        for at in 0..HEADER_LENGTH {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(read(&bytes, ORIGIN, Some(&root())).is_err(), "header byte {at}");
        }
    }

    #[test]
    fn records_that_were_taken_out_or_moved_are_noticed() {
        let (bytes, begins) = file(6);
        let without = [&bytes[..begins[2]], &bytes[begins[4]..]].concat();
        let segment = read(&without, ORIGIN, Some(&root())).unwrap();
        assert_eq!(segment.pieces[2], Piece::Hole(2));
        let swapped =
            [&bytes[..begins[2]], &bytes[begins[3]..begins[4]], &bytes[begins[2]..begins[3]], &bytes[begins[4]..]];
        let segment = read(&swapped.concat(), ORIGIN, Some(&root())).unwrap();
        assert_eq!(segment.pieces[2], Piece::Hole(1));
        assert!(read(&bytes, "log.example/two", None).is_err());
    }
}
