//! How utilities consume: what fails comes again later and slows the consumer down, what has come too often is given up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::client::{Addresses, ClientOptions};
use super::program::{ToolError, try_all};
use super::progress::Progress;
pub(super) use crate::client::Delivery;
use crate::client::{Consumer, ConsumerOptions, Tag, Work};
pub use crate::names::is_valid_name;

/// How long a clean end may take.
const FAREWELL: Duration = Duration::from_secs(30);

/// What to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Where the nsqds are.
    pub addresses: Addresses,
    /// The channel.
    pub channel: String,
    /// Messages that may be out together, over all nsqds.
    pub max_in_flight: u32,
    /// How the utility is a client.
    pub client: ClientOptions,
}

/// A consumer of one topic.
#[derive(Debug)]
pub(super) struct Reader {
    topic: String,
    consumer: Arc<Consumer>,
    work: Work,
    client: ClientOptions,
    max_in_flight: usize,
}

impl Reader {
    /// Begins to consume `topic`.
    pub(super) async fn start(topic: &str, reading: &Reading) -> Result<Self, ToolError> {
        let client = reading.client.clone();
        try_all(&reading.addresses.nsqd, &client).await?;
        let options = ConsumerOptions {
            topic: topic.to_owned(),
            channel: reading.channel.clone(),
            addresses: reading.addresses.clone(),
            max_in_flight: reading.max_in_flight,
            lookupd_interval: client.lookupd_interval,
            min_backoff: client.min_backoff,
            max_backoff: client.max_backoff,
            connect: client.connect.clone(),
        };
        let starting = tokio::task::spawn_blocking(move || Consumer::start(&options));
        let started = starting.await.map_err(|error| ToolError::Setup(error.to_string()))?;
        let (consumer, work) = started.map_err(|error| ToolError::Setup(error.to_string()))?;
        let max_in_flight = reading.max_in_flight as usize;
        Ok(Self { topic: topic.to_owned(), consumer, work, client, max_in_flight })
    }

    /// The topic.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The next messages, `most` of them at most. Nothing is lost if this is dropped.
    pub(super) async fn next(&self, most: usize) -> Vec<Delivery> {
        loop {
            let mut taken = self.consumer.next(most, u64::MAX).await;
            taken.retain(|message| {
                let gives_up = self.client.gives_up(message.attempts);
                if gives_up {
                    let id = String::from_utf8_lossy(&message.tag.id).into_owned();
                    let attempts = message.attempts;
                    tracing::warn!(
                        topic = self.topic,
                        "msg {id} attempted {attempts} times, giving up"
                    );
                    self.consumer.finish(&[message.tag]);
                }
                !gives_up
            });
            if !taken.is_empty() {
                return taken;
            }
        }
    }

    /// These are done.
    pub(super) fn finish(&self, tags: &[Tag]) {
        self.consumer.finish(tags);
    }

    /// This one failed: it comes again later.
    pub(super) fn fail(&self, message: &Delivery) {
        let delay = self.client.delay_after(message.attempts);
        self.consumer.requeue(&[(message.tag, delay)], true);
    }

    /// What became of a message that was handed on: it is finished, or it failed and `progress` counts that.
    pub(super) fn settle(
        &self,
        progress: &Progress,
        message: &Delivery,
        ended: Result<(), impl std::fmt::Display>,
    ) {
        match ended {
            Ok(()) => {
                self.finish(&[message.tag]);
                progress.done(1, message.body.len() as u64);
            }
            Err(error) => {
                tracing::error!("{error}");
                progress.failed();
                self.fail(message);
            }
        }
    }

    /// This one is somebody else's: it comes again at once.
    pub(super) fn give_back(&self, tag: Tag) {
        self.consumer.requeue(&[(tag, Duration::ZERO)], false);
    }

    /// Whether nearly all that may be out is out: nothing more comes unless something is finished.
    pub(super) fn is_starved(&self) -> bool {
        self.consumer.in_flight() * 100 >= self.max_in_flight * 85
    }

    /// Takes nothing more. What was taken can still be settled, until [`Reader::end`].
    pub(super) fn leave(&self) {
        self.consumer.leave();
    }

    /// Waits until the connections are closed; what is not settled in time comes again elsewhere.
    pub(super) async fn end(mut self) {
        self.leave();
        if timeout(FAREWELL, self.work.ended()).await.is_err() {
            tracing::warn!(topic = self.topic, "connections are cut off after {FAREWELL:?}");
        }
    }
}
