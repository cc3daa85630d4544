//! All figures of a node.
//!
//! Every family and its meaning is in `docs/metrics.md`; a test holds the two together.

mod routes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::alerts::AlertsView;
use super::alerts::state::Phase;
use super::opentsdb;
use super::process::ProcessUsage;
use super::samples::{Column, Family, Kind, Labels, Samples, counter, gauge};
use crate::engine::{ChannelCounts, DrainPhase, Engine, RecordedLatency};
use crate::metrics::broker::{BrokerState, BrokerStatus};
use crate::metrics::registry::RegistryStatus;
use crate::metrics::route::RouteStatus;

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
    /// Free bytes of the data folder's disk, and how many of them publishes may not take.
    pub disk: Option<(u64, u64)>,
    /// Certificates that are served, and in how many seconds they expire; below zero, they have.
    pub certificates: &'a [(String, i64)],
    /// What was pushed to OpenTSDB, if anything is.
    pub opentsdb: Option<&'a opentsdb::Counters>,
    /// What there is to complain of.
    pub alerts: Option<&'a AlertsView>,
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

/// The figures of this moment.
#[must_use]
pub fn collect(exposed: &Exposed<'_>) -> Samples {
    let mut page = Samples::default();
    let version = [("version", exposed.version), ("nsq_version", exposed.nsq_version)];
    page.family("leveret_build_info", Kind::Gauge, "What is running; always 1.", |family| {
        family.sample(&version, 1_u64);
    });
    let node = NodeRow {
        start_time: exposed.start_time,
        healthy: exposed.healthy,
        process: exposed.process,
        connections: exposed.engine.clients().count(),
        disk: exposed.disk,
        draining: exposed.engine.drain_state().borrow().phase != DrainPhase::Serving,
    };
    page.table(NODE, &[node], |_, give| give(&[]));
    page.table(CERTIFICATE, exposed.certificates, |(file, _), give| give(&[("file", file)]));
    alerts(&mut page, exposed.alerts);
    let pushed = exposed.opentsdb.map(std::slice::from_ref).unwrap_or_default();
    page.table(OPENTSDB, pushed, |_, give| give(&[]));
    page.table(TOPIC, &topics(exposed.engine), |row, give| {
        give(&[("topic", &row.name)]);
    });
    page.table(CHANNEL, &channels(exposed.engine), |row, give| {
        give(&[("topic", &row.topic), ("channel", &row.name)]);
    });
    latencies(&mut page, exposed.engine);
    routes::states(&mut page, exposed.routes);
    page.table(routes::ROUTE, exposed.routes, |route, give| {
        give(&[("route", &route.name)]);
    });
    brokers(&mut page, exposed.brokers);
    let registry = exposed.registry.map(std::slice::from_ref).unwrap_or_default();
    page.table(REGISTRY, registry, |_, give| give(&[]));
    page
}

struct NodeRow {
    start_time: i64,
    healthy: bool,
    process: Option<ProcessUsage>,
    connections: usize,
    disk: Option<(u64, u64)>,
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
    gauge("leveret_disk_free_bytes", "Free space of the data folder's disk.", |node| {
        node.disk.map(|(free, _)| free).into()
    }),
    gauge("leveret_disk_reserve_bytes", "Free space below which publishes are refused.", |node| {
        node.disk.map(|(_, reserve)| reserve).into()
    }),
    counter(
        "leveret_log_lines_dropped_total",
        "Lines of the log that found no room in its queue.",
        |_| super::logs::dropped().into(),
    ),
    gauge("leveret_client_connections", "Connections of NSQ clients.", |node| {
        node.connections.into()
    }),
    gauge("leveret_draining", "Whether the node takes no more messages.", |node| {
        node.draining.into()
    }),
];

const CERTIFICATE: &[Column<(String, i64)>] = &[gauge(
    "leveret_certificate_expiry_seconds",
    "Time until a certificate expires; below zero, it has.",
    |(_, left)| (*left).into(),
)];

