//! What all connections of a consumer share, and who of them may have how many messages out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::{Delivery, Tag};
use crate::client::backoff::{Allowance, Backoff};
use crate::client::share::{Claim, View, settle, shares};
use crate::clock::{self, Instant};
use crate::names::MessageId;
use crate::protocol::encode;

/// How often turns are looked at where there are fewer messages than connections.
const LOOK: Duration = Duration::from_millis(500);

/// A message's id as it came.
type RawId = [u8; MessageId::LEN];

/// A connection that is up.
#[derive(Debug)]
struct Node {
    /// What is to be written.
    out: Vec<u8>,
    wake: Arc<Notify>,
    /// What is out, and since when its nsqd's patience runs.
    held: HashMap<RawId, Instant>,
    rdy: u32,
    max_rdy: u32,
    /// When it got or lost its turn.
    since: Instant,
    /// When its last message came.
    heard: Instant,
}

impl Node {
    fn held(&self) -> u32 {
        u32::try_from(self.held.len()).unwrap_or(u32::MAX)
    }
}

#[derive(Debug)]
struct State {
    nodes: BTreeMap<u64, Node>,
    last: u64,
    ready: VecDeque<Delivery>,
    backoff: Backoff,
    is_paused: bool,
    is_leaving: bool,
    /// A connection waits for messages that others have out.
    is_short: bool,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    max_in_flight: u32,
    /// Something is ready.
    pub(super) arrived: Notify,
    /// Who may have how much is to be looked at at another time than was known.
    changed: Notify,
}

impl Shared {
    pub(super) fn new(max_in_flight: u32, backoff: Backoff) -> Self {
        let state = State {
            nodes: BTreeMap::new(),
            last: 0,
            ready: VecDeque::new(),
            backoff,
            is_paused: false,
            is_leaving: false,
            is_short: false,
        };
        Self {
            state: Mutex::new(state),
            max_in_flight,
            arrived: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Takes in a connection that has subscribed; gives its number.
    pub(super) fn join(&self, max_rdy: u32, wake: Arc<Notify>, now: Instant) -> u64 {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        let node = Node {
            out: Vec::new(),
            wake,
            held: HashMap::new(),
            rdy: 0,
            max_rdy,
            since: now,
            heard: now,
        };
        state.nodes.insert(number, node);
        self.spread(&mut state, now);
        number
    }

    /// Forgets a connection and everything that came by it.
    pub(super) fn part(&self, number: u64, now: Instant) {
        let mut state = self.state.lock();
        state.nodes.remove(&number);
        state.ready.retain(|delivery| delivery.tag.connection != number);
        self.spread(&mut state, now);
    }

    /// Takes in messages that have come by a connection.
    pub(super) fn arrive(&self, number: u64, deliveries: Vec<Delivery>, now: Instant) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let gives_back = state.is_leaving || state.is_paused;
        let Some(node) = state.nodes.get_mut(&number) else { return };
        node.heard = now;
        for delivery in deliveries {
            if gives_back {
                encode::push_req(&mut node.out, &delivery.tag.id, 0);
                continue;
            }
            node.held.insert(delivery.tag.id, now);
            state.ready.push_back(delivery);
        }
        if gives_back {
            node.wake.notify_one();
        } else {
            self.arrived.notify_one();
        }
    }

    pub(super) fn take(&self, messages: usize, bytes: u64) -> Vec<Delivery> {
        let mut state = self.state.lock();
        let mut sum = 0;
        let mut count = 0;
        for delivery in state.ready.iter().take(messages) {
            sum += delivery.body.len() as u64;
            if count > 0 && sum > bytes {
                break;
            }
            count += 1;
        }
        state.ready.drain(..count).collect()
    }

    pub(super) fn finish(&self, tags: &[Tag], now: Instant) -> u64 {
        let mut state = self.state.lock();
        let known = state.settle(tags.iter().map(|tag| (*tag, None)));
        if known > 0 {
            let changes = state.backoff.ended(true, now);
            self.after_settling(&mut state, changes, now);
        }
        known
    }

    pub(super) fn requeue(
        &self,
        messages: &[(Tag, Duration)],
        is_failure: bool,
        now: Instant,
    ) -> u64 {
        let mut state = self.state.lock();
        let known = state.settle(messages.iter().map(|(tag, delay)| (*tag, Some(*delay))));
        let changes = known > 0 && is_failure && state.backoff.ended(false, now);
        self.after_settling(&mut state, changes, now);
        known
    }

    fn after_settling(&self, state: &mut State, backoff_changed: bool, now: Instant) {
        if backoff_changed || state.is_short {
            self.spread(state, now);
        }
    }

    pub(super) fn pause(&self, is_paused: bool, now: Instant) {
        let mut state = self.state.lock();
        state.is_paused = is_paused;
        if is_paused {
            state.give_back_ready();
        }
        self.spread(&mut state, now);
    }

    pub(super) fn leave(&self, now: Instant) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.is_leaving, true) {
            return;
        }
        state.give_back_ready();
        self.spread(&mut state, now);
        for node in state.nodes.values() {
            node.wake.notify_one();
        }
    }

    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        state.ready.clear();
        for node in state.nodes.values_mut() {
            for (id, _) in node.held.drain() {
                encode::push_req(&mut node.out, &id, 0);
            }
            node.wake.notify_one();
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state.lock().nodes.values().map(|node| node.held.len()).sum()
    }

    /// Moves what is to be written into `out`. Says whether the consumer is leaving, and how many of the connection's
    /// messages are out.
    pub(super) fn collect(&self, number: u64, out: &mut Vec<u8>) -> (bool, usize) {
        let mut state = self.state.lock();
        let is_leaving = state.is_leaving;
        let Some(node) = state.nodes.get_mut(&number) else { return (is_leaving, 0) };
        out.append(&mut node.out);
        (is_leaving, node.held.len())
    }

    /// Touches what has been out for half of `msg_timeout` since it came or was touched last.
    pub(super) fn touch(&self, number: u64, msg_timeout: Duration, now: Instant) {
        let mut state = self.state.lock();
        let Some(node) = state.nodes.get_mut(&number) else { return };
        for (id, since) in &mut node.held {
            if now.saturating_duration_since(*since) >= msg_timeout / 2 {
                encode::push_touch(&mut node.out, id);
                *since = now;
            }
        }
    }

    /// Looks at who may have how much whenever time alone changes it, for as long as it is polled.
    pub(super) async fn turn(&self) {
        loop {
            let alarm = self.alarm(clock::now());
            let ring = async {
                match alarm {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ring => self.spread(&mut self.state.lock(), clock::now()),
                () = self.changed.notified() => {}
            }
        }
    }

    fn alarm(&self, now: Instant) -> Option<Instant> {
        let state = self.state.lock();
        let count = u32::try_from(state.nodes.len()).unwrap_or(u32::MAX);
        match state.allowance(self.max_in_flight, now) {
            Err(until) => Some(until),
            Ok(total) => (total > 0 && total < count).then(|| now + LOOK),
        }
    }

    /// Gives each connection its part.
    fn spread(&self, state: &mut State, now: Instant) {
        let total = state.allowance(self.max_in_flight, now).unwrap_or(0);
        let views: Vec<View> = state
            .nodes
            .values()
            .map(|node| View {
                max_rdy: node.max_rdy,
                since: now.saturating_duration_since(node.since),
                has_turn: node.rdy > 0,
                idle: if node.held.is_empty() {
                    now.saturating_duration_since(node.heard)
                } else {
                    Duration::ZERO
                },
            })
            .collect();
        let wanted = shares(total, &views);
        let claims: Vec<Claim> = state
            .nodes
            .values()
            .zip(wanted)
            .map(|(node, wanted)| Claim { rdy: node.rdy, held: node.held(), wanted })
            .collect();
        let (rdys, is_short) = settle(total, &claims);
        state.is_short = is_short;
        for (node, rdy) in state.nodes.values_mut().zip(rdys) {
            if rdy == node.rdy {
                continue;
            }
            if (rdy > 0) != (node.rdy > 0) {
                node.since = now;
            }
            node.rdy = rdy;
            encode::push_rdy(&mut node.out, rdy);
            node.wake.notify_one();
        }
        self.changed.notify_one();
    }
}

