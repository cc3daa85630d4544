//! Looking at messages without taking them.

use std::collections::BinaryHeap;
use std::time::Duration;

use super::slots::{Phase, Slot};
use super::state::{State, View};
use super::{Channel, view};
use crate::clock::{self, Instant};
use crate::engine::Topic;
use crate::engine::feed::Feed;
use crate::names::MessageId;

/// Where a message is that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekState {
    /// It waits for a consumer, or for its topic's first channel.
    Ready,
    /// A consumer has it.
    InFlight,
    /// It is held back for this long.
    Deferred(Duration),
    /// It was given up and is on its way to the dead-letter topic.
    Dead,
}

/// A message that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Its id.
    pub id: MessageId,
    /// Publish time, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries so far.
    pub attempts: u16,
    /// Where it is.
    pub state: PeekState,
    /// Bytes of its body.
    pub size: u64,
    /// Its body, or the beginning of it.
    pub body: Vec<u8>,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub struct PeekLimit {
    /// Messages.
    pub messages: usize,
    /// Bytes of bodies, all together; what does not fit is cut off.
    pub bytes: usize,
}

impl PeekLimit {
    /// As much of `body` as there is room for.
    fn cut(&mut self, body: &[u8]) -> Vec<u8> {
        let body = body.get(..self.bytes).unwrap_or(body);
        self.bytes -= body.len();
        body.to_vec()
    }
}

/// A message before its body is copied.
struct Seen<'a> {
    seq: u64,
    timestamp: i64,
    attempts: u16,
    state: PeekState,
    body: &'a [u8],
}

fn copy(seen: Vec<Seen<'_>>, node: u64, mut limit: PeekLimit) -> Vec<Peeked> {
    let copied = seen.into_iter().take(limit.messages).map(|seen| Peeked {
        id: MessageId(node | seen.seq),
        timestamp: seen.timestamp,
        attempts: seen.attempts,
        state: seen.state,
        size: seen.body.len() as u64,
        body: limit.cut(seen.body),
    });
    copied.collect()
}

impl State {
    /// The first `most` messages of each kind: those at consumers, those that wait in the order in
    /// which they will be delivered, those that are held back by when they are due.
    fn peek<'a>(&'a self, view: View<'a>, most: usize, now: Instant) -> Vec<Seen<'a>> {
        let mut seen = Vec::new();
        let in_flight = self.earliest(most, |phase| match phase {
            Phase::InFlight { delivered, .. } => Some(delivered),
            _ => None,
        });
        seen.extend(in_flight.into_iter().filter_map(|slot| show(slot, view, now)));
        self.peek_ready(view, most, now, &mut seen);
        let held = self.earliest(most, |phase| match phase {
            Phase::Deferred { due } => Some(due),
            Phase::Condemned => Some(now),
            _ => None,
        });
        seen.extend(held.into_iter().filter_map(|slot| show(slot, view, now)));
        seen
    }

    /// Those with the earliest moments, of those that have one: at most so many, however many there are.
    fn earliest(&self, most: usize, moment: impl Fn(Phase) -> Option<Instant>) -> Vec<&Slot> {
        let mut first = BinaryHeap::new();
        for (at, slot) in self.slots.iter() {
            if let Some(moment) = moment(slot.phase) {
                first.push((moment, slot.seq, at));
                if first.len() > most {
                    first.pop();
                }
            }
        }
        let sorted = first.into_sorted_vec().into_iter();
        sorted.filter_map(|(_, _, at)| self.slots.get(at)).collect()
    }

    fn peek_ready<'a>(
        &'a self,
        view: View<'a>,
        most: usize,
        now: Instant,
        seen: &mut Vec<Seen<'a>>,
    ) {
        let is_skipped = |seq: u64| self.skips.iter().any(|skip| skip.contains(&seq));
        let ahead = view.log.iter(self.cursor, view.released).filter(|s| !is_skipped(s.seq));
        let mut ahead = ahead.take(most).peekable();
        let again = self.again.iter().filter_map(|again| {
            let slot = self.slots.get(self.window.get(again.seq)?)?;
            (slot.phase == Phase::Ready).then_some((again.after, slot))
        });
        let mut again = again.take(most).peekable();
        for _ in 0..most {
            let next_ahead = ahead.peek().map(|stored| stored.seq);
            let is_again =
                again.peek().is_some_and(|(after, _)| next_ahead.is_none_or(|seq| *after <= seq));
            if is_again {
                seen.extend(again.next().and_then(|(_, slot)| show(slot, view, now)));
            } else if let Some(stored) = ahead.next() {
                let (seq, timestamp, body) = (stored.seq, stored.timestamp, stored.body);
                seen.push(Seen { seq, timestamp, attempts: 0, state: PeekState::Ready, body });
            } else {
                return;
            }
        }
    }
}

fn show<'a>(slot: &'a Slot, view: View<'a>, now: Instant) -> Option<Seen<'a>> {
    let state = match slot.phase {
        Phase::Ready => PeekState::Ready,
        Phase::InFlight { .. } => PeekState::InFlight,
        Phase::Deferred { due } => PeekState::Deferred(due.saturating_duration_since(now)),
        Phase::Condemned => PeekState::Dead,
    };
    let (timestamp, body) = match &slot.detached {
        Some(detached) => (detached.timestamp, &*detached.body),
        None => view.log.get(slot.seq).map(|stored| (stored.timestamp, stored.body))?,
    };
    Some(Seen { seq: slot.seq, timestamp, attempts: slot.attempts, state, body })
}

impl Channel {
    /// Copies of the first messages, without touching them: those at consumers, then those that wait in the order of
    /// their delivery, then those held back by when they are due. `wanted` says which of them.
    #[must_use]
    pub fn peek(&self, limit: PeekLimit, wanted: impl Fn(PeekState) -> bool) -> Vec<Peeked> {
        let feed = self.place.feed.read();
        let inner = self.inner.lock();
        let mut seen = inner.state.peek(view(&feed), limit.messages, clock::now());
        seen.retain(|seen| wanted(seen.state));
        copy(seen, self.place.shared.node, limit)
    }
}

impl Topic {
    /// Copies of the first messages that no channel has got yet.
    #[must_use]
    pub fn peek(&self, limit: PeekLimit, wanted: impl Fn(PeekState) -> bool) -> Vec<Peeked> {
        let feed: &Feed = &self.read();
        let held = |seq: u64| {
            let at = feed.held.binary_search_by_key(&seq, |held| held.seq).ok()?;
            feed.held.get(at).map(|held| held.delay)
        };
        let stored = feed.log.iter(feed.released, feed.log.next()).map(|stored| Seen {
            seq: stored.seq,
            timestamp: stored.timestamp,
            attempts: 0,
            state: held(stored.seq).map_or(PeekState::Ready, PeekState::Deferred),
            body: stored.body,
        });
        let seen = stored.filter(|seen| wanted(seen.state)).take(limit.messages).collect();
        copy(seen, self.node(), limit)
    }
}
