//! What is changed: at nsqlookupds first, then at the nodes, one after the other, whatever one of them says.

use super::{Cluster, Silence, Told, joined};
use crate::admin::shapes::Producer;

/// What is done to a topic, or to one of its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Act {
    Pause,
    Unpause,
    Empty,
}

impl Act {
    /// The act that is called so.
    pub(in crate::admin) fn named(name: &str) -> Option<Self> {
        [Self::Pause, Self::Unpause, Self::Empty].into_iter().find(|act| act.as_str() == name)
    }

    pub(in crate::admin) const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Empty => "empty",
        }
    }
}

/// What is meant: a topic, or a channel of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) struct Subject<'a> {
    pub(in crate::admin) topic: &'a str,
    pub(in crate::admin) channel: Option<&'a str>,
}

impl<'a> Subject<'a> {
    const fn kind(self) -> &'static str {
        if self.channel.is_some() { "channel" } else { "topic" }
    }

    fn query(self) -> Vec<(&'static str, &'a str)> {
        let channel = self.channel.map(|channel| ("channel", channel));
        [("topic", self.topic)].into_iter().chain(channel).collect()
    }
}

fn addresses(nodes: &[Producer]) -> Vec<String> {
    nodes.iter().map(Producer::reached_at).collect()
}

impl Cluster {
    /// Makes a topic known, and a channel of it on every node that has the topic.
    pub(in crate::admin) async fn create(&self, what: Subject<'_>) -> Result<Told<()>, Silence> {
        let lookupds = self.lookupds();
        let topic = [("topic", what.topic)];
        let mut warnings = joined(self.post_each(&lookupds, "/topic/create", &topic).await);
        if what.channel.is_some() {
            let query = what.query();
            warnings.extend(joined(self.post_each(&lookupds, "/channel/create", &query).await));
            let nodes = self.registered_at(&lookupds, what.topic).await?;
            warnings.extend(nodes.warnings);
            let to = addresses(&nodes.value);
            warnings.extend(joined(self.post_each(&to, "/channel/create", &query).await));
        }
        Ok(Told { value: (), warnings })
    }

    /// Deletes a topic or a channel everywhere.
    pub(in crate::admin) async fn delete(&self, what: Subject<'_>) -> Result<Told<()>, Silence> {
        let nodes = self.producers(what.topic).await?;
        let mut warnings = nodes.warnings;
        let (path, query) = (format!("/{}/delete", what.kind()), what.query());
        for to in [self.lookupds(), addresses(&nodes.value)] {
            warnings.extend(joined(self.post_each(&to, &path, &query).await));
        }
        Ok(Told { value: (), warnings })
    }

    /// Does something to a topic or a channel on every node that has the topic.
    pub(in crate::admin) async fn act(
        &self,
        act: Act,
        what: Subject<'_>,
    ) -> Result<Told<()>, Silence> {
        let nodes = self.producers(what.topic).await?;
        let path = format!("/{}/{}", what.kind(), act.as_str());
        let to = addresses(&nodes.value);
        let errors = self.post_each(&to, &path, &what.query()).await;
        Ok(Told { value: (), warnings: nodes.warnings }.with(joined(errors)))
    }

    /// Has nsqlookupds not tell of a node for a topic for a while, and the node forget the topic.
    pub(in crate::admin) async fn tombstone(
        &self,
        topic: &str,
        node: &Producer,
    ) -> Result<Told<()>, Silence> {
        let name = node.http_address();
        let query = [("topic", topic), ("node", name.as_str())];
        let told = self.post_each(&self.lookupds(), "/topic/tombstone", &query).await;
        let nodes = self.nsqds(&[node.reached_at()]).await?;
        let to = addresses(&nodes.value);
        let deleted = self.post_each(&to, "/topic/delete", &[("topic", topic)]).await;
        Ok(Told { value: (), warnings: joined(told) }.with(nodes.warnings).with(joined(deleted)))
    }

    /// The nodes that nsqlookupds name, even if there are none to ask.
    async fn registered_at(
        &self,
        lookupds: &[String],
        topic: &str,
    ) -> Result<Told<Vec<Producer>>, Silence> {
        if lookupds.is_empty() {
            // The original asks none of none, and takes that for failure.
            return Err(Silence("failed to query any nsqlookupd: ".to_owned()));
        }
        self.producers(topic).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_called_as_nsqadmin_calls_them() {
        for act in [Act::Pause, Act::Unpause, Act::Empty] {
            assert_eq!(Act::named(act.as_str()), Some(act));
        }
        assert_eq!(Act::named("delete"), None);
        let channel = Subject { topic: "t", channel: Some("c") };
        assert_eq!(
            (channel.kind(), channel.query()),
            ("channel", vec![("topic", "t"), ("channel", "c")])
        );
    }
}
