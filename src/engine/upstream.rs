//! What the engine asks of whoever stands behind a topic or a channel that is bridged.
//!
//! The engine knows neither lapin nor files. A direct route injects an [`Ingress`] into a topic (its producers are
//! answered by the far side); it offers messages to channels and is told of their ends through its [`Upstream`] (a
//! consumer's FIN becomes the far side's ack).

use std::sync::Arc;
use std::time::Duration;

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

/// A message of an upstream that a consumer has put off (REQ with a delay).
#[derive(Clone, Debug)]
pub struct Postponed {
    /// Which one it is.
    pub origin: Origin,
    /// Its body.
    pub body: Bytes,
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Deliveries so far.
    pub attempts: u16,
    /// How long it is not to be delivered.
    pub delay: Duration,
}

/// Told how the messages that it offered to channels ended. Called without any engine lock held; must not block.
pub trait Upstream: Send + Sync {
    /// The longest delay for which a channel keeps a message that was put off without a word to its upstream.
    fn hold_max(&self) -> Duration {
        Duration::MAX
    }

    /// Consumers have put these off for longer than [`Upstream::hold_max`]. The channel delivers them again when they are
    /// due, unless they are [withdrawn](super::Channel::withdraw) before.
    fn postponed(&self, messages: Vec<Postponed>) {
        drop(messages);
    }

    /// A channel is done with these: consumers finished them, or an operator emptied the channel.
    fn finished(&self, origins: &[Origin]);
    /// A channel was deleted with these unsettled.
    fn returned(&self, origins: &[Origin]);
}

/// Who offered a message, and as what. Two are equal if they name the same delivery of the same upstream.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) origin: Origin,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.origin.fmt(f)
    }
}

impl Source {
    pub(super) fn is_from(&self, upstream: &Arc<dyn Upstream>) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.upstream), Arc::as_ptr(upstream))
    }
}

/// Tells each upstream of its part of `sources`, runs of the same upstream in one call.
pub(super) fn tell(sources: &[Source], how: fn(&dyn Upstream, &[Origin])) {
    for run in sources.chunk_by(|one, next| one.is_from(&next.upstream)) {
        let origins: Vec<Origin> = run.iter().map(|source| source.origin).collect();
        if let Some(first) = run.first() {
            how(&*first.upstream, &origins);
        }
    }
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
    /// How long no consumer is to get it (DPUB); zero if it may at once.
    pub delay: Duration,
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
