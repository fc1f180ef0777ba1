//! Idle connections: opens many, lets each ask one question so that it has lived, and looks at what they hold. The process
//! should be fresh: memory that an earlier load left in its allocator would hide what connections take.

use std::thread;
use std::time::Duration;

use super::Target;
use crate::error::Error;
use crate::link::Link;
use crate::process::{CpuClock, Memory};
use crate::wire::admin;

/// What idle connections cost.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Resident bytes for each connection.
    pub rss: f64,
    /// The same by proportional share.
    pub pss: f64,
    /// CPU for opening one, with its handshake and one ApiVersions.
    pub opening: Duration,
    /// Cipher suite that was agreed.
    pub suite: Option<String>,
}

/// Opens `count` connections to the target and measures process `pid` before and after.
pub fn run(target: &Target, count: usize, pid: u32) -> Result<Idle, Error> {
    let mut links = vec![open(target)?];
    thread::sleep(SETTLE);
    let (memory, clock) = (Memory::read(pid)?, CpuClock::read(pid)?);
    for _ in 0..count {
        links.push(open(target)?);
    }
    let used = CpuClock::read(pid)?.since(&clock);
    thread::sleep(SETTLE);
    let after = Memory::read(pid)?;
    let share = |after: u64, before: u64| (after as f64 - before as f64) / count as f64;
    Ok(Idle {
        rss: share(after.rss, memory.rss),
        pss: share(after.pss, memory.pss),
        opening: used.total / u32::try_from(count).unwrap_or(u32::MAX),
        suite: links.first().and_then(Link::suite),
    })
}

fn open(target: &Target) -> Result<Link, Error> {
    let mut link = Link::connect(target.address, target.tls.as_ref())?;
    admin::api_versions_ok(link.call(&mut admin::api_versions())?)?;
    Ok(link)
}

const SETTLE: Duration = Duration::from_secs(1);
