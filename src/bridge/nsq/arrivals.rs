//! Sink of the routes from RabbitMQ: deliveries become messages of a channel, or of every channel of a topic.
//!
//! Either way the broker keeps a delivery until it is settled here: with a direct route until the channel's consumer has
//! finished it, with a queued one until every channel that the topic had has. Nothing is acked that a crash could lose.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::misfits::Misfits;
use crate::bridge::amqp::consumer::{Arrival, Arrivals, Progress, Settlements};
use crate::bridge::runner::Pace;
use crate::bridge::status::Status;
use crate::clock;
use crate::engine::{Channel, Engine, Offer, Origin, Upstream};
use crate::limit::{LimitOptions, Limiter};

/// Where deliveries go.
#[derive(Clone, Debug)]
pub(in crate::bridge) enum Target {
    /// One channel; it takes deliveries only while it has consumers.
    Channel { topic: String, channel: String },
    /// Every channel of the topic; it takes deliveries while there is one.
    Topic { topic: String },
}

impl Target {
    fn topic(&self) -> &str {
        match self {
            Self::Channel { topic, .. } | Self::Topic { topic } => topic,
        }
    }

    fn channel(&self) -> Option<&str> {
        match self {
            Self::Channel { channel, .. } => Some(channel),
            Self::Topic { .. } => None,
        }
    }
}

/// Counts, for each delivery, the channels that have yet to finish it.
struct Copies {
    settlements: Arc<Settlements>,
    status: Arc<Status>,
    /// Channels that took it, less those that are done; negative while the former is not known yet.
    left: Mutex<HashMap<Origin, isize>>,
    is_single: bool,
}

impl Copies {
    fn settle(&self, origins: &[Origin]) {
        let settled = self.settlements.settle(origins);
        self.status.counters.confirmed.fetch_add(settled, Ordering::Relaxed);
    }

    fn change(&self, origins: &[Origin], by: isize) {
        if self.is_single {
            // The one channel that took it is done with it; there is nothing to count.
            if by < 0 {
                self.settle(origins);
            }
            return;
        }
        let mut done = Vec::new();
        let mut left = self.left.lock();
        for origin in origins {
            let count = left.entry(*origin).or_default();
            *count += by;
            if *count == 0 {
                left.remove(origin);
                done.push(*origin);
            }
        }
        drop(left);
        self.settle(&done);
    }
}

impl Upstream for Copies {
    fn finished(&self, origins: &[Origin]) {
        self.change(origins, -1);
    }

    /// A deleted channel takes its copies with it, as in NSQ. The one channel of a direct route does not: what it had
    /// goes back to the broker when the route closes its consumer, which it does once the channel has no consumers.
    fn returned(&self, origins: &[Origin]) {
        if !self.is_single {
            self.change(origins, -1);
        }
    }
}

/// See the module's description.
pub(in crate::bridge) struct Feeder {
    engine: Arc<Engine>,
    target: Target,
    status: Arc<Status>,
    copies: Arc<Copies>,
    upstream: Arc<dyn Upstream>,
    limiter: Option<Limiter>,
    pace: Pace,
    misfits: Misfits,
    /// What is still to be passed on.
    rest: VecDeque<Arrival>,
    /// The channel of a direct route, and how many consumers it has.
    channel: Option<(Arc<Channel>, watch::Receiver<usize>)>,
}

impl Feeder {
    pub(in crate::bridge) fn new(
        engine: Arc<Engine>,
        target: Target,
        status: Arc<Status>,
        settlements: Arc<Settlements>,
        limit: Option<&LimitOptions>,
        misfits: Misfits,
    ) -> Self {
        let is_single = target.channel().is_some();
        let copies = Arc::new(Copies {
            settlements,
            status: Arc::clone(&status),
            left: Mutex::default(),
            is_single,
        });
        let upstream = Arc::clone(&copies) as Arc<dyn Upstream>;
        let limiter = limit.map(Limiter::new);
        if let Some(limiter) = &limiter {
            status.set_throttle(limiter.throttle());
        }
        let mut feeder = Self {
            engine,
            target,
            status,
            copies,
            upstream,
            limiter,
            pace: Pace::of(limit),
            misfits,
            rest: VecDeque::new(),
            channel: None,
        };
        feeder.prepare();
        feeder
    }

