//! Source that is a queue of a broker: deliveries wait here until the route takes them, and stay unacknowledged at the
//! broker until they are settled.
//!
//! What waits is bounded by the prefetch. When the channel is lost everything of its generation is forgotten: the broker
//! has it again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;

use super::arrival::Arrival;
use super::consumer::{Arrivals, Progress, Settlements};
use crate::bridge::delay::{self, Ladder};
use crate::bridge::message::{Message, Outcome, Placed};
use crate::bridge::phase::{self, Phase};
use crate::bridge::runner::Pace;
use crate::bridge::settler::Origin;
use crate::bridge::status::Status;
use crate::clock::{self, Instant};
use crate::engine;
use crate::names::MessageId;

/// The generation's place in an id; tags below it are a trillion deliveries.
const GENERATION_SHIFT: u32 = 40;

pub(in crate::bridge) fn id_of(origin: engine::Origin) -> MessageId {
    MessageId(origin.generation << GENERATION_SHIFT | origin.tag)
}

pub(in crate::bridge) fn origin_of(id: MessageId) -> engine::Origin {
    engine::Origin {
        generation: id.0 >> GENERATION_SHIFT,
        tag: id.0 & ((1 << GENERATION_SHIFT) - 1),
    }
}

#[derive(Default)]
struct State {
    /// Generations up to this one were given back.
    revoked: u64,
    ready: VecDeque<Message>,
    /// To be handed out again, by time; the number keeps those of one time apart.
    again: BTreeMap<(Instant, MessageId), Message>,
    /// Handed out and not settled.
    out: usize,
}

impl State {
    fn knows(&self, id: MessageId) -> bool {
        origin_of(id).generation > self.revoked
    }
}

/// See the module's description.
pub(in crate::bridge) struct QueueSource {
    settlements: Arc<Settlements>,
    state: Mutex<State>,
    /// For whoever takes messages.
    changed: Notify,
    /// For whoever waits until nothing is out any more.
    idle: Notify,
    /// Where messages wait that come before they are due. Its sink settles here, so it is given up with the settler.
    ladder: Mutex<Option<Ladder>>,
}

impl QueueSource {
    pub(in crate::bridge) fn new(settlements: Arc<Settlements>) -> Arc<Self> {
        Arc::new(Self {
            settlements,
            state: Mutex::default(),
            changed: Notify::new(),
            idle: Notify::new(),
            ladder: Mutex::default(),
        })
    }

