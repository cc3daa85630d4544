//! What `leveret check` prints: everything that is configured, in words, and what is odd about it.

use super::Loaded;
use super::node::NsqdConfig;
use super::secure::TlsRequired;
use super::units::{show_duration, show_size};
use crate::bridge::route::{DeadLetter, OnExceed, PublishOptions, Route, RouteLimit, Topology};
use crate::bridge::route::{Flow, Retry};
use crate::limit::LimitOptions;

/// The report, with a line end behind every line; the last line is `ok`.
#[must_use]
pub fn describe(loaded: &Loaded) -> String {
    let node = &loaded.node;
    let http = node.nsqd.http_address.as_deref().unwrap_or("off");
    let mut lines = vec![format!("nsqd     tcp {}, http {http}", node.nsqd.tcp_address)];
    lines.extend(secure_lines(&node.nsqd));
    lines.extend(node.brokers.iter().map(|broker| {
        let heartbeat = show_duration(broker.heartbeat);
        format!("broker   {}: {}, heartbeat {heartbeat}", broker.name, broker.uri)
    }));
    for route in &loaded.routes {
        let (from, to, mode) = (route.from_text(), route.to_text(), route.mode);
        lines.push(format!("route    {}: {from} -> {to}, {mode}", route.name));
        lines.extend(route_lines(route).iter().map(|line| format!("         {line}")));
    }
    if loaded.routes.is_empty() {
        lines.push("route    none".to_owned());
    }
    lines.extend(loaded.warnings.iter().map(|warning| format!("warning  {warning}")));
    lines.push("ok\n".to_owned());
    lines.join("\n")
}

fn secure_lines(nsqd: &NsqdConfig) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(cert) = &nsqd.tls.cert {
        let https = nsqd.https_address.as_deref().unwrap_or("off");
        let required = match nsqd.tls_required() {
            TlsRequired::No => "of nobody",
            TlsRequired::TcpHttps => "of NSQ clients",
            TlsRequired::Yes => "of everybody",
        };
        let policy = match nsqd.tls.client_auth_policy.as_str() {
            "" => "not asked for",
            policy => policy,
        };
        lines.push(format!(
            "tls      {}, https {https}, required {required}, client certificates {policy}",
            cert.display()
        ));
    }
    // An address may hold a password.
    match nsqd.auth.http_addresses.len() {
        0 => {}
        count => lines.push(format!("auth     servers: {count}")),
    }
    lines
}

fn route_lines(route: &Route) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(route.limit.as_ref().map(limit_line));
    lines.extend(route.source().map(|source| format!("prefetch {}", source.prefetch)));
    lines.extend(route.remote_source().map(|source| {
        let backoff = show_duration(source.max_backoff);
        format!(
            "up to {} messages in flight over all nsqds, backoff up to {backoff}",
            source.max_in_flight
        )
    }));
    match &route.flow {
        Flow::Ingress { publish, .. } => lines.push(publish_line(publish)),
        Flow::Move(moving) => {
            lines.push(publish_line(&moving.publish));
            lines.push(retry_line(&moving.retry));
            lines.push(dead_letter_line(&moving.dead_letter));
            lines.extend(moving.ordered.then(|| "ordered: one message at a time".to_owned()));
        }
        Flow::Channel { max_hold, .. } => {
            let max_hold = show_duration(*max_hold);
            lines.push(format!("holds for at most {max_hold} what consumers put off"));
        }
    }
    let source = route.source().map(|source| &source.declare);
    let topologies = source.into_iter().chain(route.amqp_targets().map(|target| &target.declare));
    lines.extend(topologies.flat_map(declare_lines));
    lines
}

fn limit_line(limit: &RouteLimit) -> String {
    let mut line = format!("limit {}", rates_text(&limit.rates));
    if let Some(per) = &limit.per {
        line += &format!(" for each {}, up to {} keys", per.by, per.max_keys);
        if let Some(total) = &per.total {
            line += &format!("; {} in total", rates_text(total));
        }
    }
    if let Some(excess) = &limit.excess {
        line += &format!("; {} more with a mark", rates_text(&excess.rates));
    }
    let above = match limit.on_exceed {
        OnExceed::Wait => "wait",
        OnExceed::Reject => "reject",
        OnExceed::DeadLetter => "dead letter",
        OnExceed::Drop => "drop",
    };
    format!("{line}; above it {above}")
}

fn rates_text(rates: &LimitOptions) -> String {
    let mut parts = Vec::new();
    if let Some(messages) = rates.messages {
        parts.push(format!("{} messages, burst {}", messages.rate, messages.burst));
    }
    if let Some(bytes) = rates.bytes {
        let rate = bytes.rate.to_string();
        let span = rate.rsplit_once('/').map_or("s", |(_, span)| span);
        let amount = show_size(bytes.rate.amount());
        parts.push(format!("{amount}/{span}, burst {}", show_size(bytes.burst)));
    }
    parts.join("; ")
}

fn publish_line(publish: &PublishOptions) -> String {
    format!(
        "confirms within {}, window {} messages or {}",
        show_duration(publish.timeout),
        publish.window.messages,
        show_size(publish.window.bytes)
    )
}

fn retry_line(retry: &Retry) -> String {
    format!(
        "{} attempts, {} to {} apart",
        retry.max_attempts,
        show_duration(retry.backoff_initial),
        show_duration(retry.backoff_max)
    )
}

fn dead_letter_line(dead_letter: &DeadLetter) -> String {
    match dead_letter {
        DeadLetter::Stop => "dead letters stop the route".to_owned(),
        DeadLetter::Drop => "dead letters are dropped".to_owned(),
        DeadLetter::To(target) => format!("dead letters to {target}"),
    }
}

fn declare_lines(topology: &Topology) -> Vec<String> {
    let (declares, binds) =
        if topology.passive { ("expects", "expects a binding of") } else { ("declares", "binds") };
    // As one says it: the type first, then the name, then whatever else there is.
    let line = |what: &str, name: &str, words: String| {
        let (kind, rest) = words.split_once(", ").map_or((words.as_str(), ""), |parts| parts);
        let rest = if rest.is_empty() { String::new() } else { format!(": {rest}") };
        format!("{declares} {kind} {what} {name}{rest}")
    };
    let exchanges = topology
        .exchanges
        .iter()
        .map(|exchange| line("exchange", &exchange.name, exchange.to_string()));
    let queues = topology.queues.iter().map(|queue| line("queue", &queue.name, queue.to_string()));
    let bindings = topology.bindings.iter().map(|binding| format!("{binds} {binding}"));
    exchanges.chain(queues).chain(bindings).collect()
}
