//! Retention: a topic that keeps messages after every channel has settled them, for channels to come that replay them.
//!
//! The topic itself holds a claim on each message that it retains. What is past the bounds is given up a block at a time,
//! so a little more than was asked for may be kept.

use std::ops::Range;
use std::time::Duration;

use super::Engine;
use super::feed::Feed;
use super::log::Log;
use super::policy::Retention;
use super::topic::Topic;
use crate::clock;
use crate::storage::wal::record::Write as _;

/// How often topics look for what is past the bounds.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// Where a channel that is made begins to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// With what is not handed to any channel yet, as NSQ's channels do.
    #[default]
    New,
    /// With the oldest message that is retained.
    Start,
    /// With the first message published at this time (nanoseconds since the Unix epoch) or later. Some before it may come
    /// too: the times of what is on disk only are not all in memory.
    Since(i64),
    /// As [`Replay::Since`], so long before the channel is made.
    Back(Duration),
    /// With the message of this number (the lower 54 bits of its id) or the next one.
    Offset(u64),
}

impl Retention {
    /// How many of the log's first messages, of those from `from` on, are past the bounds at `now`.
    fn surplus(&self, log: &Log, from: u64, now: i64) -> u64 {
        let blocks = log.sealed_blocks(from);
        let mut bytes: u64 = blocks.iter().map(|block| block.bytes).sum();
        let mut messages: u64 = log.count(&(from..log.next()));
        let oldest = self
            .age
            .map(|age| now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)));
        let mut end = from;
        for block in blocks {
            let count = log.count(&block.numbers);
            let is_surplus = self.bytes.is_some_and(|max| bytes.saturating_sub(block.bytes) >= max)
                || self.messages.is_some_and(|max| messages.saturating_sub(count) >= max)
                || oldest.is_some_and(|oldest| block.latest < oldest);
            if !is_surplus {
                break;
            }
            bytes = bytes.saturating_sub(block.bytes);
            messages = messages.saturating_sub(count);
            end = block.numbers.end;
        }
        end
    }
}

impl Engine {
    /// Gives up what is retained past the bounds, for as long as it is polled.
    pub(super) async fn trim(&self) {
        loop {
            tokio::time::sleep(TRIM_INTERVAL).await;
            for topic in self.topics() {
                topic.trim();
            }
        }
    }
}

impl Feed {
    /// Begins to retain what is published from now on.
    pub(super) fn begin_retention(&mut self) {
        let from = self.log.next();
        self.retained.get_or_insert(from);
        if let Some(entry) = &self.journal {
            entry.note(|out, id| out.retained(id, from));
        }
    }

    /// Claims newly appended messages for retention.
    pub(super) fn retain(&self, range: &Range<u64>) {
        if self.retained.is_some() {
            self.log.claim(range, 1);
        }
    }

    /// Where a channel that is made now begins.
    pub(super) fn position(&self, replay: Replay) -> u64 {
        let Some(oldest) = self.retained else { return self.released };
        let at = match replay {
            Replay::New => self.released,
            Replay::Start => oldest,
            Replay::Offset(seq) => seq,
            Replay::Since(time) => self.log.first_since(time),
            Replay::Back(span) => {
                let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
                self.log.first_since(clock::unix_nanos().saturating_sub(span))
            }
        };
        at.clamp(oldest.min(self.released), self.released)
    }
}

impl Topic {
    /// Whether it keeps messages for channels to come.
    #[must_use]
    pub const fn retains(&self) -> bool {
        self.policy.retention.is_any()
    }

    /// Gives up what is retained past the bounds.
    pub(super) fn trim(&self) {
        let retention = &self.policy.retention;
        if self.read().retained.is_none() {
            return;
        }
        let mut feed = self.write();
        let Some(from) = feed.retained else { return };
        let end = retention.surplus(&feed.log, from, clock::unix_nanos());
        if end <= from {
            return;
        }
        feed.retained = Some(end);
        if let Some(entry) = &feed.journal {
            entry.note(|out, id| out.retained(id, end));
        }
        feed.log.settle(&(from..end));
        feed.maintain();
    }
}
