//! Free ports on 127.0.0.1 for servers that need to know their port before they start.
//!
//! They come from below the range out of which the kernel takes ports for outgoing connections, so that no client's
//! socket sits on a port that a killed server wants back.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::Mutex;

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
    // Processes that run side by side start at different places.
    let mut first = next.unwrap_or_else(|| LOWEST + (process::id() % 64) as u16 * 160);
    for _ in 0..2 * (HIGHEST - LOWEST) / count.max(1) {
        if first.saturating_add(count) > HIGHEST {
            first = LOWEST;
        }
        match (first..first + count).find(|port| !is_free(*port)) {
            Some(taken) => first = taken + 1,
            None => {
                *next = Some(first + count);
                return first;
            }
        }
    }
    panic!("no {count} free ports in a row between {LOWEST} and {HIGHEST}");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

const LOWEST: u16 = 20_100;
const HIGHEST: u16 = 31_900;
