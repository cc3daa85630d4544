//! Reads the two ends of a route, and what is to be declared on the broker for them.

use super::error::{Report, Spot};
use super::keys::Keys;
use super::keys::endpoints::{
    AMQP_SOURCE, AMQP_TARGET, NSQ, SOURCE_BINDING, SOURCE_DECLARE, TARGET_DECLARE, TARGET_QUEUE,
};
use super::section::{Field, Section};
use super::transform_file::template_within;
use super::tree::Kind;
use crate::bridge::broker::BrokerOptions;
use crate::bridge::route::{
    AmqpSource, AmqpTarget, Binding, ExchangeDeclare, ExchangeKind, QueueDeclare, QueueKind,
    Topology,
};
use crate::bridge::transform::{RESULT_LEN_MAX, Template};

const EXCHANGE_KINDS: [(&str, ExchangeKind); 4] = [
    ("direct", ExchangeKind::Direct),
    ("fanout", ExchangeKind::Fanout),
    ("topic", ExchangeKind::Topic),
    ("headers", ExchangeKind::Headers),
];

const QUEUE_KINDS: [(&str, QueueKind); 2] =
    [("classic", QueueKind::Classic), ("quorum", QueueKind::Quorum)];

/// One end of a route, before the other end and the mode are known.
#[derive(Debug)]
pub(super) enum End<A> {
    Nsq(NsqEnd),
    Amqp(A),
}

/// An NSQ end. Whether there must be a channel depends on the mode.
#[derive(Debug)]
pub(super) struct NsqEnd {
    pub(super) topic: String,
    /// Where the topic is given, if it is a template: only a route's target may depend on the message.
    pub(super) template: Option<Box<Spot>>,
    pub(super) channel: Option<(String, Spot)>,
    pub(super) spot: Spot,
}

impl NsqEnd {
    /// Whether the topic is the same for every message; it is reported if not.
    pub(super) fn is_constant(&self, report: &mut Report) -> bool {
        if let Some(spot) = &self.template {
            report.error(spot, "only the topic that a route writes to may be a template");
        }
        self.template.is_none()
    }
}

