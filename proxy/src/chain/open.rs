//! Opening: the records of one partition of a Fetch response, on their way to the client.
//!
//! Arrives: batches as the broker gave them, and the sessions that this client may open. Leaves: the same
//! batches with plain values. What must never happen: a record that is not sealed, was moved, replayed or
//! forged reaches the client of a sealed stream. What cannot be opened is handled as the stream's
//! `on_unreadable` says, and under `fail` the records before it are still delivered, so that the client
//! meets the error exactly at the record that caused it.

use std::ops::Range;

use barnabas_crypto::{AadBuffer, Header, KeyId, OrderCheck, Place, SessionReader, TAG_LEN};

use super::refusal::{Reason, Refusal};
use super::seal::{Budget, plain_body, sealed_part};
use crate::config::OnUnreadable;
use crate::frame::batch::{
    BatchError, BatchHeader, Entry, InflateError, RecordView, Records, cut_batch, entries, finish_batch, put_varint,
    start_batch, varint_len,
};

/// Who opens: the gateway with the client's grants, or the client itself.
pub enum Opener<'a> {
    /// The client's identity is in the gateway's custody.
    Gateway(&'a dyn Sessions),
    /// The client holds its own keys: sealed records pass, anything else does not.
    Client,
}

/// The sessions that one client may open on one stream.
pub trait Sessions: Sync {
    /// What is known about a session. Must not block: what is not at hand is [`Access::Unknown`].
    fn access(&self, key_id: &KeyId) -> Access<'_>;
}

/// See [`Sessions::access`].
pub enum Access<'a> {
    /// The client may read it.
    Granted(&'a SessionReader),
    /// The client may not, or nobody can.
    Denied(Reason),
    /// Not looked up yet: opening stops there, and goes on once the caller has asked for it.
    Unknown,
}

/// Where the records come from, and what the client asked for.
pub struct Source<'a> {
    /// The partition that the client asked for: bound into every record.
    pub partition: i32,
    /// The client's position. Records before it were not asked for and are left out.
    pub fetch_offset: i64,
    /// What becomes of a record that cannot be opened.
    pub on_unreadable: OnUnreadable,
    /// Bound for one inflated batch.
    pub max_inflated: usize,
    /// Who opens.
    pub opener: Opener<'a>,
}

/// What was opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// Records delivered in the clear.
    pub records: u64,
    /// Bytes of plain values.
    pub bytes: u64,
    /// Numbers missing in the lanes: compaction, retention, aborted or failed batches.
    pub holes: u64,
    /// Records left out under `skip`, the first of them.
    pub skipped: u64,
    /// True when opening ended at the refusal instead of stepping over it.
    pub stopped: bool,
    /// The record that could not be opened: the first one, whatever became of it.
    pub refusal: Option<Refusal>,
}

/// What [`Opening::run`] came to.
#[derive(Debug)]
pub enum Step {
    /// All entries are in `out`, or all up to a refusal.
    Done,
    /// This session must be looked up first; then `run` goes on where it stopped.
    NeedSession(KeyId),
}

/// Working memory that is kept between partitions.
#[derive(Default)]
pub struct Scratch {
    inflated: Vec<u8>,
    aad: AadBuffer,
    headers: Vec<u8>,
    budget: Budget,
}

impl Scratch {
    /// Whether something of the response has been inflated.
    pub fn has_begun(&self) -> bool {
        self.budget.has_begun()
    }

    /// A new response: it may inflate as much as one batch may.
    pub fn begin(&mut self) {
        self.budget = Budget::default();
    }
}

/// The opening of one records field. It can stop for a session and go on.
pub struct Opening<'a> {
    records: &'a [u8],
    order: &'a mut OrderCheck,
    scratch: &'a mut Scratch,
    out: &'a mut Vec<u8>,
    /// Entries before this position are in `out`.
    at: usize,
    /// The last offset of what is behind `at`. Offsets rise from record to record, or the broker lies.
    behind: i64,
    /// The batch at `at`, when it waits for a session.
    half: Option<Half>,
    opened: Opened,
    /// Bound for what the response inflates to.
    max_inflated: usize,
}

