//! A channel's figures, and those of its consumers.

use std::sync::Arc;

use super::why::{Surroundings, WaitingFor};
use super::{Channel, view};
use crate::engine::client::Client;

/// The figures of a channel at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounts {
    /// Messages ready for delivery, wherever they are.
    pub depth: u64,
    /// How many of those do not only live in this node's memory.
    pub backend_depth: u64,
    /// Messages at consumers.
    pub in_flight: u64,
    /// Messages held back.
    pub deferred: u64,
    /// Messages received from the topic or an upstream since it was made.
    pub messages: u64,
    /// REQs.
    pub requeues: u64,
    /// Messages that their consumer did not settle in time.
    pub timeouts: u64,
    /// Messages that made room for others, or were given up without a dead-letter topic.
    pub dropped: u64,
    /// Messages that became too old.
    pub expired: u64,
    /// Messages that were given up and went to the dead-letter topic.
    pub dead_letters: u64,
    /// Deliveries to consumers of the node's zone.
    pub zone_local: u64,
    /// Deliveries to consumers of the node's region that are not of its zone.
    pub region_local: u64,
    /// Deliveries to all others.
    pub global: u64,
    /// Consumers.
    pub consumers: usize,
    /// Whether it is paused.
    pub paused: bool,
}

/// A consumer's figures at one moment.
#[derive(Clone, Debug)]
pub struct ConsumerCounts {
    /// Its connection.
    pub client: Arc<Client>,
    /// RDY as last set.
    pub ready: u64,
    /// Messages that it holds.
    pub in_flight: u64,
    /// What it waits for; `None` if it is about to get something.
    pub waiting_for: Option<WaitingFor>,
}

impl Channel {
    /// The figures of this moment.
    #[must_use]
    pub fn counts(&self) -> ChannelCounts {
        let feed = self.place.feed.read();
        let inner = self.inner.lock();
        let state = &inner.state;
        let [zone_local, region_local, global] = state.tally.delivered;
        let depth = state.depth(view(&feed));
        let elsewhere = self.waiting.get();
        let logged = feed.log.logged_count(&(state.cursor..feed.released)).min(depth);
        ChannelCounts {
            depth: depth + elsewhere,
            backend_depth: logged + elsewhere,
            in_flight: state.in_flight(),
            deferred: state.deferred(),
            messages: feed.released_total - self.base + state.offered,
            requeues: state.requeues,
            timeouts: state.timeouts,
            dropped: state.tally.dropped,
            expired: state.tally.expired,
            dead_letters: state.tally.dead_letters,
            zone_local,
            region_local,
            global,
            consumers: state.consumers.count(),
            paused: state.paused,
        }
    }

    /// Its consumers.
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerCounts> {
        let feed = self.place.feed.read();
        let inner = self.inner.lock();
        let around = Surroundings {
            is_halting: self.place.shared.drain.is_halting(),
            topic_holds: feed.paused && feed.unreleased() > 0,
            is_empty: inner.state.is_empty(view(&feed)),
        };
        let consumers = inner.state.consumers.iter().map(|consumer| ConsumerCounts {
            client: Arc::clone(&consumer.client),
            ready: consumer.ready,
            in_flight: consumer.in_flight,
            waiting_for: inner.state.why(consumer, around),
        });
        consumers.collect()
    }
}
