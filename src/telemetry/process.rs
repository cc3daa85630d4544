//! What the process takes of its machine, as far as the kernel tells (Linux; elsewhere nothing is known).

use serde::Serialize;

/// Clock ticks a second in `/proc`, the same on every architecture that Rust's Linux targets run on.
const TICKS_PER_SECOND: u64 = 100;

/// Memory and processor time of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// Bytes of memory that are resident, shared pages included.
    pub resident_bytes: u64,
    /// The part of them that is heap and stacks.
    pub anonymous_bytes: u64,
    /// Processor time since the start, user and system, all threads.
    pub cpu_seconds: f64,
    /// Threads, those of the runtime included.
    pub threads: u64,
}

impl ProcessUsage {
    /// The figures of this moment; `None` where there is no `/proc`.
    #[must_use]
    pub fn read() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self {
            resident_bytes: kibibytes(&status, "VmRSS:")?,
            anonymous_bytes: kibibytes(&status, "RssAnon:").unwrap_or_default(),
            cpu_seconds: cpu_seconds(&stat)?,
            threads: number(&status, "Threads:").unwrap_or_default(),
        })
    }
}

/// nsqd's figures of its memory, which are those of Go's runtime, under their keys in `/stats`. What has no meaning here
/// is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeapFigures {
    /// Not known.
    pub heap_objects: u64,
    /// Not known.
    pub heap_idle_bytes: u64,
    /// The resident memory that is heap and stacks.
    pub heap_in_use_bytes: u64,
    /// Not known.
    pub heap_released_bytes: u64,
    /// There is no collector to pause.
    pub gc_pause_usec_100: u64,
    /// As above.
    pub gc_pause_usec_99: u64,
    /// As above.
    pub gc_pause_usec_95: u64,
    /// As above.
    pub next_gc_bytes: u64,
    /// As above.
    pub gc_total_runs: u64,
}

impl HeapFigures {
    /// The figures of this moment.
    #[must_use]
    pub fn read() -> Self {
        let heap_in_use_bytes = ProcessUsage::read().map_or(0, |usage| usage.anonymous_bytes);
        Self { heap_in_use_bytes, ..Self::default() }
    }

    /// Each figure under its key, in nsqd's order.
    #[must_use]
    pub const fn lines(&self) -> [(&'static str, u64); 9] {
        [
            ("heap_objects", self.heap_objects),
            ("heap_idle_bytes", self.heap_idle_bytes),
            ("heap_in_use_bytes", self.heap_in_use_bytes),
            ("heap_released_bytes", self.heap_released_bytes),
            ("gc_pause_usec_100", self.gc_pause_usec_100),
            ("gc_pause_usec_99", self.gc_pause_usec_99),
            ("gc_pause_usec_95", self.gc_pause_usec_95),
            ("next_gc_bytes", self.next_gc_bytes),
            ("gc_total_runs", self.gc_total_runs),
        ]
    }
}

/// The value of a line like `VmRSS:     5120 kB`, in bytes.
fn kibibytes(status: &str, key: &str) -> Option<u64> {
    Some(number(status, key)? * 1024)
}

fn number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time of a `/proc/PID/stat` line.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name in brackets, which may itself hold brackets and blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    let ticks = user + system;
    let whole = std::time::Duration::from_secs(ticks / TICKS_PER_SECOND);
    let rest = std::time::Duration::from_millis(ticks % TICKS_PER_SECOND * 1000 / TICKS_PER_SECOND);
    Some((whole + rest).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let status = "Name:\tx\nVmRSS:\t    5120 kB\nRssAnon:\t   12 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(5120 * 1024));
        assert_eq!(kibibytes(status, "RssAnon:"), Some(12 * 1024));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(cpu_seconds("7 (x) S 1 2"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_takes_some_memory() {
        let usage = ProcessUsage::read().unwrap();
        assert!(usage.resident_bytes >= usage.anonymous_bytes && usage.anonymous_bytes > 0);
    }
}
