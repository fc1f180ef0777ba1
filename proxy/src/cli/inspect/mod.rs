//! `barnabas inspect`: what a sealed record is. Bytes arrive, the fields of its header leave, and its value when a key is
//! at hand.

mod open;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use barnabas_crypto::envelope::MAGIC;
use barnabas_crypto::{Flags, Header, Place};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde::Serialize;

use super::output::Row;
use super::{ConfigArg, Exit, Failure, OutputArg};
use crate::chain::seal::TOMBSTONE_HEADER;
use crate::config::DEFAULT_MAX_INFLATED_BYTES;
use crate::frame::batch::{BATCH_OVERHEAD, BatchError, BatchHeader, Entry, RecordView, Records, entries, inflate};
pub(super) use open::{Closed, reveal};
use open::{KnownReaders, Opening};

/// Read a record or a log segment: magic, suite, key id, lane, sequence; open it when given a key
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct InspectArgs {
    #[command(flatten)]
    pub(super) input: Input,
    /// Open the records with the grants of this principal, whose identity is in the gateway's custody
    #[arg(long, value_name = "User:NAME", requires = "topic")]
    pub(super) open_as: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigArg,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

/// What is to be looked at.
#[derive(Clone, Debug, Args)]
pub struct Input {
    /// A record's value or a broker's .log segment; - is standard input
    #[arg(default_value = "-")]
    pub(super) file: PathBuf,
    /// The input is hexadecimal text
    #[arg(long)]
    pub(super) hex: bool,
    /// The input is base64 text
    #[arg(long, conflicts_with = "hex")]
    pub(super) base64: bool,
    /// The topic of the record, which opening by grants needs
    #[arg(long)]
    pub(super) topic: Option<String>,
    /// The partition of the record; without it, what the name of a segment's folder says, or 0
    #[arg(long, value_name = "NUMBER")]
    pub(super) partition: Option<i32>,
    /// The key of a single record, which its value is bound to; without it, none
    #[arg(long, value_name = "TEXT")]
    pub(super) key: Option<String>,
}

pub(super) fn run(args: InspectArgs) -> Result<(), Failure> {
    let mut key = key_at_hand(&args)?;
    present(&args.input, args.output, &mut *key)
}

/// Reads the input and prints what is in it, with what `key` knows of it.
pub(super) fn present(input: &Input, output: OutputArg, key: &mut dyn Key) -> Result<(), Failure> {
    let form = if input.hex { Form::Hex } else { Form::Bytes };
    let bytes = read(&input.file, if input.base64 { Form::Base64 } else { form })?;
    let partition = input.partition.or_else(|| partition_of(&input.file, input.topic.as_deref()?)).unwrap_or(0);
    let mut found = Vec::new();
    // A sealed value is known by its first byte; a segment starts with an offset, whose first byte is never that.
    if bytes.first() == Some(&MAGIC) {
        let place = Place { partition, record_key: input.key.as_ref().map(String::as_bytes) };
        found.push(Found::value(None, &bytes, &place, key));
    } else {
        found = segment(&bytes, partition, key)?;
    }
    output.printer().list(&found)?;
    let of = |state: &str| found.iter().filter(|record| record.state == state).count();
    match (of("damaged"), of("denied"), of("destroyed")) {
        (0, 0, 0) => Ok(()),
        (0, 0, destroyed) => {
            Err(Failure::new(Exit::Denied, format!("the epochs of {destroyed} of {} were destroyed", found.len())))
        }
        (0, denied, _) => Err(Failure::new(Exit::Denied, format!("{denied} of {} are not granted", found.len()))),
        (damaged, _, _) => {
            Err(Failure::new(Exit::Data, format!("{damaged} of {} cannot be right; see the notes", found.len())))
        }
    }
}

/// What is known of a sealed value beyond its header.
pub(super) trait Key {
    /// Adds what it knows to a record that was found sealed.
    fn look(&mut self, found: &mut Found, header: &Header, place: &Place<'_>, sealed: &[u8]);
}

/// Nothing.
struct NoKey;

impl Key for NoKey {
    fn look(&mut self, _: &mut Found, _: &Header, _: &Place<'_>, _: &[u8]) {}
}

fn key_at_hand(args: &InspectArgs) -> Result<Box<dyn Key>, Failure> {
    Ok(match (&args.open_as, &args.input.topic) {
        (Some(principal), Some(topic)) => Box::new(Opening::new(args.config.load()?, principal, topic)?),
        (None, Some(topic)) => Box::new(KnownReaders::new(args.config.load()?, topic)?),
        _ => Box::new(NoKey),
    })
}

#[derive(Clone, Copy)]
enum Form {
    Bytes,
    Hex,
    Base64,
}

fn read(file: &Path, form: Form) -> Result<Vec<u8>, Failure> {
    let named = |error: io::Error| Failure::new(Exit::Failed, format!("`{}`: {error}", file.display()));
    let mut bytes = Vec::new();
    let source: Box<dyn Read> =
        if file.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(file).map_err(named)?) };
    source.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes).map_err(named)?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        let line = format!("the input has more than {MAX_INPUT_BYTES} bytes; give a single segment");
        return Err(Failure::new(Exit::Data, line));
    }
    let unfit = |what: &str, error: String| Failure::new(Exit::Data, format!("not {what}: {error}"));
    if !matches!(form, Form::Bytes) {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
    }
    match form {
        Form::Bytes => Ok(bytes),
        Form::Hex => hex::decode(&bytes).map_err(|error| unfit("hexadecimal", error.to_string())),
        Form::Base64 => BASE64_STANDARD.decode(&bytes).map_err(|error| unfit("base64", error.to_string())),
    }
}

