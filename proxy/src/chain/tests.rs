//! Sealing and opening against each other, on batches of every form, and against a broker that lies.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use barnabas_crypto::parcel::{ParcelHeader, ParcelPlan};
use barnabas_crypto::{
    EpochNumber, Flags, Header, KeyId, Lane, OrderCheck, Place, Session, SessionLimits, SessionReader, SessionTerms,
    StreamId, Suite, UnixMillis,
};
use proptest::prelude::*;

use super::open::{self, Access, Content, Opened, Opener, Opening, Sessions, Source, Step};
use super::refusal::Reason;
use super::seal::{self, SealTerms, seal_records};
use crate::config::{Compress, OnUnreadable};
use crate::frame::batch::{BATCH_OVERHEAD, BatchHeader, Records, entries, finish_batch, put_varint};

#[derive(Debug, Clone, PartialEq)]
struct Plain {
    timestamp_delta: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn record(value: &[u8]) -> Plain {
    Plain { timestamp_delta: 0, key: Some(b"key".to_vec()), value: Some(value.to_vec()), headers: Vec::new() }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |bytes| bytes.len() as i32));
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// A batch as a producer writes it, with a place in the log that must survive.
fn batch(base_offset: i64, records: &[Plain], codec: i16) -> Vec<u8> {
    let mut body = Vec::new();
    for (delta, record) in records.iter().enumerate() {
        let mut bytes = vec![0];
        put_varint(&mut bytes, record.timestamp_delta);
        put_varint(&mut bytes, delta as i32);
        put_bytes(&mut bytes, record.key.as_deref());
        put_bytes(&mut bytes, record.value.as_deref());
        put_varint(&mut bytes, record.headers.len() as i32);
        for (key, value) in &record.headers {
            put_bytes(&mut bytes, Some(key));
            put_bytes(&mut bytes, value.as_deref());
        }
        put_varint(&mut body, bytes.len() as i32);
        body.extend_from_slice(&bytes);
    }
    let body = match codec {
        0 => body,
        1 => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(&body).unwrap();
            writer.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(&body).unwrap(),
        3 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(&body).unwrap();
            writer.finish().unwrap()
        }
        _ => zstd::encode_all(&body[..], 1).unwrap(),
    };
    let mut batch = base_offset.to_be_bytes().to_vec();
    batch.extend_from_slice(&[0; 4]); // length
    batch.extend_from_slice(&7i32.to_be_bytes()); // leader epoch
    batch.push(2);
    batch.extend_from_slice(&[0; 4]); // crc
    batch.extend_from_slice(&(0x10i16).to_be_bytes()); // transactional
    batch.extend_from_slice(&(records.len() as i32 - 1).to_be_bytes());
    batch.extend_from_slice(&1_700_000_000_000i64.to_be_bytes());
    batch.extend_from_slice(&1_700_000_000_999i64.to_be_bytes());
    batch.extend_from_slice(&4711i64.to_be_bytes());
    batch.extend_from_slice(&3i16.to_be_bytes());
    batch.extend_from_slice(&12i32.to_be_bytes());
    batch.extend_from_slice(&(records.len() as i32).to_be_bytes());
    batch.extend_from_slice(&body);
    finish_batch(&mut batch).unwrap();
    with_codec(batch, codec)
}

/// `finish_batch` clears the codec; this sets it again, as a producer's batch has it.
fn with_codec(mut batch: Vec<u8>, codec: i16) -> Vec<u8> {
    batch[22] |= codec as u8;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]) as u32;
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn read(batch: &[u8]) -> Vec<Plain> {
    BatchHeader::check_crc(batch).unwrap();
    let header = BatchHeader::parse(batch).unwrap();
    let body = &batch[BATCH_OVERHEAD..];
    let mut walk = Records::new(0, header.record_count);
    let mut records = Vec::new();
    while let Some(view) = walk.next(body).unwrap() {
        let bytes = |range: &Option<std::ops::Range<usize>>| range.clone().map(|range| body[range].to_vec());
        let mut headers = Vec::new();
        let mut rest = view.clone();
        while let Some(first) = rest.first_header(body).unwrap() {
            headers.push((body[first.key].to_vec(), bytes(&first.value)));
            rest.headers.start = first.end;
            rest.header_count -= 1;
        }
        records.push(Plain {
            timestamp_delta: view.timestamp_delta as i32,
            key: bytes(&view.key),
            value: bytes(&view.value),
            headers,
        });
    }
    records
}

