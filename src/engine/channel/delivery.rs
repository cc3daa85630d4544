//! The part of the state machine that hands messages to a consumer.

use super::slots::{Phase, Slot};
use super::state::{Again, Leftovers, State, View};
use crate::clock::Instant;
use crate::engine::log::Stored;

/// A message as a consumer gets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picked<'a> {
    pub(super) seq: u64,
    pub(super) timestamp: i64,
    pub(super) attempts: u16,
    pub(super) body: &'a [u8],
}

/// One consumer's request for messages.
pub(super) struct Pull<'a, F> {
    pub(super) view: View<'a>,
    pub(super) consumer: u32,
    pub(super) now: Instant,
    /// Messages that it may still get.
    pub(super) messages: u64,
    /// Bytes of bodies that it may still get; the last message may exceed them.
    pub(super) bytes: usize,
    /// Messages published before it (nanoseconds since the Unix epoch) are too old.
    pub(super) horizon: i64,
    /// Messages that it got.
    pub(super) delivered: u64,
    pub(super) leftovers: &'a mut Leftovers,
    pub(super) sink: F,
}

impl<F: FnMut(Picked<'_>)> Pull<'_, F> {
    const fn is_spent(&self) -> bool {
        self.delivered >= self.messages || self.bytes == 0
    }

    fn deliver(&mut self, picked: Picked<'_>) {
        self.delivered += 1;
        self.bytes = self.bytes.saturating_sub(picked.body.len());
        (self.sink)(picked);
    }
}

impl State {
    /// Hands a consumer what is ready, within its budget.
    pub(super) fn pull<F: FnMut(Picked<'_>)>(&mut self, pull: &mut Pull<'_, F>) {
        if self.paused || self.exiting {
            return;
        }
        while !pull.is_spent() {
            let end = pull.view.released.min(self.pass_skips());
            let stop = self.again.front().map_or(end, |again| again.after.min(end));
            let present = pull.view.log.present_until(self.cursor, stop);
            for stored in pull.view.log.iter(self.cursor, present) {
                if !self.may_pass(pull.now) {
                    return;
                }
                self.cursor = stored.seq + 1;
                self.deliver_stored(stored, pull);
                if pull.is_spent() {
                    return;
                }
            }
            self.cursor = self.cursor.max(present);
            if present < stop {
                self.blocked = Some(present);
                return;
            }
            if self.again.front().is_some_and(|again| again.after <= self.cursor) {
                if !self.may_pass(pull.now) || !self.deliver_again(pull) {
                    return;
                }
            } else if self.cursor >= pull.view.released {
                return;
            }
        }
    }

    fn deliver_stored<F: FnMut(Picked<'_>)>(&mut self, stored: Stored<'_>, pull: &mut Pull<'_, F>) {
        let is_too_old = stored.timestamp < pull.horizon;
        if is_too_old || self.is_sampled_out(pull.consumer) {
            self.tally.expired += u64::from(is_too_old);
            self.keep_token();
            pull.leftovers.claim(stored.seq);
            return;
        }
        let at = self.slots.insert(Slot::new(stored.seq, Phase::Ready));
        self.window.insert(stored.seq, at);
        let attempts = self.hand_over(at, pull.consumer, pull.now);
        let Stored { seq, timestamp, body } = stored;
        pull.deliver(Picked { seq, timestamp, attempts, body });
    }

    /// Delivers the first of the requeued messages. An entry whose message is gone is dropped. `false` if the message's
    /// block is away.
    fn deliver_again<F: FnMut(Picked<'_>)>(&mut self, pull: &mut Pull<'_, F>) -> bool {
        let Some(&Again { seq, .. }) = self.again.front() else {
            return true;
        };
        let at = self.window.get(seq);
        let slot = at.and_then(|at| self.slots.get(at)).filter(|slot| slot.phase == Phase::Ready);
        let (Some(at), Some(slot)) = (at, slot) else {
            self.again.pop_front();
            self.keep_token();
            return true;
        };
        if slot.detached.is_none() && pull.view.log.is_away(seq) {
            self.blocked = Some(seq);
            self.keep_token();
            return false;
        }
        self.again.pop_front();
        self.again_live -= 1;
        let is_too_old = pull.horizon > i64::MIN && self.is_expired(seq, pull.view, pull.horizon);
        if is_too_old || self.is_sampled_out(pull.consumer) {
            self.tally.expired += u64::from(is_too_old);
            self.keep_token();
            self.forget(seq, pull.leftovers);
            return true;
        }
        self.give(at, seq, pull);
        true
    }

    /// Puts a message of the window in flight at the consumer that pulls. The channel holds a claim on it, and its block is
    /// there.
    pub(super) fn give<F: FnMut(Picked<'_>)>(&mut self, at: u32, seq: u64, pull: &mut Pull<'_, F>) {
        let attempts = self.hand_over(at, pull.consumer, pull.now);
        let Some(slot) = self.slots.get(at) else {
            return;
        };
        match &slot.detached {
            Some(detached) => pull.deliver(Picked {
                seq,
                timestamp: detached.timestamp,
                attempts,
                body: &detached.body,
            }),
            None => {
                if let Some(Stored { timestamp, body, .. }) = pull.view.log.get(seq) {
                    pull.deliver(Picked { seq, timestamp, attempts, body });
                }
            }
        }
    }

    /// Whether the channel's limit lets one more message pass. Asked when there is one.
    fn may_pass(&mut self, now: Instant) -> bool {
        self.gate.as_mut().is_none_or(|gate| gate.pass(now))
    }

    /// The message that was let pass is not delivered.
    const fn keep_token(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.take_back();
        }
    }

    /// When a live message was published, nanoseconds since the Unix epoch.
    pub(super) fn published(&self, seq: u64, view: View<'_>) -> Option<i64> {
        let slot = self.slots.get(self.window.get(seq)?)?;
        match &slot.detached {
            Some(detached) => Some(detached.timestamp),
            None => view.log.get(seq).map(|stored| stored.timestamp),
        }
    }

    /// Puts a message in flight at `consumer` and counts the attempt.
    fn hand_over(&mut self, at: u32, consumer: u32, now: Instant) -> u16 {
        let Self { slots, consumers, in_flight, .. } = self;
        let own = slots.get(at).map_or(0, Slot::own_bytes);
        slots.waiting_bytes = slots.waiting_bytes.saturating_sub(own);
        let (Some(slot), Some(to)) = (slots.get_mut(at), consumers.get_mut(consumer)) else {
            return 0;
        };
        slot.attempts = slot.attempts.saturating_add(1);
        let attempts = slot.attempts;
        let deadline = now + to.msg_timeout;
        slot.phase = Phase::InFlight { consumer, delivered: now, deadline };
        slots.link(&mut to.list, at);
        to.in_flight += 1;
        *in_flight += 1;
        attempts
    }

    /// nsqd discards what a sampling consumer does not want, for the whole channel: about `rate + 1` per cent remain.
    fn is_sampled_out(&mut self, consumer: u32) -> bool {
        let rate = self.consumers.get(consumer).map_or(0, |consumer| consumer.sample_rate);
        if rate == 0 {
            return false;
        }
        // xorshift64: statistics, not secrets.
        self.sampler ^= self.sampler << 13;
        self.sampler ^= self.sampler >> 7;
        self.sampler ^= self.sampler << 17;
        self.sampler % 100 > u64::from(rate)
    }
}
