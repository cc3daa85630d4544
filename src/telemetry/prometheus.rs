//! `/metrics`: the node in Prometheus' text format, version 0.0.4.
//!
//! Every family and its meaning is in `docs/metrics.md`; a test holds the two together. A family without samples is left
//! out.

mod page;

use std::collections::BTreeMap;
use std::sync::Arc;

use page::{Column, Family, Kind, Labels, Page, counter, gauge};

use super::process::ProcessUsage;
use crate::engine::{ChannelCounts, DrainPhase, Engine, RecordedLatency};
use crate::metrics::broker::{BrokerState, BrokerStatus};
use crate::metrics::registry::RegistryStatus;
use crate::metrics::route::{LimitStatus, RouteState, RouteStatus};

/// The `Content-Type` of what [`render`] makes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub struct Exposed<'a> {
    /// Leveret's version.
    pub version: &'a str,
    /// nsqd's version that the node stands in for.
    pub nsq_version: &'a str,
    /// When the node started, Unix seconds.
    pub start_time: i64,
    /// Whether `/ping` says OK.
    pub healthy: bool,
    /// What the process takes, if that is known.
    pub process: Option<ProcessUsage>,
    /// Topics, channels and connections.
    pub engine: &'a Engine,
    /// Routes.
    pub routes: &'a [RouteStatus],
    /// Connections to brokers.
    pub brokers: &'a [BrokerStatus],
    /// What it shares with other nodes, if it does.
    pub registry: Option<&'a RegistryStatus>,
}

/// The whole page.
#[must_use]
pub fn render(exposed: &Exposed<'_>) -> String {
    let mut page = Page::default();
    let version = [("version", exposed.version), ("nsq_version", exposed.nsq_version)];
    page.family("leveret_build_info", Kind::Gauge, "What is running; always 1.")
        .sample(&version, 1_u64);
    let node = NodeRow {
        start_time: exposed.start_time,
        healthy: exposed.healthy,
        process: exposed.process,
        connections: exposed.engine.clients().count(),
        draining: exposed.engine.drain_state().borrow().phase != DrainPhase::Serving,
    };
    page.table(NODE, &[node], |_, give| give(&[]));
    page.table(TOPIC, &topics(exposed.engine), |row, give| {
        give(&[("topic", &row.name)]);
    });
    page.table(CHANNEL, &channels(exposed.engine), |row, give| {
        give(&[("topic", &row.topic), ("channel", &row.name)]);
    });
    latencies(&mut page, exposed.engine);
    route_states(&mut page, exposed.routes);
    page.table(ROUTE, exposed.routes, |route, give| {
        give(&[("route", &route.name)]);
    });
    brokers(&mut page, exposed.brokers);
    let registry = exposed.registry.map(std::slice::from_ref).unwrap_or_default();
    page.table(REGISTRY, registry, |_, give| give(&[]));
    page.finish()
}

struct NodeRow {
    start_time: i64,
    healthy: bool,
    process: Option<ProcessUsage>,
    connections: usize,
    draining: bool,
}

const NODE: &[Column<NodeRow>] = &[
    gauge("leveret_start_time_seconds", "When the node started, Unix time.", |node| {
        u64::try_from(node.start_time).ok().into()
    }),
    gauge("leveret_healthy", "Whether /ping says OK.", |node| node.healthy.into()),
    gauge("leveret_process_resident_memory_bytes", "Resident memory of the process.", |node| {
        node.process.map(|process| process.resident_bytes).into()
    }),
    counter(
        "leveret_process_cpu_seconds_total",
        "Processor time of the process, user and system.",
        |node| node.process.map(|process| process.cpu_seconds).into(),
    ),
    gauge("leveret_client_connections", "Connections of NSQ clients.", |node| {
        node.connections.into()
    }),
    gauge("leveret_draining", "Whether the node takes no more messages.", |node| {
        node.draining.into()
    }),
];

