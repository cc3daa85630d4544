//! What a measurement came to, and how it is printed.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

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

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    pub(super) messages: u64,
    pub(super) time: Duration,
    /// Processor time that the measured process took, if it was asked for.
    pub(super) cpu: Option<Duration>,
}

impl Figure {
    pub(super) fn rate(&self) -> f64 {
        as_f64(self.messages) / self.time.as_secs_f64()
    }

    pub(super) fn cpu_micros(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e6 / as_f64(self.messages))
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of messages are far below 2^53")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.0} msg/s", self.rate())?;
        match self.cpu_micros() {
            Some(micros) => write!(f, "  {micros:>6.2} µs CPU/msg"),
            None => Ok(()),
        }
    }
}

/// The middle one; the mean of the two in the middle if there is none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Prints one line.
pub(super) fn say(line: impl fmt::Display) {
    // A reader that has gone does not want the rest.
    writeln!(std::io::stdout(), "{line}").unwrap_or_default();
}

/// Prints why there is no result.
#[allow(clippy::print_stderr, reason = "a tool has no log")]
pub(super) fn say_error(error: &Fail) {
    eprintln!("leveret bench: {error}");
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
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
