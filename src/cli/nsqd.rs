//! nsqd's own command line: every flag of nsqd 1.3.0, as nsqd spells them, and a few of Leveret's own.
//!
//! What a flag does not say, the config file may ([`config_file`](super::config_file)); then the two together become the configuration.

mod figures;
mod flags;
mod secure;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use flags::FLAGS;
use flags::WITHOUT_EFFECT;

use super::config_file;
use super::goflags::{Flag, Given, Kind};
use crate::config::{Durability, LogLevel, NodeConfig, TOPOLOGY_AWARE};
use crate::node::OptionValue;

/// Why the flags cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NsqdFlagError {
    /// A value out of range, in nsqd's words.
    #[error("{0}")]
    Range(String),
}

/// What was given, as `/config` is to show it: by the names of the config file.
#[must_use]
pub fn options(given: &Given) -> BTreeMap<String, OptionValue> {
    let flags = FLAGS.iter().filter(|flag| given.has(flag.name));
    let value = |flag: &Flag| {
        let name = flag.name;
        Some(match flag.kind {
            Kind::Bool => OptionValue::Bool(given.bool(name)?),
            Kind::Int => OptionValue::Int(given.int(name)?),
            Kind::Duration => OptionValue::Duration(given.duration(name)?),
            Kind::Text | Kind::Level | Kind::BoolOr(_) | Kind::Word(_) => {
                OptionValue::Text(given.text(name)?.to_owned())
            }
            Kind::Texts => OptionValue::Texts(given.texts(name).to_vec()),
            Kind::Float | Kind::Floats => OptionValue::Numbers(given.floats(name)),
        })
    };
    flags.filter_map(|flag| Some((config_file::key(flag)?, value(flag)?))).collect()
}

/// What the flags come to, and a note on each of those without effect.
///
/// # Errors
/// A flag that cannot be served.
pub fn configure(given: &Given) -> Result<(NodeConfig, Vec<String>), NsqdFlagError> {
    let mut node = NodeConfig::default();
    let nsqd = &mut node.nsqd;
    nsqd.tcp_address = given.text("tcp-address").unwrap_or("0.0.0.0:4150").to_owned();
    nsqd.nsqlookupd_tcp_addresses = given.texts("lookupd-tcp-address").to_vec();
    let http = given.text("http-address").unwrap_or("0.0.0.0:4151");
    nsqd.http_address = (!http.is_empty()).then(|| http.to_owned());
    nsqd.broadcast_address = given.text("broadcast-address").map(str::to_owned);
    nsqd.data_path =
        Some(PathBuf::from(given.text("data-path").filter(|p| !p.is_empty()).unwrap_or(".")));
    if let Some(id) = given.int("node-id") {
        let id = u16::try_from(id).ok().filter(|id| *id < 1024);
        nsqd.node_id =
            Some(id.ok_or_else(|| NsqdFlagError::Range("--node-id must be [0,1024)".into()))?);
    }
    if let Some(level) = given.text("log-level") {
        node.log.level = log_level(level)
            .ok_or_else(|| NsqdFlagError::Range(format!("invalid log level \"{level}\"")))?;
    }
    sizes(given, &mut node)?;
    durations(given, &mut node);
    secure::configure(given, &mut node.nsqd)?;
    leveret(given, &mut node)?;
    figures::read(given, &mut node.nsqd)?;
    node.nsqd.log_prefix = Some(given.text("log-prefix").unwrap_or("[nsqd] ").to_owned());
    let idle = WITHOUT_EFFECT.iter().filter(|(name, _)| given.has(name));
    let note = |(name, why): &(&str, &str)| format!("--{name} has no effect here: {why}");
    Ok((node, idle.map(note).collect()))
}

/// nsqd's names of levels, in any case.
#[must_use]
pub fn log_level(name: &str) -> Option<LogLevel> {
    match name.to_ascii_lowercase().as_str() {
        "trace" => Some(LogLevel::Trace),
        "debug" => Some(LogLevel::Debug),
        "info" => Some(LogLevel::Info),
        "warn" => Some(LogLevel::Warn),
        "error" => Some(LogLevel::Error),
        "fatal" => Some(LogLevel::Fatal),
        _ => None,
    }
}

/// What nsqd 1.3.0 does not have. Unknown experiments are ignored, as nsqd ignores them.
fn leveret(given: &Given, node: &mut NodeConfig) -> Result<(), NsqdFlagError> {
    let nsqd = &mut node.nsqd;
    nsqd.max_defer_time = given.duration("max-defer-time");
    nsqd.explain_errors = given.bool("explain-errors").unwrap_or(false);
    if let Some(timeout) = given.duration("drain-timeout") {
        nsqd.drain_timeout = timeout;
    }
    nsqd.durability = match given.text("durability") {
        None | Some("") => None,
        Some("memory") => Some(Durability::Memory),
        Some("disk") => Some(Durability::Disk),
        Some("fsync") => Some(Durability::Fsync),
        Some(other) => {
            let words = format!("--durability must be memory, disk or fsync, not \"{other}\"");
            return Err(NsqdFlagError::Range(words));
        }
    };
    let experiments = given.texts("enable-experiment");
    nsqd.topology_aware = experiments.iter().any(|name| name == TOPOLOGY_AWARE);
    Ok(())
}