const REGISTRY: &[Column<RegistryStatus>] = &[
    gauge("leveret_registry_up", "Whether the registry can be reached.", |registry| {
        (registry.state == "up").into()
    }),
    gauge("leveret_registry_routes_applied", "Shared routes in force.", |registry| {
        registry.applied.into()
    }),
    gauge(
        "leveret_registry_routes_refused",
        "Shared routes that would be wrong on this node.",
        |registry| registry.refused.len().into(),
    ),
    gauge(
        "leveret_registry_routes_owned",
        "Routes of which there is one and which this node owns.",
        |registry| registry.owned.len().into(),
    ),
];

struct TopicRow {
    name: Arc<str>,
    depth: u64,
    messages: u64,
    bytes: u64,
    memory: usize,
    paused: bool,
    dropped: u64,
    expired: u64,
}

const TOPIC: &[Column<TopicRow>] = &[
    gauge("leveret_topic_depth", "Messages that no channel has got yet.", |row| row.depth.into()),
    counter("leveret_topic_messages_total", "Messages published.", |row| row.messages.into()),
    counter(
        "leveret_topic_message_bytes_total",
        "Bytes of the bodies of messages published.",
        |row| row.bytes.into(),
    ),
    gauge(
        "leveret_topic_memory_bytes",
        "Memory that the messages of the topic and its channels take.",
        |row| row.memory.into(),
    ),
    gauge("leveret_topic_paused", "Whether the topic is paused.", |row| row.paused.into()),
    counter(
        "leveret_topic_dropped_total",
        "Messages that no channel had got yet and that made room for others.",
        |row| row.dropped.into(),
    ),
    counter(
        "leveret_topic_expired_total",
        "Messages that no channel had got yet when they became too old.",
        |row| row.expired.into(),
    ),
];

fn topics(engine: &Engine) -> Vec<TopicRow> {
    let topics = engine.topics();
    let rows = topics.iter().map(|topic| TopicRow {
        name: Arc::clone(topic.name()),
        depth: topic.depth(),
        messages: topic.message_count(),
        bytes: topic.message_bytes(),
        memory: topic.memory(),
        paused: topic.is_paused(),
        dropped: topic.dropped(),
        expired: topic.expired(),
    });
    rows.collect()
}

struct ChannelRow {
    topic: Arc<str>,
    name: Arc<str>,
    counts: ChannelCounts,
}

const CHANNEL: &[Column<ChannelRow>] = &[
    gauge("leveret_channel_depth", "Messages ready for delivery.", |row| row.counts.depth.into()),
    gauge("leveret_channel_in_flight", "Messages at consumers.", |row| row.counts.in_flight.into()),
    gauge("leveret_channel_deferred", "Messages held back until they are due.", |row| {
        row.counts.deferred.into()
    }),
    counter(
        "leveret_channel_messages_total",
        "Messages received from the topic or a route.",
        |row| row.counts.messages.into(),
    ),
    counter("leveret_channel_requeues_total", "Messages that consumers gave back by REQ.", |row| {
        row.counts.requeues.into()
    }),
    counter(
        "leveret_channel_timeouts_total",
        "Messages that a consumer did not settle in time.",
        |row| row.counts.timeouts.into(),
    ),
    gauge("leveret_channel_consumers", "Consumers subscribed.", |row| row.counts.consumers.into()),
    gauge("leveret_channel_paused", "Whether the channel is paused.", |row| {
        row.counts.paused.into()
    }),
    counter(
        "leveret_channel_dropped_total",
        "Messages that made room for others, or were given up without a dead-letter topic.",
        |row| row.counts.dropped.into(),
    ),
    counter("leveret_channel_expired_total", "Messages that became too old.", |row| {
        row.counts.expired.into()
    }),
    counter(
        "leveret_channel_dead_letters_total",
        "Messages that were given up and went to the dead-letter topic.",
        |row| row.counts.dead_letters.into(),
    ),
    counter(
        "leveret_channel_zone_local_deliveries_total",
        "Deliveries to consumers of the node's zone.",
        |row| row.counts.zone_local.into(),
    ),
    counter(
        "leveret_channel_region_local_deliveries_total",
        "Deliveries to consumers of the node's region that are not of its zone.",
        |row| row.counts.region_local.into(),
    ),
    counter(
        "leveret_channel_global_deliveries_total",
        "Deliveries to all other consumers.",
        |row| row.counts.global.into(),
    ),
];

