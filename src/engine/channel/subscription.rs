//! What a consumer does on its channel: RDY, pull, FIN, REQ, TOUCH.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{MutexGuard, RwLockReadGuard};

use super::delivery::{Picked, Pull};
use super::gate::Gate;
use super::state::{Leftovers, SettleError, State};
use super::{Channel, Inner, view};
use crate::clock::{self, Instant};
use crate::engine::client::Client;
use crate::engine::feed::{Feed, SEQ_MASK};
use crate::engine::upstream::{Postponed, Source};
use crate::names::MessageId;

/// A message as a consumer gets it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Its id, the same on all channels of the topic.
    pub id: MessageId,
    /// Publish time, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries on this channel, this one included.
    pub attempts: u16,
    /// Its body.
    pub body: &'a [u8],
}

/// One subscription. Dropping it unsubscribes and makes what is in flight ready again.
#[derive(Debug)]
pub struct Consumer {
    pub(super) channel: Arc<Channel>,
    pub(super) index: u32,
    client: Arc<Client>,
}

/// What a [`Consumer::pull`] may take.
#[derive(Clone, Copy, Debug)]
pub struct PullLimit {
    /// Messages, on top of what the credit allows.
    pub messages: u64,
    /// Bytes of bodies; the last message may exceed them.
    pub bytes: usize,
}

/// What a [`Consumer::pull`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Messages delivered.
    pub messages: u64,
    /// There is more, and credit for it: pull again.
    pub more: bool,
    /// How many messages it may still get.
    pub credit: u64,
}

impl Consumer {
    pub(super) const fn new(channel: Arc<Channel>, index: u32, client: Arc<Client>) -> Self {
        Self { channel, index, client }
    }

    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// RDY: how many messages may be in flight. A pull should follow.
    pub fn set_ready(&self, ready: u64) {
        let mut inner = self.channel.inner.lock();
        inner.state.consumers.set_ready(self.index, ready);
        self.channel.announce(&inner);
    }

    /// Hands `sink` what is ready, as far as the credit and `limit` allow. With credit left and nothing ready, the
    /// consumer's signal is woken when there is something.
    pub fn pull(
        &self,
        limit: PullLimit,
        now: Instant,
        mut sink: impl FnMut(Delivery<'_>),
    ) -> Pulled {
        let channel = &*self.channel;
        if channel.place.shared.drain.is_halting() {
            return Pulled { messages: 0, more: false, credit: 0 };
        }
        let node = channel.place.shared.node;
        let mut leftovers = Leftovers::default();
        let feed = channel.place.feed.read();
        let mut inner = channel.inner.lock();
        let horizon = Channel::horizon(&inner);
        let state = &mut inner.state;
        let credit = state.consumers.get(self.index).map_or(0, super::consumers::Consumer::credit);
        let yields = state.consumers.yields(self.index);
        let mut pull = Pull {
            view: view(&feed),
            consumer: self.index,
            now,
            messages: if yields {
                0
            } else {
                credit.min(limit.messages).min(self.share(state, feed.released))
            },
            bytes: limit.bytes,
            horizon,
            delivered: 0,
            leftovers: &mut leftovers,
            sink: |picked: Picked<'_>| {
                let Picked { seq, timestamp, attempts, body } = picked;
                sink(Delivery { id: MessageId(node | seq), timestamp, attempts, body });
            },
        };
        state.pull(&mut pull);
        let messages = pull.delivered;
        let has_ready = state.has_ready(view(&feed));
        let more = has_ready && !yields && credit > messages;
        if credit > messages && (!has_ready || yields) {
            state.consumers.wait(self.index);
        }
        state.count_delivered(self.index, messages);
        let opens_at = state.gate.as_ref().and_then(Gate::opens_at);
        if messages > 0
            && let Some(timeout) = state.consumers.get(self.index).map(|c| c.msg_timeout)
        {
            channel.set_alarm(&mut inner, now + timeout);
        }
        if let Some(at) = opens_at {
            channel.set_alarm(&mut inner, at);
        }
        inner.deliveries += messages;
        channel.wake_ready(&feed, &mut inner);
        let blocked = inner.state.blocked;
        let cursor = inner.state.cursor;
        drop(inner);
        channel.fetch(&feed, blocked, cursor);
        self.client.counters.messages.fetch_add(messages, Ordering::Relaxed);
        channel.settle_leftovers(feed, &leftovers);
        Pulled { messages, more, credit: credit.saturating_sub(messages) }
    }

