//! Reads a file of routes.

use std::time::Duration;

use super::endpoints::{self, End, NsqEnd};
use super::error::{Report, Spot};
use super::keys::endpoints::SOURCE;
use super::keys::routes::{ROOT, ROUTE};
use super::limit_file;
use super::remote_nsq;
use super::route_options::Options;
use super::section::{Field, Section};
use super::split_file::{self, To};
use super::transform_file;
use crate::bridge::remote;
use crate::bridge::route::{
    self, AmqpSource, AmqpTarget, DeadLetter, Flow, Instances, Mode, Move, NsqChannel, Route,
    Share, Source, Target, Tee,
};
use crate::bridge::transform::{Template, Transform};
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
        .flatten()
        .collect()
}

/// Reads a file of routes, or the keys of one route alone.
pub(super) fn read_any(root: &Field<'_>, report: &mut Report) -> Vec<PlacedRoute> {
    let is_file = Section::open_any(root, &mut Report::default())
        .is_some_and(|section| section.get("routes").is_some());
    if is_file { read(root, report) } else { route(root, report).unwrap_or_default() }
}

/// Reads one route, and the one that it makes of a tee whose secondary place is queued.
fn route(field: &Field<'_>, report: &mut Report) -> Option<Vec<PlacedRoute>> {
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
    let to = to_field.as_ref().and_then(|field| split_file::read(field, &mut brokers, report));
    let modes = [("direct", Mode::Direct), ("queued", Mode::Queued)];
    let mode =
        section.require("mode", "direct", report).and_then(|field| field.choice(&modes, report));
    let limit = section.get("limit").and_then(|field| limit_file::read(&field, report));
    let options = Options::read(&section, &mut brokers, report);
    let transform = transform_file::read(&section, report);
    let mut draft = Draft { section: &section, name: name?, options, secondary: None };
    let mode = mode?;
    let flow = match (from?, to?) {
        (End::Amqp(from), To::One(End::Nsq(to))) if mode == Mode::Direct && to.remote.is_none() => {
            draft.channel(from, to, report)
        }
        (End::Nsq(from), to) if mode == Mode::Direct && from.remote.is_none() => {
            draft.ingress(&from, to, report)
        }
        (from, to) => draft.moving(from, to, report),
    }?;
    if !matches!(flow, Flow::Ingress { .. }) {
        let message =
            "only a direct route from nsq has it: what a channel of this node puts off waits here";
        section.refuse(&["defer"], message, report);
    }
    if !matches!(flow, Flow::Channel { .. }) {
        let message = "only a queue that appears as a channel has it";
        section.refuse(&["max_hold"], message, report);
    }
    if let Some(limit) = &limit {
        limit_file::check(limit, &flow, &section, report);
    }
    let instances = instances(&section, &flow, report);
    let secondary_flow = draft.secondary.take();
    let route = Route { name: draft.name, mode, flow, limit, transform, instances };
    transform_file::check(&section, &route, report);
    let name_spot = section.get("name")?.spot;
    let secondary = secondary_flow.map(|flow| {
        let name = secondary_name(&route.name);
        // What waits here is on this node, whoever runs the route itself.
        let (transform, instances) = (Transform::default(), Instances::All);
        Route { name, mode: Mode::Queued, flow, limit: None, transform, instances }
    });
    let placed = PlacedRoute {
        name: name_spot,
        from: from_field?.spot,
        to: to_field?.spot,
        brokers,
        burst_bytes: nested(&section, "limit", "burst_bytes"),
        route,
    };
    let secondary = secondary.map(|route| PlacedRoute {
        name: placed.name.clone(),
        from: placed.to.clone(),
        to: placed.to.clone(),
        brokers: Vec::new(),
        burst_bytes: None,
        route,
    });
    Some(std::iter::once(placed).chain(secondary).collect())
}

/// On how many nodes the route runs.
fn instances(section: &Section<'_>, flow: &Flow, report: &mut Report) -> Instances {
    let words = [("all", Instances::All), ("one", Instances::One)];
    let field = section.get("instances");
    let instances = field.and_then(|field| field.choice(&words, report)).unwrap_or_default();
    let reads_its_own = match flow {
        Flow::Ingress { .. } => true,
        Flow::Channel { .. } => false,
        Flow::Move(moving) => matches!(moving.from, Source::Nsq(_)),
    };
    if instances == Instances::One && reads_its_own {
        let message = "this node's own topics have what was sent to this node, which no other one could bring on: \
                       only routes from amqp, or from the topics of other nsqds, have one instance";
        section.refuse(&["instances"], message, report);
    }
    instances
}

