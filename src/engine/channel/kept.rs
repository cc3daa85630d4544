//! What is written down of a channel, and how it begins anew from that.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::Channel;
use super::slots::{Detached, Phase, Slot};
use super::state::State;
use crate::clock::Instant;
use crate::storage::image::{ChannelImage, Detail};
use crate::storage::ranges::RangeSet;

impl Channel {
    /// Which messages of `range` it owes. Called with the feed locked.
    pub(in crate::engine) fn owed(&self, range: &Range<u64>, released: u64) -> RangeSet {
        self.inner.lock().state.owed(range, released)
    }

    /// All that it owes of the topic's log. Called with the feed locked.
    pub(in crate::engine) fn image(&self, released: u64, now: Instant, wall: i64) -> ChannelImage {
        let inner = self.inner.lock();
        ChannelImage {
            name: self.name().to_string(),
            paused: inner.state.paused,
            owed: inner.state.owed(&(0..u64::MAX), released),
            details: inner.state.details(now, wall),
        }
    }

    /// Owes what it owed. Called with the feed locked.
    pub(in crate::engine) fn restore(
        &self,
        found: &ChannelImage,
        released: u64,
        now: Instant,
        wall: i64,
    ) {
        let mut inner = self.inner.lock();
        inner.state.restore(found, released, now, wall);
        if let Some(next) = inner.state.next_expiry() {
            self.set_alarm(&mut inner, next);
        }
        if self.is_bounded() {
            // Some of it may have become too old meanwhile.
            self.set_alarm(&mut inner, now);
        }
    }

    /// Notes that a message ahead of the cursor was delivered before; it keeps its place. Called with the feed locked.
    pub(in crate::engine) fn take_over(&self, seq: u64, attempts: u16) {
        self.inner.lock().state.take_over(seq, attempts);
    }

    /// Gives up messages that are lost, and says how many. Called with the feed locked.
    pub(in crate::engine) fn forget(&self, range: &Range<u64>) -> u64 {
        self.inner.lock().state.lose(range)
    }

    /// Goes on with what waited for messages that are there now.
    pub(in crate::engine) fn rouse(&self) {
        let feed = self.place.feed.read();
        let mut inner = self.inner.lock();
        self.wake_ready(&feed, &mut inner);
        let dead = self.condemned(&feed, &mut inner);
        drop(inner);
        drop(feed);
        self.bury(dead);
    }

    /// Bodies that are in no block any more, with their numbers and publish times. Called with the feed locked.
    pub(in crate::engine) fn detached(&self) -> Vec<(u64, i64, bytes::Bytes)> {
        let inner = self.inner.lock();
        let slots = inner.state.slots.iter().filter_map(|(_, slot)| {
            let Detached { body, timestamp, source } = &**slot.detached.as_ref()?;
            source.is_none().then(|| (slot.seq, *timestamp, body.clone()))
        });
        slots.collect()
    }
}

impl State {
    /// Which messages of `range` are not settled.
    fn owed(&self, range: &Range<u64>, released: u64) -> RangeSet {
        let mut owed = RangeSet::new();
        let ahead = range.start.max(self.cursor)..range.end.min(released);
        if !ahead.is_empty() {
            owed.insert(ahead);
        }
        for skip in &self.skips {
            owed.remove(skip.clone());
        }
        for at in self.window.range(range.start, range.end) {
            let slot = self.slots.get(at);
            let is_ours = |slot: &&Slot| {
                slot.detached.as_ref().is_none_or(|detached| detached.source.is_none())
            };
            if let Some(slot) = slot.filter(is_ours) {
                owed.insert(slot.seq..slot.seq + 1);
            }
        }
        owed
    }

    /// What is to be known of messages that were delivered or held back.
    fn details(&self, now: Instant, wall: i64) -> BTreeMap<u64, Detail> {
        let details = self.slots.iter().map(|(_, slot)| {
            let due = match slot.phase {
                Phase::Deferred { due } => {
                    let wait = due.saturating_duration_since(now).as_nanos();
                    wall.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX))
                }
                Phase::Ready | Phase::InFlight { .. } | Phase::Condemned => 0,
            };
            (slot.seq, Detail { attempts: slot.attempts, due })
        });
        details.filter(|(_, detail)| *detail != Detail::default()).collect()
    }

    fn restore(&mut self, found: &ChannelImage, released: u64, now: Instant, wall: i64) {
        let mut ahead = found.owed.clone();
        for seq in found.details.keys() {
            ahead.remove(*seq..seq + 1);
        }
        let mut at = ahead.first().unwrap_or(released).min(released);
        self.cursor = at;
        for range in ahead.iter() {
            if range.start > at {
                self.skip(at..range.start);
            }
            at = range.end;
        }
        if at < released {
            self.skip(at..released);
        }
        let mut due_first: Vec<(&u64, &Detail)> =
            found.details.iter().filter(|(seq, _)| found.owed.contains(**seq)).collect();
        due_first.sort_by_key(|(seq, detail)| (detail.due, **seq));
        for (&seq, detail) in due_first {
            let mut slot = Slot::new(seq, Phase::Ready);
            slot.attempts = detail.attempts;
            let at = self.slots.insert(slot);
            self.window.insert(seq, at);
            match u64::try_from(detail.due.saturating_sub(wall)) {
                Ok(wait) if wait > 0 => self.hold(at, now + Duration::from_nanos(wait)),
                _ => self.queue(at, released),
            }
        }
        self.paused = found.paused;
    }

    fn take_over(&mut self, seq: u64, attempts: u16) {
        self.skip(seq..seq + 1);
        let mut slot = Slot::new(seq, Phase::Ready);
        slot.attempts = attempts;
        let at = self.slots.insert(slot);
        self.window.insert(seq, at);
        self.queue(at, seq);
    }

    /// Forgets the messages of `range`, and says how many it owed.
    fn lose(&mut self, range: &Range<u64>) -> u64 {
        let ahead = self.cursor.max(range.start)..range.end.max(self.cursor);
        let mut lost = 0;
        for at in self.window.range(range.start, range.end).collect::<Vec<_>>() {
            let Some(slot) = self.slots.get(at).filter(|slot| slot.detached.is_none()) else {
                continue;
            };
            let (seq, phase) = (slot.seq, slot.phase);
            self.remove(at, seq, phase);
            lost += 1;
        }
        // Numbers without a message are passed over by themselves.
        lost + ahead.end.saturating_sub(ahead.start)
    }
}
