//! What a topic's channels share under one lock: the log, and how far it is handed on to them.
//!
//! A message is *released* when the channels may see it. With no channel, or while the topic is paused, nothing is
//! released: the first channel gets the whole backlog, a later one only what was not released yet.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::channel::{Channel, Deferred};
use super::log::Log;
use super::upstream::Ingress;
use crate::clock::Instant;

/// Sequence numbers take the lower 54 bits of a message id, the node id the upper 10. A set bit 53 marks a message that
/// is not in the log, so that the log's numbers stay dense.
pub(super) const DETACHED: u64 = 1 << 53;
/// The bits of an id that are the sequence number.
pub(super) const SEQ_MASK: u64 = (1 << 54) - 1;

/// A message that waits for the topic's first channel (or the end of a pause), its delay with it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Deferred,
    pub(super) delay: Duration,
}

/// See the module's description.
pub(super) struct Feed {
    pub(super) log: Log,
    /// Everything before it is the channels'.
    pub(super) released: u64,
    /// Messages released since the topic was made.
    pub(super) released_total: u64,
    pub(super) held: Vec<Held>,
    /// Sorted by name.
    pub(super) channels: Vec<Arc<Channel>>,
    pub(super) paused: bool,
    pub(super) exiting: bool,
    pub(super) ingress: Option<Arc<dyn Ingress>>,
    /// When the topic looks for messages that are too old, if it does.
    pub(super) age_alarm: Option<Instant>,
    next_detached: u64,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("next", &self.log.next())
            .field("released", &self.released)
            .field("channels", &self.channels.len())
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// An empty feed whose sequence numbers start at `first`.
    pub(super) const fn new(first: u64) -> Self {
        Self {
            log: Log::new(first),
            released: first,
            released_total: 0,
            held: Vec::new(),
            channels: Vec::new(),
            paused: false,
            exiting: false,
            ingress: None,
            age_alarm: None,
            next_detached: first | DETACHED,
        }
    }

    /// A number for a message that is not in the log.
    pub(super) const fn mint(&mut self) -> u64 {
        let seq = self.next_detached;
        self.next_detached = (seq + 1) & SEQ_MASK | DETACHED;
        seq
    }

    /// `count` consecutive numbers for messages that are not in the log.
    pub(super) const fn mint_many(&mut self, count: usize) -> Range<u64> {
        let first = self.next_detached;
        self.next_detached = (first + count as u64) & SEQ_MASK | DETACHED;
        first..first + count as u64
    }

    /// Messages not released yet.
    pub(super) fn unreleased(&self) -> u64 {
        self.log.count(&(self.released..self.log.next())) + self.held.len() as u64
    }

    /// Hands on what may be handed on. `bound` is what an ephemeral channel may have queued.
    pub(super) fn release(&mut self, bound: u64, now: Instant) {
        if self.paused || self.channels.is_empty() {
            return;
        }
        let range = self.released..self.log.next();
        if !range.is_empty() {
            self.release_log(&range, bound);
        }
        for held in std::mem::take(&mut self.held) {
            self.released_total += 1;
            for channel in &self.channels {
                channel.defer(held.message.clone(), now + held.delay, self.released);
            }
        }
        self.keep_channels_within_bounds(now);
    }

    /// Has channels that are bounded part with what is too much.
    fn keep_channels_within_bounds(&mut self, now: Instant) {
        let mut freed = false;
        for channel in self.channels.iter().filter(|channel| channel.is_bounded()) {
            for claim in channel.keep_within_bounds(&self.log, self.released, now) {
                freed |= self.log.settle(&claim);
            }
        }
        if freed {
            self.maintain();
        }
    }

    fn release_log(&mut self, range: &Range<u64>, bound: u64) {
        self.released_total += self.log.count(range);
        // The topic's own claim becomes the first channel's.
        let others = self.channels.len() as u64 - 1;
        if others > 0 {
            self.log.claim(range, others);
        }
        for channel in self.channels.iter().filter(|channel| channel.is_ephemeral()) {
            if let Some(surplus) = channel.bound(&self.log, range, bound) {
                self.log.settle(&surplus);
            }
        }
        self.released = range.end;
    }

    /// Frees what is settled. Blocks in which next to nothing is left are thinned out first.
    pub(super) fn maintain(&mut self) {
        let read = self.channels.iter().map(|channel| channel.cursor()).min();
        let read = read.unwrap_or(0).min(self.released);
        while let Some(range) = self.log.sparse_before(read) {
            let claims: Vec<_> = self
                .channels
                .iter()
                .flat_map(|channel| channel.detach(&self.log, &range))
                .collect();
            for claim in &claims {
                self.log.settle(claim);
            }
            self.log.reclaim();
            if claims.is_empty() {
                break;
            }
        }
        self.log.reclaim();
    }

    /// Drops what is not released yet.
    pub(super) fn drop_unreleased(&mut self) {
        self.held.clear();
        let range = self.released..self.log.next();
        self.log.settle(&range);
        self.log.truncate(self.released);
        self.released = self.log.next();
        self.log.reclaim();
    }
}

/// A body that lives outside of the log.
pub(super) fn own(body: &[u8]) -> Bytes {
    Bytes::copy_from_slice(body)
}
