//! What a route is: two endpoints, a mode, a limit, and what happens to messages that cannot be moved.
//!
//! A route that exists is valid by itself: what a mode does not support cannot be written down here, so the code
//! that runs a route matches on [`Flow`] and checks nothing twice. Rules between routes are kept by whoever loads them.

use std::fmt;
use std::time::Duration;

pub use self::limit::{Excess, OnExceed, PerKey, RouteLimit};
use super::remote::{RemoteSource, RemoteTarget};
pub use super::topology::{
    Argument, Arguments, Binding, Destination, ExchangeDeclare, ExchangeKind, QueueDeclare,
    QueueKind, StreamOffset, Topology,
};
use super::transform::{Template, Transform};

mod limit;

/// A named flow of messages from one endpoint to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unique on this node; a valid NSQ channel name that is not ephemeral.
    pub name: String,
    /// As it was asked for; what it comes to is in `flow`.
    pub mode: Mode,
    /// Endpoints, and who answers for messages in between.
    pub flow: Flow,
    /// How fast it may go; `None` if not limited.
    pub limit: Option<RouteLimit>,
    /// Which messages it takes, and what it changes of them.
    pub transform: Transform,
    /// On how many of the nodes that share a registry it runs.
    pub instances: Instances,
}

/// On how many nodes a route runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// On every node that has it.
    #[default]
    All,
    /// On one of them, whichever owns it at the time.
    One,
}

/// Where messages come from and go to, and who answers for them in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// A topic's producers are answered by the target: their PUB, MPUB and DPUB wait until it has them.
    Ingress {
        /// The topic whose publishes go to the target.
        topic: String,
        /// Where they go.
        to: Target,
        /// How the target's answers are waited for.
        publish: PublishOptions,
        /// Whether publishes with a delay (DPUB) are put off at the target's broker; they are refused else.
        defer: bool,
    },
    /// A queue appears as a channel: a consumer's FIN is the broker's ack.
    Channel {
        /// The queue that is consumed.
        from: AmqpSource,
        /// The channel as which it appears.
        to: NsqChannel,
        /// How long a message that a consumer has put off is held here at most; for a longer time it is put off at the
        /// broker. 1 s to 25 min: RabbitMQ takes back what is unacknowledged for half an hour.
        max_hold: Duration,
    },
    /// The source keeps each message until the target has it.
    Move(Box<Move>),
}

/// See [`Flow::Move`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who keeps the messages meanwhile.
    pub from: Source,
    /// Where they go.
    pub to: Target,
    /// How the target's answers are waited for.
    pub publish: PublishOptions,
    /// What happens to messages that the target refuses.
    pub retry: Retry,
    /// What happens to messages that it refuses for good.
    pub dead_letter: DeadLetter,
    /// Whether a message that is tried again keeps its place: one message at a time is on its way then.
    pub ordered: bool,
}

/// [`Flow::Channel`]'s `max_hold` where none is given.
pub const MAX_HOLD: Duration = Duration::from_secs(600);

/// What keeps messages until they have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A channel of this node.
    Nsq(NsqChannel),
    /// A queue of a broker.
    Amqp(AmqpSource),
    /// A channel of other nsqds.
    Remote(Box<RemoteSource>),
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An exchange of a broker.
    Amqp(AmqpTarget),
    /// A topic of this node: a message has arrived when it is written down, or in memory on a node without a data folder.
    Topic {
        /// The topic's name.
        topic: Template,
    },
    /// A topic of other nsqds: a message has arrived when one of them has answered.
    Remote(Box<RemoteTarget>),
    /// Two places that each get every message.
    Tee(Box<Tee>),
    /// Two places that each get a part of the messages.
    Share(Box<Share>),
}

/// See [`Target::Tee`]. A message has arrived when both places have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tee {
    /// One place; not a tee itself.
    pub first: Target,
    /// The other place; not a tee itself.
    pub second: Target,
}

/// See [`Target::Share`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// How much goes to `part`, in hundredths of a per cent, 0 to 10 000.
    pub share: u16,
    /// What decides: messages of one value go one way. The message's id if there is none.
    pub by: Option<Template>,
    /// Where the part goes.
    pub part: Target,
    /// Where all else goes.
    pub rest: Target,
}

