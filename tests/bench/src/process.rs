//! What a process used, read from /proc: CPU of all its threads and resident memory. Reading costs the measured process nothing.
//! Linux only, like the figures that come out of it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::error::{Attempt, Error};

/// A process's clocks at one moment.
#[derive(Clone, Debug)]
pub struct CpuClock {
    user: Duration,
    system: Duration,
    threads: BTreeMap<u32, u64>,
}

/// CPU used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuUse {
    /// User and system together.
    pub total: Duration,
    /// The part spent in the kernel, at the clock's resolution of 10 ms.
    pub system: Duration,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident set.
    pub rss: u64,
    /// Resident set with shared pages divided among their users.
    pub pss: u64,
    /// Highest resident set since the last [`forget_peak`].
    pub peak: u64,
}

impl CpuClock {
    /// Reads the clocks of process `pid`.
    pub fn read(pid: u32) -> Result<Self, Error> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // The name in brackets may hold blanks: count fields from behind it.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        Ok(Self {
            user: Duration::from_millis(ticks(11) * MILLIS_PER_TICK),
            system: Duration::from_millis(ticks(12) * MILLIS_PER_TICK),
            threads: thread_clocks(pid),
        })
    }

    /// What was used since `earlier`. Nanoseconds by the scheduler's own count when no thread ended in between, else ticks.
    pub fn since(&self, earlier: &Self) -> CpuUse {
        let system = self.system.saturating_sub(earlier.system);
        let by_ticks = self.user.saturating_sub(earlier.user) + system;
        let lasted = !self.threads.is_empty() && earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        if !lasted {
            return CpuUse { total: by_ticks, system };
        }
        let sum = |threads: &BTreeMap<u32, u64>| threads.values().sum::<u64>();
        let exact = Duration::from_nanos(sum(&self.threads).saturating_sub(sum(&earlier.threads)));
        CpuUse { total: exact, system: system.min(exact) }
    }
}

impl Memory {
    /// Reads the resident memory of process `pid`.
    pub fn read(pid: u32) -> Result<Self, Error> {
        let rollup = read(&format!("/proc/{pid}/smaps_rollup"))?;
        let status = read(&format!("/proc/{pid}/status"))?;
        Ok(Self { rss: kib(&rollup, "Rss:"), pss: kib(&rollup, "Pss:"), peak: kib(&status, "VmHWM:") })
    }
}

/// Lets the peak start anew. Where this is not allowed, the peak stays that of the process's whole life.
pub fn forget_peak(pid: u32) {
    let _not_allowed = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// CPU used by the calling thread so far.
pub fn own_thread() -> Duration {
    fs::read_to_string("/proc/thread-self/schedstat")
        .map_or(Duration::ZERO, |text| Duration::from_nanos(first_number(&text)))
}

fn thread_clocks(pid: u32) -> BTreeMap<u32, u64> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return BTreeMap::new();
    };
    tasks
        .flatten()
        .filter_map(|task| {
            let thread = task.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((thread, first_number(&text)))
        })
        .collect()
}

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).attempt(|| format!("read {path}: is the process alive and yours"))
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn kib(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |rest| first_number(rest) * 1024)
}

/// USER_HZ is 100 on every Linux that runs here; proc(5) gives times in it whatever the kernel's own clock is.
const MILLIS_PER_TICK: u64 = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn work_shows_on_the_clock_and_memory_is_resident() {
        let pid = std::process::id();
        let before = CpuClock::read(pid).unwrap();
        let mut sum = 0_u64;
        while own_thread() < Duration::from_millis(20) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(CpuClock::read(pid).unwrap().since(&before).total > Duration::ZERO);
        let memory = Memory::read(pid).unwrap();
        assert!(memory.rss >= memory.pss && memory.pss > 0 && memory.peak > 0);
    }
}