impl State {
    /// How many messages may be out, or from when on there may be some again.
    fn allowance(&self, max: u32, now: Instant) -> Result<u32, Instant> {
        if self.is_paused || self.is_leaving {
            return Ok(0);
        }
        match self.backoff.allowance(now) {
            Allowance::All => Ok(max),
            Allowance::One => Ok(1),
            Allowance::Nothing(until) => Err(until),
        }
    }

    /// Settles messages: a FIN, or a REQ where there is a delay. Says how many were known.
    fn settle(&mut self, messages: impl Iterator<Item = (Tag, Option<Duration>)>) -> u64 {
        let mut known = 0;
        for (tag, delay) in messages {
            let Some(node) = self.nodes.get_mut(&tag.connection) else { continue };
            if node.held.remove(&tag.id).is_none() {
                continue;
            }
            known += 1;
            // Whoever writes is woken by the first, and finds all of them.
            if node.out.is_empty() {
                node.wake.notify_one();
            }
            match delay {
                None => encode::push_fin(&mut node.out, &tag.id),
                Some(delay) => {
                    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    encode::push_req(&mut node.out, &tag.id, millis);
                }
            }
        }
        known
    }

    fn give_back_ready(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        self.settle(ready.into_iter().map(|delivery| (delivery.tag, Some(Duration::ZERO))));
    }
}

