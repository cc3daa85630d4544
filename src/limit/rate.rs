//! What a limit says: a rate and a burst for messages, for bytes, or for both.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// So many units in a span of time. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    amount: NonZeroU64,
    per: Duration,
}

impl Rate {
    /// `amount` units every `per`; `None` if the span is zero.
    #[must_use]
    pub fn new(amount: NonZeroU64, per: Duration) -> Option<Self> {
        (!per.is_zero()).then_some(Self { amount, per })
    }

    /// Units in one span.
    #[must_use]
    pub fn amount(self) -> u64 {
        self.amount.get()
    }

    /// The span.
    #[must_use]
    pub fn per(self) -> Duration {
        self.per
    }

    /// Units a second, rounded up, so never 0.
    #[must_use]
    pub fn per_second_ceil(self) -> u64 {
        let units = u128::from(self.amount.get()) * 1_000_000_000;
        u64::try_from(units.div_ceil(self.per.as_nanos().max(1))).unwrap_or(u64::MAX)
    }

    /// Time to earn `units`, rounded up to a nanosecond, at least one; saturates at 584 years.
    #[must_use]
    pub fn time_for(self, units: u64) -> Duration {
        let nanos = self.per.as_nanos().saturating_mul(u128::from(units));
        let whole = nanos.div_ceil(u128::from(self.amount.get())).max(1);
        Duration::from_nanos(u64::try_from(whole).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.amount),
            60 => write!(f, "{}/m", self.amount),
            3600 => write!(f, "{}/h", self.amount),
            _ => write!(f, "{}/{:?}", self.amount, self.per),
        }
    }
}

/// One dimension of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The rate that holds in the long run.
    pub rate: Rate,
    /// How much may pass at once after a quiet time, in messages or in bytes. At least 1; of bytes, whole KiB count.
    pub burst: u64,
}

/// The limit of a route. A dimension that is `None` is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitOptions {
    /// Messages in a span of time.
    pub messages: Option<Allowance>,
    /// Bytes of message bodies in a span of time.
    pub bytes: Option<Allowance>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(amount: u64, seconds: u64) -> Rate {
        Rate::new(NonZeroU64::new(amount).unwrap(), Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_rate_knows_its_interval_and_prints_as_written() {
        assert_eq!(rate(5000, 1).time_for(1), Duration::from_micros(200));
        assert_eq!(rate(3, 1).time_for(1), Duration::from_nanos(333_333_334));
        assert_eq!(rate(30, 60).time_for(1), Duration::from_secs(2));
        assert_eq!(rate(u64::MAX, 1).time_for(u64::MAX), Duration::from_secs(1));
        assert_eq!(rate(1, 3600).time_for(u64::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(rate(30, 60).per_second_ceil(), 1);
        assert_eq!(rate(5000, 1).per_second_ceil(), 5000);
        assert_eq!(rate(300, 60).to_string(), "300/m");
        assert_eq!(rate(1, 1).to_string(), "1/s");
        assert!(Rate::new(NonZeroU64::MIN, Duration::ZERO).is_none());
    }
}