    /// Waits for messages and takes a portion of them, those that come again first.
    pub(in crate::bridge) async fn next(&self, pace: &Pace) -> Vec<Message> {
        loop {
            let due = {
                let mut state = self.state.lock();
                let batch = take(&mut state, pace, clock::now());
                if !batch.is_empty() {
                    state.out += batch.len();
                    return batch;
                }
                state.again.first_key_value().map(|((at, _), _)| *at)
            };
            let alarm = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = alarm => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Whether a message that was handed out was not given back since.
    pub(in crate::bridge) fn knows(&self, id: MessageId) -> bool {
        self.state.lock().knows(id)
    }

    /// Takes what has arrived.
    fn arrive(&self, burst: Vec<Arrival>) {
        let now = clock::unix_nanos();
        let (mut ready, mut early) = (Vec::with_capacity(burst.len()), Vec::new());
        for arrival in burst {
            let due = arrival.due.filter(|_| self.ladder.lock().is_some());
            let message = Message {
                id: id_of(arrival.origin),
                message_id: arrival.message_id.map(Into::into),
                timestamp: if arrival.timestamp == 0 { now } else { arrival.timestamp },
                attempts: arrival.attempts.saturating_add(1),
                body: arrival.body,
                properties: arrival.properties,
                shaped: None,
                ticket: None,
                dead: None,
                placed: Placed::Nowhere,
                is_excess: false,
                put_off: None,
                due: None,
            };
            match due.filter(|due| !delay::left(*due).is_zero()) {
                Some(due) => early.push((message, due)),
                None => ready.push(message),
            }
        }
        self.state.lock().ready.extend(ready);
        for (message, due) in early {
            self.postpone(message, due);
        }
        self.changed.notify_one();
    }

    /// Puts a message that is not due yet on the next step, or keeps it here for the rest of the time.
    fn postpone(&self, message: Message, due: i64) {
        let left = delay::left(due);
        let kept = match &*self.ladder.lock() {
            Some(ladder) if delay::Step::within(left).is_some() => {
                ladder.put_off(message, due).err().map(|message| *message)
            }
            _ => Some(message),
        };
        if let Some(message) = kept {
            self.state.lock().again.insert((clock::now() + left, message.id), message);
        }
    }

    /// Has messages that come too early wait on this ladder.
    pub(in crate::bridge) fn wait_on(&self, ladder: Ladder) {
        *self.ladder.lock() = Some(ladder);
    }

    /// The ladder has these messages again, or does not.
    pub(in crate::bridge) fn put_off(&self, outcomes: Vec<(Message, Outcome)>, status: &Status) {
        let mut origins = Vec::new();
        for (mut message, outcome) in outcomes {
            match (outcome, message.put_off.take()) {
                (Outcome::Confirmed, _) => origins.push(origin_of(message.id)),
                (_, Some(put_off)) if self.state.lock().knows(message.id) => {
                    let at = clock::now() + delay::left(put_off.due);
                    self.state.lock().again.insert((at, message.id), message);
                }
                _ => {}
            }
        }
        let settled = self.settlements.settle(&origins);
        // They will be received once more.
        status.counters.given_back.fetch_add(settled, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Forgets what was not handed out: it is about to be given back.
    fn recall(&self) {
        let mut state = self.state.lock();
        state.ready.clear();
        state.again.clear();
    }

    fn revoke(&self, generation: u64) {
        let mut state = self.state.lock();
        state.revoked = generation;
        state.ready.clear();
        state.again.clear();
        state.out = 0;
        drop(state);
        self.idle.notify_one();
    }

    /// Waits until everything that was handed out is settled.
    async fn settled(&self) {
        while self.state.lock().out > 0 {
            self.idle.notified().await;
        }
    }
}

/// A portion of what may go out now.
fn take(state: &mut State, pace: &Pace, now: Instant) -> Vec<Message> {
    let mut batch = Vec::new();
    while batch.len() < pace.messages
        && let Some(entry) = state.again.first_entry()
        && entry.key().0 <= now
    {
        batch.push(entry.remove());
    }
    if !batch.is_empty() {
        return batch;
    }
    let (count, _) = pace.portion(state.ready.iter().map(Message::size));
    state.ready.drain(..count).collect()
}

impl Origin for QueueSource {
    fn finish(&self, ids: &[MessageId]) -> u64 {
        let origins: Vec<engine::Origin> = ids.iter().map(|id| origin_of(*id)).collect();
        let settled = self.settlements.settle(&origins);
        let mut state = self.state.lock();
        let known = ids.iter().filter(|id| state.knows(**id)).count();
        state.out = state.out.saturating_sub(known);
        let is_last = state.out == 0;
        drop(state);
        if is_last {
            self.idle.notify_one();
        }
        settled
    }

    fn retry(&self, messages: Vec<(Message, Instant)>) {
        let mut state = self.state.lock();
        for (mut message, at) in messages {
            if state.knows(message.id) {
                message.attempts = message.attempts.saturating_add(1);
                state.out = state.out.saturating_sub(1);
                state.again.insert((at, message.id), message);
            }
        }
        drop(state);
        self.changed.notify_one();
        self.idle.notify_one();
    }

    fn released(&self) {
        *self.ladder.lock() = None;
        self.state.lock().out = 0;
        self.idle.notify_one();
    }
}

/// Brings the deliveries of a queue to a [`QueueSource`] while its route runs.
pub(in crate::bridge) struct Inflow {
    pub(in crate::bridge) source: Arc<QueueSource>,
    pub(in crate::bridge) phase: watch::Receiver<Phase>,
}

impl Arrivals for Inflow {
    async fn wanted(&mut self) {
        phase::is(&mut self.phase, Phase::Running).await;
    }

    fn take(&mut self, burst: Vec<Arrival>) {
        self.source.arrive(burst);
    }

    fn is_busy(&self) -> bool {
        false
    }

    async fn progress(&mut self) -> Progress {
        phase::is_not(&mut self.phase, Phase::Running).await;
        Progress::Unwanted
    }

    async fn settled(&mut self) {
        self.source.recall();
        self.source.settled().await;
    }

    fn revoke(&mut self, generation: u64) {
        self.source.revoke(generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_which_delivery_it_is() {
        let origin = engine::Origin { generation: 7, tag: 123_456_789 };
        assert_eq!(origin_of(id_of(origin)), origin);
    }

    #[test]
    fn what_comes_again_comes_first_and_not_before_its_time() {
        let source = QueueSource::new(Arc::default());
        let arrival = |tag| Arrival {
            body: "x".into(),
            timestamp: 0,
            attempts: 0,
            message_id: None,
            due: None,
            properties: None,
            origin: engine::Origin { generation: 1, tag },
        };
        source.arrive(vec![arrival(1), arrival(2), arrival(3)]);
        let now = clock::now();
        let pace = Pace { messages: 2, bytes: u64::MAX };
        let mut state = source.state.lock();
        let mut batch = take(&mut state, &pace, now);
        assert_eq!(batch.len(), 2);
        state.out = 2;
        drop(state);
        let later = now + std::time::Duration::from_secs(1);
        source.retry(vec![(batch.remove(0), later)]);
        let mut state = source.state.lock();
        assert_eq!(state.out, 1);
        let tags = |batch: &[Message]| -> Vec<_> {
            batch.iter().map(|message| (origin_of(message.id).tag, message.attempts)).collect()
        };
        assert_eq!(tags(&take(&mut state, &pace, now)), [(3, 1)]);
        assert_eq!(tags(&take(&mut state, &pace, now)), []);
        assert_eq!(tags(&take(&mut state, &pace, later)), [(1, 2)]);
        drop(state);
        source.revoke(1);
        source.retry(vec![(batch.remove(0), later)]);
        assert!(source.state.lock().again.is_empty(), "the broker has it again");
    }
}
