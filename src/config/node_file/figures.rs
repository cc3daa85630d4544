//! What a node tells about itself, in the `nsqd` section: statsd, latencies, and how its log lines begin.

use std::time::Duration;

use super::{DAY, MILLISECOND, address, set};
use crate::config::LatencyTracking;
use crate::config::error::Report;
use crate::config::node::NsqdConfig;
use crate::config::section::Section;

/// The largest datagram that UDP can carry, in bytes of payload.
const DATAGRAM_MAX: u64 = 65_507;

/// Reads these keys of `section` into `config`.
pub(super) fn read(section: &Section<'_>, config: &mut NsqdConfig, report: &mut Report) {
    latency(section, config, report);
    let statsd = &mut config.statsd;
    if let Some(field) = section.get("statsd_address") {
        statsd.address = match field.text(report).as_deref() {
            Some("") | None => None,
            Some(_) => address(&field, None, report),
        };
    }
    let prefix = section.get("statsd_prefix");
    set(&mut statsd.prefix, prefix.and_then(|field| field.text(report)));
    let interval = section.get("statsd_interval");
    set(&mut statsd.interval, interval.and_then(|field| field.duration(MILLISECOND..=DAY, report)));
    let size = section.get("statsd_udp_packet_size");
    let size = size.and_then(|field| field.integer(1..=DATAGRAM_MAX, report));
    set(&mut statsd.packet_size, size.and_then(|size| usize::try_from(size).ok()));
    for (key, switch) in [
        ("statsd_mem_stats", &mut statsd.mem_stats),
        ("statsd_exclude_ephemeral", &mut statsd.exclude_ephemeral),
    ] {
        set(switch, section.get(key).and_then(|field| field.boolean(report)));
    }
    if let Some(field) = section.get("log_prefix") {
        config.log_prefix = field.text(report);
    }
}

fn latency(section: &Section<'_>, config: &mut NsqdConfig, report: &mut Report) {
    let window = section.get("e2e_processing_latency_window_time");
    let window = window.and_then(|field| field.duration(MILLISECOND..=DAY, report));
    let window: Duration = window.unwrap_or_else(|| config.e2e_processing_latency.window());
    let Some(field) = section.get("e2e_processing_latency_percentiles") else {
        set(&mut config.e2e_processing_latency, LatencyTracking::new(Vec::new(), window).ok());
        return;
    };
    let expected = "a list of numbers above 0 and at most 1, such as [0.5, 0.99]";
    let elements = field.list(expected, report).unwrap_or_default();
    let quantiles = elements.iter().filter_map(|element| element.fraction(report)).collect();
    match LatencyTracking::new(quantiles, window) {
        Ok(tracking) => config.e2e_processing_latency = tracking,
        Err(error) => report.error(&field.spot, error.to_string()),
    }
}
