//! The node's options as `/config` shows them: nsqd's names, with the values that hold, not those that were written.
//!
//! What the configuration does not have, because nothing here depends on it (yet), is shown as it was given, or with
//! nsqd's default.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Plan;
use crate::config::NsqdConfig;
use crate::http::OptionValue::{self, Bool, Int, Numbers, Text, Texts};
use crate::telemetry::statsd;

/// nsqd's name of the list of nsqlookupds, which can be changed while the node runs.
const LOOKUPD: &str = "nsqlookupd_tcp_addresses";

/// What only the machine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The host under which others reach the node.
    pub(super) broadcast_address: String,
    /// The port of the NSQ protocol, as announced.
    pub(super) tcp_port: u16,
    /// The port of the HTTP API, as announced; 0 if there is none.
    pub(super) http_port: u16,
    /// Part of message ids.
    pub(super) node_id: u16,
}

impl Resolved {
    /// What stands before each name of statsd.
    pub(super) fn statsd_prefix(&self, nsqd: &NsqdConfig) -> String {
        statsd::full_prefix(&nsqd.statsd.prefix, &self.broadcast_address, self.http_port)
    }
}

/// The nsqlookupds that the node starts with.
pub(super) fn lookupds(plan: &Plan) -> Vec<String> {
    match plan.given.get(LOOKUPD) {
        Some(Texts(addresses)) => addresses.clone(),
        _ => Vec::new(),
    }
}

/// Every option that does not change while the node runs.
pub(super) fn shown(plan: &Plan, resolved: &Resolved) -> BTreeMap<&'static str, OptionValue> {
    let nsqd = &plan.config.nsqd;
    let mut options = BTreeMap::from([
        ("id", Int(resolved.node_id.into())),
        ("broadcast_address", Text(resolved.broadcast_address.clone())),
        ("broadcast_tcp_port", Int(resolved.tcp_port.into())),
        ("broadcast_http_port", Int(resolved.http_port.into())),
        ("tcp_address", Text(nsqd.tcp_address.clone())),
        ("http_address", Text(nsqd.http_address.clone().unwrap_or_default())),
        ("data_path", Text(path(nsqd))),
        ("log_prefix", Text(nsqd.log_prefix.clone().unwrap_or_default())),
        ("mem_queue_size", count(nsqd.mem_queue_size)),
        ("max_msg_size", count(nsqd.max_msg_size)),
        ("max_body_size", count(nsqd.max_body_size)),
        ("max_rdy_count", count(nsqd.max_rdy_count)),
        ("max_output_buffer_size", count(nsqd.max_output_buffer_size)),
        ("max_channel_consumers", Int(nsqd.max_channel_consumers.into())),
        ("msg_timeout", OptionValue::Duration(nsqd.msg_timeout)),
        ("max_msg_timeout", OptionValue::Duration(nsqd.max_msg_timeout)),
        ("max_req_timeout", OptionValue::Duration(nsqd.max_req_timeout)),
        ("max_heartbeat_interval", OptionValue::Duration(nsqd.max_heartbeat_interval)),
        ("max_output_buffer_timeout", OptionValue::Duration(nsqd.max_output_buffer_timeout)),
        ("min_output_buffer_timeout", OptionValue::Duration(nsqd.min_output_buffer_timeout)),
        ("output_buffer_timeout", OptionValue::Duration(nsqd.output_buffer_timeout)),
        ("statsd_address", Text(nsqd.statsd.address.clone().unwrap_or_default())),
        ("statsd_prefix", Text(resolved.statsd_prefix(nsqd))),
        ("statsd_interval", OptionValue::Duration(nsqd.statsd.interval)),
        ("statsd_mem_stats", Bool(nsqd.statsd.mem_stats)),
        ("statsd_udp_packet_size", count(nsqd.statsd.packet_size as u64)),
        ("statsd_exclude_ephemeral", Bool(nsqd.statsd.exclude_ephemeral)),
        (
            "e2e_processing_latency_percentiles",
            Numbers(nsqd.e2e_processing_latency.quantiles().to_vec()),
        ),
        (
            "e2e_processing_latency_window_time",
            OptionValue::Duration(nsqd.e2e_processing_latency.window()),
        ),
    ]);
    for (key, default) in elsewhere() {
        let given = plan.given.get(key).map(|given| numbered(key, given));
        options.entry(key).or_insert_with(|| given.unwrap_or(default));
    }
    options
}

