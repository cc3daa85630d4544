//! Sinks that hand messages on to two others: a tee to both, a share to one of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::message::{Message, Outcome, Placed, Provenance, Refusal, RefusalKind, Settle};
use super::transform::Template;
use crate::names::MessageId;

/// A sink's entrance.
pub(super) type Inlet = mpsc::Sender<Vec<Message>>;

/// What the two places of a tee have said of a message.
#[derive(Debug, Default)]
struct Answers {
    first: Option<Outcome>,
    second: Option<Outcome>,
}

/// Brings the answers of both places together. One entry for each message that is under way.
pub(super) struct Both {
    settle: Arc<dyn Settle>,
    open: Mutex<HashMap<MessageId, Answers>>,
}

impl Both {
    pub(super) fn new(settle: Arc<dyn Settle>) -> Arc<Self> {
        Arc::new(Self { settle, open: Mutex::default() })
    }

    /// What `side` is to be told to settle by.
    pub(super) fn side(self: &Arc<Self>, side: Side) -> Arc<dyn Settle> {
        Arc::new(OneSide { both: Arc::clone(self), side })
    }

    /// Notes where each message is already.
    fn expect(&self, batch: &[Message]) {
        let mut open = self.open.lock();
        for message in batch {
            let (first, second) = match message.placed {
                Placed::Nowhere => (None, None),
                Placed::First => (Some(Outcome::Confirmed), None),
                Placed::Second => (None, Some(Outcome::Confirmed)),
            };
            open.insert(message.id, Answers { first, second });
        }
    }
}

/// A place of a tee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    First,
    Second,
}

struct OneSide {
    both: Arc<Both>,
    side: Side,
}

impl Settle for OneSide {
    fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        let mut ended = Vec::new();
        let mut open = self.both.open.lock();
        for (mut message, outcome) in outcomes {
            let Some(answers) = open.get_mut(&message.id) else { continue };
            match self.side {
                Side::First => answers.first = Some(outcome),
                Side::Second => answers.second = Some(outcome),
            }
            if let Some((placed, outcome)) = conclude(answers) {
                open.remove(&message.id);
                message.placed = placed;
                ended.push((message, outcome));
            }
        }
        drop(open);
        if !ended.is_empty() {
            self.both.settle.settle(ended);
        }
    }
}

/// What two answers come to, once both are there; of two refusals the one for good counts, and of two such the first.
fn conclude(answers: &Answers) -> Option<(Placed, Outcome)> {
    let (first, second) = (answers.first.as_ref()?, answers.second.as_ref()?);
    Some(match (first, second) {
        (Outcome::Refused(first), Outcome::Refused(second)) => {
            let counts =
                if second.kind.is_final() && !first.kind.is_final() { second } else { first };
            (Placed::Nowhere, Outcome::Refused(counts.clone()))
        }
        (_, refused @ Outcome::Refused(_)) => (Placed::First, refused.clone()),
        (refused @ Outcome::Refused(_), _) => (Placed::Second, refused.clone()),
        (_, has) => (Placed::Nowhere, has.clone()),
    })
}

/// Hands each message to both places, or to the one that does not have it yet, until the sender is dropped.
pub(super) async fn tee(
    both: Arc<Both>,
    to: (Inlet, Inlet),
    mut inbox: mpsc::Receiver<Vec<Message>>,
) {
    while let Some(batch) = inbox.recv().await {
        both.expect(&batch);
        let for_side = |has: Placed| -> Vec<Message> {
            batch.iter().filter(|message| message.placed != has).cloned().collect()
        };
        let (first, second) = (for_side(Placed::First), for_side(Placed::Second));
        // One place that is slow holds up the other: both are to have every message.
        if send(&to.0, first).await.is_none() || send(&to.1, second).await.is_none() {
            return;
        }
    }
}

async fn send(inlet: &Inlet, batch: Vec<Message>) -> Option<()> {
    if batch.is_empty() {
        return Some(());
    }
    inlet.send(batch).await.ok()
}

/// What decides which way a message goes.
pub(super) struct Divide {
    /// Hundredths of a per cent that go to the part.
    pub(super) share: u16,
    pub(super) by: Option<Template>,
    pub(super) from: Provenance,
}

