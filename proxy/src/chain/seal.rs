//! Sealing: the records of one partition of a Produce request, on their way to the broker.
//!
//! Arrives: plain record batches from a client, and the lane that this connection holds for the
//! partition. Leaves: the same batches with every value sealed: same count, order, timestamps, keys,
//! headers, producer id and sequence. What must never happen: a value leaves here as it came. On any
//! error nothing of the partition leaves.

use barnabas_crypto::parcel::{self, ParcelPlan};
use barnabas_crypto::{Header, KeyId, Lane, Place, RECORD_OVERHEAD};

use super::heavy;
use super::refusal::Reason;
use crate::config::Compress;
use crate::frame::batch::{
    BatchError, BatchHeader, Codec, Entry, InflateError, RecordView, Records, entries, finish_batch, inflate,
    put_varint, start_batch, varint_len,
};

/// The record header that carries the proof of a null value. It stands first, so that a client's own
/// header of the same name is never mistaken for it.
pub const TOMBSTONE_HEADER: &[u8] = b"bnb";

/// What was sealed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Records, tombstones included.
    pub records: u64,
    /// Bytes of plain values.
    pub bytes: u64,
}

/// What a client has sealed itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientSealedCounts {
    /// Records, and bytes of their sealed values.
    pub sealed: Sealed,
    /// The session, when it is one.
    pub key_id: Option<KeyId>,
}

/// Why a partition's records were not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The client sent something that is not a sound record batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Only brokers write control batches.
    #[error("a client may not write control batches")]
    Control,
    /// The session is at one of its limits, or cannot seal.
    #[error(transparent)]
    Session(#[from] barnabas_crypto::Error),
}

/// How a partition's records are sealed.
#[derive(Debug, Clone, Copy)]
pub struct SealTerms {
    /// The partition: bound into every record.
    pub partition: i32,
    /// Whether values are compressed first. Only what the client has sent in one record is compressed together, so
    /// no other client's bytes can be guessed by their length.
    pub compress: Compress,
    /// Bound for one inflated batch.
    pub max_inflated: usize,
}

/// Working memory that is kept between batches, so that sealing allocates nothing per record.
#[derive(Default)]
pub struct Scratch {
    inflated: Vec<u8>,
    proof: Vec<u8>,
    budget: Budget,
}

impl Scratch {
    /// A new request: all its batches together may grow as much as one may.
    pub fn begin(&mut self) {
        self.budget = Budget::default();
    }
}

/// How much the batches of one message have grown. The bound for one batch alone would let a message of a thousand
/// small bombs take a thousand times as much.
#[derive(Default)]
pub(super) struct Budget {
    spent: usize,
}

impl Budget {
    /// See [`plain_body`]; a batch that does not inflate uses the budget up, since its cost is not known.
    pub(super) fn plain_body<'a>(
        &mut self,
        batch: &'a [u8],
        header: &BatchHeader,
        limit: usize,
        inflated: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], BatchError> {
        let body = plain_body(batch, header, limit.saturating_sub(self.spent), inflated);
        let compressed = header.attributes.codec()? != Codec::None;
        match &body {
            Ok(body) if compressed => self.spent += body.len(),
            Err(_) if compressed => self.spent = limit,
            _ => {}
        }
        body
    }

    /// Whether anything has been paid.
    pub(super) fn has_begun(&self) -> bool {
        self.spent > 0
    }

    /// What is left of `limit`.
    pub(super) fn left(&self, limit: usize) -> usize {
        limit.saturating_sub(self.spent)
    }

    /// Pays for `bytes` that are written besides.
    pub(super) fn pay(&mut self, bytes: usize, limit: usize) -> Result<(), BatchError> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > limit { Err(InflateError::TooLarge.into()) } else { Ok(()) }
    }
}

