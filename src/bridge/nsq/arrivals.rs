//! A queue as a channel: deliveries become messages of the channel, and a consumer's FIN is the broker's ack.
//!
//! The broker keeps a delivery until the channel's consumer has finished it: nothing is acked that a crash could lose.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::held::Held;
use super::misfits::Misfits;
use crate::bridge::amqp::arrival::Arrival;
use crate::bridge::amqp::consumer::{Arrivals, Progress, Settlements};
use crate::bridge::gate;
use crate::bridge::phase::{self, Phase};
use crate::bridge::route::{NsqChannel, RouteLimit};
use crate::bridge::runner::Pace;
use crate::bridge::shaper::{Incoming, Shaper, Unsent};
use crate::bridge::status::Status;
use crate::clock;
use crate::engine::{Channel, Engine, Offer, Upstream};
use crate::limit::Limiter;
use crate::names::MessageId;

/// See the module's description.
pub(in crate::bridge) struct Feeder {
    engine: Arc<Engine>,
    target: NsqChannel,
    status: Arc<Status>,
    phase: watch::Receiver<Phase>,
    held: Arc<Held>,
    upstream: Arc<dyn Upstream>,
    limit: watch::Receiver<Option<RouteLimit>>,
    limiter: Option<Limiter>,
    pace: Pace,
    misfits: Misfits,
    shaper: Option<Shaper>,
    settlements: Arc<Settlements>,
    /// What is still to be passed on.
    rest: VecDeque<Arrival>,
    /// The channel, and how many consumers it has.
    channel: Option<(Arc<Channel>, watch::Receiver<usize>)>,
}

impl Feeder {
    pub(in crate::bridge) fn new(
        engine: Arc<Engine>,
        target: NsqChannel,
        status: Arc<Status>,
        (held, settlements): (Arc<Held>, Arc<Settlements>),
        mut limit: watch::Receiver<Option<RouteLimit>>,
        (max_msg_size, phase): (u64, watch::Receiver<Phase>),
        shaper: Option<Shaper>,
    ) -> Self {
        let misfits = Misfits::new(max_msg_size, Arc::clone(&status));
        let upstream = Arc::clone(&held) as Arc<dyn Upstream>;
        let rates = limit.borrow_and_update().as_ref().map(|limit| limit.rates);
        let limiter = rates.as_ref().map(Limiter::new);
        if let Some(limiter) = &limiter {
            status.set_throttle(limiter.throttle());
        }
        let mut feeder = Self {
            engine,
            target,
            status,
            phase,
            held,
            upstream,
            limit,
            limiter,
            pace: Pace::of(rates.as_ref()),
            misfits,
            shaper,
            settlements,
            rest: VecDeque::new(),
            channel: None,
        };
        feeder.prepare();
        feeder
    }

    /// Makes the topic and channel, so that consumers find them.
    fn prepare(&mut self) {
        let topic = self.engine.topic(&self.target.topic);
        let channel = topic.and_then(|topic| topic.channel(&self.target.channel));
        if let Ok(channel) = channel {
            let audience = channel.audience();
            self.held.is_for(&channel, &self.upstream);
            self.channel = Some((channel, audience));
        }
    }

    /// Works out what deliveries are passed on as. Those that the route does not take are acked; those that cannot be
    /// passed on stay unacknowledged in their queue.
    fn shape(&self, burst: Vec<Arrival>) -> Vec<Arrival> {
        let Some(shaper) = &self.shaper else { return burst };
        let (mut passed, mut filtered) = (Vec::with_capacity(burst.len()), Vec::new());
        for mut arrival in burst {
            if arrival.due.is_some() {
                // It was passed on before it was put off.
                passed.push(arrival);
                continue;
            }
            let id = MessageId(arrival.origin.tag).to_string();
            let shaped = shaper.shape(&Incoming {
                id: &id,
                timestamp: arrival.timestamp,
                attempts: arrival.attempts.saturating_add(1),
                body: &arrival.body,
                properties: arrival.properties.as_deref(),
            });
            match shaped {
                Ok(shaped) => {
                    arrival.body = shaped.body.unwrap_or(arrival.body);
                    passed.push(arrival);
                }
                Err(Unsent::Filtered) => filtered.push(arrival.origin),
                Err(Unsent::Poison(refusal)) => self.misfits.leave(&arrival, &refusal.reason),
            }
        }
        if !filtered.is_empty() {
            let settled = self.settlements.settle(&filtered);
            self.status.counters.filtered.fetch_add(settled, Ordering::Relaxed);
        }
        passed
    }

    /// Passes on `rest`, a portion at a time. What is not passed on stays in `rest` if this is dropped.
    async fn pass_on(&mut self) {
        loop {
            if self.limit.has_changed().unwrap_or(false) {
                self.tune();
            }
            let (count, bytes) = self.pace.portion(self.rest.iter().map(Arrival::size));
            if count == 0 {
                return;
            }
            if let Some(limiter) = &mut self.limiter {
                tokio::select! {
                    biased;
                    () = limiter.acquire(count as u64, bytes) => {}
                    () = gate::changed(&mut self.limit) => {
                        self.tune();
                        continue;
                    }
                }
            }
            while !self.offer(count) {
                // The channel went just now.
                self.prepare();
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes over a limit of other figures.
    fn tune(&mut self) {
        let rates = self.limit.borrow_and_update().as_ref().map(|limit| limit.rates);
        if let (Some(limiter), Some(rates)) = (&mut self.limiter, rates) {
            limiter.retune(&rates);
            self.pace = Pace::of(Some(&rates));
        }
    }

    /// Offers the first `count` of `rest`; `false` if the channel is gone.
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
        let Ok(topic) = self.engine.topic(&self.target.topic) else {
            return false;
        };
        let is_taken = topic.offer(Some(&self.target.channel), &offers, &self.upstream) > 0;
        if is_taken {
            self.rest.drain(..count);
        }
        is_taken
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.held.close();
    }
}

impl Arrivals for Feeder {
    async fn wanted(&mut self) {
        loop {
            phase::is(&mut self.phase, Phase::Running).await;
            let Some((_, audience)) = &mut self.channel else {
                self.prepare();
                tokio::task::yield_now().await;
                continue;
            };
            if *audience.borrow() == 0 {
                self.status.idle("no consumer is subscribed to the channel");
            }
            let is_there = tokio::select! {
                () = phase::is_not(&mut self.phase, Phase::Running) => continue,
                found = audience.wait_for(|consumers| *consumers > 0) => found.is_ok(),
            };
            if is_there {
                return;
            }
            self.channel = None;
        }
    }

    fn take(&mut self, burst: Vec<Arrival>) {
        let burst = self.held.keep_early(burst);
        let burst = self.shape(burst);
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
        let (is_busy, mut phase) = (self.is_busy(), self.phase.clone());
        tokio::select! {
            biased;
            () = unwanted => Progress::Unwanted,
            () = phase::is_not(&mut phase, Phase::Running) => Progress::Unwanted,
            () = self.pass_on(), if is_busy => Progress::Idle,
        }
    }

    /// What consumers hold is theirs no longer: the broker gives it to others at once.
    async fn settled(&mut self) {}

    fn revoke(&mut self, generation: u64) {
        self.rest.clear();
        let topic = self.engine.find_topic(&self.target.topic);
        if let Some(channel) = topic.and_then(|topic| topic.find_channel(&self.target.channel)) {
            channel.revoke(&self.upstream, generation);
        }
    }
}
