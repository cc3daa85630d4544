//! Which topic and which channel a record is about.

use super::record::{ChannelId, Record, TopicId};

impl Record<'_> {
    /// The topic that it is about.
    pub(crate) const fn topic(&self) -> Option<TopicId> {
        match *self {
            Self::Topic { topic, .. }
            | Self::TopicGone { topic }
            | Self::Channel { topic, .. }
            | Self::ChannelGone { topic, .. }
            | Self::TopicPaused { topic, .. }
            | Self::ChannelPaused { topic, .. }
            | Self::Publish { topic, .. }
            | Self::PublishDeferred { topic, .. }
            | Self::Settled { topic, .. }
            | Self::Dropped { topic, .. }
            | Self::State { topic, .. }
            | Self::Retained { topic, .. }
            | Self::Handed { topic, .. } => Some(topic),
            Self::Unknown { .. } => None,
        }
    }

    /// The channel that it is about.
    pub(crate) const fn channel(&self) -> Option<ChannelId> {
        match *self {
            Self::Channel { channel, .. }
            | Self::ChannelGone { channel, .. }
            | Self::ChannelPaused { channel, .. }
            | Self::Settled { channel, .. }
            | Self::State { channel, .. }
            | Self::Handed { channel, .. } => Some(channel),
            _ => None,
        }
    }
}