/// One session that is known and granted; everything else is unknown.
struct One(SessionReader);

impl Sessions for One {
    fn access(&self, key_id: &KeyId) -> Access<'_> {
        if *key_id == self.0.key_id() { Access::Granted(&self.0) } else { Access::Denied(Reason::UnknownSession) }
    }
}

fn pair(key_id: u8) -> (Lane, One) {
    let terms = SessionTerms {
        stream: StreamId::from_bytes([1; 16]),
        epoch: EpochNumber::FIRST,
        suite: Suite::Aes256Gcm,
        binding: Flags::BOUND,
        not_after: UnixMillis::NEVER,
        limits: SessionLimits::of(Suite::Aes256Gcm),
    };
    let drawn = Session::draw(terms).unwrap();
    let key_id = KeyId::from_bytes([key_id; 16]);
    let reader = drawn.reader(key_id).unwrap();
    (drawn.into_session(key_id).lane().unwrap(), One(reader))
}

fn sealed(lane: &mut Lane, records: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    seal_records(records, lane, &TERMS, &mut seal::Scratch::default(), &mut out).unwrap();
    out
}

const TERMS: SealTerms = SealTerms { partition: 5, compress: Compress::None, max_inflated: 1 << 24 };

fn source<'a>(sessions: &'a One, on_unreadable: OnUnreadable, fetch_offset: i64) -> Source<'a> {
    let opener = Opener::Gateway(sessions);
    Source { partition: 5, fetch_offset, on_unreadable, max_inflated: 1 << 24, opener }
}

fn opened(records: &[u8], source: &Source<'_>, order: &mut OrderCheck) -> (Vec<u8>, Opened) {
    let (mut scratch, mut page) = (open::Scratch::default(), records.to_vec());
    let mut opening = Opening::new(&mut page, order, &mut scratch);
    assert!(matches!(opening.run(source), Step::Done));
    let (opened, content) = opening.finish();
    (written(&page, content), opened)
}

fn written(page: &[u8], content: Content) -> Vec<u8> {
    match content {
        Content::Front(length) => page[..length].to_vec(),
        Content::Apart(bytes) => bytes.to_vec(),
    }
}

fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn any_record() -> impl Strategy<Value = Plain> {
    let header = (any_bytes(8), proptest::option::of(any_bytes(20)));
    let headers = prop_oneof![
        proptest::collection::vec(header, 0..4),
        Just(vec![(b"bnb".to_vec(), None), (b"bnb".to_vec(), Some(vec![1; 44]))]),
    ];
    (any::<i32>(), proptest::option::of(any_bytes(40)), proptest::option::of(any_bytes(300)), headers)
        .prop_map(|(timestamp_delta, key, value, headers)| Plain { timestamp_delta, key, value, headers })
}

