//! What the values hold: JSON, but for routes, which are YAML. Keys that a later version adds are passed over.

use serde::{Deserialize, Serialize};

use crate::bridge::route::Instances;

/// Who a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The host under which others reach it.
    pub host: String,
    /// The port of the NSQ protocol.
    pub tcp_port: u16,
    /// The port of the HTTP API; 0 if it has none.
    pub http_port: u16,
    /// Its region; empty if unknown.
    pub region: String,
    /// Its zone; empty if unknown.
    pub zone: String,
    /// Leveret's version.
    pub version: String,
    /// When it started, seconds since the Unix epoch.
    pub started: i64,
    /// What it has to do.
    pub load: Load,
}

/// What a node has to do at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Routes that run.
    pub routes: u64,
    /// Topics.
    pub topics: u64,
    /// Messages that its channels and topics owe.
    pub messages: u64,
}

/// What a node makes of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// In a word.
    pub state: Verdict,
    /// Which revision of the route's key it speaks of; 0 if the route is a file of the node.
    pub revision: i64,
    /// The revision that it would run, if that is an older one; 0 if there is none.
    #[serde(default)]
    pub last_good: i64,
    /// On how many nodes the route is to run.
    #[serde(default)]
    pub instances: InstancesWord,
    /// Why the route was refused, one finding each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// Whether a node has taken a route over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it is.
    Applied,
    /// It would be wrong on this node.
    Refused,
}

/// [`Instances`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancesWord {
    /// On every node.
    #[default]
    All,
    /// On one.
    One,
}

impl From<Instances> for InstancesWord {
    fn from(instances: Instances) -> Self {
        match instances {
            Instances::All => Self::All,
            Instances::One => Self::One,
        }
    }
}

/// How fit a node is to run a route; the fittest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitness {
    /// It has refused the route as it is, and has an older one that it can run.
    Outdated,
    /// It can run the route as it is.
    Fit,
}

impl StatusRecord {
    /// How fit the node is to be the one that runs the route; `None` if it cannot, or every node does.
    #[must_use]
    pub const fn fitness(&self) -> Option<Fitness> {
        match (self.instances, self.state) {
            (InstancesWord::All, _) => None,
            (InstancesWord::One, Verdict::Applied) => Some(Fitness::Fit),
            (InstancesWord::One, Verdict::Refused) if self.last_good > 0 => Some(Fitness::Outdated),
            (InstancesWord::One, Verdict::Refused) => None,
        }
    }
}

/// The value as JSON.
pub(super) fn encode(value: &impl Serialize) -> String {
    // Plain structures of text and numbers always have one.
    serde_json::to_string(value).unwrap_or_default()
}

/// The value that JSON holds; `None` if it is not one of ours.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_how_fit_a_node_is() {
        let read = |text: &str| decode::<StatusRecord>(text.as_bytes()).unwrap().fitness();
        assert_eq!(read(r#"{"state":"applied","revision":1,"later":true}"#), None);
        assert_eq!(
            read(r#"{"state":"applied","revision":1,"instances":"one"}"#),
            Some(Fitness::Fit)
        );
        let refused = r#"{"state":"refused","revision":2,"instances":"one""#;
        assert_eq!(read(&format!("{refused}}}")), None);
        assert_eq!(read(&format!("{refused},\"last_good\":1}}")), Some(Fitness::Outdated));
        assert!(Fitness::Fit > Fitness::Outdated);
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let node = NodeRecord { host: "h".into(), tcp_port: 4150, ..NodeRecord::default() };
        assert_eq!(decode(encode(&node).as_bytes()), Some(node));
        assert_eq!(decode::<NodeRecord>(b"{}"), None);
    }
}
