//! A channel: every message of its topic once, to whichever of its consumers has credit.
//!
//! [`state`] is the pure state machine; this file puts it behind its lock and joins it to the topic's log, the alarms and
//! the consumers' connections. Lock order: feed, then channel; nobody is called back while either is held.

mod by_hand;
mod consumers;
mod counts;
mod delivery;
mod ending;
mod gate;
mod kept;
mod peek;
mod revoke;
mod rules;
mod slots;
mod state;
mod subscription;
mod upkeep;
mod why;
mod window;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod dead_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod rules_model;
#[cfg(test)]
mod share_tests;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

pub use consumers::{Audience, Subscriber};
pub use counts::{ChannelCounts, ConsumerCounts};
pub(super) use ending::Ended;
pub use peek::{PeekLimit, PeekState, Peeked};
use slots::Detached;
pub use state::SettleError;
use state::{Leftovers, State, View};
pub use subscription::{Consumer, Delivery, PullLimit, Pulled, Settling};
pub(super) use upkeep::before_now;
pub use why::WaitingFor;

use super::RecordedLatency;
use super::Shared;
use super::feed::Feed;
use super::log::Log;
use super::policy::{ChannelPolicy, DeadLetterTo};
use super::store::Waiting;
use super::topic::Topic;
use super::upstream::{Origin, Source, Upstream};
use crate::clock::{self, Instant};
use crate::metrics::quantile::Window as LatencyWindow;
use crate::names::is_ephemeral;
use crate::storage::wal::record::{ChannelId, Write as _};

/// A message that an upstream offers to a channel.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its body.
    pub body: Bytes,
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries that it has behind it elsewhere.
    pub attempts: u16,
    /// What its upstream knows it as.
    pub origin: Origin,
}

/// Blocks that are read back from disk before a consumer comes to them.
const READ_AHEAD_BLOCKS: usize = 8;

/// Why a SUB was refused. The texts follow nsqd's `E_SUB_FAILED SUB failed `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The channel is being deleted or the node shuts down.
    #[error("exiting")]
    Exiting,
    /// `--max-channel-consumers` is reached.
    #[error("limit of {0} consumers reached")]
    Full(usize),
}

/// Where a channel stands: its topic, and what all of the node's channels share.
pub(super) struct Place {
    pub(super) feed: Arc<RwLock<Feed>>,
    pub(super) topic: Weak<Topic>,
    pub(super) this: Weak<Channel>,
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// The alarm that is set, if one is.
    alarm: Option<Instant>,
    /// When those that came back are looked through next for messages that are too old.
    aging: Option<Instant>,
    /// Deliveries to consumers.
    deliveries: u64,
    /// Nanoseconds from publish to FIN, if they are wanted.
    latency: Option<Box<LatencyWindow>>,
}