fn channels(engine: &Engine) -> Vec<ChannelRow> {
    let topics = engine.topics();
    let rows = topics.iter().flat_map(|topic| {
        let channels = topic.channels().into_iter();
        channels.map(|channel| ChannelRow {
            topic: Arc::clone(topic.name()),
            name: Arc::clone(channel.name()),
            counts: channel.counts(),
        })
    });
    rows.collect()
}

/// From publish to FIN, where that is tracked.
fn latencies(page: &mut Page, engine: &Engine) {
    let topics = engine.topics();
    let help = "Time from publish to FIN, all channels; quantiles of the configured window.";
    let mut family = page.family("leveret_topic_latency_seconds", Kind::Summary, help);
    for topic in &topics {
        if let Some(recorded) = topic.latency() {
            latency(&mut family, &[("topic", topic.name())], recorded);
        }
    }
    let help = "Time from publish to FIN; quantiles of the configured window.";
    let mut family = page.family("leveret_channel_latency_seconds", Kind::Summary, help);
    for topic in &topics {
        for channel in topic.channels() {
            if let Some(recorded) = channel.latency() {
                let labels = [("topic", &**topic.name()), ("channel", channel.name())];
                latency(&mut family, &labels, recorded);
            }
        }
    }
}

fn latency(family: &mut Family<'_>, labels: Labels<'_>, recorded: RecordedLatency) {
    const NANOS: f64 = 1e9;
    let summary = recorded.summary();
    let has_values = summary.count > 0;
    // Prometheus has a word for the quantile of nothing, which 0 is not.
    let seconds = |value: f64| if has_values { value / NANOS } else { f64::NAN };
    let quantiles: Vec<(f64, f64)> =
        summary.values.into_iter().map(|(quantile, value)| (quantile, seconds(value))).collect();
    family.summary(labels, &quantiles, summary.sum / NANOS, summary.total);
}

fn route_states(page: &mut Page, routes: &[RouteStatus]) {
    let help = "What a route joins; always 1.";
    let mut family = page.family("leveret_route_info", Kind::Gauge, help);
    for route in routes {
        let labels = [
            ("route", route.name.as_str()),
            ("mode", &route.mode),
            ("from", &route.from),
            ("to", &route.to),
        ];
        family.sample(&labels, 1_u64);
    }
    let help = "1 for the state that a route is in, 0 for the others.";
    let mut family = page.family("leveret_route_state", Kind::Gauge, help);
    for route in routes {
        for state in RouteState::ALL {
            let labels = [("route", route.name.as_str()), ("state", state.as_str())];
            family.sample(&labels, state == route.state);
        }
    }
}

/// Reads a route's limit, if it has one.
fn limit<T>(route: &RouteStatus, read: impl FnOnce(&LimitStatus) -> T) -> Option<T> {
    route.limit.as_ref().map(read)
}

