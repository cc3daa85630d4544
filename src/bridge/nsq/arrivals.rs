//! A queue as a channel: deliveries become messages of the channel, and a consumer's FIN is the broker's ack.
//!
//! No more is taken than the consumers are about to want: what this node holds, other gateways' consumers do not get. So the
//! prefetch follows RDY where the queue is known not to be a stream, which could not be read on at the same place.
//!
//! The broker keeps a delivery until the channel's consumer has finished it: nothing is acked that a crash could lose.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

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
use crate::engine::{Audience, Channel, Engine, Offer, Upstream};
use crate::limit::Limiter;
use crate::names::MessageId;

/// Deliveries that one consumer is worth at least.
const LEVEL_MIN: u64 = 4;
/// How long messages are kept for consumers that are not ready.
const UNREADY_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether consumers still hold something.
const HELD_INTERVAL: Duration = Duration::from_millis(100);

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
    channel: Option<(Arc<Channel>, watch::Receiver<Audience>)>,
    /// Whether the prefetch follows RDY, and what it is now.
    follows: bool,
    level: u16,
    /// The prefetch that is asked for: the level is not above it.
    most: u16,
}

impl Feeder {
    pub(in crate::bridge) fn new(
        engine: Arc<Engine>,
        target: NsqChannel,
        status: Arc<Status>,
        (held, settlements): (Arc<Held>, Arc<Settlements>),
        mut limit: watch::Receiver<Option<RouteLimit>>,
        (max_msg_size, follows, phase): (u64, bool, watch::Receiver<Phase>),
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
            follows,
            level: 0,
            most: 1,
        };
        feeder.prepare();
        feeder
    }

    /// Makes the topic and channel, so that consumers find them. Those of a store are there, or are not to be.
    fn prepare(&mut self) {
        let NsqChannel { topic, channel } = &self.target;
        let channel = if self.engine.is_elsewhere(topic) {
            self.engine.find_topic(topic).and_then(|topic| topic.find_channel(channel))
        } else {
            self.engine.topic(topic).and_then(|topic| topic.channel(channel)).ok()
        };
        if let Some(channel) = channel {
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

    /// What consumers want at once; nothing while the route is paused.
    fn wanted_now(&self) -> u64 {
        let is_running = *self.phase.borrow() == Phase::Running;
        let audience = self.channel.as_ref().map(|(_, audience)| audience.borrow().ready);
        audience.filter(|_| is_running).unwrap_or(0)
    }

    /// [`Arrivals::progress`] where the prefetch follows RDY. While nothing is wanted, what consumers hold can still be
    /// finished; once they hold nothing, the rest is given back.
    async fn follow(&mut self) -> Progress {
        let Some((channel, audience)) = self.channel.clone() else { return Progress::Unwanted };
        let (mut audience, mut phase) = (audience, self.phase.clone());
        audience.mark_unchanged();
        phase.mark_unchanged();
        if audience.borrow().consumers == 0 || *phase.borrow() == Phase::Stopping {
            return Progress::Unwanted;
        }
        if level(self.wanted_now(), self.level, self.most) != self.level {
            return Progress::Resized;
        }
        let (is_off, is_busy) = (self.level == 0, self.is_busy());
        let is_running = *phase.borrow() == Phase::Running;
        let let_go = async {
            if is_running {
                // Clients say RDY 0 for a moment when they back off. What is given back counts as delivered once more.
                sleep(UNREADY_MAX).await;
            }
            // A message that times out tells nobody.
            while channel.counts().in_flight > 0 {
                sleep(HELD_INTERVAL).await;
            }
        };
        tokio::select! {
            biased;
            _ = audience.changed() => Progress::Idle,
            _ = phase.changed() => Progress::Idle,
            () = let_go, if is_off => Progress::Unwanted,
            () = self.pass_on(), if is_busy => Progress::Idle,
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
        let topic = match self.engine.is_elsewhere(&self.target.topic) {
            true => self.engine.find_topic(&self.target.topic),
            false => self.engine.topic(&self.target.topic).ok(),
        };
        let Some(topic) = topic else { return false };
        let is_taken = topic.offer(Some(&self.target.channel), &offers, &self.upstream) > 0;
        if is_taken {
            self.rest.drain(..count);
        }
        is_taken
    }
}

/// How many deliveries may be unacknowledged where consumers want `ready` at once: some more than that, so that they need
/// not wait for the broker, in few different steps. It grows at once and shrinks when it is far too much.
fn level(ready: u64, now: u16, most: u16) -> u16 {
    if ready == 0 {
        return 0;
    }
    let room = ready.saturating_mul(2).max(LEVEL_MIN).checked_next_power_of_two();
    let wanted = room.and_then(|room| u16::try_from(room).ok()).unwrap_or(u16::MAX).min(most);
    if wanted > now || wanted <= now / 4 { wanted } else { now }
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
                if self.channel.is_none() && self.engine.is_elsewhere(&self.target.topic) {
                    // It was deleted, and this flow is about to end.
                    std::future::pending::<()>().await;
                }
                tokio::task::yield_now().await;
                continue;
            };
            let now = *audience.borrow_and_update();
            if now.consumers == 0 {
                self.status.idle("no consumer is subscribed to the channel");
            } else if self.follows && now.ready == 0 {
                self.status.idle("no consumer of the channel is ready");
            } else {
                return;
            }
            let is_there = tokio::select! {
                () = phase::is_not(&mut self.phase, Phase::Running) => continue,
                changed = audience.changed() => changed.is_ok(),
            };
            if !is_there {
                self.channel = None;
            }
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

    fn prefetch(&mut self, most: u16) -> u16 {
        self.most = most;
        if self.follows {
            self.level = level(self.wanted_now(), self.level, most);
            self.level
        } else {
            most
        }
    }

    async fn progress(&mut self) -> Progress {
        if self.follows {
            return self.follow().await;
        }
        let mut audience = self.channel.as_ref().map(|(_, audience)| audience.clone());
        let unwanted = async {
            match &mut audience {
                // A channel that is gone has no consumers either.
                Some(audience) => drop(audience.wait_for(|audience| audience.consumers == 0).await),
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
        self.level = 0;
        let topic = self.engine.find_topic(&self.target.topic);
        if let Some(channel) = topic.and_then(|topic| topic.find_channel(&self.target.channel)) {
            channel.revoke(&self.upstream, generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefetch_follows_what_consumers_want() {
        assert_eq!(level(0, 64, 300), 0);
        assert_eq!(level(1, 0, 300), 4);
        assert_eq!(level(1, 0, 2), 2);
        assert_eq!(level(100, 4, 300), 256);
        assert_eq!(level(100, 4, 50), 50);
        assert_eq!(level(u64::MAX, 4, u16::MAX), u16::MAX);
        // Not for every message, though RDY be told for each.
        assert_eq!(level(60, 256, 300), 256);
        assert_eq!(level(20, 256, 300), 64);
    }
}
