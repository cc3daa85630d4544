//! Channels that a new topic is to have from its beginning, because somebody beside this node knows of them.
//!
//! A topic that is made while it serves is *withheld* until they are there: publishes go on, and what they bring waits in
//! the topic as it does while it is paused, so that every one of the channels gets the first message.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use super::{Engine, Topic};
use crate::clock;

/// Whoever knows which channels topics have elsewhere. Called with no lock held; must not block.
pub trait KnownChannels: Send + Sync {
    /// Whether it can tell now.
    fn can_tell(&self) -> bool;
    /// A topic was made and is withheld. [`Topic::begin`] must be called for it once its channels are there, or cannot
    /// be learnt.
    fn made(&self, topic: Arc<Topic>);
}

/// Who is asked, if anybody.
#[derive(Default)]
pub(super) struct Precreation(OnceLock<Weak<dyn KnownChannels>>);

impl fmt::Debug for Precreation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Precreation").field(&self.0.get().is_some()).finish()
    }
}

impl Precreation {
    /// Who can tell now.
    pub(super) fn who(&self) -> Option<Arc<dyn KnownChannels>> {
        self.0.get().and_then(Weak::upgrade).filter(|known| known.can_tell())
    }
}

impl Engine {
    /// Has topics that are made from now on begin with the channels that `known` tells of. Only the first call counts.
    pub fn set_known_channels(&self, known: &Arc<dyn KnownChannels>) {
        // A node has one list of nsqlookupds: there is no second call.
        drop(self.shared.precreation.0.set(Arc::downgrade(known)));
    }
}

impl Topic {
    /// Hands on what was withheld.
    pub fn begin(&self) {
        let mut feed = self.write();
        feed.withheld = false;
        feed.release(self.bound(), clock::now());
        drop(feed);
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::engine::{Options, PublishError, Signal};

    /// Knows something of each topic, and leaves it to the test when that is there.
    #[derive(Default)]
    struct Slow(Mutex<Vec<Arc<Topic>>>);

    impl KnownChannels for Slow {
        fn can_tell(&self) -> bool {
            true
        }

        fn made(&self, topic: Arc<Topic>) {
            self.0.lock().push(topic);
        }
    }

    fn publish(topic: &Arc<Topic>, body: &[u8]) -> Result<(), PublishError> {
        topic.publish(std::iter::once(body), &Arc::<Signal>::default()).map(drop)
    }

    #[test]
    fn edge_142_every_known_channel_gets_the_first_message() {
        let engine = Engine::new(Options::default());
        let slow = Arc::<Slow>::default();
        let known: Arc<dyn KnownChannels> = slow.clone();
        engine.set_known_channels(&known);
        let topic = engine.topic("orders").unwrap();
        publish(&topic, b"first").unwrap();
        let early = topic.channel("of-an-early-consumer").unwrap();
        assert_eq!(early.counts().depth, 0, "it waits for the others");
        let known = slow.0.lock().pop().unwrap();
        let other = known.channel("known-elsewhere").unwrap();
        assert!(Arc::ptr_eq(&known, &topic) && other.counts().depth == 0 && !topic.is_paused());
        known.begin();
        assert_eq!((early.counts().depth, other.counts().depth), (1, 1));
        publish(&topic, b"second").unwrap();
        assert_eq!((early.counts().depth, other.counts().depth), (2, 2));
        drop(engine.topic("orders").unwrap());
        assert!(slow.0.lock().is_empty(), "it is asked once");
    }
}