proptest! {
    #[test]
    fn in_place_and_apart_are_the_same_whatever_the_broker_changed(
        records in proptest::collection::vec(any_record(), 1..12),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0u8..8), 0..3),
        skip in any::<bool>(),
    ) {
        let (mut lane, sessions) = pair(9);
        let mut stored = sealed(&mut lane, &batch(7, &records, 0));
        let body = BATCH_OVERHEAD..stored.len();
        for (at, bit) in flips {
            let at = body.start + at.index(body.len());
            stored[at] ^= 1 << bit;
        }
        finish_batch(&mut stored).unwrap();
        let on_unreadable = if skip { OnUnreadable::Skip } else { OnUnreadable::Fail };
        let outcome = |apart: bool| {
            let (mut order, mut scratch, mut page) = (OrderCheck::default(), open::Scratch::default(), stored.clone());
            let opening = Opening::new(&mut page, &mut order, &mut scratch);
            let mut opening = if apart { opening.apart() } else { opening };
            assert!(matches!(opening.run(&source(&sessions, on_unreadable, 0)), Step::Done));
            let (opened, content) = opening.finish();
            (format!("{opened:?}"), written(&page, content))
        };
        prop_assert_eq!(outcome(false), outcome(true));
    }

    #[test]
    fn what_goes_in_comes_out_and_its_place_stays(
        records in proptest::collection::vec(any_record(), 1..20),
        codec in 0i16..5,
        base_offset in 0i64..1_000_000,
    ) {
        let plain = batch(base_offset, &records, codec);
        let (mut lane, sessions) = pair(9);
        let stored = sealed(&mut lane, &plain);
        for record in records.iter().filter_map(|record| record.value.as_ref()).filter(|value| value.len() > 8) {
            prop_assert!(!stored.windows(record.len()).any(|window| window == &record[..]));
        }
        prop_assert_eq!(&stored[..8], &plain[..8]);
        prop_assert_eq!(&stored[23..61], &plain[23..61], "timestamps, producer, count");
        let source = source(&sessions, OnUnreadable::Fail, base_offset);
        let (back, opened) = opened(&stored, &source, &mut OrderCheck::default());
        prop_assert!(opened.refusal.is_none(), "{:?}", opened.refusal);
        prop_assert_eq!(read(&back), records);
        prop_assert_eq!(&back[23..61], &plain[23..61]);
    }

    #[test]
    fn no_byte_of_a_stored_batch_makes_the_opener_panic(
        at in 0usize..600, bit in 0u8..8, cut in 0usize..600,
    ) {
        let (mut lane, sessions) = pair(9);
        let mut stored = sealed(&mut lane, &batch(0, &vec![record(b"some value"); 5], 0));
        let last = stored.len() - 1;
        stored[at.min(last)] ^= 1 << bit;
        stored.truncate(stored.len() - cut.min(last));
        let source = source(&sessions, OnUnreadable::Skip, 0);
        opened(&stored, &source, &mut OrderCheck::default());
    }
}

#[test]
fn records_before_a_bad_one_are_delivered_and_the_batch_ends_there() {
    let (mut lane, sessions) = pair(9);
    let records: Vec<Plain> = (0..5).map(|n| record(format!("value {n}").as_bytes())).collect();
    let mut stored = sealed(&mut lane, &batch(100, &records, 0));
    // A byte of the fourth value; with a CRC that fits, as a broker that lies would give it.
    let at = stored.len() - 60 - 30;
    stored[at] ^= 1;
    let stored = with_codec(stored, 0);
    let (back, outcome) = opened(&stored, &source(&sessions, OnUnreadable::Fail, 100), &mut OrderCheck::default());
    let refusal = outcome.refusal.unwrap();
    assert_eq!((refusal.offset, refusal.reason), (103, Reason::Forged));
    assert_eq!(read(&back), records[..3]);
    assert_eq!(BatchHeader::parse(&back).unwrap().last_offset_delta, 2);
    // The client goes on at the bad record, and now hears of it.
    let (nothing, outcome) = opened(&stored, &source(&sessions, OnUnreadable::Fail, 103), &mut OrderCheck::default());
    assert!(nothing.is_empty());
    assert_eq!(outcome.refusal.unwrap().offset, 103);
    // Under skip it is left out, and the offsets of the others stay.
    let (back, outcome) = opened(&stored, &source(&sessions, OnUnreadable::Skip, 100), &mut OrderCheck::default());
    assert_eq!(outcome.skipped, 1);
    assert_eq!(read(&back).len(), 4);
    assert_eq!(BatchHeader::parse(&back).unwrap().last_offset_delta, 4);
}

#[test]
fn plain_records_on_a_sealed_stream_are_refused_under_every_setting() {
    let (_, sessions) = pair(9);
    for value in [Some(b"plain".to_vec()), None, Some(Vec::new())] {
        let injected = batch(0, &[Plain { value, ..record(b"") }], 0);
        for setting in [OnUnreadable::Fail, OnUnreadable::Opaque, OnUnreadable::Skip] {
            let (back, outcome) = opened(&injected, &source(&sessions, setting, 0), &mut OrderCheck::default());
            assert_eq!(outcome.refusal.unwrap().reason, Reason::NotSealed);
            assert!(back.is_empty() || read(&back).is_empty(), "{setting:?}");
        }
    }
}

