//! Deliveries that consumers of a queue's channel have, or have put off.
//!
//! A FIN is the broker's ack. A message that is put off for a while is held here, unacknowledged; for longer than `max_hold`
//! it goes on the [ladder](crate::bridge::delay) of its own queue, and is acknowledged once it is there. When it comes
//! back it says when it is due and how often it was delivered.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::bridge::amqp::arrival::Arrival;
use crate::bridge::amqp::consumer::Settlements;
use crate::bridge::amqp::source::{id_of, origin_of};
use crate::bridge::deferred::Defer;
use crate::bridge::delay;
use crate::bridge::message::{Message, Outcome, Placed, Settle};
use crate::bridge::status::Status;
use crate::clock;
use crate::engine::{Channel, Origin, Postponed, Upstream};

/// A channel, and as who messages are offered to it.
type Place = (Weak<Channel>, Weak<dyn Upstream>);

/// See the module's description.
pub(in crate::bridge) struct Held {
    settlements: Arc<Settlements>,
    status: Arc<Status>,
    max_hold: Duration,
    /// How messages are put off at the broker. The ladder's sink settles here, so it is given up with the route.
    defer: Mutex<Option<Defer>>,
    /// The channel, and as who this offers messages to it.
    channel: Mutex<Option<Place>>,
}

impl Held {
    pub(in crate::bridge) fn new(
        settlements: Arc<Settlements>,
        status: Arc<Status>,
        max_hold: Duration,
    ) -> Arc<Self> {
        let (defer, channel) = (Mutex::default(), Mutex::default());
        Arc::new(Self { settlements, status, max_hold, defer, channel })
    }

    /// Has messages put off so.
    pub(in crate::bridge) fn put_off_by(&self, defer: Defer) {
        *self.defer.lock() = Some(defer);
    }

    /// The channel to which messages are offered, and as who.
    pub(super) fn is_for(&self, channel: &Arc<Channel>, upstream: &Arc<dyn Upstream>) {
        *self.channel.lock() = Some((Arc::downgrade(channel), Arc::downgrade(upstream)));
    }

    /// Puts nothing off any more.
    pub(super) fn close(&self) {
        *self.defer.lock() = None;
    }

    /// Puts what is not due yet on its next step, and returns the rest. What is left of less than a step becomes one.
    pub(super) fn keep_early(&self, burst: Vec<Arrival>) -> Vec<Arrival> {
        let is_early =
            |arrival: &Arrival| arrival.due.is_some_and(|due| !delay::left(due).is_zero());
        if !burst.iter().any(is_early) {
            return burst;
        }
        let mut passed = Vec::with_capacity(burst.len());
        for arrival in burst {
            match arrival.due.filter(|due| !delay::left(*due).is_zero()) {
                Some(due) if self.put_off(message_of(&arrival), due) => {}
                // Too many are under way: it is early, and not lost.
                _ => passed.push(arrival),
            }
        }
        passed
    }

    fn put_off(&self, message: Message, due: i64) -> bool {
        let defer = self.defer.lock();
        let Some(defer) = &*defer else { return false };
        defer.wanted.send_replace(true);
        defer.ladder.put_off_whole(message, due).is_ok()
    }
}

fn message_of(arrival: &Arrival) -> Message {
    Message {
        id: id_of(arrival.origin),
        message_id: arrival.message_id.as_deref().map(Into::into),
        timestamp: arrival.timestamp,
        attempts: arrival.attempts.saturating_add(1),
        body: arrival.body.clone(),
        properties: arrival.properties.clone(),
        shaped: None,
        ticket: None,
        dead: None,
        placed: Placed::Nowhere,
        is_excess: false,
        put_off: None,
        due: None,
    }
}

impl Upstream for Held {
    fn finished(&self, origins: &[Origin]) {
        let settled = self.settlements.settle(origins);
        self.status.counters.confirmed.fetch_add(settled, Ordering::Relaxed);
    }

    /// What a deleted channel had goes back to the broker when the route closes its consumer, which it does once the
    /// channel has no consumers.
    fn returned(&self, _origins: &[Origin]) {}

    fn hold_max(&self) -> Duration {
        self.max_hold
    }

    /// The channel holds them meanwhile, and goes on doing so if the broker does not take them.
    fn postponed(&self, messages: Vec<Postponed>) {
        let now = clock::unix_nanos() / 1_000_000;
        for postponed in messages {
            let delay = i64::try_from(postponed.delay.as_millis()).unwrap_or(i64::MAX);
            let message = Message {
                id: id_of(postponed.origin),
                message_id: None,
                timestamp: postponed.timestamp,
                attempts: postponed.attempts.saturating_add(1),
                body: postponed.body,
                properties: None,
                shaped: None,
                ticket: None,
                dead: None,
                placed: Placed::Nowhere,
                is_excess: false,
                put_off: None,
                due: None,
            };
            if !self.put_off(message, now.saturating_add(delay)) {
                tracing::debug!(route = %self.status.name, "held here: too many are being put off");
            }
        }
    }
}

impl Settle for Held {
    /// What the broker has again is acknowledged where it came from, and the channel holds it no longer.
    fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        let kept = outcomes.into_iter().filter(|(_, outcome)| *outcome == Outcome::Confirmed);
        let origins: Vec<Origin> = kept.map(|(message, _)| origin_of(message.id)).collect();
        let place = self.channel.lock().clone();
        if let Some((channel, upstream)) = place
            && let (Some(channel), Some(upstream)) = (channel.upgrade(), upstream.upgrade())
        {
            channel.withdraw(&upstream, &origins);
        }
        let settled = self.settlements.settle(&origins);
        // They will be received once more.
        self.status.counters.given_back.fetch_add(settled, Ordering::Relaxed);
    }
}