impl Target {
    /// The broker's exchange, if it is one.
    #[must_use]
    pub const fn amqp(&self) -> Option<&AmqpTarget> {
        match self {
            Self::Amqp(target) => Some(target),
            Self::Topic { .. } | Self::Remote(_) | Self::Tee(_) | Self::Share(_) => None,
        }
    }

    /// Whether every place can wait by itself with what is published with a delay.
    #[must_use]
    pub fn defers(&self) -> bool {
        self.places().iter().all(|place| matches!(place, Self::Remote(_)))
    }

    /// The places that it comes to in the end: exchanges and topics.
    #[must_use]
    pub fn places(&self) -> Vec<&Self> {
        match self {
            Self::Amqp(_) | Self::Topic { .. } | Self::Remote(_) => vec![self],
            Self::Tee(tee) => [tee.first.places(), tee.second.places()].concat(),
            Self::Share(share) => [share.part.places(), share.rest.places()].concat(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amqp(to) => write!(f, "amqp {}:{}/{}", to.broker, to.exchange, to.routing_key),
            Self::Topic { topic } => write!(f, "nsq {topic}"),
            Self::Remote(to) => to.fmt(f),
            Self::Tee(tee) => write!(f, "both {} and {}", tee.first, tee.second),
            Self::Share(share) => {
                let (whole, rest) = (share.share / 100, share.share % 100);
                write!(f, "{whole}")?;
                if rest > 0 {
                    write!(f, ".{rest:02}")?;
                }
                write!(f, "% {}, else {}", share.part, share.rest)
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nsq(from) => write!(f, "nsq {from}"),
            Self::Amqp(from) => from.fmt(f),
            Self::Remote(from) => from.fmt(f),
        }
    }
}

/// Who keeps a message between its origin and its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody: the origin is answered when the destination has the message.
    Direct,
    /// The local engine, until the destination has the message.
    Queued,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Queued => "queued",
        })
    }
}

impl Route {
    /// The origin in words, such as `nsq clicks/archive` or `amqp default:invoices`.
    #[must_use]
    pub fn from_text(&self) -> String {
        match &self.flow {
            Flow::Ingress { topic, .. } => format!("nsq {topic}"),
            Flow::Channel { from, .. } => from.to_string(),
            Flow::Move(moving) => moving.from.to_string(),
        }
    }

    /// The destination in words, such as `amqp default:shop/orders.{{ body.region }}` or `nsq invoices/billing`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.flow {
            Flow::Ingress { to, .. } => to.to_string(),
            Flow::Channel { to, .. } => format!("nsq {to}"),
            Flow::Move(moving) => moving.to.to_string(),
        }
    }

    /// The dead-letter rule, where the flow has one.
    #[must_use]
    pub fn dead_letter(&self) -> Option<&DeadLetter> {
        match &self.flow {
            Flow::Move(moving) => Some(&moving.dead_letter),
            Flow::Ingress { .. } | Flow::Channel { .. } => None,
        }
    }

    /// The destination, unless it is a channel.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        match &self.flow {
            Flow::Ingress { to, .. } => Some(to),
            Flow::Move(moving) => Some(&moving.to),
            Flow::Channel { .. } => None,
        }
    }

    /// The broker's places that the route publishes to: its destination first, then its dead letters.
    pub fn amqp_targets(&self) -> impl Iterator<Item = &AmqpTarget> {
        let dead = self.dead_letter().and_then(|dead_letter| match dead_letter {
            DeadLetter::To(target) => Some(&**target),
            DeadLetter::Stop | DeadLetter::Drop => None,
        });
        let targets = self.target().into_iter().chain(dead);
        targets.flat_map(Target::places).filter_map(Target::amqp)
    }

    /// The channel of other nsqds that the route consumes, if it does.
    #[must_use]
    pub fn remote_source(&self) -> Option<&RemoteSource> {
        match &self.flow {
            Flow::Move(moving) => match &moving.from {
                Source::Remote(from) => Some(from),
                Source::Nsq(_) | Source::Amqp(_) => None,
            },
            Flow::Ingress { .. } | Flow::Channel { .. } => None,
        }
    }

    /// The queue that the route consumes, if it comes from a broker.
    #[must_use]
    pub fn source(&self) -> Option<&AmqpSource> {
        match &self.flow {
            Flow::Channel { from, .. } => Some(from),
            Flow::Move(moving) => match &moving.from {
                Source::Amqp(from) => Some(from),
                Source::Nsq(_) | Source::Remote(_) => None,
            },
            Flow::Ingress { .. } => None,
        }
    }
}

