//! Topics whose messages live elsewhere: the seam to whoever keeps them.
//!
//! Such a topic hands its publishes to the store's [`Ingress`]; its channels are fed by the store's
//! [`Upstream`](super::Upstream)s. The store is told that something has changed (a topic or channel came, went, was
//! paused or emptied), looks at the engine, and makes its own side alike. Whoever caused the change can wait for that.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::channel::Channel;
use super::upstream::Ingress;
use super::{Engine, Shared, Topic};

/// Resolves when the store's side is as the engine's was when it was asked, or with what stands against it, in words.
pub type Applying = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// See the module's description. Nothing here may block; [`Store::take`] is called with locks of the engine held.
pub trait Store: Send + Sync {
    /// Whether the messages of this topic live there.
    fn keeps(&self, topic: &str) -> bool;
    /// Who takes the publishes of a topic that is being made, from now on.
    fn take(&self, topic: &str) -> Arc<dyn Ingress>;
    /// The topic, its channels or their pauses have changed.
    fn changed(&self, topic: &str);
    /// A channel is to be emptied, what this node has of it included ([`Channel::clear`]); with `None`, what the topic has
    /// for no channel yet.
    fn emptied(&self, topic: &str, channel: Option<&str>);
    /// Waits until all that was told of the topic so far has been done; with `channel`, only faults of that channel and of
    /// the topic itself count. Bounded in time.
    fn applied(&self, topic: &str, channel: Option<&str>) -> Applying;
    /// Asks anew how much waits there, unless that was asked just now, and notes it in the engine. Bounded in time.
    fn count(&self) -> Applying;
}

/// The store of a node, if it has one.
#[derive(Default)]
pub(super) struct Elsewhere(OnceLock<Weak<dyn Store>>);

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Elsewhere").field(&self.0.get().is_some()).finish()
    }
}

impl Elsewhere {
    fn store(&self) -> Option<Arc<dyn Store>> {
        self.0.get()?.upgrade()
    }

    /// The store, if it keeps this topic.
    pub(super) fn of(&self, topic: &str) -> Option<Arc<dyn Store>> {
        self.store().filter(|store| store.keeps(topic))
    }

    /// Who takes the topic's publishes, if it is kept there.
    pub(super) fn take(&self, topic: &str) -> Option<Arc<dyn Ingress>> {
        self.of(topic).map(|store| store.take(topic))
    }

    pub(super) fn changed(&self, topic: &str) {
        if let Some(store) = self.of(topic) {
            store.changed(topic);
        }
    }

    /// Tells the store, and says whether there is one that keeps the topic.
    pub(super) fn emptied(&self, topic: &str, channel: Option<&str>) -> bool {
        let store = self.of(topic);
        if let Some(store) = &store {
            store.emptied(topic, channel);
        }
        store.is_some()
    }
}

impl Shared {
    /// Notes that a topic or channel came, went, was paused or unpaused. Called with no lock held.
    pub(super) fn changed(&self, topic: &str, is_ephemeral: bool) {
        if !is_ephemeral {
            self.changes.send_modify(|count| *count += 1);
        }
        self.listing.send_modify(|count| *count += 1);
        self.elsewhere.changed(topic);
    }
}

impl Engine {
    /// Has `store` keep its topics from now on, those that are there included. What they have here is still delivered from
    /// here. Only the first call counts.
    pub fn set_store(&self, store: &Arc<dyn Store>) {
        if self.shared.elsewhere.0.set(Arc::downgrade(store)).is_err() {
            return;
        }
        for topic in self.topics() {
            if store.keeps(topic.name()) {
                let routed = self.routed.read().get(topic.name()).cloned();
                topic.set_ingress(Some(routed.unwrap_or_else(|| store.take(topic.name()))));
                store.changed(topic.name());
            }
        }
    }

    /// Whether it has ended: that a topic is not found then does not mean that it was deleted.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        self.topics.read().exiting
    }

    /// Whether the messages of this topic live elsewhere.
    #[must_use]
    pub fn is_elsewhere(&self, topic: &str) -> bool {
        self.shared.elsewhere.of(topic).is_some()
    }

    /// Waits until a store has done what was asked of the topic so far; `None` if none keeps it.
    #[must_use]
    pub fn applied(&self, topic: &str, channel: Option<&str>) -> Option<Applying> {
        self.shared.elsewhere.of(topic).map(|store| store.applied(topic, channel))
    }

    /// Brings up to date how much waits elsewhere; `None` if there is no store.
    #[must_use]
    pub fn count_elsewhere(&self) -> Option<Applying> {
        self.shared.elsewhere.store().map(|store| store.count())
    }
}

/// How many messages wait elsewhere, as far as is known here.
#[derive(Debug, Default)]
pub(super) struct Waiting(AtomicU64);

impl Waiting {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Topic {
    /// Messages that no channel has got yet, wherever they are.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.depth_here() + self.waiting.get()
    }

    /// How many of them do not only live in this node's memory.
    #[must_use]
    pub fn backend_depth(&self) -> u64 {
        let feed = self.read();
        feed.log.logged_count(&(feed.released..feed.log.next())) + self.waiting.get()
    }

    /// Those of them that are in the topic's own log.
    pub(super) fn depth_here(&self) -> u64 {
        self.read().unreleased()
    }

    /// Notes how many messages wait elsewhere that no channel has got yet.
    pub fn set_elsewhere(&self, messages: u64) {
        self.waiting.0.store(messages, Ordering::Relaxed);
    }
}

impl Channel {
    /// Notes how many messages wait elsewhere for this channel.
    pub fn set_elsewhere(&self, messages: u64) {
        self.waiting.0.store(messages, Ordering::Relaxed);
    }
}
