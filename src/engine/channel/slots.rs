//! The details of a channel's live messages, and each consumer's list of what it has in flight.
//!
//! The list runs through the slots themselves, oldest deadline first, so FIN, REQ, TOUCH and a timeout are O(1), without
//! allocation and without stale entries: a message settled out of order leaves nothing behind.

use bytes::Bytes;

use crate::clock::Instant;
use crate::engine::upstream::Source;

/// Ends a list.
const END: u32 = u32::MAX;

/// A message that is not in the topic's log: deferred at publish, delivered by a bridge, or moved out of a block that
/// had become nearly empty.
#[derive(Clone, Debug)]
pub(super) struct Detached {
    pub(super) body: Bytes,
    /// Publish time, nanoseconds since the Unix epoch.
    pub(super) timestamp: i64,
    /// Whom to tell when it is settled.
    pub(super) source: Option<Source>,
}

/// Where a live message is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Queued again (or for the first time, if it never was in the log).
    Ready,
    /// Held back until this moment.
    Deferred { due: Instant },
    /// At a consumer.
    InFlight { consumer: u32, delivered: Instant, deadline: Instant },
    /// Given up, and kept until its dead-letter topic has it.
    Condemned,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) seq: u64,
    /// Deliveries so far; stays at its largest value instead of starting again at 0 as nsqd's does.
    pub(super) attempts: u16,
    pub(super) phase: Phase,
    pub(super) detached: Option<Box<Detached>>,
    /// Bytes of its body, if it is in the log and was held back before it was delivered.
    pub(super) logged_bytes: u32,
    previous: u32,
    next: u32,
}

impl Slot {
    pub(super) const fn new(seq: u64, phase: Phase) -> Self {
        Self { seq, attempts: 0, phase, detached: None, logged_bytes: 0, previous: END, next: END }
    }

    /// Whether an upstream keeps it, too.
    pub(super) fn is_foreign(&self) -> bool {
        self.detached.as_ref().is_some_and(|detached| detached.source.is_some())
    }

    /// Bytes of its body, if that is not an upstream's, nor in the log and counted there.
    pub(super) fn own_bytes(&self) -> u64 {
        match &self.detached {
            Some(detached) if detached.source.is_none() => detached.body.len() as u64,
            Some(_) => 0,
            None => self.logged_bytes.into(),
        }
    }
}

/// The ends of one consumer's list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { head: END, tail: END };

    /// The slot with the earliest deadline.
    pub(super) fn first(&self) -> Option<u32> {
        (self.head != END).then_some(self.head)
    }
}

/// All slots of a channel.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// How many are an upstream's.
    pub(super) foreign: u64,
    /// [`Slot::own_bytes`] of all that are not in flight.
    pub(super) waiting_bytes: u64,
}

impl Slots {
    pub(super) fn insert(&mut self, slot: Slot) -> u32 {
        self.foreign += u64::from(slot.is_foreign());
        self.waiting_bytes += slot.own_bytes();
        if let Some(at) = self.free.pop()
            && let Some(place) = self.slots.get_mut(at as usize)
        {
            *place = Some(slot);
            return at;
        }
        // More than four billion live messages do not fit into memory.
        let at = u32::try_from(self.slots.len()).unwrap_or(END - 1);
        self.slots.push(Some(slot));
        at
    }

    pub(super) fn get(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Slot> {
        let slot = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        self.foreign -= u64::from(slot.is_foreign());
        self.waiting_bytes = self.waiting_bytes.saturating_sub(slot.own_bytes());
        Some(slot)
    }

    /// Drops all slots and hands them out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Slot> + use<> {
        self.free = Vec::new();
        self.foreign = 0;
        self.waiting_bytes = 0;
        std::mem::take(&mut self.slots).into_iter().flatten()
    }

    /// Every live slot, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..).zip(&self.slots).filter_map(|(at, slot)| Some((at, slot.as_ref()?)))
    }

    fn deadline(&self, at: u32) -> Option<Instant> {
        match self.get(at)?.phase {
            Phase::InFlight { deadline, .. } => Some(deadline),
            Phase::Ready | Phase::Deferred { .. } | Phase::Condemned => None,
        }
    }

    /// Puts an in-flight slot into `list` by its deadline. Deadlines nearly always grow, so the search starts at the end.
    pub(super) fn link(&mut self, list: &mut List, at: u32) {
        let deadline = self.deadline(at);
        let mut previous = list.tail;
        while previous != END && self.deadline(previous) > deadline {
            previous = self.get(previous).map_or(END, |slot| slot.previous);
        }
        let next = self.get(previous).map_or(list.head, |slot| slot.next);
        if let Some(slot) = self.get_mut(at) {
            slot.previous = previous;
            slot.next = next;
        }
        match self.get_mut(previous) {
            Some(slot) => slot.next = at,
            None => list.head = at,
        }
        match self.get_mut(next) {
            Some(slot) => slot.previous = at,
            None => list.tail = at,
        }
    }

    /// Takes a slot out of `list`.
    pub(super) fn unlink(&mut self, list: &mut List, at: u32) {
        let Some(slot) = self.get_mut(at) else { return };
        let (previous, next) = (slot.previous, slot.next);
        slot.previous = END;
        slot.next = END;
        match self.get_mut(previous) {
            Some(slot) => slot.next = next,
            None => list.head = next,
        }
        match self.get_mut(next) {
            Some(slot) => slot.previous = previous,
            None => list.tail = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn order(slots: &Slots, list: List) -> Vec<u64> {
        let mut seqs = Vec::new();
        let mut at = list.head;
        while let Some(slot) = slots.get(at) {
            seqs.push(slot.seq);
            at = slot.next;
        }
        seqs
    }

    #[test]
    fn the_list_is_kept_by_deadline_and_survives_removal_anywhere() {
        let start = crate::clock::now();
        let mut slots = Slots::default();
        let mut list = List::EMPTY;
        let mut places = Vec::new();
        for (seq, seconds) in [(1, 10), (2, 20), (3, 15), (4, 5), (5, 20)] {
            let deadline = start + Duration::from_secs(seconds);
            let phase = Phase::InFlight { consumer: 0, delivered: start, deadline };
            let at = slots.insert(Slot::new(seq, phase));
            slots.link(&mut list, at);
            places.push(at);
        }
        assert_eq!(order(&slots, list), [4, 1, 3, 2, 5]);
        for (place, left) in
            [(2, vec![4, 1, 2, 5]), (3, vec![1, 2, 5]), (4, vec![1, 2]), (0, vec![2]), (1, vec![])]
        {
            slots.unlink(&mut list, places[place]);
            slots.remove(places[place]);
            assert_eq!(order(&slots, list), left);
        }
        assert_eq!(list.first(), None);
    }
}
