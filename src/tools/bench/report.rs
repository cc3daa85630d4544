//! What a measurement came to, and how it is printed.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use super::wire::Fail;

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
pub(super) const fn as_f64(count: u64) -> f64 {
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
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
