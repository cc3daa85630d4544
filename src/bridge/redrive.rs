//! Messages of a channel that an operator puts back where they came from, or throws away: one, some, or all of them.
//!
//! Each message is published first and finished afterwards, so that none is lost in between; one that cannot be published
//! stays in its channel.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::envelope;
use crate::clock;
use crate::engine::{
    Channel, Client, Consumer, Engine, Identity, PublishError, PullLimit, Signal, Subscriber,
};
use crate::names::{MessageId, is_valid_name};

/// How many messages are under way at once.
const BATCH: u64 = 100;
/// How long a batch may take before its messages are in the channel again.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which messages are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These, wherever they are in the queue.
    These(Vec<MessageId>),
    /// As many as wait now.
    All,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Messages that are elsewhere now, or gone.
    pub done: u64,
    /// Ids of messages that are not in the channel, or at a consumer.
    pub missing: Vec<String>,
    /// Messages that stay where they are.
    pub failed: Vec<Failed>,
}

/// A message that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its id.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedriveError {
    /// All messages can only be had from a channel that delivers.
    #[error("the channel is paused: unpause it, or name the messages")]
    Paused,
    /// The name is none.
    #[error("\"{0}\" is not a topic's name")]
    Name(String),
    /// The channel is being deleted, or the node stops.
    #[error("the channel is closing")]
    Closing,
}

/// One message in hand.
struct Held {
    id: MessageId,
    body: Vec<u8>,
}

/// Publishes messages of `channel` again: to the topic `to`, or to the one that their envelopes name, without the envelope
/// then. They reach every channel of that topic.
///
/// # Errors
/// Why none of them could be taken.
pub async fn requeue(
    engine: &Arc<Engine>,
    channel: &Arc<Channel>,
    selection: &Selection,
    to: Option<&str>,
) -> Result<Redriven, RedriveError> {
    if let Some(name) = to.filter(|name| !is_valid_name(name.as_bytes())) {
        return Err(RedriveError::Name(name.to_owned()));
    }
    let hand = Hand::on(channel)?;
    let mut redriven = Redriven::default();
    let mut left = Left::of(selection, channel)?;
    while let Some(batch) = hand.next(&mut left, &mut redriven).await {
        for held in batch {
            match publish(engine, &held, to).await {
                Ok(()) => hand.finish(&held, &mut redriven),
                Err(reason) => hand.give_back(&held, reason, &mut redriven),
            }
        }
    }
    Ok(redriven)
}

/// Finishes messages of `channel`.
///
/// # Errors
/// Why none of them could be taken.
pub async fn discard(
    channel: &Arc<Channel>,
    selection: &Selection,
) -> Result<Redriven, RedriveError> {
    let hand = Hand::on(channel)?;
    let mut redriven = Redriven::default();
    let mut left = Left::of(selection, channel)?;
    while let Some(batch) = hand.next(&mut left, &mut redriven).await {
        for held in batch {
            hand.finish(&held, &mut redriven);
        }
    }
    Ok(redriven)
}

async fn publish(engine: &Arc<Engine>, held: &Held, to: Option<&str>) -> Result<(), String> {
    let letter = envelope::open(&held.body);
    let name =
        to.or_else(|| letter.as_ref().map(|letter| letter.topic.as_str())).ok_or_else(|| {
            "the message does not say where it comes from: name the topic that it is to go to"
                .to_owned()
        })?;
    // Apart, as it is large.
    Box::pin(publish_to(engine, name, letter.as_ref().map_or(&*held.body, |letter| &*letter.body)))
        .await
}

/// Publishes a message and waits until the topic has it.
pub(super) async fn publish_to(
    engine: &Arc<Engine>,
    topic: &str,
    body: &[u8],
) -> Result<(), String> {
    let send = async {
        let topic = engine.topic(topic)?;
        let signal = Arc::<Signal>::default();
        let accepted = topic.publish(std::iter::once(body), &signal)?;
        engine.arrived(&topic, accepted, &signal).await
    };
    send.await.map_err(|error: PublishError| error.to_string())
}

/// What is still to be taken.
enum Left<'a> {
    These(&'a [MessageId]),
    Some(u64),
}