/// See the module's description.
pub struct Channel {
    name: Arc<str>,
    ephemeral: bool,
    place: Place,
    inner: Mutex<Inner>,
    /// Whether a consumer with credit waits; lets a publisher pass without taking the lock.
    hungry: AtomicBool,
    /// Who there is to deliver to, for whoever feeds the channel.
    audience: watch::Sender<Audience>,
    /// What waits elsewhere, if a store keeps it.
    pub(super) waiting: Waiting,
    /// The topic's released total when the channel was made.
    base: u64,
    /// Its number in the journal; 0 as long as it has none.
    number: AtomicU32,
    /// Whether its policy bounds what waits in it.
    is_bounded: bool,
    /// Where messages go that were delivered so often in vain; 0 deliveries are no bound.
    dead_letter: Option<DeadLetterTo>,
    max_attempts: u16,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Channel {
    pub(super) fn new(
        name: Arc<str>,
        place: Place,
        cursor: u64,
        base: u64,
        policy: ChannelPolicy,
    ) -> Self {
        let tracking = &place.shared.options.latency;
        let latency =
            tracking.is_on().then(|| Box::new(LatencyWindow::new(tracking, clock::now())));
        Self {
            is_bounded: policy.bounds.is_any(),
            dead_letter: policy.dead_letter.clone(),
            max_attempts: policy.max_attempts.map_or(0, std::num::NonZeroU16::get),
            ephemeral: is_ephemeral(&name),
            name,
            inner: Mutex::new(Inner {
                state: State::new(cursor, policy),
                alarm: None,
                aging: None,
                deliveries: 0,
                latency,
            }),
            place,
            hungry: AtomicBool::new(false),
            audience: watch::Sender::new(Audience::default()),
            waiting: Waiting::default(),
            base,
            number: AtomicU32::new(0),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its number in the journal.
    pub(super) fn number(&self) -> Option<ChannelId> {
        Some(self.number.load(Ordering::Acquire)).filter(|number| *number > 0)
    }

    /// Gives it a number in the journal. Called with the feed locked for writing.
    pub(super) fn register(&self, number: ChannelId) {
        self.number.store(number, Ordering::Release);
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.inner.lock().state.paused
    }

    /// Whether it goes with its last consumer.
    #[must_use]
    pub const fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// How long its messages of the window took from publish to FIN, in nanoseconds; `None` if that is not tracked.
    #[must_use]
    pub fn latency(&self) -> Option<RecordedLatency> {
        Some(self.inner.lock().latency.as_ref()?.recorded(clock::now()))
    }

    /// Subscribes; at most `consumers_max` if that is not 0.
    ///
    /// # Errors
    /// Why nsqd would refuse.
    pub fn subscribe(
        self: &Arc<Self>,
        subscriber: Subscriber,
        consumers_max: usize,
    ) -> Result<Consumer, SubscribeError> {
        let mut inner = self.inner.lock();
        if inner.state.exiting {
            return Err(SubscribeError::Exiting);
        }
        if consumers_max > 0 && inner.state.consumers.count() >= consumers_max {
            return Err(SubscribeError::Full(consumers_max));
        }
        let client = Arc::clone(&subscriber.client);
        let index = inner.state.subscribe(subscriber);
        self.announce(&inner);
        drop(inner);
        Ok(Consumer::new(Arc::clone(self), index, client))
    }

    /// Stops or goes on delivering; in-flight messages stay where they are.
    pub fn set_paused(&self, paused: bool) {
        let feed = self.place.feed.read();
        let mut inner = self.inner.lock();
        inner.state.paused = paused;
        if let (Some(entry), Some(number)) = (&feed.journal, self.number()) {
            entry.note_soon(|out, id| out.channel_paused(id, number, paused));
        }
        self.wake_ready(&feed, &mut inner);
        drop(inner);
        drop(feed);
        if let Some(topic) = self.place.topic.upgrade() {
            self.place.shared.changed(topic.name(), self.ephemeral);
        }
    }

    /// Who there is to deliver to, as it changes.
    #[must_use]
    pub fn audience(&self) -> watch::Receiver<Audience> {
        self.audience.subscribe()
    }

    fn announce(&self, inner: &Inner) {
        let now = inner.state.consumers.audience();
        self.audience.send_if_modified(|known| std::mem::replace(known, now) != now);
    }

    /// Takes messages from an upstream. They are not in the log: the upstream keeps them until it is told of their ends.
    /// Called with the feed's lock held. `false` if the channel is being deleted; nothing was taken then.
    pub(super) fn offer(
        &self,
        feed: &Feed,
        seqs: Range<u64>,
        offers: &[Offer],
        upstream: &Arc<dyn Upstream>,
    ) -> bool {
        let mut inner = self.inner.lock();
        if inner.state.exiting {
            return false;
        }
        inner.state.offered += offers.len() as u64;
        for (seq, offer) in seqs.zip(offers) {
            let source = Source { upstream: Arc::clone(upstream), origin: offer.origin };
            let (body, timestamp) = (offer.body.clone(), offer.timestamp);
            let detached = Detached { body, timestamp, source: Some(source) };
            inner.state.add(seq, detached, offer.attempts, None, feed.released);
        }
        self.wake_ready(feed, &mut inner);
        true
    }

    /// Drops what the upstream's lives up to `generation` offered: it will offer it again. Consumers that hold some of it
    /// get `E_FIN_FAILED` for it.
    pub fn revoke(&self, upstream: &Arc<dyn Upstream>, generation: u64) {
        let feed = self.place.feed.read();
        let mut inner = self.inner.lock();
        inner.state.revoke(upstream, generation);
        self.wake_ready(&feed, &mut inner);
    }

    /// Drops those of an upstream's messages that are put off: the upstream keeps them from now on, and offers them again
    /// when they are due.
    pub fn withdraw(&self, upstream: &Arc<dyn Upstream>, origins: &[Origin]) {
        self.inner.lock().state.withdraw(upstream, origins);
    }

    /// Wakes the next consumer if there is something for it, and notes whether one still waits.
    fn wake_ready(&self, feed: &Feed, inner: &mut Inner) {
        if inner.state.consumers.waiting() > 0 && inner.state.has_ready(view(feed)) {
            inner.state.consumers.wake_one();
        }
        self.hungry.store(inner.state.consumers.waiting() > 0, Ordering::Release);
        self.place.shared.drain.progressed();
    }

    /// Called with the feed's lock held.
    pub(super) fn wake_if_hungry(&self) {
        if self.hungry.load(Ordering::Acquire) {
            let mut inner = self.inner.lock();
            if !inner.state.is_held() {
                inner.state.consumers.wake_one();
            }
            self.hungry.store(inner.state.consumers.waiting() > 0, Ordering::Release);
        }
    }

    fn set_alarm(&self, inner: &mut Inner, at: Instant) {
        if inner.alarm.is_none_or(|alarm| at < alarm) {
            inner.alarm = Some(at);
            self.place.shared.alarms.set(at, self.place.this.clone());
        }
    }

    /// Writes down how often messages were delivered that are to be delivered again.
    fn note_attempts(&self, feed: &Feed, expired: &[(u64, u16)]) {
        let (Some(entry), Some(number)) = (&feed.journal, self.number()) else { return };
        let logged = || expired.iter().filter(|(seq, _)| feed.log.is_logged(*seq));
        if logged().next().is_some() {
            entry.note(|out, id| {
                logged().for_each(|(seq, attempts)| out.state(id, number, *seq, *attempts, 0));
            });
        }
    }

    /// Writes down that a message was requeued.
    fn note_requeue(&self, feed: &Feed, seq: u64, attempts: u16, delay: Duration) {
        if let (Some(entry), Some(number)) = (&feed.journal, self.number())
            && feed.log.is_logged(seq)
        {
            let wait = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
            let due = if wait == 0 { 0 } else { clock::unix_nanos().saturating_add(wait) };
            entry.note(|out, id| out.state(id, number, seq, attempts, due));
        }
    }

    /// Has blocks read back that a consumer waits for or is about to come to.
    fn fetch(&self, feed: &Feed, blocked: Option<u64>, cursor: u64) {
        let Some(entry) = &feed.journal else { return };
        let mut blocks = feed.log.want(cursor, READ_AHEAD_BLOCKS);
        if let Some(seq) = blocked {
            blocks.extend(feed.log.want(seq, 1));
        }
        entry.journal.want(&self.place.topic, blocks);
    }

    /// Holds a message of the log back. Called with the feed's lock held, before it is released.
    pub(super) fn defer(&self, seq: u64, due: Instant, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.state.defer(seq, due, bytes);
        self.set_alarm(&mut inner, due);
    }

    /// Skips what is too much of `range` for an ephemeral channel that may have `bound` messages queued, and returns it.
    /// Called with the feed's lock held, before `range` is released.
    pub(super) fn bound(&self, log: &Log, range: &Range<u64>, bound: u64) -> Option<Range<u64>> {
        let mut inner = self.inner.lock();
        let depth = inner.state.depth(View { log, released: range.start });
        let surplus = range.start.saturating_add(bound.saturating_sub(depth))..range.end;
        if surplus.is_empty() {
            return None;
        }
        inner.state.skip(surplus.clone());
        Some(surplus)
    }

    /// See [`State::skip`]. Called with the feed's lock held.
    pub(super) fn skip(&self, range: Range<u64>) {
        self.inner.lock().state.skip(range);
    }

    /// See [`State::cursor`]. Called with the feed's lock held.
    pub(super) fn cursor(&self) -> u64 {
        self.inner.lock().state.cursor()
    }

    /// Where it reads: ahead of its cursor, and the message that it waits for, which may be anywhere behind that. Called
    /// with the feed's lock held.
    pub(super) fn near(&self, log: &Log) -> [Range<u64>; 2] {
        let inner = self.inner.lock();
        let cursor = inner.state.cursor();
        let blocked = inner.state.blocked.unwrap_or(cursor);
        [log.ahead(cursor, READ_AHEAD_BLOCKS), blocked..blocked + 1]
    }

    /// See [`State::detach`]. Called with the feed's lock held; the claims are the caller's to give back.
    pub(super) fn detach(&self, log: &Log, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut leftovers = Leftovers::default();
        self.inner.lock().state.detach(log, range, &mut leftovers);
        leftovers.claims
    }

    fn unsubscribe(&self, index: u32) {
        let feed = self.place.feed.read();
        let mut inner = self.inner.lock();
        let returned = inner.state.unsubscribe(index, feed.released);
        self.note_attempts(&feed, &returned);
        let left = inner.state.consumers.count();
        self.announce(&inner);
        self.wake_ready(&feed, &mut inner);
        let dead = self.condemned(&feed, &mut inner);
        drop(inner);
        drop(feed);
        self.bury(dead);
        if left == 0
            && self.ephemeral
            && let Some(topic) = self.place.topic.upgrade()
        {
            topic.delete_channel(&self.name);
        }
    }
}

const fn view(feed: &Feed) -> View<'_> {
    View { log: &feed.log, released: feed.released }
}
