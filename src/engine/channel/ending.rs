//! What a channel gives back: messages that are settled, everything that it has, its very last.

use std::ops::Range;

use parking_lot::RwLockReadGuard;

use super::state::Leftovers;
use super::{Channel, view};
use crate::engine::feed::Feed;
use crate::engine::upstream::{Origin, Source, Upstream, tell};

/// What a channel that has ended had from upstreams; they are told when no lock is held.
#[must_use]
pub(in crate::engine) struct Ended(Vec<Source>);

impl Ended {
    /// Gives it back.
    pub(in crate::engine) fn tell(self) {
        tell(&self.0, |upstream, origins| upstream.returned(origins));
    }
}

impl Channel {
    /// Drops everything that is queued, deferred or in flight. If that is kept elsewhere, it is done there, and soon.
    pub fn empty(&self) {
        let topic = self.place.topic.upgrade();
        let is_elsewhere = topic.is_some_and(|topic| {
            self.place.shared.elsewhere.emptied(topic.name(), Some(&self.name))
        });
        if !is_elsewhere {
            self.clear();
        }
    }

    /// Drops everything that it has here.
    pub fn clear(&self) {
        let mut leftovers = Leftovers::default();
        let feed = self.place.feed.read();
        let mut inner = self.inner.lock();
        if inner.state.exiting {
            // It has given back what was its own; what was published since is not.
            return;
        }
        inner.state.clear(view(&feed), &mut leftovers);
        self.wake_ready(&feed, &mut inner);
        drop(inner);
        self.give_back(feed, &leftovers, |upstream, origins| upstream.finished(origins));
    }

    /// Ends it: consumers are disconnected, messages are gone, an upstream gets back what it offered. Called with the feed
    /// locked as it was when the channel was taken off its topic's list: what is released after that is not claimed for it,
    /// and must not be given back by it.
    pub(in crate::engine) fn end(&self, feed: &mut Feed) -> Ended {
        let mut leftovers = Leftovers::default();
        let mut inner = self.inner.lock();
        inner.state.exiting = true;
        inner.state.clear(view(feed), &mut leftovers);
        for consumer in inner.state.consumers.iter() {
            consumer.signal.close();
        }
        drop(inner);
        self.place.shared.drain.progressed();
        if self.settle(feed, &leftovers.claims) {
            feed.maintain();
        }
        Ended(leftovers.sources)
    }

    pub(super) fn settle_leftovers(&self, feed: RwLockReadGuard<'_, Feed>, leftovers: &Leftovers) {
        if !leftovers.is_empty() {
            self.give_back(feed, leftovers, |upstream, origins| upstream.finished(origins));
        }
    }

    /// Gives settled claims back to the log and tells the upstream, no lock held.
    fn give_back(
        &self,
        feed: RwLockReadGuard<'_, Feed>,
        leftovers: &Leftovers,
        how: fn(&dyn Upstream, &[Origin]),
    ) {
        let freed = self.settle(&feed, &leftovers.claims);
        drop(feed);
        if freed {
            self.place.feed.write().maintain();
        }
        tell(&leftovers.sources, how);
    }

    /// Gives claims back to the log and writes that down. `true` if that left blocks owed nothing.
    pub(in crate::engine) fn settle(&self, feed: &Feed, claims: &[Range<u64>]) -> bool {
        let (mut freed, mut is_logged) = (false, false);
        for claim in claims {
            is_logged |= feed.log.has_logged(claim);
            freed |= feed.log.settle(claim);
        }
        if is_logged && let (Some(entry), Some(number)) = (&feed.journal, self.number()) {
            entry.settled(number, claims);
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::super::tests::{publish, pull, subscribe};
    use crate::engine::{Engine, Options};

    /// A channel that gave back more than its own would have messages forgotten that others are still owed.
    #[test]
    fn channels_that_come_and_go_under_load_take_nothing_from_those_that_stay() {
        const MESSAGES: usize = 60_000;
        let engine = Engine::new(Options::default());
        let topic = engine.topic("t").unwrap();
        let stays = topic.channel("stays").unwrap();
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            for name in ["passing", "other"] {
                let (topic, is_done) = (&topic, &is_done);
                scope.spawn(move || {
                    while !is_done.load(Ordering::Relaxed) {
                        let (consumer, _) = subscribe(topic, name, 10);
                        pull(&consumer);
                        let channel = topic.find_channel(name).unwrap();
                        assert!(topic.delete_channel(name));
                        channel.clear();
                        pull(&consumer);
                    }
                });
            }
            for n in 0..MESSAGES {
                publish(&topic, &n.to_string());
            }
            is_done.store(true, Ordering::Relaxed);
        });
        assert_eq!(stays.counts().depth, MESSAGES as u64);
        let (consumer, _) = subscribe(&topic, "stays", u64::MAX);
        let got = pull(&consumer);
        let all = got.iter().map(|got| String::from_utf8(got.body.clone()).unwrap());
        assert!(all.eq((0..MESSAGES).map(|n| n.to_string())), "{} came", got.len());
    }
}
