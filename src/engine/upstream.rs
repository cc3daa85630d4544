//! What the engine asks of whoever stands behind a topic or a channel that is bridged.
//!
//! The engine knows neither lapin nor files. A direct route injects an [`Ingress`] into a topic (its producers are
//! answered by the far side) and an [`Upstream`] into a channel (its consumers' FINs become the far side's acks).

use bytes::Bytes;

use super::ticket::{PublishError, Ticket};
use crate::names::MessageId;

/// Where a message that did not come from the topic's log came from: the bridge's own words, opaque to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Which life of the connection; what an earlier life delivered can no longer be settled.
    pub generation: u64,
    /// The delivery within that life.
    pub tag: u64,
}

/// Told how the messages that it offered to a channel ended. Called without any engine lock held; must not block.
pub trait Upstream: Send + Sync {
    /// Consumers finished these, or an operator emptied the channel: they are done with.
    fn finished(&self, origins: &[Origin]);
    /// The channel was deleted with these unsettled: they are the upstream's again.
    fn returned(&self, origins: &[Origin]);
    /// The number of consumers changed.
    fn consumers_changed(&self, consumers: usize);
}

/// A message on its way out of the node.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// The id that an NSQ consumer would have seen.
    pub id: MessageId,
    /// Publish time, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// The message's body.
    pub body: Bytes,
}

/// Takes the messages published to a topic instead of its log. Must not block.
pub trait Ingress: Send + Sync {
    /// Takes a batch whole, or refuses it whole. The ticket is resolved when the far side has taken responsibility for
    /// all of it, or with the first error.
    ///
    /// # Errors
    /// What the producer is told, if the batch is refused at once.
    fn offer(&self, batch: Vec<Outbound>, ticket: Ticket) -> Result<(), PublishError>;

    /// Whether a producer should stop reading further messages until what it has published is answered.
    fn is_congested(&self) -> bool;
}
