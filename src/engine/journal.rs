//! What the engine writes down: the node's write-ahead log and its segments, seen from topics and channels.
//!
//! A topic is *registered* with its first message that is to outlast the process; from then on its log number is in
//! everything that is written of it. A record is appended while the topic's feed is locked, after the change that it
//! stands for: whoever holds the feed for writing sees both or neither.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::ticket::Signal;
use super::topic::Topic;
use crate::storage::store::Store;
pub(super) use crate::storage::wal::Level;
use crate::storage::wal::Lsn;
use crate::storage::wal::record::{ChannelId, TopicId, Write as _};
pub use crate::storage::wal::writer::{Outcome, Trouble};
use crate::storage::wal::writer::{Waker, Wal};

impl Waker for Signal {
    fn wake(&self) {
        Self::wake(self);
    }
}

/// How safe a publish has to be before it is answered, and where in the log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The position that the log has to reach.
    pub(super) lsn: Lsn,
    /// How.
    pub(super) level: Level,
}

/// A block that somebody waits for.
type Wanted = (Weak<Topic>, u64);

/// What the keeper is asked to do.
#[derive(Debug, Default)]
pub(super) struct Bell {
    pub(super) state: Mutex<Calls>,
    pub(super) called: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    /// A file of the log is full; what is before this position is to be in segments.
    pub(super) cut: Option<Lsn>,
    /// Blocks to read back.
    pub(super) wanted: VecDeque<Wanted>,
    pub(super) closing: bool,
}

/// See the module's description.
#[derive(Debug)]
pub struct Journal {
    pub(super) store: Store,
    /// For the thread that writes segments and checkpoints.
    pub(super) keeper: Arc<Bell>,
    /// For the thread that reads blocks back.
    pub(super) loader: Bell,
    last_topic: AtomicU32,
    /// The log is needed from here on.
    pub(super) wal_from: Mutex<Lsn>,
    /// Held by whoever writes segments or a checkpoint, from the first look at what is owed to the last file that goes: one
    /// that is made of an older look must not follow a newer one, nor let files go that the other has just begun.
    pub(super) keeping: Mutex<()>,
    closed: AtomicBool,
}

impl Journal {
    pub(super) fn new(store: Store, keeper: Arc<Bell>, last_topic: TopicId, from: Lsn) -> Self {
        Self {
            store,
            keeper,
            loader: Bell::default(),
            last_topic: AtomicU32::new(last_topic),
            wal_from: Mutex::new(from),
            keeping: Mutex::new(()),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) const fn wal(&self) -> &Wal {
        &self.store.wal
    }

    /// Whether a publish that is to be written down would be taken.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Trouble> {
        self.wal().check()
    }

    /// What became of a publish.
    #[must_use]
    pub fn outcome(&self, mark: Mark) -> Outcome {
        self.wal().outcome(mark.lsn, mark.level)
    }

    /// Wakes `signal` once the outcome of `mark` is known.
    pub fn wake_at(&self, mark: Mark, signal: &Arc<Signal>) {
        self.wal().wake_at(mark.lsn, mark.level, Arc::clone(signal) as Arc<dyn Waker>);
    }

    /// Whether publishers should hold back.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.wal().is_congested()
    }

    pub(super) fn next_topic(&self) -> TopicId {
        self.last_topic.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn last_topic(&self) -> TopicId {
        self.last_topic.load(Ordering::Relaxed)
    }

    /// Has blocks read back.
    pub(super) fn want(&self, topic: &Weak<Topic>, blocks: Vec<u64>) {
        if blocks.is_empty() {
            return;
        }
        // Bounded by the blocks that are away: each is asked for once.
        let mut calls = self.loader.state.lock();
        calls.wanted.extend(blocks.into_iter().map(|base| (Weak::clone(topic), base)));
        drop(calls);
        self.loader.called.notify_one();
    }

    /// Ends the threads. What is appended from here on is not written.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for bell in [&*self.keeper, &self.loader] {
            bell.state.lock().closing = true;
            bell.called.notify_one();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl Bell {
    /// Waits for a call; nothing once the journal closes.
    pub(super) fn wait<T>(&self, mut take: impl FnMut(&mut Calls) -> Option<T>) -> Option<T> {
        let mut calls = self.state.lock();
        loop {
            if calls.closing {
                return None;
            }
            if let Some(call) = take(&mut calls) {
                return Some(call);
            }
            self.called.wait(&mut calls);
        }
    }

    /// As [`Bell::wait`], for so long at most: `Some(None)` if nobody has called.
    pub(super) fn wait_at_most<T>(
        &self,
        time: Duration,
        mut take: impl FnMut(&mut Calls) -> Option<T>,
    ) -> Option<Option<T>> {
        let mut calls = self.state.lock();
        let mut call = take(&mut calls);
        if call.is_none() && !calls.closing {
            self.called.wait_for(&mut calls, time);
            call = take(&mut calls);
        }
        (!calls.closing).then_some(call)
    }

    /// Waits before another try. `false` once the journal closes.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let mut calls = self.state.lock();
        if !calls.closing {
            self.called.wait_for(&mut calls, time);
        }
        !calls.closing
    }
}

/// A topic's part of the journal.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) journal: Arc<Journal>,
    /// How safe a publish has to be; `None` as long as it fits into memory.
    pub(super) durability: Option<Level>,
    /// The topic's number, once it is registered.
    pub(super) id: Option<TopicId>,
    pub(super) last_channel: ChannelId,
}

impl Entry {
    /// Appends a record of a registered topic that nobody waits for.
    pub(super) fn note(&self, write: impl FnOnce(&mut Vec<u8>, TopicId)) {
        if let Some(id) = self.id
            && !self.journal.is_closed()
        {
            self.journal.wal().append(Level::Lazy, |out| write(out, id));
        }
    }

    /// As [`Entry::note`], for what must not be lost because nothing is published behind it.
    pub(super) fn note_soon(&self, write: impl FnOnce(&mut Vec<u8>, TopicId)) {
        if let Some(id) = self.id
            && !self.journal.is_closed()
        {
            self.journal.wal().append(Level::Written, |out| write(out, id));
        }
    }

    /// Notes that a channel is done with messages.
    pub(super) fn settled(&self, channel: ChannelId, ranges: &[Range<u64>]) {
        self.note(|out, id| out.settled(id, channel, ranges));
    }
}