/// Seals `records` (one partition's records field) and appends the result to `out`.
pub fn seal_records(
    records: &[u8],
    lane: &mut Lane,
    terms: &SealTerms,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<Sealed, SealError> {
    let mut total = Sealed::default();
    for entry in entries(records) {
        let batch = match entry? {
            Entry::Batch(range) => records.get(range).ok_or(BatchError::Truncated)?,
            Entry::Legacy(_, magic) => return Err(BatchError::Magic(magic).into()),
            Entry::Partial(_) => return Err(BatchError::Truncated.into()),
        };
        let sealed = seal_batch(batch, lane, terms, scratch, out)?;
        total.records += sealed.records;
        total.bytes += sealed.bytes;
    }
    Ok(total)
}

/// What the records of a client that seals them itself must satisfy.
pub trait ClientSealed: Send + Sync {
    /// Whether a session was announced by this client, for this stream and an epoch that is open. Asked once for each
    /// session of a batch, not for each record.
    fn check(&self, header: &Header) -> Result<(), Reason>;
}

/// Checks records that a client has sealed itself: the gateway has no key for them, but a plain record, another
/// writer's session or an epoch that is over does not pass.
pub fn check_sealed(
    records: &[u8],
    rules: &dyn ClientSealed,
    max_inflated: usize,
    scratch: &mut Scratch,
) -> Result<ClientSealedCounts, Reason> {
    let (mut counts, mut several) = (ClientSealedCounts::default(), false);
    for entry in entries(records) {
        let batch = match entry? {
            Entry::Batch(range) => records.get(range).ok_or(BatchError::Truncated)?,
            Entry::Legacy(_, magic) => return Err(BatchError::Magic(magic).into()),
            Entry::Partial(_) => return Err(BatchError::Truncated.into()),
        };
        BatchHeader::check_crc(batch)?;
        let header = BatchHeader::parse(batch)?;
        if header.attributes.is_control() {
            return Err(SealError::Control.into());
        }
        let body = scratch.budget.plain_body(batch, &header, max_inflated, &mut scratch.inflated)?;
        let mut walk = Records::new(0, header.record_count);
        // A writer has one session for a stream, and changes it now and then: the last one is the one to remember.
        let mut checked: Option<KeyId> = None;
        while let Some(record) = walk.next(body)? {
            let header = Header::parse(sealed_part(body, &record)?).map_err(|_| Reason::NotSealed)?;
            counts.sealed.records += 1;
            counts.sealed.bytes += record.value.as_ref().map_or(0, |value| value.len()) as u64;
            if checked != Some(header.key_id()) {
                rules.check(&header)?;
                checked = Some(header.key_id());
                several |= counts.key_id.is_some_and(|known| known != header.key_id());
                counts.key_id = checked;
            }
        }
    }
    counts.key_id = counts.key_id.filter(|_| !several);
    Ok(counts)
}

/// The sealed bytes of a record: its value, or for a null value the proof in its first header.
pub(super) fn sealed_part<'b>(body: &'b [u8], record: &RecordView) -> Result<&'b [u8], Reason> {
    let part = |range: &std::ops::Range<usize>| body.get(range.clone()).ok_or(BatchError::Truncated);
    if let Some(value) = &record.value {
        return Ok(part(value)?);
    }
    let first = record.first_header(body)?.ok_or(Reason::NotSealed)?;
    if part(&first.key)? != TOMBSTONE_HEADER {
        return Err(Reason::NotSealed);
    }
    Ok(part(&first.value.ok_or(Reason::NotSealed)?)?)
}

fn seal_batch(
    batch: &[u8],
    lane: &mut Lane,
    terms: &SealTerms,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<Sealed, SealError> {
    BatchHeader::check_crc(batch)?;
    let header = BatchHeader::parse(batch)?;
    if header.attributes.is_control() {
        return Err(SealError::Control);
    }
    let Scratch { inflated, proof, budget } = scratch;
    let body = budget.plain_body(batch, &header, terms.max_inflated, inflated)?;
    let mut walk = Records::new(0, header.record_count);
    // The count is a peer's number, but a record takes seven bytes at the least.
    let count = (header.record_count as usize).min(body.len() / SHORTEST_RECORD + 1);
    budget.pay(count * GROWTH_PER_RECORD, terms.max_inflated)?;
    out.reserve(batch.len().max(body.len()) + count * GROWTH_PER_RECORD);
    let start = start_batch(batch, out)?;
    // What a compressed batch becomes is known only now.
    let sealed = heavy::work_on(heavy::is_long(body), || -> Result<Sealed, SealError> {
        let mut sealed = Sealed::default();
        let mut last_delta = -1;
        while let Some(record) = walk.next(body)? {
            // Readers refuse a batch in which offsets do not rise; so does a broker, of most clients.
            if record.offset_delta <= last_delta {
                return Err(BatchError::Malformed("order of offsets").into());
            }
            last_delta = record.offset_delta;
            sealed.records += 1;
            sealed.bytes += record.value.as_ref().map_or(0, |value| value.len()) as u64;
            seal_record(body, &record, lane, terms, proof, out)?;
        }
        Ok(sealed)
    })?;
    finish_batch(out.get_mut(start..).ok_or(BatchError::Truncated)?)?;
    Ok(sealed)
}

/// The records of a batch, inflated into `inflated` when the batch is compressed.
pub(super) fn plain_body<'a>(
    batch: &'a [u8],
    header: &BatchHeader,
    max_inflated: usize,
    inflated: &'a mut Vec<u8>,
) -> Result<&'a [u8], BatchError> {
    let body = batch.get(crate::frame::batch::BATCH_OVERHEAD..).ok_or(BatchError::Truncated)?;
    match header.attributes.codec()? {
        Codec::None => Ok(body),
        codec => {
            inflated.clear();
            // A large batch must not hold its memory for the rest of the connection's life.
            inflated.shrink_to(KEPT_SCRATCH_BYTES);
            inflate(codec, body, max_inflated, inflated)?;
            Ok(inflated)
        }
    }
}

