//! Opening: the records of one partition of a Fetch response, on their way to the client.
//!
//! Arrives: batches as the broker gave them, and the sessions that this client may open. Leaves: the same
//! batches with plain values. What must never happen: a record that is not sealed, was moved, replayed or
//! forged reaches the client of a sealed stream. What cannot be opened is handled as the stream's
//! `on_unreadable` says, and under `fail` the records before it are still delivered, so that the client
//! meets the error exactly at the record that caused it.

use std::ops::Range;

use barnabas_crypto::{AadBuffer, Header, KeyId, OrderCheck, Place, SessionReader};

mod page;

mod record;

pub use page::Content;

use page::{Body, Page};
use record::{Apart, open_in_place, part, pass_in_place};

use super::refusal::{Reason, Refusal};
use super::seal::{Budget, plain_body, sealed_part};
use crate::config::OnUnreadable;
use crate::frame::batch::{
    BATCH_OVERHEAD, BatchError, BatchHeader, Codec, Entry, RecordView, Records, cut_batch, entries, finish_batch,
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
    /// Which sessions were used, for the audit log.
    pub uses: Vec<KeyUse>,
}

/// Use of one session within a partition of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// The session; `None` stands for several, beyond what is told apart.
    pub key_id: Option<KeyId>,
    /// Records.
    pub records: u64,
    /// Bytes of their values, in the clear where the gateway has opened them.
    pub bytes: u64,
    /// The lowest and the highest offset.
    pub offsets: (i64, i64),
}

impl Opened {
    /// Counts one record. The session of the record before is nearly always this one's.
    fn used(&mut self, key_id: KeyId, offset: i64, bytes: u64) {
        let known = match self.uses.last_mut() {
            Some(last) if last.key_id == Some(key_id) => self.uses.last_mut(),
            _ => self.used_before(key_id),
        };
        let Some(known) = known else {
            let key_id = (self.uses.len() < MOST_USES).then_some(key_id);
            self.uses.push(KeyUse { key_id, records: 1, bytes, offsets: (offset, offset) });
            return;
        };
        known.records += 1;
        known.bytes += bytes;
        known.offsets = (known.offsets.0.min(offset), known.offsets.1.max(offset));
    }

    fn used_before(&mut self, key_id: KeyId) -> Option<&mut KeyUse> {
        let at = self.uses.iter().rposition(|known| known.key_id == Some(key_id));
        // The last of them stands for all that found no place.
        let rest = self.uses.len().checked_sub(1).filter(|last| *last >= MOST_USES);
        self.uses.get_mut(at.or(rest)?)
    }
}

/// What [`Opening::run`] came to.
#[derive(Debug)]
pub enum Step {
    /// All entries are written, or all up to a refusal.
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
    page: Page<'a>,
    order: &'a mut OrderCheck,
    scratch: &'a mut Scratch,
    /// Entries before this position have been read and written.
    at: usize,
    /// The last offset of what is behind `at`. Offsets rise from record to record, or the broker lies.
    behind: i64,
    /// The batch at `at`, when it waits for a session.
    half: Option<Half>,
    opened: Opened,
    /// Bound for what the response inflates to.
    max_inflated: usize,
}

/// A batch whose records are written up to one that needs a session. It goes on there: opened again from its start, it
/// would look like a replay of itself, and its first records may lie under those that were opened.
struct Half {
    header: BatchHeader,
    /// Where the batch ends among what was stored.
    end: usize,
    /// Where it begins among what is written.
    start: usize,
    walk: Records,
    kept: i32,
    last_delta: i32,
    last: i64,
}

/// The session of the record before: most records of a batch have the same one.
type Recent<'s> = Option<(KeyId, &'s SessionReader)>;

/// Why the walk over a batch ended before its end.
enum Stop {
    Need(KeyId),
    Refused(Refusal),
}

impl<'a> Opening<'a> {
    /// Begins with nothing opened. `records` is worked in: after [`Opening::finish`] its bytes mean nothing but what
    /// the [`Content`] says.
    pub fn new(records: &'a mut [u8], order: &'a mut OrderCheck, scratch: &'a mut Scratch) -> Self {
        Self {
            page: Page::new(records),
            order,
            scratch,
            at: 0,
            behind: i64::MIN,
            half: None,
            opened: Opened::default(),
            max_inflated: 0,
        }
    }

