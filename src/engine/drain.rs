//! How a node takes its leave: it refuses publishes and delivers what it has, or lets only what is in flight end.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{Notify, watch};

use super::{Engine, PublishError};
use crate::clock::Instant;

/// How far a node has taken its leave. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainPhase {
    /// It takes and delivers messages.
    #[default]
    Serving,
    /// It refuses publishes and delivers what it has.
    Draining,
    /// It refuses publishes and delivers nothing; consumers settle what they hold.
    Halting,
}

impl DrainPhase {
    /// The phase as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Halting => "halting",
        }
    }
}

/// The phase, and until when it may last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainState {
    /// How far the node is.
    pub phase: DrainPhase,
    /// When it goes whatever is left; `None` for never.
    pub deadline: Option<Instant>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// The phase once more, so that a publish costs one load.
    level: AtomicU8,
    state: watch::Sender<DrainState>,
    progress: Notify,
}

impl Drain {
    fn level(&self) -> u8 {
        self.level.load(Ordering::Relaxed)
    }

    /// Whether producers may publish.
    pub(super) fn admit(&self) -> Result<(), PublishError> {
        if self.level() == DrainPhase::Serving as u8 { Ok(()) } else { Err(PublishError::Draining) }
    }

    /// Whether nothing more is delivered.
    pub(super) fn is_halting(&self) -> bool {
        self.level() == DrainPhase::Halting as u8
    }

    /// Something was settled, dropped or has moved: whoever waits for the end looks again.
    pub(super) fn progressed(&self) {
        if self.level() != DrainPhase::Serving as u8 {
            self.progress.notify_one();
        }
    }

    fn enter(&self, to: DrainState) {
        self.state.send_modify(|state| {
            if state.phase <= to.phase {
                *state = to;
                self.level.store(to.phase as u8, Ordering::Relaxed);
            }
        });
        self.progress.notify_one();
    }
}

impl Engine {
    /// Refuses publishes from now on, with [`PublishError::Draining`], and goes on delivering. Asked again, it takes the
    /// new deadline.
    pub fn drain(&self, deadline: Option<Instant>) {
        self.shared.drain.enter(DrainState { phase: DrainPhase::Draining, deadline });
    }

    /// Refuses publishes and delivers nothing from now on, so that what is in flight can end.
    pub fn halt(&self, deadline: Option<Instant>) {
        self.shared.drain.enter(DrainState { phase: DrainPhase::Halting, deadline });
    }

    /// How far the node has taken its leave, as it changes.
    #[must_use]
    pub fn drain_state(&self) -> watch::Receiver<DrainState> {
        self.shared.drain.state.subscribe()
    }

    /// Messages that this node alone has: queued, deferred or in flight, without those that a route's broker keeps.
    #[must_use]
    pub fn owed(&self) -> u64 {
        let topics = self.topics();
        let of = topics.iter().map(|topic| {
            topic.depth_here()
                + topic.channels().iter().map(|channel| channel.owed_count()).sum::<u64>()
        });
        of.sum()
    }

    /// Messages at consumers, whoever keeps them.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let topics = self.topics();
        let channels = topics.iter().flat_map(|topic| topic.channels());
        channels.map(|channel| channel.counts().in_flight).sum()
    }

    /// Waits until nothing is owed any more. To be asked by one waiter, once the node drains.
    pub async fn drained(&self) {
        while self.owed() > 0 {
            self.shared.drain.progress.notified().await;
        }
    }

    /// Waits until nothing is in flight any more. To be asked by one waiter, once the node halts.
    pub async fn settled(&self) {
        while self.in_flight() > 0 {
            self.shared.drain.progress.notified().await;
        }
    }
}
