//! Record batches, format version 2, read and written by hand: for looking into segment files and for brokers that lie.
//!
//! Only what stands there uncompressed is taken apart into records; that is all the tests need, since sealed batches are not
//! compressed. The checksum is made anew on writing, so a changed batch is one that only its sealing can betray.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// One batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Epoch of the partition's leader.
    pub leader_epoch: i32,
    /// Codec (bits 0-2), timestamp type (3), transactional (4), control (5).
    pub attributes: i16,
    /// Offset of the last record, less `base_offset`; stays when compaction takes the last record away.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970.
    pub base_timestamp: i64,
    /// Milliseconds since 1970.
    pub max_timestamp: i64,
    /// Of an idempotent producer, else -1.
    pub producer_id: i64,
    /// Of an idempotent producer, else -1.
    pub producer_epoch: i16,
    /// Of an idempotent producer, else -1.
    pub base_sequence: i32,
    /// The records, or the compressed bytes as they came.
    pub body: Body,
}

/// What follows the header of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Uncompressed records.
    Records(Vec<Record>),
    /// Compressed records: how many, and the bytes.
    Compressed(i32, Bytes),
}

/// One record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset after the batch's base offset.
    pub offset_delta: i32,
    /// Record key.
    pub key: Option<Bytes>,
    /// Record value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in their order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Batch {
    /// The bytes of an uncompressed batch of one record without a key.
    pub fn of_value(value: &str) -> Bytes {
        let value = Some(Bytes::copy_from_slice(value.as_bytes()));
        let record = Record { timestamp_delta: 0, offset_delta: 0, key: None, value, headers: vec![] };
        let batch = Self {
            base_offset: 0,
            leader_epoch: -1,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_000,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            body: Body::Records(vec![record]),
        };
        let mut bytes = BytesMut::new();
        batch.write(&mut bytes);
        bytes.freeze()
    }

    /// True for the markers of transactions, which are no user's records.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// The records of an uncompressed batch.
    ///
    /// # Panics
    /// For a compressed batch.
    #[track_caller]
    pub fn records(&self) -> &[Record] {
        match &self.body {
            Body::Records(records) => records,
            Body::Compressed(..) => panic!("the batch at {} is compressed: a sealed one is not", self.base_offset),
        }
    }

    /// The records of an uncompressed batch, to be changed.
    ///
    /// # Panics
    /// For a compressed batch.
    #[track_caller]
    pub fn records_mut(&mut self) -> &mut Vec<Record> {
        match &mut self.body {
            Body::Records(records) => records,
            Body::Compressed(..) => panic!("the batch at {} is compressed: a sealed one is not", self.base_offset),
        }
    }

    /// Appends the batch with a fresh length and checksum.
    pub fn write(&self, out: &mut BytesMut) {
        let mut checked = BytesMut::new();
        checked.put_i16(self.attributes);
        checked.put_i32(self.last_offset_delta);
        checked.put_i64(self.base_timestamp);
        checked.put_i64(self.max_timestamp);
        checked.put_i64(self.producer_id);
        checked.put_i16(self.producer_epoch);
        checked.put_i32(self.base_sequence);
        match &self.body {
            Body::Records(records) => {
                checked.put_i32(records.len() as i32);
                records.iter().for_each(|record| record.write(&mut checked));
            }
            Body::Compressed(count, bytes) => {
                checked.put_i32(*count);
                checked.put_slice(bytes);
            }
        }
        out.put_i64(self.base_offset);
        out.put_i32(checked.len() as i32 + 9);
        out.put_i32(self.leader_epoch);
        out.put_u8(2);
        out.put_u32(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &checked) as u32);
        out.put_slice(&checked);
    }
}