#[test]
fn replayed_and_reordered_batches_are_refused() {
    let (mut lane, sessions) = pair(9);
    let first = sealed(&mut lane, &batch(0, &[record(b"one"), record(b"two")], 0));
    let second = sealed(&mut lane, &batch(2, &[record(b"three")], 0));
    let at_offset = |batch: &[u8], offset: i64| [&offset.to_be_bytes(), &batch[8..]].concat();
    let check = |order: &mut OrderCheck, batch: &[u8], offset: i64| {
        let source = source(&sessions, OnUnreadable::Fail, offset);
        opened(&at_offset(batch, offset), &source, order).1.refusal.map(|refusal| refusal.reason)
    };
    let mut order = OrderCheck::default();
    assert_eq!(check(&mut order, &first, 0), None);
    assert_eq!(check(&mut order, &second, 2), None);
    assert_eq!(check(&mut order, &second, 3), Some(Reason::Replayed));
    assert_eq!(check(&mut order, &first, 3), Some(Reason::Reordered));
    // A client that seeks back reads again.
    assert_eq!(check(&mut order, &first, 0), None);
    // A broker that answers with records from before the position cannot make the check forget.
    let mut order = OrderCheck::default();
    assert_eq!(check(&mut order, &first, 0), None);
    let both = [at_offset(&first, 0), at_offset(&first, 2)].concat();
    let lie = opened(&both, &source(&sessions, OnUnreadable::Fail, 2), &mut order).1;
    assert_eq!(lie.refusal.map(|refusal| refusal.reason), Some(Reason::Reordered));
}

#[test]
fn a_record_does_not_open_in_another_partition() {
    let (mut lane, sessions) = pair(9);
    let stored = sealed(&mut lane, &batch(0, &[record(b"one")], 0));
    let elsewhere = Source { partition: 6, ..source(&sessions, OnUnreadable::Fail, 0) };
    let outcome = opened(&stored, &elsewhere, &mut OrderCheck::default()).1;
    assert_eq!(outcome.refusal.unwrap().reason, Reason::Forged);
}

#[test]
fn several_batches_and_a_cut_off_last_one() {
    let (mut lane, sessions) = pair(9);
    let mut stored = sealed(&mut lane, &batch(0, &[record(b"one")], 0));
    let whole = stored.len();
    stored.extend(sealed(&mut lane, &batch(1, &[record(b"two")], 4)));
    let both = stored.len();
    stored.extend_from_slice(&sealed(&mut lane, &batch(2, &[record(b"three")], 0))[..40]);
    let (back, outcome) = opened(&stored, &source(&sessions, OnUnreadable::Fail, 0), &mut OrderCheck::default());
    assert!(outcome.refusal.is_none());
    assert_eq!(outcome.records, 2);
    assert_eq!(entries(&back).count(), 2);
    assert!(both > whole);
}

#[test]
fn control_batches_pass_untouched_and_clients_may_not_write_them() {
    let (mut lane, sessions) = pair(9);
    let mut control = batch(3, &[record(b"marker")], 0);
    control[22] |= 0x20;
    let control = with_codec(control, 0);
    let (back, outcome) = opened(&control, &source(&sessions, OnUnreadable::Fail, 3), &mut OrderCheck::default());
    assert!(outcome.refusal.is_none());
    assert_eq!(back, control);
    let mut out = Vec::new();
    let written = seal_records(&control, &mut lane, &TERMS, &mut seal::Scratch::default(), &mut out);
    assert!(matches!(written, Err(seal::SealError::Control)));
}

