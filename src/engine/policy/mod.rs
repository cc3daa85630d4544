//! What an operator asks of topics and channels by the patterns of their names: bounds, ages, attempts, dead letters,
//! rates. Plain values and their resolution; who reads files fills them in.
//!
//! Rows are gone through in order, and a later one refines an earlier one key by key. Within a row, what it says of its
//! topics comes before what it says of their channels. Without rows everything is off and nothing is paid.

mod pattern;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

pub use super::retention::Replay;
pub use pattern::{Pattern, PatternError};

pub use crate::limit::{Allowance, Rate};
use crate::names::MessageId;

/// How safe a message is when its publish is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// It is in memory.
    Memory,
    /// The system has it: it survives the end of the process.
    Disk,
    /// The disk has it: it survives the loss of power.
    Fsync,
}

impl Durability {
    /// What the journal is asked for; nothing for what is only in memory.
    pub(super) const fn level(self) -> Option<super::Level> {
        match self {
            Self::Memory => None,
            Self::Disk => Some(super::Level::Written),
            Self::Fsync => Some(super::Level::Synced),
        }
    }
}

/// What happens to a publish that does not fit any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// It is refused, and its producer told why.
    #[default]
    Reject,
    /// It is taken, and the oldest messages make room.
    DropOldest,
}

/// How a dead letter looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    /// As the message was: its reason and origin are in the log.
    #[default]
    None,
    /// Inside of a text that names reason and origin, made by [`Wrap`].
    Json,
}

/// Where messages go that were delivered in vain too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterTo {
    /// The local topic; made when it is needed.
    pub topic: Arc<str>,
    /// How they look there.
    pub envelope: Envelope,
}

/// What a topic keeps beyond its channels' need. `None` everywhere keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Messages at most this old.
    pub age: Option<Duration>,
    /// At most so many bytes of bodies.
    pub bytes: Option<u64>,
    /// At most so many messages.
    pub messages: Option<u64>,
}

impl Retention {
    /// Whether anything is kept at all.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.age.is_some() || self.bytes.is_some() || self.messages.is_some()
    }
}

/// What may be asked of topics and of channels alike. `None` leaves a key to other rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Most messages that may wait; 0 for no bound.
    pub max_messages: Option<u64>,
    /// Most bytes of bodies that may wait; 0 for no bound.
    pub max_bytes: Option<u64>,
    /// How old a message may be delivered; zero for any age.
    pub max_age: Option<Duration>,
    /// What happens beyond the bounds.
    pub on_full: Option<OnFull>,
    /// Deliveries after which a message is given up; 0 for never.
    pub max_attempts: Option<u16>,
    /// Where it goes then; the inner `None` drops it.
    pub dead_letter: Option<Option<DeadLetterTo>>,
}

/// What is asked of the channels that match, within the topics that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRow {
    /// Which channels.
    pub pattern: Pattern,
    /// What holds for both kinds.
    pub rules: Rules,
    /// Most deliveries in a span of time, all consumers together; the inner `None` lifts the limit.
    pub rate: Option<Option<Allowance>>,
    /// Where a new channel starts.
    pub replay: Option<Replay>,
}

/// What is asked of the topics that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRow {
    /// Which topics.
    pub pattern: Pattern,
    /// Made at start, with these channels. Only for a pattern that is a name.
    pub declared: Option<Vec<String>>,
    /// How safe a message is when its publish is answered.
    pub durability: Option<Durability>,
    /// What is kept for channels to come.
    pub retention: Option<Retention>,
    /// For the topic's own queue, and for each of its channels.
    pub rules: Rules,
    /// For some of its channels.
    pub channels: Vec<ChannelRow>,
}

impl TopicRow {
    /// A row that asks for nothing yet.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            declared: None,
            durability: None,
            retention: None,
            rules: Rules::default(),
            channels: Vec::new(),
        }
    }
}

/// How much may wait, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Most messages.
    pub max_messages: Option<u64>,
    /// Most bytes of bodies.
    pub max_bytes: Option<u64>,
    /// The greatest age of a message.
    pub max_age: Option<Duration>,
    /// What happens beyond the first two.
    pub on_full: OnFull,
}

impl Bounds {
    /// Whether the number or the size of what waits is bounded.
    #[must_use]
    pub const fn has_size(&self) -> bool {
        self.max_messages.is_some() || self.max_bytes.is_some()
    }

    /// Whether there is any bound.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.has_size() || self.max_age.is_some()
    }
}

/// What holds for one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicPolicy {
    /// `None` if nobody asked.
    pub durability: Option<Durability>,
    /// What is kept for channels to come.
    pub retention: Retention,
    /// Of its own queue: what no channel has got yet.
    pub bounds: Bounds,
    /// Whether the topic or any channel that it may have is bounded.
    pub is_bounded: bool,
}

/// What holds for one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelPolicy {
    /// Of what waits in it.
    pub bounds: Bounds,
    /// Deliveries after which a message is given up.
    pub max_attempts: Option<NonZeroU16>,
    /// Where it goes then; it is dropped if there is no such place.
    pub dead_letter: Option<DeadLetterTo>,
    /// Most deliveries in a span of time.
    pub rate: Option<Allowance>,
    /// Where it starts when it is new.
    pub replay: Replay,
}

impl Rules {
    fn bound(&self, bounds: &mut Bounds) {
        if let Some(max) = self.max_messages {
            bounds.max_messages = (max > 0).then_some(max);
        }
        if let Some(max) = self.max_bytes {
            bounds.max_bytes = (max > 0).then_some(max);
        }
        if let Some(max) = self.max_age {
            bounds.max_age = (!max.is_zero()).then_some(max);
        }
        if let Some(on_full) = self.on_full {
            bounds.on_full = on_full;
        }
    }

