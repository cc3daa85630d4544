//! Rules between routes, and between routes and the node: names, topics, brokers, declarations, loops.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use super::error::{Report, Spot};
use super::loops;
use super::node::NodeConfig;
use super::route_file::PlacedRoute;
use super::suggest::hint;
use super::units::show_size;
use crate::bridge::route::{Flow, Instances, NsqChannel, Source, Target, Topology};
use crate::bridge::store::options::keeps;

/// Checks the routes of all files together.
pub(super) fn check(routes: &[PlacedRoute], node: &NodeConfig, report: &mut Report) {
    unique_names(routes, report);
    topics(routes, report);
    stores(routes, node, report);
    queues(routes, report);
    brokers(routes, node, report);
    declarations(routes, report);
    sizes(routes, node, report);
    instances(routes, node, report);
    loops::check(routes, report);
}

/// Reports every second use of a key; `message` gets the route that used it first and where.
fn unique<'a, K: Hash + Eq>(
    uses: impl Iterator<Item = (K, &'a PlacedRoute, &'a Spot)>,
    mut clash: impl FnMut(&K, &'a PlacedRoute, &'a Spot, &'a Spot),
) {
    let mut first: HashMap<K, (&PlacedRoute, &Spot)> = HashMap::new();
    for (key, route, spot) in uses {
        if let Some((earlier, at)) = first.get(&key) {
            clash(&key, earlier, at, spot);
        } else {
            first.insert(key, (route, spot));
        }
    }
}

fn unique_names(routes: &[PlacedRoute], report: &mut Report) {
    let uses = routes.iter().map(|placed| (placed.route.name.as_str(), placed, &placed.name));
    unique(uses, |name, _, first, spot| {
        let first = first.whereabouts();
        report.error(spot, format!("the name \"{name}\" is taken by the route at {first}"));
    });
}

/// Who answers for a topic and for a channel.
fn topics(routes: &[PlacedRoute], report: &mut Report) {
    let direct = routes.iter().filter_map(|placed| match &placed.route.flow {
        Flow::Ingress { topic, .. } => Some((topic.as_str(), placed, &placed.from)),
        _ => None,
    });
    unique(direct.clone(), |topic, earlier, first, spot| {
        let message = format!(
            "the topic \"{topic}\" is handed straight to the broker by the route \"{}\" at {}; one direct route a topic",
            earlier.route.name,
            first.whereabouts()
        );
        report.error(spot, message);
    });
    let direct: HashMap<&str, &PlacedRoute> =
        direct.map(|(topic, placed, _)| (topic, placed)).collect();
    for placed in routes {
        let Flow::Move(moving) = &placed.route.flow else { continue };
        let from = match &moving.from {
            Source::Nsq(from) => Some((from.topic.as_str(), &placed.from)),
            Source::Amqp(_) | Source::Remote(_) => None,
        };
        let to = moving.to.places().into_iter().filter_map(|place| match place {
            Target::Topic { topic } => topic.constant().map(|topic| (topic, &placed.to)),
            _ => None,
        });
        for (topic, spot) in from.into_iter().chain(to) {
            if let Some(owner) = direct.get(topic) {
                let message = format!(
                    "the topic \"{topic}\" keeps no messages here: the direct route \"{}\" at {} hands them to the broker",
                    owner.route.name,
                    owner.from.whereabouts()
                );
                report.error(spot, message);
            }
        }
    }
    channels(routes, report);
}

/// A topic that lives at a broker has its publishes and channels there.
fn stores(routes: &[PlacedRoute], node: &NodeConfig, report: &mut Report) {
    for placed in routes {
        let (topic, spot) = match &placed.route.flow {
            Flow::Ingress { topic, .. } => (topic, &placed.from),
            Flow::Channel { to, .. } => (&to.topic, &placed.to),
            Flow::Move(_) => continue,
        };
        if keeps(&node.stores, topic) {
            let message = format!(
                "the topic \"{topic}\" has store: rabbitmq: a direct route would take its place; use mode: queued, or another topic"
            );
            report.error(spot, message);
        }
    }
}

/// A channel has one route at most, whether it reads from it or appears as it.
fn channels(routes: &[PlacedRoute], report: &mut Report) {
    let uses = routes.iter().filter_map(|placed| match &placed.route.flow {
        Flow::Move(moving) => match &moving.from {
            Source::Nsq(from) => Some((from, placed, &placed.from)),
            Source::Amqp(_) | Source::Remote(_) => None,
        },
        Flow::Channel { to, .. } => Some((to, placed, &placed.to)),
        Flow::Ingress { .. } => None,
    });
    unique(uses, |channel: &&NsqChannel, earlier, first, spot| {
        let message = format!(
            "the channel \"{channel}\" belongs to the route \"{}\" at {}; each would get a part of the messages",
            earlier.route.name,
            first.whereabouts()
        );
        report.error(spot, message);
    });
}

