//! Source that is a channel of other nsqds.
//!
//! A message stays at its nsqd until its target has it (FIN), and is touched meanwhile. One that is tried again is requeued
//! with a delay (REQ) and may come to any of the channel's consumers. If its connection is lost while it is on its way the
//! nsqd delivers it again: it is recognized if it is still on its way then, and is not sent twice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::bridge::message::{Message, Placed};
use crate::bridge::phase::Phase;
use crate::bridge::remote::RemoteSource as Options;
use crate::bridge::runner::Pace;
use crate::bridge::settler::Origin;
use crate::bridge::status::Status;
use crate::client::{Consumer, ConsumerOptions, Delivery, Health, Tag, Work};
use crate::clock::{self, Instant};
use crate::names::MessageId;
use crate::tls::TlsError;

/// Of how many messages it is remembered which place of a tee has them. The oldest is forgotten: it is there twice then.
const PLACED_MAX: usize = 10_000;

#[derive(Default)]
struct Known {
    /// What is on its way, and how it is settled.
    out: HashMap<MessageId, (Tag, Arc<str>)>,
    /// Messages that one place of a tee has, until they come again.
    placed: HashMap<MessageId, Placed>,
    /// Their order.
    order: VecDeque<MessageId>,
}

impl Known {
    fn remember(&mut self, id: MessageId, placed: Placed) {
        if placed == Placed::Nowhere {
            return;
        }
        if self.placed.insert(id, placed).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > PLACED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.placed.remove(&oldest);
            }
        }
    }

    fn recall(&mut self, id: MessageId) -> Placed {
        self.placed.remove(&id).unwrap_or_default()
    }
}

/// See the module's description.
pub(in crate::bridge) struct RemoteSource {
    consumer: Arc<Consumer>,
    status: Arc<Status>,
    known: Mutex<Known>,
}

/// NSQ's ids are unique on one nsqd only, and two nsqds of one machine count alike. Told apart by the nsqd's address they
/// are the same over retries and restarts.
pub(in crate::bridge) fn id_of(address: &str, id: &[u8; MessageId::LEN]) -> MessageId {
    let hashed = |bytes: &[u8]| {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
    };
    let number = MessageId::from_hex(id).map_or_else(|| hashed(id), |id| id.0);
    MessageId(number ^ hashed(address.as_bytes()))
}

impl RemoteSource {
    /// Starts to consume; what runs until the route has ended is [`attend`](Self::attend).
    pub(in crate::bridge) fn start(
        from: &Options,
        status: Arc<Status>,
    ) -> Result<(Arc<Self>, Work), TlsError> {
        let options = ConsumerOptions {
            topic: from.topic.clone(),
            channel: from.channel.clone(),
            addresses: from.nsq.addresses.clone(),
            max_in_flight: from.max_in_flight,
            lookupd_interval: from.nsq.lookupd_interval,
            min_backoff: Duration::from_secs(1),
            max_backoff: from.max_backoff,
            connect: from.nsq.connect.clone(),
        };
        let (consumer, work) = Consumer::start(&options)?;
        Ok((Arc::new(Self { consumer, status, known: Mutex::default() }), work))
    }

    /// Does what the route's phase asks for, and says how the connections are, until everything is settled or given back.
    pub(in crate::bridge) async fn attend(
        self: Arc<Self>,
        mut work: Work,
        mut phase: watch::Receiver<Phase>,
    ) {
        let mut health = self.consumer.health();
        health.mark_changed();
        phase.mark_changed();
        loop {
            tokio::select! {
                () = work.ended() => return,
                changed = phase.changed() => {
                    // Nobody is left to say go on, so a lost sender is an end too.
                    let now = if changed.is_ok() { *phase.borrow_and_update() } else { Phase::Stopping };
                    match now {
                        Phase::Running => self.consumer.pause(false),
                        Phase::Paused => self.consumer.pause(true),
                        Phase::Stopping => break,
                    }
                }
                Ok(()) = health.changed() => say(&health.borrow_and_update().clone(), &self.status),
            }
        }
        self.consumer.leave();
        work.ended().await;
    }