/// A batch whose records are in `out` up to one that needs a session. It goes on there: opened again from its start,
/// it would look like a replay of itself.
struct Half {
    start: usize,
    walk: Records,
    kept: i32,
    last_delta: i32,
    last: i64,
}

/// Why the walk over a batch ended before its end.
enum Stop {
    Need(KeyId),
    Refused(Refusal),
}

impl<'a> Opening<'a> {
    /// Begins with nothing opened; `out` receives the opened batches.
    pub fn new(records: &'a [u8], order: &'a mut OrderCheck, scratch: &'a mut Scratch, out: &'a mut Vec<u8>) -> Self {
        Self {
            records,
            order,
            scratch,
            out,
            at: 0,
            behind: i64::MIN,
            half: None,
            opened: Opened::default(),
            max_inflated: 0,
        }
    }

    /// What was opened so far.
    pub fn finish(self) -> Opened {
        self.opened
    }

    /// Opens entry after entry until the end, a refusal, or a session that is not known yet.
    pub fn run(&mut self, source: &Source<'_>) -> Step {
        self.max_inflated = source.max_inflated;
        let rest = self.records.get(self.at..).unwrap_or_default();
        let base = self.at;
        for entry in entries(rest) {
            let end = match &entry {
                Ok(Entry::Batch(range) | Entry::Legacy(range, _) | Entry::Partial(range)) => range.end,
                Err(_) => rest.len(),
            };
            match self.entry(rest, entry, source) {
                Ok(()) => self.at = base + end,
                Err(Stop::Need(key_id)) => return Step::NeedSession(key_id),
                Err(Stop::Refused(refusal)) => {
                    self.opened.refusal = Some(refusal);
                    self.opened.stopped = true;
                    self.at = self.records.len();
                    return Step::Done;
                }
            }
        }
        Step::Done
    }

    fn entry(&mut self, rest: &[u8], entry: Result<Entry, BatchError>, source: &Source<'_>) -> Result<(), Stop> {
        let unplaced = |reason| Stop::Refused(Refusal { offset: source.fetch_offset, reason });
        match entry {
            Ok(Entry::Batch(range)) => self.batch(rest.get(range).unwrap_or_default(), source),
            Ok(Entry::Legacy(range, _)) => {
                let offset = rest.get(range).and_then(|bytes| bytes.first_chunk::<8>());
                let offset = offset.map_or(source.fetch_offset, |bytes| i64::from_be_bytes(*bytes));
                Err(Stop::Refused(Refusal { offset, reason: Reason::NotSealed }))
            }
            Ok(Entry::Partial(range)) => {
                // Clients ignore a cut-off last batch. When it is all there is, it is their sign that the
                // fetch limit is too small, and they need to see it.
                if self.out.is_empty() {
                    self.out.extend_from_slice(rest.get(range).unwrap_or_default());
                }
                Ok(())
            }
            Err(error) => Err(unplaced(Reason::Batch(error))),
        }
    }

    fn batch(&mut self, batch: &[u8], source: &Source<'_>) -> Result<(), Stop> {
        let header = BatchHeader::parse(batch).map_err(|error| refused(source.fetch_offset, error))?;
        if header.attributes.is_control() {
            self.out.extend_from_slice(batch);
            self.leave_behind(&header);
            return Ok(());
        }
        let malformed = |error: BatchError| refused(header.base_offset, error);
        BatchHeader::check_crc(batch).map_err(malformed)?;
        let mut inflated = std::mem::take(&mut self.scratch.inflated);
        let body = match self.half {
            // Paid for already.
            Some(_) => plain_body(batch, &header, source.max_inflated, &mut inflated),
            None => self.scratch.budget.plain_body(batch, &header, source.max_inflated, &mut inflated),
        };
        let result = body.map_err(malformed).and_then(|body| self.records_of(batch, body, &header, source));
        self.scratch.inflated = inflated;
        result
    }

