//! Reads what is to be declared on a broker for the end of a route: exchanges, queues, bindings and their arguments.

use std::time::Duration;

use super::arguments::{arguments, queue_arguments};
use super::error::{Report, Spot};
use super::keys::declare::{
    BINDING, EXCHANGE, EXCHANGE_BINDING, QUEUE, SOURCE_DECLARE, TARGET_DECLARE,
};
use super::section::{Field, Section};
use crate::bridge::route::{
    Argument, Arguments, Binding, Destination, ExchangeDeclare, ExchangeKind, QueueDeclare,
    QueueKind, Topology,
};
use crate::bridge::transform::Template;

/// The longest time of a broker's timers.
pub(super) const TIMER_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

const EXCHANGE_KINDS: [(&str, ExchangeKind); 4] = [
    ("direct", ExchangeKind::Direct),
    ("fanout", ExchangeKind::Fanout),
    ("topic", ExchangeKind::Topic),
    ("headers", ExchangeKind::Headers),
];

const QUEUE_KINDS: [(&str, QueueKind); 3] =
    [("classic", QueueKind::Classic), ("quorum", QueueKind::Quorum), ("stream", QueueKind::Stream)];

/// Reads `from.amqp.declare` for this queue.
pub(super) fn source_topology(
    field: &Field<'_>,
    queue: &str,
    report: &mut Report,
) -> Option<Topology> {
    let section = Section::open(field, SOURCE_DECLARE, report)?;
    let mut topology = Topology::default();
    shared(&section, None, &mut topology, report);
    declarable("queue", queue, &section.spot, report);
    bindings(&section, queue, &mut topology, report);
    topology.queues.insert(0, queue_of(&section, queue, report));
    Some(topology)
}

/// Reads `to.amqp.declare` for the exchange and the key that the route publishes with.
pub(super) fn target_topology(
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
    match section.get("exchange_type") {
        Some(field) => {
            if let Some(kind) = exchange_kind(&field, report) {
                declarable("exchange", exchange, &field.spot, report);
                let mut declared = ExchangeDeclare::new(exchange, kind);
                declared.arguments = exchange_arguments(&section, report);
                topology.exchanges.push(declared);
            }
        }
        None => {
            let reason = "the exchange is not declared; give its exchange_type too";
            section.refuse(&["alternate_exchange", "arguments"], reason, report);
        }
    }
    let kind = topology.exchanges.first().map(|declared| declared.kind.clone());
    let sent = Sent { exchange, kind: kind.as_ref(), routing_key };
    shared(&section, Some(&sent), &mut topology, report);
    Some(topology)
}

/// What a route publishes with.
struct Sent<'a> {
    exchange: &'a str,
    /// Of the exchange, where it is declared.
    kind: Option<&'a ExchangeKind>,
    routing_key: &'a Template,
}

/// The keys that both ends have.
fn shared(
    section: &Section<'_>,
    sent: Option<&Sent<'_>>,
    topology: &mut Topology,
    report: &mut Report,
) {
    let passive = section.get("passive").and_then(|field| field.boolean(report));
    topology.passive = passive.unwrap_or(false);
    for field in elements(section, "exchanges", "a list of exchanges", report) {
        topology.exchanges.extend(exchange(&field, report));
    }
    for field in elements(section, "queues", "a list of queues", report) {
        extra_queue(&field, sent, topology, report);
    }
    for field in elements(section, "exchange_bindings", "a list of bindings", report) {
        topology.bindings.extend(exchange_binding(&field, report));
    }
}

fn elements<'t>(
    section: &Section<'t>,
    key: &str,
    expected: &str,
    report: &mut Report,
) -> Vec<Field<'t>> {
    section.get(key).and_then(|field| field.list(expected, report)).unwrap_or_default()
}

fn exchange(field: &Field<'_>, report: &mut Report) -> Option<ExchangeDeclare> {
    let section = Section::open(field, EXCHANGE, report)?;
    let mut flag =
        |key, default| section.get(key).and_then(|field| field.boolean(report)).unwrap_or(default);
    let (durable, auto_delete, internal) =
        (flag("durable", true), flag("auto_delete", false), flag("internal", false));
    let arguments = exchange_arguments(&section, report);
    let kind =
        section.require("type", "topic", report).and_then(|field| exchange_kind(&field, report));
    let name = section.require("name", "shop", report)?;
    let (name, spot) = (name.short_text(report)?, name.spot);
    declarable("exchange", &name, &spot, report);
    Some(ExchangeDeclare { name, kind: kind?, durable, auto_delete, internal, arguments })
}

fn exchange_arguments(section: &Section<'_>, report: &mut Report) -> Arguments {
    let mut all =
        section.get("arguments").and_then(|field| arguments(&field, report)).unwrap_or_default();
    let alternate = section.get("alternate_exchange").and_then(|field| field.short_text(report));
    all.extend(alternate.map(|name| ("alternate-exchange".to_owned(), Argument::Text(name))));
    all
}

