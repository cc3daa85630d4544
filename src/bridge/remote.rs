//! NSQ beyond this node, as ends of routes: where the nsqds are, and what is consumed or published there.

use std::fmt;
use std::time::Duration;

use super::transform::Template;
pub use crate::client::{Addresses, ConnectOptions, Secret};

/// Some nsqds, and how they are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteNsq {
    /// Where they are; at least one address.
    pub addresses: Addresses,
    /// Between two questions to nsqlookupds.
    pub lookupd_interval: Duration,
    /// How connections are made.
    pub connect: ConnectOptions,
}

impl fmt::Display for RemoteNsq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Addresses { nsqd, lookupd } = &self.addresses;
        let mut separator = "";
        for (what, addresses) in [("nsqd", nsqd), ("nsqlookupd", lookupd)] {
            if !addresses.is_empty() {
                write!(f, "{separator}{what} {}", addresses.join(", "))?;
                separator = " and ";
            }
        }
        Ok(())
    }
}

/// A channel of other nsqds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSource {
    /// The nsqds.
    pub nsq: RemoteNsq,
    /// The topic.
    pub topic: String,
    /// The channel.
    pub channel: String,
    /// Messages that may be out together, 1 to 100 000.
    pub max_in_flight: u32,
    /// The longest backoff; zero for none.
    pub max_backoff: Duration,
}

impl fmt::Display for RemoteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nsq {}/{} at {}", self.topic, self.channel, self.nsq)
    }
}

/// A topic of other nsqds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTarget {
    /// The nsqds: each message goes to one of them.
    pub nsq: RemoteNsq,
    /// The topic.
    pub topic: Template,
}

impl fmt::Display for RemoteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nsq {} at {}", self.topic, self.nsq)
    }
}

/// Whether what is published to `to` surely comes to `from`: one nsqd of both is named, and the topic is the same.
#[must_use]
pub fn feeds(to: &RemoteTarget, from: &RemoteSource) -> bool {
    let (to_at, from_at) = (&to.nsq.addresses, &from.nsq.addresses);
    let same = |one: &[String], other: &[String]| one.iter().any(|address| other.contains(address));
    to.topic.constant() == Some(&from.topic)
        && (same(&to_at.nsqd, &from_at.nsqd) || same(&to_at.lookupd, &from_at.lookupd))
}