    /// The same in a buffer apart from the start.
    #[cfg(test)]
    pub(super) fn apart(mut self) -> Self {
        self.page.apart(&Body::Inflated(&[]), 0);
        self
    }

    /// What was opened so far, and where it is.
    pub fn finish(self) -> (Opened, Content) {
        (self.opened, self.page.finish())
    }

    /// Opens entry after entry until the end, a refusal, or a session that is not known yet.
    pub fn run(&mut self, source: &Source<'_>) -> Step {
        self.max_inflated = source.max_inflated;
        if source.on_unreadable == OnUnreadable::Opaque {
            // What does not authenticate is handed on as it came, so it must still be there.
            self.page.apart(&Body::Inflated(&[]), 0);
        }
        loop {
            let (begins, end) = (self.at, self.page.records().len());
            let entry = match &self.half {
                // Its header may be written over.
                Some(half) => Some(Ok(Entry::Batch(0..half.end.saturating_sub(begins)))),
                None => entries(self.page.records().get(begins..).unwrap_or_default()).next(),
            };
            let Some(entry) = entry else { return Step::Done };
            let next = match &entry {
                Ok(Entry::Batch(range) | Entry::Legacy(range, _) | Entry::Partial(range)) => begins + range.end,
                Err(_) => end,
            };
            match self.entry(begins..next, entry, source) {
                Ok(()) => self.at = next,
                Err(Stop::Need(key_id)) => return Step::NeedSession(key_id),
                Err(Stop::Refused(refusal)) => {
                    self.opened.refusal = Some(refusal);
                    self.opened.stopped = true;
                    self.at = end;
                    return Step::Done;
                }
            }
        }
    }

    fn entry(
        &mut self,
        range: Range<usize>,
        entry: Result<Entry, BatchError>,
        source: &Source<'_>,
    ) -> Result<(), Stop> {
        let unplaced = |reason| Stop::Refused(Refusal { offset: source.fetch_offset, reason });
        match entry {
            Ok(Entry::Batch(_)) => self.batch(range, source),
            Ok(Entry::Legacy(..)) => {
                let offset = self.page.records().get(range).and_then(|bytes| bytes.first_chunk::<8>());
                let offset = offset.map_or(source.fetch_offset, |bytes| i64::from_be_bytes(*bytes));
                Err(Stop::Refused(Refusal { offset, reason: Reason::NotSealed }))
            }
            Ok(Entry::Partial(_)) => {
                // Clients ignore a cut-off last batch. When it is all there is, it is their sign that the
                // fetch limit is too small, and they need to see it.
                if self.page.len() == 0 {
                    self.page.keep(range).map_err(|error| unplaced(Reason::Batch(error)))?;
                }
                Ok(())
            }
            Err(error) => Err(unplaced(Reason::Batch(error))),
        }
    }

    fn batch(&mut self, range: Range<usize>, source: &Source<'_>) -> Result<(), Stop> {
        let batch = self.page.records().get(range.clone()).unwrap_or_default();
        let resumed = self.half.is_some();
        let header = match &self.half {
            Some(half) => half.header,
            None => BatchHeader::parse(batch).map_err(|error| refused(source.fetch_offset, error))?,
        };
        let malformed = |error: BatchError| refused(header.base_offset, error);
        if header.attributes.is_control() {
            self.page.keep(range).map_err(malformed)?;
            self.leave_behind(&header);
            return Ok(());
        }
        if !resumed {
            BatchHeader::check_crc(batch).map_err(malformed)?;
        }
        if header.attributes.codec().map_err(malformed)? == Codec::None {
            return self.records_of(
                range.clone(),
                &Body::Stored(range.start + BATCH_OVERHEAD..range.end),
                &header,
                source,
            );
        }
        self.page.apart(&Body::Inflated(&[]), 0);
        let batch = self.page.records().get(range.clone()).unwrap_or_default();
        let mut inflated = std::mem::take(&mut self.scratch.inflated);
        let body = match resumed {
            // Paid for already.
            true => plain_body(batch, &header, source.max_inflated, &mut inflated),
            false => self.scratch.budget.plain_body(batch, &header, source.max_inflated, &mut inflated),
        };
        let failed = body.err().map(malformed);
        let result = failed.map_or_else(|| self.records_of(range, &Body::Inflated(&inflated), &header, source), Err);
        self.scratch.inflated = inflated;
        result
    }

