//! The native engine: topics, channels and the messages in them. It owns their state and knows no sockets.
//!
//! A message is stored once in its topic's [`log`]; a channel is a cursor over the log and the set of messages past it
//! that are not settled. What lies beyond is reached through two seams: [`Ingress`] (a topic whose publishes are answered
//! elsewhere) and [`Upstream`] (whoever offers messages to channels and keeps them until they are settled). A [`Store`] is
//! both, for whole topics.
//!
//! Locks, in the order in which they are taken: engine (`topics`) → a topic's feed → a channel → alarms. None is held
//! across an await, while writing to a socket, or while calling a seam.

mod admission;
mod alarms;
mod arrival;
mod burials;
mod channel;
mod client;
mod drain;
mod feed;
mod journal;
mod keeper;
mod loader;
mod log;
mod metadata;
mod moving;
pub mod policy;
mod precreation;
mod recovery;
mod retention;
mod store;
mod ticket;
mod topic;
mod upstream;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;

use alarms::Alarms;
use burials::Burials;
pub use channel::{
    Audience, Channel, ChannelCounts, Consumer, ConsumerCounts, Delivery, Offer, PeekLimit,
    PeekState, Peeked, PullLimit, Pulled, SettleError, Settling, SubscribeError, Subscriber,
    WaitingFor,
};
pub use client::{
    AuthIdentity, Client, ClientCounters, ClientState, Clients, Identity, Listed, Locality,
    TlsIdentity,
};
use drain::Drain;
pub use drain::{DrainPhase, DrainState};
use journal::Level;
pub use journal::{Journal, Mark, Outcome, Trouble};
pub use moving::Moved;
use policy::{Durability, Policies};
pub use precreation::KnownChannels;
use precreation::Precreation;
pub use retention::Replay;
pub use store::{Applying, Store};
pub use ticket::{Accepted, PublishError, Signal, Ticket};
pub use topic::Topic;
pub use upstream::{Ingress, Origin, Outbound, Postponed, Upstream};

use crate::clock;
pub use crate::metrics::quantile::{
    Recorded as RecordedLatency, Tracking as LatencyTracking, TrackingError as LatencyTrackingError,
};
use crate::names::is_ephemeral;

/// The engine's settings, named as nsqd names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--node-id`: 0 to 1023, part of every message id.
    pub node_id: u16,
    /// `--mem-queue-size`: messages that an ephemeral topic or channel keeps for readers to come.
    pub mem_queue_size: u64,
    /// `--max-msg-timeout`: how long TOUCH can keep a message in flight.
    pub max_msg_timeout: Duration,
    /// How safe a message is when its publish is answered, unless its topic says otherwise; `None`: as `mem_queue_size`
    /// says.
    pub durability: Option<Durability>,
    /// What is asked of topics and channels by the patterns of their names.
    pub policies: Arc<Policies>,
    /// Which quantiles of the time from publish to FIN each channel tracks.
    pub latency: LatencyTracking,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_id: 0,
            mem_queue_size: 10_000,
            max_msg_timeout: Duration::from_secs(15 * 60),
            durability: None,
            policies: Arc::default(),
            latency: LatencyTracking::default(),
        }
    }
}

/// What all topics and channels of a node share.
#[derive(Debug)]
struct Shared {
    options: Options,
    /// The node id at its place in a message id.
    node: u64,
    alarms: Alarms,
    burials: Burials,
    drain: Drain,
    changes: watch::Sender<u64>,
    listing: watch::Sender<u64>,
    precreation: Precreation,
    journal: Option<Arc<Journal>>,
    elsewhere: store::Elsewhere,
}

impl Shared {
    /// What an ephemeral topic or channel may have queued.
    fn bound(&self) -> u64 {
        self.options.mem_queue_size.max(1)
    }
}

/// All topics of a node.
pub struct Engine {
    topics: RwLock<Topics>,
    /// Topics whose publishes are taken by somebody else, whether they exist or not.
    routed: RwLock<HashMap<Arc<str>, Arc<dyn Ingress>>>,
    clients: Arc<Clients>,
    shared: Arc<Shared>,
    this: Weak<Self>,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    exiting: bool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("topics", &self.topics.read().by_name.len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without topics that keeps everything in memory. [`Engine::run`] must be polled for timeouts and deferrals
    /// to happen.
    #[must_use]
    pub fn new(options: Options) -> Arc<Self> {
        Self::build(options, None)
    }

    fn build(options: Options, journal: Option<Arc<Journal>>) -> Arc<Self> {
        let node = u64::from(options.node_id) << 54;
        let shared = Arc::new(Shared {
            options,
            node,
            alarms: Alarms::default(),
            burials: Burials::default(),
            drain: Drain::default(),
            changes: watch::Sender::new(0),
            listing: watch::Sender::new(0),
            precreation: Precreation::default(),
            journal,
            elsewhere: store::Elsewhere::default(),
        });
        Arc::new_cyclic(|this| Self {
            topics: RwLock::default(),
            routed: RwLock::default(),
            clients: Arc::default(),
            shared,
            this: this.clone(),
        })
    }

    /// Where it is written down what has to outlast the process, if it is.
    #[must_use]
    pub fn journal(&self) -> Option<&Arc<Journal>> {
        self.shared.journal.as_ref()
    }

    /// Serves timeouts, deferrals and dead letters, for as long as it is polled.
    pub async fn run(&self) {
        tokio::join!(
            self.shared.alarms.ring(),
            self.shared.burials.attend(self.shared.journal.as_deref()),
            self.trim()
        );
    }

    /// Makes the topics and channels that the policies declare.
    ///
    /// # Errors
    /// [`PublishError::Exiting`] once the node shuts down.
    pub fn declare(&self) -> Result<(), PublishError> {
        for (topic, channels) in self.shared.options.policies.declared() {
            let topic = self.topic(topic)?;
            for channel in channels {
                topic.channel(channel)?;
            }
        }
        Ok(())
    }

    /// The node's connections.
    #[must_use]
    pub const fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// Changes whenever the list of topics and channels, or a pause, that is worth keeping has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Changes whenever a topic or channel, ephemeral ones included, came or went, and sometimes when none did.
    #[must_use]
    pub fn listing(&self) -> watch::Receiver<u64> {
        self.shared.listing.subscribe()
    }

    /// The topic of this name, if there is one.
    #[must_use]
    pub fn find_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().by_name.get(name).cloned()
    }

