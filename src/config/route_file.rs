//! Reads a file of routes.

use super::endpoints::{self, End, NsqEnd};
use super::error::{Report, Spot};
use super::keys::endpoints::{SOURCE, TARGET};
use super::keys::routes::{ROOT, ROUTE};
use super::route_options::{self, Options};
use super::section::{Field, Section};
use crate::bridge::route::{
    AmqpSource, AmqpTarget, DeadLetter, Flow, Mode, NsqChannel, OnExceed, Route,
};
use crate::names;

/// A route, and the places that rules between routes speak of.
#[derive(Debug)]
pub(super) struct PlacedRoute {
    pub(super) route: Route,
    pub(super) name: Spot,
    pub(super) from: Spot,
    pub(super) to: Spot,
    /// Every broker that the route names, where it names it.
    pub(super) brokers: Vec<(String, Spot)>,
    /// Where `limit.burst_bytes` is given.
    pub(super) burst_bytes: Option<Spot>,
}

/// Reads all routes of one file; those that are wrong are reported and left out.
pub(super) fn read(root: &Field<'_>, report: &mut Report) -> Vec<PlacedRoute> {
    let Some(section) = Section::open(root, ROOT, report) else {
        return Vec::new();
    };
    let Some(field) = section.require("routes", "[]", report) else {
        return Vec::new();
    };
    if field.node.is_null() {
        report.warn(&field.spot, "there are no routes in this file");
        return Vec::new();
    }
    field
        .list("a list of routes", report)
        .unwrap_or_default()
        .iter()
        .filter_map(|field| route(field, report))
        .collect()
}

fn route(field: &Field<'_>, report: &mut Report) -> Option<PlacedRoute> {
    let section = Section::open(field, ROUTE, report)?;
    let mut brokers = Vec::new();
    let name = section
        .require("name", "orders-to-rabbitmq", report)
        .and_then(|field| route_name(&field, report));
    let from_field = section.require("from", "{ nsq: { topic: orders } }", report);
    let from = from_field.as_ref().and_then(|field| {
        endpoints::end(field, SOURCE, report, |field, report| {
            endpoints::source(field, &mut brokers, report)
        })
    });
    let example = "{ amqp: { exchange: shop, routing_key: orders } }";
    let to_field = section.require("to", example, report);
    let to = to_field.as_ref().and_then(|field| {
        endpoints::end(field, TARGET, report, |field, report| {
            endpoints::target(field, &mut brokers, report)
        })
    });
    let modes = [("direct", Mode::Direct), ("queued", Mode::Queued)];
    let mode =
        section.require("mode", "direct", report).and_then(|field| field.choice(&modes, report));
    let limit = section.get("limit").and_then(|field| route_options::limit(&field, report));
    let options = Options::read(&section, &mut brokers, report);
    let draft = Draft { section: &section, name: name?, options };
    let flow = match (from?, to?) {
        (End::Nsq(from), End::Amqp(to)) => draft.publish(from, to, mode?, report),
        (End::Amqp(from), End::Nsq(to)) => draft.deliver(from, to, mode?, report),
        (End::Nsq(from), End::Nsq(to)) => draft.nsq_to_nsq(&from, &to, report),
        (End::Amqp(from), End::Amqp(to)) => draft.amqp_to_amqp(&from, &to, report),
    }?;
    let rejects = limit.is_some_and(|limit| limit.on_exceed == OnExceed::Reject);
    if rejects && !matches!(flow, Flow::PublishDirect { .. }) {
        let spot = nested(&section, "limit", "on_exceed");
        let message =
            "only a direct route from nsq to amqp has a producer to tell; use on_exceed: wait";
        report.error(&spot.unwrap_or_else(|| section.spot.clone()), message);
    }
    let name_spot = section.get("name")?.spot;
    Some(PlacedRoute {
        name: name_spot,
        from: from_field?.spot,
        to: to_field?.spot,
        brokers,
        burst_bytes: nested(&section, "limit", "burst_bytes"),
        route: Route { name: draft.name, flow, limit },
    })
}

/// The place of `section.outer.inner`, if it is given.
fn nested(section: &Section<'_>, outer: &str, inner: &str) -> Option<Spot> {
    let field = section.get(outer)?;
    let below = Section::open_any(&field, &mut Report::default())?;
    below.get(inner).map(|field| field.spot)
}

/// A route whose endpoints are about to be joined.
struct Draft<'a, 't> {
    section: &'a Section<'t>,
    name: String,
    options: Options,
}