const ROUTE: &[Column<RouteStatus>] = &[
    gauge(
        "leveret_route_pending",
        "Messages taken from the origin that have not ended yet.",
        |route| route.pending.into(),
    ),
    gauge("leveret_route_window", "How many messages of a route may be pending.", |route| {
        route.window.into()
    }),
    gauge("leveret_route_lag", "Messages that still lie at the origin.", |route| route.lag.into()),
    counter("leveret_route_received_total", "Messages taken from the origin.", |route| {
        route.counters.received.into()
    }),
    counter(
        "leveret_route_received_bytes_total",
        "Bytes of the bodies of messages taken from the origin.",
        |route| route.counters.bytes_received.into(),
    ),
    counter(
        "leveret_route_confirmed_total",
        "Messages that the destination took responsibility for.",
        |route| route.counters.confirmed.into(),
    ),
    counter("leveret_route_retried_total", "Further attempts to send a message.", |route| {
        route.counters.retried.into()
    }),
    counter(
        "leveret_route_returned_total",
        "Messages that the broker returned as unroutable.",
        |route| route.counters.returned.into(),
    ),
    counter(
        "leveret_route_nacked_total",
        "Messages that the broker refused by a negative confirm.",
        |route| route.counters.nacked.into(),
    ),
    counter(
        "leveret_route_dead_lettered_total",
        "Messages that went to the dead-letter target.",
        |route| route.counters.dead_lettered.into(),
    ),
    counter(
        "leveret_route_dropped_total",
        "Messages dropped because the route says so.",
        |route| route.counters.dropped.into(),
    ),
    counter(
        "leveret_route_filtered_total",
        "Messages that the route does not take, settled at their origin.",
        |route| route.counters.filtered.into(),
    ),
    counter(
        "leveret_route_redelivered_total",
        "Messages sent again without knowing whether the first time counted.",
        |route| route.counters.redelivered.into(),
    ),
    counter(
        "leveret_route_rejected_total",
        "Messages refused to the producer, which keeps them.",
        |route| route.counters.rejected.into(),
    ),
    counter(
        "leveret_route_rejected_by_limit_total",
        "Messages refused to the producer because they were above the limit.",
        |route| route.counters.rejected_by_limit.into(),
    ),
    counter(
        "leveret_route_dropped_by_limit_total",
        "Messages dropped because they were above the limit.",
        |route| route.counters.dropped_by_limit.into(),
    ),
    counter(
        "leveret_route_excess_total",
        "Messages that passed above the committed rate, and were marked.",
        |route| route.counters.excess.into(),
    ),
    counter(
        "leveret_route_given_back_total",
        "Deliveries given back to their broker unsettled.",
        |route| route.counters.given_back.into(),
    ),
    counter(
        "leveret_route_throttled_seconds_total",
        "Time that a route has spent waiting for its limit.",
        |route| limit(route, |limit| limit.throttled_seconds).into(),
    ),
    gauge(
        "leveret_route_projected_wait_seconds",
        "Time that the batch at the limit still has to wait.",
        |route| limit(route, |limit| limit.projected_wait_seconds).into(),
    ),
    gauge(
        "leveret_route_limit_left_messages",
        "Messages that a route's limit lets pass now; below zero, as many are owed.",
        |route| limit(route, |limit| limit.messages_left).into(),
    ),
    gauge(
        "leveret_route_limit_left_bytes",
        "Bytes that a route's limit lets pass now; below zero, as many are owed.",
        |route| limit(route, |limit| limit.bytes_left).into(),
    ),
    gauge("leveret_route_limit_keys", "Keys that have a limit of their own.", |route| {
        limit(route, |limit| limit.keys).into()
    }),
    gauge("leveret_route_limit_parked", "Messages that wait for their key's limit.", |route| {
        limit(route, |limit| limit.parked).into()
    }),
    gauge(
        "leveret_route_limit_messages_per_second",
        "Messages a second that a route's limit allows.",
        |route| limit(route, |limit| limit.messages_per_second).into(),
    ),
    gauge(
        "leveret_route_limit_burst_messages",
        "Messages that may pass at once after a quiet time.",
        |route| limit(route, |limit| limit.messages_burst).into(),
    ),
    gauge(
        "leveret_route_limit_bytes_per_second",
        "Bytes a second that a route's limit allows.",
        |route| limit(route, |limit| limit.bytes_per_second).into(),
    ),
    gauge(
        "leveret_route_limit_burst_bytes",
        "Bytes that may pass at once after a quiet time.",
        |route| limit(route, |limit| limit.bytes_burst).into(),
    ),
];

fn brokers(page: &mut Page, brokers: &[BrokerStatus]) {
    // Several connections to one broker for one purpose share their labels, and labels may occur only once.
    let mut connections: BTreeMap<(&str, &str), Vec<BrokerState>> = BTreeMap::new();
    for broker in brokers {
        let key = (broker.name.as_str(), broker.role);
        connections.entry(key).or_default().push(broker.state);
    }
    let help = "Connections to a broker by purpose and state.";
    let mut family = page.family("leveret_broker_connections", Kind::Gauge, help);
    for ((broker, role), states) in connections {
        for state in BrokerState::ALL {
            let count = states.iter().filter(|&&other| other == state).count();
            let labels = [("broker", broker), ("role", role), ("state", state.as_str())];
            family.sample(&labels, count);
        }
    }
}

#[cfg(test)]
mod tests;