#[test]
fn a_record_compressed_before_it_was_sealed_comes_back_and_is_smaller() {
    let (mut lane, sessions) = pair(9);
    let text = b"{\"status\":\"shipped\",\"country\":\"nowhere\"}".repeat(40);
    let plain = batch(0, &[record(&text), record(b"short")], 0);
    let terms = SealTerms { compress: Compress::Record, ..TERMS };
    let mut stored = Vec::new();
    seal_records(&plain, &mut lane, &terms, &mut seal::Scratch::default(), &mut stored).unwrap();
    assert!(stored.len() < plain.len() / 4);
    let (back, outcome) = opened(&stored, &source(&sessions, OnUnreadable::Fail, 0), &mut OrderCheck::default());
    assert!(outcome.refusal.is_none());
    assert_eq!(read(&back), read(&plain));
}

#[test]
fn headers_that_were_sealed_with_the_value_are_delivered() {
    let (mut lane, sessions) = pair(9);
    let inside = [ParcelHeader { key: b"inside".to_vec(), value: Some(b"1".to_vec()) }];
    let plan = ParcelPlan { headers: Some((1, &inside)), codec: None, bucket: None };
    let place = Place { partition: 5, record_key: Some(b"key") };
    let mut value = Vec::new();
    lane.seal_parcel(&place, &plan, b"value", &mut value).unwrap();
    let outside = vec![(b"outside".to_vec(), None)];
    let stored = batch(0, &[Plain { value: Some(value), headers: outside.clone(), ..record(b"") }], 0);
    let (back, outcome) = opened(&stored, &source(&sessions, OnUnreadable::Fail, 0), &mut OrderCheck::default());
    assert!(outcome.refusal.is_none());
    let headers = [vec![(b"inside".to_vec(), Some(b"1".to_vec()))], outside].concat();
    assert_eq!(read(&back), [Plain { headers, ..record(b"value") }]);
}

#[test]
fn hostile_batches_to_seal_are_refused_and_nothing_leaves() {
    let (mut lane, _) = pair(9);
    let good = batch(0, &[record(b"value"), record(b"other")], 0);
    let count_lie = with_codec([&good[..57], &i32::MAX.to_be_bytes(), &good[61..]].concat(), 0);
    let mut bad_crc = good.clone();
    bad_crc[30] ^= 1;
    let bomb = batch(0, &[record(&vec![0; 20 << 20])], 4);
    for hostile in [count_lie, bad_crc, bomb, good[..40].to_vec(), vec![0xff; 200]] {
        let mut out = Vec::new();
        let sealed = seal_records(
            &hostile,
            &mut lane,
            &SealTerms { max_inflated: 1 << 20, ..TERMS },
            &mut seal::Scratch::default(),
            &mut out,
        );
        assert!(sealed.is_err());
        assert!(out.capacity() < 8 << 20, "took {}", out.capacity());
    }
}

/// Counts how often it is asked.
#[derive(Default)]
struct Asked(AtomicUsize);

impl seal::ClientSealed for Asked {
    fn check(&self, header: &Header) -> Result<(), Reason> {
        self.0.fetch_add(1, Ordering::SeqCst);
        if header.key_id() == KeyId::from_bytes([9; 16]) { Ok(()) } else { Err(Reason::UnknownSession) }
    }
}

#[test]
fn records_that_a_client_sealed_are_all_looked_at_and_each_session_is_asked_about_once() {
    let (mut lane, _) = pair(9);
    let (mut other, _) = pair(8);
    let stored = sealed(&mut lane, &batch(0, &vec![record(b"value"); 50], 0));
    let check =
        |rules: &Asked, records: &[u8]| seal::check_sealed(records, rules, 1 << 20, &mut seal::Scratch::default());
    let rules = Asked::default();
    check(&rules, &stored).unwrap();
    assert_eq!(rules.0.into_inner(), 1);
    let foreign = sealed(&mut other, &batch(0, &[record(b"value")], 0));
    let mixed = merged(&stored, &foreign);
    assert_eq!(check(&Asked::default(), &mixed), Err(Reason::UnknownSession));
    let plain = merged(&stored, &batch(0, &[record(b"plain")], 0));
    assert_eq!(check(&Asked::default(), &plain), Err(Reason::NotSealed));
}

