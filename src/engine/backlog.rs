//! What outlives a clean exit: the list of topics and channels, and the messages that they owe.
//!
//! Messages that an upstream offered are not among them: the upstream has them still.

use std::time::Duration;

use super::channel::Deferred;
use super::feed::{DETACHED, Held, own};
use super::{Engine, PublishError, Topic};
use crate::clock;
use crate::storage::backlog::{Owed, TopicBacklog};
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
                            paused: channel.counts().paused,
                        })
                        .collect(),
                }
            })
            .collect()
    }

    /// What the topics owe. To be asked once nothing is published or settled any more.
    #[must_use]
    pub fn backlog(&self) -> Vec<TopicBacklog> {
        let lasting = self.topics().into_iter().filter(|topic| !topic.is_ephemeral());
        lasting.map(|topic| topic.backlog()).collect()
    }

    /// Makes topics and channels as they were.
    ///
    /// # Errors
    /// [`PublishError::Exiting`] once the node shuts down.
    pub fn restore(
        &self,
        metadata: &[TopicMeta],
        backlog: &[TopicBacklog],
    ) -> Result<(), PublishError> {
        // What is published from now on must not get the number of a message that is still owed, whatever the clock says.
        for owing in backlog {
            let owed = owing.channels.iter().flat_map(|(_, owed)| owed);
            let last = owed.map(|owed| owed.seq & (DETACHED - 1)).max();
            self.topic_beyond(&owing.name, last.map_or(0, |last| last + 1))?;
        }
        for meta in metadata {
            let topic = self.topic(&meta.name)?;
            // Nothing moves from the topic to its channels before all of them are there.
            topic.set_paused(true);
            for channel in &meta.channels {
                topic.channel(&channel.name)?.set_paused(channel.paused);
            }
        }
        for owing in backlog {
            let topic = self.topic(&owing.name)?;
            for (name, owed) in &owing.channels {
                topic.channel(name)?.restore(owed);
            }
            topic.restore(&owing.unreleased);
        }
        for meta in metadata {
            self.topic(&meta.name)?.set_paused(meta.paused);
        }
        Ok(())
    }
}

impl Topic {
    fn backlog(&self) -> TopicBacklog {
        let channels = self.channels();
        let lasting = channels.iter().filter(|channel| !channel.is_ephemeral());
        let channels = lasting.map(|channel| (channel.name().to_string(), channel.owed()));
        let channels = channels.collect();
        let feed = self.read();
        let stored = feed.log.iter(feed.released, feed.log.next()).map(|stored| Owed {
            seq: stored.seq,
            timestamp: stored.timestamp,
            attempts: 0,
            due: 0,
            body: stored.body.to_vec(),
        });
        let held = feed.held.iter().map(|held| Owed {
            seq: held.message.seq,
            timestamp: held.message.timestamp,
            attempts: 0,
            due: i64::try_from(held.delay.as_nanos()).unwrap_or(i64::MAX),
            body: held.message.body.to_vec(),
        });
        let unreleased = stored.chain(held).collect();
        TopicBacklog { name: self.name().to_string(), unreleased, channels }
    }

    fn restore(&self, unreleased: &[Owed]) {
        let mut feed = self.write();
        for owed in unreleased {
            if owed.due == 0 {
                feed.log.append(&owed.body, owed.timestamp);
                continue;
            }
            let message =
                Deferred { seq: feed.mint(), timestamp: owed.timestamp, body: own(&owed.body) };
            let delay = Duration::from_nanos(u64::try_from(owed.due).unwrap_or(0));
            feed.held.push(Held { message, delay });
        }
        feed.release(u64::MAX, clock::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{Client, Identity, Options, PullLimit, Signal, Subscriber};

    #[test]
    fn what_is_published_after_a_restore_gets_numbers_of_its_own() {
        // As after a restart within the same millisecond, or with a clock that was set back.
        let ahead = super::super::first_seq(clock::unix_nanos()) + (1 << 30);
        for seq in [ahead, ahead | DETACHED] {
            let owed = Owed { seq, timestamp: 1, attempts: 1, due: 0, body: b"old".to_vec() };
            let channels = vec![("c".to_owned(), vec![owed])];
            let backlog = [TopicBacklog { name: "t".into(), unreleased: Vec::new(), channels }];
            let engine = Engine::new(Options::default());
            engine.restore(&[], &backlog).unwrap();
            let topic = engine.topic("t").unwrap();
            let body = || std::iter::once(&b"new"[..]);
            assert!(topic.publish(body(), &Arc::default()).is_ok());
            let mut feed = topic.write();
            assert!(feed.log.next() > ahead && feed.mint() & (DETACHED - 1) > ahead);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restored_engine_owes_what_the_first_one_did() {
        let first = Engine::new(Options::default());
        let topic = first.topic("t").unwrap();
        let quiet = first.topic("quiet").unwrap();
        topic.channel("c").unwrap();
        topic.channel("gone#ephemeral").unwrap();
        let signal = Arc::<Signal>::default();
        let publish = |topic: &Topic, body: &[u8]| {
            assert!(topic.publish(std::iter::once(body), &Arc::default()).is_ok());
        };
        for body in ["1", "2", "3", "4"] {
            publish(&topic, body.as_bytes());
        }
        publish(&quiet, b"early");
        let hour = Duration::from_secs(3600);
        assert!(topic.publish_deferred(b"later", hour, &signal).is_ok());
        let subscribe = |engine: &Engine| {
            let subscriber = Subscriber {
                client: Arc::new(Client::new("@".into(), 0, Identity::default())),
                signal: Arc::default(),
                msg_timeout: hour,
                touch_timeout: hour,
                sample_rate: 0,
            };
            let channel = engine.topic("t").unwrap().channel("c").unwrap();
            let consumer = channel.subscribe(subscriber, 0).unwrap();
            consumer.set_ready(2);
            consumer
        };
        let pull = |consumer: &crate::engine::Consumer| {
            let mut got = Vec::new();
            let limit = PullLimit { messages: 99, bytes: 99 };
            consumer.pull(limit, clock::now(), |delivery| {
                let body = String::from_utf8(delivery.body.to_vec()).unwrap();
                got.push((delivery.id.to_hex(), body, delivery.attempts));
            });
            got
        };
        let consumer = subscribe(&first);
        let got = pull(&consumer);
        consumer.settle(clock::now()).finish(&got[0].0).unwrap();
        topic.find_channel("c").unwrap().set_paused(true);

        let (metadata, backlog) = (first.metadata(), first.backlog());
        let second = Engine::new(Options::default());
        second.restore(&metadata, &backlog).unwrap();
        assert_eq!(second.metadata(), metadata);
        assert_eq!(second.topic("quiet").unwrap().depth(), 1);
        let channel = second.topic("t").unwrap().find_channel("c").unwrap();
        let counts = channel.counts();
        assert_eq!((counts.depth, counts.deferred, counts.paused), (3, 1, true));
        channel.set_paused(false);
        let consumer = subscribe(&second);
        consumer.set_ready(9);
        let again = pull(&consumer);
        let mut bodies: Vec<_> = again.iter().map(|(_, body, n)| (body.as_str(), *n)).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, [("2", 2), ("3", 1), ("4", 1)]);
        assert!(again.iter().any(|(id, body, _)| body == "2" && *id == got[1].0), "the id is kept");
    }
}
