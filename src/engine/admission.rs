//! Whether a topic takes a publish, and what becomes of messages that wait in the topic itself.
//!
//! What a topic's channels hold is theirs to bound. The topic's own queue is what no channel has got yet: there is none,
//! or the topic is paused.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::alarms::OnAlarm;
use super::channel::before_now;
use super::feed::Feed;
use super::policy::{Bounds, OnFull};
use super::ticket::PublishError;
use super::topic::Topic;
use crate::clock::Instant;
use crate::storage::wal::record::Write as _;

/// The shortest time between two looks for old messages.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Messages and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Load {
    /// What a publish of `bodies` comes to.
    pub(super) fn of<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> Self {
        bodies.fold(Self::default(), |load, body| Self {
            messages: load.messages + 1,
            bytes: load.bytes + body.len() as u64,
        })
    }
}

/// Why `more` on top of what `waits` is above `bounds`, if it is.
pub(super) fn too_much(bounds: &Bounds, waits: Load, more: Load) -> Option<String> {
    let over = |most: Option<u64>, waits: u64, more: u64, key: &str, unit: &str| {
        let most = most.filter(|most| waits.saturating_add(more) > *most)?;
        Some(format!(
            "full: {waits} {unit} wait, {more} more are above {key} {most} (on_full: reject)"
        ))
    };
    over(bounds.max_messages, waits.messages, more.messages, "max_messages", "messages")
        .or_else(|| over(bounds.max_bytes, waits.bytes, more.bytes, "max_bytes", "bytes"))
}

/// Messages of a topic's own queue that did not get to a channel.
#[derive(Debug, Default)]
pub(super) struct Losses {
    dropped: AtomicU64,
    expired: AtomicU64,
}

impl Feed {
    /// What no channel has got yet.
    fn own_load(&self) -> Load {
        let range = self.released..self.log.next();
        Load { messages: self.unreleased(), bytes: self.log.bytes(&range) }
    }

    /// Drops the oldest messages that no channel has got yet, up to the first for which `goes` is false. It is told of
    /// each message's publish time and size.
    fn drop_own(&mut self, mut goes: impl FnMut(i64, u64) -> bool) -> u64 {
        let from = self.released;
        let own = self.log.iter(from, self.log.next());
        let last = own.take_while(|stored| goes(stored.timestamp, stored.body.len() as u64)).last();
        let mut dropped = 0;
        if let Some(last) = last.map(|stored| stored.seq) {
            let range: Range<u64> = from..last + 1;
            dropped = self.log.count(&range);
            // A paused topic's channels must not come across them.
            self.channels.iter().for_each(|channel| channel.skip(range.clone()));
            self.released = range.end;
            self.held.retain(|held| !range.contains(&held.seq));
            if let Some(entry) = &self.journal {
                entry.note(|out, id| out.dropped(id, range.clone()));
            }
            if self.log.settle(&range) {
                self.maintain();
            }
        }
        dropped
    }
}

impl Topic {
    /// Messages of its own queue that made room for others.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.losses.dropped.load(Ordering::Relaxed)
    }

    /// Messages of its own queue that became too old.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.losses.expired.load(Ordering::Relaxed)
    }

    /// Whether a publish fits, for a topic that has bounds or whose channels may have some. Called with the feed locked.
    pub(super) fn admit(
        &self,
        feed: &Feed,
        load: impl FnOnce() -> Load,
    ) -> Result<(), PublishError> {
        if !self.policy.is_bounded || feed.ingress.is_some() {
            return Ok(());
        }
        let load = load();
        let why = if feed.holds() {
            let bounds = &self.policy.bounds;
            let is_strict = bounds.has_size() && bounds.on_full == OnFull::Reject;
            let why = is_strict.then(|| too_much(bounds, feed.own_load(), load)).flatten();
            why.map(Arc::<str>::from)
        } else {
            feed.channels.iter().find_map(|channel| channel.refuses(feed, load))
        };
        why.map_or(Ok(()), |reason| {
            Err(PublishError::Full { topic: Arc::clone(self.name()), reason })
        })
    }

    /// Parts with what is too much or too old in the topic's own queue after a publish. Called with the feed locked.
    pub(super) fn keep_within_bounds(&self, feed: &mut Feed, now: Instant) {
        let bounds = &self.policy.bounds;
        if !bounds.is_any() || feed.unreleased() == 0 {
            return;
        }
        if bounds.has_size() && bounds.on_full == OnFull::DropOldest {
            let load = feed.own_load();
            let most =
                (bounds.max_messages.unwrap_or(u64::MAX), bounds.max_bytes.unwrap_or(u64::MAX));
            let mut over = load.messages.saturating_sub(most.0);
            let mut over_bytes = load.bytes.saturating_sub(most.1);
            let dropped = feed.drop_own(|_, bytes| {
                let goes = over > 0 || over_bytes > 0;
                over = over.saturating_sub(1);
                over_bytes = over_bytes.saturating_sub(bytes);
                goes
            });
            self.losses.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        self.expire_own(feed, now);
    }

    /// Drops what is too old in the topic's own queue, and sets the alarm for what will be.
    fn expire_own(&self, feed: &mut Feed, now: Instant) {
        let Some(age) = self.policy.bounds.max_age else { return };
        let horizon = before_now(age);
        let expired = feed.drop_own(|timestamp, _| timestamp < horizon);
        self.losses.expired.fetch_add(expired, Ordering::Relaxed);
        if feed.age_alarm.is_some() {
            return;
        }
        let stored = feed.log.iter(feed.released, feed.log.next()).next();
        if let Some(oldest) = stored.map(|stored| stored.timestamp) {
            let left = u64::try_from(oldest.saturating_sub(horizon)).unwrap_or(0);
            let at = now + Duration::from_nanos(left).max(LOOK_AGAIN);
            feed.age_alarm = Some(at);
            self.set_alarm(at);
        }
    }
}

impl OnAlarm for Topic {
    /// Lets go of what is too old.
    fn on_alarm(&self, now: Instant) {
        let mut feed = self.write();
        feed.age_alarm = None;
        self.expire_own(&mut feed, now);
        drop(feed);
        self.drain_progressed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_gives_size_bound_and_policy() {
        let load = |messages, bytes| Load { messages, bytes };
        let bounds = Bounds { max_messages: Some(3), max_bytes: Some(100), ..Bounds::default() };
        assert_eq!(too_much(&bounds, load(2, 90), load(1, 10)), None);
        assert_eq!(
            too_much(&bounds, load(2, 90), load(2, 10)).as_deref(),
            Some("full: 2 messages wait, 2 more are above max_messages 3 (on_full: reject)")
        );
        assert_eq!(
            too_much(&bounds, load(2, 90), load(1, 11)).as_deref(),
            Some("full: 90 bytes wait, 11 more are above max_bytes 100 (on_full: reject)")
        );
        assert_eq!(too_much(&Bounds::default(), load(u64::MAX, 0), load(1, 0)), None);
    }
}
