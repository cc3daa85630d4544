//! What a topic and its channels are at a broker: exchanges, queues, bindings, and the flows that move messages. Pure.
//!
//! A topic is a durable fanout exchange. What it cannot bring to any queue goes to its alternate exchange, and from there
//! to the topic's own queue: so a topic without channels keeps its messages, as nsqd has it. A channel is a queue that is
//! bound to the topic's exchange.

use std::time::Duration;

use super::names;
use super::options::StoreOptions;
use crate::bridge::route::{
    AmqpSource, AmqpTarget, Argument, Arguments, Binding, DeadLetter, Destination, ExchangeDeclare,
    ExchangeKind, Flow, Instances, Mode, Move, NsqChannel, PublishOptions, QueueDeclare, QueueKind,
    Retry, Route, Source, Target, Topology,
};
use crate::bridge::transform::{Template, Transform};
use crate::names::is_ephemeral;

/// How long a queue of something ephemeral outlives its last consumer, should nobody be left to delete it.
const EPHEMERAL_EXPIRES: Duration = Duration::from_secs(300);
/// Messages that an ephemeral queue keeps, as nsqd's memory queue by default; the oldest ones make room.
const EPHEMERAL_MESSAGES: i64 = 10_000;

fn integer(value: u128) -> Argument {
    Argument::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A queue of a topic: `is_short_lived` if it is to go when nobody uses it.
fn declare_queue(name: &str, options: &StoreOptions, is_short_lived: bool) -> QueueDeclare {
    if is_short_lived {
        let mut queue = QueueDeclare::new(name, QueueKind::Classic);
        queue.arguments.extend([
            ("x-expires".to_owned(), integer(EPHEMERAL_EXPIRES.as_millis())),
            ("x-max-length".to_owned(), Argument::Integer(EPHEMERAL_MESSAGES)),
        ]);
        return queue;
    }
    let mut queue = QueueDeclare::new(name, options.queue);
    if options.queue == QueueKind::Quorum {
        let limit = Argument::Integer(options.delivery_limit.into());
        queue.arguments.insert("x-delivery-limit".to_owned(), limit);
    }
    queue
}

fn bind(exchange: &str, queue: &str, key: &str) -> Binding {
    Binding {
        exchange: exchange.to_owned(),
        to: Destination::Queue(queue.to_owned()),
        routing_key: key.to_owned(),
        arguments: Arguments::default(),
    }
}

/// All that a topic is before it has a channel.
pub(super) fn topic(topic: &str, options: &StoreOptions) -> Topology {
    let mut exchange = ExchangeDeclare::new(&names::exchange(topic), ExchangeKind::Fanout);
    let backlog = Argument::Text(names::BACKLOG.to_owned());
    exchange.arguments.insert("alternate-exchange".to_owned(), backlog);
    let queue = names::backlog(topic);
    Topology {
        passive: false,
        exchanges: vec![ExchangeDeclare::new(names::BACKLOG, ExchangeKind::Direct), exchange],
        bindings: vec![bind(names::BACKLOG, &queue, topic)],
        queues: vec![declare_queue(&queue, options, is_ephemeral(topic))],
    }
}

/// A channel, and the topic that it is of.
pub(super) fn channel(name: &str, channel: &str, options: &StoreOptions) -> Topology {
    let mut topology = topic(name, options);
    let queue = names::queue(name, channel);
    let is_short_lived = is_ephemeral(name) || is_ephemeral(channel);
    topology.queues.push(declare_queue(&queue, options, is_short_lived));
    topology.bindings.push(bind(&names::exchange(name), &queue, ""));
    topology
}

fn route(name: String, mode: Mode, flow: Flow) -> Route {
    let (transform, instances) = (Transform::default(), Instances::All);
    Route { name, mode, flow, limit: None, transform, instances }
}

/// An exchange as a place to publish to. `None` never comes: a name of NSQ is no template.
fn target(exchange: &str, topic: &str, options: &StoreOptions) -> Option<AmqpTarget> {
    Some(AmqpTarget {
        broker: options.broker.clone(),
        exchange: Template::parse(exchange).ok()?,
        // A fanout exchange does not look at it; the alternate one does.
        routing_key: Template::parse(topic).ok()?,
        persistent: true,
        content_type: None,
        declare: self::topic(topic, options),
    })
}

/// What is published to a topic goes to its exchange, or to its own queue while it `is_paused`.
pub(super) fn publishing(topic: &str, options: &StoreOptions, is_paused: bool) -> Option<Route> {
    let exchange = if is_paused { names::BACKLOG.to_owned() } else { names::exchange(topic) };
    let flow = Flow::Ingress {
        topic: topic.to_owned(),
        to: Target::Amqp(target(&exchange, topic, options)?),
        publish: options.publish,
        defer: true,
    };
    Some(route(names::flow(topic, None), Mode::Direct, flow))
}

/// A channel's queue is delivered to the channel's consumers.
pub(super) fn delivering(topic: &str, channel: &str, options: &StoreOptions) -> Route {
    let flow = Flow::Channel {
        from: AmqpSource {
            broker: options.broker.clone(),
            queue: names::queue(topic, channel),
            prefetch: options.prefetch,
            consumer_tag: None,
            offset: None,
            declare: self::channel(topic, channel, options),
        },
        to: NsqChannel { topic: topic.to_owned(), channel: channel.to_owned() },
        max_hold: options.max_hold,
    };
    route(names::flow(topic, Some(channel)), Mode::Direct, flow)
}

/// What a topic's own queue has is published once more, now that there are channels.
pub(super) fn catching_up(topic: &str, options: &StoreOptions) -> Option<Route> {
    let moving = Move {
        from: Source::Amqp(AmqpSource {
            broker: options.broker.clone(),
            queue: names::backlog(topic),
            prefetch: options.prefetch,
            consumer_tag: None,
            offset: None,
            declare: self::topic(topic, options),
        }),
        to: Target::Amqp(target(&names::exchange(topic), topic, options)?),
        publish: PublishOptions::default(),
        // Its producers have their OK: it is tried for as long as that can help.
        retry: Retry { max_attempts: u16::MAX, ..Retry::default() },
        dead_letter: DeadLetter::Stop,
        ordered: true,
    };
    // Not the name of a channel.
    let name = names::flow(topic, Some(":backlog"));
    Some(route(name, Mode::Queued, Flow::Move(Box::new(moving))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_queue_bound_to_its_topics_exchange() {
        let options = StoreOptions::default();
        let topology = channel("orders", "billing", &options);
        let queues: Vec<&str> = topology.queues.iter().map(|queue| &*queue.name).collect();
        assert_eq!(queues, ["nsq.orders", "nsq.orders:billing"]);
        assert_eq!(topology.queues[1].to_string(), "quorum, x-delivery-limit=65535");
        let exchange = &topology.exchanges[1];
        assert_eq!((&*exchange.name, exchange.durable), ("nsq.orders", true));
        assert_eq!(exchange.to_string(), "fanout, alternate-exchange=nsq:backlog");
        let last = topology.bindings.last().unwrap();
        assert_eq!(last.to_string(), "nsq.orders:billing to nsq.orders by \"\"");
    }

    #[test]
    fn what_is_ephemeral_does_not_stay_at_the_broker() {
        let options = StoreOptions::default();
        let kinds = |topic: &str, name: &str| -> Vec<String> {
            channel(topic, name, &options).queues.iter().map(ToString::to_string).collect()
        };
        let short = "classic, x-expires=300000, x-max-length=10000";
        let quorum = "quorum, x-delivery-limit=65535";
        assert_eq!(kinds("t", "c#ephemeral"), [quorum, short]);
        assert_eq!(kinds("t#ephemeral", "c"), [short, short]);
    }

    #[test]
    fn a_paused_topic_publishes_to_its_own_queue() {
        let options = StoreOptions::default();
        let to = |is_paused| {
            let route = publishing("orders", &options, is_paused).unwrap();
            (route.to_text(), route.name)
        };
        assert_eq!(to(false).0, "amqp default:nsq.orders/orders");
        assert_eq!(to(true).0, "amqp default:nsq:backlog/orders");
        assert_eq!(to(true).1, "store:orders");
    }
}
