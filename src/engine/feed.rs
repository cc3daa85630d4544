//! What a topic's channels share under one lock: the log, and how far it is handed on to them.
//!
//! A message is *released* when the channels may see it. With no channel, or while the topic is paused, nothing is
//! released: the first channel gets the whole backlog, a later one only what was not released yet.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::channel::Channel;
use super::journal::{Entry, Level, Mark};
use super::log::Log;
use super::upstream::Ingress;
use crate::clock::{self, Instant};
use crate::storage::ranges::RangeSet;
use crate::storage::wal::record::Write as _;

/// Sequence numbers take the lower 54 bits of a message id, the node id the upper 10. A set bit 53 marks a message that
/// is not in the log, so that the log's numbers stay dense.
pub(super) const DETACHED: u64 = 1 << 53;
/// The bits of an id that are the sequence number.
pub(super) const SEQ_MASK: u64 = (1 << 54) - 1;

/// A message that waits for the topic's first channel (or the end of a pause), its delay with it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) seq: u64,
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
    /// Its first channels are not all there yet, see [`precreation`](super::precreation).
    pub(super) withheld: bool,
    pub(super) exiting: bool,
    pub(super) ingress: Option<Arc<dyn Ingress>>,
    /// Where it is written down what must outlast the process; nothing for an ephemeral topic or a node without a disk.
    pub(super) journal: Option<Entry>,
    /// Messages from here on are kept for channels to come, whether settled or not.
    pub(super) retained: Option<u64>,
    /// Messages outside of the log that were written down at a clean exit.
    pub(super) written: RangeSet,
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
    pub(super) const fn new(first: u64, journal: Option<Entry>) -> Self {
        Self {
            log: Log::new(first),
            released: first,
            released_total: 0,
            held: Vec::new(),
            channels: Vec::new(),
            paused: false,
            withheld: false,
            exiting: false,
            ingress: None,
            journal,
            retained: None,
            written: RangeSet::new(),
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
        self.log.count(&(self.released..self.log.next()))
    }

    /// How safe a message that is published now has to be; `None` if memory is enough. A topic that is kept in memory
    /// writes down what exceeds `memory_max` messages for itself and for each of its channels.
    pub(super) fn level(&self, memory_max: u64) -> Option<Level> {
        let entry = self.journal.as_ref()?;
        let readers = self.channels.len().max(1) as u64;
        let is_over = || self.log.owed() >= memory_max.saturating_mul(readers);
        entry.durability.or_else(|| is_over().then_some(Level::Written))
    }

    /// Gives the topic a number in the journal, if it has none yet, with all of its channels that last.
    pub(super) fn register(&mut self, name: &str) {
        let Some(entry) = self.journal.as_mut().filter(|entry| entry.id.is_none()) else {
            return;
        };
        let id = entry.journal.next_topic();
        entry.id = Some(id);
        let at = clock::unix_nanos();
        let from = self.log.next();
        let Entry { journal, last_channel, .. } = entry;
        let (channels, paused, retained) = (&self.channels, self.paused, self.retained);
        journal.wal().append(Level::Lazy, |out| {
            out.topic(id, paused, name);
            for channel in channels.iter().filter(|channel| !channel.is_ephemeral()) {
                *last_channel += 1;
                channel.register(*last_channel);
                out.channel(id, *last_channel, channel.is_paused(), at, from, channel.name());
            }
            if retained.is_some() {
                out.retained(id, from);
            }
        });
    }

    /// Writes down that a channel is there.
    pub(super) fn note_channel(&mut self, channel: &Channel, from: u64) {
        if let Some(entry) = &mut self.journal
            && entry.id.is_some()
            && !channel.is_ephemeral()
        {
            entry.last_channel += 1;
            let number = entry.last_channel;
            channel.register(number);
            let at = clock::unix_nanos();
            entry.note_soon(|out, id| out.channel(id, number, false, at, from, channel.name()));
        }
    }

    /// Writes down that a channel is gone.
    pub(super) fn note_channel_gone(&self, channel: &Channel) {
        if let Some(entry) = &self.journal
            && let Some(number) = channel.number()
        {
            entry.note_soon(|out, id| out.channel_gone(id, number));
        }
    }

    /// Appends messages, to the journal as well if `level` says so, and returns the mark to wait for.
    pub(super) fn append<'a>(
        &mut self,
        name: &str,
        bodies: impl Iterator<Item = &'a [u8]> + Clone,
        timestamp: i64,
        level: Option<Level>,
    ) -> Option<Mark> {
        let mut mark = None;
        let mut logged = None;
        if let Some(level) = level {
            self.register(name);
            if let Some(Entry { journal, id: Some(id), .. }) = &self.journal {
                // An earlier position than the record's does no harm: the block finds its home the sooner.
                logged = Some(journal.wal().end());
                let first = self.log.next();
                let bodies = bodies.clone();
                let lsn =
                    journal.wal().append(level, |out| out.publish(*id, first, timestamp, bodies));
                mark = Some(Mark { lsn, level });
            }
        }
        let first = self.log.next();
        for body in bodies {
            self.log.append(body, timestamp, logged);
        }
        self.retain(&(first..self.log.next()));
        mark
    }

    /// As [`Feed::append`], for one message that is not to be delivered before a delay has passed.
    pub(super) fn append_deferred(
        &mut self,
        name: &str,
        body: &[u8],
        timestamp: i64,
        delay: Duration,
        level: Option<Level>,
    ) -> Option<Mark> {
        let mut mark = None;
        let mut logged = None;
        let seq = self.log.next();
        if let Some(level) = level {
            self.register(name);
            if let Some(Entry { journal, id: Some(id), .. }) = &self.journal {
                logged = Some(journal.wal().end());
                let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
                let lsn = journal.wal().append(level, |out| {
                    out.publish_deferred(*id, seq, timestamp, nanos, body);
                });
                mark = Some(Mark { lsn, level });
            }
        }
        self.log.append(body, timestamp, logged);
        self.retain(&(seq..seq + 1));
        self.held.push(Held { seq, delay });
        mark
    }

    /// Whether nothing is handed on to the channels now.
    pub(super) const fn holds(&self) -> bool {
        self.paused || self.withheld || self.channels.is_empty()
    }

    /// Hands on what may be handed on. `bound` is what an ephemeral channel may have queued.
    pub(super) fn release(&mut self, bound: u64, now: Instant) {
        let range = self.released..self.log.next();
        if self.holds() || range.is_empty() {
            return;
        }
        self.released_total += self.log.count(&range);
        // The topic's own claim becomes the first channel's.
        let others = self.channels.len() as u64 - 1;
        if others > 0 {
            self.log.claim(&range, others);
        }
        let held = std::mem::take(&mut self.held);
        let mut lasts = false;
        for channel in &self.channels {
            lasts |= !channel.is_ephemeral();
            let surplus = channel.is_ephemeral().then(|| channel.bound(&self.log, &range, bound));
            let surplus = surplus.flatten().unwrap_or(0..0);
            if !surplus.is_empty() {
                self.log.settle(&surplus);
            }
            for held in held.iter().filter(|held| !surplus.contains(&held.seq)) {
                let bytes = self.log.get(held.seq).map_or(0, |stored| stored.body.len());
                channel.defer(held.seq, now + held.delay, bytes);
            }
        }
        self.released = range.end;
        self.keep_channels_within_bounds(now);
        if !lasts
            && let Some(entry) = &self.journal
            && self.log.has_logged(&range)
        {
            entry.note(|out, id| out.dropped(id, range));
        }
    }

    /// Has channels that are bounded part with what is too much.
    fn keep_channels_within_bounds(&mut self, now: Instant) {
        let mut freed = false;
        for channel in self.channels.iter().filter(|channel| channel.is_bounded()) {
            let claims = channel.keep_within_bounds(&self.log, self.released, now);
            freed |= channel.settle(self, &claims);
        }
        if freed {
            self.maintain();
        }
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
        if let Some(entry) = &self.journal {
            entry.note_soon(|out, id| out.dropped(id, range.clone()));
        }
        self.log.settle(&range);
        if let Some(from) = self.retained {
            self.log.settle(&(range.start.max(from)..range.end));
        }
        self.log.truncate(self.released);
        self.released = self.log.next();
        self.log.reclaim();
    }
}
