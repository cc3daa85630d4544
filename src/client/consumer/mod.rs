//! Messages of one channel from any number of nsqds, with one bound on how many are out together.
//!
//! What has come waits here until [`Consumer::next`] takes it, and is touched in time, as long as it takes, until it is
//! finished or requeued. When a connection is lost its messages cannot be settled any more: the nsqd has them again.
//!
//! | file | what it is |
//! | --- | --- |
//! | `state` | what all connections share: what is out, what is ready, who may have how much |
//! | `worker` | one connection's loop |

mod state;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::connect::ConnectOptions;
use super::discovery::{Addresses, Discovery, Lookup};
use super::pool::{Health, Pool, Work};
use crate::clock;
use crate::names::MessageId;
use crate::tls::TlsError;
use state::Shared;
use worker::Worker;

/// What to consume, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// The topic.
    pub topic: String,
    /// The channel.
    pub channel: String,
    /// Where the nsqds are.
    pub addresses: Addresses,
    /// Messages that may be out together, over all nsqds; 1 and more.
    pub max_in_flight: u32,
    /// Between two questions to nsqlookupds.
    pub lookupd_interval: Duration,
    /// The first backoff after a failure, which doubles with each further one.
    pub min_backoff: Duration,
    /// The longest backoff; zero for none.
    pub max_backoff: Duration,
    /// How connections are made.
    pub connect: ConnectOptions,
}

/// A message's place: which connection it came by, and its id there. NSQ's ids are unique on one nsqd only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The connection. No two are the same over a consumer's life.
    pub connection: u64,
    /// The id, as it came.
    pub id: [u8; MessageId::LEN],
}

/// A message that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What to settle it by.
    pub tag: Tag,
    /// The nsqd that it came from.
    pub address: Arc<str>,
    /// Publish time, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries, this one included.
    pub attempts: u16,
    /// The body.
    pub body: Bytes,
}

/// See the module's description.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    health: watch::Receiver<Health>,
}

impl Consumer {
    /// Starts consuming. The work ends when the consumer was [left](Consumer::leave) and everything is settled or
    /// [released](Consumer::release). May block: it reads authorities' files.
    ///
    /// # Errors
    /// The files of TLS cannot be used.
    pub fn start(options: &ConsumerOptions) -> Result<(Arc<Self>, Work), TlsError> {
        let backoff = Backoff::new(options.min_backoff, options.max_backoff);
        let shared = Arc::new(Shared::new(options.max_in_flight, backoff));
        let discovery = Discovery::new(
            options.addresses.clone(),
            Lookup::Topic(options.topic.clone()),
            options.lookupd_interval,
            options.connect.dial_timeout,
            options.connect.tls.as_ref(),
        )?;
        let stop = watch::Sender::new(false);
        let worker = Arc::new(Worker {
            shared: Arc::clone(&shared),
            topic: options.topic.clone(),
            channel: options.channel.clone(),
            options: options.connect.clone(),
        });
        let pool = Pool::new(worker, options.connect.clone(), discovery, stop.subscribe());
        let health = pool.health();
        let turning = Arc::clone(&shared);
        let work = Work::spawn("nsq-consumer", async move {
            tokio::select! {
                () = pool.run() => {}
                () = turning.turn() => {}
            }
        });
        Ok((Arc::new(Self { shared, stop, health }), work))
    }

    /// How its connections are; changes can be waited for.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Waits for messages and takes some of them: so many at most, and no more bytes than that but for the first.
    /// Nothing is taken if this is dropped.
    pub async fn next(&self, messages: usize, bytes: u64) -> Vec<Delivery> {
        loop {
            let arrived = self.shared.arrived.notified();
            let taken = self.shared.take(messages, bytes);
            if !taken.is_empty() {
                return taken;
            }
            arrived.await;
        }
    }

    /// Finishes messages (FIN). Returns how many of them their connections still have; the others come again.
    pub fn finish(&self, tags: &[Tag]) -> u64 {
        self.shared.finish(tags, clock::now())
    }

    /// Has messages come again after a delay (REQ), which the nsqd bounds by its `--max-req-timeout`. A failure slows
    /// the consumer down as [`backoff`](super::backoff) says. Returns how many of them their connections still have.
    pub fn requeue(&self, messages: &[(Tag, Duration)], is_failure: bool) -> u64 {
        self.shared.requeue(messages, is_failure, clock::now())
    }

    /// Takes nothing more, and gives back what nobody has taken yet; or goes on.
    pub fn pause(&self, is_paused: bool) {
        self.shared.pause(is_paused, clock::now());
    }

    /// Takes nothing more for good, and gives back what nobody has taken yet. Connections close once what was taken is
    /// settled.
    pub fn leave(&self) {
        self.shared.leave(clock::now());
        self.stop.send_replace(true);
    }

    /// Gives back everything: nobody will settle anything any more.
    pub fn release(&self) {
        self.leave();
        self.shared.release();
    }

    /// Messages that are out.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight()
    }
}
