//! `barnabas inspect`: what a sealed record is. Bytes arrive, the fields of its header leave, and its value when a key is
//! at hand.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use barnabas_crypto::envelope::MAGIC;
use barnabas_crypto::{Flags, Header};
use clap::Args;
use serde::Serialize;

use super::output::Row;
use super::{ConfigArg, Exit, Failure, OutputArg};
use crate::config::DEFAULT_MAX_INFLATED_BYTES;
use crate::frame::batch::{BATCH_OVERHEAD, BatchError, BatchHeader, Entry, Records, entries, inflate};

/// Read a record or a log segment: magic, suite, key id, lane, sequence; open it when given a key
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct InspectArgs {
    /// A record's value or a broker's .log segment; - is standard input
    #[arg(default_value = "-")]
    pub(super) file: PathBuf,
    /// The input is hexadecimal text
    #[arg(long)]
    pub(super) hex: bool,
    /// Open the records with the grants of this principal, whose identity is in the gateway's custody
    #[arg(long, value_name = "User:NAME", requires = "topic")]
    pub(super) open_as: Option<String>,
    /// The topic of the record, which opening needs
    #[arg(long)]
    pub(super) topic: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigArg,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

pub(super) fn run(args: InspectArgs) -> Result<(), Failure> {
    if args.open_as.is_some() {
        return Err(Failure::not_built("inspect --open-as"));
    }
    let bytes = read(&args.file, args.hex)?;
    // A sealed value is known by its first byte; a segment starts with an offset, whose first byte is never that.
    let found = if bytes.first() == Some(&MAGIC) { vec![Found::value(None, &bytes)] } else { segment(&bytes)? };
    let mut printer = args.output.printer();
    printer.list(&found)?;
    let damaged = found.iter().filter(|record| record.state == "damaged").count();
    if damaged > 0 {
        return Err(Failure::new(Exit::Data, format!("{damaged} of {} cannot be right; see the notes", found.len())));
    }
    Ok(())
}

fn read(file: &Path, is_hex: bool) -> Result<Vec<u8>, Failure> {
    let named = |error: io::Error| Failure::new(Exit::Failed, format!("`{}`: {error}", file.display()));
    let mut bytes = Vec::new();
    let source: Box<dyn Read> =
        if file.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(file).map_err(named)?) };
    source.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes).map_err(named)?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        return Err(Failure::new(
            Exit::Data,
            format!("the input has more than {MAX_INPUT_BYTES} bytes; give a single segment"),
        ));
    }
    if is_hex {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        bytes = hex::decode(&bytes).map_err(|error| Failure::new(Exit::Data, format!("not hexadecimal: {error}")))?;
    }
    Ok(bytes)
}

/// The records of a segment in the order of the file. A broker allocates segments ahead: zeros at the end are no records.
fn segment(bytes: &[u8]) -> Result<Vec<Found>, Failure> {
    let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let mut found = Vec::new();
    for entry in entries(bytes) {
        match entry {
            Ok(Entry::Batch(range)) => batch(bytes.get(range).unwrap_or_default(), &mut found),
            Ok(Entry::Legacy(_, magic)) => {
                found.push(Found::damaged(None, format!("batch of format {magic}, before Kafka 0.11")))
            }
            Ok(Entry::Partial(range)) if range.start >= used => {}
            Ok(Entry::Partial(_)) => found.push(Found::damaged(None, "the input ends inside a batch".to_owned())),
            Err(_) if found.iter().any(|record| record.state != "damaged") => break,
            Err(error) => {
                return Err(Failure::new(Exit::Data, format!("neither a sealed value nor a log segment: {error}")));
            }
        }
    }
    Ok(found)
}

fn batch(bytes: &[u8], found: &mut Vec<Found>) {
    if let Err(error) = walk(bytes, found) {
        let offset = BatchHeader::parse(bytes).map(|header| header.base_offset).ok();
        found.push(Found::damaged(offset, format!("batch: {error}")));
    }
}

fn walk(bytes: &[u8], found: &mut Vec<Found>) -> Result<(), BatchError> {
    let header = BatchHeader::parse(bytes)?;
    BatchHeader::check_crc(bytes)?;
    let body = bytes.get(BATCH_OVERHEAD..).ok_or(BatchError::Truncated)?;
    let mut inflated = Vec::new();
    if inflate(header.attributes.codec()?, body, DEFAULT_MAX_INFLATED_BYTES, &mut inflated).is_err() {
        return Err(BatchError::Malformed("compressed body"));
    }
    let mut records = Records::new(0, header.record_count);
    while let Some(record) = records.next(&inflated)? {
        let offset = Some(header.base_offset.saturating_add(record.offset_delta.into()));
        let value = record.value.map(|range| inflated.get(range).unwrap_or_default());
        found.push(match value {
            _ if header.attributes.is_control() => Found::other(offset, "control", 0),
            None => Found::other(offset, "null", 0),
            Some(value) => Found::value(offset, value),
        });
    }
    Ok(())
}

/// What a record is, without its content.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Found {
    offset: Option<i64>,
    state: &'static str,
    bytes: usize,
    kind: Option<String>,
    suite: Option<String>,
    flags: Vec<&'static str>,
    key_id: Option<String>,
    lane: Option<String>,
    sequence: Option<u64>,
    note: Option<String>,
}