impl<'a> Left<'a> {
    fn of(selection: &'a Selection, channel: &Channel) -> Result<Self, RedriveError> {
        match selection {
            Selection::These(ids) => Ok(Self::These(ids)),
            Selection::All if channel.is_paused() => Err(RedriveError::Paused),
            Selection::All => Ok(Self::Some(channel.counts().depth)),
        }
    }
}

/// A consumer of the channel for the time that this takes. What it holds when it goes is ready again.
struct Hand {
    consumer: Consumer,
    signal: Arc<Signal>,
}

impl Hand {
    fn on(channel: &Arc<Channel>) -> Result<Self, RedriveError> {
        let identity = Identity {
            client_id: "leveret".into(),
            hostname: "by hand".into(),
            ..Identity::default()
        };
        let client = Client::new("by hand".into(), clock::unix_seconds(), identity);
        let signal = Arc::<Signal>::default();
        let subscriber = Subscriber {
            client: Arc::new(client),
            signal: Arc::clone(&signal),
            msg_timeout: TIMEOUT,
            touch_timeout: TIMEOUT,
            sample_rate: 0,
        };
        let consumer = channel.subscribe(subscriber, 0).map_err(|_| RedriveError::Closing)?;
        Ok(Self { consumer, signal })
    }

    /// The next messages; `None` after the last one.
    async fn next(&self, left: &mut Left<'_>, redriven: &mut Redriven) -> Option<Vec<Held>> {
        match left {
            Left::These([]) => None,
            Left::These(ids) => {
                let at = ids.len().min(usize::try_from(BATCH).unwrap_or(usize::MAX));
                let (now, later) = ids.split_at(at);
                *ids = later;
                let mut batch = Vec::new();
                self.consumer.take(now, clock::now(), |delivery| {
                    batch.push(Held { id: delivery.id, body: delivery.body.to_vec() });
                });
                let is_there = |id: &MessageId| batch.iter().any(|held| held.id == *id);
                let missing = now.iter().filter(|id| !is_there(id)).map(ToString::to_string);
                redriven.missing.extend(missing);
                Some(batch)
            }
            Left::Some(0) => None,
            Left::Some(count) => {
                let batch = self.pull((*count).min(BATCH)).await;
                *count -= (batch.len() as u64).min(*count);
                (!batch.is_empty()).then_some(batch)
            }
        }
    }

    /// Up to `most` of the messages that wait; none if there are no more, or the channel does not deliver.
    async fn pull(&self, most: u64) -> Vec<Held> {
        let channel = self.consumer.channel();
        loop {
            self.consumer.set_ready(most);
            let mut batch = Vec::new();
            let limit = PullLimit { messages: most, bytes: usize::MAX };
            self.consumer.pull(limit, clock::now(), |delivery| {
                batch.push(Held { id: delivery.id, body: delivery.body.to_vec() });
            });
            self.consumer.set_ready(0);
            let is_over = channel.counts().depth == 0 || channel.is_paused();
            if !batch.is_empty() || is_over || self.signal.is_closed() {
                return batch;
            }
            // They are read back from the disk, or a limit holds them.
            self.consumer.set_ready(most);
            let waited = tokio::time::timeout(Duration::from_millis(100), self.signal.woken());
            // Who else consumes may have had the last of them meanwhile.
            waited.await.unwrap_or_default();
        }
    }

    fn finish(&self, held: &Held, redriven: &mut Redriven) {
        let finished = self.consumer.settle(clock::now()).finish(&held.id.to_hex());
        match finished {
            Ok(()) => redriven.done += 1,
            Err(error) => {
                redriven.failed.push(Failed { id: held.id.to_string(), reason: error.to_string() });
            }
        }
    }

    fn give_back(&self, held: &Held, reason: String, redriven: &mut Redriven) {
        let given = self.consumer.settle(clock::now()).requeue(&held.id.to_hex(), Duration::ZERO);
        // It came back by itself if it took too long.
        given.unwrap_or_default();
        redriven.failed.push(Failed { id: held.id.to_string(), reason });
    }
}

#[cfg(test)]
mod tests;
