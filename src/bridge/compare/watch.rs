//! Reads two places at once and holds them against each other.
//!
//! Two places never stand still at the same moment. With a time to watch, only messages are judged that were first seen
//! within it, on either side: what was seen before, while both sides were settling down, may have passed the other one
//! before anybody looked; what is seen after it is waited for, and not begun with.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use super::books::{Books, Report, Side, When};
use super::side::{Key, Place, Seen, Unknown};
use crate::bridge::amqp::observer::{self, Sight};
use crate::bridge::broker::BrokerOptions;
use crate::bridge::nsq::remote_source;
use crate::bridge::route::StreamOffset;
use crate::client::{ConnectOptions, Consumer, ConsumerOptions, Health};
use crate::clock::{self, Instant};
use crate::task::spawn;

/// Messages that may wait to be looked at, of one side.
const WAITING_MAX: usize = 4096;
/// Messages that a nsqd may have out.
const IN_FLIGHT: u32 = 2000;
/// Bytes that are taken from a nsqd at once.
const PORTION: u64 = 8 << 20;
/// How long a place may take until it can be read.
const READY_MAX: Duration = Duration::from_secs(30);

/// What to compare, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The places, left and right.
    pub places: [Place; 2],
    /// By what their messages are known.
    pub keys: [Key; 2],
    /// Whether bodies are compared too.
    pub bodies: bool,
    /// How long to watch. Without it, what is there is read until nothing has come for `grace`.
    pub watch: Option<Duration>,
    /// How long a message may take from one side to the other.
    pub grace: Duration,
    /// Only messages that were published within this, Unix nanoseconds; those that do not say when are let through.
    pub published: (i64, i64),
    /// The most different messages that are remembered; some 100 bytes each.
    pub most: usize,
    /// How many findings of a kind are told by name.
    pub shown: usize,
    /// The brokers that places may name.
    pub brokers: Vec<BrokerOptions>,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// A place cannot be read.
    #[error("{place}: {reason}")]
    Place {
        /// Which.
        place: String,
        /// In the words of whoever refused.
        reason: String,
    },
    /// There are more messages than may be remembered.
    #[error("more than {0} different messages: compare a shorter time, or allow more with --most")]
    TooMany(usize),
}

/// A place that is being read.
struct Reading {
    place: String,
    seen: mpsc::Receiver<Seen>,
    ended: oneshot::Receiver<String>,
}

impl Reading {
    fn error(&self, reason: String) -> CompareError {
        CompareError::Place { place: self.place.clone(), reason }
    }

    /// The next message; an error if the place cannot be read on.
    async fn next(&mut self) -> Result<Seen, CompareError> {
        if let Some(seen) = self.seen.recv().await {
            return Ok(seen);
        }
        let reason = (&mut self.ended).await.unwrap_or_else(|_| "it ended".to_owned());
        Err(self.error(reason))
    }
}

/// Compares, and says what it came to.
///
/// # Errors
/// A place cannot be read, or there is too much to remember.
pub async fn compare(options: &Options) -> Result<Report, CompareError> {
    let [left, right] = &options.places;
    let (left, right) = tokio::join!(begin(left, options), begin(right, options));
    let mut readings = [left?, right?];
    let mut books = Books::default();
    let began = clock::now();
    // Both can be read: what is on its way between them now is given time to arrive before anything is judged.
    let window = options.watch.map(|watch| {
        let from = began + options.grace;
        (from, from + watch)
    });
    loop {
        let now = clock::now();
        let end = match window {
            Some((_, until)) => until + options.grace,
            None => now + options.grace,
        };
        let Some((side, seen)) = next(&mut readings, end).await? else { break };
        note(&mut books, options, side, when(window, clock::now()), &seen);
        if books.len() > options.most {
            return Err(CompareError::TooMany(options.most));
        }
    }
    Ok(books.report(options.shown))
}

/// Where a moment lies.
fn when(window: Option<(Instant, Instant)>, now: Instant) -> When {
    match window {
        Some((from, _)) if now < from => When::Early,
        Some((_, until)) if now >= until => When::Late,
        _ => When::Within,
    }
}

fn note(books: &mut Books, options: &Options, side: Side, when: When, seen: &Seen) {
    let (from, until) = options.published;
    if seen.timestamp != 0 && !(from..until).contains(&seen.timestamp) {
        return;
    }
    let [left, right] = &options.keys;
    let key = if side == Side::Left { left } else { right };
    match seen.key(key) {
        Ok(key) => books.note(side, when, &key, options.bodies.then_some(&seen.body)),
        Err(Unknown::NoId | Unknown::Template(_)) if when == When::Within => books.unknown(side),
        Err(_) => {}
    }
}