impl Found {
    fn value(offset: Option<i64>, value: &[u8]) -> Self {
        if value.first() != Some(&MAGIC) {
            return Self::other(offset, "clear", value.len());
        }
        match Header::parse(value) {
            Ok(header) => Self {
                offset,
                state: "sealed",
                bytes: value.len(),
                kind: Some(format!("{:?}", header.record_type())),
                suite: Some(format!("{:02} {:?}", header.suite().number(), header.suite())),
                flags: flag_names(header.flags()),
                key_id: Some(header.key_id().to_string()),
                lane: Some(header.lane().to_string()),
                sequence: Some(header.sequence()),
                note: None,
            },
            Err(error) => Self { bytes: value.len(), ..Self::damaged(offset, error.to_string()) },
        }
    }

    fn other(offset: Option<i64>, state: &'static str, bytes: usize) -> Self {
        Self { offset, state, bytes, ..Self::default() }
    }

    fn damaged(offset: Option<i64>, note: String) -> Self {
        Self { offset, state: "damaged", note: Some(note), ..Self::default() }
    }
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] =
        &["offset", "state", "bytes", "type", "suite", "flags", "key id", "lane", "sequence", "note"];

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            number(self.offset),
            self.state.to_owned(),
            self.bytes.to_string(),
            text(&self.kind),
            text(&self.suite),
            self.flags.join(","),
            text(&self.key_id),
            text(&self.lane),
            self.sequence.map(|sequence| sequence.to_string()).unwrap_or_default(),
            text(&self.note),
        ]
    }
}

fn flag_names(flags: Flags) -> Vec<&'static str> {
    let all = [
        (flags.parcel_headers(), "headers"),
        (flags.compressed(), "compressed"),
        (flags.padded(), "padded"),
        (flags.subject_key(), "subject-key"),
        (flags.key_bound(), "key-bound"),
        (flags.partition_bound(), "partition-bound"),
        (flags.headers_bound(), "headers-bound"),
        (flags.signed(), "signed"),
    ];
    all.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
}

/// A segment is at most 2 GiB by Kafka's own setting and 1 GiB by default; more is not one.
const MAX_INPUT_BYTES: u64 = 2 << 30;

const HELP: &str = "\
Examples:
  barnabas inspect 00000000000000000000.log
  barnabas inspect --hex value.hex --output json
  barnabas inspect segment.log --topic orders --open-as User:CN=billing --config barnabas.yaml";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// Header of suite 1, record key and partition bound, key id 11.., lane 7, sequence 9; 4 bytes and a tag after it.
    fn sealed() -> Vec<u8> {
        let mut value = vec![0xFB, 0x11, 0x01, 0b0011_0000];
        value.extend([0x11; 16]);
        value.extend([0, 7, 0, 0, 0, 0, 0, 9]);
        value.extend([0xEE; 20]);
        value
    }

    fn one_batch(values: &[Option<&[u8]>]) -> Vec<u8> {
        use crate::frame::batch::{finish_batch, put_varint};
        let mut batch = vec![0u8; BATCH_OVERHEAD];
        batch[..8].copy_from_slice(&100i64.to_be_bytes());
        batch[16] = 2;
        batch[57..61].copy_from_slice(&i32::try_from(values.len()).unwrap().to_be_bytes());
        for (delta, value) in values.iter().enumerate() {
            let mut record = vec![0, 0];
            put_varint(&mut record, i32::try_from(delta).unwrap());
            put_varint(&mut record, -1);
            put_varint(&mut record, value.map_or(-1, |value| i32::try_from(value.len()).unwrap()));
            record.extend(value.unwrap_or_default());
            put_varint(&mut record, 0);
            put_varint(&mut batch, i32::try_from(record.len()).unwrap());
            batch.extend(record);
        }
        finish_batch(&mut batch).unwrap();
        batch
    }

    #[test]
    fn a_sealed_value_shows_its_header_and_nothing_else() {
        let found = Found::value(None, &sealed());
        assert_eq!((found.state, found.bytes, found.sequence), ("sealed", 48, Some(9)));
        assert_eq!(found.suite.as_deref(), Some("01 Aes256Gcm"));
        assert_eq!(found.flags, ["key-bound", "partition-bound"]);
        assert_eq!(found.key_id.as_deref(), Some("11".repeat(16).as_str()));
        assert_eq!(found.lane.as_deref(), Some("7"));
    }

    #[test]
    fn a_segment_shows_every_record_with_its_offset() {
        let sealed = sealed();
        let mut bytes = one_batch(&[Some(&sealed), None, Some(b"clear"), Some(&[0xFB, 0x21])]);
        bytes.extend([0; 40]);
        let found = segment(&bytes).unwrap();
        let states: Vec<_> = found.iter().map(|record| (record.offset, record.state)).collect();
        assert_eq!(states, [(Some(100), "sealed"), (Some(101), "null"), (Some(102), "clear"), (Some(103), "damaged")]);
    }

    #[test]
    fn what_is_damaged_is_named_and_never_panics() {
        let sealed = sealed();
        let whole = one_batch(&[Some(&sealed)]);
        for length in 1..whole.len() {
            let found = segment(&whole[..length]);
            assert!(found.map_or(true, |found| found.iter().all(|record| record.state == "damaged")), "{length}");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(segment(&flipped).unwrap().first().unwrap().state, "damaged");
        let text = segment(b"this is no segment at all, but a text that is long enough for one batch header").unwrap();
        assert_eq!(text.first().unwrap().state, "damaged");
    }
}