impl Record {
    fn write(&self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        body.put_i8(0);
        put_varint(&mut body, self.timestamp_delta);
        put_varint(&mut body, i64::from(self.offset_delta));
        put_bytes(&mut body, self.key.as_deref());
        put_bytes(&mut body, self.value.as_deref());
        put_varint(&mut body, self.headers.len() as i64);
        for (name, value) in &self.headers {
            put_bytes(&mut body, Some(name));
            put_bytes(&mut body, value.as_deref());
        }
        put_varint(out, body.len() as i64);
        out.put_slice(&body);
    }
}

/// All whole batches at the front of `bytes`: a segment file, or the records of a Fetch answer, whose last batch may be cut.
pub fn read_all(mut bytes: Bytes) -> Vec<Batch> {
    let mut batches = Vec::new();
    while bytes.len() >= HEADER {
        let length = (&bytes[8..12]).get_i32() as usize;
        if length == 0 || bytes.len() < length + 12 {
            break; // a segment file that was made long in advance ends in zeroes
        }
        batches.push(read(bytes.split_to(length + 12)));
    }
    batches
}

fn read(mut bytes: Bytes) -> Batch {
    let base_offset = bytes.get_i64();
    bytes.advance(4);
    let leader_epoch = bytes.get_i32();
    let magic = bytes.get_u8();
    assert_eq!(magic, 2, "a batch of format version {magic} at {base_offset}");
    bytes.advance(4);
    let attributes = bytes.get_i16();
    let last_offset_delta = bytes.get_i32();
    let (base_timestamp, max_timestamp) = (bytes.get_i64(), bytes.get_i64());
    let (producer_id, producer_epoch, base_sequence) = (bytes.get_i64(), bytes.get_i16(), bytes.get_i32());
    let count = bytes.get_i32();
    let body = if attributes & 7 == 0 {
        Body::Records((0..count).map(|_| read_record(&mut bytes)).collect())
    } else {
        Body::Compressed(count, bytes)
    };
    Batch {
        base_offset,
        leader_epoch,
        attributes,
        last_offset_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        body,
    }
}

fn read_record(bytes: &mut Bytes) -> Record {
    let length = take_varint(bytes) as usize;
    let mut body = bytes.split_to(length);
    body.advance(1);
    let timestamp_delta = take_varint(&mut body);
    let offset_delta = take_varint(&mut body) as i32;
    let key = take_bytes(&mut body);
    let value = take_bytes(&mut body);
    let count = take_varint(&mut body);
    let headers = (0..count).map(|_| (take_bytes(&mut body).unwrap_or_default(), take_bytes(&mut body))).collect();
    Record { timestamp_delta, offset_delta, key, value, headers }
}

fn take_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    usize::try_from(take_varint(bytes)).ok().map(|length| bytes.split_to(length))
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

fn take_varint(bytes: &mut Bytes) -> i64 {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (value >> 1) as i64 ^ -((value & 1) as i64);
        }
        shift += 7;
        assert!(shift < 64, "a varint of more than ten bytes");
    }
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Bytes of a batch before its first record.
const HEADER: usize = 61;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Batch {
        let record = |n: i32, value: Option<&'static [u8]>| Record {
            timestamp_delta: i64::from(n) * 300,
            offset_delta: n,
            key: (n > 0).then(|| Bytes::from_static(b"key")),
            value: value.map(Bytes::from_static),
            headers: vec![(Bytes::from_static(b"h"), None), (Bytes::from_static(b"h"), Some(Bytes::from_static(b"v")))],
        };
        Batch {
            base_offset: 7,
            leader_epoch: 3,
            attributes: 0,
            last_offset_delta: 2,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_600,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            body: Body::Records(vec![record(0, Some(b"a")), record(1, None), record(2, Some(b""))]),
        }
    }

    #[test]
    fn a_written_batch_reads_as_itself_and_a_cut_one_is_left_out() {
        let mut bytes = BytesMut::new();
        sample().write(&mut bytes);
        sample().write(&mut bytes);
        let cut = bytes.len() - 1;
        assert_eq!(read_all(bytes.clone().freeze()), [sample(), sample()]);
        assert_eq!(read_all(bytes.freeze().slice(..cut)), [sample()]);
    }
}
