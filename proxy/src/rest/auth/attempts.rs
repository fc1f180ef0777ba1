//! How often a wrong password may be tried: by name, so that nobody is guessed at from many places, and by address, so that
//! nobody guesses at many names. An attempt is taken before the password is looked at and given back when it was right, so that
//! attempts at the same time count, too. Whoever has proved a password lately is not asked here: a guesser cannot lock it out.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is left to try, for one bridge.
pub struct Attempts {
    names: Mutex<Buckets<[u8; 32]>>,
    peers: Mutex<Buckets<IpAddr>>,
}

impl Attempts {
    /// Nothing was tried yet.
    pub fn new() -> Self {
        Self { names: Mutex::new(Buckets::new(NAME_BURST)), peers: Mutex::new(Buckets::new(PEER_BURST)) }
    }

    /// Takes an attempt; the time to wait when there is none. `name` is a keyed hash: names of strangers are not kept.
    pub fn take(&self, name: [u8; 32], peer: IpAddr, now: Instant) -> Result<(), Duration> {
        let peer = network(peer);
        lock(&self.peers).take(peer, now)?;
        lock(&self.names).take(name, now).inspect_err(|_| lock(&self.peers).give_back(&peer))
    }

    /// Gives an attempt back: the password was right.
    pub fn give_back(&self, name: [u8; 32], peer: IpAddr) {
        lock(&self.names).give_back(&name);
        lock(&self.peers).give_back(&network(peer));
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

/// Token buckets (one attempt comes back each [`PAUSE`]), only for those that are not full.
struct Buckets<K> {
    burst: u32,
    spent: HashMap<K, Spent>,
}

/// What was taken of an allowance.
#[derive(Clone, Copy)]
pub(super) struct Spent {
    attempts: u32,
    since: Instant,
}

impl<K: Eq + Hash + Clone> Buckets<K> {
    fn new(burst: u32) -> Self {
        Self { burst, spent: HashMap::new() }
    }

    fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        if self.spent.len() >= MAX_BUCKETS && !self.spent.contains_key(&key) {
            self.make_room(now);
        }
        self.spent.entry(key).or_insert(Spent::nothing(now)).take(self.burst, PAUSE, now)
    }

    fn give_back(&mut self, key: &K) {
        if let Some(spent) = self.spent.get_mut(key) {
            spent.attempts = spent.attempts.saturating_sub(1);
            if spent.attempts == 0 {
                self.spent.remove(key);
            }
        }
    }

    /// Forgets those that are full again, and if that is nobody, those that tried least: who tried most stays known.
    fn make_room(&mut self, now: Instant) {
        self.spent.retain(|_, spent| {
            spent.refill(PAUSE, now);
            spent.attempts > 0
        });
        for least in 1..=self.burst {
            if self.spent.len() < MAX_BUCKETS {
                return;
            }
            self.spent.retain(|_, spent| spent.attempts > least);
        }
    }
}

impl Spent {
    /// The whole allowance is there.
    pub(super) fn nothing(now: Instant) -> Self {
        Self { attempts: 0, since: now }
    }

    /// Takes one of `burst`, of which one comes back each `pause`; else the time until then.
    pub(super) fn take(&mut self, burst: u32, pause: Duration, now: Instant) -> Result<(), Duration> {
        self.refill(pause, now);
        if self.attempts >= burst {
            return Err(pause.saturating_sub(now.saturating_duration_since(self.since)));
        }
        self.attempts += 1;
        Ok(())
    }

    fn refill(&mut self, pause: Duration, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let back = u32::try_from(passed.as_millis() / pause.as_millis().max(1)).unwrap_or(u32::MAX);
        if back >= self.attempts {
            *self = Self::nothing(now);
        } else {
            self.attempts -= back;
            self.since += pause * back;
        }
    }
}

/// An IPv6 customer has 2^64 addresses.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fleet behind one address may restart with an old password; a name has few clients.
const PEER_BURST: u32 = 60;
const NAME_BURST: u32 = 20;
/// A name can be guessed at 28,800 times a day.
const PAUSE: Duration = Duration::from_secs(3);
/// 100 bytes each.
const MAX_BUCKETS: usize = 20_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_name_is_tried_so_often_and_then_once_in_a_while() {
        let attempts = Attempts::new();
        let now = Instant::now();
        for _ in 0..NAME_BURST {
            attempts.take([1; 32], PEER, now).unwrap();
        }
        assert_eq!(attempts.take([1; 32], PEER, now), Err(PAUSE));
        attempts.take([2; 32], PEER, now).unwrap();
        attempts.take([1; 32], PEER, now + PAUSE).unwrap();
        assert!(attempts.take([1; 32], PEER, now + PAUSE).is_err());
        for _ in 0..NAME_BURST {
            attempts.take([1; 32], PEER, now + PAUSE * 100).unwrap();
        }
    }

    #[test]
    fn an_address_is_tried_from_whatever_the_name() {
        let attempts = Attempts::new();
        let now = Instant::now();
        for name in 0..PEER_BURST {
            attempts.take([u8::try_from(name).unwrap(); 32], PEER, now).unwrap();
        }
        assert!(attempts.take([99; 32], PEER, now).is_err());
        attempts.take([99; 32], "2001:db8::1".parse().unwrap(), now).unwrap();
        let same = [network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:1".parse().unwrap())];
        assert_eq!(same[0], same[1]);
        assert_eq!(network("::ffff:127.0.0.1".parse().unwrap()), PEER);
    }

    #[test]
    fn a_right_password_costs_no_attempt() {
        let attempts = Attempts::new();
        let now = Instant::now();
        for _ in 0..1000 {
            attempts.take([1; 32], PEER, now).unwrap();
            attempts.give_back([1; 32], PEER);
        }
        assert!(lock(&attempts.names).spent.is_empty() && lock(&attempts.peers).spent.is_empty());
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_does_not_hide_who_tried_most() {
        let mut buckets = Buckets::new(NAME_BURST);
        let now = Instant::now();
        for _ in 0..NAME_BURST {
            buckets.take(u64::MAX, now).unwrap();
        }
        for name in 0..(MAX_BUCKETS as u64 * 3) {
            buckets.take(name, now).unwrap();
        }
        assert!(buckets.spent.len() <= MAX_BUCKETS);
        assert!(buckets.take(u64::MAX, now).is_err());
    }
}
