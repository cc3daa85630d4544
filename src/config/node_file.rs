//! Reads the node's file. What a node tells about itself is read in [`figures`].

mod figures;

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::admin_file;
use super::alerts_file;
use super::brokers_file::brokers;
use super::error::{Report, Spot};
use super::keys::node::ROOT;
use super::keys::nsqd::NSQD;
use super::log_file;
use super::lookupd_file;
use super::metrics_file;
use super::node::{NodeConfig, NsqdConfig, TOPOLOGY_AWARE};
use super::registry_file;
use super::section::{Field, Section};
use super::secure_file;
use super::topics_file;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const MIB: u64 = 1 << 20;

/// The node's configuration, and the places that rules about routes speak of.
#[derive(Debug, Default)]
pub(super) struct NodeFile {
    pub(super) node: NodeConfig,
    /// Where `bridges` is given.
    pub(super) bridges: Option<Spot>,
}

/// Reads the whole file; `base` is the folder that it is in.
pub(super) fn read(root: &Field<'_>, base: &Path, report: &mut Report) -> NodeFile {
    let mut file = NodeFile::default();
    let Some(section) = Section::open(root, ROOT, report) else {
        return file;
    };
    if let Some(field) = section.get("nsqd") {
        nsqd(&field, base, &mut file.node.nsqd, report);
    }
    file.node.admin =
        section.get("admin").and_then(|f| admin_file::read(&f, base, report)).map(Box::new);
    file.node.alerts = section.get("alerts").and_then(|f| alerts_file::read(&f, base, report));
    file.node.opentsdb = section.get("metrics").and_then(|f| metrics_file::read(&f, report));
    file.node.lookupd = section.get("lookupd").and_then(|f| lookupd_file::daemon(&f, base, report));
    if let Some(field) = section.get("brokers") {
        file.node.brokers = brokers(&field, base, report);
    }
    if let Some(field) = section.get("log") {
        file.node.log = log_file::read(&field, base, report);
    }
    let timeout = section.get("shutdown_timeout");
    let range = Duration::ZERO..=Duration::from_secs(3600);
    set(&mut file.node.shutdown_timeout, timeout.and_then(|field| field.duration(range, report)));
    if let Some(field) = section.get("topics") {
        let brokers = &file.node.brokers;
        (file.node.topics, file.node.stores) = topics_file::read(&field, brokers, report);
    }
    if let Some(field) = section.get("bridges") {
        file.node.bridges = field.text(report).map(|text| base.join(text));
        file.bridges = Some(field.spot);
    }
    if let Some(field) = section.get("registry") {
        file.node.registry = registry_file::read(&field, base, report);
    }
    let watch = section.get("watch_bridges").and_then(|field| field.boolean(report));
    set(&mut file.node.watch_bridges, watch);
    file
}

/// Puts `value` into `slot` if there is one: a value that is wrong was reported and leaves the default.
pub(super) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

fn nsqd(field: &Field<'_>, base: &Path, config: &mut NsqdConfig, report: &mut Report) {
    let Some(section) = Section::open(field, NSQD, report) else {
        return;
    };
    nsqd_identity(&section, base, config, report);
    let mut time = |slot: &mut Duration, key: &str, least: Duration| {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.duration(least..=DAY, report)));
    };
    time(&mut config.msg_timeout, "msg_timeout", MILLISECOND);
    time(&mut config.max_msg_timeout, "max_msg_timeout", MILLISECOND);
    time(&mut config.max_req_timeout, "max_req_timeout", Duration::ZERO);
    time(&mut config.max_heartbeat_interval, "max_heartbeat_interval", SECOND);
    time(&mut config.max_output_buffer_timeout, "max_output_buffer_timeout", MILLISECOND);
    time(&mut config.min_output_buffer_timeout, "min_output_buffer_timeout", MILLISECOND);
    time(&mut config.output_buffer_timeout, "output_buffer_timeout", MILLISECOND);
    time(&mut config.sync_timeout, "sync_timeout", MILLISECOND);
    let mut size = |slot: &mut u64, key: &str, range: RangeInclusive<u64>| {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.size(range, report)));
    };
    size(&mut config.max_msg_size, "max_msg_size", 1..=1024 * MIB);
    size(&mut config.max_body_size, "max_body_size", 1..=1024 * MIB);
    size(&mut config.min_free_bytes, "min_free_bytes", 0..=1 << 60);
    size(&mut config.max_output_buffer_size, "max_output_buffer_size", 64..=64 * MIB);
    let mut count = |slot: &mut u64, key: &str, range: RangeInclusive<u64>| {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.integer(range, report)));
    };
    count(&mut config.mem_queue_size, "mem_queue_size", 0..=1_000_000_000);
    count(&mut config.max_rdy_count, "max_rdy_count", 1..=1_000_000_000);
    let consumers = section.get("max_channel_consumers");
    set(
        &mut config.max_channel_consumers,
        consumers.and_then(|field| field.integer(0..=u32::MAX, report)),
    );
    secure_file::read(&section, base, config, report);
    nsqd_leveret(&section, config, report);
    lookupd_file::announce(&section, config, report);
    figures::read(&section, config, report);
    nsqd_rules(&section, config, report);
}

