//! Reads the two ends of a route.

use super::arguments::stream_offset;
use super::declare::{source_topology, target_topology};
use super::error::{Report, Spot};
use super::keys::Keys;
use super::keys::endpoints::{AMQP_SOURCE, AMQP_TARGET, NSQ};
use super::remote_nsq::{self, RemoteEnd};
use super::section::{Field, Section};
use super::transform_file::template_within;
use super::tree::Kind;
use crate::bridge::broker::BrokerOptions;
use crate::bridge::route::{AmqpSource, AmqpTarget, QueueKind};
use crate::bridge::transform::{RESULT_LEN_MAX, Template};

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
    /// Which nsqds, if it is not this node.
    pub(super) remote: Option<Box<RemoteEnd>>,
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
    let remote = remote_nsq::read(&section, report);
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
        remote: remote?,
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
    let offset = section.get("offset").and_then(|field| stream_offset(&field, report));
    let queue =
        section.require("queue", "invoices", report).and_then(|field| field.short_text(report));
    let declare = section.get("declare").and_then(|field| {
        let queue = queue.as_deref().unwrap_or_default();
        source_topology(&field, queue, report)
    });
    let kind = declare.as_ref().and_then(|declare| declare.queues.first()).map(|queue| queue.kind);
    if let (Some(field), Some(QueueKind::Classic | QueueKind::Quorum)) =
        (section.get("offset"), kind)
    {
        report
            .error(&field.spot, "only a stream has an offset; declare the queue with type: stream");
    }
    Some(AmqpSource {
        broker,
        queue: queue?,
        prefetch: prefetch.unwrap_or(1000),
        consumer_tag,
        offset,
        declare: declare.unwrap_or_default(),
    })
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

pub(super) fn template(field: &Field<'_>, report: &mut Report) -> Option<Template> {
    template_within(field, RESULT_LEN_MAX, report)
}
