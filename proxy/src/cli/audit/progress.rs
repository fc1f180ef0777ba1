//! How far long work is, on a terminal; nothing is written where nobody looks.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line that says how many of how many `what` are done, again and again; it goes when all are.
pub(super) fn progress(what: &'static str) -> impl Fn(u64, u64) + Sync {
    let last = Mutex::new(None::<Instant>);
    let is_watched = std::io::stderr().is_terminal();
    move |done, total| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_watched && (is_due || done >= total) {
            *last = Some(Instant::now());
            let end = if done >= total { "\r\u{1b}[K" } else { "" };
            // Nobody is harmed by a line that a terminal does not take.
            write!(std::io::stderr(), "\r{done} of {total} {what}{end}").ok();
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(200);
