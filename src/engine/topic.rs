//! A topic: where messages are published, and the channels that each get every one of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::admission::{Load, Losses};
use super::channel::{Channel, Ended, Offer};
use super::feed::Feed;
use super::journal::Entry;
use super::policy::{Durability, TopicPolicy};
use super::retention::Replay;
use super::store::Waiting;
use super::ticket::{Accepted, PublishError, Signal, Ticket};
use super::upstream::{Ingress, Outbound, Upstream};
use super::{Engine, RecordedLatency, Shared};
use crate::clock::{self, Instant};
use crate::names::{MessageId, is_ephemeral};
use crate::storage::wal::record::Write as _;

/// See the module's description.
#[derive(Debug)]
pub struct Topic {
    name: Arc<str>,
    ephemeral: bool,
    feed: Arc<RwLock<Feed>>,
    messages: AtomicU64,
    bytes: AtomicU64,
    shared: Arc<Shared>,
    engine: Weak<Engine>,
    this: Weak<Self>,
    pub(super) policy: TopicPolicy,
    pub(super) losses: Losses,
    /// What waits elsewhere, if a store keeps it.
    pub(super) waiting: Waiting,
}

impl Topic {
    pub(super) fn new(
        name: Arc<str>,
        first: u64,
        journal: Option<Entry>,
        shared: Arc<Shared>,
        (engine, this): (Weak<Engine>, Weak<Self>),
    ) -> Self {
        Self {
            policy: shared.options.policies.topic(&name),
            losses: Losses::default(),
            waiting: Waiting::default(),
            this,
            ephemeral: is_ephemeral(&name),
            name,
            feed: Arc::new(RwLock::new(Feed::new(first, journal))),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            shared,
            engine,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it lives in memory only and goes with its last channel.
    #[must_use]
    pub const fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// Messages accepted since it was made.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Bytes of bodies accepted since it was made.
    #[must_use]
    pub fn message_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Publishes `bodies`, all or none. Consumers are woken by [`Topic::wake`], which the caller calls once for all that
    /// it publishes in one go. `signal` is woken when a pending publish is answered.
    ///
    /// # Errors
    /// Why nothing was taken.
    pub fn publish<'a>(
        &self,
        bodies: impl Iterator<Item = &'a [u8]> + Clone,
        signal: &Arc<Signal>,
    ) -> Result<Accepted, PublishError> {
        self.shared.drain.admit()?;
        self.publish_inside(bodies, signal, None)
    }

    /// As [`Topic::publish`], for what the node itself publishes: it does so until everything is delivered. With `least`
    /// it is at least so safe before it counts as done, if the node writes anything down.
    ///
    /// # Errors
    /// Why nothing was taken.
    pub fn publish_inside<'a>(
        &self,
        bodies: impl Iterator<Item = &'a [u8]> + Clone,
        signal: &Arc<Signal>,
        least: Option<Durability>,
    ) -> Result<Accepted, PublishError> {
        let timestamp = clock::unix_nanos();
        let (mut messages, mut bytes) = (0, 0);
        for body in bodies.clone() {
            messages += 1;
            bytes += body.len() as u64;
        }
        let mut feed = self.feed.write();
        if feed.exiting {
            return Err(PublishError::Exiting);
        }
        self.admit(&feed, || Load::of(bodies.clone()))?;
        if let Some(ingress) = feed.ingress.clone() {
            let batch = route(&mut feed, self.shared.node, bodies, timestamp, Duration::ZERO);
            drop(feed);
            return self.hand_out(&*ingress, batch, signal);
        }
        let level = self.level(&feed, least.and_then(Durability::level))?;
        // An ephemeral topic that nobody reads keeps what fits and counts the rest.
        let room = if self.ephemeral { self.room(&feed) } else { usize::MAX };
        let mark = feed.append(&self.name, bodies.take(room), timestamp, level);
        let now = clock::now();
        feed.release(self.bound(), now);
        self.keep_within_bounds(&mut feed, now);
        drop(feed);
        self.count(messages, bytes);
        Ok(mark.map_or(Accepted::Now, Accepted::Logged))
    }

