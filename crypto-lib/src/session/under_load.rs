//! Many threads that seal as fast as they can under small limits, and rotate when the session says so, as a gateway does. Nothing
//! is lost, no place of a key comes twice, and no key seals more or for longer than it may.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::tests::terms;
use super::*;
use crate::aad::Place;
use crate::envelope::Header;

/// The session that all threads share, and how many there have been.
struct Current {
    session: Mutex<Arc<Session>>,
    limits: SessionLimits,
    drawn: AtomicU64,
}

impl Current {
    fn new(records: u64, bytes: u64) -> Self {
        let limits = SessionLimits::of(Suite::Aes256Gcm).at_most(records, bytes);
        Self { session: Mutex::new(draw(limits, 0)), limits, drawn: AtomicU64::new(1) }
    }

    fn get(&self) -> Arc<Session> {
        self.session.lock().unwrap().clone()
    }

    /// A lane of the session at hand, which must be another than `spent`.
    fn lane(&self, spent: Option<KeyId>) -> Lane {
        let mut session = spent.map_or_else(|| self.get(), |spent| self.after(spent));
        loop {
            match session.lane() {
                Ok(lane) => return lane,
                // It has ended meanwhile.
                Err(error) => assert!(error.needs_rotation(), "{error}"),
            }
            session = self.after(session.key_id());
        }
    }

    /// A new session in the place of `spent`, or the one that another thread has put there meanwhile.
    fn after(&self, spent: KeyId) -> Arc<Session> {
        let mut session = self.session.lock().unwrap();
        if session.key_id() == spent {
            *session = draw(self.limits, self.drawn.fetch_add(1, Ordering::SeqCst));
        }
        session.clone()
    }
}

fn draw(limits: SessionLimits, number: u64) -> Arc<Session> {
    let terms = SessionTerms { not_after: UnixMillis::new(END), ..terms(limits) };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Session::draw(terms).unwrap().into_session(KeyId::from_bytes(id))
}

/// Key, lane and sequence of a sealed record, and the length of its value.
type Sealed = (KeyId, u16, u64, usize);

/// Seals a record of `len` bytes, under the next session where the one at hand has had enough.
fn seal(lane: &mut Lane, current: &Current, len: usize) -> (Sealed, Option<RotateReason>) {
    let mut why = None;
    loop {
        let mut out = Vec::new();
        match lane.seal(&Place { partition: 0, record_key: None }, &vec![7; len], &mut out) {
            Ok(()) => {
                let header = Header::parse(&out).unwrap();
                return ((header.key_id(), header.lane(), header.sequence(), len), why);
            }
            Err(Error::Rotate(reason)) => {
                why = Some(reason);
                *lane = current.lane(Some(lane.session().key_id()));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Everything that was sealed, and why sessions were left.
fn load(current: &Current, len: impl Fn(usize) -> usize + Sync) -> (Vec<Sealed>, HashSet<RotateReason>) {
    let work = |thread: usize| {
        let mut lane = current.lane(None);
        (0..EACH).map(|n| seal(&mut lane, current, len(thread * EACH + n))).collect::<Vec<_>>()
    };
    let all: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let reasons = all.iter().filter_map(|(_, why)| *why).collect();
    (all.into_iter().map(|(sealed, _)| sealed).collect(), reasons)
}

/// Records and bytes of each key.
fn by_key(sealed: &[Sealed]) -> HashMap<KeyId, (u64, u64)> {
    let places: HashSet<_> = sealed.iter().map(|(key, lane, sequence, _)| (*key, *lane, *sequence)).collect();
    assert_eq!(places.len(), sealed.len(), "a place of a key came twice");
    let mut used = HashMap::new();
    for (key, _, _, len) in sealed {
        let (records, bytes) = used.entry(*key).or_insert((0, 0));
        (*records, *bytes) = (*records + 1, *bytes + *len as u64);
    }
    used
}

#[test]
fn no_key_seals_more_records_than_it_may() {
    let current = Current::new(100, u64::MAX);
    let (sealed, reasons) = load(&current, |_| 10);
    assert_eq!(sealed.len(), THREADS * EACH);
    assert_eq!(reasons, HashSet::from([RotateReason::Records]));
    let used = by_key(&sealed);
    assert!(used.values().all(|(records, _)| *records <= 100), "{used:?}");
    assert!(used.len() >= THREADS * EACH / 100);
}

#[test]
fn no_key_seals_more_bytes_than_it_may() {
    let current = Current::new(u64::MAX, 100_000);
    let len = |n: usize| n * 37 % 5_000;
    let (sealed, reasons) = load(&current, len);
    assert_eq!(sealed.len(), THREADS * EACH);
    assert_eq!(reasons, HashSet::from([RotateReason::Bytes]));
    let used = by_key(&sealed);
    assert!(used.values().all(|(_, bytes)| *bytes <= 100_000), "{used:?}");
    let total: u64 = used.values().map(|(_, bytes)| bytes).sum();
    assert!(used.len() as u64 > total / 100_000);
}

#[test]
fn no_key_seals_after_the_session_was_told_that_its_end_has_come() {
    let current = Current::new(u64::MAX, u64::MAX);
    // Sessions 0 to LAST - 1 end by the clock, one at each of its ticks.
    let (told, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut lane = current.lane(None);
        let (mut sealed, mut why) = (Vec::new(), HashSet::new());
        while !is_over.load(Ordering::SeqCst) {
            // Whoever seals now must not use a session of which it was said before that it is over.
            let ended = told.load(Ordering::SeqCst);
            let (record, reason) = seal(&mut lane, &current, 10);
            assert!(number(record.0) >= ended, "session {} after the end of {ended} sessions", number(record.0));
            sealed.push(record);
            why.extend(reason);
        }
        (sealed, why)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for tick in 0..LAST {
            let session = current.get();
            assert_eq!(number(session.key_id()), tick);
            assert!(session.observe_time(UnixMillis::new(END - 1)));
            assert!(!session.observe_time(UnixMillis::new(END)));
            told.store(tick + 1, Ordering::SeqCst);
            while number(current.get().key_id()) == tick && !running.iter().all(|thread| thread.is_finished()) {
                thread::yield_now();
            }
        }
        is_over.store(true, Ordering::SeqCst);
        let (mut all, mut reasons) = (Vec::new(), HashSet::new());
        for thread in running {
            let (sealed, why) = thread.join().unwrap();
            all.extend(sealed);
            reasons.extend(why);
        }
        assert_eq!(reasons, HashSet::from([RotateReason::Expired]));
        by_key(&all);
    });
}

fn number(key: KeyId) -> u64 {
    u64::from_be_bytes(key.as_bytes()[..8].try_into().unwrap())
}

const THREADS: usize = 8;
/// Records of each thread.
const EACH: usize = 500;
/// When sessions end, in milliseconds.
const END: u64 = 1_000;
/// How many sessions end by the clock.
const LAST: u64 = 20;
