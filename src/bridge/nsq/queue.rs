//! Source of a queued route to RabbitMQ: a channel of this node, consumed inside the process.
//!
//! A message stays in the channel until the broker has confirmed it (FIN). A refused one is requeued with a growing delay
//! (REQ), and is a dead letter once its attempts are used up or trying again cannot help.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::{Mutex, RwLock};
use tokio::time::sleep_until;

use crate::bridge::amqp::link::jittered;
use crate::bridge::amqp::publisher::Settle;
use crate::bridge::message::{Message, Outcome, Refusal};
use crate::bridge::route::{DeadLetter, NsqChannel, Retry};
use crate::bridge::runner::Pace;
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
    retry: Retry,
    dead_letter: DeadLetter,
    status: Arc<Status>,
    /// Messages that may be out at once.
    window: u32,
    /// The subscription of the moment; replaced when the channel is deleted and made again.
    consumer: RwLock<Option<(Arc<Consumer>, Arc<Signal>)>>,
    /// Refused messages that the channel holds until they are tried again.
    retried: Mutex<HashSet<MessageId>>,
    /// The message that the route stopped at, and when it is tried again.
    stuck: Mutex<Option<(Instant, Message)>>,
    /// The message that the route stopped at and has not got past yet.
    stopped_at: Mutex<Option<MessageId>>,
}

impl Queue {
    pub(in crate::bridge) fn new(
        engine: Arc<Engine>,
        from: NsqChannel,
        retry: Retry,
        dead_letter: DeadLetter,
        window: u32,
        status: Arc<Status>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            from,
            retry,
            dead_letter,
            status,
            window,
            consumer: RwLock::default(),
            retried: Mutex::default(),
            stuck: Mutex::default(),
            stopped_at: Mutex::default(),
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
            let stuck_until = self.stuck.lock().as_ref().map(|(at, _)| *at);
            if let Some(at) = stuck_until {
                sleep_until(at).await;
                return self.stuck.lock().take().map(|(_, message)| message).into_iter().collect();
            }
            let Some((consumer, signal)) = self.current().filter(|(_, signal)| !signal.is_closed())
            else {
                *self.consumer.write() = None;
                if !self.subscribe() {
                    tokio::time::sleep(SUBSCRIBE_PAUSE).await;
                }
                continue;
            };
            let batch = pull(&consumer, pace);
            if !batch.is_empty() {
                self.count_received(&batch);
                return batch;
            }
            signal.woken().await;
            // Whoever woke us usually has more to publish: let it, once.
            tokio::task::yield_now().await;
        }
    }

    /// Counts the messages that are new to the route, and not back after a refusal.
    fn count_received(&self, batch: &[Message]) {
        let mut retried = self.retried.lock();
        let fresh = batch.iter().filter(|message| !retried.remove(&message.id));
        let (messages, bytes) = fresh.fold((0, 0), |(n, bytes), m| (n + 1, bytes + m.size()));
        let counters = &self.status.counters;
        counters.received.fetch_add(messages, Ordering::Relaxed);
        counters.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What becomes of a refused message: tried again later, a dead letter, or the end of the line.
    fn refuse(&self, mut message: Message, refusal: Refusal) -> Refused {
        let is_spent = message.attempts >= self.retry.max_attempts;
        if !refusal.kind.is_final() && !is_spent {
            return Refused::Retry(message.id, jittered(self.retry.delay(message.attempts)));
        }
        let name = &self.status.name;
        match &self.dead_letter {
            DeadLetter::Amqp(_) if message.dead.is_none() => {
                message.dead = Some(refusal);
                Refused::Dead(message)
            }
            DeadLetter::Nsq { topic } => {
                let signal = Arc::default();
                let published = self.engine.topic(topic).and_then(|topic| {
                    let accepted =
                        topic.publish_inside(std::iter::once(&message.body[..]), &signal)?;
                    topic.wake();
                    Ok(accepted)
                });
                match published {
                    Ok(_) => Refused::Parked(message.id),
                    Err(_) => Refused::Retry(message.id, self.retry.backoff_max),
                }
            }
            DeadLetter::Drop => {
                tracing::warn!(route = %name, id = %message.id, reason = %refusal.reason, "message dropped");
                Refused::Dropped(message.id)
            }
            // A dead letter that is refused itself must not be lost either.
            DeadLetter::Amqp(_) | DeadLetter::Stop => {
                let words = format!(
                    "stopped at message {}: {}: {}",
                    message.id,
                    refusal.kind.as_str(),
                    refusal.reason
                );
                self.status.failed(words);
                message.attempts = message.attempts.saturating_add(1);
                Refused::Stuck(message)
            }
        }
    }
}

/// See [`Queue::refuse`].
enum Refused {
    Retry(MessageId, Duration),
    Dead(Message),
    Parked(MessageId),
    Dropped(MessageId),
    Stuck(Message),
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
            Message { id, timestamp, attempts, body, ticket: None, dead: None }
        })
        .collect()
}

impl Settle for Queue {
    fn settle(&self, outcomes: Vec<(Message, Outcome)>) -> Vec<Message> {
        let counters = &self.status.counters;
        let (mut finished, mut requeued, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        for (message, outcome) in outcomes {
            match outcome {
                Outcome::Confirmed => {
                    let counter = if message.dead.is_some() {
                        &counters.dead_lettered
                    } else {
                        &counters.confirmed
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    finished.push(message.id);
                }
                Outcome::Refused(refusal) => match self.refuse(message, refusal) {
                    Refused::Retry(id, delay) => {
                        counters.retried.fetch_add(1, Ordering::Relaxed);
                        requeued.push((id, delay));
                    }
                    Refused::Dead(message) => dead.push(message),
                    Refused::Parked(id) => {
                        counters.dead_lettered.fetch_add(1, Ordering::Relaxed);
                        finished.push(id);
                    }
                    Refused::Dropped(id) => {
                        counters.dropped.fetch_add(1, Ordering::Relaxed);
                        finished.push(id);
                    }
                    Refused::Stuck(message) => self.hold(message, &mut requeued),
                },
            }
        }
        self.get_past(&finished);
        self.retried.lock().extend(requeued.iter().map(|(id, _)| *id));
        if let Some((consumer, _)) = self.current() {
            let mut settling = consumer.settle(clock::now());
            // A channel that was emptied or deleted has nothing left to settle.
            for id in finished {
                settling.finish(&id.to_hex()).unwrap_or_default();
            }
            for (id, delay) in requeued {
                settling.requeue(&id.to_hex(), delay).unwrap_or_default();
            }
        }
        if let Some((_, signal)) = self.current() {
            signal.wake();
        }
        dead
    }
}

impl Queue {
    /// The route stops at one message; others that come to the same end meanwhile wait their turn in the channel.
    fn hold(&self, message: Message, requeued: &mut Vec<(MessageId, Duration)>) {
        let mut stuck = self.stuck.lock();
        if stuck.is_none() {
            *self.stopped_at.lock() = Some(message.id);
            *stuck = Some((clock::now() + jittered(self.retry.backoff_max), message));
        } else {
            requeued.push((message.id, self.retry.backoff_max));
        }
    }

    /// Goes on if the message that the route stopped at is among those that arrived.
    fn get_past(&self, arrived: &[MessageId]) {
        let mut stopped_at = self.stopped_at.lock();
        if stopped_at.is_some_and(|id| arrived.contains(&id)) {
            *stopped_at = None;
            self.status.running();
        }
    }
}