/// Like [`One`], but a second session is not known at first.
struct Late(One, KeyId, AtomicBool);

impl Sessions for Late {
    fn access(&self, key_id: &KeyId) -> Access<'_> {
        if *key_id == self.1 && !self.2.load(Ordering::Relaxed) { Access::Unknown } else { self.0.access(key_id) }
    }
}

/// Two batches as one, the second one's records behind the first one's.
fn merged(first: &[u8], second: &[u8]) -> Vec<u8> {
    let count = |batch: &[u8]| BatchHeader::parse(batch).unwrap().record_count;
    let total = count(first) + count(second);
    let mut batch = [&first[..57], &total.to_be_bytes(), &first[BATCH_OVERHEAD..], &second[BATCH_OVERHEAD..]].concat();
    batch[23..27].copy_from_slice(&(total - 1).to_be_bytes());
    finish_batch(&mut batch).unwrap();
    batch
}

/// A batch of one record whose offset delta is given.
fn with_delta(batch: &[u8], delta: u8) -> Vec<u8> {
    let mut batch = batch.to_vec();
    let length_bytes = 1 + usize::from(batch[BATCH_OVERHEAD] & 0x80 != 0);
    batch[BATCH_OVERHEAD + length_bytes + 2] = delta * 2;
    finish_batch(&mut batch).unwrap();
    batch
}

#[test]
fn a_batch_that_waits_for_a_session_goes_on_where_it_stopped() {
    let (mut lane, sessions) = pair(9);
    let (mut other, _) = pair(8);
    let one = sealed(&mut lane, &batch(0, &[record(b"one")], 0));
    let replay = with_delta(&one, 1);
    let late = with_delta(&sealed(&mut other, &batch(0, &[record(b"two")], 0)), 2);
    let last = with_delta(&sealed(&mut lane, &batch(0, &[record(b"three")], 0)), 3);
    let stored = merged(&merged(&merged(&one, &replay), &late), &last);
    let sessions = Late(sessions, KeyId::from_bytes([8; 16]), AtomicBool::new(false));
    let source = Source {
        partition: 5,
        fetch_offset: 0,
        on_unreadable: OnUnreadable::Skip,
        max_inflated: 1 << 24,
        opener: Opener::Gateway(&sessions),
    };
    let (mut order, mut scratch, mut page) = (OrderCheck::default(), open::Scratch::default(), stored);
    let mut opening = Opening::new(&mut page, &mut order, &mut scratch);
    assert!(matches!(opening.run(&source), Step::NeedSession(_)));
    sessions.2.store(true, Ordering::Relaxed);
    assert!(matches!(opening.run(&source), Step::Done));
    let (opened, content) = opening.finish();
    let out = written(&page, content);
    // The replay stays out, and nothing is counted twice.
    assert_eq!((opened.records, opened.skipped), (2, 2));
    assert_eq!(opened.refusal.unwrap().reason, Reason::Replayed);
    assert_eq!(
        read(&out).iter().map(|record| record.value.clone().unwrap()).collect::<Vec<_>>(),
        [b"one".to_vec(), b"three".to_vec()]
    );
}

#[test]
fn offsets_that_do_not_rise_are_refused_in_both_directions() {
    let (mut lane, sessions) = pair(9);
    let stored = sealed(&mut lane, &batch(7, &[record(b"one")], 0));
    // The same batch twice in one answer, with the same offsets.
    let twice = [stored.clone(), stored.clone()].concat();
    let (back, outcome) = opened(&twice, &source(&sessions, OnUnreadable::Fail, 0), &mut OrderCheck::default());
    assert_eq!(entries(&back).count(), 1);
    assert!(matches!(outcome.refusal.unwrap().reason, Reason::Batch(_)));
    // The same record twice in one batch.
    let (back, outcome) =
        opened(&merged(&stored, &stored), &source(&sessions, OnUnreadable::Skip, 0), &mut OrderCheck::default());
    assert_eq!(read(&back).len(), 1);
    assert!(outcome.stopped);
    // At the end of all offsets nothing overflows.
    let mut end = with_delta(&stored, 1);
    end[..8].copy_from_slice(&i64::MAX.to_be_bytes());
    let (_, outcome) = opened(&end, &source(&sessions, OnUnreadable::Fail, 0), &mut OrderCheck::default());
    assert!(outcome.stopped);
    let plain = batch(0, &[record(b"one")], 0);
    let mut out = Vec::new();
    let sealed = seal_records(&merged(&plain, &plain), &mut lane, &TERMS, &mut seal::Scratch::default(), &mut out);
    assert!(sealed.is_err());
}