    /// The topic of this (valid) name, made if it is not there.
    ///
    /// # Errors
    /// [`PublishError::Exiting`] once the node shuts down.
    pub fn topic(&self, name: &str) -> Result<Arc<Topic>, PublishError> {
        if let Some(topic) = self.find_topic(name) {
            return Ok(topic);
        }
        let mut topics = self.topics.write();
        if topics.exiting {
            return Err(PublishError::Exiting);
        }
        if let Some(topic) = topics.by_name.get(name) {
            return Ok(Arc::clone(topic));
        }
        let name: Arc<str> = name.into();
        let topic = self.make(Arc::clone(&name), 0);
        let known = self.shared.precreation.who();
        topic.write().withheld = known.is_some();
        let routed = self.routed.read().get(&name).cloned();
        topic.set_ingress(routed.or_else(|| self.shared.elsewhere.take(&name)));
        topics.by_name.insert(name, Arc::clone(&topic));
        drop(topics);
        self.shared.changed(topic.name(), topic.is_ephemeral());
        if let Some(known) = known {
            known.made(Arc::clone(&topic));
        }
        Ok(topic)
    }

    /// A topic that is not listed yet; it gives its messages numbers from `first` on at least.
    fn make(&self, name: Arc<str>, first: u64) -> Arc<Topic> {
        let journal = self.shared.journal.as_ref().filter(|_| !is_ephemeral(&name));
        let entry = journal.map(|journal| journal::Entry {
            journal: Arc::clone(journal),
            durability: self.durability(&name),
            id: None,
            last_channel: 0,
        });
        let first = first_seq(clock::unix_nanos()).max(first);
        let topic = Arc::new_cyclic(|this| {
            let shared = Arc::clone(&self.shared);
            Topic::new(name, first, entry, shared, (self.this.clone(), this.clone()))
        });
        if topic.policy.retention.is_any() {
            topic.write().begin_retention();
        }
        topic
    }

    /// Lists a topic that a recovery made.
    fn list(&self, topic: Arc<Topic>) {
        self.topics.write().by_name.insert(Arc::clone(topic.name()), topic);
    }

    /// How safe a publish to the topic has to be.
    fn durability(&self, topic: &str) -> Option<Level> {
        let options = &self.shared.options;
        let asked = options.policies.topic(topic).durability.or(options.durability);
        match asked {
            Some(durability) => durability.level(),
            // nsqd without a memory queue writes everything to disk.
            None => (options.mem_queue_size == 0).then_some(Level::Written),
        }
    }

    /// Deletes a topic, its channels and their consumers' connections. `false` if there is none of this name.
    pub fn delete_topic(&self, name: &str) -> bool {
        let removed = self.topics.write().by_name.remove(name);
        let Some(topic) = removed else { return false };
        topic.delete();
        self.shared.changed(topic.name(), topic.is_ephemeral());
        true
    }

    /// All topics, sorted by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = self.topics.read().by_name.values().cloned().collect();
        topics.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        topics
    }

    /// Has `ingress` take what is published to `topic` from now on, whether the topic exists or not; `None` gives the
    /// topic its own log back.
    pub fn set_ingress(&self, topic: &str, ingress: Option<Arc<dyn Ingress>>) {
        let topics = self.topics.read();
        let mut routed = self.routed.write();
        match &ingress {
            Some(ingress) => routed.insert(topic.into(), Arc::clone(ingress)),
            None => routed.remove(topic),
        };
        drop(routed);
        if let Some(topic) = topics.by_name.get(topic) {
            topic.set_ingress(ingress.or_else(|| self.shared.elsewhere.take(topic.name())));
        }
    }

    /// Ends all topics. Publishers get `exiting`; connections of consumers are closed.
    pub fn close(&self) {
        let mut topics = self.topics.write();
        topics.exiting = true;
        let closing = std::mem::take(&mut topics.by_name);
        drop(topics);
        for topic in closing.values() {
            topic.close();
        }
    }
}

/// Where a topic's sequence numbers start: the milliseconds since 2020, times 4096. An earlier run cannot have got so far
/// unless it took more than four million messages a second, and the number stays below [`feed::DETACHED`] until 2089. Ids
/// that repeated after a quick restart would be taken for duplicates by whoever compares them.
const fn first_seq(unix_nanos: i64) -> u64 {
    /// 2020-01-01T00:00:00Z in milliseconds.
    const EPOCH: i64 = 1_577_836_800_000;
    let millis = (unix_nanos / 1_000_000).saturating_sub(EPOCH);
    let millis = if millis > 0 { millis.unsigned_abs() } else { 0 };
    (millis << 12) & (feed::DETACHED - 1)
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(journal) = &self.shared.journal {
            journal.close();
        }
        // Topics and channels refer to each other.
        self.close();
    }
}