fn nsqd_identity(section: &Section<'_>, base: &Path, config: &mut NsqdConfig, report: &mut Report) {
    if let Some(field) = section.get("node_id") {
        config.node_id = field.integer(0..=1023, report);
    }
    if let Some(field) = section.get("tcp_address") {
        set(&mut config.tcp_address, address(&field, Some(base), report));
    }
    let http = [
        ("http_address", &mut config.http_address, Some(base)),
        ("https_address", &mut config.https_address, None),
    ];
    for (key, place, base) in http {
        let Some(field) = section.get(key) else { continue };
        *place = match field.text(report).as_deref() {
            Some("") | None => None,
            Some(_) => address(&field, base, report),
        };
    }
    if let Some(field) = section.get("broadcast_address") {
        config.broadcast_address = field.short_text(report);
    }
    let ports = [
        ("broadcast_tcp_port", &mut config.broadcast_tcp_port),
        ("broadcast_http_port", &mut config.broadcast_http_port),
    ];
    for (key, slot) in ports {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.integer(0..=u16::MAX, report)));
    }
    if let Some(field) = section.get("data_path") {
        config.data_path = field.short_text(report).map(|text| base.join(text));
    }
}

/// Options that nsqd of version 1.3.0 does not have.
fn nsqd_leveret(section: &Section<'_>, config: &mut NsqdConfig, report: &mut Report) {
    let longest = Duration::from_secs(10 * 365 * 86_400);
    let field = section.get("max_defer_time");
    config.max_defer_time =
        field.and_then(|field| field.duration(Duration::ZERO..=longest, report));
    let field = section.get("explain_errors");
    set(&mut config.explain_errors, field.and_then(|field| field.boolean(report)));
    let field = section.get("drain_timeout");
    set(
        &mut config.drain_timeout,
        field.and_then(|field| field.duration(Duration::ZERO..=DAY, report)),
    );
    let field = section.get("durability");
    config.durability = field.and_then(|field| field.choice(&topics_file::DURABILITY, report));
    for (key, slot) in [
        ("topology_region", &mut config.topology_region),
        ("topology_zone", &mut config.topology_zone),
    ] {
        let field = section.get(key);
        set(slot, field.and_then(|field| field.text(report)));
    }
    let experiments = section
        .get("enable_experiment")
        .and_then(|field| field.list("a list of experiments", report))
        .unwrap_or_default();
    for field in experiments {
        let known = [(TOPOLOGY_AWARE, ())];
        config.topology_aware |= field.choice(&known, report).is_some();
    }
}

/// Options that are right one by one and odd together.
fn nsqd_rules(section: &Section<'_>, config: &NsqdConfig, report: &mut Report) {
    let mut warn = |key: &str, odd: bool, message: &str| {
        if let Some(field) = section.get(key).filter(|_| odd) {
            report.warn(&field.spot, message);
        }
    };
    let sizes = config.max_msg_size > config.max_body_size;
    let message = "above max_body_size: such a message can be sent by PUB, but not by MPUB";
    warn("max_msg_size", sizes, message);
    let timeouts = config.msg_timeout > config.max_msg_timeout;
    let message = "above max_msg_timeout: TOUCH would shorten the time of a message";
    warn("msg_timeout", timeouts, message);
    if config.min_output_buffer_timeout > config.max_output_buffer_timeout
        && let Some(field) = section
            .get("min_output_buffer_timeout")
            .or_else(|| section.get("max_output_buffer_timeout"))
    {
        report.error(&field.spot, "min_output_buffer_timeout is above max_output_buffer_timeout");
    }
}

/// `host:port`; an empty host is every address of this machine. With a `base`, what has a slash is the path of a unix socket.
pub(super) fn address(
    field: &Field<'_>,
    base: Option<&Path>,
    report: &mut Report,
) -> Option<String> {
    let text = field.text(report)?;
    if let Some(base) = base.filter(|_| text.contains('/')) {
        let path = base.join(&text);
        return Some(path.to_str()?.to_owned());
    }
    let parts = text
        .rsplit_once(':')
        .filter(|(host, port)| {
            let bare = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
            let digits = port.bytes().all(|b| b.is_ascii_digit());
            bare && !host.contains(char::is_whitespace) && digits && port.parse::<u16>().is_ok()
        })
        .map(|(host, port)| match host {
            "" => format!("0.0.0.0:{port}"),
            _ => text.clone(),
        });
    if parts.is_none() {
        let message = format!("expected host:port such as 127.0.0.1:4150, found \"{text}\"");
        report.error(&field.spot, message);
    }
    parts
}
