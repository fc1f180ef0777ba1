//! What was verified lately, so that a request costs a hash and not a stretched password or a signature: an `Authorization` header
//! arrives, who it proves leaves. The header itself is not kept, only its hash under a random key of this process: a copy of the
//! memory gives nobody a password to try elsewhere. After a change of credentials or keys each entry is asked about once more before it
//! counts again: whoever is not concerned need not prove anything anew, which a guesser could keep it from.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use barnabas_crypto::{ExpiringCache, UnixMillis};
use ring::hmac;
use ring::rand::SystemRandom;

use crate::rest::Caller;

/// The cache of one bridge.
pub struct Verified {
    /// None when the system gave no random bytes: then nothing is kept.
    key: Option<hmac::Key>,
    entries: Mutex<ExpiringCache<Mark, Entry>>,
    generation: AtomicU64,
}

/// The keyed hash of something that must not be kept itself.
pub type Mark = [u8; 32];

/// Which credentials were in force when something was verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

/// Who a header proves.
#[derive(Clone)]
pub struct Proven {
    /// The caller.
    pub caller: Caller,
    /// The SHA-256 of the client certificate that the token is bound to (RFC 8705, section 3).
    pub bound_to: Option<[u8; 32]>,
}

struct Entry {
    proven: Proven,
    generation: Generation,
}

impl Verified {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            entries: Mutex::new(ExpiringCache::new(MAX_ENTRIES, MAX_AGE_MILLIS)),
            generation: AtomicU64::new(0),
        }
    }

    /// The mark of some bytes; `None` without random bytes at the start.
    pub fn mark(&self, what: Kind, bytes: &[u8]) -> Option<Mark> {
        let mut hash = hmac::Context::with_key(self.key.as_ref()?);
        hash.update(&[what as u8]);
        hash.update(bytes);
        hash.sign().as_ref().try_into().ok()
    }

    /// What is in force now. To be taken before verifying, and given to [`Self::put`].
    pub fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Who was proved by a header, if that still holds. `holds` is asked when something has changed since the entry was last found,
    /// and must judge by what is in force now.
    pub fn find(&self, mark: &Mark, now: SystemTime, holds: impl FnOnce(&Caller) -> bool) -> Option<Proven> {
        let generation = self.generation();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(mark, millis(now)).filter(|entry| !entry.proven.caller.is_expired(now))?;
        let (proven, is_current) = (entry.proven.clone(), entry.generation == generation);
        drop(entries);
        if !is_current {
            if !holds(&proven.caller) {
                return None;
            }
            self.put(*mark, proven.clone(), generation, now);
        }
        Some(proven)
    }

    /// Keeps what was verified while `generation` was in force.
    pub fn put(&self, mark: Mark, proven: Proven, generation: Generation, now: SystemTime) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.put(mark, Entry { proven, generation }, millis(now));
    }

    /// Has everything asked about again that was verified until now. To be called after the change is in force.
    pub fn doubt(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps hashes of different things apart.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Kind {
    /// An `Authorization` header.
    Header = 1,
    /// The name of a Basic pair.
    Name = 2,
    /// A stored password.
    Credential = 3,
}

fn millis(time: SystemTime) -> UnixMillis {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// About 300 bytes each.
const MAX_ENTRIES: usize = 20_000;
/// Changes are noticed without it; what nobody shows any more is not kept for ever.
const MAX_AGE_MILLIS: u64 = 24 * 3600 * 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn anonymous() -> Proven {
        Proven { caller: Caller::anonymous(), bound_to: None }
    }

    #[test]
    fn what_was_verified_is_found_until_something_changes() {
        let verified = Verified::new();
        let now = SystemTime::now();
        let mark = verified.mark(Kind::Header, b"Basic x").unwrap();
        assert_ne!(Some(mark), verified.mark(Kind::Name, b"Basic x"));
        assert_ne!(Some(mark), Verified::new().mark(Kind::Header, b"Basic x"));
        let before = verified.generation();
        verified.put(mark, anonymous(), before, now);
        assert!(verified.find(&mark, now, |_| false).is_some());
        verified.doubt();
        assert!(verified.find(&mark, now, |_| false).is_none());
        assert!(verified.find(&mark, now, |_| true).is_some());
        // Asked once, then it counts again.
        assert!(verified.find(&mark, now, |_| false).is_some());
        // Verified by what was in force before, finished after.
        verified.put(mark, anonymous(), before, now);
        assert!(verified.find(&mark, now, |_| false).is_none());
    }

    #[test]
    fn what_has_ended_is_not_found() {
        let verified = Verified::new();
        let now = SystemTime::now();
        let mark = verified.mark(Kind::Header, b"Bearer x").unwrap();
        let mut proven = anonymous();
        proven.caller.expires = Some(now + Duration::from_secs(5));
        verified.put(mark, proven, verified.generation(), now);
        assert!(verified.find(&mark, now + Duration::from_secs(4), |_| false).is_some());
        assert!(verified.find(&mark, now + Duration::from_secs(5), |_| true).is_none());
        verified.put(mark, anonymous(), verified.generation(), now);
        assert!(verified.find(&mark, now + Duration::from_millis(MAX_AGE_MILLIS), |_| true).is_none());
    }
}
