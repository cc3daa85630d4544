//! The channel's state machine: ready, in flight, deferred. Pure: it is handed the log, the time and a consumer's
//! wishes, and says what is to be settled. It knows no locks, sockets, files or brokers.
//!
//! What is ready comes from two places: the topic's log behind the cursor, and the queue of messages that were delivered
//! before (or never were in the log). NSQ puts a requeued message behind everything that is queued at that moment, so
//! each entry of that queue remembers how far the log reached.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use super::consumers::{Consumers, Subscriber};
use super::gate::Gate;
use super::rules::{Cause, Tally};
use super::slots::{Detached, Phase, Slot, Slots};
use super::window::Window;
use crate::clock::Instant;
use crate::engine::log::Log;
use crate::engine::policy::ChannelPolicy;
use crate::engine::upstream::Source;

/// Why a FIN, REQ or TOUCH was refused. The texts are nsqd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// It is not in flight on this channel (any more).
    #[error("ID not in flight")]
    NotInFlight,
    /// Another consumer has it.
    #[error("client does not own message")]
    NotOwner,
    /// The channel is being deleted or the node shuts down.
    #[error("exiting")]
    Exiting,
}

/// What an operation leaves to be done once the channel is unlocked: claims on the log to give back, and sources to tell.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    pub(super) claims: Vec<Range<u64>>,
    pub(super) sources: Vec<Source>,
}

impl Leftovers {
    pub(super) fn claim(&mut self, seq: u64) {
        match self.claims.last_mut() {
            Some(last) if last.end == seq => last.end += 1,
            _ => self.claims.push(seq..seq + 1),
        }
    }

    /// Notes that `slot` is done with.
    fn done(&mut self, slot: Slot) {
        match slot.detached {
            None => self.claim(slot.seq),
            Some(detached) => self.sources.extend(detached.source),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.sources.is_empty()
    }
}

/// How much of the log a channel may read: all that the topic has handed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) log: &'a Log,
    pub(super) released: u64,
}

/// A requeued message: due when the cursor has reached `after`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub(super) after: u64,
    pub(super) seq: u64,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct State {
    pub(super) slots: Slots,
    pub(super) window: Window,
    /// Everything before it was delivered at least once, or skipped.
    pub(super) cursor: u64,
    /// Parts of the log ahead of the cursor that are not for this channel.
    pub(super) skips: VecDeque<Range<u64>>,
    pub(super) again: VecDeque<Again>,
    /// Live entries of `again`: the queue may hold entries whose message is gone.
    pub(super) again_live: u64,
    pub(super) deferred: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Held back, the condemned ones among them.
    pub(super) deferred_live: u64,
    pub(super) policy: ChannelPolicy,
    pub(super) gate: Option<Gate>,
    /// Given up since somebody asked.
    pub(super) condemned: Vec<(u64, Cause)>,
    pub(super) tally: Tally,
    pub(super) consumers: Consumers,
    pub(super) paused: bool,
    pub(super) exiting: bool,
    pub(super) requeues: u64,
    pub(super) timeouts: u64,
    pub(super) offered: u64,
    pub(super) in_flight: u64,
    pub(super) sampler: u64,
    /// The message at which a consumer had to stop, since its block is away.
    pub(super) blocked: Option<u64>,
}

impl State {
    /// A channel that sees what the topic hands on from `cursor` on.
    pub(super) fn new(cursor: u64, policy: ChannelPolicy) -> Self {
        Self {
            slots: Slots::default(),
            window: Window::default(),
            cursor,
            skips: VecDeque::new(),
            again: VecDeque::new(),
            again_live: 0,
            deferred: BinaryHeap::new(),
            deferred_live: 0,
            gate: policy.rate.map(Gate::new),
            policy,
            condemned: Vec::new(),
            tally: Tally::default(),
            consumers: Consumers::default(),
            paused: false,
            exiting: false,
            requeues: 0,
            timeouts: 0,
            offered: 0,
            in_flight: 0,
            sampler: cursor | 1,
            blocked: None,
        }
    }