/// How the topic is called in which messages wait for a tee's secondary place, and the route that brings them there.
fn secondary_name(name: &str) -> String {
    format!("{name}.secondary")
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
    /// What brings messages to a tee's secondary place, if they wait for it in a topic of their own.
    secondary: Option<Flow>,
}

impl Draft<'_, '_> {
    /// A topic whose producers are answered by the target.
    fn ingress(&mut self, from: &NsqEnd, to: To, report: &mut Report) -> Option<Flow> {
        if !matches!(to, To::Tee { is_queued: true, .. }) {
            let message = "only queued routes have it: on a direct one the producer gets the error and tries again";
            self.section.refuse(&["ordered", "retry", "dead_letter"], message, report);
        }
        if let Some((_, spot)) = &from.channel {
            let message = "a direct route takes what producers send to the topic, before any channel; leave it out, \
                           or use mode: queued";
            report.error(spot, message);
            return None;
        }
        from.is_constant(report).then_some(())?;
        let to = self.target(to, Some(&from.topic), report)?;
        let topic = from.topic.clone();
        let defer = self.section.get("defer").and_then(|field| field.boolean(report));
        let defer = defer.unwrap_or_default();
        if defer && !to.places().iter().any(|place| place.amqp().is_some()) {
            let message = "there is no broker on this route at which messages could wait";
            self.section.refuse(&["defer"], message, report);
        }
        Some(Flow::Ingress { topic, to, publish: self.options.publish, defer })
    }

    /// A queue that appears as a channel.
    fn channel(&self, from: AmqpSource, to: NsqEnd, report: &mut Report) -> Option<Flow> {
        let message =
            "nothing waits for confirms here; what is in flight is bounded by from.amqp.prefetch";
        self.section.refuse(&["window", "publish_timeout"], message, report);
        let message = "only queued routes have it: on a direct one the consumers decide what to requeue and what to \
                       give up";
        self.section.refuse(&["ordered", "retry", "dead_letter"], message, report);
        let to_is_constant = to.is_constant(report);
        let Some((channel, _)) = to.channel else {
            let message =
                "the key \"channel\" is missing: a direct route appears as a channel of the topic";
            report.error(&to.spot, message);
            return None;
        };
        to_is_constant.then_some(())?;
        let topic = to.topic;
        let range = Duration::from_secs(1)..=Duration::from_secs(25 * 60);
        let max_hold = self.section.get("max_hold").and_then(|field| field.duration(range, report));
        let max_hold = max_hold.unwrap_or(route::MAX_HOLD);
        Some(Flow::Channel { from, to: NsqChannel { topic, channel }, max_hold })
    }

    /// Everything else: the source keeps each message until the target has it.
    fn moving(&mut self, from: End<AmqpSource>, to: To, report: &mut Report) -> Option<Flow> {
        let from = match from {
            End::Nsq(mut end) => match end.remote.take() {
                Some(remote) => remote_nsq::source(*remote, end, &self.name, report)?,
                None => Source::Nsq(self.own_channel(end, report)?),
            },
            End::Amqp(queue) => Source::Amqp(queue),
        };
        let topic = match &from {
            Source::Nsq(from) => Some(from.topic.as_str()),
            Source::Amqp(_) | Source::Remote(_) => None,
        };
        let to = self.target(to, topic, report)?;
        self.no_return(&from, &to, report)?;
        if let DeadLetter::To(dead) = &self.options.dead_letter
            && feeds(&from, dead)
        {
            let message = "dead letters would come back to this route for ever";
            self.section.refuse(&["dead_letter"], message, report);
        }
        Some(Flow::Move(Box::new(Move {
            from,
            to,
            publish: self.options.publish,
            retry: self.options.retry,
            dead_letter: self.options.dead_letter.clone(),
            ordered: self.options.ordered,
        })))
    }

    /// The channel that a queued route reads.
    fn own_channel(&self, from: NsqEnd, report: &mut Report) -> Option<NsqChannel> {
        from.is_constant(report).then_some(())?;
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
        Some(NsqChannel { topic: from.topic, channel })
    }