    /// How safe a message that is published now has to be, `least` at least.
    fn level(
        &self,
        feed: &Feed,
        least: Option<super::Level>,
    ) -> Result<Option<super::Level>, PublishError> {
        let least = least.filter(|_| feed.journal.is_some());
        let level = feed.level(self.shared.options.mem_queue_size).max(least);
        if level.is_some()
            && let Some(entry) = &feed.journal
        {
            entry.journal.check()?;
        }
        Ok(level)
    }

    /// What still fits into an ephemeral topic.
    fn room(&self, feed: &Feed) -> usize {
        let room = self.bound().saturating_sub(feed.unreleased());
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Publishes one message that no consumer gets before `delay` has passed. The delay starts when the topic has a
    /// channel and is not paused.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn publish_deferred(
        &self,
        body: &[u8],
        delay: Duration,
        signal: &Arc<Signal>,
    ) -> Result<Accepted, PublishError> {
        if delay.is_zero() {
            return self.publish(std::iter::once(body), signal);
        }
        self.shared.drain.admit()?;
        let timestamp = clock::unix_nanos();
        let mut feed = self.feed.write();
        if feed.exiting {
            return Err(PublishError::Exiting);
        }
        self.admit(&feed, || Load::of(std::iter::once(body)))?;
        if let Some(ingress) = feed.ingress.clone() {
            let batch = route(&mut feed, self.shared.node, std::iter::once(body), timestamp, delay);
            drop(feed);
            return self.hand_out(&*ingress, batch, signal);
        }
        let level = self.level(&feed, None)?;
        let mark = if self.ephemeral && self.room(&feed) == 0 {
            None
        } else {
            feed.append_deferred(&self.name, body, timestamp, delay, level)
        };
        let now = clock::now();
        feed.release(self.bound(), now);
        self.keep_within_bounds(&mut feed, now);
        drop(feed);
        self.count(1, body.len() as u64);
        Ok(mark.map_or(Accepted::Now, Accepted::Logged))
    }

    /// Takes messages from an upstream for `channel`, or with `None` for every channel that there is, and returns how many
    /// channels took them: the upstream is told by each of them. 0 if there is none (yet) or it is being deleted.
    pub fn offer(
        &self,
        channel: Option<&str>,
        offers: &[Offer],
        upstream: &Arc<dyn Upstream>,
    ) -> usize {
        let mut feed = self.feed.write();
        let seqs = feed.mint_many(offers.len());
        let feed = RwLockWriteGuard::downgrade(feed);
        let wanted =
            feed.channels.iter().filter(|c| channel.is_none_or(|name| **c.name() == *name));
        let takers = wanted.filter(|c| c.offer(&feed, seqs.clone(), offers, upstream)).count();
        drop(feed);
        if takers > 0 {
            self.count(
                offers.len() as u64,
                offers.iter().map(|offer| offer.body.len() as u64).sum(),
            );
        }
        takers
    }

    fn hand_out(
        &self,
        ingress: &dyn Ingress,
        batch: Vec<Outbound>,
        signal: &Arc<Signal>,
    ) -> Result<Accepted, PublishError> {
        let bytes = batch.iter().map(|message| message.body.len() as u64).sum();
        let messages = batch.len();
        let ticket = Ticket::new(messages, Arc::clone(signal));
        ingress.offer(batch, ticket.clone())?;
        self.count(messages as u64, bytes);
        Ok(Accepted::Pending(ticket))
    }

