//! Routes that feed each other for ever.
//!
//! A topic leads to every queue that a route from it feeds, and a queue leads to the topic that a queued route from it
//! writes to. (A direct route from a queue ends at its consumers.) Which queues a target feeds is known from the
//! bindings that all routes declare, and from the routing key for the default exchange. A circle that is certain is an
//! error; one that depends on a template is a warning. Bindings made elsewhere cannot be seen here.

use std::collections::HashSet;

use super::error::Report;
use super::route_file::PlacedRoute;
use crate::bridge::route::{AmqpSource, AmqpTarget, ExchangeKind, Flow, Topology};

/// From a topic over a queue to a topic.
struct Step<'a> {
    from: &'a str,
    to: &'a str,
    out: &'a PlacedRoute,
    back: &'a PlacedRoute,
    /// Whether every message goes this way; otherwise a template decides.
    certain: bool,
}

/// What a broker's routes declare, with the broker's name.
type Declared<'a> = (&'a str, &'a Topology);

/// Reports circles of routes.
pub(super) fn check(routes: &[PlacedRoute], report: &mut Report) {
    let steps = steps(routes);
    for step in &steps {
        let (out, back) = (&step.out.route.name, &step.back.route.name);
        let spot = &step.back.to;
        if step.certain && reaches(step.to, step.from, &steps, true) {
            let message = format!(
                "messages would go round for ever: the route \"{out}\" feeds the queue that \"{back}\" brings back"
            );
            report.error(spot, message);
        } else if reaches(step.to, step.from, &steps, false) {
            let message = format!(
                "messages may go round for ever: the route \"{out}\" may feed the queue that \"{back}\" brings back"
            );
            report.warn(spot, message);
        }
    }
}

fn reaches(start: &str, goal: &str, steps: &[Step<'_>], certain: bool) -> bool {
    let mut seen = HashSet::from([start]);
    let mut open = vec![start];
    while let Some(topic) = open.pop() {
        if topic == goal {
            return true;
        }
        let next = steps
            .iter()
            .filter(|step| step.from == topic && (step.certain || !certain))
            .map(|step| step.to)
            .filter(|to| seen.insert(*to));
        open.extend(next);
    }
    false
}

fn steps(routes: &[PlacedRoute]) -> Vec<Step<'_>> {
    let declared: Vec<Declared<'_>> = routes.iter().flat_map(topologies).collect();
    let mut steps = Vec::new();
    for out in routes {
        let (from, target) = match &out.route.flow {
            Flow::PublishDirect { topic, to, .. } => (topic.as_str(), to),
            Flow::PublishQueued { from, to, .. } => (from.topic.as_str(), to),
            _ => continue,
        };
        for back in routes {
            let Flow::DeliverQueued { from: source, topic, .. } = &back.route.flow else {
                continue;
            };
            if let Some(certain) = feeds(target, source, &declared) {
                steps.push(Step { from, to: topic, out, back, certain });
            }
        }
    }
    steps
}

fn topologies(placed: &PlacedRoute) -> impl Iterator<Item = Declared<'_>> {
    let source = placed.route.source().into_iter();
    let targets = placed.route.targets();
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
        .map(|exchange| exchange.kind);
    on_broker()
        .flat_map(|topology| &topology.bindings)
        .filter(|binding| binding.queue == source.queue)
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
fn passes(kind: Option<ExchangeKind>, key: Option<&str>, binding: &str) -> Option<bool> {
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
            let found = passes(Some(ExchangeKind::Topic), Some(key), pattern);
            assert_eq!(found.is_some(), expected, "{pattern} {key}");
        }
    }
}
