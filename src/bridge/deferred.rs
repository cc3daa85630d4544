//! Publishes with a delay (DPUB) to a topic whose publishes go to a broker.
//!
//! The producer has its OK when the broker has the message on a [ladder](super::delay) of queues. From there it comes to
//! the queue `leveret.due.ROUTE.TOPIC`, which a flow of its own brings to the route's target.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::amqp::source::QueueSource;
use super::delay::Ladder;
use super::message::{Message, Outcome, Provenance, Settle};
use super::phase::Phase;
use super::route::{
    AmqpSource, AmqpTarget, DeadLetter, Flow, Mode, Move, PublishOptions, Retry, Route, Source,
    Target,
};
use super::running::Running;
use super::sinks::Shared;
use super::status::Status;
use super::topology::{QueueDeclare, QueueKind, Topology};
use super::transform::Template;

/// Deliveries of the queue of due messages that may be unacknowledged at once.
const PREFETCH: u16 = 1000;

/// The queue in which a route's deferred messages are once they are due. Gateways with the same route share it.
pub(super) fn queue_name(route: &str, topic: &str) -> String {
    format!("leveret.due.{route}.{topic}")
}

fn durable_queue(name: &str) -> Topology {
    Topology { queues: vec![QueueDeclare::new(name, QueueKind::Classic)], ..Topology::default() }
}

/// The queue of this name, as a place to publish to.
pub(super) fn queue_target(broker: &str, queue: &str) -> Option<AmqpTarget> {
    Some(AmqpTarget {
        broker: broker.to_owned(),
        exchange: Template::parse("").ok()?,
        routing_key: Template::parse(queue).ok()?,
        persistent: true,
        content_type: None,
        declare: durable_queue(queue),
    })
}

/// How a route's publishes are put off: what the ladder's sink publishes to, and what brings messages on.
pub(super) struct Deferral {
    broker: String,
    queue: String,
    route: Route,
}

impl Deferral {
    /// For a direct route with a place at a broker; `None` for others, which cannot defer.
    pub(super) fn of(route: &Route, topic: &str, to: &Target) -> Option<Self> {
        let broker = to.places().into_iter().find_map(Target::amqp)?.broker.clone();
        let queue = queue_name(&route.name, topic);
        let dead = format!("{queue}.dead");
        // Names of routes and topics have nothing that a template would begin with.
        let dead = queue_target(&broker, &dead)?;
        let moving = Move {
            from: Source::Amqp(AmqpSource {
                broker: broker.clone(),
                queue: queue.clone(),
                prefetch: PREFETCH,
                consumer_tag: None,
                offset: None,
                declare: durable_queue(&queue),
            }),
            to: to.clone(),
            publish: PublishOptions::default(),
            // The producer has its OK: it is tried for as long as that can help.
            retry: Retry { max_attempts: u16::MAX, ..Retry::default() },
            dead_letter: DeadLetter::To(Box::new(Target::Amqp(dead))),
            ordered: false,
        };
        let flow = Flow::Move(Box::new(moving));
        let route = Route { mode: Mode::Queued, flow, limit: None, ..route.clone() };
        Some(Self { broker, queue, route })
    }

    /// What the ladder's sink publishes to, and with it makes sure of the queue.
    pub(super) fn target(&self) -> Option<AmqpTarget> {
        queue_target(&self.broker, &self.queue)
    }

    /// The queue of due messages.
    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    /// Brings due messages on until the route stops.
    pub(super) async fn run(
        self,
        of: Route,
        shared: Arc<Shared>,
        status: Arc<Status>,
        mut phase: watch::Receiver<Phase>,
    ) {
        let running = Running::start_for(&self.route, &shared, status, of);
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Stopping => break,
                Phase::Running | Phase::Paused => running.pause(now == Phase::Paused),
            }
            if phase.changed().await.is_err() {
                break;
            }
        }
        // As long as the route itself is given.
        running.stop(Duration::MAX).await;
    }
}

/// What a producer's publish needs to be put off.
#[derive(Debug)]
pub(super) struct Defer {
    pub(super) ladder: Ladder,
    /// Says that there is something to bring on.
    pub(super) wanted: watch::Sender<bool>,
}

/// Where a deferred message came from, for its sink.
pub(super) fn provenance(topic: &str, route: &Route) -> Provenance {
    Provenance { topic: topic.to_owned(), channel: String::new(), text: route.from_text() }
}

/// Settles what is put off once more at the queue that it came from.
pub(super) struct Onward(pub(super) Arc<QueueSource>, pub(super) Arc<Status>);

impl Settle for Onward {
    fn settle(&self, outcomes: Vec<(Message, Outcome)>) {
        self.0.put_off(outcomes, &self.1);
    }
}
