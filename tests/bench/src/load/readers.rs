//! Readers of Server-Sent Events that wait for records at the end of a topic: opens many, and looks at what they hold.

use std::thread;
use std::time::Duration;

use super::http::{Bridge, Connection};
use crate::error::Error;
use crate::process::{CpuClock, Memory};

/// What idle readers cost.
#[derive(Clone, Copy, Debug)]
pub struct Readers {
    /// Resident bytes for each.
    pub rss: f64,
    /// CPU for opening one, with its handshake and the positions that it begins at.
    pub opening: Duration,
}

/// Opens `count` readers of a topic, and measures process `pid` before and after.
pub fn run(bridge: &Bridge, topic: &str, count: usize, pid: u32) -> Result<Readers, Error> {
    let request = format!(
        "GET /v1/topics/{topic}/events?from=end HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    );
    let open = || {
        let mut connection = Connection::open(bridge)?;
        connection.send(request.as_bytes())?;
        connection.head()?;
        while !String::from_utf8_lossy(&connection.chunk()?).contains("id:") {}
        Ok::<_, Error>(connection)
    };
    let mut readers = vec![open()?];
    thread::sleep(SETTLE);
    let (memory, clock) = (Memory::read(pid)?, CpuClock::read(pid)?);
    for _ in 0..count {
        readers.push(open()?);
    }
    let used = CpuClock::read(pid)?.since(&clock);
    thread::sleep(SETTLE);
    let after = Memory::read(pid)?;
    let share = |after: u64, before: u64| (after as f64 - before as f64) / count as f64;
    Ok(Readers { rss: share(after.rss, memory.rss), opening: used.total / u32::try_from(count).unwrap_or(u32::MAX) })
}

const SETTLE: Duration = Duration::from_secs(1);