    fn leave_behind(&mut self, header: &BatchHeader) {
        let last = header.base_offset.saturating_add(i64::from(header.last_offset_delta));
        self.behind = self.behind.max(last);
    }

    /// Writes the batch's header, and what is needed to go on from there.
    fn begin(&mut self, range: &Range<usize>, body: &Body<'_>, header: &BatchHeader) -> Result<Half, BatchError> {
        if let Body::Inflated(bytes) = body {
            self.page.apart(body, range.len().max(bytes.len()));
        }
        let start = self.page.len();
        self.page.keep(range.start..range.start + BATCH_OVERHEAD)?;
        let walk = Records::new(0, header.record_count);
        Ok(Half { header: *header, end: range.end, start, walk, kept: 0, last_delta: -1, last: self.behind })
    }

    /// Opens the records of one batch; on a refusal the batch ends before the refused record.
    fn records_of(
        &mut self,
        range: Range<usize>,
        body: &Body<'_>,
        header: &BatchHeader,
        source: &Source<'_>,
    ) -> Result<(), Stop> {
        let malformed = |error: BatchError| refused(header.base_offset, error);
        let mut half = match self.half.take() {
            Some(half) => half,
            None => self.begin(&range, body, header).map_err(malformed)?,
        };
        let mut stopped = None;
        let mut recent = None;
        loop {
            let before = (half.walk, half.last);
            let next = half.walk.next(self.page.body(body));
            let record = match next.and_then(|record| risen(header, record, &mut half.last)) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    stopped = Some(Refusal { offset: header.base_offset, reason: Reason::Batch(error) });
                    break;
                }
            };
            let offset = half.last;
            if offset < source.fetch_offset {
                continue;
            }
            let mark = self.page.len();
            let counted = (self.opened.records, self.opened.bytes);
            match self.record(body, &record, offset, source, &mut recent) {
                Ok(key_id) => {
                    let bytes = match source.opener {
                        Opener::Gateway(_) => self.opened.bytes - counted.1,
                        Opener::Client => record.value.as_ref().map_or(0, |value| value.len() as u64),
                    };
                    self.opened.used(key_id, offset, bytes);
                }
                Err(Reason::Unasked(key_id)) => {
                    (half.walk, half.last) = before;
                    self.half = Some(half);
                    return Err(Stop::Need(key_id));
                }
                Err(reason) => {
                    self.page.truncate(mark);
                    (self.opened.records, self.opened.bytes) = counted;
                    let refusal = Refusal { offset, reason };
                    if !self.carry_on(body, &record, refusal, source, &mut stopped) {
                        break;
                    }
                    if self.page.len() == mark {
                        continue;
                    }
                }
            }
            half.kept += 1;
            half.last_delta = record.offset_delta;
        }
        self.close_batch(&half, stopped.is_some()).map_err(malformed)?;
        self.behind = half.last;
        self.leave_behind(header);
        stopped.map_or(Ok(()), |refusal| Err(Stop::Refused(refusal)))
    }

    /// Applies `on_unreadable` to a record that could not be opened; false ends the partition there.
    fn carry_on(
        &mut self,
        body: &Body<'_>,
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
            OnUnreadable::Opaque if self.pass(body, record).is_err() => *stopped = Some(refusal),
            OnUnreadable::Opaque => {
                self.opened.refusal.get_or_insert(refusal);
                return true;
            }
        }
        false
    }

    /// Completes the batch. One that was cut ends at its last kept record: consumers go on behind a batch's
    /// last offset, and must not step over the refused record. One cut before its first goes altogether.
    fn close_batch(&mut self, half: &Half, cut: bool) -> Result<(), BatchError> {
        let Half { header, start, kept, last_delta, .. } = half;
        if cut && *kept == 0 {
            self.page.truncate(*start);
            return Ok(());
        }
        let batch = self.page.written(*start)?;
        if cut || *kept != header.record_count {
            let last = if cut { *last_delta } else { header.last_offset_delta };
            cut_batch(batch, *kept, last)?;
        }
        finish_batch(batch)
    }

    fn record<'s>(
        &mut self,
        body: &Body<'_>,
        record: &RecordView,
        offset: i64,
        source: &'s Source<'s>,
        recent: &mut Recent<'s>,
    ) -> Result<KeyId, Reason> {
        let header = Header::parse(sealed_part(self.page.body(body), record)?).map_err(|_| Reason::NotSealed)?;
        let Opener::Gateway(sessions) = &source.opener else {
            self.pass(body, record)?;
            self.check_order(&header, offset)?;
            return Ok(header.key_id());
        };
        let key_id = header.key_id();
        let reader = match recent {
            Some((known, reader)) if *known == key_id => *reader,
            _ => match sessions.access(&key_id) {
                Access::Granted(reader) => reader,
                Access::Denied(reason) => return Err(reason),
                Access::Unknown => return Err(Reason::Unasked(key_id)),
            },
        };
        *recent = Some((key_id, reader));
        if !self.try_in_place(body, record, &header, source.partition, reader)? {
            self.open_apart(body, record, &header, source.partition, reader)?;
        }
        // Only what has authenticated may say anything about the order.
        self.check_order(&header, offset)?;
        Ok(key_id)
    }

    fn check_order(&mut self, header: &Header, offset: i64) -> Result<(), Reason> {
        self.opened.holes += self.order.observe(header, offset).map_err(Reason::from)?;
        Ok(())
    }

    /// Hands the record on as it is.
    fn pass(&mut self, body: &Body<'_>, record: &RecordView) -> Result<(), Reason> {
        if let Body::Stored(stored) = body
            && let Some(mut front) = self.page.front(stored.start + record.headers.end)
        {
            pass_in_place(&mut front, stored.start, record)?;
            let at = front.at();
            self.page.advance(at);
            return Ok(());
        }
        self.record_apart(body, record).0.pass()
    }

    /// Opens a plain value where it lies; false when the record is of another kind, or all is written apart.
    fn try_in_place(
        &mut self,
        body: &Body<'_>,
        record: &RecordView,
        header: &Header,
        partition: i32,
        reader: &SessionReader,
    ) -> Result<bool, Reason> {
        let Body::Stored(stored) = body else { return Ok(false) };
        if record.value.is_none() || !header.flags().parcel_is_value() {
            return Ok(false);
        }
        let Some(mut front) = self.page.front(stored.start + record.headers.end) else { return Ok(false) };
        let aad = &mut self.scratch.aad;
        let bytes = open_in_place(&mut front, stored.start, record, header, partition, reader, aad)?;
        let at = front.at();
        self.page.advance(at);
        self.opened.records += 1;
        self.opened.bytes += bytes as u64;
        Ok(true)
    }

    fn open_apart(
        &mut self,
        body: &Body<'_>,
        record: &RecordView,
        header: &Header,
        partition: i32,
        reader: &SessionReader,
    ) -> Result<(), Reason> {
        let (mut apart, bytes) = self.record_apart(body, record);
        let record_key = record.key.as_ref().map(|key| part(bytes, key)).transpose()?;
        let place = Place { partition, record_key };
        match &record.value {
            Some(value) => apart.open_value(value, header, &place, reader),
            None => apart.open_tombstone(&place, reader),
        }
    }

    /// From here on in a buffer apart; gives also the bytes of the body.
    fn record_apart<'x>(&'x mut self, body: &'x Body<'x>, record: &'x RecordView) -> (Apart<'x>, &'x [u8]) {
        let (body, out) = self.page.apart(body, 0);
        let Self { scratch, opened, max_inflated, .. } = self;
        (Apart { body, record, out, scratch, opened, max_inflated: *max_inflated }, body)
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

/// A writer has one session for a stream and epoch; more writers in one answer than this are told together.
const MOST_USES: usize = 64;

fn refused(offset: i64, error: BatchError) -> Stop {
    Stop::Refused(Refusal { offset, reason: Reason::Batch(error) })
}
