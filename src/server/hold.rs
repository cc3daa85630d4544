//! When deliveries are held back for a moment, so that one write carries several.
//!
//! A producer that waits for each OK publishes message by message, and its consumer would get them one by one: a write, a
//! wake-up of the client and a FIN each, which take more of the machine than everything else. nsqd therefore fills an
//! output buffer, for 250 ms if need be. Here messages go out at once until there are too many writes of too little; only
//! then is a delivery held back, for one tick of the timer, and only if the client lets its output be buffered and has
//! credit for what comes in the meantime.

use std::time::Duration;

use crate::clock::Instant;

/// What is counted before it is judged. What is older says nothing.
const WINDOW: Duration = Duration::from_millis(10);
/// How long a delivery is held back: one tick of the timer, which may come that much late.
const HOLD: Duration = Duration::from_millis(1);
/// Messages of a window from which on it pays: 30 000 a second...
const MESSAGES_MIN: u64 = 300;
/// ... and from which on deliveries are large without that.
const MESSAGES_MAX: u64 = 3000;

/// The deliveries of one connection of late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    began: Instant,
    messages: u64,
    /// Messages of the window before.
    last: u64,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { began: now, messages: 0, last: 0 }
    }

    /// Counts messages that are delivered `now`.
    pub(super) fn count(&mut self, messages: u64, now: Instant) {
        self.turn(now);
        self.messages += messages;
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        if age >= WINDOW {
            self.last = if age < 2 * WINDOW { self.messages } else { 0 };
            self.messages = 0;
            self.began = now;
        }
    }

    /// Until when what is ready `now` is to be held back; `None` if it is to go out. `credit` is how many messages the
    /// client may still get.
    pub(super) fn hold(&mut self, credit: u64, now: Instant) -> Option<Instant> {
        self.turn(now);
        // Three ticks' worth: a late timer must not make the client wait for its messages.
        let has_credit = credit >= self.last * 3 / 10;
        let pays = (MESSAGES_MIN..MESSAGES_MAX).contains(&self.last);
        (pays && has_credit).then(|| now + HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// One message each `interval`, for 50 ms; whether the next one is held back.
    fn is_held_after(interval: Duration, messages: u64, credit: u64) -> bool {
        let start = clock::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        while now < start + Duration::from_millis(50) {
            pace.count(messages, now);
            now += interval;
        }
        pace.hold(credit, now).is_some()
    }

    #[test]
    fn single_messages_in_quick_succession_are_held_back() {
        let [quick, slow] = [20, 50].map(Duration::from_micros);
        assert!(is_held_after(quick, 1, 2500));
        assert!(!is_held_after(slow, 1, 2500), "20 000 a second go out one by one");
        assert!(!is_held_after(quick, 1, 100), "the client would wait");
        assert!(!is_held_after(quick, 10, 2500), "they are large enough");
        // Held back, the rate is the same: it goes on.
        assert!(is_held_after(Duration::from_millis(1), 50, 2500));
    }

    #[test]
    fn a_pause_ends_it() {
        let start = clock::now();
        let mut pace = Pace::new(start);
        (0..1000).for_each(|at| pace.count(1, start + Duration::from_micros(at * 20)));
        let end = start + Duration::from_millis(20);
        assert!(pace.hold(2500, end).is_some());
        assert!(pace.hold(2500, end + 2 * WINDOW).is_none());
    }
}
