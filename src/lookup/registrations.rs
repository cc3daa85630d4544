//! What nsqds have registered: nsqlookupd's registration DB.
//!
//! A topic or channel, once seen, is known until it is deleted by hand, with or without an nsqd that has it: that is how a
//! new nsqd learns which channels a topic is to have. An nsqd that has not been heard of for a while is hidden and not
//! forgotten; one that goes takes its registrations along. Where a name may be [`ANY`], every name is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::peer::PeerInfo;
use crate::clock::{self, Instant};
use crate::names::is_ephemeral;

/// Stands for every name, where names are looked up.
pub const ANY: &str = "*";

/// What nsqlookupd shows for the time of a tombstone that never was: Go's zero time in nanoseconds.
const NEVER: i64 = -6_795_364_578_871_345_152;

/// `host:port` of an nsqd's connection.
pub type PeerId = Arc<str>;

/// A moment, for decisions and for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// On the monotonic clock.
    pub instant: Instant,
    /// Nanoseconds since the Unix epoch.
    pub unix_nanos: i64,
}

impl Stamp {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        Self { instant: clock::now(), unix_nanos: clock::unix_nanos() }
    }

    /// Whether `time` and more has passed between it and `now`.
    fn is_older(self, time: Duration, now: Self) -> bool {
        now.instant.saturating_duration_since(self.instant) >= time
    }
}

/// How long things count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// `--inactive-producer-timeout`: an nsqd that has not sent a PING for longer is hidden.
    pub inactive_producer: Duration,
    /// `--tombstone-lifetime`: for so long an nsqd is hidden from the topic that it was taken from.
    pub tombstone: Duration,
}

/// An nsqd that is connected.
#[derive(Debug)]
struct Peer {
    info: Arc<PeerInfo>,
    /// IDENTIFY or the last PING; a registration does not count.
    last_update: Stamp,
    topics: BTreeSet<String>,
    channels: BTreeSet<(String, String)>,
}

/// Who has a topic, each with the moment at which it was taken from it.
type Producers = BTreeMap<PeerId, Option<Stamp>>;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Registrations {
    peers: BTreeMap<PeerId, Peer>,
    topics: BTreeMap<String, Producers>,
    channels: BTreeMap<String, BTreeMap<String, BTreeSet<PeerId>>>,
}

/// What `/lookup` tells of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The topic's channels.
    pub channels: Vec<String>,
    /// Who has it and is to be seen.
    pub producers: Vec<Arc<PeerInfo>>,
}

/// What `/nodes` tells of an nsqd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Who it is.
    pub info: Arc<PeerInfo>,
    /// Its topics, each with whether it was taken from it.
    pub topics: Vec<(String, bool)>,
}

/// What `/debug` tells of an nsqd in one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who it is.
    pub info: Arc<PeerInfo>,
    /// IDENTIFY or its last PING, nanoseconds since the Unix epoch.
    pub last_update: i64,
    /// Whether it was taken from the topic at any time.
    pub tombstoned: bool,
    /// When, nanoseconds since the Unix epoch.
    pub tombstoned_at: i64,
}

impl Registrations {
    /// An nsqd has told who it is. `false` if it had before.
    pub fn identify(&mut self, id: &PeerId, info: PeerInfo, now: Stamp) -> bool {
        if self.peers.contains_key(id) {
            return false;
        }
        let peer = Peer {
            info: Arc::new(info),
            last_update: now,
            topics: BTreeSet::new(),
            channels: BTreeSet::new(),
        };
        self.peers.insert(Arc::clone(id), peer);
        true
    }