fn exchange_kind(field: &Field<'_>, report: &mut Report) -> Option<ExchangeKind> {
    // Plugins name their types so; anything else is more likely a slip.
    if let Some(name) = field.plain_text().filter(|name| name.starts_with("x-")) {
        return Some(ExchangeKind::Plugin(name.to_owned()));
    }
    field.choice_of(&EXCHANGE_KINDS, " or a plugin's type, which starts with x-", report)
}

/// A queue of the list `queues`, with what it is bound to.
fn extra_queue(
    field: &Field<'_>,
    sent: Option<&Sent<'_>>,
    topology: &mut Topology,
    report: &mut Report,
) {
    let Some(section) = Section::open(field, QUEUE, report) else {
        return;
    };
    let mut declared = queue_of(&section, "", report);
    let keys = match sent {
        Some(sent) => binding_keys(&section, sent, report),
        None => {
            let message =
                "only the queues of to.amqp are bound to the route's exchange; use bindings";
            section.refuse(&["routing_keys"], message, report);
            Vec::new()
        }
    };
    let Some(name) =
        section.require("name", "orders", report).and_then(|field| field.short_text(report))
    else {
        return;
    };
    declarable("queue", &name, &section.spot, report);
    topology.bindings.extend(keys.into_iter().map(|routing_key| Binding {
        exchange: sent.map_or_else(String::new, |sent| sent.exchange.to_owned()),
        to: Destination::Queue(name.clone()),
        routing_key,
        arguments: Arguments::default(),
    }));
    bindings(&section, &name, topology, report);
    declared.name = name;
    topology.queues.push(declared);
}

fn queue_of(section: &Section<'_>, name: &str, report: &mut Report) -> QueueDeclare {
    let kind = section.get("type").and_then(|field| field.choice(&QUEUE_KINDS, report));
    let mut declared = QueueDeclare::new(name, kind.unwrap_or(QueueKind::Classic));
    let mut flag =
        |key, default| section.get(key).and_then(|field| field.boolean(report)).unwrap_or(default);
    declared.durable = flag("durable", true);
    declared.auto_delete = flag("auto_delete", false);
    if declared.kind != QueueKind::Classic && (!declared.durable || declared.auto_delete) {
        let message = format!("a {} queue is durable and not auto_delete", declared.kind.as_str());
        section.refuse(&["durable", "auto_delete"], &message, report);
    }
    declared.arguments = queue_arguments(section, declared.kind, report);
    declared
}

/// The list `bindings` of a queue.
fn bindings(section: &Section<'_>, queue: &str, topology: &mut Topology, report: &mut Report) {
    for field in elements(section, "bindings", "a list of bindings", report) {
        let Some(section) = Section::open(&field, BINDING, report) else {
            continue;
        };
        let kind = section.get("exchange_type").and_then(|field| exchange_kind(&field, report));
        let routing_key = section.get("routing_key").and_then(|field| routing_key(&field, report));
        let arguments = section.get("arguments").and_then(|field| arguments(&field, report));
        let exchange = section.require("exchange", "shop", report);
        let Some((exchange, spot)) =
            exchange.and_then(|field| Some((field.short_text(report)?, field.spot)))
        else {
            continue;
        };
        if let Some(kind) = kind {
            declarable("exchange", &exchange, &spot, report);
            topology.exchanges.push(ExchangeDeclare::new(&exchange, kind));
        }
        topology.bindings.push(Binding {
            exchange,
            to: Destination::Queue(queue.to_owned()),
            routing_key: routing_key.unwrap_or_default(),
            arguments: arguments.unwrap_or_default(),
        });
    }
}

fn exchange_binding(field: &Field<'_>, report: &mut Report) -> Option<Binding> {
    let section = Section::open(field, EXCHANGE_BINDING, report)?;
    let key = section.get("routing_key").and_then(|field| routing_key(&field, report));
    let arguments = section.get("arguments").and_then(|field| arguments(&field, report));
    let from = section.require("from", "shop", report).and_then(|field| field.short_text(report));
    let to = section.require("to", "audit", report).and_then(|field| field.short_text(report));
    Some(Binding {
        exchange: from?,
        to: Destination::Exchange(to?),
        routing_key: key.unwrap_or_default(),
        arguments: arguments.unwrap_or_default(),
    })
}

/// The keys that a queue is bound with: those given, or the route's own where that is one and the same.
fn binding_keys(section: &Section<'_>, sent: &Sent<'_>, report: &mut Report) -> Vec<String> {
    let given = section.get("routing_keys");
    if sent.exchange.is_empty() {
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
    // Bindings of its own say all there is to say.
    if section.get("bindings").is_some() {
        return Vec::new();
    }
    if matches!(sent.kind, Some(ExchangeKind::Fanout | ExchangeKind::Headers)) {
        return vec![String::new()];
    }
    match sent.routing_key.constant() {
        Some(key) => vec![key.to_owned()],
        None => {
            section.require("routing_keys", "[\"orders.#\"]", report);
            Vec::new()
        }
    }
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