    /// The destination. `topic` is the one that messages come from, if they come from one of this node.
    fn target(&mut self, to: To, topic: Option<&str>, report: &mut Report) -> Option<Target> {
        Some(match to {
            To::One(end) => self.place(end, topic, report)?,
            To::Tee { primary, secondary, is_queued } => {
                let first = self.place(primary, topic, report);
                let second = self.place(secondary, topic, report);
                let (first, second) = (first?, second?);
                let second = if is_queued { self.queue_for(second, report)? } else { second };
                Target::Tee(Box::new(Tee { first, second }))
            }
            To::Share { share, by, part, rest } => {
                let part = self.place(part, topic, report);
                let rest = self.place(rest, topic, report);
                Target::Share(Box::new(Share { share, by, part: part?, rest: rest? }))
            }
        })
    }

    /// A topic in which messages wait for `place`, and a route from there.
    fn queue_for(&mut self, place: Target, report: &mut Report) -> Option<Target> {
        let name = secondary_name(&self.name);
        if !names::is_valid_name(name.as_bytes()) {
            let message = format!(
                "the topic \"{name}\", in which messages wait for the secondary place, has too long a name"
            );
            report.error(&self.section.spot, message);
            return None;
        }
        let topic = Template::parse(&name).ok()?;
        self.secondary = Some(Flow::Move(Box::new(Move {
            from: Source::Nsq(NsqChannel { topic: name.clone(), channel: name }),
            to: place,
            publish: self.options.publish,
            retry: self.options.retry,
            dead_letter: self.options.dead_letter.clone(),
            ordered: self.options.ordered,
        })));
        Some(Target::Topic { topic })
    }

    /// One place of the destination.
    fn place(
        &self,
        to: End<AmqpTarget>,
        topic: Option<&str>,
        report: &mut Report,
    ) -> Option<Target> {
        let end = match to {
            End::Amqp(target) => return Some(Target::Amqp(target)),
            End::Nsq(end) => end,
        };
        if let Some((_, spot)) = &end.channel {
            let message = "a topic is written to, and with it all its channels; leave the channel out, or bring a queue to \
                           it with mode: direct";
            report.error(spot, message);
            return None;
        }
        if topic == Some(end.topic.as_str()) && end.remote.is_none() {
            let message = format!("the route leads from the topic \"{}\" to itself", end.topic);
            report.error(&end.spot, message);
            return None;
        }
        if names::is_ephemeral(&end.topic) {
            let message = "an #ephemeral topic keeps its messages in memory only and drops what it cannot hold; a \
                           route must not";
            report.error(&end.spot, message);
            return None;
        }
        match end.remote {
            Some(remote) => remote_nsq::target(*remote, &end.topic, report),
            None => Template::parse(&end.topic).ok().map(|topic| Target::Topic { topic }),
        }
    }

    /// A queue must not be fed from itself.
    fn no_return(&self, from: &Source, to: &Target, report: &mut Report) -> Option<()> {
        match from {
            Source::Amqp(queue) if feeds(from, to) => {
                let spot = self.section.get("to").map(|field| field.spot);
                let message =
                    format!("the route leads from the queue \"{}\" to itself", queue.queue);
                report.error(spot.as_ref().unwrap_or(&self.section.spot), message);
                None
            }
            Source::Remote(channel) if feeds(from, to) => {
                let spot = self.section.get("to").map(|field| field.spot);
                let message =
                    format!("the route leads from the topic \"{}\" to itself", channel.topic);
                report.error(spot.as_ref().unwrap_or(&self.section.spot), message);
                None
            }
            _ => Some(()),
        }
    }
}

/// Whether what goes to the target surely comes back to the source.
fn feeds(from: &Source, to: &Target) -> bool {
    to.places().iter().any(|place| match (from, place) {
        (Source::Nsq(from), Target::Topic { topic }) => topic.constant() == Some(&from.topic),
        (Source::Amqp(from), Target::Amqp(to)) => publishes_to_queue(to, &from.broker, &from.queue),
        (Source::Remote(from), Target::Remote(to)) => remote::feeds(to, from),
        _ => false,
    })
}

/// Whether the target says itself that it feeds `queue`: by the default exchange, or by what it declares.
fn publishes_to_queue(target: &AmqpTarget, broker: &str, queue: &str) -> bool {
    let by_name =
        target.exchange.constant() == Some("") && target.routing_key.constant() == Some(queue);
    let declared = target.declare.bindings.iter().any(|binding| binding.is_to_queue(queue));
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
