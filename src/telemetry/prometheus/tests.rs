//! Tests of the exposition: its format, and that `docs/metrics.md` describes exactly what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use std::sync::Arc;

use crate::engine::{Engine, LatencyTracking, Options};
use crate::metrics::broker::{BrokerState, BrokerStatus};
use crate::metrics::registry::RegistryStatus;
use crate::metrics::route::{LimitStatus, RouteCounts, RouteState, RouteStatus};
use crate::telemetry::alerts::runner::{AlertShown, AlertsView};
use crate::telemetry::alerts::state::Phase;
use crate::telemetry::figures::{Exposed, collect};
use crate::telemetry::opentsdb;
use crate::telemetry::process::ProcessUsage;

fn engine() -> Arc<Engine> {
    let latency = LatencyTracking::new(vec![0.99], Duration::from_secs(60)).unwrap();
    let engine = Engine::new(Options { latency, ..Options::default() });
    let topic = engine.topic("orders").unwrap();
    topic.channel("billing").unwrap();
    let bodies = [b"one".as_slice(), b"three"];
    let taken = topic.publish(bodies.into_iter(), &Arc::default());
    assert!(taken.is_ok());
    engine
}

fn route() -> RouteStatus {
    RouteStatus {
        name: "or\"ders\\\n".into(),
        mode: "direct".into(),
        from: "nsq orders".into(),
        to: "amqp shop".into(),
        state: RouteState::Running,
        counters: RouteCounts { received: 7, ..RouteCounts::default() },
        pending: 3,
        window: Some(100),
        lag: Some(0),
        limit: Some(LimitStatus {
            messages_left: Some(-3),
            bytes_left: Some(7),
            keys: Some(2),
            parked: 1,
            messages_per_second: Some(0.5),
            messages_burst: Some(10),
            bytes_per_second: Some(1024.0),
            bytes_burst: Some(4096),
            throttled_seconds: 1.25,
            projected_wait_seconds: 0.0,
        }),
        ..RouteStatus::default()
    }
}

fn page(routes: &[RouteStatus], brokers: &[BrokerStatus]) -> String {
    let registry = (!routes.is_empty()).then(|| RegistryStatus {
        state: "up",
        applied: 4,
        refused: BTreeMap::from([("r".to_owned(), Vec::new())]),
        owned: vec!["a".into(), "b".into()],
        ..RegistryStatus::default()
    });
    let alerts = AlertsView {
        alerts: vec![AlertShown {
            name: "dead_letters".into(),
            state: Phase::Firing,
            severity: "warning",
            labels: BTreeMap::new(),
            message: String::new(),
            value: 1.0,
            since: 0,
        }],
        rules: BTreeMap::new(),
    };
    render(&collect(&Exposed {
        version: "0.1.0",
        nsq_version: "1.3.0",
        start_time: 1_700_000_000,
        healthy: true,
        disk: Some((1000, 10)),
        certificates: &[("a.pem".to_owned(), -5)],
        opentsdb: Some(&opentsdb::Counters::default()),
        alerts: Some(&alerts),
        process: Some(ProcessUsage {
            resident_bytes: 4096,
            anonymous_bytes: 1024,
            cpu_seconds: 0.25,
            threads: 3,
        }),
        engine: &engine(),
        routes,
        brokers,
        registry: registry.as_ref(),
    }))
}

fn full() -> String {
    let up = BrokerStatus {
        name: "main".into(),
        role: "publish",
        state: BrokerState::Up,
        ..BrokerStatus::default()
    };
    page(&[route()], &[up.clone(), up])
}

fn has(page: &str, line: &str) {
    assert!(page.lines().any(|other| other == line), "{line}\n\n{page}");
}

#[test]
fn samples_say_what_there_is() {
    let page = full();
    has(&page, "leveret_build_info{version=\"0.1.0\",nsq_version=\"1.3.0\"} 1");
    has(&page, "leveret_start_time_seconds 1700000000");
    has(&page, "leveret_process_cpu_seconds_total 0.25");
    has(&page, "leveret_topic_message_bytes_total{topic=\"orders\"} 8");
    has(&page, "leveret_channel_depth{topic=\"orders\",channel=\"billing\"} 2");
    let channel = "topic=\"orders\",channel=\"billing\"";
    has(&page, &format!("leveret_channel_latency_seconds{{{channel},quantile=\"0.99\"}} NaN"));
    has(&page, &format!("leveret_channel_latency_seconds_count{{{channel}}} 0"));
    has(&page, "leveret_topic_latency_seconds_sum{topic=\"orders\"} 0");
    let route = "route=\"or\\\"ders\\\\\\n\"";
    has(&page, &format!("leveret_route_received_total{{{route}}} 7"));
    has(&page, &format!("leveret_route_state{{{route},state=\"running\"}} 1"));
    has(&page, &format!("leveret_route_state{{{route},state=\"failed\"}} 0"));
    has(&page, &format!("leveret_route_limit_left_messages{{{route}}} -3"));
    has(&page, &format!("leveret_route_limit_keys{{{route}}} 2"));
    has(&page, &format!("leveret_route_limit_messages_per_second{{{route}}} 0.5"));
    has(&page, "leveret_broker_connections{broker=\"main\",role=\"publish\",state=\"up\"} 2");
    has(&page, "leveret_registry_up 1");
    has(&page, "leveret_registry_routes_applied 4");
    has(&page, "leveret_registry_routes_refused 1");
    has(&page, "leveret_registry_routes_owned 2");
}

#[test]
fn the_format_is_kept() {
    let page = full();
    assert!(page.ends_with('\n'));
    let mut families = BTreeSet::new();
    let mut series = BTreeSet::new();
    let mut kinds = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(current.clone()), "twice: {current}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            kinds.insert(name.to_owned(), kind.to_owned());
        } else {
            let (labelled, value) = line.rsplit_once(' ').unwrap();
            let name = labelled.split('{').next().unwrap();
            let stem = match name.strip_suffix("_sum").or_else(|| name.strip_suffix("_count")) {
                Some(stem) if kinds.get(stem).is_some_and(|kind| kind == "summary") => stem,
                _ => name,
            };
            assert_eq!(stem, current);
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(labelled.to_owned()), "twice: {labelled}");
        }
    }
}

#[test]
fn what_there_is_not_is_left_out() {
    let page = page(&[], &[]);
    assert!(!page.contains("leveret_route") && !page.contains("leveret_broker"));
    assert!(!page.contains("leveret_registry"));
}

fn names(text: &str) -> BTreeSet<&str> {
    text.split(|next: char| !next.is_ascii_alphanumeric() && next != '_')
        .filter(|word| word.starts_with("leveret_"))
        .collect()
}

#[test]
fn docs_describe_each_metric_and_no_other() {
    let docs = include_str!("../../../docs/metrics.md");
    let page = full();
    let exposed: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    assert_eq!(names(docs), exposed);
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let described = docs.lines().any(|row| row.starts_with(&format!("| `{name}` | {kind} |")));
        assert!(described, "{name} is a {kind}");
    }
}