    /// Consumers that wait get their part too, instead of one taking all that its RDY allows.
    fn share(&self, state: &State, released: u64) -> u64 {
        match state.consumers.waiting_besides(self.index) as u64 {
            0 => u64::MAX,
            waiting => (state.ready_at_most(released) / (waiting + 1)).max(1),
        }
    }

    /// Starts settling messages; the channel is locked until the returned guard is dropped.
    #[must_use]
    pub fn settle(&self, now: Instant) -> Settling<'_> {
        let feed = self.channel.place.feed.read();
        let inner = self.channel.inner.lock();
        Settling {
            consumer: self,
            feed: Some(feed),
            inner: Some(inner),
            leftovers: Leftovers::default(),
            finished: 0,
            postponed: Vec::new(),
            now,
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.channel.unsubscribe(self.index);
    }
}

/// A run of FIN, REQ and TOUCH under one lock.
#[derive(Debug)]
pub struct Settling<'a> {
    consumer: &'a Consumer,
    feed: Option<RwLockReadGuard<'a, Feed>>,
    inner: Option<MutexGuard<'a, Inner>>,
    leftovers: Leftovers,
    /// FINs that the client's counters do not know of yet.
    finished: u64,
    /// What is put off for so long that its upstream is to know.
    postponed: Vec<(Source, Postponed)>,
    now: Instant,
}

impl Settling<'_> {
    fn seq(&self, id: &[u8; MessageId::LEN]) -> Result<u64, SettleError> {
        let id = MessageId::from_hex(id).ok_or(SettleError::NotInFlight)?;
        let node = self.consumer.channel.place.shared.node;
        if id.0 & !SEQ_MASK == node { Ok(id.0 & SEQ_MASK) } else { Err(SettleError::NotInFlight) }
    }

    /// FIN.
    ///
    /// # Errors
    /// Why nsqd would answer `E_FIN_FAILED`.
    pub fn finish(&mut self, id: &[u8; MessageId::LEN]) -> Result<(), SettleError> {
        let seq = self.seq(id)?;
        let (Some(inner), Some(feed)) = (self.inner.as_mut(), self.feed.as_ref()) else {
            return Err(SettleError::Exiting);
        };
        let published =
            inner.latency.is_some().then(|| inner.state.published(seq, view(feed))).flatten();
        inner.state.finish(self.consumer.index, seq, &mut self.leftovers)?;
        if let (Some(published), Some(latency)) = (published, inner.latency.as_mut()) {
            // A publisher's clock may be ahead of ours, and ours may be set back.
            let nanos = clock::unix_nanos().saturating_sub(published).max(0);
            latency.record(nanos as f64, self.now);
        }
        self.finished += 1;
        Ok(())
    }

    /// REQ, after `delay`.
    ///
    /// # Errors
    /// Why nsqd would answer `E_REQ_FAILED`.
    pub fn requeue(
        &mut self,
        id: &[u8; MessageId::LEN],
        delay: Duration,
    ) -> Result<(), SettleError> {
        let seq = self.seq(id)?;
        let (Some(inner), Some(feed)) = (self.inner.as_mut(), self.feed.as_ref()) else {
            return Err(SettleError::Exiting);
        };
        let index = self.consumer.index;
        let due = inner.state.requeue(index, seq, delay, self.now, feed.released)?;
        if let Some(due) = due {
            self.postponed.extend(inner.state.postponed(seq, delay));
            self.consumer.channel.set_alarm(inner, due);
        }
        self.consumer.channel.note_requeue(feed, seq, inner.state.attempts(seq), delay);
        let counters = &self.consumer.client.counters;
        counters.requeued.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// TOUCH.
    ///
    /// # Errors
    /// Why nsqd would answer `E_TOUCH_FAILED`.
    pub fn touch(&mut self, id: &[u8; MessageId::LEN]) -> Result<(), SettleError> {
        let seq = self.seq(id)?;
        let timeout_max = self.consumer.channel.place.shared.options.max_msg_timeout;
        let inner = self.inner.as_mut().ok_or(SettleError::Exiting)?;
        inner.state.touch(self.consumer.index, seq, timeout_max, self.now)
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        let (Some(mut inner), Some(feed)) = (self.inner.take(), self.feed.take()) else {
            return;
        };
        let Consumer { channel, client, .. } = self.consumer;
        client.counters.finished.fetch_add(self.finished, Ordering::Relaxed);
        channel.wake_ready(&feed, &mut inner);
        let dead = channel.condemned(&feed, &mut inner);
        drop(inner);
        channel.settle_leftovers(feed, &self.leftovers);
        channel.bury(dead);
        for (source, message) in self.postponed.drain(..) {
            source.upstream.postponed(vec![message]);
        }
    }
}