    /// Whether a producer should hold back until its publishes are answered.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        let feed = self.feed.read();
        match (&feed.ingress, &feed.journal) {
            (Some(ingress), _) => ingress.is_congested(),
            (None, Some(entry)) => entry.journal.is_congested(),
            (None, None) => false,
        }
    }

    /// Wakes consumers of channels that have something for them.
    pub fn wake(&self) {
        for channel in &self.feed.read().channels {
            channel.wake_if_hungry();
        }
    }

    /// The channel of this name.
    #[must_use]
    pub fn find_channel(&self, name: &str) -> Option<Arc<Channel>> {
        let feed = self.feed.read();
        let at = feed.channels.binary_search_by(|channel| (**channel.name()).cmp(name)).ok()?;
        feed.channels.get(at).cloned()
    }

    /// The channel of this name, made if it is not there: it begins where its policy says.
    ///
    /// # Errors
    /// [`PublishError::Exiting`] if the topic is being deleted.
    pub fn channel(self: &Arc<Self>, name: &str) -> Result<Arc<Channel>, PublishError> {
        if let Some(channel) = self.find_channel(name) {
            return Ok(channel);
        }
        let replay = self.shared.options.policies.channel(&self.name, name).replay;
        self.channel_from(name, replay)
    }

    /// As [`Topic::channel`]; one that is made begins where `replay` says, as far as the topic retains messages.
    ///
    /// # Errors
    /// [`PublishError::Exiting`] if the topic is being deleted.
    pub fn channel_from(
        self: &Arc<Self>,
        name: &str,
        replay: Replay,
    ) -> Result<Arc<Channel>, PublishError> {
        if let Some(channel) = self.find_channel(name) {
            return Ok(channel);
        }
        let mut feed = self.feed.write();
        if feed.exiting {
            return Err(PublishError::Exiting);
        }
        let at = match feed.channels.binary_search_by(|channel| (**channel.name()).cmp(name)) {
            Ok(at) => return feed.channels.get(at).cloned().ok_or(PublishError::Exiting),
            Err(at) => at,
        };
        let from = feed.position(replay);
        let replayed = from..feed.released;
        feed.log.claim(&replayed, 1);
        let base = feed.released_total.saturating_sub(feed.log.count(&replayed));
        let channel = Arc::new_cyclic(|this| {
            Channel::new(
                name.into(),
                super::channel::Place {
                    feed: Arc::clone(&self.feed),
                    topic: Arc::downgrade(self),
                    this: this.clone(),
                    shared: Arc::clone(&self.shared),
                },
                from,
                base,
                self.shared.options.policies.channel(&self.name, name),
            )
        });
        feed.channels.insert(at, Arc::clone(&channel));
        feed.note_channel(&channel, from);
        feed.release(self.bound(), clock::now());
        drop(feed);
        self.shared.changed(&self.name, self.ephemeral || channel.is_ephemeral());
        Ok(channel)
    }

    /// Deletes a channel and closes its consumers' connections. `false` if there is none of this name. An ephemeral
    /// topic goes with its last channel.
    pub fn delete_channel(&self, name: &str) -> bool {
        let mut feed = self.feed.write();
        let found = feed.channels.binary_search_by(|channel| (**channel.name()).cmp(name));
        let Ok(at) = found else { return false };
        let channel = feed.channels.remove(at);
        let is_last = feed.channels.is_empty();
        feed.note_channel_gone(&channel);
        let ended = channel.end(&mut feed);
        drop(feed);
        ended.tell();
        self.shared.changed(&self.name, self.ephemeral || channel.is_ephemeral());
        if is_last
            && self.ephemeral
            && let Some(engine) = self.engine.upgrade()
        {
            engine.delete_topic(&self.name);
        }
        true
    }

    /// All channels, sorted by name.
    #[must_use]
    pub fn channels(&self) -> Vec<Arc<Channel>> {
        self.feed.read().channels.clone()
    }

    /// Drops what no channel has got yet.
    pub fn empty(&self) {
        self.feed.write().drop_unreleased();
        self.drain_progressed();
        let _is_elsewhere = self.shared.elsewhere.emptied(&self.name, None);
    }

    /// Stops or goes on handing messages to the channels; publishing goes on.
    pub fn set_paused(&self, paused: bool) {
        let mut feed = self.feed.write();
        feed.paused = paused;
        if let Some(entry) = &feed.journal {
            entry.note_soon(|out, id| out.topic_paused(id, paused, clock::unix_nanos()));
        }
        feed.release(self.bound(), clock::now());
        drop(feed);
        self.wake();
        self.shared.changed(&self.name, self.ephemeral);
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.feed.read().paused
    }

    /// How long the messages of all its channels took from publish to FIN, in nanoseconds; `None` if that is not tracked,
    /// or if there is no channel.
    #[must_use]
    pub fn latency(&self) -> Option<RecordedLatency> {
        let channels = self.channels();
        let mut recorded = channels.iter().filter_map(|channel| channel.latency());
        let mut all = recorded.next()?;
        recorded.for_each(|one| all.merge(&one));
        Some(all)
    }

    /// Bytes of memory that its messages take.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.feed.read().log.memory()
    }

    /// Another topic of the node, made if it is not there.
    pub(super) fn sibling(&self, name: &str) -> Result<Arc<Self>, PublishError> {
        self.engine.upgrade().ok_or(PublishError::Exiting)?.topic(name)
    }

    /// The node id at its place in a message id.
    pub(super) fn node(&self) -> u64 {
        self.shared.node
    }

    /// What an ephemeral channel of it may have queued.
    pub(super) fn bound(&self) -> u64 {
        self.shared.bound()
    }

    pub(super) fn set_alarm(&self, at: Instant) {
        self.shared.alarms.set(at, self.this.clone());
    }

    pub(super) fn drain_progressed(&self) {
        self.shared.drain.progressed();
    }

    /// Gives back memory that is kept for messages to come, and says how many bytes that was.
    pub fn give_back_memory(&self) -> usize {
        let mut feed = self.feed.write();
        feed.log.reclaim();
        feed.log.drop_spare()
    }

    pub(super) fn set_ingress(&self, ingress: Option<Arc<dyn Ingress>>) {
        self.feed.write().ingress = ingress;
    }

    pub(super) fn feed(&self) -> Arc<RwLock<Feed>> {
        Arc::clone(&self.feed)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Feed> {
        self.feed.read()
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Feed> {
        self.feed.write()
    }

    /// Deletes it, from the journal too.
    pub(super) fn delete(&self) {
        if let Some(entry) = &self.feed.write().journal {
            entry.note_soon(|out, id| out.topic_gone(id));
        }
        self.close();
    }

    /// Ends it: publishers get `exiting`, channels are closed, messages are gone from memory.
    pub(super) fn close(&self) {
        let mut feed = self.feed.write();
        feed.exiting = true;
        feed.ingress = None;
        // Nobody settles these messages: they are dropped with their topic, or kept for the next start.
        feed.journal = None;
        let channels = std::mem::take(&mut feed.channels);
        let ended: Vec<_> = channels.iter().map(|channel| channel.end(&mut feed)).collect();
        drop(feed);
        ended.into_iter().for_each(Ended::tell);
        self.drain_progressed();
    }
}

/// Copies `bodies` into one buffer that all messages of the batch share.
fn route<'a>(
    feed: &mut Feed,
    node: u64,
    bodies: impl Iterator<Item = &'a [u8]>,
    timestamp: i64,
    delay: Duration,
) -> Vec<Outbound> {
    let mut buffer = BytesMut::new();
    let mut ends = Vec::new();
    for body in bodies {
        buffer.extend_from_slice(body);
        ends.push(buffer.len());
    }
    let mut rest = buffer.freeze();
    let mut start = 0;
    ends.into_iter()
        .map(|end| {
            let body = rest.split_to(end - start);
            start = end;
            Outbound { id: MessageId(node | feed.mint()), timestamp, body, delay }
        })
        .collect()
}
