//! Source of a direct route to RabbitMQ: what producers publish to its topic.
//!
//! A producer's PUB waits here for at most the route's `publish_timeout`, wherever its messages are by then: in this
//! queue, behind the limit, or in the publisher's window.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;

use super::refusing::Refusing;
use crate::bridge::deferred::Defer;
use crate::bridge::message::{Message, Outcome, Placed, Provenance, Settle};
use crate::bridge::route::{PublishOptions, RouteLimit};
use crate::bridge::runner::Pace;
use crate::bridge::status::Status;
use crate::clock::{self, Instant};
use crate::engine::{Ingress, Outbound, PublishError, Ticket};

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    bytes: u64,
    /// When each publish that is not answered is too late, in order.
    deadlines: VecDeque<(Instant, Ticket)>,
    is_closed: bool,
}

/// See the module's description.
pub(in crate::bridge) struct Producers {
    status: Arc<Status>,
    options: PublishOptions,
    /// The route's limit, if it says `on_exceed: reject`.
    refusing: Option<Mutex<Refusing>>,
    queue: Mutex<Queue>,
    arrived: Notify,
    deadline: Notify,
    /// How publishes with a delay are put off, if the route's target can. The ladder's sink settles here, so it is given
    /// up with the rest.
    defer: Mutex<Option<Defer>>,
    /// Whether the target can wait by itself.
    target_defers: bool,
}

impl Producers {
    pub(in crate::bridge) fn new(
        status: Arc<Status>,
        options: PublishOptions,
        limit: Option<watch::Receiver<Option<RouteLimit>>>,
        from: Provenance,
        target_defers: bool,
    ) -> Arc<Self> {
        let refusing = limit.and_then(|limit| Refusing::new(limit, from, &status));
        Arc::new(Self {
            status,
            options,
            refusing: refusing.map(Mutex::new),
            queue: Mutex::default(),
            arrived: Notify::new(),
            deadline: Notify::new(),
            defer: Mutex::default(),
            target_defers,
        })
    }

