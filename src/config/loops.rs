//! Routes that feed each other for ever.
//!
//! A route leads from its topic or queue to the topic that it writes to, or to every queue that its exchange feeds. (A
//! queue that appears as a channel ends at its consumers.) Which queues a target feeds is known from the bindings that
//! all routes declare, and from the routing key for the default exchange. A circle that is certain is an error; one that
//! depends on a template is a warning. Bindings made elsewhere cannot be seen here.

use std::collections::HashSet;

use super::error::Report;
use super::route_file::PlacedRoute;
use crate::bridge::remote::Addresses;
use crate::bridge::route::{AmqpSource, AmqpTarget, ExchangeKind, Flow, Source, Target, Topology};

/// Where messages are between two routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place<'a> {
    Topic(&'a str),
    /// A queue of a broker.
    Queue(&'a str, &'a str),
    /// A topic of another nsqd, or of those that a nsqlookupd knows.
    Remote(&'a str, &'a str),
}

/// A route, from one place to another.
#[derive(Clone, Copy)]
struct Step<'a> {
    from: Place<'a>,
    to: Place<'a>,
    by: &'a PlacedRoute,
    /// Whether every message goes this way; otherwise a template decides.
    certain: bool,
}

/// What a broker's routes declare, with the broker's name.
type Declared<'a> = (&'a str, &'a Topology);

/// Reports circles of routes, each once, at the route that closes it.
pub(super) fn check(routes: &[PlacedRoute], report: &mut Report) {
    let steps = steps(routes);
    let mut reported: HashSet<&str> = HashSet::new();
    for is_certain in [true, false] {
        let taken: Vec<_> =
            steps.iter().copied().filter(|step| step.certain || !is_certain).collect();
        for step in &taken {
            let Some(path) = path(step.to, step.from, &taken) else { continue };
            let names: Vec<&str> = std::iter::once(step)
                .chain(path.iter())
                .map(|step| step.by.route.name.as_str())
                .collect();
            if names.iter().any(|name| reported.contains(name)) {
                continue;
            }
            reported.extend(&names);
            let last = path.last().unwrap_or(step);
            let way = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
            let way = way.join(", ");
            if is_certain {
                let message = format!("messages would go round for ever: {way}, and again");
                report.error(&last.by.to, message);
            } else {
                let message = format!("messages may go round for ever: {way}, and again");
                report.warn(&last.by.to, message);
            }
        }
    }
}

/// The steps from `start` to `goal`, as few as possible; none if they are the same place.
fn path<'a>(start: Place<'a>, goal: Place<'a>, steps: &[Step<'a>]) -> Option<Vec<Step<'a>>> {
    let mut seen = HashSet::from([start]);
    let mut open = vec![(start, Vec::new())];
    while !open.is_empty() {
        let mut next = Vec::new();
        for (place, way) in open {
            if place == goal {
                return Some(way);
            }
            for step in steps.iter().filter(|step| step.from == place) {
                if seen.insert(step.to) {
                    let mut way: Vec<Step<'a>> = way.clone();
                    way.push(*step);
                    next.push((step.to, way));
                }
            }
        }
        open = next;
    }
    None
}

fn steps(routes: &[PlacedRoute]) -> Vec<Step<'_>> {
    let declared: Vec<Declared<'_>> = routes.iter().flat_map(topologies).collect();
    let mut steps = Vec::new();
    for by in routes {
        let Some(target) = by.route.target() else { continue };
        // Of a share, each message goes one way.
        let is_whole = !matches!(target, Target::Share(_));
        for place in target.places() {
            for (to, is_certain) in ends(place, routes, &declared) {
                let certain = is_certain && is_whole;
                let froms = origins(&by.route.flow).into_iter();
                steps.extend(froms.map(|from| Step { from, to, by, certain }));
            }
        }
    }
    steps
}

/// Where a route's messages come from. A queue that appears as a channel ends at its consumers.
fn origins(flow: &Flow) -> Vec<Place<'_>> {
    match flow {
        Flow::Ingress { topic, .. } => vec![Place::Topic(topic)],
        Flow::Move(moving) => match &moving.from {
            Source::Nsq(from) => vec![Place::Topic(&from.topic)],
            Source::Amqp(from) => vec![Place::Queue(&from.broker, &from.queue)],
            Source::Remote(from) => remote(&from.nsq.addresses, &from.topic).collect(),
        },
        Flow::Channel { .. } => Vec::new(),
    }
}

