//! Free ports on 127.0.0.1 for servers that need to know their port before they start.
//!
//! They come from below the range out of which the kernel takes ports for outgoing connections, so that no client's
//! socket sits on a port that a killed server wants back.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, OnceLock};
use std::{env, process};

/// One free port.
pub fn one() -> u16 {
    block(1)
}

/// The first of `count` free ports in a row.
///
/// # Panics
/// When the range holds no such row.
pub fn block(count: u16) -> u16 {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (lowest, highest) = range();
    // Processes that run side by side start at different places.
    let mut first = next.unwrap_or_else(|| lowest + (process::id() % 64) as u16 * ((highest - lowest) / 74));
    for _ in 0..2 * (highest - lowest) / count.max(1) {
        if first.saturating_add(count) > highest {
            first = lowest;
        }
        match (first..first + count).find(|port| !is_free(*port)) {
            Some(taken) => first = taken + 1,
            None => {
                *next = Some(first + count);
                return first;
            }
        }
    }
    panic!("no {count} free ports in a row between {lowest} and {highest}");
}

fn range() -> (u16, u16) {
    *RANGE.get_or_init(|| env::var(RANGE_VARIABLE).ok().and_then(|part| parse(&part)).unwrap_or((LOWEST, HIGHEST)))
}

fn parse(part: &str) -> Option<(u16, u16)> {
    let (lowest, highest) = part.split_once('-')?;
    Some((lowest.parse().ok()?, highest.parse().ok()?))
}

/// What is left to this process, decided by the first asking: by [`keep_to`], by the environment, or all.
static RANGE: OnceLock<(u16, u16)> = OnceLock::new();

/// This process takes its ports out of this part alone. To be said before it has taken one.
pub fn keep_to(part: &str) {
    let range = parse(part).unwrap_or_else(|| panic!("{part} is no range of ports"));
    assert_eq!(*RANGE.get_or_init(|| range), range, "ports were taken already");
}

/// All ports in `count` parts of the same size, as [`RANGE_VARIABLE`] says them: a port that is free when it is chosen may be
/// taken by somebody else before its server has started, so processes that run side by side have a part each.
pub fn parts(count: u16) -> Vec<String> {
    let width = (HIGHEST - LOWEST) / count.max(1);
    (0..count).map(|n| format!("{}-{}", LOWEST + n * width, LOWEST + (n + 1) * width)).collect()
}

/// The part of a process.
pub const RANGE_VARIABLE: &str = "BARNABAS_TEST_PORTS";

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

const LOWEST: u16 = 20_100;
const HIGHEST: u16 = 31_900;