/// The next message of either side; nothing if none comes in time.
async fn next(
    readings: &mut [Reading; 2],
    end: Instant,
) -> Result<Option<(Side, Seen)>, CompareError> {
    let [left, right] = readings;
    tokio::select! {
        biased;
        () = sleep_until(end) => Ok(None),
        seen = left.next() => seen.map(|seen| Some((Side::Left, seen))),
        seen = right.next() => seen.map(|seen| Some((Side::Right, seen))),
    }
}

/// Begins to read a place, and waits until it can be read.
async fn begin(place: &Place, options: &Options) -> Result<Reading, CompareError> {
    let (seen, taken) = mpsc::channel(WAITING_MAX);
    let (ready, is_ready) = oneshot::channel();
    let (ending, ended) = oneshot::channel();
    let mut reading = Reading { place: place.to_string(), seen: taken, ended };
    match place {
        Place::Topic { addresses, topic, channel } => {
            let consumer = ConsumerOptions {
                topic: topic.clone(),
                channel: channel.clone(),
                addresses: addresses.clone(),
                max_in_flight: IN_FLIGHT,
                lookupd_interval: Duration::from_secs(5),
                min_backoff: Duration::ZERO,
                max_backoff: Duration::ZERO,
                connect: ConnectOptions::default(),
            };
            drop(spawn("compare", async move {
                let reason = read_topic(&consumer, ready, seen).await;
                ending.send(reason).unwrap_or_default();
            }));
        }
        Place::Queue { broker, .. }
        | Place::Exchange { broker, .. }
        | Place::Stream { broker, .. } => {
            let broker = options.brokers.iter().find(|known| known.name == *broker);
            let broker = broker.cloned().ok_or_else(|| {
                reading.error("no such broker is configured: give --amqp or --config".to_owned())
            })?;
            let sight = sight(place, options);
            drop(spawn("compare", async move {
                let ended = observer::observe(&broker, &sight, ready, seen).await;
                ending.send(ended.err().unwrap_or_default()).unwrap_or_default();
            }));
        }
    }
    match timeout(READY_MAX, is_ready).await {
        Ok(Ok(())) => Ok(reading),
        Ok(Err(_)) => {
            let reason = (&mut reading.ended).await.unwrap_or_else(|_| "it ended".to_owned());
            Err(reading.error(reason))
        }
        Err(_) => Err(reading.error(format!("it could not be read within {READY_MAX:?}"))),
    }
}

fn sight(place: &Place, options: &Options) -> Sight {
    match place {
        Place::Exchange { exchange, key, .. } => Sight::Exchange(exchange.clone(), key.clone()),
        Place::Stream { queue, .. } => {
            // Streams keep whole seconds.
            let seconds = u64::try_from(options.published.0 / 1_000_000_000).unwrap_or(0);
            let offset = match (options.watch, seconds) {
                (Some(_), _) => StreamOffset::Next,
                (None, 0) => StreamOffset::First,
                (None, seconds) => StreamOffset::Since(seconds),
            };
            Sight::Stream(queue.clone(), offset)
        }
        Place::Queue { queue, .. } => Sight::Queue(queue.clone()),
        Place::Topic { topic, .. } => Sight::Queue(topic.clone()),
    }
}

/// Reads a topic's channel until nobody listens any more, and says why it ended.
async fn read_topic(
    options: &ConsumerOptions,
    ready: oneshot::Sender<()>,
    seen: mpsc::Sender<Seen>,
) -> String {
    let (consumer, mut work) = match Consumer::start(options) {
        Ok(started) => started,
        Err(error) => return error.to_string(),
    };
    let mut health = consumer.health();
    let is_up = health.wait_for(|health| *health == Health::Up).await.is_ok();
    if !is_up || ready.send(()).is_err() {
        consumer.release();
        return "no nsqd took the connection".to_owned();
    }
    loop {
        let batch = tokio::select! {
            () = seen.closed() => break,
            batch = consumer.next(IN_FLIGHT as usize, PORTION) => batch,
        };
        let tags: Vec<_> = batch.iter().map(|delivery| delivery.tag).collect();
        for delivery in batch {
            let message = Seen {
                id: String::from_utf8_lossy(&delivery.tag.id).into_owned(),
                remote_id: Some(remote_source::id_of(&delivery.address, &delivery.tag.id)),
                timestamp: delivery.timestamp,
                topic: options.topic.clone(),
                body: delivery.body,
                properties: None,
            };
            if seen.send(message).await.is_err() {
                break;
            }
        }
        consumer.finish(&tags);
    }
    consumer.leave();
    work.ended().await;
    String::new()
}