    /// Waits for messages and takes a portion of them.
    pub(in crate::bridge) async fn next(&self, pace: &Pace) -> Vec<Message> {
        loop {
            let deliveries = self.consumer.next(pace.messages, pace.bytes).await;
            let batch = self.take_in(deliveries);
            if !batch.is_empty() {
                return batch;
            }
        }
    }

    /// Makes messages of deliveries, but for those that are on their way already.
    fn take_in(&self, deliveries: Vec<Delivery>) -> Vec<Message> {
        let mut known = self.known.lock();
        let mut batch = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let id = id_of(&delivery.address, &delivery.tag.id);
            let place = (delivery.tag, Arc::clone(&delivery.address));
            if known.out.insert(id, place).is_some() {
                // Its first copy will settle it: by the new place, the only one that its nsqd still knows.
                self.status.counters.redelivered.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            batch.push(Message {
                id,
                message_id: None,
                timestamp: delivery.timestamp,
                attempts: delivery.attempts,
                body: delivery.body,
                properties: None,
                shaped: None,
                ticket: None,
                dead: None,
                placed: known.recall(id),
                is_excess: false,
                put_off: None,
                due: None,
            });
        }
        let counters = &self.status.counters;
        counters.received.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let bytes = batch.iter().map(Message::size).sum();
        counters.bytes_received.fetch_add(bytes, Ordering::Relaxed);
        batch
    }
}

/// Says in a route's state how connections to nsqds are.
pub(super) fn say(health: &Health, status: &Status) {
    match health {
        Health::Up => status.running(),
        Health::Waiting(reason) => status.waiting(reason.as_str()),
        Health::Failed(reason) => status.failed(reason.as_str()),
    }
}

impl Origin for RemoteSource {
    fn finish(&self, ids: &[MessageId]) -> u64 {
        let mut known = self.known.lock();
        let places: Vec<Tag> =
            ids.iter().filter_map(|id| known.out.remove(id).map(|(tag, _)| tag)).collect();
        drop(known);
        let settled = self.consumer.finish(&places);
        if settled < places.len() as u64 {
            let lost = places.len() as u64 - settled;
            let route = &self.status.name;
            tracing::info!(%route, lost, "messages have arrived whose connection was lost; they come again");
        }
        places.len() as u64
    }

    fn retry(&self, messages: Vec<(Message, Instant)>) {
        let now = clock::now();
        let mut known = self.known.lock();
        let mut back = Vec::with_capacity(messages.len());
        for (message, at) in messages {
            if let Some((tag, _)) = known.out.remove(&message.id) {
                known.remember(message.id, message.placed);
                back.push((tag, at.saturating_duration_since(now)));
            }
        }
        drop(known);
        // Any consumer of the channel may get them, so the route does not have them any more.
        self.status.counters.given_back.fetch_add(back.len() as u64, Ordering::Relaxed);
        self.consumer.requeue(&back, true);
    }

    fn released(&self) {
        let left = self.known.lock().out.drain().count() as u64;
        self.status.counters.given_back.fetch_add(left, Ordering::Relaxed);
        self.consumer.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_from_nsqd_to_nsqd_and_stay_the_same() {
        let id = b"0fa3b4c5d6e7f801";
        let first = id_of("a:4150", id);
        assert_eq!(first, id_of("a:4150", id));
        assert_ne!(first, id_of("b:4150", id));
        assert_ne!(first, id_of("a:4150", b"0fa3b4c5d6e7f802"));
        assert_ne!(id_of("a:1", b"not hexadecimal!"), id_of("a:1", b"not hexadecimal?"));
    }

    #[test]
    fn only_so_many_places_are_remembered() {
        let mut known = Known::default();
        for id in 0..=PLACED_MAX as u64 {
            known.remember(MessageId(id), Placed::First);
        }
        assert_eq!(known.recall(MessageId(0)), Placed::Nowhere, "the oldest is forgotten");
        assert_eq!(known.recall(MessageId(1)), Placed::First);
        assert_eq!(known.recall(MessageId(1)), Placed::Nowhere);
        assert!(known.placed.len() < PLACED_MAX && known.order.len() == PLACED_MAX);
    }
}
