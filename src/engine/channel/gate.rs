//! A channel's limit on deliveries: one token a message, shared by all of its consumers.
//!
//! A token is asked for when there is a message to deliver, never ahead of it. Once the bucket is empty the gate is closed
//! and the channel counts as having nothing ready, until its alarm opens it again.

use std::time::Duration;

use crate::clock::Instant;
use crate::limit::{Allowance, LimitOptions, Limiter};

/// Timers are no finer, so a gate that opened sooner would be asked in vain.
const SHORTEST: Duration = Duration::from_millis(1);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Gate {
    limiter: Limiter,
    /// Whether a token was taken for a message that was not delivered after all.
    has_spare: bool,
    opens_at: Option<Instant>,
}

impl Gate {
    /// A gate whose bucket is full.
    pub(super) fn new(rate: Allowance) -> Self {
        let options = LimitOptions { messages: Some(rate), bytes: None };
        Self { limiter: Limiter::new(&options), has_spare: false, opens_at: None }
    }

    /// Whether nothing passes until [`Gate::opens_at`].
    pub(super) const fn is_closed(&self) -> bool {
        self.opens_at.is_some()
    }

    /// When it opens, if it is closed.
    pub(super) const fn opens_at(&self) -> Option<Instant> {
        self.opens_at
    }

    /// Opens it if its time has come.
    pub(super) fn open(&mut self, now: Instant) {
        self.opens_at = self.opens_at.filter(|at| *at > now);
    }

    /// Takes a token for one message, or closes.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        if self.is_closed() {
            return false;
        }
        if std::mem::take(&mut self.has_spare) {
            return true;
        }
        match self.limiter.try_acquire(1, 0) {
            Ok(()) => true,
            Err(throttled) => {
                self.opens_at = Some(now + throttled.retry_after.max(SHORTEST));
                false
            }
        }
    }

    /// Takes a token back: its message was not delivered.
    pub(super) const fn take_back(&mut self) {
        self.has_spare = true;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::clock;
    use crate::limit::Rate;

    #[tokio::test(start_paused = true)]
    async fn it_closes_when_the_bucket_is_empty_and_opens_when_there_is_a_token() {
        let rate = Rate::new(NonZeroU64::new(10).unwrap(), Duration::from_secs(1)).unwrap();
        let mut gate = Gate::new(Allowance { rate, burst: 2 });
        assert!(gate.pass(clock::now()) && gate.pass(clock::now()));
        assert!(!gate.pass(clock::now()) && gate.is_closed());
        let opens_at = gate.opens_at().unwrap();
        assert_eq!(opens_at - clock::now(), Duration::from_millis(100));
        gate.open(opens_at - Duration::from_millis(1));
        assert!(gate.is_closed());
        tokio::time::sleep_until(opens_at).await;
        gate.open(clock::now());
        assert!(gate.pass(clock::now()));
        gate.take_back();
        assert!(gate.pass(clock::now()) && !gate.pass(clock::now()));
    }
}