/// A channel of a topic of this node. Both names are valid NSQ names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NsqChannel {
    /// The topic.
    pub topic: String,
    /// The channel.
    pub channel: String,
}

impl fmt::Display for NsqChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.channel)
    }
}

/// A queue to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpSource {
    /// The broker's name in the node's configuration.
    pub broker: String,
    /// The queue, 1 to 255 bytes.
    pub queue: String,
    /// Deliveries that may be unacknowledged at once, 1 to 65535.
    pub prefetch: u16,
    /// The name of the consumer on the broker's pages, 1 to 255 bytes; the broker chooses one if `None`.
    pub consumer_tag: Option<String>,
    /// Where to begin, if the queue is a stream; `None` if it is none, or if the broker is to choose (`next`).
    pub offset: Option<StreamOffset>,
    /// What is declared before the queue is consumed; empty if everything exists already.
    pub declare: Topology,
}

impl AmqpSource {
    /// Whether the queue is known not to be a stream, since it is declared as something else: whoever consumes it can
    /// then leave and come back without missing anything.
    #[must_use]
    pub fn is_no_stream(&self) -> bool {
        let declared = self.declare.queues.iter().find(|queue| queue.name == self.queue);
        !self.declare.passive && declared.is_some_and(|queue| queue.kind != QueueKind::Stream)
    }
}

impl fmt::Display for AmqpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "amqp {}:{}", self.broker, self.queue)
    }
}

/// An exchange to publish to. Always with `mandatory` and confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpTarget {
    /// The broker's name in the node's configuration.
    pub broker: String,
    /// The exchange; empty for the default exchange, which routes to the queue named by the routing key.
    pub exchange: Template,
    /// The routing key, 0 to 255 bytes.
    pub routing_key: Template,
    /// Whether the broker keeps messages over a restart (delivery mode 2).
    pub persistent: bool,
    /// The `content_type` property, 1 to 255 bytes; none is sent if `None`.
    pub content_type: Option<String>,
    /// What is declared before anything is published; empty if everything exists already.
    pub declare: Topology,
}

/// How a target's answers, such as a broker's confirms, are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishOptions {
    /// How long a message may wait for its answer, reconnections included; 10 ms to 10 min.
    pub timeout: Duration,
    /// How many messages may wait for answers at once.
    pub window: Window,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), window: Window::default() }
    }
}

/// A bound on what is unconfirmed. One message always fits, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Messages, 1 to 100 000.
    pub messages: u32,
    /// Bytes of bodies, 1 KiB to 1 GiB.
    pub bytes: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { messages: 1000, bytes: 16 << 20 }
    }
}

/// How often and how fast a refused message is tried again. A broker that is away does not count as a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts before the message is a dead letter, the first one included; 1 to 65535.
    pub max_attempts: u16,
    /// Delay before the second attempt; 1 ms to 1 h.
    pub backoff_initial: Duration,
    /// Longest delay; it doubles from attempt to attempt up to here. Not below `backoff_initial`, at most 1 h.
    pub backoff_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 8,
            backoff_initial: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// Delay before the next attempt, after `attempts` that failed (0 counts as 1). Without jitter.
    #[must_use]
    pub fn delay(&self, attempts: u16) -> Duration {
        let doublings = u32::from(attempts.saturating_sub(1)).min(31);
        self.backoff_initial.saturating_mul(1 << doublings).min(self.backoff_max)
    }
}

/// What happens to a message that can never reach its destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeadLetter {
    /// The route stops at it and says so.
    #[default]
    Stop,
    /// It is dropped and counted.
    Drop,
    /// It goes to another place, whose names are constants.
    To(Box<Target>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_bound() {
        let retry = Retry::default();
        let delays: Vec<_> = [0, 1, 2, 3, 7, 8, 9, u16::MAX]
            .map(|attempts| retry.delay(attempts).as_millis())
            .into();
        assert_eq!(delays, [500, 500, 1000, 2000, 32_000, 60_000, 60_000, 60_000]);
    }

    #[test]
    fn a_route_may_go_to_any_task() {
        fn is_send<T: Send + Sync>() {}
        is_send::<Route>();
    }
}
