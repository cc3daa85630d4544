//! The part of the state machine that a channel's policy adds: messages that are given up, that are too many, or too old.
//!
//! Messages that an upstream offered are left alone by all of it: they are its broker's, which has rules of its own.

use std::cmp::Reverse;

use bytes::Bytes;

use super::slots::Phase;
use super::state::{Again, Leftovers, State, View};
use crate::clock::Instant;
use crate::engine::log::Stored;

/// What was the last straw for a message that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Requeued,
    TimedOut,
    ConsumerLeft,
    /// Its dead-letter topic had not taken it.
    TriedBefore,
}

impl Cause {
    /// In words.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Requeued => "requeued",
            Self::TimedOut => "timed out",
            Self::ConsumerLeft => "the consumer left",
            Self::TriedBefore => "tried before",
        }
    }
}

/// What became of messages that were not finished, and who got the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Made room for others, or given up without a dead-letter topic.
    pub(super) dropped: u64,
    /// Too old.
    pub(super) expired: u64,
    /// Went to the dead-letter topic.
    pub(super) dead_letters: u64,
    /// Deliveries to consumers of the node's zone, of its region, and to others.
    pub(super) delivered: [u64; 3],
}

/// A message that is given up, for whoever takes it further.
#[derive(Clone, Debug)]
pub(super) struct Condemned {
    pub(super) seq: u64,
    pub(super) cause: Cause,
    pub(super) attempts: u16,
    /// Publish time, nanoseconds since the Unix epoch.
    pub(super) timestamp: i64,
    pub(super) body: Bytes,
}

impl State {
    /// Whether a message has had all the deliveries that it may have.
    pub(super) fn is_worn_out(&self, at: u32) -> bool {
        let Some(max) = self.policy.max_attempts else { return false };
        self.slots.get(at).is_some_and(|slot| slot.attempts >= max.get() && !slot.is_foreign())
    }

    /// Queues a message again, or gives it up.
    pub(super) fn queue_or_condemn(&mut self, at: u32, released: u64, cause: Cause) {
        if self.is_worn_out(at) {
            self.condemn(at, cause);
        } else {
            self.queue(at, released);
        }
    }