/// Options that the configuration does not have, with nsqd's defaults.
fn elsewhere() -> [(&'static str, OptionValue); 22] {
    let empty = || Text(String::new());
    let seconds = |seconds| OptionValue::Duration(Duration::from_secs(seconds));
    [
        ("auth_http_addresses", Texts(Vec::new())),
        ("auth_http_request_method", Text("get".to_owned())),
        ("deflate", Bool(true)),
        ("enable_experiment", Texts(Vec::new())),
        ("http_client_connect_timeout", seconds(2)),
        ("http_client_request_timeout", seconds(5)),
        ("https_address", Text("0.0.0.0:4152".to_owned())),
        ("max_bytes_per_file", Int(100 * 1024 * 1024)),
        ("max_deflate_level", Int(6)),
        ("queue_scan_selection_count", Int(20)),
        ("queue_scan_worker_pool_max", Int(4)),
        ("snappy", Bool(true)),
        ("sync_every", Int(2500)),
        ("sync_timeout", seconds(2)),
        ("tls_cert", empty()),
        ("tls_client_auth_policy", empty()),
        ("tls_key", empty()),
        ("tls_min_version", Int(TLS_1_0)),
        ("tls_required", Int(0)),
        ("tls_root_ca_file", empty()),
        ("topology_region", empty()),
        ("topology_zone", empty()),
    ]
}

/// The version number of TLS 1.0 in its records.
const TLS_1_0: i64 = 0x0301;

/// nsqd shows some words as the numbers that they stand for.
fn numbered(key: &str, given: &OptionValue) -> OptionValue {
    let Text(word) = given else { return given.clone() };
    match (key, word.to_ascii_lowercase().as_str()) {
        ("tls_required", "tcp-https") => Int(1),
        ("tls_required", "1" | "t" | "true") => Int(2),
        ("tls_required", _) => Int(0),
        ("tls_min_version", "tls1.1") => Int(TLS_1_0 + 1),
        ("tls_min_version", "tls1.2") => Int(TLS_1_0 + 2),
        ("tls_min_version", "tls1.3") => Int(TLS_1_0 + 3),
        ("tls_min_version", _) => Int(TLS_1_0),
        _ => given.clone(),
    }
}

fn count(count: u64) -> OptionValue {
    Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn path(nsqd: &NsqdConfig) -> String {
    nsqd.data_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NodeConfig;

    fn options(given: &[(&str, OptionValue)]) -> BTreeMap<&'static str, OptionValue> {
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let plan = Plan {
            config: NodeConfig::default(),
            routes: Vec::new(),
            log_level: None,
            makes_data_path: false,
            notes: Vec::new(),
            given,
        };
        let resolved = Resolved {
            broadcast_address: "my.host".into(),
            tcp_port: 1,
            http_port: 4151,
            node_id: 7,
        };
        shown(&plan, &resolved)
    }

    #[test]
    fn what_holds_is_shown_and_not_what_was_written() {
        let all = options(&[("broadcast_tcp_port", Int(0)), ("sync_every", Int(1))]);
        assert_eq!(all.get("broadcast_tcp_port"), Some(&Int(1)));
        assert_eq!(all.get("statsd_prefix"), Some(&Text("nsq.my_host_4151.".into())));
        assert_eq!(all.get("sync_every"), Some(&Int(1)), "given");
        assert_eq!(all.get("max_bytes_per_file"), Some(&Int(104_857_600)), "nsqd's default");
        assert_eq!((all.get("id"), all.get("node_id")), (Some(&Int(7)), None));
    }

    #[test]
    fn words_are_shown_as_numbers() {
        let text = |word: &str| Text(word.to_owned());
        for (word, number) in [("true", 2), ("tcp-https", 1), ("false", 0)] {
            let all = options(&[("tls_required", text(word))]);
            assert_eq!(all.get("tls_required"), Some(&Int(number)), "{word}");
        }
        let all = options(&[("tls_min_version", text("tls1.3"))]);
        assert_eq!(all.get("tls_min_version"), Some(&Int(772)));
        assert_eq!(options(&[]).get("tls_min_version"), Some(&Int(769)));
    }
}
