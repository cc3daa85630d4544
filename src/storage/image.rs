//! The image: what topics and channels owe, as the log's records say it. Pure: it is handed records and knows no files.
//!
//! It is built twice. At start, from the last checkpoint and the records behind it, it is what the engine begins with. While
//! running, the engine makes one of itself for the next checkpoint. A topic's part of a checkpoint holds everything up to
//! its own `lsn`; records up to there are passed over.

use std::collections::BTreeMap;

use super::ranges::RangeSet;
use super::segment::Home;
use super::wal::Lsn;
use super::wal::record::{ChannelId, Record, TopicId};

/// What is known of a message besides that it is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Deliveries so far.
    pub attempts: u16,
    /// Not to be delivered before this moment, Unix nanoseconds; 0 for at once.
    pub due: i64,
}

/// A channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelImage {
    /// Its name.
    pub name: String,
    /// Whether it is paused.
    pub paused: bool,
    /// The messages that it has not settled.
    pub owed: RangeSet,
    /// Of some of them, more.
    pub details: BTreeMap<u64, Detail>,
}

/// A block of messages in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeImage {
    /// The number of its first message.
    pub base: u64,
    /// How many it has.
    pub count: u32,
    /// Where it is.
    pub home: Home,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: String,
    /// Records up to here are in the image.
    pub lsn: Lsn,
    /// Whether it is paused.
    pub paused: bool,
    /// One past the largest number that a message had.
    pub next: u64,
    /// Messages that no channel has got yet.
    pub unreleased: RangeSet,
    /// The delays (nanoseconds) of those of them that are deferred.
    pub held: BTreeMap<u64, u64>,
    /// Messages that are kept for channels to come, whether settled or not; `None` without retention.
    pub retained: Option<RangeSet>,
    /// Its blocks in segments, by their first messages.
    pub homes: Vec<HomeImage>,
    /// Its channels.
    pub channels: BTreeMap<ChannelId, ChannelImage>,
    /// The largest channel number ever given.
    pub last_channel: ChannelId,
}

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The log is needed from here on.
    pub wal_from: Lsn,
    /// The largest topic number ever given.
    pub last_topic: TopicId,
    /// The topics.
    pub topics: BTreeMap<TopicId, TopicImage>,
}

impl TopicImage {
    /// Every message that anybody is owed.
    #[must_use]
    pub fn owed(&self) -> RangeSet {
        let mut owed = self.unreleased.clone();
        for channel in self.channels.values() {
            owed.extend(&channel.owed);
        }
        if let Some(retained) = &self.retained {
            owed.extend(retained);
        }
        owed
    }

    /// Hands what is not released to the channels, if there are any and the topic is not paused.
    fn release(&mut self, at: i64) {
        if self.paused || self.channels.is_empty() {
            return;
        }
        let released = std::mem::take(&mut self.unreleased);
        let held = std::mem::take(&mut self.held);
        for channel in self.channels.values_mut() {
            channel.owed.extend(&released);
            for (seq, delay) in &held {
                let due = at.saturating_add_unsigned(*delay);
                channel.details.insert(*seq, Detail { attempts: 0, due });
            }
        }
    }

    fn publish(&mut self, first: u64, count: u64) {
        let range = first..first.saturating_add(count);
        self.next = self.next.max(range.end);
        if let Some(retained) = &mut self.retained {
            retained.insert(range.clone());
        }
        self.unreleased.insert(range);
    }

    fn apply(&mut self, record: &Record<'_>) {
        self.last_channel = self.last_channel.max(record.channel().unwrap_or(0));
        match *record {
            Record::Channel { channel, paused, at, from, name, .. } => {
                let mut made =
                    ChannelImage { name: name.to_owned(), paused, ..ChannelImage::default() };
                if let Some(retained) = &self.retained {
                    let until = self.unreleased.first().unwrap_or(u64::MAX);
                    made.owed = retained.within(from..until).collect();
                }
                self.channels.entry(channel).or_insert(made);
                self.release(at);
            }
            Record::ChannelGone { channel, .. } => {
                self.channels.remove(&channel);
            }
            Record::TopicPaused { paused, at, .. } => {
                self.paused = paused;
                self.release(at);
            }
            Record::ChannelPaused { channel, paused, .. } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.paused = paused;
                }
            }
            Record::Publish { first, timestamp, bodies, .. } => {
                self.publish(first, bodies.count() as u64);
                self.release(timestamp);
            }
            Record::PublishDeferred { seq, timestamp, delay, .. } => {
                self.publish(seq, 1);
                self.held.insert(seq, delay);
                self.release(timestamp);
            }
            Record::Settled { channel, ref ranges, .. } => {
                if let Some(channel) = self.channels.get_mut(&channel) {
                    channel.settle(ranges);
                }
            }
            Record::Dropped { first, end, .. } => {
                self.unreleased.remove(first..end);
                self.held.retain(|seq, _| !(first..end).contains(seq));
            }
            Record::State { channel, seq, attempts, due, .. } => {
                if let Some(channel) = self.channels.get_mut(&channel)
                    && channel.owed.contains(seq)
                {
                    channel.details.insert(seq, Detail { attempts, due });
                }
            }
            Record::Retained { from, .. } => match &mut self.retained {
                Some(retained) => retained.remove(0..from),
                None => self.retained = Some(RangeSet::new()),
            },
            Record::Handed { channel, first, end, .. } => {
                // Whatever became of the messages before, they are this channel's alone now.
                self.unreleased.remove(first..end);
                for (number, other) in &mut self.channels {
                    if *number == channel {
                        other.owed.insert(first..end);
                    } else {
                        other.owed.remove(first..end);
                    }
                }
            }
            Record::Topic { .. } | Record::TopicGone { .. } | Record::Unknown { .. } => {}
        }
    }
}

impl ChannelImage {
    fn settle(&mut self, ranges: &[std::ops::Range<u64>]) {
        for range in ranges {
            self.owed.remove(range.clone());
            if !self.details.is_empty() {
                let gone: Vec<u64> =
                    self.details.range(range.clone()).map(|(seq, _)| *seq).collect();
                for seq in gone {
                    self.details.remove(&seq);
                }
            }
        }
    }
}

impl Image {
    /// Takes in a record that ends at `lsn`.
    pub(crate) fn apply(&mut self, lsn: Lsn, record: &Record<'_>) {
        let Some(topic) = record.topic() else { return };
        // Whatever was lost of a topic, its number is not given to another one.
        self.last_topic = self.last_topic.max(topic);
        match *record {
            Record::Topic { paused, name, .. } => {
                self.topics.entry(topic).or_insert_with(|| TopicImage {
                    name: name.to_owned(),
                    lsn,
                    paused,
                    ..TopicImage::default()
                });
            }
            Record::TopicGone { .. } => {
                if self.topics.get(&topic).is_some_and(|image| lsn > image.lsn) {
                    self.topics.remove(&topic);
                }
            }
            _ => {
                if let Some(image) = self.topics.get_mut(&topic).filter(|image| lsn > image.lsn) {
                    image.apply(record);
                }
            }
        }
    }

    /// The largest position that a topic's part holds.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.topics.values().map(|topic| topic.lsn).max().unwrap_or(0).max(self.wal_from)
    }
}
