//! How a consumer slows down when what it delivers is not taken, as NSQ's own clients do it.
//!
//! A failure stops all deliveries for a while that doubles from failure to failure. Then one message is let through: if it
//! is taken the while halves, and at its end all goes on as before; if not, it doubles again. What ends during the while
//! itself changes nothing: many messages that fail together are one failure.

use std::time::Duration;

use crate::clock::Instant;

/// How many messages may be out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// As many as ever.
    All,
    /// One, to see whether it is taken.
    One,
    /// None before this moment.
    Nothing(Instant),
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// The first while; doubled for each failure.
    multiplier: Duration,
    /// The longest; zero for no backoff at all.
    max: Duration,
    count: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// NSQ's clients have a multiplier of 1 s and a maximum of 2 min. A maximum of zero is no backoff at all.
    #[must_use]
    pub const fn new(multiplier: Duration, max: Duration) -> Self {
        Self { multiplier, max, count: 0, until: None }
    }

    fn length(&self, count: u32) -> Duration {
        self.multiplier.saturating_mul(1_u32.checked_shl(count).unwrap_or(u32::MAX))
    }

    /// What may be out now.
    #[must_use]
    pub fn allowance(&self, now: Instant) -> Allowance {
        match self.until {
            Some(until) if until > now => Allowance::Nothing(until),
            _ if self.count > 0 => Allowance::One,
            _ => Allowance::All,
        }
    }

    /// A message was taken, or was not. Says whether anything has changed.
    pub fn ended(&mut self, was_taken: bool, now: Instant) -> bool {
        if self.max.is_zero() || matches!(self.allowance(now), Allowance::Nothing(_)) {
            return false;
        }
        if was_taken {
            if self.count == 0 {
                return false;
            }
            self.count -= 1;
        } else if self.count == 0 || self.length(self.count + 1) <= self.max {
            self.count += 1;
        }
        self.until = (self.count > 0).then(|| now + self.length(self.count).min(self.max));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_doubles_with_failures_and_halves_with_successes() {
        let start = clock::now();
        let mut backoff = Backoff::new(SECOND, 10 * SECOND);
        assert!(!backoff.ended(true, start));
        assert_eq!(backoff.allowance(start), Allowance::All);
        assert!(backoff.ended(false, start));
        let until = start + 2 * SECOND;
        assert_eq!(backoff.allowance(start), Allowance::Nothing(until));
        // What was out already says nothing more.
        assert!(!backoff.ended(false, start + SECOND) && !backoff.ended(true, start + SECOND));
        assert_eq!(backoff.allowance(until), Allowance::One);
        assert!(backoff.ended(false, until));
        assert_eq!(backoff.allowance(until), Allowance::Nothing(until + 4 * SECOND));
        let mut now = until + 4 * SECOND;
        for _ in 0..20 {
            backoff.ended(false, now);
            let Allowance::Nothing(until) = backoff.allowance(now) else { panic!("no while") };
            assert_eq!(until, now + 8 * SECOND, "16 s would be above the maximum");
            now = until;
        }
        for seconds in [4, 2] {
            assert_eq!(backoff.allowance(now), Allowance::One);
            assert!(backoff.ended(true, now));
            assert_eq!(backoff.allowance(now), Allowance::Nothing(now + seconds * SECOND));
            now += seconds * SECOND;
        }
        assert!(backoff.ended(true, now));
        assert_eq!(backoff.allowance(now), Allowance::All);
    }

    #[test]
    fn without_a_maximum_there_is_none() {
        let now = clock::now();
        let mut backoff = Backoff::new(SECOND, Duration::ZERO);
        assert!(!backoff.ended(false, now));
        assert_eq!(backoff.allowance(now), Allowance::All);
        // A maximum below the first while bounds it.
        let mut backoff = Backoff::new(SECOND, SECOND / 2);
        assert!(backoff.ended(false, now));
        assert_eq!(backoff.allowance(now), Allowance::Nothing(now + SECOND / 2));
    }
}