/// A message's frame as a delivery; `None` if it is too short for one.
pub(super) fn delivery(connection: u64, address: &Arc<str>, data: &Bytes) -> Option<Delivery> {
    let message = crate::protocol::frame::read_message(data)?;
    let (timestamp, attempts, id) = (message.timestamp, message.attempts, message.id);
    let body = data.slice(data.len() - message.body.len()..);
    let tag = Tag { connection, id };
    Some(Delivery { tag, address: Arc::clone(address), timestamp, attempts, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn shared(max: u32) -> Shared {
        Shared::new(max, Backoff::new(SECOND, 10 * SECOND))
    }

    fn deliver(shared: &Shared, number: u64, ids: std::ops::Range<u8>, now: Instant) -> Vec<Tag> {
        let address: Arc<str> = "a:1".into();
        let tags: Vec<Tag> =
            ids.map(|id| Tag { connection: number, id: [id; MessageId::LEN] }).collect();
        let deliveries = tags.iter().map(|tag| Delivery {
            tag: *tag,
            address: Arc::clone(&address),
            timestamp: 0,
            attempts: 1,
            body: Bytes::from_static(b"x"),
        });
        shared.arrive(number, deliveries.collect(), now);
        tags
    }

    fn written(shared: &Shared, number: u64) -> String {
        let mut out = Vec::new();
        shared.collect(number, &mut out);
        String::from_utf8(out).unwrap().replace('\n', ";")
    }

    #[test]
    fn the_bound_is_spread_and_follows_connections() {
        let (shared, now) = (shared(10), clock::now());
        let wake = Arc::<Notify>::default;
        let first = shared.join(2500, wake(), now);
        assert_eq!(written(&shared, first), "RDY 10;");
        let tags = deliver(&shared, first, 0..8, now);
        let second = shared.join(2500, wake(), now);
        assert_eq!(written(&shared, first), "RDY 5;");
        assert_eq!(written(&shared, second), "RDY 2;", "eight are out still");
        assert_eq!(shared.finish(&tags[..2], now), 2);
        assert_eq!(written(&shared, second), "RDY 4;");
        assert_eq!(shared.finish(&tags[..3], now), 1, "two are finished already");
        assert_eq!(written(&shared, second), "RDY 5;");
        assert!(written(&shared, first).starts_with("FIN "));
        shared.part(first, now);
        assert_eq!(written(&shared, second), "RDY 10;");
        assert_eq!(shared.finish(&tags, now), 0, "the nsqd has them again");
        assert!(shared.take(10, 10).is_empty());
    }

    #[test]
    fn failures_stop_all_and_one_message_tries_the_way() {
        let (shared, now) = (shared(10), clock::now());
        let numbers: Vec<u64> = (0..2).map(|_| shared.join(2500, Arc::default(), now)).collect();
        let tags = deliver(&shared, numbers[0], 0..3, now);
        let all = || numbers.iter().map(|number| written(&shared, *number)).collect::<Vec<_>>();
        all();
        let requeued: Vec<_> = tags.iter().map(|tag| (*tag, SECOND)).collect();
        assert_eq!(shared.requeue(&requeued[..2], true, now), 2);
        let out = all();
        assert!(out[0].starts_with("REQ ") && out[0].ends_with(" 1000;RDY 0;"), "{out:?}");
        assert_eq!(out[1], "RDY 0;");
        assert_eq!(shared.alarm(now), Some(now + 2 * SECOND));
        shared.finish(&tags[2..], now);
        let later = now + 2 * SECOND;
        shared.spread(&mut shared.state.lock(), later);
        let out = all();
        assert_eq!(out.iter().filter(|out| out.ends_with("RDY 1;")).count(), 1, "{out:?}");
        let number = if out[0].ends_with("RDY 1;") { numbers[0] } else { numbers[1] };
        let tags = deliver(&shared, number, 5..6, later);
        shared.finish(&tags, later);
        assert_eq!(all().join("").matches("RDY 5;").count(), 2);
    }

    #[test]
    fn what_is_out_is_touched_and_what_was_not_taken_is_given_back() {
        let (shared, now) = (shared(10), clock::now());
        let number = shared.join(2500, Arc::default(), now);
        let tags = deliver(&shared, number, 1..4, now);
        written(&shared, number);
        shared.touch(number, 60 * SECOND, now + 29 * SECOND);
        assert_eq!(written(&shared, number), "");
        shared.touch(number, 60 * SECOND, now + 30 * SECOND);
        assert_eq!(written(&shared, number).matches("TOUCH ").count(), 3);
        shared.touch(number, 60 * SECOND, now + 31 * SECOND);
        assert_eq!(written(&shared, number), "");
        assert_eq!(shared.take(1, 100).len(), 1);
        shared.leave(now);
        let out = written(&shared, number);
        assert!(out.matches("REQ ").count() == 2 && out.ends_with("RDY 0;"), "{out}");
        assert_eq!(shared.in_flight(), 1);
        deliver(&shared, number, 7..8, now);
        assert!(written(&shared, number).starts_with("REQ "), "it came too late");
        assert_eq!(shared.finish(&tags[..1], now), 1);
        shared.release();
        assert_eq!(shared.in_flight(), 0);
    }
}
