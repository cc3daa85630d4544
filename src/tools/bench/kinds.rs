//! The kinds of routes that a node is measured with: what each is called, how it is configured, and what it is held
//! against.

/// Which way a route goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    NsqToAmqp,
    AmqpToNsq,
    AmqpToAmqp,
    NsqToNsq,
    /// From a topic of another node.
    RemoteToAmqp,
    /// To a topic of another node.
    AmqpToRemote,
}

/// A row of the ceiling's part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ceiling {
    Publish,
    Consume,
    /// A queue that is moved into another one.
    Forward,
}

impl Ceiling {
    pub(super) const ALL: [Self; 3] = [Self::Publish, Self::Consume, Self::Forward];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Publish => "raw frames, publish",
            Self::Consume => "raw frames, consume",
            Self::Forward => "raw frames, queue to queue",
        }
    }
}

/// A route to be measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Of the route, and of the topics and queues that belong to it.
    pub(super) name: &'static str,
    pub(super) ends: Ends,
    pub(super) is_direct: bool,
    /// With a filter and a template that look into the body.
    pub(super) is_shaped: bool,
}

const fn kind(name: &'static str, ends: Ends, is_direct: bool, is_shaped: bool) -> Kind {
    Kind { name, ends, is_direct, is_shaped }
}

/// All that there are, in the table's order.
pub(super) const KINDS: [Kind; 16] = [
    kind("publish-direct", Ends::NsqToAmqp, true, false),
    kind("publish-direct-shaped", Ends::NsqToAmqp, true, true),
    kind("publish-queued", Ends::NsqToAmqp, false, false),
    kind("publish-queued-shaped", Ends::NsqToAmqp, false, true),
    kind("deliver-direct", Ends::AmqpToNsq, true, false),
    kind("deliver-direct-shaped", Ends::AmqpToNsq, true, true),
    kind("deliver-queued", Ends::AmqpToNsq, false, false),
    kind("deliver-queued-shaped", Ends::AmqpToNsq, false, true),
    kind("queues", Ends::AmqpToAmqp, false, false),
    kind("queues-shaped", Ends::AmqpToAmqp, false, true),
    kind("topics", Ends::NsqToNsq, false, false),
    kind("topics-shaped", Ends::NsqToNsq, false, true),
    kind("from-remote", Ends::RemoteToAmqp, false, false),
    kind("from-remote-shaped", Ends::RemoteToAmqp, false, true),
    kind("to-remote", Ends::AmqpToRemote, false, false),
    kind("to-remote-shaped", Ends::AmqpToRemote, false, true),
];

/// The channel of every topic that is consumed.
pub(super) const CHANNEL: &str = "bench";

impl Kind {
    pub(super) fn title(self) -> String {
        let ends = match self.ends {
            Ends::NsqToAmqp => "NSQ to AMQP",
            Ends::AmqpToNsq => "AMQP to NSQ",
            Ends::AmqpToAmqp => "AMQP to AMQP",
            Ends::NsqToNsq => "NSQ to NSQ",
            Ends::RemoteToAmqp => "other nsqd to AMQP",
            Ends::AmqpToRemote => "AMQP to other nsqd",
        };
        let mode = match self.ends {
            Ends::NsqToAmqp | Ends::AmqpToNsq if self.is_direct => ", direct",
            Ends::NsqToAmqp | Ends::AmqpToNsq => ", queued",
            _ => "",
        };
        format!("{ends}{mode}{}", if self.is_shaped { ", filter and template" } else { "" })
    }

    /// What of the broker it is held against; nothing if no broker takes part.
    pub(super) const fn against(self) -> Option<Ceiling> {
        match self.ends {
            Ends::NsqToAmqp | Ends::RemoteToAmqp => Some(Ceiling::Publish),
            Ends::AmqpToNsq | Ends::AmqpToRemote => Some(Ceiling::Consume),
            Ends::AmqpToAmqp => Some(Ceiling::Forward),
            Ends::NsqToNsq => None,
        }
    }

    /// Whether it takes what is there without a consumer, and is therefore held back until all is there.
    pub(super) const fn is_eager(self) -> bool {
        match self.ends {
            Ends::NsqToAmqp => false,
            Ends::AmqpToNsq => !self.is_direct,
            _ => true,
        }
    }

    /// The queue that it takes from.
    pub(super) fn source_queue(self) -> String {
        format!("leveret-bench-{}-in", self.name)
    }

    /// The queue or topic that it ends in.
    pub(super) fn target(self) -> String {
        self.target_text("order")
    }

    /// The same with a template, which a document of [`super::body`] makes [`Kind::target`] of.
    fn target_text(self, kind: &str) -> String {
        match self.ends {
            // A direct route's channel is one for ever.
            Ends::AmqpToNsq if self.is_direct => self.name.to_owned(),
            _ if self.is_shaped => format!("leveret-bench-{}-out-{kind}", self.name),
            _ => format!("leveret-bench-{}-out", self.name),
        }
    }

    /// Its entry in the route file. `remote` is the other node's address.
    pub(super) fn yaml(self, remote: &str, window: Option<u32>) -> String {
        let Self { name, is_direct, .. } = self;
        let target = self.target_text("{{ body.kind }}");
        let (queue, declared) = (self.source_queue(), self.target());
        let topic = if is_direct {
            format!("nsq: {{ topic: {name} }}")
        } else {
            format!("nsq: {{ topic: {name}, channel: {CHANNEL} }}")
        };
        let consumed =
            format!("amqp: {{ queue: {queue}, prefetch: 2000, declare: {{ type: classic }} }}");
        let published = format!(
            "amqp: {{ exchange: \"\", routing_key: \"{target}\", declare: {{ queues: [{{ name: {declared} }}] }} }}"
        );
        let written = if is_direct {
            format!("nsq: {{ topic: \"{target}\", channel: {CHANNEL} }}")
        } else {
            format!("nsq: {{ topic: \"{target}\" }}")
        };
        let (from, to) = match self.ends {
            Ends::NsqToAmqp => (topic, published),
            Ends::AmqpToNsq => (consumed, written),
            Ends::AmqpToAmqp => (consumed, published),
            Ends::NsqToNsq => (topic, written),
            Ends::RemoteToAmqp => (
                format!(
                    "nsq: {{ nsqd: [\"{remote}\"], topic: {name}, channel: {CHANNEL}, max_in_flight: 2000 }}"
                ),
                published,
            ),
            Ends::AmqpToRemote => {
                (consumed, format!("nsq: {{ nsqd: [\"{remote}\"], topic: \"{target}\" }}"))
            }
        };
        let mode = if is_direct { "direct" } else { "queued" };
        let when = if self.is_shaped {
            "    when: body.kind == 'order' and body.amount > 100\n"
        } else {
            ""
        };
        let window = window
            .filter(|_| self.against() == Some(Ceiling::Publish))
            .map(|messages| format!("    window: {{ messages: {messages} }}\n"))
            .unwrap_or_default();
        format!(
            "  - name: {name}\n    from: {{ {from} }}\n    to: {{ {to} }}\n    mode: {mode}\n{when}{window}"
        )
    }
}