/// A broker keeps the segments of a partition in a folder that is named after it: `orders-3`.
fn partition_of(file: &Path, topic: &str) -> Option<i32> {
    let folder = file.canonicalize().ok()?.parent()?.file_name()?.to_str()?.to_owned();
    folder.strip_prefix(topic)?.strip_prefix('-')?.parse().ok()
}

/// The records of a segment in the order of the file. A broker allocates segments ahead: zeros at the end are no records.
fn segment(bytes: &[u8], partition: i32, key: &mut dyn Key) -> Result<Vec<Found>, Failure> {
    let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let mut found = Vec::new();
    for entry in entries(bytes) {
        match entry {
            Ok(Entry::Batch(range)) => batch(bytes.get(range).unwrap_or_default(), partition, key, &mut found),
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

fn batch(bytes: &[u8], partition: i32, key: &mut dyn Key, found: &mut Vec<Found>) {
    if let Err(error) = walk(bytes, partition, key, found) {
        let offset = BatchHeader::parse(bytes).map(|header| header.base_offset).ok();
        found.push(Found::damaged(offset, format!("batch: {error}")));
    }
}

fn walk(bytes: &[u8], partition: i32, key: &mut dyn Key, found: &mut Vec<Found>) -> Result<(), BatchError> {
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
        let part = |range: &std::ops::Range<usize>| inflated.get(range.clone()).unwrap_or_default();
        let place = Place { partition, record_key: record.key.as_ref().map(part) };
        let value = record.value.as_ref().map(part);
        found.push(match value {
            _ if header.attributes.is_control() => Found::other(offset, "control", 0),
            None => match proof(&record, &inflated)? {
                Some(proof) => Found::value(offset, proof, &place, key),
                None => Found::other(offset, "null", 0),
            },
            Some(value) => Found::value(offset, value, &place, key),
        });
    }
    Ok(())
}

/// What a writer put beside a null value to show that it meant it.
fn proof<'b>(record: &RecordView, body: &'b [u8]) -> Result<Option<&'b [u8]>, BatchError> {
    let Some(first) = record.first_header(body)? else { return Ok(None) };
    let named = body.get(first.key).unwrap_or_default() == TOMBSTONE_HEADER;
    Ok(first.value.and_then(|range| body.get(range)).filter(|_| named))
}

