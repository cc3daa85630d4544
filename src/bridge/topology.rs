//! What has to be on a broker for a route: exchanges, queues and what binds them. Plain values.

use std::collections::BTreeMap;
use std::fmt;

/// Exchanges, queues and bindings to declare, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Whether they are only looked for and never made.
    pub passive: bool,
    /// Exchanges.
    pub exchanges: Vec<ExchangeDeclare>,
    /// Queues.
    pub queues: Vec<QueueDeclare>,
    /// Bindings of queues and exchanges to exchanges; what they bind may be something that is not declared here.
    pub bindings: Vec<Binding>,
}

impl Topology {
    /// Whether there is nothing to declare.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.queues.is_empty() && self.bindings.is_empty()
    }
}

/// An exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeDeclare {
    /// Its name, 1 to 255 bytes, not one of the broker's own (`amq.`).
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Whether it outlives a restart of the broker.
    pub durable: bool,
    /// Whether the broker removes it with its last binding.
    pub auto_delete: bool,
    /// Whether only other exchanges may send to it.
    pub internal: bool,
    /// Such as `alternate-exchange`.
    pub arguments: Arguments,
}

impl ExchangeDeclare {
    /// A durable exchange without arguments.
    #[must_use]
    pub fn new(name: &str, kind: ExchangeKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Arguments::default(),
        }
    }
}

impl fmt::Display for ExchangeDeclare {
    /// What is asked of it, without its name: `topic`, `x-consistent-hash, internal, hash-header=id`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        let marks = [
            (!self.durable, "transient"),
            (self.auto_delete, "auto_delete"),
            (self.internal, "internal"),
        ];
        show(f, marks, &self.arguments)
    }
}

/// How an exchange routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// To queues bound with exactly the routing key.
    Direct,
    /// To every bound queue.
    Fanout,
    /// To queues bound with a pattern of words, `*` and `#`.
    Topic,
    /// By the message's headers.
    Headers,
    /// As a plugin of the broker has it, such as `x-consistent-hash`.
    Plugin(String),
}

impl ExchangeKind {
    /// The name in the protocol and in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::Plugin(name) => name,
        }
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDeclare {
    /// Its name, 1 to 255 bytes, not one of the broker's own (`amq.`).
    pub name: String,
    /// How it is stored.
    pub kind: QueueKind,
    /// Whether it outlives a restart of the broker.
    pub durable: bool,
    /// Whether the broker removes it with its last consumer.
    pub auto_delete: bool,
    /// Such as `x-max-length`; `x-queue-type` is not among them.
    pub arguments: Arguments,
}

impl QueueDeclare {
    /// A durable queue without arguments.
    #[must_use]
    pub fn new(name: &str, kind: QueueKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            durable: true,
            auto_delete: false,
            arguments: Arguments::default(),
        }
    }
}

impl fmt::Display for QueueDeclare {
    /// What is asked of it, without its name: `quorum, x-max-length=1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        let marks = [(!self.durable, "transient"), (self.auto_delete, "auto_delete")];
        show(f, marks, &self.arguments)
    }
}

/// How a queue is stored (`x-queue-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// On one node.
    Classic,
    /// Replicated over the nodes of a cluster.
    Quorum,
    /// A log that every consumer reads from where it likes.
    Stream,
}

impl QueueKind {
    /// The name in the protocol and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}

/// A queue or an exchange that gets messages of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The exchange that the messages come from.
    pub exchange: String,
    /// Where they go.
    pub to: Destination,
    /// The routing key or pattern, 0 to 255 bytes.
    pub routing_key: String,
    /// Such as the headers that a headers exchange asks for.
    pub arguments: Arguments,
}

impl Binding {
    /// Whether it feeds this queue.
    #[must_use]
    pub fn is_to_queue(&self, queue: &str) -> bool {
        matches!(&self.to, Destination::Queue(name) if name == queue)
    }
}

impl fmt::Display for Binding {
    /// `orders to shop by "orders.#"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} by \"{}\"", self.to.name(), self.exchange, self.routing_key)?;
        show(f, [], &self.arguments)
    }
}

/// What is bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A queue of this name.
    Queue(String),
    /// An exchange of this name.
    Exchange(String),
}

impl Destination {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }
}

/// Arguments by name, as the broker takes them.
pub type Arguments = BTreeMap<String, Argument>;

/// The value of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Yes or no.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
    /// Several values.
    List(Vec<Self>),
    /// Values by name.
    Table(Arguments),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::List(values) => {
                let words: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", words.join(" "))
            }
            Self::Table(values) => {
                let words: Vec<String> =
                    values.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "{{{}}}", words.join(" "))
            }
        }
    }
}

fn show<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    marks: [(bool, &str); N],
    arguments: &Arguments,
) -> fmt::Result {
    for (_, mark) in marks.into_iter().filter(|(is_set, _)| *is_set) {
        write!(f, ", {mark}")?;
    }
    for (name, value) in arguments {
        write!(f, ", {name}={value}")?;
    }
    Ok(())
}

/// Where the consumption of a stream begins (`x-stream-offset`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOffset {
    /// With the oldest message that is still there.
    First,
    /// With the last chunk of messages.
    Last,
    /// With the first message that comes after the consumer.
    Next,
    /// With the message of this number, from 0.
    Number(i64),
    /// With messages from this time on, seconds since the Unix epoch.
    Since(u64),
    /// With messages of the last so many seconds.
    Ago(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_shown_in_one_line() {
        let mut queue = QueueDeclare::new("q", QueueKind::Quorum);
        assert_eq!(queue.to_string(), "quorum");
        queue.auto_delete = true;
        queue.arguments.insert("x-max-length".into(), Argument::Integer(5));
        assert_eq!(queue.to_string(), "quorum, auto_delete, x-max-length=5");
        let mut exchange = ExchangeDeclare::new("e", ExchangeKind::Plugin("x-random".into()));
        (exchange.durable, exchange.internal) = (false, true);
        assert_eq!(exchange.to_string(), "x-random, transient, internal");
        let all = Argument::List(vec![Argument::Text("a".into()), Argument::Boolean(true)]);
        let binding = Binding {
            exchange: "e".into(),
            to: Destination::Exchange("f".into()),
            routing_key: "k".into(),
            arguments: Arguments::from([("x".into(), all)]),
        };
        assert_eq!(binding.to_string(), "f to e by \"k\", x=[a true]");
    }
}
