//! The node's options as `/config` shows them: nsqd's names, with the values that hold, not those that were written.
//!
//! What the configuration does not have, because nothing here depends on it, is shown as it was given, or with nsqd's
//! default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Plan;
use crate::config::{HttpMethod, NsqdConfig, TlsRequired, TlsVersion};
use crate::engine::policy::Durability;
use crate::http::OptionValue::{self, Bool, Int, Numbers, Text, Texts};
use crate::telemetry::statsd;

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
        ("data_path", Text(nsqd.data_path.as_deref().map(shown_path).unwrap_or_default())),
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
    options.extend(secure(nsqd));
    options.extend(own(nsqd));
    for (key, default) in elsewhere() {
        let given = plan.given.get(key).cloned();
        options.insert(key, given.unwrap_or(default));
    }
    options
}

/// TLS, compression, AUTH and topology.
fn secure(nsqd: &NsqdConfig) -> [(&'static str, OptionValue); 18] {
    let tls = &nsqd.tls;
    let file = |path: &Option<PathBuf>| Text(path.as_deref().map(shown_path).unwrap_or_default());
    let method = match nsqd.auth.http_request_method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
    };
    // nsqd shows these two as the numbers that they stand for there.
    let required = match nsqd.tls_required() {
        TlsRequired::No => 0,
        TlsRequired::TcpHttps => 1,
        TlsRequired::Yes => 2,
    };
    let min_version = match tls.min_version {
        TlsVersion::V10 => 0x0301,
        TlsVersion::V11 => 0x0302,
        TlsVersion::V12 => 0x0303,
        TlsVersion::V13 => 0x0304,
    };
    [
        ("https_address", Text(nsqd.https_address.clone().unwrap_or_default())),
        ("tls_cert", file(&tls.cert)),
        ("tls_key", file(&tls.key)),
        ("tls_root_ca_file", file(&tls.root_ca_file)),
        ("tls_client_auth_policy", Text(tls.client_auth_policy.clone())),
        ("tls_required", Int(required)),
        ("tls_min_version", Int(min_version)),
        ("deflate", Bool(nsqd.deflate)),
        ("max_deflate_level", Int(nsqd.max_deflate_level.into())),
        ("snappy", Bool(nsqd.snappy)),
        ("auth_http_addresses", Texts(nsqd.auth.http_addresses.clone())),
        ("auth_http_request_method", Text(method.to_owned())),
        ("auth_stale_if_error", OptionValue::Duration(nsqd.auth.stale_if_error)),
        ("http_client_connect_timeout", OptionValue::Duration(nsqd.http_client_connect_timeout)),
        ("http_client_request_timeout", OptionValue::Duration(nsqd.http_client_request_timeout)),
        ("topology_region", Text(nsqd.topology_region.clone())),
        ("topology_zone", Text(nsqd.topology_zone.clone())),
        ("sync_timeout", OptionValue::Duration(nsqd.sync_timeout)),
    ]
}

/// What nsqd does not have. An empty durability is nsqd's: what exceeds the memory queue is on disk.
fn own(nsqd: &NsqdConfig) -> [(&'static str, OptionValue); 5] {
    let durability = match nsqd.durability {
        None => "",
        Some(Durability::Memory) => "memory",
        Some(Durability::Disk) => "disk",
        Some(Durability::Fsync) => "fsync",
    };
    let max_defer_time = nsqd.max_defer_time.unwrap_or(nsqd.max_req_timeout);
    [
        ("durability", Text(durability.to_owned())),
        ("explain_errors", Bool(nsqd.explain_errors)),
        ("drain_timeout", OptionValue::Duration(nsqd.drain_timeout)),
        ("max_defer_time", OptionValue::Duration(max_defer_time)),
        ("min_free_bytes", count(nsqd.min_free_bytes)),
    ]
}

/// Options that the configuration does not have, with nsqd's defaults.
fn elsewhere() -> [(&'static str, OptionValue); 5] {
    [
        ("enable_experiment", Texts(Vec::new())),
        ("max_bytes_per_file", Int(100 * 1024 * 1024)),
        ("queue_scan_selection_count", Int(20)),
        ("queue_scan_worker_pool_max", Int(4)),
        ("sync_every", Int(2500)),
    ]
}

fn count(count: u64) -> OptionValue {
    Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn shown_path(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::NodeConfig;

    fn options(
        config: NsqdConfig,
        given: &[(&str, OptionValue)],
    ) -> BTreeMap<&'static str, OptionValue> {
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let plan = Plan {
            config: NodeConfig { nsqd: config, ..NodeConfig::default() },
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
        let all = options(
            NsqdConfig::default(),
            &[("broadcast_tcp_port", Int(0)), ("sync_every", Int(1))],
        );
        assert_eq!(all.get("broadcast_tcp_port"), Some(&Int(1)));
        assert_eq!(all.get("statsd_prefix"), Some(&Text("nsq.my_host_4151.".into())));
        assert_eq!(all.get("sync_every"), Some(&Int(1)), "given");
        assert_eq!(all.get("max_bytes_per_file"), Some(&Int(104_857_600)), "nsqd's default");
        assert_eq!((all.get("id"), all.get("node_id")), (Some(&Int(7)), None));
    }

    #[test]
    fn what_stands_for_a_number_is_shown_as_one() {
        let mut nsqd = NsqdConfig::default();
        let all = options(nsqd.clone(), &[]);
        assert_eq!(all.get("tls_min_version"), Some(&Int(769)));
        assert_eq!(all.get("tls_required"), Some(&Int(0)));
        nsqd.tls.min_version = TlsVersion::V13;
        nsqd.tls.client_auth_policy = "require".into();
        let all = options(nsqd.clone(), &[]);
        assert_eq!(all.get("tls_min_version"), Some(&Int(772)));
        assert_eq!(all.get("tls_required"), Some(&Int(2)), "a policy requires TLS");
        nsqd.tls.required = TlsRequired::TcpHttps;
        assert_eq!(options(nsqd, &[]).get("tls_required"), Some(&Int(1)));
    }

    #[test]
    fn a_node_file_is_shown_as_well_as_flags() {
        let nsqd = NsqdConfig {
            durability: Some(Durability::Fsync),
            max_req_timeout: Duration::from_secs(7),
            snappy: false,
            ..NsqdConfig::default()
        };
        let all = options(nsqd, &[]);
        assert_eq!(all.get("durability"), Some(&Text("fsync".into())));
        assert_eq!(all.get("max_defer_time"), Some(&OptionValue::Duration(Duration::from_secs(7))));
        assert_eq!(all.get("snappy"), Some(&Bool(false)));
    }
}