    fn refine(&self, policy: &mut ChannelPolicy) {
        self.bound(&mut policy.bounds);
        if let Some(max) = self.max_attempts {
            policy.max_attempts = NonZeroU16::new(max);
        }
        if let Some(to) = &self.dead_letter {
            policy.dead_letter.clone_from(to);
        }
    }
}

/// A message that was given up, with its reason and origin.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// In words.
    pub reason: &'a str,
    /// The topic that it was published to.
    pub topic: &'a str,
    /// The channel that gave it up.
    pub channel: &'a str,
    /// Its id there.
    pub id: MessageId,
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries.
    pub attempts: u16,
    /// Its body.
    pub body: &'a [u8],
}

/// Puts a dead letter into its envelope: formats are not the engine's matter.
pub type Wrap = fn(&DeadLetter<'_>) -> Vec<u8>;

/// All rows of a node.
#[derive(Clone)]
pub struct Policies {
    rows: Vec<TopicRow>,
    wrap: Wrap,
}

impl Default for Policies {
    /// Nothing is asked of anybody.
    fn default() -> Self {
        Self { rows: Vec::new(), wrap: |letter| letter.body.to_vec() }
    }
}

impl PartialEq for Policies {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl Eq for Policies {}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.fmt(f)
    }
}

impl Policies {
    /// Policies of these rows, and the envelope for dead letters that are to have one.
    #[must_use]
    pub const fn new(rows: Vec<TopicRow>, wrap: Wrap) -> Self {
        Self { rows, wrap }
    }

    /// Puts a dead letter into its envelope.
    #[must_use]
    pub(super) fn wrap(&self, letter: &DeadLetter<'_>) -> Vec<u8> {
        (self.wrap)(letter)
    }

    fn rows_of(&self, topic: &str) -> impl Iterator<Item = &TopicRow> {
        self.rows.iter().filter(move |row| row.pattern.matches(topic))
    }

    /// What holds for `topic`.
    #[must_use]
    pub fn topic(&self, topic: &str) -> TopicPolicy {
        let mut policy = TopicPolicy::default();
        for row in self.rows_of(topic) {
            policy.durability = row.durability.or(policy.durability);
            policy.retention = row.retention.unwrap_or(policy.retention);
            row.rules.bound(&mut policy.bounds);
            policy.is_bounded |= row.channels.iter().any(|channel| {
                let mut bounds = Bounds::default();
                channel.rules.bound(&mut bounds);
                bounds.is_any()
            });
        }
        policy.is_bounded |= policy.bounds.is_any();
        policy
    }

    /// What holds for `channel` of `topic`. A dead-letter topic's own messages stay in it.
    #[must_use]
    pub fn channel(&self, topic: &str, channel: &str) -> ChannelPolicy {
        let mut policy = ChannelPolicy::default();
        for row in self.rows_of(topic) {
            row.rules.refine(&mut policy);
            for row in row.channels.iter().filter(|row| row.pattern.matches(channel)) {
                row.rules.refine(&mut policy);
                policy.rate = row.rate.unwrap_or(policy.rate);
                policy.replay = row.replay.unwrap_or(policy.replay);
            }
        }
        if policy.dead_letter.as_ref().is_some_and(|to| *to.topic == *topic) {
            policy.max_attempts = None;
        }
        policy
    }

    /// The topics to make at start, each with the channels to make.
    pub fn declared(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.rows.iter().filter_map(|row| Some((row.pattern.literal()?, row.declared.as_deref()?)))
    }

    /// A circle in which dead letters would go round, if there is one: the topics on the way, the first one twice.
    #[must_use]
    pub fn circle(&self) -> Option<Vec<Arc<str>>> {
        let rules = self.rows.iter().flat_map(|row| {
            std::iter::once(&row.rules).chain(row.channels.iter().map(|row| &row.rules))
        });
        let targets: BTreeSet<Arc<str>> =
            rules.filter_map(|rules| Some(rules.dead_letter.clone()??.topic)).collect();
        let mut harmless = HashSet::new();
        targets.into_iter().find_map(|topic| self.circle_from(&mut vec![topic], &mut harmless))
    }

    fn circle_from(
        &self,
        way: &mut Vec<Arc<str>>,
        harmless: &mut HashSet<Arc<str>>,
    ) -> Option<Vec<Arc<str>>> {
        let here = way.last().cloned()?;
        if harmless.contains(&here) {
            return None;
        }
        for next in self.dead_letter_topics(&here) {
            let first = way.iter().position(|topic| *topic == next);
            way.push(next);
            if let Some(first) = first {
                return Some(way.split_off(first));
            }
            if let Some(circle) = self.circle_from(way, harmless) {
                return Some(circle);
            }
            way.pop();
        }
        harmless.insert(here);
        None
    }

    /// Where the channels that `topic` may have send their dead letters.
    fn dead_letter_topics(&self, topic: &str) -> BTreeSet<Arc<str>> {
        // A pattern matches its own text, so that stands for the names that it is meant for; the blank for all others.
        let rows = self.rows_of(topic).flat_map(|row| &row.channels);
        let names = rows.map(|row| row.pattern.as_str()).chain([" "]);
        let policies = names.map(|channel| self.channel(topic, channel));
        policies
            .filter(|policy| policy.max_attempts.is_some())
            .filter_map(|policy| Some(policy.dead_letter?.topic))
            .collect()
    }
}

#[cfg(test)]
mod tests;