/// A topic at every address by which its nsqds are known.
fn remote<'a>(addresses: &'a Addresses, topic: &'a str) -> impl Iterator<Item = Place<'a>> {
    let all = addresses.nsqd.iter().chain(&addresses.lookupd);
    all.map(move |address| Place::Remote(address, topic))
}

/// Where messages come that go to `target`, and whether they surely do.
fn ends<'a>(
    target: &'a Target,
    routes: &'a [PlacedRoute],
    declared: &[Declared<'_>],
) -> Vec<(Place<'a>, bool)> {
    match target {
        Target::Topic { topic } => {
            topic.constant().map(|topic| (Place::Topic(topic), true)).into_iter().collect()
        }
        Target::Remote(to) => match to.topic.constant() {
            Some(topic) => remote(&to.nsq.addresses, topic).map(|place| (place, true)).collect(),
            None => Vec::new(),
        },
        Target::Amqp(target) => {
            let sources = routes.iter().filter_map(|placed| placed.route.source());
            let fed = sources.filter_map(|source| {
                let is_certain = feeds(target, source, declared)?;
                Some((Place::Queue(&source.broker, &source.queue), is_certain))
            });
            fed.collect()
        }
        Target::Tee(_) | Target::Share(_) => Vec::new(),
    }
}

fn topologies(placed: &PlacedRoute) -> impl Iterator<Item = Declared<'_>> {
    let source = placed.route.source().into_iter();
    let targets = placed.route.amqp_targets();
    source
        .map(|source| (source.broker.as_str(), &source.declare))
        .chain(targets.map(|target| (target.broker.as_str(), &target.declare)))
}

/// Whether messages for `target` come to the queue of `source`: surely, perhaps (`false`), or not as far as is known.
fn feeds(target: &AmqpTarget, source: &AmqpSource, declared: &[Declared<'_>]) -> Option<bool> {
    if target.broker != source.broker {
        return None;
    }
    let key = target.routing_key.constant();
    if target.exchange.constant() == Some("") {
        return match key {
            Some(key) => (key == source.queue).then_some(true),
            None => Some(false),
        };
    }
    let on_broker = || {
        declared
            .iter()
            .filter(|(broker, _)| *broker == target.broker)
            .map(|(_, topology)| *topology)
    };
    let kind = on_broker()
        .flat_map(|topology| &topology.exchanges)
        .find(|exchange| target.exchange.constant() == Some(exchange.name.as_str()))
        .map(|exchange| &exchange.kind);
    on_broker()
        .flat_map(|topology| &topology.bindings)
        .filter(|binding| binding.is_to_queue(&source.queue))
        .filter_map(|binding| match target.exchange.constant() {
            Some(exchange) if exchange == binding.exchange => {
                passes(kind, key, &binding.routing_key)
            }
            Some(_) => None,
            None => Some(false),
        })
        .max()
}

/// Whether a binding takes messages with the routing key; `key` is `None` if a template makes it.
fn passes(kind: Option<&ExchangeKind>, key: Option<&str>, binding: &str) -> Option<bool> {
    match (kind, key) {
        (Some(ExchangeKind::Fanout), _) => Some(true),
        (Some(ExchangeKind::Direct), Some(key)) => (key == binding).then_some(true),
        (Some(ExchangeKind::Topic), Some(key)) => {
            let key: Vec<&str> = key.split('.').collect();
            let pattern: Vec<&str> = binding.split('.').collect();
            matches_words(&pattern, &key).then_some(true)
        }
        _ => Some(false),
    }
}

/// AMQP's topic patterns: `*` is one word, `#` any number of them.
fn matches_words(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), None) => matches_words(rest, key),
        (Some((&"#", rest)), Some((_, tail))) => {
            matches_words(rest, key) || matches_words(pattern, tail)
        }
        (Some((&word, rest)), Some((first, tail))) => {
            (word == "*" || word == *first) && matches_words(rest, tail)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_patterns() {
        for (pattern, key, expected) in [
            ("orders.#", "orders", true),
            ("orders.#", "orders.eu.new", true),
            ("orders.*", "orders.eu", true),
            ("orders.*", "orders", false),
            ("#", "", true),
            ("#.new", "a.b.new", true),
            ("a.#.z", "a.z", true),
            ("a", "b", false),
            ("a.b", "a", false),
        ] {
            let found = passes(Some(&ExchangeKind::Topic), Some(key), pattern);
            assert_eq!(found.is_some(), expected, "{pattern} {key}");
        }
    }
}