#[test]
fn a_forged_deletion_is_not_handed_on_as_opaque_bytes() {
    let (mut lane, sessions) = pair(9);
    let mut stored = sealed(&mut lane, &batch(0, &[Plain { value: None, ..record(b"") }], 0));
    // The last byte of the proof's tag.
    let last = stored.len() - 1;
    stored[last] ^= 1;
    finish_batch(&mut stored).unwrap();
    let (back, outcome) = opened(&stored, &source(&sessions, OnUnreadable::Opaque, 0), &mut OrderCheck::default());
    assert_eq!(outcome.refusal.unwrap().reason, Reason::Forged);
    assert!(outcome.stopped && back.is_empty());
}

#[test]
fn many_small_bombs_in_one_message_cost_no_more_than_one() {
    let (mut lane, sessions) = pair(9);
    let bomb = batch(0, &[record(&vec![0; 3 << 20])], 4);
    let mut scratch = seal::Scratch::default();
    let mut seal = |scratch: &mut seal::Scratch| {
        seal_records(&bomb, &mut lane, &SealTerms { max_inflated: 4 << 20, ..TERMS }, scratch, &mut Vec::new())
            .map(|sealed| sealed.records)
    };
    assert_eq!(seal(&mut scratch).unwrap(), 1);
    assert!(seal(&mut scratch).is_err(), "the next partition of the same request");
    scratch.begin();
    assert_eq!(seal(&mut scratch).unwrap(), 1, "the next request");
    // On the way back: plain bombs are skipped, but what they cost is counted.
    let mut second = bomb.clone();
    second[..8].copy_from_slice(&1i64.to_be_bytes());
    let both = [bomb, second].concat();
    let source = Source { max_inflated: 4 << 20, ..source(&sessions, OnUnreadable::Skip, 0) };
    let (_, outcome) = opened(&both, &source, &mut OrderCheck::default());
    assert!(outcome.stopped);
    assert_eq!(outcome.skipped, 1);
}

#[test]
fn plain_values_are_opened_where_they_lie_and_the_rest_apart_with_the_same_outcome() {
    let (mut lane, sessions) = pair(9);
    let deletion = Plain { value: None, ..record(b"") };
    let plain = sealed(&mut lane, &batch(0, &[record(b"one"), record(b"")], 0));
    let mixed = sealed(&mut lane, &batch(2, &[record(b"three"), deletion, record(b"five")], 0));
    let stored = [plain.clone(), mixed].concat();
    let content = |records: &[u8], on_unreadable| {
        let (mut order, mut scratch, mut page) = (OrderCheck::default(), open::Scratch::default(), records.to_vec());
        let mut opening = Opening::new(&mut page, &mut order, &mut scratch);
        assert!(matches!(opening.run(&source(&sessions, on_unreadable, 0)), Step::Done));
        let (opened, content) = opening.finish();
        assert_eq!(opened.refusal, None);
        (written(&page, content.clone()), content)
    };
    assert!(matches!(content(&plain, OnUnreadable::Fail).1, Content::Front(_)));
    // What cannot be opened may have to be handed on as it was.
    assert!(matches!(content(&plain, OnUnreadable::Opaque).1, Content::Apart(_)));
    assert_eq!(content(&plain, OnUnreadable::Fail).0, content(&plain, OnUnreadable::Opaque).0);
    assert!(matches!(content(&stored, OnUnreadable::Fail).1, Content::Apart(_)));
    assert_eq!(content(&stored, OnUnreadable::Fail).0, content(&stored, OnUnreadable::Opaque).0);
}