fn seal_record(
    body: &[u8],
    record: &RecordView,
    lane: &mut Lane,
    terms: &SealTerms,
    proof: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), SealError> {
    let part = |range: &std::ops::Range<usize>| body.get(range.clone()).ok_or(BatchError::Truncated);
    let head = part(&record.head)?;
    let headers = part(&record.headers)?;
    let record_key = record.key.as_ref().map(part).transpose()?;
    let place = Place { partition: terms.partition, record_key };
    let Some(value) = &record.value else {
        proof.clear();
        lane.seal_tombstone(&place, proof)?;
        return put_tombstone(head, record.header_count, headers, proof, out);
    };
    if terms.compress == Compress::Record && value.len() >= LEAST_COMPRESSED {
        proof.clear();
        let plan = ParcelPlan { headers: None, codec: Some(parcel::Codec::Zstd), bucket: None };
        lane.seal_parcel(&place, &plan, part(value)?, proof)?;
        return put_value(head, proof, record.header_count, headers, out);
    }
    let sealed_len = to_i32(lane.sealed_len(value.len()))?;
    let length =
        head.len() + varint_len(sealed_len) + sealed_len as usize + varint_len(record.header_count) + headers.len();
    put_varint(out, to_i32(length)?);
    out.extend_from_slice(head);
    put_varint(out, sealed_len);
    lane.seal(&place, part(value)?, out)?;
    put_varint(out, record.header_count);
    out.extend_from_slice(headers);
    Ok(())
}

fn put_value(head: &[u8], value: &[u8], header_count: i32, headers: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
    let value_len = to_i32(value.len())?;
    let length = head.len() + varint_len(value_len) + value.len() + varint_len(header_count) + headers.len();
    put_varint(out, to_i32(length)?);
    out.extend_from_slice(head);
    put_varint(out, value_len);
    out.extend_from_slice(value);
    put_varint(out, header_count);
    out.extend_from_slice(headers);
    Ok(())
}

/// Null stays null, for the log cleaner; the proof that a writer meant it goes into a header.
fn put_tombstone(
    head: &[u8],
    header_count: i32,
    headers: &[u8],
    proof: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), SealError> {
    let name_len = to_i32(TOMBSTONE_HEADER.len())?;
    let proof_len = to_i32(proof.len())?;
    let own = varint_len(name_len) + TOMBSTONE_HEADER.len() + varint_len(proof_len) + proof.len();
    let count = header_count.checked_add(1).ok_or(BatchError::Malformed("header count"))?;
    let length = head.len() + varint_len(-1) + varint_len(count) + own + headers.len();
    put_varint(out, to_i32(length)?);
    out.extend_from_slice(head);
    put_varint(out, -1);
    put_varint(out, count);
    put_varint(out, name_len);
    out.extend_from_slice(TOMBSTONE_HEADER);
    put_varint(out, proof_len);
    out.extend_from_slice(proof);
    out.extend_from_slice(headers);
    Ok(())
}

fn to_i32(length: usize) -> Result<i32, BatchError> {
    i32::try_from(length).map_err(|_| BatchError::Malformed("record length"))
}

/// A shorter value does not get shorter.
const LEAST_COMPRESSED: usize = 64;

/// The envelope, and what its length adds to the two lengths before it; a tombstone's header is no longer.
const GROWTH_PER_RECORD: usize = RECORD_OVERHEAD + 8;

/// Length, attributes, two deltas, key length, value length, header count.
const SHORTEST_RECORD: usize = 7;

/// How much a connection's working memory may keep between two batches.
const KEPT_SCRATCH_BYTES: usize = 1024 * 1024;
