//! Single messages that somebody takes by hand, wherever they are in the queue: for an operator who puts dead letters back
//! or throws them away. A pause does not hold them, and no consumer's share is asked.

use std::collections::VecDeque;
use std::ops::Range;

use super::delivery::{Picked, Pull};
use super::slots::{Phase, Slot};
use super::state::{Leftovers, State};
use super::subscription::{Consumer, Delivery};
use super::view;
use crate::clock::Instant;
use crate::engine::feed::SEQ_MASK;
use crate::names::MessageId;

impl Consumer {
    /// Hands `sink` those of `ids` that wait or are held back, as if they had been pulled: they are in flight then. The
    /// others are passed over: they are gone, at another consumer, or their block is away. Returns how many were taken.
    pub fn take(&self, ids: &[MessageId], now: Instant, mut sink: impl FnMut(Delivery<'_>)) -> u64 {
        let channel = &*self.channel;
        let node = channel.place.shared.node;
        let mut leftovers = Leftovers::default();
        let feed = channel.place.feed.read();
        let mut inner = channel.inner.lock();
        let mut pull = Pull {
            view: view(&feed),
            consumer: self.index,
            now,
            messages: u64::MAX,
            bytes: usize::MAX,
            horizon: i64::MIN,
            delivered: 0,
            leftovers: &mut leftovers,
            sink: |picked: Picked<'_>| {
                let Picked { seq, timestamp, attempts, body } = picked;
                sink(Delivery { id: MessageId(node | seq), timestamp, attempts, body });
            },
        };
        for id in ids.iter().filter(|id| id.0 & !SEQ_MASK == node) {
            inner.state.take(id.0 & SEQ_MASK, &mut pull);
        }
        let taken = pull.delivered;
        if taken > 0
            && let Some(timeout) = inner.state.consumers.get(self.index).map(|c| c.msg_timeout)
        {
            channel.set_alarm(&mut inner, now + timeout);
        }
        inner.deliveries += taken;
        taken
    }
}

impl State {
    /// Puts one message in flight at the consumer that pulls, if it is there to be had.
    fn take<F: FnMut(Picked<'_>)>(&mut self, seq: u64, pull: &mut Pull<'_, F>) {
        let at = match self.window.get(seq) {
            Some(at) => self.pick_out(at, pull),
            None => self.pick_ahead(seq, pull),
        };
        if let Some(at) = at {
            self.give(at, seq, pull);
        }
    }

    /// A message that was delivered before or is held back. Its entry in the queue is passed over later.
    fn pick_out<F>(&mut self, at: u32, pull: &Pull<'_, F>) -> Option<u32> {
        let slot = self.slots.get(at)?;
        if slot.detached.is_none() && pull.view.log.is_away(slot.seq) {
            return None;
        }
        match slot.phase {
            Phase::Ready => self.again_live -= 1,
            Phase::Deferred { .. } => self.deferred_live -= 1,
            Phase::InFlight { .. } | Phase::Condemned => return None,
        }
        Some(at)
    }

    /// A message that the cursor has not reached.
    fn pick_ahead<F>(&mut self, seq: u64, pull: &Pull<'_, F>) -> Option<u32> {
        if seq < self.cursor || seq >= pull.view.released {
            return None;
        }
        pull.view.log.get(seq)?;
        if !exclude(&mut self.skips, seq) {
            return None;
        }
        let at = self.slots.insert(Slot::new(seq, Phase::Ready));
        self.window.insert(seq, at);
        Some(at)
    }
}

/// Adds `seq` to ranges that are sorted and apart. `false` if it is in one of them.
fn exclude(skips: &mut VecDeque<Range<u64>>, seq: u64) -> bool {
    let behind = skips.partition_point(|skip| skip.start <= seq);
    if let Some(before) = behind.checked_sub(1).and_then(|at| skips.get_mut(at)) {
        if before.contains(&seq) {
            return false;
        }
        if before.end == seq {
            before.end = seq + 1;
            return true;
        }
    }
    skips.insert(behind, seq..seq + 1);
    true
}

#[cfg(test)]
mod tests;
