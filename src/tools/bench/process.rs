//! What a process takes of the machine, as `/proc` says.

use std::time::Duration;

use super::contest::Reading;
use super::report::as_f64;
use super::wire::{Fail, Outcome};

/// Clock ticks a second in `/proc`, the same on every architecture that Rust's Linux targets run on.
const TICKS_PER_SECOND: u32 = 100;

/// Processor time of a process so far, user and system, all its threads.
pub(super) fn cpu_time(pid: u32) -> Outcome<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).map_err(|error| Fail::Connect(path, error))?;
    parse_cpu_time(&stat).ok_or_else(|| Fail::Said(format!("/proc/{pid}/stat: not understood")))
}

fn parse_cpu_time(stat: &str) -> Option<Duration> {
    // The second field is the program's name in brackets, which may itself hold brackets and blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u32 = times.next()?.parse().ok()?;
    let system: u32 = times.next()?.parse().ok()?;
    Some(Duration::from_secs(1) / TICKS_PER_SECOND * (user + system))
}

/// Bytes of memory that a process has resident now, and had at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) now: u64,
    pub(super) peak: u64,
}

impl Memory {
    /// That of the process `pid`.
    pub(super) fn of(pid: u32) -> Outcome<Self> {
        let path = format!("/proc/{pid}/status");
        let status = std::fs::read_to_string(&path).map_err(|error| Fail::Connect(path, error))?;
        Self::parse(&status)
            .ok_or_else(|| Fail::Said(format!("/proc/{pid}/status: not understood")))
    }

    fn parse(status: &str) -> Option<Self> {
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Self { now: kib("VmRSS:")? * 1024, peak: kib("VmHWM:")? * 1024 })
    }
}

/// Bytes as MiB.
pub(super) fn mib(bytes: u64) -> f64 {
    as_f64(bytes) / (1024.0 * 1024.0)
}

/// Watches a process, if there is one on this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pid: Option<u32>,
    cpu: Option<Duration>,
}

impl Watch {
    /// From now on.
    pub(super) fn start(pid: Option<u32>) -> Outcome<Self> {
        Ok(Self { pid, cpu: pid.map(cpu_time).transpose()? })
    }

    /// Processor time since the start, by each of `messages`.
    pub(super) fn cpu(&self, name: impl Into<String>, messages: u64) -> Outcome<Option<Reading>> {
        let (Some(pid), Some(before)) = (self.pid, self.cpu) else { return Ok(None) };
        let taken = cpu_time(pid)?.saturating_sub(before).as_secs_f64();
        Ok(Some(Reading::new(name, "µs/msg", taken * 1e6 / as_f64(messages.max(1)))))
    }

    /// Resident memory: what it was at most, and what it is.
    pub(super) fn memory(&self) -> Outcome<[Option<Reading>; 2]> {
        let memory = self.pid.map(Memory::of).transpose()?;
        Ok([
            memory.map(|memory| Reading::new("resident at most", "MiB", mib(memory.peak))),
            memory.map(|memory| Reading::new("resident at the end", "MiB", mib(memory.now))),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_as_the_kernel_writes_it() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1750)));
        assert_eq!(parse_cpu_time("7 (x) S 1 2"), None);
    }

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let memory = Memory { now: 1 << 20, peak: 2 << 20 };
        assert_eq!(Memory::parse(status), Some(memory));
        assert_eq!(Memory::parse("Name:\tx\n"), None);
    }
}