impl Draft<'_, '_> {
    /// NSQ → RabbitMQ.
    fn publish(
        &self,
        from: NsqEnd,
        to: AmqpTarget,
        mode: Mode,
        report: &mut Report,
    ) -> Option<Flow> {
        let publish = self.options.publish;
        if mode == Mode::Direct {
            let message = "only queued routes have it: on a direct one the producer gets the error and tries again";
            self.section.refuse(&["retry", "dead_letter"], message, report);
            if let Some((_, spot)) = &from.channel {
                let message = "a direct route takes what producers send to the topic, before any channel; leave it out, \
                               or use mode: queued";
                report.error(spot, message);
                return None;
            }
            let topic = from.topic;
            return Some(Flow::PublishDirect { topic, to, publish });
        }
        let channel = match from.channel {
            Some((channel, spot)) if names::is_ephemeral(&channel) => {
                let message =
                    "an #ephemeral channel drops what it cannot hold; a queued route must not";
                report.error(&spot, message);
                return None;
            }
            Some((channel, _)) => channel,
            None => self.name.clone(),
        };
        if names::is_ephemeral(&from.topic) {
            let message = "an #ephemeral topic keeps its messages in memory only";
            report.warn(&from.spot, message);
        }
        let dead_letter = self.options.dead_letter.clone();
        if matches!(&dead_letter, DeadLetter::Nsq { topic } if *topic == from.topic) {
            self.dead_letter_returns(report);
        }
        Some(Flow::PublishQueued {
            from: NsqChannel { topic: from.topic, channel },
            to,
            publish,
            retry: self.options.retry,
            dead_letter,
        })
    }

    /// RabbitMQ → NSQ.
    fn deliver(
        &self,
        from: AmqpSource,
        to: NsqEnd,
        mode: Mode,
        report: &mut Report,
    ) -> Option<Flow> {
        let message =
            "nothing waits for confirms here; what is in flight is bounded by from.amqp.prefetch";
        self.section.refuse(&["window"], message, report);
        let dead_letter = self.options.dead_letter.clone();
        if !matches!(dead_letter, DeadLetter::Amqp(_)) {
            let message = "nothing is published to a broker on this route";
            self.section.refuse(&["publish_timeout"], message, report);
        }
        if mode == Mode::Queued {
            let message =
                "nothing is refused on this route: what a consumer requeues is delivered again";
            self.section.refuse(&["retry"], message, report);
            if matches!(dead_letter, DeadLetter::Nsq { .. }) {
                let message = "a delivery that cannot be an NSQ message cannot be one of another topic either: use amqp, drop or stop";
                self.section.refuse(&["dead_letter"], message, report);
            }
        }
        if mode == Mode::Direct {
            let message = "only queued routes have it: on a direct one the consumers decide what to requeue and what to \
                           give up";
            self.section.refuse(&["retry", "dead_letter"], message, report);
            let Some((channel, _)) = to.channel else {
                let message = "the key \"channel\" is missing: a direct route appears as a channel of the topic";
                report.error(&to.spot, message);
                return None;
            };
            let topic = to.topic;
            let to = NsqChannel { topic, channel };
            return Some(Flow::DeliverDirect { from, to });
        }
        if let Some((_, spot)) = &to.channel {
            let message = "a queued route writes to the topic, and with it to all its channels; leave it out, or use \
                           mode: direct";
            report.error(spot, message);
        }
        if names::is_ephemeral(&to.topic) {
            let message = "an #ephemeral topic keeps its messages in memory only";
            report.warn(&to.spot, message);
        }
        if let DeadLetter::Amqp(target) = &dead_letter
            && publishes_to_queue(target, &from.broker, &from.queue)
        {
            self.dead_letter_returns(report);
        }
        Some(Flow::DeliverQueued {
            from,
            topic: to.topic,
            dead_letter,
            publish: self.options.publish,
        })
    }

    fn dead_letter_returns(&self, report: &mut Report) {
        let message = "dead letters would come back to this route for ever";
        self.section.refuse(&["dead_letter"], message, report);
    }

    fn nsq_to_nsq(&self, from: &NsqEnd, to: &NsqEnd, report: &mut Report) -> Option<Flow> {
        let message = if from.topic == to.topic {
            format!("the route leads from the topic \"{}\" to itself", from.topic)
        } else {
            "a route leads from nsq to amqp or from amqp to nsq".to_owned()
        };
        report.error(&to.spot, message);
        None
    }

    fn amqp_to_amqp(
        &self,
        from: &AmqpSource,
        to: &AmqpTarget,
        report: &mut Report,
    ) -> Option<Flow> {
        let spot = self.section.get("to").map(|field| field.spot);
        let message = if publishes_to_queue(to, &from.broker, &from.queue) {
            format!("the route leads from the queue \"{}\" to itself", from.queue)
        } else {
            "a route leads from nsq to amqp or from amqp to nsq".to_owned()
        };
        report.error(spot.as_ref().unwrap_or(&self.section.spot), message);
        None
    }
}

/// Whether the target says itself that it feeds `queue`: by the default exchange, or by what it declares.
fn publishes_to_queue(target: &AmqpTarget, broker: &str, queue: &str) -> bool {
    let by_name =
        target.exchange.constant() == Some("") && target.routing_key.constant() == Some(queue);
    let declared = target.declare.bindings.iter().any(|binding| binding.queue == queue);
    target.broker == broker && (by_name || declared)
}

/// A name that also serves as channel, as label of metrics and in addresses of the API.
fn route_name(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let name = field.text(report)?;
    if names::is_valid_name(name.as_bytes()) && !names::is_ephemeral(&name) {
        return Some(name);
    }
    let message =
        format!("\"{name}\" is not a route's name: 1 to 64 of the characters . a-z A-Z 0-9 _ -");
    report.error(&field.spot, message);
    None
}
