//! The list of topics and channels, as nsqd's metadata file knows it.

use super::{Engine, PublishError};
use crate::storage::metadata::{ChannelMeta, TopicMeta};

impl Engine {
    /// The topics and channels that are worth keeping, and which are paused.
    #[must_use]
    pub fn metadata(&self) -> Vec<TopicMeta> {
        let lasting = self.topics().into_iter().filter(|topic| !topic.is_ephemeral());
        lasting
            .map(|topic| {
                let channels = topic.channels();
                let channels = channels.iter().filter(|channel| !channel.is_ephemeral());
                TopicMeta {
                    name: topic.name().to_string(),
                    paused: topic.is_paused(),
                    channels: channels
                        .map(|channel| ChannelMeta {
                            name: channel.name().to_string(),
                            paused: channel.is_paused(),
                        })
                        .collect(),
                }
            })
            .collect()
    }

    /// Makes the topics and channels of the list that are not there yet.
    ///
    /// # Errors
    /// [`PublishError::Exiting`] once the node shuts down.
    pub fn restore(&self, metadata: &[TopicMeta]) -> Result<(), PublishError> {
        for meta in metadata {
            let topic = self.topic(&meta.name)?;
            // Nothing moves from the topic to its channels before all of them are there.
            if !topic.is_paused() {
                topic.set_paused(true);
            }
            for channel in &meta.channels {
                let channel_there = topic.channel(&channel.name)?;
                if channel_there.is_paused() != channel.paused {
                    channel_there.set_paused(channel.paused);
                }
            }
            if !meta.paused {
                topic.set_paused(false);
            }
        }
        Ok(())
    }
}