    /// Makes the topic and channel, so that consumers find them.
    fn prepare(&mut self) {
        let Ok(topic) = self.engine.topic(self.target.topic()) else {
            return;
        };
        let Some(name) = self.target.channel() else {
            return;
        };
        if let Ok(channel) = topic.channel(name) {
            let audience = channel.audience();
            self.channel = Some((channel, audience));
        }
    }

    fn has_channels(&self) -> bool {
        let topic = self.engine.find_topic(self.target.topic());
        topic.is_some_and(|topic| !topic.channels().is_empty())
    }

    /// Passes on `rest`, a portion at a time. What is not passed on stays in `rest` if this is dropped.
    async fn pass_on(&mut self) {
        loop {
            let (count, bytes) = self.pace.portion(self.rest.iter().map(Arrival::size));
            if count == 0 {
                return;
            }
            if let Some(limiter) = &mut self.limiter {
                limiter.acquire(count as u64, bytes).await;
            }
            let mut changes = self.engine.changes();
            while !self.offer(count) {
                // The last channel went just now.
                self.prepare();
                if self.target.channel().is_none() && changes.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    /// Offers the first `count` of `rest`; `false` if there is no channel to take them.
    fn offer(&mut self, count: usize) -> bool {
        let now = clock::unix_nanos();
        let offers: Vec<Offer> = self
            .rest
            .iter()
            .take(count)
            .map(|arrival| Offer {
                body: arrival.body.clone(),
                timestamp: if arrival.timestamp == 0 { now } else { arrival.timestamp },
                attempts: arrival.attempts,
                origin: arrival.origin,
            })
            .collect();
        let Ok(topic) = self.engine.topic(self.target.topic()) else {
            return false;
        };
        let takers = topic.offer(self.target.channel(), &offers, &self.upstream);
        if takers == 0 {
            return false;
        }
        self.rest.drain(..count);
        let origins: Vec<Origin> = offers.iter().map(|offer| offer.origin).collect();
        self.copies.change(&origins, isize::try_from(takers).unwrap_or(isize::MAX));
        true
    }
}

impl Arrivals for Feeder {
    async fn wanted(&mut self) {
        loop {
            match &mut self.channel {
                Some((_, audience)) => {
                    if *audience.borrow() == 0 {
                        self.status.idle("no consumer is subscribed to the channel");
                    }
                    if audience.wait_for(|consumers| *consumers > 0).await.is_ok() {
                        return;
                    }
                    self.channel = None;
                }
                None if self.target.channel().is_some() => {
                    self.prepare();
                    tokio::task::yield_now().await;
                }
                None => {
                    let mut changes = self.engine.changes();
                    if self.has_channels() {
                        return;
                    }
                    self.status.idle("the topic has no channel yet");
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, burst: Vec<Arrival>) {
        let fitting = self.misfits.sift(burst);
        self.rest.extend(fitting);
    }

    fn is_busy(&self) -> bool {
        !self.rest.is_empty()
    }

    async fn progress(&mut self) -> Progress {
        let mut audience = self.channel.as_ref().map(|(_, audience)| audience.clone());
        let unwanted = async {
            match &mut audience {
                // A channel that is gone has no consumers either.
                Some(audience) => drop(audience.wait_for(|consumers| *consumers == 0).await),
                None => std::future::pending().await,
            }
        };
        let is_busy = self.is_busy();
        tokio::select! {
            biased;
            () = unwanted => Progress::Unwanted,
            () = self.pass_on(), if is_busy => Progress::Idle,
        }
    }

    fn revoke(&mut self, generation: u64) {
        self.rest.clear();
        if let Some(topic) = self.engine.find_topic(self.target.topic()) {
            for channel in topic.channels() {
                channel.revoke(&self.upstream, generation);
            }
        }
        self.copies.left.lock().retain(|origin, _| origin.generation > generation);
    }
}
