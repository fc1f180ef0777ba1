//! How fast one principal may have new streams made.
//!
//! Arrives: a principal and a topic that has no stream yet. Leaves: whether the steward may be asked now. A stream is a key,
//! an epoch and records in a topic that every gateway reads; whoever can make topics at the brokers must not be able to
//! fill it at their speed. What must never happen here: many connections of one client paying for the same topic.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What principals have left.
#[derive(Default)]
pub struct Pace(Mutex<Books>);

#[derive(Default)]
struct Books {
    accounts: HashMap<String, Account>,
    /// Topics that somebody has paid for.
    paid: HashSet<String>,
}

struct Account {
    left: f64,
    at: Instant,
}

impl Pace {
    /// True when `who` may have the stream of `topic` made at the time `now`.
    pub fn allows(&self, who: &str, topic: &str, now: Instant) -> bool {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if books.paid.contains(topic) {
            return true;
        }
        if books.accounts.len() >= MOST_ACCOUNTS && !books.accounts.contains_key(who) {
            books.accounts.retain(|_, account| account.refilled(now) < AT_ONCE);
            if books.accounts.len() >= MOST_ACCOUNTS {
                return false;
            }
        }
        let account = books.accounts.entry(who.to_owned()).or_insert(Account { left: AT_ONCE, at: now });
        account.left = account.refilled(now);
        account.at = now;
        if account.left < 1.0 {
            return false;
        }
        account.left -= 1.0;
        if books.paid.len() >= MOST_PAID {
            books.paid.clear();
        }
        books.paid.insert(topic.to_owned());
        true
    }
}

impl Account {
    fn refilled(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at);
        (self.left + since.as_secs_f64() * A_SECOND).min(AT_ONCE)
    }
}

/// An application that begins with all topics of a large cluster of its own.
const AT_ONCE: f64 = 1000.0;

/// And then this many a second: a steward makes hundreds, all clients together.
const A_SECOND: f64 = 10.0;

/// Principals that have made streams lately.
const MOST_ACCOUNTS: usize = 10_000;

/// Some megabytes of names.
const MOST_PAID: usize = 50_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thousand_at_once_and_then_ten_a_second() {
        let pace = Pace::default();
        let start = Instant::now();
        let made =
            |who: &str, prefix: &str, now| (0..1500).filter(|n| pace.allows(who, &format!("{prefix}{n}"), now)).count();
        assert_eq!(made("User:a", "x", start), 1000);
        assert_eq!(made("User:a", "x", start), 1000, "what was paid for is not paid for again");
        assert_eq!(made("User:b", "y", start), 1000, "others have an account of their own");
        assert_eq!(made("User:a", "z", start + Duration::from_secs(3)), 30);
    }
}
