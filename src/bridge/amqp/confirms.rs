//! Whose message was returned? Pure: what lapin says goes in, what is certain comes out.
//!
//! RabbitMQ confirms an unroutable message too; with `mandatory` the `basic.return` comes before the ack. lapin hands a
//! waiting return to whichever confirm is resolved next, so a return can sit on another message's ack, and the returned
//! message's own ack looks clean. Returns are therefore matched by their `message_id`, and an ack counts only if no
//! return can be waiting for it:
//!
//! - every resolved confirm takes a waiting return with it, so an ack *without* one proves that none was waiting then:
//!   all returns that arrived before it have been handed out, to confirms that are resolved too;
//! - an ack with somebody else's return proves nothing about its own message, which is held until a later ack comes
//!   without a return, or until no confirm is outstanding.
//!
//! The caller looks at *all* outstanding confirms once more after it has seen some resolved, and hands over everything
//! that is resolved in one batch.

use std::collections::{BTreeMap, HashMap};

use crate::bridge::message::{Outcome, Refusal, RefusalKind};
use crate::names::MessageId;

/// What lapin says of one confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The message whose confirm it is.
    pub(super) id: MessageId,
    /// `false` for `basic.nack`.
    pub(super) ack: bool,
    /// The return that came with it: whose, and the broker's words.
    pub(super) returned: Option<(MessageId, String)>,
}

/// Returns whose message is not settled yet, and messages that cannot be settled yet.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    returned: HashMap<MessageId, String>,
    held: BTreeMap<MessageId, bool>,
}

impl Confirms {
    /// Takes a batch of resolved confirms and returns what has become certain. `outstanding` is how many confirms are
    /// not resolved yet.
    pub(super) fn judge(
        &mut self,
        batch: Vec<Verdict>,
        outstanding: usize,
    ) -> Vec<(MessageId, Outcome)> {
        // Something acked without a return after the held ones were: nothing was waiting for them.
        let mut release = outstanding == 0;
        let mut clean = Vec::with_capacity(batch.len());
        let mut doubtful = Vec::new();
        for Verdict { id, ack, returned } in batch {
            match returned {
                None => {
                    release = true;
                    clean.push((id, ack));
                }
                Some((whose, words)) => {
                    self.returned.insert(whose, words);
                    doubtful.push((id, ack));
                }
            }
        }
        let mut settled: Vec<(MessageId, Outcome)> = Vec::with_capacity(clean.len());
        if release {
            clean.extend(std::mem::take(&mut self.held));
        }
        for (id, ack) in clean {
            let outcome = self.outcome(id, ack);
            settled.push((id, outcome));
        }
        for (id, ack) in doubtful {
            if outstanding == 0 || self.returned.contains_key(&id) {
                let outcome = self.outcome(id, ack);
                settled.push((id, outcome));
            } else {
                self.held.insert(id, ack);
            }
        }
        // A return may have turned up for a message that was held.
        let found: Vec<_> = self
            .held
            .iter()
            .map(|(id, ack)| (*id, *ack))
            .filter(|(id, _)| self.returned.contains_key(id))
            .collect();
        for (id, ack) in found {
            self.held.remove(&id);
            let outcome = self.outcome(id, ack);
            settled.push((id, outcome));
        }
        if outstanding == 0 {
            self.returned.clear();
        }
        settled
    }

    fn outcome(&mut self, id: MessageId, ack: bool) -> Outcome {
        match self.returned.remove(&id) {
            Some(words) => Outcome::Refused(Refusal::new(RefusalKind::Unroutable, words)),
            None if ack => Outcome::Confirmed,
            None => Outcome::Refused(Refusal::new(
                RefusalKind::Nacked,
                "the broker could not take it (basic.nack)",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId(number)
    }

    fn ack(number: u64, returned: Option<u64>) -> Verdict {
        let returned = returned.map(|whose| (id(whose), "NO_ROUTE (312)".to_owned()));
        Verdict { id: id(number), ack: true, returned }
    }

    fn refused(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Refused(refusal) if refusal.kind == RefusalKind::Unroutable)
    }

    #[test]
    fn a_clean_ack_is_a_confirm_and_a_nack_a_refusal() {
        let mut confirms = Confirms::default();
        let nack = Verdict { id: id(2), ack: false, returned: None };
        let settled = confirms.judge(vec![ack(1, None), nack], 5);
        assert_eq!(settled[0], (id(1), Outcome::Confirmed));
        assert!(
            matches!(&settled[1].1, Outcome::Refused(refusal) if refusal.kind == RefusalKind::Nacked)
        );
    }

    #[test]
    fn a_return_on_somebody_elses_ack_finds_its_message() {
        let mut confirms = Confirms::default();
        let settled = confirms.judge(vec![ack(1, Some(2)), ack(2, None)], 5);
        assert_eq!(
            settled.iter().map(|(id, o)| (id.0, refused(o))).collect::<Vec<_>>(),
            [(2, true)]
        );
        let settled = confirms.judge(vec![ack(3, None)], 4);
        assert_eq!(
            settled.iter().map(|(id, o)| (id.0, refused(o))).collect::<Vec<_>>(),
            [(3, false), (1, false)]
        );
    }

    proptest! {
        /// lapin's behaviour, simulated: random messages are unroutable, acks cover random sets, and each resolved
        /// confirm takes the oldest waiting return. Nothing returned may come out as confirmed, and everything comes out.
        #[test]
        fn nothing_returned_is_ever_confirmed(
            unroutable in proptest::collection::vec(any::<bool>(), 1..60),
            order in proptest::collection::vec((any::<prop::sample::Index>(), 1_usize..9), 0..80),
            lag in proptest::collection::vec(0_usize..4, 0..80),
        ) {
            let mut confirms = Confirms::default();
            let mut pending: Vec<u64> = (0..unroutable.len() as u64).collect();
            let mut waiting = std::collections::VecDeque::new();
            let mut returned = std::collections::HashSet::new();
            let mut unseen = Vec::new();
            let mut settled = HashMap::new();
            let mut order = order.into_iter();
            let mut lag = lag.into_iter();
            while !pending.is_empty() {
                let (at, count) = order.next().map_or((0, pending.len()), |(at, count)| (at.index(pending.len()), count));
                let mut acked: Vec<u64> = pending.drain(at..(at + count).min(pending.len())).collect();
                // The broker returns what is unroutable before it acks it, and may be ahead with others.
                let ahead = lag.next().unwrap_or(0);
                for number in acked.iter().chain(pending.iter().take(ahead)) {
                    if unroutable[usize::try_from(*number).unwrap()] && returned.insert(*number) {
                        waiting.push_back(*number);
                    }
                }
                acked.reverse();
                for number in acked {
                    unseen.push(ack(number, waiting.pop_front()));
                }
                if ahead != 3 || pending.is_empty() {
                    for (id, outcome) in confirms.judge(std::mem::take(&mut unseen), pending.len()) {
                        prop_assert!(settled.insert(id.0, refused(&outcome)).is_none());
                    }
                }
            }
            for (number, is_unroutable) in unroutable.iter().enumerate() {
                prop_assert_eq!(settled.get(&(number as u64)), Some(is_unroutable), "message {}", number);
            }
        }
    }
}