    /// An nsqd is alive. Nothing for one that has not told who it is.
    pub fn ping(&mut self, id: &PeerId, now: Stamp) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.last_update = now;
        }
    }

    /// An nsqd has a topic, and a channel of it if one is given. What it was taken from it stays taken from.
    pub fn register(&mut self, id: &PeerId, topic: &str, channel: Option<&str>) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Some(channel) = channel {
            peer.channels.insert((topic.to_owned(), channel.to_owned()));
            let channels = self.channels.entry(topic.to_owned()).or_default();
            channels.entry(channel.to_owned()).or_default().insert(Arc::clone(id));
        }
        peer.topics.insert(topic.to_owned());
        let producers = self.topics.entry(topic.to_owned()).or_default();
        producers.entry(Arc::clone(id)).or_default();
    }

    /// An nsqd has a channel no more; or, without one, a topic and all its channels. What is ephemeral goes with the last
    /// nsqd that had it.
    pub fn unregister(&mut self, id: &PeerId, topic: &str, channel: Option<&str>) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let Some(channel) = channel else {
            peer.topics.remove(topic);
            peer.channels.retain(|(of, _)| of != topic);
            for producers in self.channels.get_mut(topic).into_iter().flat_map(BTreeMap::values_mut)
            {
                producers.remove(id);
            }
            if let Some(producers) = self.topics.get_mut(topic) {
                producers.remove(id);
                if producers.is_empty() && is_ephemeral(topic) {
                    self.topics.remove(topic);
                }
            }
            return;
        };
        peer.channels.remove(&(topic.to_owned(), channel.to_owned()));
        let Some(channels) = self.channels.get_mut(topic) else { return };
        let Some(producers) = channels.get_mut(channel) else { return };
        producers.remove(id);
        if producers.is_empty() && is_ephemeral(channel) {
            channels.remove(channel);
            if channels.is_empty() {
                self.channels.remove(topic);
            }
        }
    }

    /// An nsqd's connection is gone: it has nothing any more. Its topics and channels stay known.
    pub fn leave(&mut self, id: &PeerId) {
        let Some(peer) = self.peers.remove(id) else { return };
        for topic in &peer.topics {
            if let Some(producers) = self.topics.get_mut(topic) {
                producers.remove(id);
            }
        }
        for (topic, channel) in &peer.channels {
            let channels = self.channels.get_mut(topic);
            if let Some(producers) = channels.and_then(|channels| channels.get_mut(channel)) {
                producers.remove(id);
            }
        }
    }

    /// Has a topic known that no nsqd need have.
    pub fn create_topic(&mut self, topic: &str) {
        self.topics.entry(topic.to_owned()).or_default();
    }

    /// Has a channel known that no nsqd need have, and its topic.
    pub fn create_channel(&mut self, topic: &str, channel: &str) {
        self.create_topic(topic);
        let channels = self.channels.entry(topic.to_owned()).or_default();
        channels.entry(channel.to_owned()).or_default();
    }

    /// Forgets a topic and its channels; with [`ANY`], all of them. An nsqd that has it is asked nothing: it is known for
    /// it again when it registers the next time.
    pub fn delete_topic(&mut self, topic: &str) {
        self.topics.retain(|name, _| !is_meant(topic, name));
        self.channels.retain(|name, _| !is_meant(topic, name));
        for peer in self.peers.values_mut() {
            peer.topics.retain(|name| !is_meant(topic, name));
            peer.channels.retain(|(name, _)| !is_meant(topic, name));
        }
    }

    /// Forgets a channel. `false` if it is not known.
    pub fn delete_channel(&mut self, topic: &str, channel: &str) -> bool {
        let Some(channels) = self.channels.get_mut(topic) else { return false };
        let is_known = channels.remove(channel).is_some();
        if channels.is_empty() {
            self.channels.remove(topic);
        }
        for peer in self.peers.values_mut() {
            peer.channels.remove(&(topic.to_owned(), channel.to_owned()));
        }
        is_known
    }

    /// Takes a topic from the nsqds of this [name](PeerInfo::node), for a while.
    pub fn tombstone(&mut self, topic: &str, node: &str, now: Stamp) {
        let meant = self.topics.iter_mut().filter(|(name, _)| is_meant(topic, name));
        for (id, tombstone) in meant.flat_map(|(_, producers)| producers.iter_mut()) {
            if self.peers.get(id).is_some_and(|peer| peer.info.node() == node) {
                *tombstone = Some(now);
            }
        }
    }

    /// All topics, sorted.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    /// The channels of a topic, sorted.
    #[must_use]
    pub fn channels(&self, topic: &str) -> Vec<String> {
        let meant = self.channels.iter().filter(|(name, _)| is_meant(topic, name));
        let channels: BTreeSet<&String> = meant.flat_map(|(_, channels)| channels.keys()).collect();
        channels.into_iter().cloned().collect()
    }

    /// Who has a topic and is to be seen now; `None` for one that is not known.
    #[must_use]
    pub fn lookup(&self, topic: &str, lifetimes: Lifetimes, now: Stamp) -> Option<Found> {
        let mut meant = self.topics.iter().filter(|(name, _)| is_meant(topic, name)).peekable();
        meant.peek()?;
        let mut producers = BTreeMap::new();
        for (id, tombstone) in meant.flat_map(|(_, producers)| producers) {
            producers.entry(id).or_insert(*tombstone);
        }
        let is_hidden = |tombstone: Option<Stamp>| {
            tombstone.is_some_and(|at| !at.is_older(lifetimes.tombstone, now))
        };
        let producers = producers
            .into_iter()
            .filter(|(_, tombstone)| !is_hidden(*tombstone))
            .filter_map(|(id, _)| self.peers.get(id))
            .filter(|peer| peer.is_active(lifetimes, now))
            .map(|peer| Arc::clone(&peer.info))
            .collect();
        Some(Found { channels: self.channels(topic), producers })
    }

    /// All nsqds that are to be seen now.
    #[must_use]
    pub fn nodes(&self, lifetimes: Lifetimes, now: Stamp) -> Vec<Node> {
        let active = self.peers.iter().filter(|(_, peer)| peer.is_active(lifetimes, now));
        let is_taken = |topic: &str, id: &PeerId| {
            let tombstone = self.topics.get(topic).and_then(|producers| *producers.get(id)?);
            tombstone.is_some_and(|at| !at.is_older(lifetimes.tombstone, now))
        };
        active
            .map(|(id, peer)| Node {
                info: Arc::clone(&peer.info),
                topics: peer.topics.iter().map(|t| (t.clone(), is_taken(t, id))).collect(),
            })
            .collect()
    }

    /// Everything, by nsqlookupd's names of registrations, such as `topic:orders:`. Those that no nsqd has are left out.
    #[must_use]
    pub fn dump(&self) -> BTreeMap<String, Vec<Entry>> {
        let entry = |id: &PeerId, tombstone: Option<Stamp>| {
            let peer = self.peers.get(id)?;
            Some(Entry {
                info: Arc::clone(&peer.info),
                last_update: peer.last_update.unix_nanos,
                tombstoned: tombstone.is_some(),
                tombstoned_at: tombstone.map_or(NEVER, |at| at.unix_nanos),
            })
        };
        let mut dump = BTreeMap::new();
        dump.insert("client::".to_owned(), self.peers.keys().collect::<Vec<_>>());
        for (topic, channels) in &self.channels {
            for (channel, producers) in channels {
                dump.insert(format!("channel:{topic}:{channel}"), producers.iter().collect());
            }
        }
        let mut dump: BTreeMap<_, Vec<_>> = dump
            .into_iter()
            .map(|(key, ids)| (key, ids.into_iter().filter_map(|id| entry(id, None)).collect()))
            .collect();
        for (topic, producers) in &self.topics {
            let entries = producers.iter().filter_map(|(id, tombstone)| entry(id, *tombstone));
            dump.insert(format!("topic:{topic}:"), entries.collect());
        }
        dump.retain(|_, entries| !entries.is_empty());
        dump
    }

    /// How many nsqds are connected, and how many topics and channels are known.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let channels = self.channels.values().map(BTreeMap::len).sum();
        [self.peers.len(), self.topics.len(), channels]
    }
}

impl Peer {
    fn is_active(&self, lifetimes: Lifetimes, now: Stamp) -> bool {
        now.instant.saturating_duration_since(self.last_update.instant)
            <= lifetimes.inactive_producer
    }
}

/// Whether a name that is looked up means `name`.
fn is_meant(looked_up: &str, name: &str) -> bool {
    looked_up == ANY || looked_up == name
}

#[cfg(test)]
mod tests;