    fn leave_behind(&mut self, header: &BatchHeader) {
        let last = header.base_offset.saturating_add(i64::from(header.last_offset_delta));
        self.behind = self.behind.max(last);
    }

    /// Opens the records of one batch into `out`; on a refusal the batch ends before the refused record.
    fn records_of(&mut self, batch: &[u8], body: &[u8], header: &BatchHeader, source: &Source<'_>) -> Result<(), Stop> {
        let malformed = |error: BatchError| refused(header.base_offset, error);
        let Half { start, mut walk, mut kept, mut last_delta, mut last } = match self.half.take() {
            Some(half) => half,
            None => {
                self.out.reserve(batch.len().max(body.len()));
                let start = start_batch(batch, self.out).map_err(malformed)?;
                let walk = Records::new(0, header.record_count);
                Half { start, walk, kept: 0, last_delta: -1, last: self.behind }
            }
        };
        let mut stopped = None;
        loop {
            let before = (walk, last);
            let record = match walk.next(body).and_then(|record| risen(header, record, &mut last)) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    stopped = Some(Refusal { offset: header.base_offset, reason: Reason::Batch(error) });
                    break;
                }
            };
            let offset = last;
            if offset < source.fetch_offset {
                continue;
            }
            let mark = self.out.len();
            let counted = (self.opened.records, self.opened.bytes);
            match self.record(body, &record, offset, source) {
                Ok(()) => {}
                Err(Reason::Unasked(key_id)) => {
                    let (walk, last) = before;
                    self.half = Some(Half { start, walk, kept, last_delta, last });
                    return Err(Stop::Need(key_id));
                }
                Err(reason) => {
                    self.out.truncate(mark);
                    (self.opened.records, self.opened.bytes) = counted;
                    let refusal = Refusal { offset, reason };
                    if !self.carry_on(body, &record, refusal, source, &mut stopped) {
                        break;
                    }
                    if self.out.len() == mark {
                        continue;
                    }
                }
            }
            kept += 1;
            last_delta = record.offset_delta;
        }
        self.close_batch(start, header, kept, last_delta, stopped.is_some()).map_err(malformed)?;
        self.behind = last;
        self.leave_behind(header);
        stopped.map_or(Ok(()), |refusal| Err(Stop::Refused(refusal)))
    }

    /// Applies `on_unreadable` to a record that could not be opened; false ends the partition there.
    fn carry_on(
        &mut self,
        body: &[u8],
        record: &RecordView,
        refusal: Refusal,
        source: &Source<'_>,
        stopped: &mut Option<Refusal>,
    ) -> bool {
        match source.on_unreadable {
            // A lookup that failed for want of a server is no property of the record: never skipped.
            _ if refusal.reason.is_retriable() => *stopped = Some(refusal),
            OnUnreadable::Fail => *stopped = Some(refusal),
            OnUnreadable::Skip => {
                self.opened.skipped += 1;
                self.opened.refusal.get_or_insert(refusal);
                return true;
            }
            // Sealed bytes may be handed on; plain ones that have no business here never.
            // Nor a deletion that nobody has proved: a null has no sealed bytes.
            OnUnreadable::Opaque if refusal.reason == Reason::NotSealed || record.value.is_none() => {
                *stopped = Some(refusal);
            }
            OnUnreadable::Opaque => {
                self.opened.refusal.get_or_insert(refusal);
                let record = body.get(record.head.start..record.headers.end).unwrap_or_default();
                put_varint(self.out, record.len() as i32);
                self.out.extend_from_slice(record);
                return true;
            }
        }
        false
    }

    /// Completes the batch. One that was cut ends at its last kept record: consumers go on behind a batch's
    /// last offset, and must not step over the refused record. One cut before its first goes altogether.
    fn close_batch(
        &mut self,
        start: usize,
        header: &BatchHeader,
        kept: i32,
        last_delta: i32,
        cut: bool,
    ) -> Result<(), BatchError> {
        if cut && kept == 0 {
            self.out.truncate(start);
            return Ok(());
        }
        let batch = self.out.get_mut(start..).ok_or(BatchError::Truncated)?;
        if cut || kept != header.record_count {
            let last = if cut { last_delta } else { header.last_offset_delta };
            cut_batch(batch, kept, last)?;
        }
        finish_batch(batch)
    }

    fn record(&mut self, body: &[u8], record: &RecordView, offset: i64, source: &Source<'_>) -> Result<(), Reason> {
        let header = Header::parse(sealed_part(body, record)?).map_err(|_| Reason::NotSealed)?;
        let record_key = record.key.as_ref().map(|key| part(body, key)).transpose()?;
        let place = Place { partition: source.partition, record_key };
        let reader = match &source.opener {
            Opener::Client => None,
            Opener::Gateway(sessions) => match sessions.access(&header.key_id()) {
                Access::Granted(reader) => Some(reader),
                Access::Denied(reason) => return Err(reason),
                Access::Unknown => return Err(Reason::Unasked(header.key_id())),
            },
        };
        match (&record.value, reader) {
            (_, None) => self.pass(body, record)?,
            (Some(value), Some(reader)) => self.open_value(body, record, value, &header, &place, reader)?,
            (None, Some(reader)) => self.open_tombstone(body, record, &place, reader)?,
        }
        // Only what has authenticated may say anything about the order.
        self.check_order(&header, offset)
    }

    fn check_order(&mut self, header: &Header, offset: i64) -> Result<(), Reason> {
        self.opened.holes += self.order.observe(header, offset).map_err(Reason::from)?;
        Ok(())
    }

    fn pass(&mut self, body: &[u8], record: &RecordView) -> Result<(), Reason> {
        let whole = part(body, &(record.head.start..record.headers.end))?;
        put_varint(self.out, whole.len() as i32);
        self.out.extend_from_slice(whole);
        Ok(())
    }

    fn open_value(
        &mut self,
        body: &[u8],
        record: &RecordView,
        value: &Range<usize>,
        header: &Header,
        place: &Place<'_>,
        reader: &SessionReader,
    ) -> Result<(), Reason> {
        let head = part(body, &record.head)?;
        let headers = part(body, &record.headers)?;
        let sealed = part(body, value)?;
        if !header.flags().parcel_is_value() {
            return self.open_parcel(head, headers, record.header_count, sealed, place, reader);
        }
        let overhead = header.len() + TAG_LEN;
        let plain_len = sealed.len().checked_sub(overhead).ok_or(Reason::Forged)?;
        let plain = i32::try_from(plain_len).map_err(|_| Reason::Forged)?;
        let length = head.len() + varint_len(plain) + plain_len + varint_len(record.header_count) + headers.len();
        put_varint(self.out, length as i32);
        self.out.extend_from_slice(head);
        put_varint(self.out, plain);
        let from = self.out.len();
        let (envelope, ciphertext) = sealed.split_at_checked(header.len()).ok_or(Reason::Forged)?;
        self.out.extend_from_slice(ciphertext);
        let target = self.out.get_mut(from..).ok_or(Reason::Forged)?;
        let opened = reader.open_within(header, envelope, place, &mut self.scratch.aad, target, 0)?;
        if opened != plain_len {
            return Err(Reason::Forged);
        }
        self.out.truncate(from + plain_len);
        put_varint(self.out, record.header_count);
        self.out.extend_from_slice(headers);
        self.opened.records += 1;
        self.opened.bytes += plain_len as u64;
        Ok(())
    }

    /// A parcel that is more than the value: compressed, padded, or with headers inside.
    fn open_parcel(
        &mut self,
        head: &[u8],
        headers: &[u8],
        header_count: i32,
        sealed: &[u8],
        place: &Place<'_>,
        reader: &SessionReader,
    ) -> Result<(), Reason> {
        // A writer may have compressed it: a batch of small bombs is paid for as one.
        let left = self.scratch.budget.left(self.max_inflated);
        let parcel = match reader.open_parcel(sealed, place, left) {
            Err(barnabas_crypto::Error::ParcelTooLarge { .. }) => {
                return Err(BatchError::from(InflateError::TooLarge).into());
            }
            parcel => parcel?,
        };
        self.scratch.budget.pay(parcel.value.len().saturating_sub(sealed.len()), self.max_inflated)?;
        // Headers that were sealed with the value stand before those that were not.
        self.scratch.headers.clear();
        for header in &parcel.headers {
            put_bytes(&mut self.scratch.headers, Some(&header.key))?;
            put_bytes(&mut self.scratch.headers, header.value.as_deref())?;
        }
        let sealed_headers = i32::try_from(parcel.headers.len()).map_err(|_| Reason::Forged)?;
        let count = header_count.checked_add(sealed_headers).ok_or(Reason::Forged)?;
        let value = &parcel.value;
        let plain = i32::try_from(value.len()).map_err(|_| Reason::Forged)?;
        let inner = self.scratch.headers.len() + headers.len();
        let length = head.len() + varint_len(plain) + value.len() + varint_len(count) + inner;
        put_varint(self.out, i32::try_from(length).map_err(|_| Reason::Forged)?);
        self.out.extend_from_slice(head);
        put_varint(self.out, plain);
        self.out.extend_from_slice(value);
        put_varint(self.out, count);
        self.out.extend_from_slice(&self.scratch.headers);
        self.out.extend_from_slice(headers);
        self.opened.records += 1;
        self.opened.bytes += value.len() as u64;
        Ok(())
    }

    fn open_tombstone(
        &mut self,
        body: &[u8],
        record: &RecordView,
        place: &Place<'_>,
        reader: &SessionReader,
    ) -> Result<(), Reason> {
        reader.verify_tombstone(sealed_part(body, record)?, place, &mut self.scratch.aad)?;
        // The proof is ours; the client's own headers follow it.
        let own = record.first_header(body)?.ok_or(Reason::NotSealed)?.end..record.headers.end;
        let head = part(body, &record.head)?;
        let headers = part(body, &own)?;
        let count = record.header_count - 1;
        let length = head.len() + varint_len(-1) + varint_len(count) + headers.len();
        put_varint(self.out, length as i32);
        self.out.extend_from_slice(head);
        put_varint(self.out, -1);
        put_varint(self.out, count);
        self.out.extend_from_slice(headers);
        self.opened.records += 1;
        Ok(())
    }
}

/// The record, if its offset is above `last`, which it then is. A record at an offset that came before would be taken
/// for a seek backwards, and a replay go unnoticed.
fn risen(header: &BatchHeader, record: Option<RecordView>, last: &mut i64) -> Result<Option<RecordView>, BatchError> {
    if let Some(record) = &record {
        let offset = header.base_offset.checked_add(i64::from(record.offset_delta));
        *last = offset.filter(|offset| offset > last).ok_or(BatchError::Malformed("order of offsets"))?;
    }
    Ok(record)
}

/// Appends a nullable field of a record: its length, and its bytes.
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), Reason> {
    let length = bytes.map_or(Ok(-1), |bytes| i32::try_from(bytes.len()));
    put_varint(out, length.map_err(|_| Reason::Forged)?);
    out.extend_from_slice(bytes.unwrap_or_default());
    Ok(())
}

fn part<'b>(body: &'b [u8], range: &Range<usize>) -> Result<&'b [u8], Reason> {
    body.get(range.clone()).ok_or(Reason::Batch(BatchError::Truncated))
}

fn refused(offset: i64, error: BatchError) -> Stop {
    Stop::Refused(Refusal { offset, reason: Reason::Batch(error) })
}