fn sizes(given: &Given, node: &mut NodeConfig) -> Result<(), NsqdFlagError> {
    let size = |name: &str, place: &mut u64| {
        let Some(value) = given.int(name) else { return Ok(()) };
        *place = u64::try_from(value)
            .map_err(|_| NsqdFlagError::Range(format!("--{name} must not be negative")))?;
        Ok(())
    };
    let nsqd = &mut node.nsqd;
    size("max-msg-size", &mut nsqd.max_msg_size)?;
    size("max-body-size", &mut nsqd.max_body_size)?;
    size("max-rdy-count", &mut nsqd.max_rdy_count)?;
    size("max-output-buffer-size", &mut nsqd.max_output_buffer_size)?;
    size("mem-queue-size", &mut nsqd.mem_queue_size)?;
    size("min-free-bytes", &mut nsqd.min_free_bytes)?;
    let mut consumers = u64::from(nsqd.max_channel_consumers);
    size("max-channel-consumers", &mut consumers)?;
    nsqd.max_channel_consumers = u32::try_from(consumers).unwrap_or(u32::MAX);
    for (name, port) in [
        ("broadcast-tcp-port", &mut nsqd.broadcast_tcp_port),
        ("broadcast-http-port", &mut nsqd.broadcast_http_port),
    ] {
        if let Some(value) = given.int(name) {
            *port = u16::try_from(value)
                .map_err(|_| NsqdFlagError::Range(format!("--{name} must be a port")))?;
        }
    }
    Ok(())
}

fn durations(given: &Given, node: &mut NodeConfig) {
    let nsqd = &mut node.nsqd;
    for (name, place) in [
        ("msg-timeout", &mut nsqd.msg_timeout),
        ("max-msg-timeout", &mut nsqd.max_msg_timeout),
        ("max-req-timeout", &mut nsqd.max_req_timeout),
        ("max-heartbeat-interval", &mut nsqd.max_heartbeat_interval),
        ("max-output-buffer-timeout", &mut nsqd.max_output_buffer_timeout),
        ("min-output-buffer-timeout", &mut nsqd.min_output_buffer_timeout),
        ("output-buffer-timeout", &mut nsqd.output_buffer_timeout),
        ("sync-timeout", &mut nsqd.sync_timeout),
    ] {
        if let Some(duration) = given.duration(name) {
            *place = duration;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::goflags::parse;

    fn run(args: &str) -> Result<(NodeConfig, Vec<String>), NsqdFlagError> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        configure(&parse(FLAGS, &args).unwrap())
    }

    #[test]
    fn flags_become_configuration() {
        let (node, idle) = run("-tcp-address=127.0.0.1:0 --http-address= --msg-timeout 5s --max-msg-size=0x400 --node-id 7 -sync-every=1 --log-level=WARN --data-path=/x").unwrap();
        assert_eq!(node.nsqd.tcp_address, "127.0.0.1:0");
        assert_eq!(node.nsqd.http_address, None);
        assert_eq!(node.nsqd.msg_timeout, Duration::from_secs(5));
        assert_eq!((node.nsqd.max_msg_size, node.nsqd.node_id), (1024, Some(7)));
        assert_eq!((node.log.level, idle.len()), (LogLevel::Warn, 1));
        assert!(idle[0].starts_with("--sync-every has no effect here: "), "{idle:?}");
        assert_eq!(node.nsqd.log_prefix.as_deref(), Some("[nsqd] "));
        let (node, _) = run("").unwrap();
        assert_eq!(node.nsqd.tcp_address, "0.0.0.0:4150");
        assert_eq!(node.nsqd.http_address.as_deref(), Some("0.0.0.0:4151"));
        assert_eq!(node.nsqd.data_path, Some(PathBuf::from(".")));
    }

    #[test]
    fn leverets_own_flags_become_configuration() {
        let (node, idle) = run("--durability=fsync --explain-errors --max-defer-time=48h --drain-timeout=30s --topology-zone=z --topology-region=r --enable-experiment=other --enable-experiment=topology-aware-consumption").unwrap();
        let nsqd = &node.nsqd;
        assert_eq!(nsqd.durability, Some(Durability::Fsync));
        assert_eq!(nsqd.max_defer_time, Some(Duration::from_secs(48 * 3600)));
        assert_eq!(nsqd.drain_timeout, Duration::from_secs(30));
        assert_eq!((nsqd.topology_zone.as_str(), nsqd.topology_region.as_str()), ("z", "r"));
        assert!(nsqd.topology_aware && nsqd.explain_errors && idle.is_empty());
        let (node, _) = run("").unwrap();
        assert_eq!((node.nsqd.max_defer_time, node.nsqd.durability), (None, None));
        assert!(!node.nsqd.topology_aware && node.nsqd.drain_timeout.is_zero());
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        assert_eq!(run("--node-id=1024").unwrap_err().to_string(), "--node-id must be [0,1024)");
        assert!(run("--tls-required=true").is_err());
        assert!(run("--max-msg-size=-1").is_err());
        assert_eq!(
            run("--durability=safe").unwrap_err().to_string(),
            "--durability must be memory, disk or fsync, not \"safe\""
        );
    }

    #[test]
    fn every_flag_is_either_used_or_said_to_do_nothing() {
        let file = include_str!("nsqd.rs");
        let (_, code) = file.split_once("/// What the flags come to").unwrap();
        let (code, _) = code.split_once("#[cfg(test)]").unwrap();
        let (secure, _) = include_str!("nsqd/secure.rs").split_once("#[cfg(test)]").unwrap();
        let code = [code, secure, include_str!("nsqd/figures.rs")].concat();
        // Read before there is anything to configure.
        let is_early = |name| matches!(name, "version" | "config");
        for flag in FLAGS.iter().filter(|flag| !is_early(flag.name)) {
            let is_listed = WITHOUT_EFFECT.iter().any(|(name, _)| *name == flag.name);
            assert!(is_listed != code.contains(&format!("\"{}\"", flag.name)), "{}", flag.name);
        }
    }
}