/// Two routes at one queue share its messages, which is allowed and seldom meant.
fn queues(routes: &[PlacedRoute], report: &mut Report) {
    let uses = routes.iter().filter_map(|placed| {
        let source = placed.route.source()?;
        let key = (source.broker.as_str(), source.queue.as_str());
        Some((key, placed, &placed.from))
    });
    unique(uses, |(_, queue), earlier, first, spot| {
        let message = format!(
            "the queue \"{queue}\" is consumed by the route \"{}\" at {} too; each gets a part of the messages",
            earlier.route.name,
            first.whereabouts()
        );
        report.warn(spot, message);
    });
}

fn brokers(routes: &[PlacedRoute], node: &NodeConfig, report: &mut Report) {
    let known: Vec<&str> = node.brokers.iter().map(|broker| broker.name.as_str()).collect();
    for (name, spot) in routes.iter().flat_map(|placed| &placed.brokers) {
        if known.contains(&name.as_str()) {
            continue;
        }
        let rest = match known.as_slice() {
            [] => "; the node's file has no brokers".to_owned(),
            known => {
                let hint = hint(name, known.iter().copied());
                let separator = if hint.is_empty() { ";" } else { "" };
                format!("{hint}{separator} expected one of {}", known.join(", "))
            }
        };
        report.error(spot, format!("unknown broker \"{name}\"{rest}"));
    }
}

/// The same exchange or queue declared in two ways: the broker would refuse the second.
fn declarations(routes: &[PlacedRoute], report: &mut Report) {
    let mut first: HashMap<(&str, &str, &str), (String, &Spot)> = HashMap::new();
    let mut declare = |what, broker, name, kind: String, spot, report: &mut Report| {
        let (earlier, at) =
            first.entry((what, broker, name)).or_insert_with(|| (kind.clone(), spot));
        if *earlier != kind {
            let message = format!(
                "the {what} \"{name}\" is declared as {kind} here and as {earlier} at {}",
                at.whereabouts()
            );
            report.error(spot, message);
        }
    };
    for placed in routes {
        let source = placed.route.source();
        let from = source.map(|source| (&source.broker, &source.declare, &placed.from));
        let to =
            placed.route.amqp_targets().map(|target| (&target.broker, &target.declare, &placed.to));
        for (broker, topology, spot) in from.into_iter().chain(to) {
            let Topology { passive, exchanges, queues, .. } = topology;
            if *passive {
                continue;
            }
            for exchange in exchanges {
                let kind = exchange.to_string();
                declare("exchange", broker.as_str(), exchange.name.as_str(), kind, spot, report);
            }
            for queue in queues {
                let kind = queue.to_string();
                declare("queue", broker.as_str(), queue.name.as_str(), kind, spot, report);
            }
        }
    }
}

/// Sizes that do not fit together: allowed, since every message still passes or is refused with a reason.
fn sizes(routes: &[PlacedRoute], node: &NodeConfig, report: &mut Report) {
    let max_msg_size = node.nsqd.max_msg_size;
    for placed in routes {
        let bytes = placed.route.limit.as_ref().and_then(|limit| limit.rates.bytes);
        if let (Some(bytes), Some(spot)) = (bytes, &placed.burst_bytes)
            && bytes.burst < max_msg_size
        {
            let message = format!(
                "smaller than nsqd.max_msg_size ({}): a larger message waits for several fillings of the bucket",
                show_size(max_msg_size)
            );
            report.warn(spot, message);
        }
        if placed.route.source().is_some() || placed.route.remote_source().is_some() {
            kept(placed, node, report);
        }
        if placed.route.source().is_some() {
            continue;
        }
        let brokers = placed.route.amqp_targets().map(|to| to.broker.as_str());
        let brokers: BTreeSet<&str> = brokers.collect();
        let small = node.brokers.iter().filter(|broker| broker.max_message_size < max_msg_size);
        for broker in small.filter(|broker| brokers.contains(broker.name.as_str())) {
            let message = format!(
                "the broker \"{}\" takes messages up to {}, nsqd.max_msg_size is {}: larger ones are refused",
                broker.name,
                show_size(broker.max_message_size),
                show_size(max_msg_size)
            );
            report.warn(&placed.to, message);
        }
    }
}

/// That there is one instance is agreed on in the registry.
fn instances(routes: &[PlacedRoute], node: &NodeConfig, report: &mut Report) {
    if node.registry.is_some() {
        return;
    }
    for placed in routes.iter().filter(|placed| placed.route.instances == Instances::One) {
        let message = "instances: one is agreed on among nodes that share a registry, and the node's file has none";
        report.error(&placed.name, message);
    }
}

/// What is settled at a broker or at another nsqd must outlive this process.
fn kept(placed: &PlacedRoute, node: &NodeConfig, report: &mut Report) {
    let places = placed.route.target().map(Target::places).unwrap_or_default();
    let is_kept_here = places.iter().any(|place| matches!(place, Target::Topic { .. }));
    if is_kept_here && node.nsqd.data_path.is_none() {
        let message = "what is settled where it comes from is to be kept here, which needs nsqd.data_path: without it the route does not run";
        report.warn(&placed.to, message);
    }
}
