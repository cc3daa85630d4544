//! Source that is a channel of this node, consumed inside the process.
//!
//! A message stays in the channel until its target has it (FIN); one that is tried again is requeued with a delay (REQ).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::{Mutex, RwLock};

use crate::bridge::message::{Message, Placed};
use crate::bridge::route::NsqChannel;
use crate::bridge::runner::Pace;
use crate::bridge::settler::Origin;
use crate::bridge::status::Status;
use crate::clock::{self, Instant};
use crate::engine::{Client, Consumer, Delivery, Engine, Identity, PullLimit, Signal, Subscriber};
use crate::names::MessageId;

/// The channel's messages have no deadline while a route holds them: the route knows better.
const HOLD: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long to wait before subscribing again, should the channel have been deleted just now.
const SUBSCRIBE_PAUSE: Duration = Duration::from_millis(100);

/// See the module's description.
pub(in crate::bridge) struct Queue {
    engine: Arc<Engine>,
    from: NsqChannel,
    status: Arc<Status>,
    /// Messages that may be out at once.
    window: u32,
    /// The subscription of the moment; replaced when the channel is deleted and made again.
    consumer: RwLock<Option<(Arc<Consumer>, Arc<Signal>)>>,
    /// Refused messages that the channel holds until they are tried again, and where they are already.
    retried: Mutex<HashMap<MessageId, Placed>>,
}

impl Queue {
    pub(in crate::bridge) fn new(
        engine: Arc<Engine>,
        from: NsqChannel,
        window: u32,
        status: Arc<Status>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            from,
            status,
            window,
            consumer: RwLock::default(),
            retried: Mutex::default(),
        })
    }

    /// Makes the channel, so that nothing published from now on is missed.
    pub(in crate::bridge) fn subscribe(&self) -> bool {
        let client = Client::new(
            "@".into(),
            clock::unix_seconds(),
            Identity {
                client_id: "leveret".into(),
                hostname: "leveret".into(),
                user_agent: format!("leveret route {}", self.status.name),
                ..Identity::default()
            },
        );
        let signal = Arc::<Signal>::default();
        let subscriber = Subscriber {
            client: Arc::new(client),
            signal: Arc::clone(&signal),
            msg_timeout: HOLD,
            touch_timeout: HOLD,
            sample_rate: 0,
        };
        let channel =
            self.engine.topic(&self.from.topic).and_then(|topic| topic.channel(&self.from.channel));
        let consumer = channel.ok().and_then(|channel| channel.subscribe(subscriber, 0).ok());
        let Some(consumer) = consumer else {
            return false;
        };
        consumer.set_ready(self.window.into());
        *self.consumer.write() = Some((Arc::new(consumer), signal));
        true
    }

    fn current(&self) -> Option<(Arc<Consumer>, Arc<Signal>)> {
        self.consumer.read().clone()
    }

    /// Waits for messages and takes a portion of them.
    pub(in crate::bridge) async fn next(&self, pace: &Pace) -> Vec<Message> {
        loop {
            let Some((consumer, signal)) = self.current().filter(|(_, signal)| !signal.is_closed())
            else {
                *self.consumer.write() = None;
                if !self.subscribe() {
                    tokio::time::sleep(SUBSCRIBE_PAUSE).await;
                }
                continue;
            };
            let mut batch = pull(&consumer, pace);
            if !batch.is_empty() {
                self.recognize(&mut batch);
                return batch;
            }
            signal.woken().await;
            // Whoever woke us usually has more to publish: let it, once.
            tokio::task::yield_now().await;
        }
    }

    /// Counts the messages that are new to the route, and tells those that are back after a refusal where they are already.
    fn recognize(&self, batch: &mut [Message]) {
        let mut retried = self.retried.lock();
        let (mut messages, mut bytes) = (0, 0);
        for message in batch {
            match retried.remove(&message.id) {
                Some(placed) => message.placed = placed,
                None => (messages, bytes) = (messages + 1, bytes + message.size()),
            }
        }
        let counters = &self.status.counters;
        counters.received.fetch_add(messages, Ordering::Relaxed);
        counters.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn pull(consumer: &Consumer, pace: &Pace) -> Vec<Message> {
    let mut bodies = BytesMut::new();
    let mut heads = Vec::new();
    let bytes = usize::try_from(pace.bytes).unwrap_or(usize::MAX);
    let limit = PullLimit { messages: pace.messages as u64, bytes };
    consumer.pull(limit, clock::now(), |delivery| {
        let Delivery { id, timestamp, attempts, body } = delivery;
        bodies.extend_from_slice(body);
        heads.push((id, timestamp, attempts, body.len()));
    });
    let mut bodies = bodies.freeze();
    heads
        .into_iter()
        .map(|(id, timestamp, attempts, size)| {
            let body = bodies.split_to(size);
            Message {
                id,
                message_id: None,
                timestamp,
                attempts,
                body,
                properties: None,
                shaped: None,
                ticket: None,
                dead: None,
                placed: Placed::Nowhere,
                is_excess: false,
                put_off: None,
                due: None,
            }
        })
        .collect()
}

impl Origin for Queue {
    fn finish(&self, ids: &[MessageId]) -> u64 {
        if let Some((consumer, _)) = self.current() {
            let mut settling = consumer.settle(clock::now());
            for id in ids {
                // A channel that was emptied or deleted has nothing left to settle.
                settling.finish(&id.to_hex()).unwrap_or_default();
            }
        }
        self.wake();
        ids.len() as u64
    }

    fn retry(&self, messages: Vec<(Message, Instant)>) {
        let back = messages.iter().map(|(message, _)| (message.id, message.placed));
        self.retried.lock().extend(back);
        if let Some((consumer, _)) = self.current() {
            let now = clock::now();
            let mut settling = consumer.settle(now);
            for (message, at) in messages {
                let delay = at.saturating_duration_since(now);
                settling.requeue(&message.id.to_hex(), delay).unwrap_or_default();
            }
        }
        self.wake();
    }
}

impl Queue {
    fn wake(&self) {
        if let Some((_, signal)) = self.current() {
            signal.wake();
        }
    }
}
