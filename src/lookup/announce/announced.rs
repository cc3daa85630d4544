//! What a nsqlookupd has been told, and what it has to be told now.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::engine::{Channel, Topic};

/// What one nsqlookupd has been told over one connection.
#[derive(Debug, Default)]
pub(super) struct Announced {
    topics: BTreeMap<Arc<str>, Told>,
}

/// A topic and its channels. One that was deleted and made again is another: nsqlookupd is told both, so that what was taken
/// from the old one does not hide the new one.
#[derive(Debug)]
struct Told {
    topic: Weak<Topic>,
    channels: BTreeMap<Arc<str>, Weak<Channel>>,
}

impl Announced {
    /// The lines that bring what was told up to `topics`; they count as told from now on.
    pub(super) fn update(&mut self, topics: &[Arc<Topic>]) -> Vec<String> {
        let mut lines = Vec::new();
        let now: BTreeMap<&Arc<str>, &Arc<Topic>> =
            topics.iter().map(|topic| (topic.name(), topic)).collect();
        self.topics.retain(|name, told| {
            let is_same = now.get(name).is_some_and(|topic| is_same(&told.topic, topic));
            if !is_same {
                lines.extend(told.channels.keys().map(|c| format!("UNREGISTER {name} {c}\n")));
                lines.push(format!("UNREGISTER {name}\n"));
            }
            is_same
        });
        for (name, topic) in now {
            let channels = topic.channels();
            let is_new = !self.topics.contains_key(name);
            let told = self.topics.entry(Arc::clone(name)).or_insert_with(|| Told {
                topic: Arc::downgrade(topic),
                channels: BTreeMap::new(),
            });
            told.channels.retain(|channel, told| {
                let is_there = channels.iter().any(|there| is_same(told, there));
                if !is_there {
                    lines.push(format!("UNREGISTER {name} {channel}\n"));
                }
                is_there
            });
            // The registration of a channel is one of its topic.
            if is_new && channels.is_empty() {
                lines.push(format!("REGISTER {name}\n"));
            }
            for channel in channels {
                if !told.channels.contains_key(channel.name()) {
                    lines.push(format!("REGISTER {name} {}\n", channel.name()));
                    told.channels.insert(Arc::clone(channel.name()), Arc::downgrade(&channel));
                }
            }
        }
        lines
    }
}

/// Whether what was told is this very one. As long as it is remembered no other can be at its place.
fn is_same<T>(told: &Weak<T>, now: &Arc<T>) -> bool {
    Weak::as_ptr(told) == Arc::as_ptr(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Options};

    #[test]
    fn what_comes_and_goes_is_told_once() {
        let engine = Engine::new(Options::default());
        let mut announced = Announced::default();
        let mut update = || announced.update(&engine.topics()).concat();
        assert_eq!(update(), "");
        let orders = engine.topic("orders").unwrap();
        assert_eq!(update(), "REGISTER orders\n");
        drop(orders.channel("b").unwrap());
        drop(orders.channel("a#ephemeral").unwrap());
        let other = engine.topic("other").unwrap();
        drop(other.channel("c").unwrap());
        assert_eq!(update(), "REGISTER orders a#ephemeral\nREGISTER orders b\nREGISTER other c\n");
        assert_eq!(update(), "");
        orders.delete_channel("b");
        assert_eq!(update(), "UNREGISTER orders b\n");
        engine.delete_topic("other");
        assert_eq!(update(), "UNREGISTER other c\nUNREGISTER other\n");
    }

    #[test]
    fn what_was_deleted_and_made_again_is_told_as_both() {
        let engine = Engine::new(Options::default());
        let mut announced = Announced::default();
        let topic = engine.topic("t").unwrap();
        drop(topic.channel("c").unwrap());
        assert_eq!(announced.update(&engine.topics()).len(), 1);
        topic.delete_channel("c");
        drop(topic.channel("c").unwrap());
        assert_eq!(announced.update(&engine.topics()).concat(), "UNREGISTER t c\nREGISTER t c\n");
        drop(topic);
        engine.delete_topic("t");
        drop(engine.topic("t").unwrap());
        assert_eq!(
            announced.update(&engine.topics()).concat(),
            "UNREGISTER t c\nUNREGISTER t\nREGISTER t\n"
        );
    }
}
