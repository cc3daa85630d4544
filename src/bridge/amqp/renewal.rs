//! When a channel that nacks is replaced by a new one. Pure.
//!
//! RabbitMQ looks up a quorum queue's leader once a channel, at the first message to that queue. If that comes after the
//! leader's death and before the others have elected a new one, the channel nacks whatever is published through it until
//! that very node is back, while a new channel would do (`rabbit_fifo_client` picks the server that it was made with).
//! A queue that is full nacks as well and is not helped by a new channel, so renewals come at longer and longer intervals.

use std::time::Duration;

use crate::clock::Instant;

/// How long nacks go on before the first renewal.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest interval between renewals while nacks go on.
const LONGEST: Duration = Duration::from_secs(30);

/// What is remembered of a publisher's nacks, across its channels.
#[derive(Debug)]
pub(super) struct Renewal {
    /// The first nack on this channel.
    since: Option<Instant>,
    last: Option<Instant>,
    wait: Duration,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { since: None, last: None, wait: SHORTEST }
    }
}

impl Renewal {
    /// Notes a nack; whether it is time for a new channel. After `true` the next nack counts as the new channel's first.
    pub(super) fn nacked(&mut self, now: Instant) -> bool {
        if self.last.is_some_and(|last| now.duration_since(last) > 2 * LONGEST) {
            *self = Self::default();
        }
        self.last = Some(now);
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < self.wait {
            return false;
        }
        self.since = None;
        self.wait = (self.wait * 2).min(LONGEST);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// The seconds at which a channel is renewed, of nacks at every tenth of a second up to `until`.
    fn renewals(renewal: &mut Renewal, start: Instant, until: u64) -> Vec<u64> {
        let ticks = (0..=until * 10).map(|tick| Duration::from_millis(tick * 100));
        ticks.filter(|tick| renewal.nacked(start + *tick)).map(|tick| tick.as_secs()).collect()
    }

    #[test]
    fn a_channel_that_goes_on_nacking_is_renewed_at_growing_intervals() {
        let all = renewals(&mut Renewal::default(), clock::now(), 130);
        assert_eq!(all, [1, 3, 7, 15, 31, 61, 91, 121]);
    }

    #[test]
    fn single_nacks_far_apart_renew_nothing() {
        let (mut renewal, start) = (Renewal::default(), clock::now());
        for minutes in 0..9 {
            assert!(!renewal.nacked(start + Duration::from_secs(61 * minutes)));
        }
    }

    #[test]
    fn after_a_quiet_minute_the_intervals_are_short_again() {
        let (mut renewal, start) = (Renewal::default(), clock::now());
        renewals(&mut renewal, start, 20);
        let later = start + Duration::from_secs(90);
        assert_eq!(renewals(&mut renewal, later, 2), [1]);
    }
}