/// What there is to complain of: how many series of each rule.
fn alerts(page: &mut Samples, view: Option<&AlertsView>) {
    page.family(ALERTS, Kind::Gauge, "Alerts by rule and state.", |family| {
        let mut counts: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
        for alert in view.iter().flat_map(|view| &view.alerts) {
            let state = if alert.state == Phase::Firing { "firing" } else { "pending" };
            *counts.entry((&alert.name, alert.severity, state)).or_default() += 1;
        }
        for ((name, severity, state), count) in counts {
            family.sample(&[("alert", name), ("severity", severity), ("state", state)], count);
        }
    });
}

const OPENTSDB: &[Column<opentsdb::Counters>] = &[
    counter("leveret_opentsdb_points_total", "Points that OpenTSDB took.", |counters| {
        counters.sent.load(Ordering::Relaxed).into()
    }),
    counter(
        "leveret_opentsdb_dropped_total",
        "Points that OpenTSDB refused, or that found no room in the queue.",
        |counters| counters.dropped.load(Ordering::Relaxed).into(),
    ),
];

const ALERTS: &str = "leveret_alerts";

/// Whether there is a metric of this name, be it with the suffix of a summary.
#[must_use]
pub fn is_known(metric: &str) -> bool {
    let bare = ["_sum", "_count"].into_iter().find_map(|suffix| metric.strip_suffix(suffix));
    let others = [
        "leveret_build_info",
        ALERTS,
        "leveret_route_info",
        "leveret_route_state",
        "leveret_broker_connections",
    ];
    let summaries = ["leveret_topic_latency_seconds", "leveret_channel_latency_seconds"];
    NODE.iter().any(|column| column.name == metric)
        || OPENTSDB.iter().any(|column| column.name == metric)
        || CERTIFICATE.iter().any(|column| column.name == metric)
        || TOPIC.iter().any(|column| column.name == metric)
        || CHANNEL.iter().any(|column| column.name == metric)
        || routes::ROUTE.iter().any(|column| column.name == metric)
        || REGISTRY.iter().any(|column| column.name == metric)
        || others.contains(&metric)
        || summaries.contains(&metric)
        || bare.is_some_and(|bare| summaries.contains(&bare))
}

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
fn latencies(page: &mut Samples, engine: &Engine) {
    let topics = engine.topics();
    let help = "Time from publish to FIN, all channels; quantiles of the configured window.";
    page.family("leveret_topic_latency_seconds", Kind::Summary, help, |family| {
        for topic in &topics {
            if let Some(recorded) = topic.latency() {
                latency(family, &[("topic", topic.name())], recorded);
            }
        }
    });
    let help = "Time from publish to FIN; quantiles of the configured window.";
    page.family("leveret_channel_latency_seconds", Kind::Summary, help, |family| {
        for topic in &topics {
            for channel in topic.channels() {
                if let Some(recorded) = channel.latency() {
                    let labels = [("topic", &**topic.name()), ("channel", channel.name())];
                    latency(family, &labels, recorded);
                }
            }
        }
    });
}

fn latency(family: &mut Family, labels: Labels<'_>, recorded: RecordedLatency) {
    const NANOS: f64 = 1e9;
    let summary = recorded.summary();
    let has_values = summary.count > 0;
    // Prometheus has a word for the quantile of nothing, which 0 is not.
    let seconds = |value: f64| if has_values { value / NANOS } else { f64::NAN };
    let quantiles: Vec<(f64, f64)> =
        summary.values.into_iter().map(|(quantile, value)| (quantile, seconds(value))).collect();
    family.summary(labels, &quantiles, summary.sum / NANOS, summary.total);
}

fn brokers(page: &mut Samples, brokers: &[BrokerStatus]) {
    // Several connections to one broker for one purpose share their labels, and labels may occur only once.
    let mut connections: BTreeMap<(&str, &str), Vec<BrokerState>> = BTreeMap::new();
    for broker in brokers {
        let key = (broker.name.as_str(), broker.role);
        connections.entry(key).or_default().push(broker.state);
    }
    let help = "Connections to a broker by purpose and state.";
    page.family("leveret_broker_connections", Kind::Gauge, help, |family| {
        for ((broker, role), states) in connections {
            for state in BrokerState::ALL {
                let count = states.iter().filter(|&&other| other == state).count();
                let labels = [("broker", broker), ("role", role), ("state", state.as_str())];
                family.sample(&labels, count);
            }
        }
    });
}