impl Divide {
    /// Whether the message belongs to the part: always the same for the same value, on every node.
    fn is_part(&self, message: &Message) -> Result<bool, Refusal> {
        let hash = match &self.by {
            None => match &message.message_id {
                Some(id) => crc32fast::hash(id.as_bytes()),
                None => crc32fast::hash(&message.id.to_hex()),
            },
            Some(by) => {
                let id = message.id.to_string();
                let value = by.render(&message.view(&self.from, &id));
                let value = value
                    .map_err(|error| Refusal::new(RefusalKind::Transform, error.to_string()))?;
                crc32fast::hash(value.as_bytes())
            }
        };
        Ok(hash % 10_000 < u32::from(self.share))
    }
}

/// Hands each message to the part or to the rest, until the sender is dropped.
pub(super) async fn share(
    divide: Divide,
    settle: Arc<dyn Settle>,
    to: (Inlet, Inlet),
    mut inbox: mpsc::Receiver<Vec<Message>>,
) {
    while let Some(batch) = inbox.recv().await {
        let (mut part, mut rest, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for message in batch {
            match divide.is_part(&message) {
                Ok(true) => part.push(message),
                Ok(false) => rest.push(message),
                Err(refusal) => refused.push((message, Outcome::Refused(refusal))),
            }
        }
        if !refused.is_empty() {
            settle.settle(refused);
        }
        if send(&to.0, part).await.is_none() || send(&to.1, rest).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: u64, body: &str) -> Message {
        Message {
            id: MessageId(id),
            message_id: None,
            timestamp: 0,
            attempts: 1,
            body: body.to_owned().into(),
            properties: None,
            shaped: None,
            ticket: None,
            dead: None,
            placed: Placed::Nowhere,
            is_excess: false,
            put_off: None,
            due: None,
        }
    }

    #[derive(Default)]
    struct Seen(Mutex<Vec<(u64, Placed, bool)>>);

    impl Settle for Seen {
        fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
            let seen = outcomes.into_iter().map(|(message, outcome)| {
                (message.id.0, message.placed, outcome == Outcome::Confirmed)
            });
            self.0.lock().extend(seen);
        }
    }

    #[test]
    fn a_tee_speaks_when_both_have_spoken_and_remembers_who_has_it() {
        let seen = Arc::<Seen>::default();
        let both = Both::new(Arc::clone(&seen) as Arc<dyn Settle>);
        let (first, second) = (both.side(Side::First), both.side(Side::Second));
        let refused = || Outcome::Refused(Refusal::new(RefusalKind::Nacked, "no"));
        both.expect(&[message(1, ""), message(2, "")]);
        first.settle(vec![
            (message(1, ""), Outcome::Confirmed),
            (message(2, ""), Outcome::Confirmed),
        ]);
        assert!(seen.0.lock().is_empty());
        second.settle(vec![(message(2, ""), refused()), (message(1, ""), Outcome::Confirmed)]);
        assert_eq!(*seen.0.lock(), [(2, Placed::First, false), (1, Placed::Nowhere, true)]);
        let mut again = message(2, "");
        again.placed = Placed::First;
        both.expect(&[again.clone()]);
        second.settle(vec![(again, Outcome::Confirmed)]);
        assert_eq!(seen.0.lock().last(), Some(&(2, Placed::Nowhere, true)));
        assert!(both.open.lock().is_empty());
    }

    #[test]
    fn a_share_is_as_large_as_asked_and_the_same_for_the_same_value() {
        let provenance =
            Provenance { topic: "t".into(), channel: String::new(), text: "nsq t".into() };
        let by = Some(Template::parse("{{ body.k }}").unwrap());
        let mut divide = Divide { share: 1000, by, from: provenance };
        let body = |key: u64| format!("{{\"k\":\"key-{key}\"}}");
        let part =
            (0..10_000).filter(|id| divide.is_part(&message(*id, &body(*id))).unwrap()).count();
        assert!((900..1100).contains(&part), "{part}");
        for key in 0..100 {
            let ways: Vec<bool> =
                (0..5).map(|id| divide.is_part(&message(id, &body(key))).unwrap()).collect();
            assert!(ways.iter().all(|way| *way == ways[0]));
        }
        assert!(divide.is_part(&message(1, "not json")).is_err());
        divide.by = None;
        for (share, expected) in [(0, 0), (10_000, 1000)] {
            divide.share = share;
            let part = (0..1000).filter(|id| divide.is_part(&message(*id, "")).unwrap()).count();
            assert_eq!(part, expected);
        }
    }
}