    pub(super) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) const fn deferred(&self) -> u64 {
        self.deferred_live
    }

    /// Messages ready for delivery, those of the log included.
    pub(super) fn depth(&self, view: View<'_>) -> u64 {
        let ahead = view.log.count(&(self.cursor..view.released));
        let skipped: u64 = self
            .skips
            .iter()
            .map(|skip| view.log.count(&(skip.start.max(self.cursor)..skip.end.max(self.cursor))))
            .sum();
        self.again_live + ahead.saturating_sub(skipped)
    }

    /// An upper bound of [`State::depth`] that costs nothing.
    pub(super) const fn ready_at_most(&self, released: u64) -> u64 {
        self.again_live + released.saturating_sub(self.cursor)
    }

    pub(super) const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Passes over skipped parts at the cursor and says where the next one starts.
    pub(super) fn pass_skips(&mut self) -> u64 {
        while let Some(skip) = self.skips.front() {
            if skip.start > self.cursor {
                return skip.start;
            }
            self.cursor = self.cursor.max(skip.end);
            self.skips.pop_front();
        }
        u64::MAX
    }

    /// Never delivers `range`, which starts at or behind everything skipped before.
    pub(super) fn skip(&mut self, range: Range<u64>) {
        match self.skips.back_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.skips.push_back(range),
        }
    }

    /// Whether nothing is delivered, whatever there is.
    pub(super) fn is_held(&self) -> bool {
        self.paused || self.exiting || self.gate.as_ref().is_some_and(Gate::is_closed)
    }

    /// Whether a consumer with credit would get something.
    pub(super) fn has_ready(&mut self, view: View<'_>) -> bool {
        if self.is_held() {
            return false;
        }
        if self.blocked.is_some_and(|seq| view.log.is_away(seq)) {
            return false;
        }
        self.blocked = None;
        if self.again_live > 0 {
            return true;
        }
        loop {
            let skip = self.pass_skips();
            let end = view.released.min(skip);
            if view.log.iter(self.cursor, end).next().is_some() {
                return true;
            }
            if end == view.released {
                return false;
            }
            self.cursor = end;
        }
    }

    /// Takes a message out of its consumer's hands.
    pub(super) fn take_back(&mut self, at: u32) {
        let Self { slots, consumers, in_flight, .. } = self;
        let Some(Phase::InFlight { consumer, .. }) = slots.get(at).map(|slot| slot.phase) else {
            return;
        };
        *in_flight -= 1;
        if let Some(from) = consumers.get_mut(consumer) {
            slots.unlink(&mut from.list, at);
            from.in_flight -= 1;
        }
        slots.waiting_bytes += slots.get(at).map_or(0, Slot::own_bytes);
    }

    /// Ends a message's life.
    pub(super) fn forget(&mut self, seq: u64, leftovers: &mut Leftovers) {
        if let Some(slot) = self.window.remove(seq).and_then(|at| self.slots.remove(at)) {
            leftovers.done(slot);
        }
    }

    /// The slot of a message in flight at `consumer`.
    fn owned(&self, consumer: u32, seq: u64) -> Result<u32, SettleError> {
        let at = self.window.get(seq).ok_or(SettleError::NotInFlight)?;
        match self.slots.get(at).map(|slot| slot.phase) {
            Some(Phase::InFlight { consumer: owner, .. }) if owner == consumer => Ok(at),
            Some(Phase::InFlight { .. }) => Err(SettleError::NotOwner),
            _ => Err(SettleError::NotInFlight),
        }
    }

    /// FIN.
    pub(super) fn finish(
        &mut self,
        consumer: u32,
        seq: u64,
        leftovers: &mut Leftovers,
    ) -> Result<(), SettleError> {
        let at = self.owned(consumer, seq)?;
        self.take_back(at);
        self.forget(seq, leftovers);
        Ok(())
    }

    /// REQ: behind everything that is queued now, or after `delay`. Returns when it is due, if that is later.
    pub(super) fn requeue(
        &mut self,
        consumer: u32,
        seq: u64,
        delay: Duration,
        now: Instant,
        released: u64,
    ) -> Result<Option<Instant>, SettleError> {
        if self.exiting {
            return Err(SettleError::Exiting);
        }
        let at = self.owned(consumer, seq)?;
        self.take_back(at);
        self.requeues += 1;
        if self.is_worn_out(at) {
            self.condemn(at, Cause::Requeued);
            return Ok(None);
        }
        if delay.is_zero() {
            self.queue(at, released);
            return Ok(None);
        }
        let due = now + delay;
        self.hold(at, due);
        Ok(Some(due))
    }

    /// TOUCH: a new deadline, but never later than `timeout_max` after the delivery.
    pub(super) fn touch(
        &mut self,
        consumer: u32,
        seq: u64,
        timeout_max: Duration,
        now: Instant,
    ) -> Result<(), SettleError> {
        let at = self.owned(consumer, seq)?;
        let Self { slots, consumers, .. } = self;
        let (Some(slot), Some(owner)) = (slots.get_mut(at), consumers.get_mut(consumer)) else {
            return Err(SettleError::NotInFlight);
        };
        if let Phase::InFlight { delivered, deadline, .. } = &mut slot.phase {
            *deadline = (now + owner.touch_timeout).min(*delivered + timeout_max);
        }
        slots.unlink(&mut owner.list, at);
        slots.link(&mut owner.list, at);
        Ok(())
    }

    /// Puts a message behind everything that is queued now.
    pub(super) fn queue(&mut self, at: u32, released: u64) {
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        slot.phase = Phase::Ready;
        self.again.push_back(Again { after: released, seq: slot.seq });
        self.again_live += 1;
    }

    /// Holds a message back until `due`.
    pub(super) fn hold(&mut self, at: u32, due: Instant) {
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        slot.phase = Phase::Deferred { due };
        self.deferred.push(Reverse((due, slot.seq)));
        self.deferred_live += 1;
    }

    /// Holds back a message of the log, ahead of the cursor and of everything held back before.
    pub(super) fn defer(&mut self, seq: u64, due: Instant, bytes: usize) {
        self.skip(seq..seq + 1);
        let mut slot = Slot::new(seq, Phase::Ready);
        slot.logged_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let at = self.slots.insert(slot);
        self.window.insert(seq, at);
        self.hold(at, due);
    }

    /// How often a message was delivered.
    pub(super) fn attempts(&self, seq: u64) -> u16 {
        let slot = self.window.get(seq).and_then(|at| self.slots.get(at));
        slot.map_or(0, |slot| slot.attempts)
    }

    /// Adds a message that is not in the log: ready at once, or at `due`.
    pub(super) fn add(
        &mut self,
        seq: u64,
        detached: Detached,
        attempts: u16,
        due: Option<Instant>,
        released: u64,
    ) {
        let mut slot = Slot::new(seq, Phase::Ready);
        slot.attempts = attempts;
        slot.detached = Some(Box::new(detached));
        let at = self.slots.insert(slot);
        self.window.insert(seq, at);
        match due {
            Some(due) => self.hold(at, due),
            None => self.queue(at, released),
        }
    }

    /// Requeues what has timed out and what was deferred until now or earlier. Returns what has timed out, and how often
    /// each was delivered.
    pub(super) fn expire(&mut self, now: Instant, released: u64) -> Vec<(u64, u16)> {
        let mut expired = Vec::new();
        let mut overdue = Vec::new();
        for consumer in self.consumers.iter() {
            let first = consumer.list.first().and_then(|at| self.slots.get(at));
            if let Some(Phase::InFlight { deadline, consumer, .. }) = first.map(|slot| slot.phase)
                && deadline <= now
            {
                overdue.push(consumer);
            }
        }
        for consumer in overdue {
            while let Some(at) = self.first_overdue(consumer, now) {
                self.take_back(at);
                self.timeouts += 1;
                self.queue_or_condemn(at, released, Cause::TimedOut);
                expired.extend(self.slots.get(at).map(|slot| (slot.seq, slot.attempts)));
            }
            self.consumers.relieved(consumer);
        }
        while let Some(&Reverse((due, seq))) = self.deferred.peek() {
            let at = self.held(due, seq);
            if at.is_some() && due > now {
                break;
            }
            self.deferred.pop();
            if let Some(at) = at {
                self.deferred_live -= 1;
                self.queue_or_condemn(at, released, Cause::TriedBefore);
            }
        }
        expired
    }

    fn first_overdue(&self, consumer: u32, now: Instant) -> Option<u32> {
        let at = self.consumers.get(consumer)?.list.first()?;
        match self.slots.get(at)?.phase {
            Phase::InFlight { deadline, .. } if deadline <= now => Some(at),
            _ => None,
        }
    }

    /// The slot that an entry of the deferred heap stands for, unless its message is gone.
    pub(super) fn held(&self, due: Instant, seq: u64) -> Option<u32> {
        let at = self.window.get(seq)?;
        (self.slots.get(at)?.phase == Phase::Deferred { due }).then_some(at)
    }

    /// When [`State::expire`] has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let timeouts = self.consumers.iter().filter_map(|consumer| {
            match self.slots.get(consumer.list.first()?)?.phase {
                Phase::InFlight { deadline, .. } => Some(deadline),
                Phase::Ready | Phase::Deferred { .. } | Phase::Condemned => None,
            }
        });
        let deferred = self.deferred.peek().map(|&Reverse((due, _))| due);
        timeouts.chain(deferred).min()
    }

    /// Adds a consumer.
    pub(super) fn subscribe(&mut self, subscriber: Subscriber) -> u32 {
        self.consumers.insert(subscriber)
    }

    /// Removes a consumer. What it had in flight is ready again at once: nsqd waits for the timeouts instead, and its
    /// users have asked for this since 2014.
    pub(super) fn unsubscribe(&mut self, consumer: u32, released: u64) -> Vec<(u64, u16)> {
        let mut returned = Vec::new();
        while let Some(at) = self.consumers.get(consumer).and_then(|consumer| consumer.list.first())
        {
            self.take_back(at);
            self.queue_or_condemn(at, released, Cause::ConsumerLeft);
            returned.extend(self.slots.get(at).map(|slot| (slot.seq, slot.attempts)));
        }
        self.consumers.remove(consumer);
        returned
    }

    /// Drops everything: queued, deferred and in flight.
    pub(super) fn clear(&mut self, view: View<'_>, leftovers: &mut Leftovers) {
        let mut from = self.cursor;
        for skip in std::mem::take(&mut self.skips) {
            leftovers.claims.push(from..skip.start.max(from));
            from = skip.end.max(from);
        }
        leftovers.claims.push(from..view.released.max(from));
        self.cursor = view.released;
        for slot in self.slots.drain() {
            leftovers.done(slot);
        }
        self.window.clear();
        self.again.clear();
        self.again_live = 0;
        self.deferred.clear();
        self.deferred_live = 0;
        self.in_flight = 0;
        self.blocked = None;
        self.consumers.relieve_all();
    }

    /// Moves the live messages of `range` out of the log, each into a body of its own.
    pub(super) fn detach(&mut self, log: &Log, range: &Range<u64>, leftovers: &mut Leftovers) {
        let Self { slots, window, .. } = self;
        let mut moved = 0;
        for at in window.range(range.start, range.end) {
            let Some(slot) = slots.get_mut(at) else {
                continue;
            };
            let (None, Some(stored)) = (&slot.detached, log.get(slot.seq)) else {
                continue;
            };
            slot.detached = Some(Box::new(Detached {
                body: bytes::Bytes::copy_from_slice(stored.body),
                timestamp: stored.timestamp,
                source: None,
            }));
            if !matches!(slot.phase, Phase::InFlight { .. }) {
                moved += slot.own_bytes() - u64::from(std::mem::take(&mut slot.logged_bytes));
            }
            leftovers.claim(slot.seq);
        }
        slots.waiting_bytes += moved;
    }
}