/// Reads `from` or `to`: a mapping with exactly one of `keys`.
pub(super) fn end<A>(
    field: &Field<'_>,
    keys: &Keys,
    report: &mut Report,
    amqp: impl FnOnce(&Field<'_>, &mut Report) -> Option<A>,
) -> Option<End<A>> {
    let section = Section::open(field, keys, report)?;
    match (section.get("nsq"), section.get("amqp")) {
        (Some(field), None) => nsq(&field, report).map(End::Nsq),
        (None, Some(field)) => amqp(&field, report).map(End::Amqp),
        (Some(_), Some(second)) => {
            report.error(&second.spot, "nsq and amqp are both given; keep one");
            None
        }
        (None, None) => {
            report.error(&section.spot, "expected one of the keys nsq and amqp");
            None
        }
    }
}

pub(super) fn nsq(field: &Field<'_>, report: &mut Report) -> Option<NsqEnd> {
    let section = Section::open(field, NSQ, report)?;
    let channel = section.get("channel").map(|field| {
        let name = field.nsq_name("channel", report);
        name.map(|name| (name, field.spot))
    });
    let field = section.require("topic", "orders", report)?;
    let is_template =
        matches!(&field.node.kind, Kind::Scalar(scalar) if scalar.text.contains("{{"));
    let topic = if is_template {
        template(&field, report)?.source().to_owned()
    } else {
        field.nsq_name("topic", report)?
    };
    Some(NsqEnd {
        topic,
        template: is_template.then(|| Box::new(field.spot)),
        // A channel that is there and wrong was reported; it must not look like one that is not there.
        channel: match channel {
            Some(channel) => Some(channel?),
            None => None,
        },
        spot: section.spot,
    })
}

/// The broker's name, and where it is given.
fn broker(section: &Section<'_>, brokers: &mut Vec<(String, Spot)>, report: &mut Report) -> String {
    let given = section.get("broker");
    let spot = given.as_ref().map_or(&section.spot, |field| &field.spot);
    let name = match &given {
        Some(field) => field.text(report).unwrap_or_default(),
        None => BrokerOptions::DEFAULT_NAME.to_owned(),
    };
    if !name.is_empty() {
        brokers.push((name.clone(), spot.clone()));
    } else if let Some(field) = given {
        report.error(&field.spot, "expected the name of a broker, found \"\"");
    }
    name
}

/// Reads `from.amqp`; the broker that it names is added to `brokers`.
pub(super) fn source(
    field: &Field<'_>,
    brokers: &mut Vec<(String, Spot)>,
    report: &mut Report,
) -> Option<AmqpSource> {
    let section = Section::open(field, AMQP_SOURCE, report)?;
    let broker = broker(&section, brokers, report);
    let prefetch = section.get("prefetch").and_then(|field| field.integer(1..=u16::MAX, report));
    let consumer_tag = section.get("consumer_tag").and_then(|field| field.short_text(report));
    let queue =
        section.require("queue", "invoices", report).and_then(|field| field.short_text(report));
    let declare = section.get("declare").and_then(|field| {
        let queue = queue.as_deref().unwrap_or_default();
        source_topology(&field, queue, report)
    });
    Some(AmqpSource {
        broker,
        queue: queue?,
        prefetch: prefetch.unwrap_or(1000),
        consumer_tag,
        declare: declare.unwrap_or_default(),
    })
}

fn source_topology(field: &Field<'_>, queue: &str, report: &mut Report) -> Option<Topology> {
    let section = Section::open(field, SOURCE_DECLARE, report)?;
    let mut topology = Topology::default();
    declarable("queue", queue, &section.spot, report);
    topology
        .queues
        .push(QueueDeclare { name: queue.to_owned(), kind: queue_kind(&section, report) });
    let bindings = section
        .get("bindings")
        .and_then(|field| field.list("a list of bindings", report))
        .unwrap_or_default();
    for field in bindings {
        let Some(section) = Section::open(&field, SOURCE_BINDING, report) else {
            continue;
        };
        let kind =
            section.get("exchange_type").and_then(|field| field.choice(&EXCHANGE_KINDS, report));
        let routing_key = section.get("routing_key").and_then(|field| routing_key(&field, report));
        let exchange = section.require("exchange", "shop", report);
        let Some((exchange, spot)) =
            exchange.and_then(|field| Some((field.short_text(report)?, field.spot)))
        else {
            continue;
        };
        if let Some(kind) = kind {
            declarable("exchange", &exchange, &spot, report);
            topology.exchanges.push(ExchangeDeclare { name: exchange.clone(), kind });
        }
        topology.bindings.push(Binding {
            exchange,
            queue: queue.to_owned(),
            routing_key: routing_key.unwrap_or_default(),
        });
    }
    Some(topology)
}

/// Reads `to.amqp` or `dead_letter.amqp`; the broker that it names is added to `brokers`.
pub(super) fn target(
    field: &Field<'_>,
    brokers: &mut Vec<(String, Spot)>,
    report: &mut Report,
) -> Option<AmqpTarget> {
    let section = Section::open(field, AMQP_TARGET, report)?;
    let broker = broker(&section, brokers, report);
    let persistent = section.get("persistent").and_then(|field| field.boolean(report));
    let content_type = section.get("content_type").and_then(|field| field.short_text(report));
    let exchange =
        section.require("exchange", "shop", report).and_then(|field| template(&field, report));
    let routing_key = section
        .require("routing_key", "\"orders.{{ body.region }}\"", report)
        .and_then(|field| template(&field, report));
    let declare = section.get("declare").and_then(|field| {
        let (exchange, routing_key) = (exchange.as_ref()?, routing_key.as_ref()?);
        target_topology(&field, exchange, routing_key, report)
    });
    Some(AmqpTarget {
        broker,
        exchange: exchange?,
        routing_key: routing_key?,
        persistent: persistent.unwrap_or(true),
        content_type,
        declare: declare.unwrap_or_default(),
    })
}

fn target_topology(
    field: &Field<'_>,
    exchange: &Template,
    routing_key: &Template,
    report: &mut Report,
) -> Option<Topology> {
    let section = Section::open(field, TARGET_DECLARE, report)?;
    let Some(exchange) = exchange.constant() else {
        let message =
            "an exchange whose name is a template cannot be declared; declare each on the broker";
        report.error(&section.spot, message);
        return None;
    };
    let mut topology = Topology::default();
    let kind = section.get("exchange_type").and_then(|field| {
        let kind = field.choice(&EXCHANGE_KINDS, report)?;
        declarable("exchange", exchange, &field.spot, report);
        Some(kind)
    });
    topology.exchanges.extend(kind.map(|kind| ExchangeDeclare { name: exchange.to_owned(), kind }));
    let queues = section
        .get("queues")
        .and_then(|field| field.list("a list of queues", report))
        .unwrap_or_default();
    for field in queues {
        let Some(section) = Section::open(&field, TARGET_QUEUE, report) else {
            continue;
        };
        let kind_of_queue = queue_kind(&section, report);
        let keys = binding_keys(&section, exchange, kind, routing_key, report);
        let Some(name) =
            section.require("name", "orders", report).and_then(|field| field.short_text(report))
        else {
            continue;
        };
        declarable("queue", &name, &section.spot, report);
        topology.bindings.extend(keys.into_iter().map(|routing_key| Binding {
            exchange: exchange.to_owned(),
            queue: name.clone(),
            routing_key,
        }));
        topology.queues.push(QueueDeclare { name, kind: kind_of_queue });
    }
    Some(topology)
}

/// The keys that a queue is bound with: those given, or the route's own where that is one and the same.
fn binding_keys(
    section: &Section<'_>,
    exchange: &str,
    kind: Option<ExchangeKind>,
    route_key: &Template,
    report: &mut Report,
) -> Vec<String> {
    let given = section.get("routing_keys");
    if exchange.is_empty() {
        let message =
            "the default exchange has no bindings: every queue gets what is sent to its name";
        section.refuse(&["routing_keys"], message, report);
        return Vec::new();
    }
    if let Some(field) = given {
        let keys = field.list("a list of routing keys", report);
        return keys
            .unwrap_or_default()
            .iter()
            .filter_map(|field| routing_key(field, report))
            .collect();
    }
    if matches!(kind, Some(ExchangeKind::Fanout | ExchangeKind::Headers)) {
        return vec![String::new()];
    }
    match route_key.constant() {
        Some(key) => vec![key.to_owned()],
        None => {
            section.require("routing_keys", "[\"orders.#\"]", report);
            Vec::new()
        }
    }
}

fn queue_kind(section: &Section<'_>, report: &mut Report) -> QueueKind {
    section
        .get("type")
        .and_then(|field| field.choice(&QUEUE_KINDS, report))
        .unwrap_or(QueueKind::Classic)
}

fn routing_key(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?;
    if text.len() > 255 {
        let message = format!("expected at most 255 bytes of text, found {}", text.len());
        report.error(&field.spot, message);
        return None;
    }
    Some(text)
}

/// Refuses to declare what belongs to the broker itself.
fn declarable(what: &str, name: &str, spot: &Spot, report: &mut Report) {
    let message = if name.starts_with("amq.") {
        format!(
            "the broker keeps names that start with amq. to itself; the {what} \"{name}\" cannot be declared"
        )
    } else if name.is_empty() && what == "exchange" {
        "the default exchange exists always and cannot be declared".to_owned()
    } else {
        return;
    };
    report.error(spot, message);
}

pub(super) fn template(field: &Field<'_>, report: &mut Report) -> Option<Template> {
    template_within(field, RESULT_LEN_MAX, report)
}
