//! Coalesces acks: one `multiple` ack for everything up to the first unsettled delivery. Pure.
//!
//! A delivery that is settled behind one that is not waits for one round, in the hope of being covered by the next
//! `multiple` ack; after that it is acked by itself, so that a slow message does not hold up the prefetch.

use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Settled,
    /// Settled, and passed over by the last round.
    Stale,
    Acked,
}

/// An ack to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    pub(super) multiple: bool,
}

/// The deliveries of one channel that are not acked. Tags count from 1.
#[derive(Debug)]
pub(super) struct Acks {
    /// The tag of the first entry.
    first: u64,
    states: VecDeque<State>,
    /// Settled and not acked.
    settled: usize,
}

impl Default for Acks {
    fn default() -> Self {
        Self { first: 1, states: VecDeque::new(), settled: 0 }
    }
}

impl Acks {
    /// Notes the delivery with the next tag.
    pub(super) fn deliver(&mut self, tag: u64) {
        // The broker numbers deliveries without gaps; a tag that is not expected would be a bug on either side.
        debug_assert_eq!(tag, self.first + self.states.len() as u64, "delivery tags have a gap");
        self.states.push_back(State::Open);
    }

    /// Notes that a delivery is done with. `false` if it was already, or is unknown.
    pub(super) fn settle(&mut self, tag: u64) -> bool {
        let at = tag.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.states.get_mut(at)) {
            Some(state @ State::Open) => {
                *state = State::Settled;
                self.settled += 1;
                true
            }
            _ => false,
        }
    }

    /// Deliveries that are not settled.
    pub(super) fn open(&self) -> usize {
        self.states.iter().filter(|state| **state == State::Open).count()
    }

    /// The tag of the first delivery that is not settled, or of the next to come.
    pub(super) fn first_open(&self) -> u64 {
        let before = self.states.iter().take_while(|state| **state != State::Open).count();
        self.first + before as u64
    }

    /// How many are settled and not acked.
    pub(super) const fn settled(&self) -> usize {
        self.settled
    }

    /// The acks to send now. With `all`, nothing settled is left for the next round.
    pub(super) fn take(&mut self, all: bool) -> Vec<Ack> {
        let mut acks = Vec::new();
        let mut last = None;
        while let Some(state) = self.states.front().copied().filter(|state| *state != State::Open) {
            if state != State::Acked {
                self.settled -= 1;
                last = Some(self.first);
            }
            self.states.pop_front();
            self.first += 1;
        }
        acks.extend(last.map(|tag| Ack { tag, multiple: true }));
        for (tag, state) in (self.first..).zip(&mut self.states) {
            match state {
                State::Settled if !all => *state = State::Stale,
                State::Settled | State::Stale => {
                    *state = State::Acked;
                    self.settled -= 1;
                    acks.push(Ack { tag, multiple: false });
                }
                State::Open | State::Acked => {}
            }
        }
        acks
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ack(tag: u64, multiple: bool) -> Ack {
        Ack { tag, multiple }
    }

    #[test]
    fn a_prefix_is_one_ack_and_stragglers_follow_a_round_later() {
        let mut acks = Acks::default();
        (1..=6).for_each(|tag| acks.deliver(tag));
        for tag in [1, 2, 4, 5] {
            assert!(acks.settle(tag));
        }
        assert!(!acks.settle(1) && !acks.settle(9));
        assert_eq!(acks.take(false), [ack(2, true)]);
        assert_eq!(acks.settled(), 2);
        assert_eq!(acks.take(false), [ack(4, false), ack(5, false)]);
        assert_eq!(acks.settled(), 0);
        assert!(acks.settle(3));
        assert_eq!(acks.take(false), [ack(3, true)]);
        assert_eq!(acks.open(), 1);
        acks.settle(6);
        assert_eq!(acks.take(true), [ack(6, true)]);
    }

    proptest! {
        /// A model of the broker: each delivery is acked exactly once, and none that is not settled.
        #[test]
        fn what_is_acked_is_what_was_settled(steps in proptest::collection::vec((0_u8..4, any::<prop::sample::Index>()), 0..200)) {
            let mut acks = Acks::default();
            let (mut next, mut settled, mut unacked) = (1_u64, BTreeSet::new(), BTreeSet::new());
            for (step, at) in steps {
                match step {
                    0 => {
                        acks.deliver(next);
                        unacked.insert(next);
                        next += 1;
                    }
                    1 if next > 1 => {
                        let tag = 1 + at.index(usize::try_from(next - 1).unwrap()) as u64;
                        prop_assert_eq!(acks.settle(tag), settled.insert(tag));
                    }
                    _ => for ack in acks.take(step == 3) {
                        let covered: Vec<u64> = if ack.multiple {
                            unacked.range(..=ack.tag).copied().collect()
                        } else {
                            vec![ack.tag]
                        };
                        prop_assert!(!covered.is_empty());
                        for tag in covered {
                            prop_assert!(unacked.remove(&tag), "{} acked twice", tag);
                            prop_assert!(settled.contains(&tag), "{} acked unsettled", tag);
                        }
                    }
                }
            }
            acks.take(true);
            prop_assert_eq!(acks.settled(), 0);
        }
    }
}