/// What a record is; its content only when a key was at hand.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    offset: Option<i64>,
    state: &'static str,
    bytes: usize,
    kind: Option<String>,
    suite: Option<String>,
    flags: Vec<&'static str>,
    key_id: Option<String>,
    lane: Option<String>,
    sequence: Option<u64>,
    /// The opened value, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The opened value, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    note: Option<String>,
}

impl Found {
    fn value(offset: Option<i64>, value: &[u8], place: &Place<'_>, key: &mut dyn Key) -> Self {
        if value.first() != Some(&MAGIC) {
            return Self::other(offset, "clear", value.len());
        }
        match Header::parse(value) {
            Ok(header) => {
                let mut found = Self {
                    offset,
                    state: "sealed",
                    bytes: value.len(),
                    kind: Some(format!("{:?}", header.record_type())),
                    suite: Some(format!("{:02} {:?}", header.suite().number(), header.suite())),
                    flags: flag_names(header.flags()),
                    key_id: Some(header.key_id().to_string()),
                    lane: Some(header.lane().to_string()),
                    sequence: Some(header.sequence()),
                    ..Self::default()
                };
                key.look(&mut found, &header, place, value);
                found
            }
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
        &["offset", "state", "bytes", "type", "suite", "flags", "key id", "lane", "sequence", "value", "note"];

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
            shortened(self.value.as_ref().or(self.value_base64.as_ref())),
            text(&self.note),
        ]
    }
}

/// A cell of a table stays a cell; JSON has the whole value.
fn shortened(value: Option<&String>) -> String {
    let value = value.map(String::as_str).unwrap_or_default();
    let short: String = value.chars().take(SHOWN_CHARACTERS).collect();
    if short.len() < value.len() { format!("{short}...") } else { short }
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

const SHOWN_CHARACTERS: usize = 60;

/// A segment is at most 2 GiB by Kafka's own setting and 1 GiB by default; more is not one.
const MAX_INPUT_BYTES: u64 = 2 << 30;

const HELP: &str = "\
Examples:
  barnabas inspect 00000000000000000000.log
  barnabas inspect --hex value.hex --output json
  barnabas inspect orders-0/00000000000000000000.log --topic orders
  barnabas inspect segment.log --topic orders --partition 3 --open-as User:CN=billing --config barnabas.yaml";

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
        let found = Found::value(None, &sealed(), &Place { partition: 0, record_key: None }, &mut NoKey);
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
        let found = segment(&bytes, 0, &mut NoKey).unwrap();
        let states: Vec<_> = found.iter().map(|record| (record.offset, record.state)).collect();
        assert_eq!(states, [(Some(100), "sealed"), (Some(101), "null"), (Some(102), "clear"), (Some(103), "damaged")]);
    }

    #[test]
    fn the_partition_is_in_the_name_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        for (name, partition) in
            [("a-b-3", Some(3)), ("a-b-12", Some(12)), ("a-b", None), ("a-b-x", None), ("b-3", None)]
        {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let file = folder.join("0.log");
            std::fs::write(&file, b"").unwrap();
            assert_eq!(partition_of(&file, "a-b"), partition, "{name}");
        }
        assert_eq!(shortened(Some(&"x".repeat(61))).len(), 63);
        assert_eq!(shortened(Some(&"x".repeat(60))).len(), 60);
    }

    #[test]
    fn what_is_damaged_is_named_and_never_panics() {
        let sealed = sealed();
        let whole = one_batch(&[Some(&sealed)]);
        for length in 1..whole.len() {
            let found = segment(&whole[..length], 0, &mut NoKey);
            assert!(found.map_or(true, |found| found.iter().all(|record| record.state == "damaged")), "{length}");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(segment(&flipped, 0, &mut NoKey).unwrap().first().unwrap().state, "damaged");
        let text =
            segment(b"this is no segment at all, but a text that is long enough for one batch header", 0, &mut NoKey)
                .unwrap();
        assert_eq!(text.first().unwrap().state, "damaged");
    }
}