    /// Waits for messages and takes a portion of them. `None` once it is closed and empty.
    pub(in crate::bridge) async fn next(&self, pace: &Pace) -> Option<Vec<Message>> {
        loop {
            {
                let mut queue = self.queue.lock();
                let (count, bytes) = pace.portion(queue.messages.iter().map(Message::size));
                if count > 0 {
                    queue.bytes -= bytes;
                    return Some(queue.messages.drain(..count).collect());
                }
                if queue.is_closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Fails the publishes whose time is over, for as long as it is polled.
    pub(in crate::bridge) async fn expire(&self) {
        loop {
            let next = self.queue.lock().deadlines.front().map(|(at, _)| *at);
            match next {
                Some(at) => sleep_until(at).await,
                None => self.deadline.notified().await,
            }
            self.fail_overdue();
        }
    }

    fn fail_overdue(&self) {
        let now = clock::now();
        let mut queue = self.queue.lock();
        while let Some((at, ticket)) = queue.deadlines.pop_front() {
            if ticket.outcome().is_some() {
                continue;
            }
            if at > now {
                queue.deadlines.push_front((at, ticket));
                return;
            }
            let seconds = self.options.timeout.as_secs_f64();
            let why = self.status.trouble().map(|why| format!(" ({why})")).unwrap_or_default();
            let reason = format!("not confirmed within {seconds} s{why}");
            self.count_failed(ticket.fail(self.refused(&reason)));
        }
    }

    /// Notes that a publish failed with `messages` of it unconfirmed.
    fn count_failed(&self, messages: u64) {
        self.status.counters.rejected.fetch_add(messages, Ordering::Relaxed);
    }

    fn refused(&self, reason: &str) -> PublishError {
        PublishError::Refused { route: Arc::clone(&self.status.name), reason: reason.into() }
    }

    /// Refuses what comes from now on. What is there is still moved.
    pub(in crate::bridge) fn close(&self) {
        self.queue.lock().is_closed = true;
        *self.defer.lock() = None;
        self.arrived.notify_one();
    }

    /// Fails everything that is not answered.
    pub(in crate::bridge) fn abandon(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        queue.messages.clear();
        for (_, ticket) in queue.deadlines.drain(..) {
            self.count_failed(ticket.fail(PublishError::Exiting));
        }
    }

    /// Confirms what was above the limit and is dropped.
    pub(in crate::bridge) fn drop_above(&self, messages: Vec<Message>) {
        let tickets = messages.into_iter().filter_map(|message| message.ticket);
        let dropped: u64 = tickets.map(|ticket| u64::from(ticket.confirm())).sum();
        self.status.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.status.counters.dropped_by_limit.fetch_add(dropped, Ordering::Relaxed);
    }

    /// Has publishes with a delay put off so.
    pub(in crate::bridge) fn defer_by(&self, defer: Defer) {
        *self.defer.lock() = Some(defer);
    }

    /// Puts publishes off.
    fn defer(&self, batch: Vec<Outbound>, ticket: &Ticket) -> Result<(), PublishError> {
        if self.queue.lock().is_closed {
            return Err(PublishError::Exiting);
        }
        let defer = self.defer.lock();
        let Some(defer) = &*defer else {
            return Err(self.refused("it cannot defer (defer: false): publish without a delay"));
        };
        defer.wanted.send_replace(true);
        for outbound in batch {
            let size = outbound.body.len() as u64;
            let due = due(&outbound);
            let message = message(outbound, ticket);
            if defer.ladder.put_off(message, due).is_err() {
                return Err(self.refused("too many publishes with a delay are under way"));
            }
            self.status.counters.received.fetch_add(1, Ordering::Relaxed);
            self.status.counters.bytes_received.fetch_add(size, Ordering::Relaxed);
        }
        self.queue
            .lock()
            .deadlines
            .push_back((clock::now() + self.options.timeout, ticket.clone()));
        self.deadline.notify_one();
        Ok(())
    }

    /// Lets a publish pass the limit, or refuses all of it.
    fn admit(&self, batch: &mut [Message]) -> Result<(), PublishError> {
        let Some(refusing) = &self.refusing else {
            return Ok(());
        };
        let admitted = refusing.lock().admit(batch);
        let Err(refused) = admitted else { return Ok(()) };
        let counters = &self.status.counters;
        let messages = batch.len() as u64;
        counters.received.fetch_add(messages, Ordering::Relaxed);
        counters.bytes_received.fetch_add(bytes_of(batch), Ordering::Relaxed);
        counters.rejected.fetch_add(messages, Ordering::Relaxed);
        match refused {
            Some(refusal) => Err(self.refused(&refusal.reason)),
            None => {
                counters.rejected_by_limit.fetch_add(messages, Ordering::Relaxed);
                Err(PublishError::Limited { route: Arc::clone(&self.status.name) })
            }
        }
    }
}

fn bytes_of(batch: &[Message]) -> u64 {
    batch.iter().map(Message::size).sum()
}

impl Ingress for Producers {
    fn offer(&self, batch: Vec<Outbound>, ticket: Ticket) -> Result<(), PublishError> {
        if !self.target_defers && batch.iter().any(|message| !message.delay.is_zero()) {
            return self.defer(batch, &ticket);
        }
        let mut batch: Vec<Message> =
            batch.into_iter().map(|outbound| message(outbound, &ticket)).collect();
        self.admit(&mut batch)?;
        let (messages, bytes) = (batch.len() as u64, bytes_of(&batch));
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Err(PublishError::Exiting);
        }
        let is_first = queue.deadlines.is_empty();
        // Answered publishes leave the front as new ones come.
        while queue.deadlines.front().is_some_and(|(_, ticket)| ticket.outcome().is_some()) {
            queue.deadlines.pop_front();
        }
        queue.deadlines.push_back((clock::now() + self.options.timeout, ticket));
        queue.bytes += bytes;
        queue.messages.extend(batch);
        drop(queue);
        self.arrived.notify_one();
        if is_first {
            self.deadline.notify_one();
        }
        self.status.counters.received.fetch_add(messages, Ordering::Relaxed);
        self.status.counters.bytes_received.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn is_congested(&self) -> bool {
        let (queue, window) = (self.queue.lock(), self.options.window);
        queue.messages.len() >= window.messages as usize || queue.bytes >= window.bytes
    }
}

/// When a publish with a delay is due, Unix milliseconds.
fn due(outbound: &Outbound) -> i64 {
    let millis = i64::try_from(outbound.delay.as_millis()).unwrap_or(i64::MAX);
    (outbound.timestamp / 1_000_000).saturating_add(millis)
}

fn message(outbound: Outbound, ticket: &Ticket) -> Message {
    let due = (!outbound.delay.is_zero()).then(|| due(&outbound));
    Message {
        id: outbound.id,
        message_id: None,
        timestamp: outbound.timestamp,
        attempts: 1,
        body: outbound.body,
        properties: None,
        shaped: None,
        ticket: Some(ticket.clone()),
        dead: None,
        placed: Placed::Nowhere,
        is_excess: false,
        put_off: None,
        due,
    }
}

impl Settle for Producers {
    /// A confirm is the producer's OK, a refusal its error. Nothing becomes a dead letter: the producer has it still.
    fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        let (mut confirmed, mut filtered) = (0, 0);
        for (message, outcome) in outcomes {
            let Some(ticket) = message.ticket else {
                continue;
            };
            match outcome {
                Outcome::Confirmed => confirmed += u64::from(ticket.confirm()),
                Outcome::Filtered => filtered += u64::from(ticket.confirm()),
                Outcome::Refused(refusal) => {
                    tracing::debug!(route = %self.status.name, id = %message.id, reason = %refusal.reason, "refused");
                    self.count_failed(ticket.fail(self.refused(&refusal.reason)));
                }
            }
        }
        self.status.counters.confirmed.fetch_add(confirmed, Ordering::Relaxed);
        self.status.counters.filtered.fetch_add(filtered, Ordering::Relaxed);
    }
}
