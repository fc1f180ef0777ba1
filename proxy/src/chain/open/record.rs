//! Opening one record.
//!
//! Arrives: a record as the broker stored it, and the session that opened its key. Leaves: the record as the producer
//! wrote it: at the front of the same bytes where it is shorter than it was, or in a buffer apart. What must never
//! happen here: a byte leaves that has not authenticated at this place; memory beyond what one response may inflate to.

use std::ops::Range;

use barnabas_crypto::{AadBuffer, Header, Place, SessionReader, TAG_LEN};

use super::page::Front;
use super::{Opened, Scratch};
use crate::chain::refusal::Reason;
use crate::chain::seal::sealed_part;
use crate::frame::batch::{BatchError, InflateError, RecordView, put_varint, varint_len};

/// Opens a value in place. `base` is where the batch's body begins in the page. Gives the length of the value; after an
/// error the front must be taken as it was before.
pub(super) fn open_in_place(
    front: &mut Front<'_>,
    base: usize,
    record: &RecordView,
    header: &Header,
    partition: i32,
    reader: &SessionReader,
    aad: &mut AadBuffer,
) -> Result<usize, Reason> {
    let stored = |range: &Range<usize>| base + range.start..base + range.end;
    let value = stored(record.value.as_ref().ok_or(Reason::Forged)?);
    let overhead = header.len() + TAG_LEN;
    let plain_len = value.len().checked_sub(overhead).ok_or(Reason::Forged)?;
    let plain = to_i32(plain_len)?;
    let length =
        record.head.len() + varint_len(plain) + plain_len + varint_len(record.header_count) + record.headers.len();
    front.put_varint(to_i32(length)?)?;
    let head_at = front.at();
    front.take(stored(&record.head))?;
    front.put_varint(plain)?;
    let plain_at = front.at();
    let (before, rest) = front.rest(value.end)?;
    // The key lies in the head, which has been moved.
    let moved = |key: &Range<usize>| head_at + key.start - record.head.start..head_at + key.end - record.head.start;
    let record_key = record.key.as_ref().map(|key| part(before, &moved(key))).transpose()?;
    let place = Place { partition, record_key };
    let ciphertext_from = (value.start + header.len()).checked_sub(plain_at).ok_or(Reason::Forged)?;
    let opened = reader.open_within(header, header.as_bytes(), &place, aad, rest, ciphertext_from)?;
    if opened != plain_len {
        return Err(Reason::Forged);
    }
    front.skip(plain_len);
    front.put_varint(record.header_count)?;
    front.take(stored(&record.headers))?;
    Ok(plain_len)
}

/// Moves a record to the front as it is.
pub(super) fn pass_in_place(front: &mut Front<'_>, base: usize, record: &RecordView) -> Result<(), Reason> {
    let whole = base + record.head.start..base + record.headers.end;
    front.put_varint(to_i32(whole.len())?)?;
    Ok(front.take(whole)?)
}

/// One record of a body, opened into a buffer apart.
pub(super) struct Apart<'b> {
    pub(super) body: &'b [u8],
    pub(super) record: &'b RecordView,
    pub(super) out: &'b mut Vec<u8>,
    pub(super) scratch: &'b mut Scratch,
    pub(super) opened: &'b mut Opened,
    /// Bound for what the response inflates to.
    pub(super) max_inflated: usize,
}

impl Apart<'_> {
    /// Appends the record as it is.
    pub(super) fn pass(&mut self) -> Result<(), Reason> {
        let whole = part(self.body, &(self.record.head.start..self.record.headers.end))?;
        put_varint(self.out, to_i32(whole.len())?);
        self.out.extend_from_slice(whole);
        Ok(())
    }

    pub(super) fn open_value(
        &mut self,
        value: &Range<usize>,
        header: &Header,
        place: &Place<'_>,
        reader: &SessionReader,
    ) -> Result<(), Reason> {
        let record = self.record;
        let head = part(self.body, &record.head)?;
        let headers = part(self.body, &record.headers)?;
        let sealed = part(self.body, value)?;
        if !header.flags().parcel_is_value() {
            return self.open_parcel(head, headers, sealed, place, reader);
        }
        let overhead = header.len() + TAG_LEN;
        let plain_len = sealed.len().checked_sub(overhead).ok_or(Reason::Forged)?;
        let plain = to_i32(plain_len)?;
        let length = head.len() + varint_len(plain) + plain_len + varint_len(record.header_count) + headers.len();
        put_varint(self.out, to_i32(length)?);
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
        let sealed_headers = to_i32(parcel.headers.len())?;
        let count = self.record.header_count.checked_add(sealed_headers).ok_or(Reason::Forged)?;
        let value = &parcel.value;
        let plain = to_i32(value.len())?;
        let inner = self.scratch.headers.len() + headers.len();
        let length = head.len() + varint_len(plain) + value.len() + varint_len(count) + inner;
        put_varint(self.out, to_i32(length)?);
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

    pub(super) fn open_tombstone(&mut self, place: &Place<'_>, reader: &SessionReader) -> Result<(), Reason> {
        let (body, record) = (self.body, self.record);
        reader.verify_tombstone(sealed_part(body, record)?, place, &mut self.scratch.aad)?;
        // The proof is ours; the client's own headers follow it.
        let own = record.first_header(body)?.ok_or(Reason::NotSealed)?.end..record.headers.end;
        let head = part(body, &record.head)?;
        let headers = part(body, &own)?;
        let count = record.header_count - 1;
        let length = head.len() + varint_len(-1) + varint_len(count) + headers.len();
        put_varint(self.out, to_i32(length)?);
        self.out.extend_from_slice(head);
        put_varint(self.out, -1);
        put_varint(self.out, count);
        self.out.extend_from_slice(headers);
        self.opened.records += 1;
        Ok(())
    }
}

/// Appends a nullable field of a record: its length, and its bytes.
fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), Reason> {
    put_varint(out, bytes.map_or(Ok(-1), |bytes| to_i32(bytes.len()))?);
    out.extend_from_slice(bytes.unwrap_or_default());
    Ok(())
}

pub(super) fn part<'b>(body: &'b [u8], range: &Range<usize>) -> Result<&'b [u8], Reason> {
    body.get(range.clone()).ok_or(Reason::Batch(BatchError::Truncated))
}

fn to_i32(length: usize) -> Result<i32, Reason> {
    i32::try_from(length).map_err(|_| Reason::Forged)
}