    /// Gives a message up. It stays until [`State::bury`].
    pub(super) fn condemn(&mut self, at: u32, cause: Cause) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.phase = Phase::Condemned;
            self.deferred_live += 1;
            self.condemned.push((slot.seq, cause));
        }
    }

    /// The messages given up since the last call, but for those whose blocks are away: they come once they are back.
    pub(super) fn take_condemned(&mut self, view: View<'_>) -> Vec<Condemned> {
        let (away, here) = std::mem::take(&mut self.condemned)
            .into_iter()
            .partition(|(seq, _)| view.log.is_away(*seq) && self.window.get(*seq).is_some());
        self.condemned = away;
        let condemned: Vec<(u64, Cause)> = here;
        let full = condemned.into_iter().filter_map(|(seq, cause)| {
            let slot = self.slots.get(self.window.get(seq)?)?;
            let (timestamp, body) = match &slot.detached {
                Some(detached) => (detached.timestamp, detached.body.clone()),
                None => {
                    let stored = view.log.get(seq)?;
                    (stored.timestamp, Bytes::copy_from_slice(stored.body))
                }
            };
            Some(Condemned { seq, cause, attempts: slot.attempts, timestamp, body })
        });
        full.collect()
    }

    fn is_condemned(&self, seq: u64) -> Option<u32> {
        let at = self.window.get(seq)?;
        (self.slots.get(at)?.phase == Phase::Condemned).then_some(at)
    }

    /// Ends the life of a message that was given up. `false` if it is gone already.
    pub(super) fn bury(&mut self, seq: u64, leftovers: &mut Leftovers) -> bool {
        let is_there = self.is_condemned(seq).is_some();
        if is_there {
            self.deferred_live -= 1;
            self.forget(seq, leftovers);
        }
        is_there
    }

    /// Has a message that was given up tried again at `due`. `false` if it is gone already.
    pub(super) fn reprieve(&mut self, seq: u64, due: Instant) -> bool {
        let Some(at) = self.is_condemned(seq) else { return false };
        self.deferred_live -= 1;
        self.hold(at, due);
        true
    }

    /// Counts deliveries by how near their consumer is.
    pub(super) fn count_delivered(&mut self, consumer: u32, messages: u64) {
        let locality = self.consumers.get(consumer).map(|consumer| consumer.locality);
        if let Some(count) = self.tally.delivered.get_mut(locality.unwrap_or_default() as usize) {
            *count += messages;
        }
    }

    /// Everything that is neither finished nor an upstream's.
    pub(super) fn owed_count(&self, view: View<'_>) -> u64 {
        let all = self.depth(view) + self.deferred_live + self.in_flight;
        all.saturating_sub(self.slots.foreign)
    }

    /// Messages that are queued or held back.
    pub(super) fn waiting(&self, view: View<'_>) -> u64 {
        (self.depth(view) + self.deferred_live).saturating_sub(self.slots.foreign)
    }

    /// An upper bound of [`State::waiting`] that costs nothing.
    pub(super) const fn waiting_at_most(&self, released: u64) -> u64 {
        self.ready_at_most(released) + self.deferred_live
    }

    /// Bytes of what was never delivered and of what is held outside of the log. Messages of the log that were delivered
    /// and came back are not among them.
    pub(super) fn waiting_bytes(&self, view: View<'_>) -> u64 {
        let ahead = view.log.bytes(&(self.cursor..view.released.max(self.cursor)));
        let skips = self
            .skips
            .iter()
            .map(|skip| view.log.bytes(&(skip.start.max(self.cursor)..skip.end.max(self.cursor))));
        ahead.saturating_sub(skips.sum()) + self.slots.waiting_bytes
    }

    /// Drops the oldest messages until what waits is within the bounds: first those never delivered, then those that came
    /// back, then those held back.
    pub(super) fn drop_oldest(&mut self, view: View<'_>, leftovers: &mut Leftovers) {
        let most = self.policy.bounds.max_messages.unwrap_or(u64::MAX);
        let most_bytes = self.policy.bounds.max_bytes.unwrap_or(u64::MAX);
        if most_bytes == u64::MAX && self.waiting_at_most(view.released) <= most {
            return;
        }
        let mut over = self.waiting(view).saturating_sub(most);
        let mut over_bytes = self.waiting_bytes(view).saturating_sub(most_bytes);
        self.tally.dropped += self.pass_while(view, leftovers, |stored| {
            let goes = over > 0 || over_bytes > 0;
            over = over.saturating_sub(1);
            over_bytes = over_bytes.saturating_sub(stored.body.len() as u64);
            goes
        });
        while over > 0 || over_bytes > 0 {
            let dropped = self.drop_again(leftovers).or_else(|| self.drop_deferred(leftovers));
            let Some(bytes) = dropped else { return };
            self.tally.dropped += 1;
            over = over.saturating_sub(1);
            over_bytes = over_bytes.saturating_sub(bytes);
        }
    }

    /// Moves the cursor past the messages for which `goes` says so, up to the first for which it does not, and says how
    /// many those were.
    fn pass_while(
        &mut self,
        view: View<'_>,
        leftovers: &mut Leftovers,
        mut goes: impl FnMut(Stored<'_>) -> bool,
    ) -> u64 {
        let mut passed = 0;
        loop {
            let end = view.released.min(self.pass_skips());
            for stored in view.log.iter(self.cursor, end) {
                if !goes(stored) {
                    return passed;
                }
                self.cursor = stored.seq + 1;
                leftovers.claim(stored.seq);
                passed += 1;
            }
            if end >= view.released {
                return passed;
            }
            self.cursor = self.cursor.max(end);
        }
    }

    /// Drops the first of the messages that came back, and returns what that frees in [`State::waiting_bytes`].
    fn drop_again(&mut self, leftovers: &mut Leftovers) -> Option<u64> {
        let mut foreign = Vec::new();
        let mut dropped = None;
        while let Some(again) = self.again.pop_front() {
            let Some(slot) = self.window.get(again.seq).and_then(|at| self.slots.get(at)) else {
                continue;
            };
            if slot.phase != Phase::Ready {
                continue;
            }
            if slot.is_foreign() {
                foreign.push(again);
                continue;
            }
            dropped = Some(slot.own_bytes());
            self.again_live -= 1;
            self.forget(again.seq, leftovers);
            break;
        }
        for again in foreign.into_iter().rev() {
            self.again.push_front(again);
        }
        dropped
    }

    /// Drops the message that would be due first of those held back.
    fn drop_deferred(&mut self, leftovers: &mut Leftovers) -> Option<u64> {
        let mut foreign = Vec::new();
        let mut dropped = None;
        while let Some(Reverse((due, seq))) = self.deferred.pop() {
            let Some(slot) = self.held(due, seq).and_then(|at| self.slots.get(at)) else {
                continue;
            };
            if slot.is_foreign() {
                foreign.push(Reverse((due, seq)));
                continue;
            }
            dropped = Some(slot.own_bytes());
            self.deferred_live -= 1;
            self.forget(seq, leftovers);
            break;
        }
        self.deferred.extend(foreign);
        dropped
    }

    /// Drops the messages that were never delivered and were published before `horizon` (nanoseconds since the Unix epoch).
    pub(super) fn drop_expired(&mut self, view: View<'_>, horizon: i64, leftovers: &mut Leftovers) {
        let passed = self.pass_while(view, leftovers, |stored| stored.timestamp < horizon);
        self.tally.expired += passed;
    }

    /// The same for those that came back, however many there are.
    pub(super) fn drop_expired_again(
        &mut self,
        view: View<'_>,
        horizon: i64,
        leftovers: &mut Leftovers,
    ) {
        for at in 0..self.again.len() {
            let Some(Again { seq, .. }) = self.again.get(at).copied() else { return };
            if self.is_expired(seq, view, horizon) {
                // Its entry stays behind, as that of any message that is gone.
                self.again_live -= 1;
                self.tally.expired += 1;
                self.forget(seq, leftovers);
            }
        }
    }

    pub(super) fn is_expired(&self, seq: u64, view: View<'_>, horizon: i64) -> bool {
        let Some(slot) = self.window.get(seq).and_then(|at| self.slots.get(at)) else {
            return false;
        };
        if slot.phase != Phase::Ready || slot.is_foreign() {
            return false;
        }
        let timestamp = match &slot.detached {
            Some(detached) => Some(detached.timestamp),
            None => view.log.get(seq).map(|stored| stored.timestamp),
        };
        timestamp.is_some_and(|timestamp| timestamp < horizon)
    }

    /// When the oldest message that was never delivered was published, nanoseconds since the Unix epoch.
    pub(super) fn oldest(&mut self, view: View<'_>) -> Option<i64> {
        let end = view.released.min(self.pass_skips());
        view.log.iter(self.cursor, end).next().map(|stored| stored.timestamp)
    }
}
